// Package diagnosis is what a walk along the way from the key to the pager
// found, hop by hop.
package diagnosis

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/scwatch/scwatch/internal/httpclient"
	"github.com/scwatch/scwatch/internal/printable"
)

// Status is how a hop fares.
type Status string

// The statuses.
const (
	OK         Status = "ok"
	Broken     Status = "broken"
	Unseen     Status = "unseen"      // it could not be looked at
	NotReached Status = "not reached" // a hop before it hides it
	Off        Status = "off"         // the configuration does without it
)

// Hop is one step of the way.
type Hop struct {
	Name    string `json:"hop"`
	Status  Status `json:"status"`
	Project string `json:"project,omitempty"` // ID
	Region  string `json:"region,omitempty"`
	Tried   string `json:"tried,omitempty"`  // empty where nothing could be tried
	Found   string `json:"found,omitempty"`  // what came back
	Means   string `json:"means,omitempty"`  // of one that is not ok: what follows from it
	Mend    string `json:"mend,omitempty"`   // how to mend it
	Behind  string `json:"behind,omitempty"` // of one that is not reached: the hop that hides it
}

// Ok, with what came back.
func (h Hop) Ok(format string, args ...any) Hop {
	h.Status, h.Found = OK, fmt.Sprintf(format, args...)
	return h
}

// Broke, with what came back, what that means, and how to mend it.
func (h Hop) Broke(found, means, mend string) Hop {
	h.Status, h.Found, h.Means, h.Mend = Broken, found, means, mend
	return h
}

// HiddenBy says that the hop before it must be mended first.
func (h Hop) HiddenBy(name string) Hop {
	h.Status, h.Behind = NotReached, name
	return h
}

// Hidden are hops that could not even be tried, behind one that is broken.
func Hidden(behind string, names ...string) []Hop {
	hops := make([]Hop, len(names))
	for i, name := range names {
		hops[i] = Hop{Name: name}.HiddenBy(behind)
	}
	return hops
}

// NotWanted says why the configuration does without it.
func (h Hop) NotWanted(format string, args ...any) Hop {
	h.Status, h.Found = Off, fmt.Sprintf(format, args...)
	return h
}

// Failed is a hop whose question was not answered. One that the server refuses
// is broken where the daemon asks the same with the same key; where it is asked
// for the diagnosis alone, it is unseen.
func (h Hop) Failed(err error, asksToo bool, means string) Hop {
	h.Status, h.Found, h.Means = Unseen, err.Error(), means
	var call *httpclient.Error
	if !errors.As(err, &call) {
		return h
	}
	said := *call
	h.Tried, h.Mend = said.Attempted, said.Advice
	said.Attempted, said.Advice = "", ""
	h.Found = strings.TrimPrefix(said.Error(), ": ")
	if asksToo && said.Status/100 == 4 && said.Status != http.StatusTooManyRequests {
		h.Status = Broken
	}
	return h
}

// Report is the whole way. Its JSON form is versioned.
type Report struct {
	Version int   `json:"version"`
	OK      bool  `json:"ok"`
	Hops    []Hop `json:"hops"`
}

// version is that of the JSON form.
const version = 1

// New returns the report of hops, in the order of the way.
func New(hops []Hop) *Report {
	r := &Report{Version: version, Hops: hops}
	r.OK = !r.Has(Broken) && !r.Has(Unseen) && !r.Has(NotReached)
	return r
}

// Has tells whether a hop has that status.
func (r *Report) Has(s Status) bool {
	return slices.ContainsFunc(r.Hops, func(h Hop) bool { return h.Status == s })
}

// WriteJSON writes it for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteText writes a line a hop, below one that is not ok what that means and how
// to mend it, and a sentence about all of them.
func (r *Report) WriteText(w io.Writer) error {
	width := 0
	for _, h := range r.Hops {
		width = max(width, len(h.Name))
	}
	var text strings.Builder
	count, first := map[Status]int{}, ""
	for _, h := range r.Hops {
		if count[h.Status]++; h.Status == Broken && first == "" {
			first = h.Name
		}
		words := []string{h.Tried, h.Found}
		if h.Behind != "" {
			words = append(words, "mend "+h.Behind+" first")
		}
		line := strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), ": ")
		fmt.Fprintf(&text, "%-11s  %-*s  %s\n", h.Status, width, h.Name, printable.Line(line))
		if h.Means != "" {
			fmt.Fprintf(&text, "%13smeans: %s\n", "", printable.Line(h.Means))
		}
		if h.Mend != "" {
			fmt.Fprintf(&text, "%13smend:  %s\n", "", printable.Line(h.Mend))
		}
	}
	switch {
	case count[Broken] > 0:
		fmt.Fprintf(&text, "\nBroken: %d of %d hops. Begin with %s.\n", count[Broken], len(r.Hops), first)
	case !r.OK:
		fmt.Fprintf(&text, "\nNone is seen to be broken, but %d of %d hops could not be looked at.\n", count[Unseen]+count[NotReached], len(r.Hops))
	default:
		text.WriteString("\nThe whole way is open.\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}
