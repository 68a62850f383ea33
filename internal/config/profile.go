package config

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"gopkg.in/yaml.v3"
)

// scwFile is what matters here of the scw CLI's configuration file: a profile
// without a name at the top, and named ones that are laid over it. The SDK's
// own loader prints warnings to standard output and repeats malformed keys.
type scwFile struct {
	ActiveProfile yaml.Node                       `yaml:"active_profile"`
	Profiles      map[string]map[string]yaml.Node `yaml:"profiles"`
	Default       map[string]yaml.Node            `yaml:",inline"`
}

// defaultProfile names the profile at the top of the file.
const defaultProfile = "default"

// loadProfile reads the selected profile of the scw configuration file.
func (s *settings) loadProfile() {
	selected, selectedFailed := s.lookup(profileName)
	data, dataFailed := s.readProfileFile()
	if s.profileFailed = selectedFailed || dataFailed; s.profileFailed {
		return
	}
	var file scwFile
	if err := yaml.Unmarshal(data, &file); err != nil {
		s.profileFailed = true
		line, message := scwFileError(err, data)
		s.report(Problem{File: s.profileFile, Line: line, Column: 1}, message)
		return
	}
	if selected.value == "" {
		selected = s.scalar(&file.ActiveProfile, "active_profile")
	}
	s.profile = make(map[string]located)
	s.lay(file.Default, "")
	if selected.value == "" || selected.value == defaultProfile {
		return
	}
	over, ok := file.Profiles[selected.value]
	if !ok {
		s.profileFailed = true
		s.report(selected.place, "names a profile that is not in "+cmp.Or(s.profileFile, "any scw configuration file"))
		return
	}
	s.lay(over, "profiles."+keyText(selected.value))
}

// lay puts the values of a profile over those that are there.
func (s *settings) lay(profile map[string]yaml.Node, path string) {
	for _, v := range []setting{accessKey, secretKey, organizationID, projectID, region, apiURL} {
		n := profile[v.key]
		if found := s.scalar(&n, key(path, v.key)); found.value != "" {
			s.profile[v.key] = found
		}
	}
}

// scalar is the text of n, with its place.
func (s *settings) scalar(n *yaml.Node, path string) located {
	place := Problem{File: s.profileFile, Line: n.Line, Column: n.Column, Path: path}
	switch {
	case n.Kind == 0 || isNull(n):
		return located{}
	case n.Kind != yaml.ScalarNode:
		s.profileFailed = true
		s.report(place, "expected a string, found "+found(n))
		return located{}
	}
	return located{n.Value, place}
}

// readProfileFile returns the content of the scw configuration file, nothing
// where there is none. A file that was not asked for and cannot be read is only
// a warning: the home directory of a service is often somebody else's.
func (s *settings) readProfileFile() (data []byte, failed bool) {
	named, failed := s.lookup(configPath)
	if failed {
		return nil, true
	}
	candidates := s.defaultProfileFiles()
	if named.value != "" {
		candidates = []string{named.value}
	}
	for _, file := range candidates {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		s.profileFile = file
		if err == nil {
			s.warning = warningOfReaders(file)
			return data, false
		}
		message := file + " cannot be read: " + cause(err).Error()
		if named.value == "" {
			s.warning = message
			return nil, false
		}
		s.report(named.place, message)
		return nil, true
	}
	if len(candidates) > 0 {
		s.profileFile = candidates[0]
	}
	return nil, false
}

// defaultProfileFiles are the places where the scw CLI looks, none without a
// home directory.
func (s *settings) defaultProfileFiles() []string {
	dir := s.variable("XDG_CONFIG_HOME")
	if home := s.variable("HOME"); dir == "" && home != "" {
		dir = filepath.Join(home, ".config")
	}
	if dir == "" {
		return nil
	}
	return []string{filepath.Join(dir, "scw", "config.yaml"), filepath.Join(dir, "scw", "config.yml")}
}

// warningOfReaders says so where others than its owner can read a file.
func warningOfReaders(file string) string {
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return ""
	}
	return file + " holds a secret key and can be read by others than its owner: chmod 600 it"
}

// scwFileError is the line and the text of an error of the YAML decoder, which
// would repeat values.
func scwFileError(err error, data []byte) (line int, message string) {
	var typeErr *yaml.TypeError
	if !errors.As(err, &typeErr) {
		return syntaxError(err, data)
	}
	line, _ = strconv.Atoi(syntaxLine.FindStringSubmatch(typeErr.Errors[0])[1])
	return max(line, 1), "is not what an scw configuration file has here"
}
