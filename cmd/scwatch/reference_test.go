package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
)

// docs/commands.md is generated from the commands and flags themselves.
func TestGeneratedCommandsPage(t *testing.T) {
	var o options
	model := newApplication(&o).Model()
	page := bytes.NewBufferString("# Commands and flags\n\nGenerated from the code; `make generate` writes it anew.\n\n| command | does |\n| --- | --- |\n")
	for _, command := range model.Commands {
		if command.Name != "help" {
			fmt.Fprintf(page, "| `scwatch %s` | %s |\n", command.Name, command.Help)
		}
	}
	page.WriteString("\nThese flags can be given to every command, before it or after it.\n\n")
	writeFlags(page, model.Flags)
	for _, command := range model.Commands {
		if command.Name == "help" || len(command.Flags)+len(command.Args) == 0 {
			continue
		}
		fmt.Fprintf(page, "\n## scwatch %s", command.Name)
		for _, arg := range command.Args {
			name := strings.ToUpper(arg.Name)
			if !arg.Required {
				name = "[" + name + "]"
			}
			fmt.Fprintf(page, " %s\n\n%s: %s", name, strings.ToUpper(arg.Name), arg.Help)
		}
		page.WriteString("\n\n")
		writeFlags(page, command.Flags)
	}
	page.WriteString("\n| exit code | |\n| --- | --- |\n")
	for _, exit := range []struct {
		code    int
		meaning string
	}{
		{exitDone, "done; SIGTERM and SIGINT end the daemon with it"},
		{exitFailed, "failed"},
		{exitFound, "there is something: for `plan`, changes; for `audit`, open findings at or above `--fail-on`"},
		{exitRefused, "the API refuses the key, so that nothing could be read"},
		{exitPartly, "partly done or partly seen; wins over 2"},
		{exitUsage, "usage or invalid configuration, malformed keys included"},
	} {
		fmt.Fprintf(page, "| %d | %s |\n", exit.code, exit.meaning)
	}
	const path = "../../docs/commands.md"
	if os.Getenv("SCWATCH_UPDATE") != "" {
		if err := os.WriteFile(path, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, page.Bytes()) {
		t.Errorf("%s differs from the code; SCWATCH_UPDATE=1 writes it anew:\n%s", path, page)
	}
}

func writeFlags(page *bytes.Buffer, flags []*kingpin.FlagModel) {
	header := "| flag | default | meaning |\n| --- | --- | --- |\n"
	for _, flag := range flags {
		if flag.Hidden || flag.Name == "help" {
			continue
		}
		value := ""
		if len(flag.Default) > 0 {
			value = "`" + strings.Join(flag.Default, ",") + "`"
		}
		fmt.Fprintf(page, "%s| `--%s` | %s | %s |\n", header, flag.Name, value, strings.ReplaceAll(flag.Help, "\n", " "))
		header = ""
	}
}
