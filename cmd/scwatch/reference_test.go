package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
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
	page.WriteString("\nEvery flag can be given to every command, before it or after it.\n\n| flag | default | meaning |\n| --- | --- | --- |\n")
	for _, flag := range model.Flags {
		if flag.Hidden || flag.Name == "help" {
			continue
		}
		value := ""
		if len(flag.Default) > 0 {
			value = "`" + strings.Join(flag.Default, ",") + "`"
		}
		fmt.Fprintf(page, "| `--%s` | %s | %s |\n", flag.Name, value, strings.ReplaceAll(flag.Help, "\n", " "))
	}
	page.WriteString("\n| exit code | |\n| --- | --- |\n")
	for _, exit := range []struct {
		code    int
		meaning string
	}{
		{exitDone, "done; SIGTERM and SIGINT end the daemon with it"},
		{exitFailed, "failed"},
		{exitRefused, "the API refuses the key, so that nothing could be read"},
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
