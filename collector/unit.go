package collector

import (
	"cmp"
	"time"
)

// The sources that a unit can read.
const (
	sourceFunctions   = "functions" // namespaces and functions
	sourceRuntimes    = "runtimes"
	sourceTokens      = "tokens"
	sourceTriggers    = "triggers"
	sourceCrons       = "crons"
	sourceDomains     = "domains"
	sourceRejected    = "rejected_calls" // asked of Cockpit
	sourceProbe       = "probe"          // asked of the functions themselves
	sourceProjects    = "projects"       // of the account: which there are, and their names
	sourceCredentials = "credential"     // of the account: when the API key ends
)

// slowSources cost a call a function, and are asked about what sourceFunctions
// found.
var slowSources = []string{sourceRuntimes, sourceTokens, sourceTriggers, sourceCrons, sourceDomains}

// Unit is what is polled, succeeds and fails as one. The account's own units
// have neither project nor region.
type Unit struct {
	ProjectID string
	Region    string
	Source    string
}

// ReadsFunctions tells whether u is what finds functions.
func (u Unit) ReadsFunctions() bool { return u.Source == sourceFunctions }

func (u Unit) compare(other Unit) int {
	return cmp.Or(cmp.Compare(u.ProjectID, other.ProjectID), cmp.Compare(u.Region, other.Region), cmp.Compare(u.Source, other.Source))
}

// Items is what one poll of a unit found: the field of its source is set.
type Items struct {
	Functions   []Function
	Runtimes    map[string]string         // status by runtime
	Tokens      map[string][]Token        // by the ID of the function or namespace
	Triggers    map[string]map[string]int // count by the function's ID and the type
	Crons       map[string]int            // by the function's ID
	Domains     map[string][]string       // host names by the function's ID
	Projects    map[string]string         // name by ID
	Credentials map[string]time.Time      // end by credential
	Rejected    *RejectedCalls
}

// UnitStatus is how a unit fares.
type UnitStatus struct {
	Unit
	Up          bool
	Tried       bool
	LastSuccess time.Time // zero: never
	FailedSince time.Time // of the first failed poll after the last success; zero while up
	Error       error     // of the last poll; nil while up
	Skipped     uint64    // polls that were due while the one before was under way
}
