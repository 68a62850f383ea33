package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// setting is a value that is read from the variables SCWATCH_<name>,
// SCWATCH_<name>_FILE (a file that holds it) and SCW_<name>, in this order, and
// then from a profile of the scw configuration file. Scaleway's serverless
// products reserve the prefix SCW_, hence the other one.
type setting struct {
	name  string
	key   string // in a profile; "" where it is in none
	valid func(string) bool
	want  string // what a valid value is
	doc   string // for docs/configuration.md
}

// located is a value and the place where it stands, as the problem that it
// would be.
type located struct {
	value string
	place Problem
}

// settings looks settings up and gathers what is wrong with them.
type settings struct {
	env      Environment
	problems Problems
	warning  string

	profile       map[string]located // by key
	profileFile   string             // where it was looked for, "" for nowhere
	profileFailed bool               // part of it could not be read, so that nothing is known to be missing
}

// get returns the value of v, "" where it is not set or not valid.
func (s *settings) get(v setting) string {
	found, _ := s.lookup(v)
	return s.checked(v, found)
}

// require is get for a value that must be set. what names it for people.
func (s *settings) require(v setting, what string) string {
	found, failed := s.lookup(v)
	if found.value == "" && !failed && !s.profileFailed {
		message := fmt.Sprintf("no %s: set SCW_%s, SCWATCH_%s or SCWATCH_%s_FILE", what, v.name, v.name, v.name)
		if s.profileFile != "" {
			message += fmt.Sprintf(", or %s in %s", v.key, s.profileFile)
		}
		s.report(Problem{Path: "SCW_" + v.name}, message)
	}
	return s.checked(v, found)
}

func (s *settings) checked(v setting, found located) string {
	if found.value == "" || v.valid(found.value) {
		return found.value
	}
	s.report(found.place, "is malformed: expected "+v.want)
	return ""
}

// lookup finds v where it stands first. failed tells that it was given in a way
// that could not be read, which is reported.
func (s *settings) lookup(v setting) (found located, failed bool) {
	own, ownFile, scw := "SCWATCH_"+v.name, "SCWATCH_"+v.name+"_FILE", "SCW_"+v.name
	value, file := s.variable(own), s.variable(ownFile)
	switch {
	case value != "" && file != "":
		s.report(Problem{Path: own}, ownFile+" is set as well: give one of the two")
		return located{}, true
	case value != "":
		return located{value, Problem{Path: own}}, false
	case file != "":
		value, err := readTrimmed(file)
		if err != nil {
			s.report(Problem{Path: ownFile}, err.Error())
		}
		return located{value, Problem{Path: ownFile}}, err != nil
	}
	if value := s.variable(scw); value != "" {
		return located{value, Problem{Path: scw}}, false
	}
	return s.profile[v.key], false
}

// variable returns an environment variable without the white space around it,
// which is what is left of a line.
func (s *settings) variable(name string) string { return strings.TrimSpace(s.env(name)) }

func (s *settings) report(place Problem, message string) {
	place.Message = message
	s.problems = append(s.problems, place)
}

// readTrimmed returns what a file holds, which must be something. Its errors
// name the file, unless that could be a secret in the place of a path.
func readTrimmed(file string) (string, error) {
	name := file
	if !strings.ContainsRune(file, filepath.Separator) {
		name = "the file"
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s cannot be read: %w", name, cause(err))
	}
	value := strings.TrimSpace(string(data))
	if value == "" {
		return "", fmt.Errorf("%s is empty", name)
	}
	return value, nil
}
