package collector

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/scwatch/scwatch/internal/config"
)

// Rules is what a Fleet judges by: the part of the configuration that can
// change while it lives.
type Rules struct {
	StaleAfter         time.Duration
	Exceptions         []config.Exception
	ExceptionsFromTags bool
}

// Fleet is all that is known of the watched functions: what each unit last
// found, and what was seen over time. It is safe for concurrent use, and lives
// on when the configuration is reloaded.
type Fleet struct {
	log *slog.Logger

	mu      sync.Mutex
	rules   Rules
	units   map[Unit]*unitState
	history *history
	ledger  *ledger      // of rejected calls; it has a lock of its own
	saved   bool         // the last change of both is in the state file
	judged  exceptionLog // what was said of the exceptions so far

	introduced bool // what there is was said
}

type unitState struct {
	status  UnitStatus
	items   Items
	expired bool // the items were dropped since the last success
}

// NewFleet returns a Fleet that remembers in state. Its log says what changes:
// a function that becomes public, a unit that goes down.
func NewFleet(state *State, log *slog.Logger) (*Fleet, error) {
	history, err := newHistory(state)
	if err != nil {
		return nil, err
	}
	ledger, err := newLedger(state)
	if err != nil {
		return nil, err
	}
	return &Fleet{log: log, units: map[Unit]*unitState{}, history: history, ledger: ledger, saved: true}, nil
}

// Judge makes the fleet go by rules from now on.
func (f *Fleet) Judge(rules Rules) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = rules
	f.judged = exceptionLog{}
}

// watch makes units the ones that are watched. What belongs to others is gone
// at once: nobody asked for it any more, or its project no longer exists.
func (f *Fleet) watch(units []Unit, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	watched := map[Unit]bool{}
	for _, unit := range units {
		watched[unit] = true
		if f.units[unit] == nil {
			f.units[unit] = &unitState{status: UnitStatus{Unit: unit}}
		}
	}
	maps.DeleteFunc(f.units, func(unit Unit, _ *unitState) bool { return !watched[unit] })
	projects := map[string]bool{}
	for _, unit := range units {
		if unit.ProjectID != "" {
			projects[unit.ProjectID] = true
		}
	}
	if len(projects) == 0 {
		return // they have not been found yet
	}
	f.history.leaveUnwatched(func(projectID, region string) bool {
		return watched[Unit{projectID, region, sourceFunctions}] || region == "" && projects[projectID]
	}, now)
	f.save()
}

// succeeded takes what a poll of unit found.
func (f *Fleet) succeeded(unit Unit, items Items, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.units[unit]
	if u == nil {
		return // no longer watched
	}
	if unit.Source == sourceFunctions {
		setKeys(items.Functions)
		first := u.status.LastSuccess.IsZero()
		for _, change := range f.history.observe(unit, items.Functions, first, now) {
			f.logChange(change)
		}
		f.save()
	}
	if unit.Source == sourceProjects {
		f.history.observeProjects(items.Projects)
		f.save()
	}
	if !u.status.FailedSince.IsZero() {
		f.log.Info("reading works again", append(unit.attrs(), "down_for", now.Sub(u.status.FailedSince).Round(time.Second))...)
	}
	u.items, u.expired = items, false
	u.status.Up, u.status.Tried, u.status.Error = true, true, nil
	u.status.LastSuccess, u.status.FailedSince = now, time.Time{}
}

// failed takes note that a poll of unit failed. What the unit last found stays
// until its stale_after has run out.
func (f *Fleet) failed(unit Unit, err error, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.units[unit]
	if u == nil {
		return
	}
	if u.status.Error == nil || statusOf(u.status.Error) != statusOf(err) {
		what := "reading fails"
		if !u.status.LastSuccess.IsZero() {
			what += "; the last good values stay for " + f.rules.StaleAfter.String()
		}
		f.log.Error(what, append(unit.attrs(), "err", err)...)
	}
	u.status.Up, u.status.Tried, u.status.Error = false, true, err
	if u.status.FailedSince.IsZero() {
		u.status.FailedSince = now
	}
	f.expire(now)
}

// expire drops the items of units that have been failing for stale_after.
func (f *Fleet) expire(now time.Time) {
	for unit, u := range f.units {
		s := u.status
		if s.FailedSince.IsZero() || now.Sub(s.FailedSince) < f.rules.StaleAfter || u.expired {
			continue
		}
		u.items, u.expired = Items{}, true
		f.log.Warn("its last good values are too old and are dropped", append(unit.attrs(), "failing_since", s.FailedSince)...)
	}
}

// skipped counts polls of unit that were due while one was under way.
func (f *Fleet) skipped(unit Unit, n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if u := f.units[unit]; u != nil {
		u.status.Skipped += n
	}
}

// items returns what unit last found.
func (f *Fleet) items(unit Unit) Items {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.found(unit)
}

func (f *Fleet) found(unit Unit) Items {
	if u := f.units[unit]; u != nil {
		return u.items
	}
	return Items{}
}

// Ready tells why the fleet is not ready yet; nil once every unit of functions
// was tried and one of them worked.
func (f *Fleet) Ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var untried, worked, all int
	for unit, u := range f.units {
		if unit.Source != sourceFunctions {
			continue
		}
		all++
		if !u.status.Tried {
			untried++
		}
		if !u.status.LastSuccess.IsZero() {
			worked++
		}
	}
	projects := f.units[Unit{Source: sourceProjects}]
	switch {
	case projects == nil || (all == 0 && projects.status.LastSuccess.IsZero()):
		return errors.New("the projects have not been read yet")
	case untried > 0:
		return fmt.Errorf("%d of %d units have not been read yet", untried, all)
	case worked == 0 && all > 0:
		return fmt.Errorf("none of %d units could be read yet; see the log", all)
	}
	return nil
}

// Settled tells whether every unit was tried, so that what is absent was looked
// for.
func (f *Fleet) Settled() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, u := range f.units {
		if !u.status.Tried {
			return false
		}
	}
	return len(f.units) > 0
}

// save keeps the history. A disk that is full ends no polling: what could not
// be kept is kept with the next change.
func (f *Fleet) save() { f.kept(f.history.save()) }

// kept takes note whether the state file took a change.
func (f *Fleet) kept(err error) {
	if saved := err == nil; saved != f.saved {
		f.saved = saved
		if saved {
			f.log.Info("the state file can be written again")
		} else {
			f.log.Error("the state file cannot be written; a restart now would forget the latest changes", "err", err)
		}
	}
}

// tally changes what was counted in a project and region, and keeps it.
func (f *Fleet) tally(unit Unit, change func(*tally)) {
	err := f.ledger.update(unit.ProjectID, unit.Region, change)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept(err)
}

func (f *Fleet) logChange(c Change) {
	attrs := append(c.Function.attrs(), "from", c.From)
	switch {
	case c.From == "":
		f.log.Warn("a new function is public", c.Function.attrs()...)
	case c.To == privacyPublic:
		f.log.Warn("a function became public", attrs...)
	default:
		f.log.Info("a function became "+c.To, attrs...)
	}
}

// introduce says once what there is, when every unit of functions was tried.
func (f *Fleet) introduce(s *Snapshot) {
	regions, down := 0, 0
	for _, u := range s.Units {
		if u.Source != sourceFunctions {
			continue
		}
		if !u.Tried {
			return
		}
		regions++
		if !u.Up {
			down++
		}
	}
	if f.introduced || regions == 0 {
		return
	}
	f.introduced = true
	public, open, excepted := 0, 0, 0
	for _, fn := range s.Functions {
		if fn.Privacy == privacyPublic {
			public++
		}
		open += len(fn.Findings)
		excepted += len(fn.Excepted)
	}
	f.log.Info("every region has been asked", "functions", len(s.Functions), "public", public,
		"findings", open, "excepted", excepted, "units", regions, "units_down", down)
}

func (u Unit) attrs() []any {
	attrs := []any{"unit", u.Source}
	if u.ProjectID != "" {
		attrs = append(attrs, "project_id", u.ProjectID, "region", u.Region)
	}
	return attrs
}

func (fn Function) attrs() []any {
	return []any{"function", fn.Name, "namespace", fn.Namespace, "project_id", fn.ProjectID, "region", fn.Region, "function_id", fn.ID}
}

// statusOf is what tells one failure from another where only changes are said.
func statusOf(err error) int {
	var e *APIError
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}
