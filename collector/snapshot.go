package collector

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Snapshot is what is known at one time. It is never changed after it was
// made, so that it can be read without a lock.
type Snapshot struct {
	At          time.Time
	Functions   []Function           // by project, region, namespace, name, ID
	Units       []UnitStatus         // by project, region, source
	Credentials map[string]time.Time // end by credential, where the API tells
	Rejected    []RejectedCalls      // by project, region
}

// Snapshot joins what the units last found with what was seen over time, and
// judges it, as of now.
func (f *Fleet) Snapshot(now time.Time) *Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire(now)
	s := &Snapshot{
		At:          now,
		Credentials: maps.Clone(f.found(Unit{Source: sourceCredentials}).Credentials),
	}
	complete := true
	for unit, u := range f.units {
		s.Units = append(s.Units, u.status)
		complete = complete && u.status.Up
		if u.items.Rejected != nil {
			s.Rejected = append(s.Rejected, *u.items.Rejected)
		}
		if unit.Source == sourceFunctions {
			slow := f.slow(unit)
			for _, fn := range u.items.Functions {
				fn.Project = f.history.project(fn.ProjectID)
				slow.tell(&fn)
				f.tellProbe(&fn)
				f.history.tell(&fn)
				f.rules.judge(&fn, now)
				s.Functions = append(s.Functions, fn)
			}
		}
	}
	slices.SortFunc(s.Units, func(a, b UnitStatus) int { return a.Unit.compare(b.Unit) })
	slices.SortFunc(s.Functions, compareFunctions)
	slices.SortFunc(s.Rejected, func(a, b RejectedCalls) int { return a.Unit.compare(b.Unit) })
	f.introduce(s)
	f.judged.review(f.log, f.rules, s.Functions, complete, now)
	return s
}

func compareFunctions(a, b Function) int {
	return cmp.Or(cmp.Compare(a.ProjectID, b.ProjectID), cmp.Compare(a.Region, b.Region),
		cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
}

// slow gathers what the slow sources found in the project and region of unit.
func (f *Fleet) slow(unit Unit) Items {
	of := func(source string) Items { return f.found(Unit{unit.ProjectID, unit.Region, source}) }
	return Items{
		Runtimes: of(sourceRuntimes).Runtimes,
		Tokens:   of(sourceTokens).Tokens,
		Triggers: of(sourceTriggers).Triggers,
		Crons:    of(sourceCrons).Crons,
		Domains:  of(sourceDomains).Domains,
		Rejected: of(sourceRejected).Rejected,
	}
}

// tellProbe writes the verdict of the last conclusive probe into fn, where
// functions are probed and this one is still private.
func (f *Fleet) tellProbe(fn *Function) {
	if f.units[Unit{fn.ProjectID, fn.Region, sourceProbe}] == nil || fn.Privacy != privacyPrivate {
		return
	}
	if refused, known := f.ledger.verdict(fn.ProjectID, fn.Region, fn.ID); known {
		fn.ProbeRejected, fn.ProbeAccepted = &refused, !refused
	}
}

// tell writes what the slow sources know of fn into it. What they have not
// been asked yet stays unknown.
func (items Items) tell(fn *Function) {
	if items.Runtimes != nil {
		fn.RuntimeStatus = cmp.Or(items.Runtimes[fn.Runtime], unknown)
	}
	if own, ok := items.Tokens[fn.ID]; ok {
		fn.Tokens = map[string][]Token{scopeFunction: own, scopeNamespace: items.Tokens[fn.NamespaceID]}
	}
	fn.Triggers = items.Triggers[fn.ID]
	if n, ok := items.Crons[fn.ID]; ok {
		fn.Crons = &n
	}
	fn.Domains = items.Domains[fn.ID]
	if items.Rejected != nil {
		fn.RejectedBy, fn.Rejected = items.Rejected.Source, items.Rejected.Counts[fn.ID]
	}
}

// Unseen is why nothing is known of any function; nil where the functions of one
// project in one region could be read, or where there was none to read. Where
// the key may read nothing it is one refusal.
func (s *Snapshot) Unseen() error {
	var failed, refused error
	for _, u := range s.Units {
		switch {
		case u.Source == sourceFunctions && u.Up:
			return nil
		case u.Source != sourceFunctions && u.Source != sourceProjects || u.Error == nil:
		case Refused(u.Error):
			refused = u.Error
		default:
			failed = u.Error
		}
	}
	if failed != nil {
		return failed
	}
	return refused
}

// Posture is s without the units that tell nothing of a function's settings:
// those that count and probe its calls.
func (s *Snapshot) Posture() *Snapshot {
	posture := *s
	posture.Units = slices.DeleteFunc(slices.Clone(s.Units), func(u UnitStatus) bool { return u.Source == sourceRejected || u.Source == sourceProbe })
	return &posture
}
