package config

import (
	"path"
	"slices"
	"strings"
	"time"
)

// Exception is a finding that somebody answers for, until a day. The selectors
// are globs as of [path.Match], save for Tag.
type Exception struct {
	Checks    []string  `yaml:"checks" doc:"IDs of the checks."`
	Function  string    `yaml:"function" default:"*" format:"glob" doc:"Name of the function."`
	Namespace string    `yaml:"namespace" default:"*" format:"glob" doc:"Name of the namespace."`
	Project   string    `yaml:"project" default:"*" format:"glob" doc:"The project."`
	Tag       string    `yaml:"tag" default:"" doc:"A tag that the function has. Empty: any or none."`
	Owner     string    `yaml:"owner" doc:"Who answers for it."`
	Reason    string    `yaml:"reason" doc:"Why it is accepted."`
	Expires   time.Time `yaml:"expires" doc:"The day, in UTC, from whose start on the findings are open again."`

	Line int // where it begins in Config.File
}

func validateExceptions(exceptions []Exception, d *document, checks []string) {
	for i, e := range exceptions {
		at := element("exceptions", i)
		d.rejectRepeated(at+".checks", e.Checks)
		for j, check := range e.Checks {
			if !slices.Contains(checks, check) {
				d.reject(element(at+".checks", j), "unknown check %.60q%s", check, Suggestion(check, checks))
			}
		}
		if !d.sound(at) {
			continue
		}
		for j, other := range exceptions[:i] {
			shared := e.sharedChecks(other)
			if !d.sound(element("exceptions", j)) || !e.sameSelectors(other) || len(shared) == 0 {
				continue
			}
			if e.sameAnswer(other) {
				d.reject(at, "repeats the exception on line %d for %s", other.Line, strings.Join(shared, ", "))
			} else {
				d.reject(at, "contradicts the exception on line %d for %s: the same functions, but another owner, reason or expires",
					other.Line, strings.Join(shared, ", "))
			}
		}
	}
}

func (e Exception) sharedChecks(other Exception) []string {
	return slices.DeleteFunc(slices.Clone(e.Checks), func(check string) bool {
		return !slices.Contains(other.Checks, check)
	})
}

func (e Exception) sameSelectors(other Exception) bool {
	return e.Function == other.Function && e.Namespace == other.Namespace &&
		e.Project == other.Project && e.Tag == other.Tag
}

func (e Exception) sameAnswer(other Exception) bool {
	return e.Owner == other.Owner && e.Reason == other.Reason && e.Expires.Equal(other.Expires)
}

func validGlob(pattern string) bool {
	_, err := path.Match(pattern, "")
	return err == nil
}
