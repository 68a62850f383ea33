package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/scwatch/scwatch/provisioner"
)

// eject writes the built-in content out as files to own. No file is replaced.
func eject(_ context.Context, o options, p process) error {
	dir := o.provision.ejectDir
	content := builtin()
	files := map[string]fs.FS{"dashboards": content.Dashboards, "alerts": content.Alerts}
	var taken []error
	var rules []string
	write := make(map[string][]byte)
	for _, folder := range []string{"dashboards", "alerts"} {
		err := fs.WalkDir(files[folder], ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			data, err := fs.ReadFile(files[folder], name)
			if err != nil {
				return err
			}
			to := filepath.Join(dir, folder, filepath.FromSlash(name))
			if _, err := os.Lstat(to); err == nil {
				taken = append(taken, fmt.Errorf("%s is there already and is not replaced", to))
			}
			write[to] = provisioner.Stamp(name, data, releaseVersion())
			if folder == "alerts" && !strings.Contains(name, "/") && name != "alertmanager.yaml" && path.Ext(name) == ".yaml" {
				rules = append(rules, to)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the built-in content: %w", err)
		}
	}
	if len(taken) > 0 {
		return errors.Join(append(taken, errors.New("nothing is written; give a folder of its own"))...)
	}
	for to, data := range write {
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return fmt.Errorf("eject: %w", err)
		}
		if err := os.WriteFile(to, data, 0o666); err != nil {
			return fmt.Errorf("eject: %w", err)
		}
	}
	fmt.Fprintf(p.stdout, `# %d files are in %s. This uses them instead of the built-in content; put it
# into your configuration, beside which the paths begin.
provision:
  targets:
    - dashboards: [%s]
      rules:
        - files:
%s      # Routes are left alone until you name them:
      # alertmanager: %s
`, len(write), dir, quoted(filepath.Join(dir, "dashboards", "*.yaml")), listed(rules), quoted(filepath.Join(dir, "alerts", "alertmanager.yaml")))
	return nil
}

func listed(files []string) string {
	var b strings.Builder
	for _, file := range files {
		fmt.Fprintf(&b, "            - %s\n", quoted(file))
	}
	return b.String()
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }
