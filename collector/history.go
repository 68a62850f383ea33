package collector

import (
	"maps"
	"strings"
	"time"
)

// forgetAfter is how long the story of what is gone from Scaleway is kept, in
// case it comes back under its name.
const forgetAfter = 30 * 24 * time.Hour

var privacies = []string{privacyPublic, privacyPrivate, unknown}

// story is what was seen of one function, of one namespace's secrets, or of a
// project's name, over time. It belongs to the name, not to the ID: what is deleted and created
// again continues it.
type story struct {
	Privacy        string             `json:"privacy,omitempty"` // last known; never unknown
	Unknown        bool               `json:"unknown,omitempty"` // not known since
	PublicSince    time.Time          `json:"public_since,omitzero"`
	PlainHTTP      bool               `json:"plain_http,omitempty"` // last known
	ErrorSince     time.Time          `json:"error_since,omitzero"`
	Deploying      bool               `json:"deploying,omitempty"` // again, after an error
	PrivacyChanges map[string]uint64  `json:"privacy_changes,omitempty"`
	Secrets        map[string]setting `json:"secrets,omitempty"` // by name
	GoneSince      time.Time          `json:"gone_since,omitzero"`

	Project string `json:"project,omitempty"` // a project's last known name, in the project's own story
}

// setting is a secret as it was last set.
type setting struct {
	Fingerprint string    `json:"fingerprint"`
	Set         time.Time `json:"set"`
}

// Change is something that happened to a function between two polls.
type Change struct {
	Function Function
	From, To string // privacy; From is empty for a function that is new
}

// history follows the functions and namespaces of all units. It is not safe
// for concurrent use.
type history struct {
	state   *State
	stories map[string]*story
	unsaved map[string]*story // changed since the last save; nil: forgotten
}

func newHistory(state *State) (*history, error) {
	stories, err := state.stories()
	if err != nil {
		return nil, err
	}
	return &history{state: state, stories: stories, unsaved: map[string]*story{}}, nil
}

func storyKey(projectID, region string, names ...string) string {
	// A NUL is in none of them.
	return strings.Join(append([]string{projectID, region}, names...), "\x00")
}

// observe takes a complete listing of a unit's functions into the stories and
// returns what changed since the one before; first says that there was none.
func (h *history) observe(unit Unit, functions []Function, first bool, now time.Time) []Change {
	var changes []Change
	prefix := storyKey(unit.ProjectID, unit.Region) + "\x00"
	for key := range h.stories {
		first = first && !strings.HasPrefix(key, prefix)
	}
	present := map[string]bool{}
	for _, f := range functions {
		nsKey := storyKey(f.ProjectID, f.Region, f.Namespace)
		if !present[nsKey] {
			present[nsKey] = true
			h.update(nsKey, func(st *story) { st.observeSecrets(f.Variables[scopeNamespace], now) })
		}
		present[f.key] = true
		h.update(f.key, func(st *story) {
			if from, changed := st.observePrivacy(f, now); changed || (from == "" && !first && f.Privacy == privacyPublic) {
				changes = append(changes, Change{Function: f, From: from, To: f.Privacy})
			}
			st.observeHTTPOption(f)
			st.observeStatus(f, now)
			st.observeSecrets(f.Variables[scopeFunction], now)
		})
	}
	for key := range h.stories {
		if strings.HasPrefix(key, prefix) && !present[key] {
			h.leave(key, now)
		}
	}
	return changes
}

// setKeys gives each function of a listing its story's key. Should two share
// all their names, the ID keeps their stories apart.
func setKeys(functions []Function) {
	taken := map[string]bool{}
	for i := range functions {
		f := &functions[i]
		f.key = storyKey(f.ProjectID, f.Region, f.Namespace, f.Name)
		if taken[f.key] {
			f.key = storyKey(f.ProjectID, f.Region, f.Namespace, f.Name, f.ID)
		}
		taken[f.key] = true
	}
}

// observeProjects keeps the names that could be read. A name is a label of every
// series that is joined with it: one that came and went with each start, and
// with each failure to read it, would end every alert and begin it anew.
func (h *history) observeProjects(names map[string]string) {
	for id, name := range names {
		if name != "" {
			h.update(projectKey(id), func(st *story) { st.Project = name })
		}
	}
}

// project returns the last known name of a project; its ID where none is.
func (h *history) project(id string) string {
	if st := h.stories[projectKey(id)]; st != nil {
		return st.Project
	}
	return id
}

// A project's story has no region.
func projectKey(id string) string { return storyKey(id, "") }

// update changes the story of key by change, and marks it for saving only
// where that made a difference.
func (h *history) update(key string, change func(*story)) {
	st := h.stories[key]
	if st == nil {
		st = &story{}
		h.stories[key] = st
		h.unsaved[key] = st
	}
	before := *st
	before.PrivacyChanges, before.Secrets = maps.Clone(st.PrivacyChanges), maps.Clone(st.Secrets)
	st.GoneSince = time.Time{}
	change(st)
	if !st.equal(before) {
		h.unsaved[key] = st
	}
}

func (st *story) equal(other story) bool {
	return st.Project == other.Project && st.Privacy == other.Privacy && st.Unknown == other.Unknown && st.PublicSince.Equal(other.PublicSince) &&
		st.PlainHTTP == other.PlainHTTP && st.ErrorSince.Equal(other.ErrorSince) && st.Deploying == other.Deploying && st.GoneSince.Equal(other.GoneSince) &&
		maps.Equal(st.PrivacyChanges, other.PrivacyChanges) && maps.Equal(st.Secrets, other.Secrets)
}

// leave marks what is gone and forgets what has been gone for long.
func (h *history) leave(key string, now time.Time) {
	st := h.stories[key]
	switch {
	case st.GoneSince.IsZero():
		st.GoneSince = now
		h.unsaved[key] = st
	case now.Sub(st.GoneSince) >= forgetAfter:
		delete(h.stories, key)
		h.unsaved[key] = nil
	}
}

// leaveUnwatched does the same for all that belongs to no watched project and
// region.
func (h *history) leaveUnwatched(watched func(projectID, region string) bool, now time.Time) {
	for key := range h.stories {
		if parts := strings.SplitN(key, "\x00", 3); !watched(parts[0], parts[1]) {
			h.leave(key, now)
		}
	}
}

// observePrivacy returns the privacy known before (empty: none was) and
// whether it changed. An unknown privacy is no news: it neither ends an
// exposure nor begins one.
func (st *story) observePrivacy(f Function, now time.Time) (from string, changed bool) {
	if st.PrivacyChanges == nil {
		st.PrivacyChanges = map[string]uint64{}
		for _, to := range privacies {
			st.PrivacyChanges[to] = 0
		}
	}
	from = st.Privacy
	if f.Privacy == unknown {
		if from != "" && !st.Unknown {
			st.PrivacyChanges[unknown]++
			st.Unknown = true
		}
		return from, false
	}
	st.Unknown = false
	changed = from != "" && from != f.Privacy
	if changed {
		st.PrivacyChanges[f.Privacy]++
	}
	st.Privacy = f.Privacy
	switch {
	case f.Privacy == privacyPrivate:
		st.PublicSince = time.Time{}
	case st.PublicSince.IsZero():
		st.PublicSince = now
	}
	return from, changed
}

// observeHTTPOption keeps what was last known: an option that the API does not
// tell mends nothing.
func (st *story) observeHTTPOption(f Function) {
	if f.HTTPOption != unknown {
		st.PlainHTTP = f.HTTPOption == httpEnabled
	}
}

// observeStatus dates an error. A deployment under way does not say how it
// ends, so it ends no error; one that fails again begins a new count.
func (st *story) observeStatus(f Function, now time.Time) {
	switch f.Status {
	case statusError:
		if st.ErrorSince.IsZero() || st.Deploying {
			st.ErrorSince = atTheLatest(now, f.Updated)
		}
		st.Deploying = false
	case statusPending, statusCreating:
		st.Deploying = !st.ErrorSince.IsZero()
	case unknown:
	default:
		st.ErrorSince, st.Deploying = time.Time{}, false
	}
}

// observeSecrets dates each secret. One that is new here was set at the latest
// when its owner was last updated; one with another hash was set again since
// the last poll, which the owner's update then dates.
func (st *story) observeSecrets(v Variables, now time.Time) {
	for name := range st.Secrets {
		if _, ok := v.fingerprints[name]; !ok {
			delete(st.Secrets, name)
		}
	}
	for name, fingerprint := range v.fingerprints {
		before, seen := st.Secrets[name]
		if seen && before.Fingerprint == fingerprint {
			continue
		}
		set := atTheLatest(now, v.set)
		if seen && !set.After(before.Set) {
			set = now
		}
		if st.Secrets == nil {
			st.Secrets = map[string]setting{}
		}
		st.Secrets[name] = setting{Fingerprint: fingerprint, Set: set}
	}
}

// atTheLatest returns updated where the API tells it, and never a time to come.
func atTheLatest(now, updated time.Time) time.Time {
	if updated.IsZero() || updated.After(now) {
		return now
	}
	return updated
}

// tell writes into f what its story and its namespace's know.
func (h *history) tell(f *Function) {
	st := h.stories[f.key]
	if st == nil {
		return
	}
	f.PublicSince = st.PublicSince
	f.WasPlainHTTP = st.PlainHTTP
	f.ErrorSince = st.ErrorSince
	f.PrivacyChanges = maps.Clone(st.PrivacyChanges)
	f.OldestSecretSet = time.Time{}
	for _, owner := range []*story{st, h.stories[storyKey(f.ProjectID, f.Region, f.Namespace)]} {
		if owner == nil {
			continue
		}
		for _, s := range owner.Secrets {
			if f.OldestSecretSet.IsZero() || s.Set.Before(f.OldestSecretSet) {
				f.OldestSecretSet = s.Set
			}
		}
	}
}

// save keeps what changed. What cannot be kept now is kept by a later call.
func (h *history) save() error {
	if err := h.state.save(h.unsaved); err != nil {
		return err
	}
	clear(h.unsaved)
	return nil
}
