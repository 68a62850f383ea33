package simulator

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Account is everything that a simulated organization has.
type Account struct {
	OrganizationID string
	Keys           []Key
	Projects       []Project
	Runtimes       []Runtime // of every region
	Denied         []Denial  // what every key is refused
	CockpitTokens  []string

	// Storage is behind every data source: it gets the calls below a data
	// source's address, /api/v1/push and /prometheus/api/v1/query.
	Storage http.Handler `json:"-"`

	// Storages are behind single data sources, by ID, in the place of Storage.
	Storages map[string]http.Handler `json:"-"`

	// FixedAnswers puts a fixture behind Scaleway's own metrics where there is
	// no storage: Bursts, as scwatch asks for them.
	FixedAnswers bool
	Bursts       []Burst

	// Dashboards are Scaleway's own in the projects' Grafana, by project ID and
	// uid. They are read like any other, and cannot be changed.
	Dashboards map[string]map[string]json.RawMessage

	// HideListings answers listings with 404 while their objects are there, as
	// a gateway with a wrong route would.
	HideListings bool

	// MimirAnswers has the metrics rulers answer as Mimir's source has it where
	// Cortex, which was run, answers otherwise: an empty tenant is 200 {}, and
	// to delete a group that is missing is 404.
	MimirAnswers bool

	// RulersLoseRules has the rulers store a group without its last rule, and
	// answer that all went well.
	RulersLoseRules bool

	// PollInterval is how often rulers and alert managers look for what was
	// stored: until then they go by what they had. Zero: at once.
	PollInterval time.Duration

	secretsSet int // how often a secret was set, the salt of the next hash
}

// Key is an IAM API key.
type Key struct {
	AccessKey, SecretKey, Description string
	Expires                           time.Time // zero: never
}

// Denial refuses a resource with 403: "function", "project", "api_key". Empty
// fields stand for all. What a project's Cockpit serves is "cockpit", too: its
// Grafana, which has no region, its rulers and its alert managers; not storage.
type Denial struct {
	ProjectID, Region, Resource string
	WritesOnly                  bool
}

// Project is a project of the organization.
type Project struct {
	ID, Name, Description string
	Created               time.Time
	Namespaces            []Namespace
	DataSources           []DataSource
	RuleGroups            []RuleGroup // of all data sources
	AlertManagers         []AlertManager
	CockpitTokens         []CockpitToken
	Grafana               Grafana
}

// Namespace is a functions namespace.
type Namespace struct {
	ID, Name, Region string
	Variables        map[string]string
	Secrets          []Secret
	Tags             []string
	Status           string
	Created, Updated time.Time
	Tokens           []Token
	Functions        []Function
}

// Function is a function with all that hangs on it.
type Function struct {
	ID, Name           string
	Runtime            string
	Privacy            string
	HTTPOption         string
	Sandbox            string
	Status             string
	ErrorMessage       string
	Variables          map[string]string
	Secrets            []Secret
	Tags               []string
	PrivateNetworkID   string
	MinScale, MaxScale int
	MemoryMB, MilliCPU int
	Timeout            time.Duration
	Created, Updated   time.Time
	Tokens             []Token
	Triggers           []Trigger
	Crons              []Cron
	Domains            []Domain
}

// Secret is a secret variable. Its value is not kept.
type Secret struct{ Key, Hash string }

// Token is a legacy JWT token.
type Token struct {
	ID, Value, Description string
	Expires                time.Time // zero: never
}

// Trigger calls a function; InputType is one of the API's: scw_sqs, scw_nats, …
type Trigger struct{ ID, Name, InputType string }

// Cron calls a function on a schedule.
type Cron struct{ ID, Name, Schedule string }

// Domain is a host name of the customer's.
type Domain struct{ ID, Hostname string }

// Runtime is one that functions can have.
type Runtime struct{ Name, Language, Version, Status string }

// Project returns the project with that ID; nil where there is none.
func (a *Account) Project(id string) *Project {
	for p := range a.Projects {
		if a.Projects[p].ID == id {
			return &a.Projects[p]
		}
	}
	return nil
}

// find returns the function and its namespace; nil where there is none.
func (a *Account) find(functionID string) (*Namespace, *Function) {
	for p := range a.Projects {
		for n := range a.Projects[p].Namespaces {
			ns := &a.Projects[p].Namespaces[n]
			for f := range ns.Functions {
				if ns.Functions[f].ID == functionID {
					return ns, &ns.Functions[f]
				}
			}
		}
	}
	return nil, nil
}

// Lookup returns the function of that name in the namespace of that name; it
// panics where there is none, since names are the author's own.
func (a *Account) Lookup(namespace, name string) *Function {
	for p := range a.Projects {
		for _, ns := range a.Projects[p].Namespaces {
			for f := range ns.Functions {
				if ns.Name == namespace && ns.Functions[f].Name == name {
					return &ns.Functions[f]
				}
			}
		}
	}
	panic(fmt.Sprintf("the simulated account has no function %s/%s", namespace, name))
}

// SetSecret sets a secret of f at now: again with another hash, as the platform
// salts them anew.
func (a *Account) SetSecret(f *Function, key string, now time.Time) {
	a.secretsSet++
	secret := Secret{Key: key, Hash: hash(a.secretsSet)}
	if i := slices.IndexFunc(f.Secrets, func(s Secret) bool { return s.Key == key }); i >= 0 {
		f.Secrets[i] = secret
	} else {
		f.Secrets = append(f.Secrets, secret)
	}
	f.Updated = now
}

// hash looks like the API's argon2id hashes; n tells them apart.
func hash(n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "secret %d", n))
	encode := base64.RawStdEncoding.EncodeToString
	return "$argon2id$v=19$m=65536,t=1,p=2$" + encode(sum[:16]) + "$" + encode(sum[:])
}

// Delete deletes the function named name in the namespace named namespace and
// returns what it was.
func (a *Account) Delete(namespace, name string) Function {
	f := *a.Lookup(namespace, name)
	ns, _ := a.find(f.ID)
	ns.Functions = slices.DeleteFunc(ns.Functions, func(other Function) bool { return other.ID == f.ID })
	return f
}

// Create adds f to the namespace of that name.
func (a *Account) Create(namespace string, f Function) {
	for p := range a.Projects {
		for n := range a.Projects[p].Namespaces {
			if ns := &a.Projects[p].Namespaces[n]; ns.Name == namespace {
				ns.Functions = append(ns.Functions, f)
				return
			}
		}
	}
	panic("the simulated account has no namespace " + namespace)
}
