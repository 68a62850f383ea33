package collector

import (
	"testing"
	"time"
)

// life replays one function's life through polls a minute apart.
type life struct {
	t       *testing.T
	history *history
	unit    Unit
	now     time.Time
	polled  bool
}

func newLife(t *testing.T, state *State) *life {
	t.Helper()
	h, err := newHistory(state)
	if err != nil {
		t.Fatal(err)
	}
	return &life{t: t, history: h, unit: Unit{"p", "fr-par", sourceFunctions}, now: noon}
}

// poll lets a poll find functions, and returns them with what is known and
// what changed.
func (l *life) poll(functions ...Function) ([]Function, []Change) {
	l.t.Helper()
	for i := range functions {
		functions[i].ProjectID, functions[i].Region = l.unit.ProjectID, l.unit.Region
	}
	setKeys(functions)
	changes := l.history.observe(l.unit, functions, !l.polled, l.now)
	if err := l.history.save(); err != nil {
		l.t.Fatal(err)
	}
	l.polled = true
	for i := range functions {
		l.history.tell(&functions[i])
	}
	l.now = l.now.Add(time.Minute)
	return functions, changes
}

func shop(privacy string) Function {
	return Function{Namespace: "shop", Name: "cart", ID: "1", Privacy: privacy, Status: "ready"}
}

func TestPrivacyOverTime(t *testing.T) {
	at := func(minute int) time.Time { return noon.Add(time.Duration(minute) * time.Minute) }
	for name, test := range map[string]struct {
		polls       []string // the privacy at each minute; "": gone, "new": made again public
		publicSince time.Time
		public      uint64
		private     uint64
		unknown     uint64
		told        int // changes that were reported
	}{
		"public from the first poll":          {polls: []string{"public", "public"}, publicSince: at(0)},
		"became public":                       {polls: []string{"private", "public", "public"}, publicSince: at(1), public: 1, told: 1},
		"made private again":                  {polls: []string{"private", "public", "private"}, public: 1, private: 1, told: 2},
		"twice public":                        {polls: []string{"public", "private", "public"}, publicSince: at(2), public: 1, private: 1, told: 2},
		"not known for a while":               {polls: []string{"public", "unknown", "unknown", "public"}, publicSince: at(0), unknown: 1},
		"not known any more":                  {polls: []string{"public", "unknown"}, publicSince: at(0), unknown: 1},
		"never known":                         {polls: []string{"unknown", "unknown"}},
		"not known and then another":          {polls: []string{"private", "unknown", "public"}, publicSince: at(2), public: 1, unknown: 1, told: 1},
		"deleted and created again":           {polls: []string{"public", "", "new"}, publicSince: at(0)},
		"deleted, and public when it is back": {polls: []string{"private", "", "new"}, publicSince: at(2), public: 1, told: 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t, NewState())
			var found []Function
			told := 0
			for _, privacy := range test.polls {
				f := shop(privacy)
				if privacy == "new" {
					f.ID, f.Privacy = "2", privacyPublic
				}
				var changes []Change
				if privacy == "" {
					_, changes = l.poll()
				} else {
					found, changes = l.poll(f)
				}
				told += len(changes)
			}
			f := found[0]
			if !f.PublicSince.Equal(test.publicSince) {
				t.Errorf("public since %s, want %s", f.PublicSince, test.publicSince)
			}
			want := map[string]uint64{privacyPublic: test.public, privacyPrivate: test.private, unknown: test.unknown}
			for to, n := range want {
				if got, ok := f.PrivacyChanges[to]; got != n || !ok {
					t.Errorf("%d changes to %s, want %d", got, to, n)
				}
			}
			if told != test.told {
				t.Errorf("%d changes were told, want %d", told, test.told)
			}
		})
	}
}

// A function that appears public in a unit that was read before is an exposure
// worth telling; at the very first poll everything is new.
func TestNewPublicFunctionIsTold(t *testing.T) {
	l := newLife(t, NewState())
	if _, changes := l.poll(); len(changes) != 0 {
		t.Fatalf("an empty fleet told %v", changes)
	}
	_, changes := l.poll(shop(privacyPublic))
	if len(changes) != 1 || changes[0].From != "" || changes[0].To != privacyPublic {
		t.Errorf("told %v, want one new public function", changes)
	}
}

func TestErrorSince(t *testing.T) {
	failed := func(updated time.Time) Function {
		f := shop(privacyPrivate)
		f.Status, f.Updated = statusError, updated
		return f
	}
	l := newLife(t, NewState())
	anHourAgo := noon.Add(-time.Hour)
	if found, _ := l.poll(failed(anHourAgo)); !found[0].ErrorSince.Equal(anHourAgo) {
		t.Errorf("since %s, want the failed deployment's update at %s", found[0].ErrorSince, anHourAgo)
	}
	if found, _ := l.poll(failed(l.now)); !found[0].ErrorSince.Equal(anHourAgo) {
		t.Errorf("since %s after another update, want %s still", found[0].ErrorSince, anHourAgo)
	}
	if found, _ := l.poll(shop(privacyPrivate)); !found[0].ErrorSince.IsZero() {
		t.Errorf("since %s when it is ready again", found[0].ErrorSince)
	}
	again := l.now
	if found, _ := l.poll(failed(again.Add(time.Hour))); !found[0].ErrorSince.Equal(again) {
		t.Errorf("since %s, want %s: an update to come is none", found[0].ErrorSince, again)
	}
}

// A deployment under way, and a status that the API does not tell, say nothing
// of how the deployment ends. Each poll is a minute after the one before, and by
// a daemon that has just been started.
func TestErrorOverTime(t *testing.T) {
	at := func(minute int) time.Time { return noon.Add(time.Duration(minute) * time.Minute) }
	for name, test := range map[string]struct {
		polls []string // the status at each minute
		since time.Time
	}{
		"deployed again":                      {[]string{"error", "pending", "creating"}, at(0)},
		"deployed again, and it worked":       {[]string{"error", "pending", "ready"}, time.Time{}},
		"deployed again, and it failed":       {[]string{"error", "pending", "creating", "error", "error"}, at(3)},
		"not told for a while":                {[]string{"error", "unknown", "error"}, at(0)},
		"not told while it is deployed again": {[]string{"error", "pending", "unknown", "error"}, at(3)},
		"deployed without an error":           {[]string{"ready", "pending", "creating"}, time.Time{}},
		"locked":                              {[]string{"error", "locked"}, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			state := mustOpen(t, t.TempDir())
			var found []Function
			for minute, status := range test.polls {
				l := newLife(t, state)
				l.now = at(minute)
				f := shop(privacyPrivate)
				f.Status = status
				found, _ = l.poll(f)
			}
			if !found[0].ErrorSince.Equal(test.since) {
				t.Errorf("in error since %s, want %s", found[0].ErrorSince, test.since)
			}
		})
	}
}

// Over a restart as well: what served plain HTTP does so until the API says
// that it does not.
func TestHTTPOptionOverTime(t *testing.T) {
	state := mustOpen(t, t.TempDir())
	for _, poll := range []struct {
		option string
		want   bool
	}{
		{unknown, false}, {httpRedirected, false}, {unknown, false},
		{httpEnabled, true}, {unknown, true}, {unknown, true}, {httpRedirected, false}, {unknown, false},
	} {
		l := newLife(t, state)
		f := shop(privacyPrivate)
		f.HTTPOption = poll.option
		if found, _ := l.poll(f); found[0].WasPlainHTTP != poll.want {
			t.Errorf("%s: it served plain HTTP is %t, want %t", poll.option, found[0].WasPlainHTTP, poll.want)
		}
	}
}

func TestSecretsOverTime(t *testing.T) {
	with := func(own, inherited map[string]string, updated time.Time) Function {
		f := shop(privacyPrivate)
		f.Variables = map[string]Variables{
			scopeFunction:  {fingerprints: own, set: updated},
			scopeNamespace: {fingerprints: inherited, set: noon.Add(-2 * time.Hour)},
		}
		return f
	}
	oldest := func(found []Function, _ []Change) time.Time { return found[0].OldestSecretSet }
	first := noon.Add(-3 * time.Hour)
	l := newLife(t, NewState())
	if got := oldest(l.poll(with(map[string]string{"A": "1", "B": "1"}, nil, first))); !got.Equal(first) {
		t.Errorf("first seen: %s, want the function's update at %s", got, first)
	}
	if got := oldest(l.poll(with(map[string]string{"A": "2", "B": "1"}, nil, l.now))); !got.Equal(first) {
		t.Errorf("one of two set again: %s, want %s", got, first)
	}
	both := l.now
	if got, want := oldest(l.poll(with(map[string]string{"A": "2", "B": "2"}, nil, both))), both.Add(-time.Minute); !got.Equal(want) {
		t.Errorf("both set again: %s, want %s", got, want)
	}
	// An update that the API does not date again was still made since the last poll.
	undated := l.now
	l.poll(with(map[string]string{"A": "3", "B": "2"}, nil, first))
	if got := l.history.stories[storyKey("p", "fr-par", "shop", "cart")].Secrets["A"].Set; !got.Equal(undated) {
		t.Errorf("set again without a new date: %s, want %s", got, undated)
	}
	if got, want := oldest(l.poll(with(map[string]string{"A": "3", "B": "2"}, map[string]string{"C": "1"}, first))), noon.Add(-2*time.Hour); !got.Equal(want) {
		t.Errorf("with the namespace's secret: %s, want %s", got, want)
	}
	if got := oldest(l.poll(with(nil, nil, first))); !got.IsZero() {
		t.Errorf("without secrets: %s, want none", got)
	}
}

func TestForgetsAfterThirtyDays(t *testing.T) {
	state := mustOpen(t, t.TempDir())
	l := newLife(t, state)
	l.poll(shop(privacyPublic))
	l.poll()
	l.now = l.now.Add(forgetAfter - 2*time.Minute)
	l.poll()
	if len(l.history.stories) != 2 {
		t.Fatalf("%d stories just before 30 days, want the function's and its namespace's", len(l.history.stories))
	}
	l.now = l.now.Add(2 * time.Minute)
	l.poll()
	kept, err := state.stories()
	if err != nil || len(kept) != 0 || len(l.history.stories) != 0 {
		t.Errorf("%d stories kept after 30 days (error %v), want none", len(kept), err)
	}
}

// What no poll asks about any more is forgotten as well; a unit that fails is
// still watched and keeps its story.
func TestForgetsWhatIsNotWatched(t *testing.T) {
	l := newLife(t, NewState())
	l.poll(shop(privacyPublic))
	for _, test := range []struct {
		watched bool
		want    int
	}{{true, 2}, {false, 0}} {
		for range 2 {
			l.history.leaveUnwatched(func(string, string) bool { return test.watched }, l.now)
			l.now = l.now.Add(forgetAfter)
		}
		if got := len(l.history.stories); got != test.want {
			t.Errorf("watched %v: %d stories, want %d", test.watched, got, test.want)
		}
	}
}

// Two functions that share all names keep apart.
func TestSameNames(t *testing.T) {
	l := newLife(t, NewState())
	twin := shop(privacyPrivate)
	twin.ID = "2"
	for range 3 {
		if _, changes := l.poll(shop(privacyPublic), twin); len(changes) != 0 {
			t.Fatalf("told %v of functions that did not change", changes)
		}
	}
}

// An unchanged fleet writes nothing.
func TestUnchangedIsNotSaved(t *testing.T) {
	l := newLife(t, NewState())
	l.poll(shop(privacyPublic))
	functions := []Function{shop(privacyPublic)}
	functions[0].ProjectID, functions[0].Region = "p", "fr-par"
	setKeys(functions)
	l.history.observe(l.unit, functions, false, l.now)
	if len(l.history.unsaved) != 0 {
		t.Errorf("%d stories to save, want none", len(l.history.unsaved))
	}
}
