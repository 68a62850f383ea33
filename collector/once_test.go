package collector

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/scwatch/scwatch/internal/simulator"
)

func all(names map[string]string) ([]string, error) {
	return slices.Sorted(maps.Keys(names)), nil
}

// once reads everything one time, and returns what is known then.
func (w *world) once(ctx context.Context, choose func(map[string]string) ([]string, error)) (*Snapshot, error) {
	w.t.Helper()
	poller := NewPoller(w.settings, w.api, w.fleet, NewPollMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	last := 0
	err := poller.Once(ctx, choose, func(done, of int) {
		if done < last || done > of {
			w.t.Errorf("%d of %d units after %d", done, of, last)
		}
		last = done
	})
	s := w.fleet.Snapshot(time.Now())
	if err == nil && last != len(s.Units) {
		w.t.Errorf("the progress ends at %d of %d units", last, len(s.Units))
	}
	return s, err
}

func findings(s *Snapshot) map[string][]string {
	found := map[string][]string{}
	for _, f := range s.Functions {
		for _, finding := range f.Findings {
			found[f.Project+"/"+f.Namespace+"/"+f.Name] = append(found[f.Project+"/"+f.Namespace+"/"+f.Name], finding.Check.ID+": "+finding.What)
		}
	}
	return found
}

// One round finds what the daemon finds, by the calls of its first round.
func TestOnceFindsWhatTheDaemonFinds(t *testing.T) {
	var calls [2]map[string]int
	var found [2]map[string][]string
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, simulator.DemoAccount(time.Now()))
		w.run()
		w.after(10 * time.Second)
		calls[0], found[0] = w.sim.Requests(), findings(w.fleet.Snapshot(time.Now()))
	})
	inWorld(t, func(t *testing.T, w *world) {
		s, err := w.once(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range s.Units {
			if !u.Up {
				t.Errorf("%+v", u)
			}
		}
		time.Sleep(time.Hour)
		calls[1], found[1] = w.sim.Requests(), findings(s)
	})
	if len(found[0]) == 0 {
		t.Fatal("the daemon finds nothing")
	}
	if diff := cmp.Diff(found[0], found[1]); diff != "" {
		t.Errorf("-daemon +once:\n%s", diff)
	}
	if diff := cmp.Diff(calls[0], calls[1]); diff != "" {
		t.Errorf("-calls of the daemon's first round +once:\n%s", diff)
	}
}

// A region that is down costs what is in it, and nothing that hangs on it is
// asked for; where all of them are, nothing was seen.
func TestOnceInPart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.sim.Fault(simulator.Fault{Kind: simulator.ServerError, Path: "/regions/pl-waw/namespaces"})
		s, err := w.once(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range s.Units {
			if up := u.Region != "pl-waw"; u.Up != up || !up && u.Tried != (u.Source == sourceFunctions) || (u.Error != nil) != (!up && u.Tried) {
				t.Errorf("%+v", u)
			}
		}
		if len(s.Functions) == 0 || s.Unseen() != nil {
			t.Errorf("%d functions, unseen: %v", len(s.Functions), s.Unseen())
		}
	})
	for kind, refused := range map[simulator.Kind]bool{simulator.ServerError: false, simulator.Denied: true} {
		inWorld(t, func(t *testing.T, w *world) {
			w.sim.Fault(simulator.Fault{Kind: kind, Path: "/functions/"})
			s, err := w.once(t.Context(), all)
			if err != nil || s.Unseen() == nil || Refused(s.Unseen()) != refused {
				t.Errorf("fault %d: %v, unseen: %v", kind, err, s.Unseen())
			}
		})
	}
	inWorld(t, func(t *testing.T, w *world) {
		w.sim.Fault(simulator.Fault{Kind: simulator.ServerError, Path: "/projects"})
		if s, err := w.once(t.Context(), all); err != nil || s.Unseen() == nil {
			t.Errorf("without the list of projects: %v, unseen: %v", err, s.Unseen())
		}
	})
}

// What is not chosen is not read.
func TestOnceReadsWhatIsChosen(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, err := w.once(t.Context(), func(names map[string]string) ([]string, error) {
			for id, name := range names {
				if name == "payments" {
					return []string{id}, nil
				}
			}
			return nil, errors.New("no payments")
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range s.Units {
			if u.ProjectID != "" && u.ProjectID != "bbbbbbbb-0000-4000-8000-000000000002" {
				t.Errorf("%+v was read", u)
			}
		}
		if calls := w.sim.Requests()["namespaces"]; calls != 3 {
			t.Errorf("%d calls for namespaces", calls)
		}
	})
	inWorld(t, func(t *testing.T, w *world) {
		none := errors.New("none of them")
		if _, err := w.once(t.Context(), func(map[string]string) ([]string, error) { return nil, none }); !errors.Is(err, none) {
			t.Error(err)
		}
		w.sim.Fault(simulator.Fault{Kind: simulator.ServerError, Path: "/projects"})
		if _, err := w.once(t.Context(), func(map[string]string) ([]string, error) { return nil, none }); statusOf(err) != 500 {
			t.Errorf("where the projects could not be read: %v", err)
		}
	})
}

// What was interrupted has not failed, and is no report.
func TestOnceInterrupted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.sim.Fault(simulator.Fault{Kind: simulator.Hang, Path: "/regions/pl-waw/"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err := w.once(ctx, all)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		for _, u := range s.Units {
			if u.Error != nil {
				t.Errorf("%+v", u)
			}
		}
	})
}

// A finding names what it stands for, so that two reports can be compared.
func TestSubjects(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, err := w.once(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range s.Functions {
			for _, finding := range f.Findings {
				switch finding.Check.ID {
				case "function_plaintext_secret", "namespace_plaintext_secret", "function_token_never_expires", "function_token_expiring", "function_legacy_token":
					if len(finding.Subjects) == 0 {
						t.Errorf("%s at %s names nothing", finding.Check.ID, f.Name)
					}
				default:
					if finding.Subjects != nil {
						t.Errorf("%s at %s names %v", finding.Check.ID, f.Name, finding.Subjects)
					}
				}
			}
			if f.Name == "cart" && !slices.Equal(f.Findings[0].Subjects, []string{"REDIS_PASSWORD"}) {
				t.Errorf("cart's are %v", f.Findings[0].Subjects)
			}
		}
	})
}
