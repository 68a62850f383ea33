package config

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"

	"gopkg.in/yaml.v3"
)

// Environment looks up an environment variable, "" where it is not set:
// [os.Getenv] in production.
type Environment func(name string) string

// inlineVariable holds the YAML itself, for platforms without files.
const inlineVariable = "SCWATCH_CONFIG"

// Read loads the configuration and the credentials and resolves the one with
// the other. The error is a [Problems] with every problem of both. Config is
// never nil, but fit for use only without an error.
func Read(file string, env Environment, checks []string) (*Config, Credentials, error) {
	c, fileErr := Load(file, env, checks)
	credentials, credentialsErr := LoadCredentials(env)
	var all Problems
	for _, err := range []error{fileErr, credentialsErr, c.Resolve(credentials)} {
		var problems Problems
		if errors.As(err, &problems) {
			all = append(all, problems...)
		}
	}
	if len(all) > 0 {
		return c, credentials, all
	}
	return c, credentials, nil
}

// Load reads the configuration from file or, where file is "", from the
// variable SCWATCH_CONFIG; with neither it is the defaults. checks are the IDs
// that an exception may name. The error is a [Problems]; Config is as of
// [Parse].
func Load(file string, env Environment, checks []string) (*Config, error) {
	inline := env(inlineVariable)
	if file == "" {
		name := ""
		if inline != "" {
			name = inlineVariable
		}
		return Parse(name, "", []byte(inline), checks)
	}
	if inline != "" {
		return unread(file, "the variable "+inlineVariable+" is set as well: give one of the two")
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return unread(file, "cannot be read: "+cause(err).Error())
	}
	return Parse(file, filepath.Dir(file), data, checks)
}

// unread is the result for a file of which nothing is known.
func unread(file, message string) (*Config, error) {
	d := newDocument(file)
	d.undecoded = []string{""}
	c := &Config{File: file, document: d}
	setDefaults(reflect.ValueOf(c).Elem())
	return c, Problems{{File: file, Message: message}}
}

// cause is what went wrong with a file, without its name.
func cause(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// Parse decodes and validates the YAML in data. name stands for it in messages,
// dir is where its relative paths start, checks are the IDs that an exception
// may name.
//
// The error is a [Problems] in the order of lines. Config is never nil, so that
// [Config.Resolve] can add what it finds, but fit for use only without an
// error.
func Parse(name, dir string, data []byte, checks []string) (*Config, error) {
	d := newDocument(name)
	c := &Config{File: name, document: d}
	root := reflect.ValueOf(c).Elem()
	if n := d.parse(data); n != nil {
		decoder{document: d, dir: dir}.structure(root, n, "")
	} else {
		setDefaults(root)
	}
	for i := range c.Exceptions {
		c.Exceptions[i].Line = d.at(element("exceptions", i)).line
	}
	c.validate(d, checks)
	c.nameDataSources()
	return c, d.problems.err()
}

// parse returns the top of the only YAML document in data, nil where there is
// none.
func (d *document) parse(data []byte) *yaml.Node {
	var first, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	err := decoder.Decode(&first)
	if err == nil {
		err = decoder.Decode(&second)
	}
	switch {
	case err == nil:
		at := *second.Content[0]
		at.Line = min(at.Line, lastLine(data)) // an empty one is behind the end
		d.fail(&at, "", "a second YAML document: there can be only one")
	case !errors.Is(err, io.EOF):
		line, message := syntaxError(err, data)
		d.fail(&yaml.Node{Line: line, Column: 1}, "", "%s", message)
		return nil
	case first.Kind == 0:
		return nil
	}
	return first.Content[0]
}

var (
	syntaxLine   = regexp.MustCompile(`^(?:yaml: )?(?:line ([0-9]+): )?`)
	grammarError = regexp.MustCompile(`^did not find expected (<|node content|'-' indicator|key|',' or)`)
	namedAnchor  = regexp.MustCompile(`anchor '(.*)'`)
)

// syntaxError is the line and the text of an error of the YAML parser, within
// data and without words from it: "*secret" reads as an alias.
func syntaxError(err error, data []byte) (line int, message string) {
	prefix := syntaxLine.FindStringSubmatch(err.Error())
	line, _ = strconv.Atoi(prefix[1]) // 0 where it says none
	message = err.Error()[len(prefix[0]):]
	if grammarError.MatchString(message) {
		line++ // yaml.v3 counts lines from 0 in the errors of its grammar, from 1 elsewhere
	}
	if anchor := namedAnchor.FindStringSubmatch(message); anchor != nil {
		line = 1 + bytes.Count(data[:max(0, bytes.Index(data, []byte("*"+anchor[1])))], []byte("\n"))
		message = "an alias that leads nowhere: quote a value that begins with *"
	}
	return min(max(line, 1), lastLine(data)), "is not YAML: " + message
}

// lastLine is the number of the last line of data that holds something.
func lastLine(data []byte) int {
	return 1 + bytes.Count(bytes.TrimRight(data, "\n"), []byte("\n"))
}
