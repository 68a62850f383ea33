package provisioner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Outcome is what became of an action.
type Outcome struct {
	Action Action
	Err    error // nil: it is done, and was read back
	Done   bool
}

// Result is what became of a plan.
type Result struct{ Outcomes []Outcome }

// Err joins what failed; nil where all is done.
func (r *Result) Err() error {
	var errs []error
	for _, o := range r.Outcomes {
		errs = append(errs, o.Err)
	}
	return errors.Join(errs...)
}

// Done is how many actions are done.
func (r *Result) Done() int {
	n := 0
	for _, o := range r.Outcomes {
		if o.Done {
			n++
		}
	}
	return n
}

// needs are the kinds without which one cannot be written.
var needs = map[Kind][]Kind{
	KindGrafana:   {KindDataSource},
	KindDashboard: {KindFolder, KindGrafana},
	KindRules:     {KindDataSource},
	KindRoutes:    {KindAlertManager},
	KindContact:   {KindAlertManager},
}

// Apply does what a plan says, kind by kind, and reads back what it wrote. A
// failure stops what depends on it in that target; deletions come last, and only
// where nothing failed before. tell is called as actions end, one at a time.
func (p *Provisioner) Apply(ctx context.Context, plan *Plan, tell func(Outcome)) *Result {
	result := &Result{}
	failed := make(map[string][]Kind) // by target
	for start := 0; start < len(plan.Actions); {
		end := start + 1
		for end < len(plan.Actions) && plan.Actions[end].Kind == plan.Actions[start].Kind && plan.Actions[end].Op == Delete == (plan.Actions[start].Op == Delete) {
			end++
		}
		for _, o := range applyKind(ctx, plan.Actions[start:end], failed) {
			if o.Err != nil && !slices.Contains(failed[o.Action.Target], o.Action.Kind) {
				failed[o.Action.Target] = append(failed[o.Action.Target], o.Action.Kind)
			}
			result.Outcomes = append(result.Outcomes, o)
			tell(o)
		}
		start = end
	}
	return result
}

// applyKind does the actions of one kind, in parallel.
func applyKind(ctx context.Context, actions []Action, failed map[string][]Kind) []Outcome {
	outcomes, _ := parallel(ctx, actions, func(ctx context.Context, a Action) ([]Outcome, error) {
		if reason := held(a, failed[a.Target]); reason != "" {
			return []Outcome{{Action: a, Err: fmt.Errorf("%s %s/%s: not attempted: %s", a.Op, a.Target, a.Key(), reason)}}, nil
		}
		err := ctx.Err()
		switch {
		case err != nil:
		case a.Op == Delete:
			err = a.store.remove(ctx, a.live)
		case a.Op == Create:
			err = a.store.put(ctx, a.desired, nil)
		default:
			err = a.store.put(ctx, a.desired, &a.live)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", a.Target, err)
		}
		return []Outcome{{Action: a, Err: err, Done: err == nil}}, nil
	})
	readBack(ctx, outcomes)
	return outcomes
}

// held tells why an action has to wait; empty where it has not.
func held(a Action, failed []Kind) string {
	if a.Op == Delete && len(failed) > 0 {
		return "deletions are for when everything else is done"
	}
	needed := needs[a.Kind]
	if _, managed := a.store.(*managedRules); managed {
		needed = []Kind{KindFolder} // Grafana takes rules for a folder that is not there
	}
	for _, kind := range needed {
		if slices.Contains(failed, kind) {
			return fmt.Sprintf("it needs the %s, which failed", strings.ReplaceAll(string(kind), "_", " "))
		}
	}
	return ""
}

// readBack lists each store once and compares what is there with what was
// written: a server can take something and keep something else.
func readBack(ctx context.Context, outcomes []Outcome) {
	listed := make(map[store][]object)
	failures := make(map[store]error)
	for i := range outcomes {
		o := &outcomes[i]
		s := o.Action.store
		if !o.Done {
			continue
		}
		if _, read := listed[s]; !read && failures[s] == nil {
			if listed[s], failures[s] = s.list(ctx); listed[s] == nil {
				listed[s] = []object{}
			}
		}
		if err := failures[s]; err != nil {
			o.Done, o.Err = false, fmt.Errorf("%s: written, and not read back: %w", o.Action.Target, err)
			continue
		}
		if err := kept(o.Action, listed[s]); err != nil {
			o.Done, o.Err = false, fmt.Errorf("%s/%s: %w", o.Action.Target, o.Action.Key(), err)
		}
	}
}

// kept compares one action with what is there after it.
func kept(a Action, live []object) error {
	at := slices.IndexFunc(live, func(l object) bool { return l.name == a.Name })
	switch {
	case a.Op == Delete && at >= 0 && live[at].owned:
		return errors.New("the server took the deletion, and it is still there")
	case a.Op == Delete:
		return nil
	case at < 0:
		return errors.New("the server took it, and it is not there")
	}
	differ := changes("", live[at].tree, a.desired.tree)
	if len(differ) == 0 {
		return nil
	}
	var fields []string
	for _, c := range differ {
		fields = append(fields, c.Path)
	}
	return fmt.Errorf("the server took it, and keeps something else in %s", strings.Join(fields, ", "))
}
