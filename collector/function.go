package collector

import (
	"slices"
	"strings"
	"time"

	function "github.com/scaleway/scaleway-sdk-go/api/function/v1beta1"
)

// Values of the API's enumerations, as labels. What the API calls
// "unknown_privacy" or leaves out is unknown.
const (
	unknown = "unknown"

	privacyPublic  = "public"
	privacyPrivate = "private"

	httpEnabled    = "enabled"
	httpRedirected = "redirected"

	statusError    = "error"
	statusPending  = "pending"
	statusCreating = "creating"

	sandboxV1 = "v1"

	runtimeDeprecated   = "deprecated"
	runtimeEndOfSupport = "end_of_support"
	runtimeEndOfLife    = "end_of_life"
)

// Scopes of variables, secrets and tokens: a function runs with its own and
// with those of its namespace.
const (
	scopeFunction  = "function"
	scopeNamespace = "namespace"
)

var scopes = []string{scopeFunction, scopeNamespace}

// Function is one function's posture. It holds no value of a variable and no
// hash: those end where the API's answer is read.
type Function struct {
	ProjectID, Region      string
	Project                string // name; the ID where the name cannot be read
	NamespaceID, Namespace string
	ID, Name               string

	Team    string   // from the tag of collect.team_tag; may be empty
	Tags    []string // as set on the function
	Runtime string
	Sandbox string
	Domain  string // host name of its URL

	Privacy        string
	HTTPOption     string
	Status         string
	PrivateNetwork bool

	MinScale, MaxScale uint32
	MemoryBytes        float64
	CPUCores           float64
	Timeout            time.Duration // 0: not told
	Created, Updated   time.Time     // zero: not told

	Variables map[string]Variables // by scope

	// From the slow sources; nil and empty where they have not answered yet.
	RuntimeStatus string
	Tokens        map[string][]Token // by scope
	Triggers      map[string]int     // by type
	Crons         *int
	Domains       []string // host names of its own; nil: not known
	RejectedBy    string   // the source of Rejected

	Rejected map[string]float64 // calls refused, by code; nil: not counted

	ProbeRejected *bool // the last conclusive probe was refused; nil: there was none
	ProbeAccepted bool  // a call without a token was answered with success

	// From what was seen over time.
	PublicSince     time.Time // zero unless it is public, or was when the API last told
	WasPlainHTTP    bool      // served when the API last told
	ErrorSince      time.Time // zero unless it is in error, or is deployed again after one
	PrivacyChanges  map[string]uint64
	OldestSecretSet time.Time // zero: no secret

	Findings []Finding // open ones, worst first
	Excepted []Finding // those that somebody answers for

	key string // of its story
}

// Variables describes the variables of one scope.
type Variables struct {
	Count   int            // in clear text
	Suspect []PlaintextVar // clear-text variables that look like secrets
	Secrets int

	fingerprints map[string]string // of each secret's hash, by its name
	set          time.Time         // the latest time at which they can have been set
}

// PlaintextVar is a clear-text variable that looks like a secret.
type PlaintextVar struct {
	Name string
	Kind string // what it looks like; never a piece of the value
}

// Token is a legacy JWT token.
type Token struct {
	ID      string
	Expires time.Time // zero: never
}

// reader turns the API's answers into postures. fingerprint is a keyed digest:
// it tells that a secret was set again and nothing else.
type reader struct {
	teamTag     string
	fingerprint func(hash string) string
}

// function returns the posture of f, which runs with the variables of ns as
// well.
func (r reader) function(unit Unit, f function.Function, ns function.Namespace, inherited Variables) Function {
	out := Function{
		ProjectID: unit.ProjectID, Region: unit.Region,
		NamespaceID: ns.ID, Namespace: ns.Name,
		ID: f.ID, Name: f.Name,
		Team:           tagValue(f.Tags, r.teamTag),
		Tags:           f.Tags,
		Runtime:        label(string(f.Runtime)),
		Sandbox:        label(string(f.Sandbox)),
		Domain:         f.DomainName,
		Privacy:        privacy(f.Privacy),
		HTTPOption:     label(string(f.HTTPOption)),
		Status:         label(string(f.Status)),
		PrivateNetwork: f.PrivateNetworkID != nil && *f.PrivateNetworkID != "",
		MinScale:       f.MinScale,
		MaxScale:       f.MaxScale,
		MemoryBytes:    float64(f.MemoryLimit) * 1e6, // the API's MB are powers of ten
		CPUCores:       float64(f.CPULimit) / 1000,   // mvCPU
		Created:        timeOf(f.CreatedAt),
		Updated:        timeOf(f.UpdatedAt),
		Variables: map[string]Variables{
			scopeFunction:  r.variables(f.EnvironmentVariables, f.SecretEnvironmentVariables, f.UpdatedAt),
			scopeNamespace: inherited,
		},
	}
	if f.Timeout != nil {
		out.Timeout = *f.Timeout.ToTimeDuration()
	}
	return out
}

func (r reader) variables(clear map[string]string, secrets []*function.SecretHashedValue, updated *time.Time) Variables {
	v := Variables{Count: len(clear), set: timeOf(updated)}
	for name, value := range clear {
		if kind, found := plaintextSecret(name, value); found {
			v.Suspect = append(v.Suspect, PlaintextVar{Name: name, Kind: kind})
		}
	}
	slices.SortFunc(v.Suspect, func(a, b PlaintextVar) int { return strings.Compare(a.Name, b.Name) })
	for _, secret := range secrets {
		if secret == nil {
			continue
		}
		if v.fingerprints == nil {
			v.fingerprints = map[string]string{}
		}
		v.fingerprints[secret.Key] = r.fingerprint(secret.HashedValue)
	}
	v.Secrets = len(v.fingerprints)
	return v
}

// label spells an enumeration's value: "unknown_privacy" and "" are unknown.
func label(value string) string {
	if value == "" || strings.HasPrefix(value, "unknown") {
		return unknown
	}
	return value
}

// privacy counts a value that this version does not know as unknown: it must
// pass for neither of the two.
func privacy(p function.FunctionPrivacy) string {
	switch p {
	case function.FunctionPrivacyPublic:
		return privacyPublic
	case function.FunctionPrivacyPrivate:
		return privacyPrivate
	}
	return unknown
}

// tagValue returns the value of the first tag "key=value"; empty if there is
// none.
func tagValue(tags []string, key string) string {
	for _, tag := range tags {
		if value, ok := strings.CutPrefix(tag, key+"="); ok {
			return value
		}
	}
	return ""
}

func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// Public tells whether anybody may call f.
func (f *Function) Public() bool { return f.Privacy == privacyPublic }
