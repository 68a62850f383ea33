package provisioner

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

// Kind is a kind of object.
type Kind string

// The kinds, in the order in which they are written.
const (
	KindDataSource   Kind = "data_source"
	KindAlertManager Kind = "alert_manager"
	KindGrafana      Kind = "grafana" // its list of data sources
	KindFolder       Kind = "folder"
	KindDashboard    Kind = "dashboard"
	KindRules        Kind = "rules"
	KindRoutes       Kind = "routes"
	KindContact      Kind = "contact"
)

// Kinds are all kinds, in the order in which they are written.
func Kinds() []Kind {
	return []Kind{KindDataSource, KindAlertManager, KindGrafana, KindFolder, KindDashboard, KindRules, KindRoutes, KindContact}
}

// deletionOrder is that of the kinds that can be deleted, after everything else.
// Routes go first, so that nobody is told that all alerts are resolved; before
// the contacts, which Cockpit keeps in the same document; and what is in a
// folder goes before it.
var deletionOrder = []Kind{KindRoutes, KindContact, KindRules, KindDashboard, KindFolder}

// Op is what happens to an object.
type Op string

// The operations.
const (
	Create Op = "create"
	Update Op = "update"
	Delete Op = "delete"
)

// Action is one thing to do.
type Action struct {
	Target    string   `json:"target"` // project ID/region, or the address of a Grafana
	Kind      Kind     `json:"kind"`
	Name      string   `json:"name"`
	Op        Op       `json:"op"`
	Changes   []Change `json:"changes,omitempty"`    // of an update
	ChangedBy string   `json:"changed_by,omitempty"` // who wrote what is there, where the server tells
	Digest    string   `json:"digest"`               // of what is written, or taken away, with its secrets masked

	store   store
	desired object // of a create or update
	live    object // of an update or delete
}

// digest tells one content from another.
func digest(tree map[string]any) string {
	sum := sha256.Sum256([]byte(text(tree)))
	return hex.EncodeToString(sum[:8])
}

// Key names the object of an action within its target.
func (a Action) Key() string { return string(a.Kind) + "/" + a.Name }

// Plan is what would be done, and what apply does. Its JSON form has secrets
// masked and no content of objects that stay as they are.
type Plan struct {
	Version int      `json:"version"` // of this form
	Destroy bool     `json:"destroy"`
	Only    []string `json:"only,omitempty"`
	Actions []Action `json:"actions"`
	Notes   []string `json:"notes,omitempty"` // what a person should know or do
}

// planVersion is the version of a plan's JSON form.
const planVersion = 1

// Count is how many actions of a plan do op.
func (p *Plan) Count(op Op) int {
	n := 0
	for _, a := range p.Actions {
		if a.Op == op {
			n++
		}
	}
	return n
}

// Drift is how many objects of each kind differ from their definitions.
func (p *Plan) Drift() map[Kind]int {
	drift := make(map[Kind]int)
	for _, kind := range Kinds() {
		drift[kind] = 0
	}
	for _, a := range p.Actions {
		drift[a.Kind]++
	}
	return drift
}

// Encode is the plan as JSON.
func (p *Plan) Encode() ([]byte, error) {
	q := *p
	if q.Actions == nil {
		q.Actions = []Action{}
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(q); err != nil {
		return nil, fmt.Errorf("encode the plan: %w", err)
	}
	return b.Bytes(), nil
}

// ReadPlan reads a plan that was saved.
func ReadPlan(file string) (*Plan, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var p Plan
	if err := decoder.Decode(&p); err != nil {
		return nil, fmt.Errorf("read the plan %s: it is none of scwatch's: %w", file, err)
	}
	if p.Version != planVersion {
		return nil, fmt.Errorf("read the plan %s: it has version %d, this scwatch reads version %d; plan anew", file, p.Version, planVersion)
	}
	return &p, nil
}

// Moved tells how now, the plan of this moment, differs from a saved one; empty
// where it does not.
func (p *Plan) Moved(now *Plan) []string {
	was, is := p.lines(), now.lines()
	var moved []string
	for _, line := range was {
		if !slices.Contains(is, line) {
			moved = append(moved, "planned, and not as it was: "+line)
		}
	}
	for _, line := range is {
		if !slices.Contains(was, line) {
			moved = append(moved, "new: "+line)
		}
	}
	return moved
}

// lines are the actions, each with all that it changes, as text.
func (p *Plan) lines() []string {
	var lines []string
	for _, a := range p.Actions {
		line := fmt.Sprintf("%s %s/%s (%s)", a.Op, a.Target, a.Key(), a.Digest)
		for _, c := range a.Changes {
			line += fmt.Sprintf("; %s: %s -> %s", c.Path, text(c.Before), text(c.After))
		}
		lines = append(lines, line)
	}
	return lines
}
