// Package config reads what a user says: the configuration file, strictly and
// with every problem at once, and the credentials in the environment.
package config

import "strings"

// Builtin names the definitions that are embedded in the binary, where a list
// of files is expected.
const Builtin = "builtin"

// Config is the configuration file, key by key. After [Load] every field has
// the file's value or its default, IDs are in lower case, and paths that were
// relative start at the file's own folder.
//
// The struct tags are the whole schema; [decoder] lists them.
type Config struct {
	Scaleway           Scaleway      `yaml:"scaleway" doc:"What is watched."`
	Cockpit            Cockpit       `yaml:"cockpit" doc:"The home: the project and region whose Cockpit takes scwatch's metrics, rules, routes and dashboards."`
	Collect            Collect       `yaml:"collect" doc:"How the Scaleway API is polled."`
	RejectedCalls      RejectedCalls `yaml:"rejected_calls" doc:"Where the number of refused calls comes from; see [rejected-calls.md](rejected-calls.md)."`
	Exceptions         []Exception   `yaml:"exceptions" default:"[]" doc:"Findings that somebody answers for, until a day. An exception covers what all of its selectors match."`
	ExceptionsFromTags bool          `yaml:"exceptions_from_tags" default:"false" doc:"The function tag \"scwatch-allow=<check>\" excepts that check, with the team as owner."`
	Push               Push          `yaml:"push" doc:"How samples get into Cockpit, or into another remote-write receiver."`
	Provision          Provision     `yaml:"provision" doc:"What \"plan\", \"apply\" and \"destroy\" manage."`

	// File names the source in messages: the file as it was given,
	// "SCWATCH_CONFIG", or "" for the defaults alone.
	File string

	document *document // nil in a Config that was not parsed
}

func (c *Config) validate(d *document, checks []string) {
	c.Scaleway.validate(d)
	c.Collect.validate(d)
	c.RejectedCalls.validate(d)
	validateExceptions(c.Exceptions, d, checks)
	c.Push.validate(d)
	c.Provision.validate(d)
}

// oneOf lists two words or more as a sentence does: "a, b or c".
func oneOf(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
