package provisioner

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// object is one thing that is provisioned, or that is there already.
type object struct {
	name  string
	tree  map[string]any // its normal form
	owned bool           // a live one: it carries our mark
	by    string         // a live one: who wrote it last, where the server tells
	state any            // what its store needs to write or remove it
}

// store holds the objects of one kind in one target.
type store interface {
	// list returns what is there, ours and others'. It succeeds with nothing
	// only where the server said that there is nothing.
	list(ctx context.Context) ([]object, error)
	// put writes desired; live is nil for one that is not there.
	put(ctx context.Context, desired object, live *object) error
	// remove takes away one that is ours.
	remove(ctx context.Context, live object) error
}

// conflict is an object of somebody else's in the place of one of ours.
type conflict struct{ target, key, advice string }

func (e *conflict) Error() string {
	return fmt.Sprintf("%s: %s is there and carries no mark of scwatch: it is left alone; %s", e.target, e.key, e.advice)
}

// compare tells what makes live into desired. It is pure: plan, apply and
// reading back walk through it alike.
func compare(target string, kind Kind, s store, desired, live []object) ([]Action, []error) {
	var actions []Action
	var errs []error
	for _, d := range desired {
		a := Action{Target: target, Kind: kind, Name: d.name, Digest: digest(d.tree), store: s, desired: d}
		at := slices.IndexFunc(live, func(l object) bool { return l.name == d.name })
		if at < 0 {
			a.Op = Create
			actions = append(actions, a)
			continue
		}
		a.live = live[at]
		if !a.live.owned {
			errs = append(errs, &conflict{target, a.Key(), "rename one of the two"})
			continue
		}
		if a.Changes = changes("", a.live.tree, d.tree); len(a.Changes) > 0 {
			a.Op, a.ChangedBy = Update, a.live.by
			actions = append(actions, a)
		}
	}
	for _, l := range live {
		if l.owned && !slices.ContainsFunc(desired, func(d object) bool { return d.name == l.name }) {
			actions = append(actions, Action{Target: target, Kind: kind, Name: l.name, Op: Delete, ChangedBy: l.by, Digest: digest(l.tree), store: s, live: l})
		}
	}
	slices.SortStableFunc(actions, func(a, b Action) int { return strings.Compare(a.Name, b.Name) })
	return actions, errs
}
