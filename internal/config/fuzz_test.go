package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "testdata/example.yaml") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("fuzz.yaml", "", data, checks)
		if c == nil {
			t.Fatal("no configuration")
		}
		if c.Resolve(Credentials{ProjectID: projectA}) == nil && c.RequireTargets() != nil {
			t.Error("a target without a project")
		}
		if err == nil {
			return
		}
		var problems Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("%T: %v", err, err)
		}
		last := 1 // by YAML's line breaks
		for _, lineBreak := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
			last += bytes.Count(data, []byte(lineBreak))
		}
		for _, problem := range problems {
			if problem.Line < 1 || problem.Line > last || problem.Column < 1 || problem.Message == "" {
				t.Errorf("%+v in a file of %d lines", problem, last)
			}
			if bytes.ContainsAny([]byte(problem.Error()), "\n\r") {
				t.Errorf("more than one line: %q", problem.Error())
			}
		}
	})
}
