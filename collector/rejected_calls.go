package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/scwatch/scwatch/internal/config"
)

// RejectedCalls is what was counted in one project and region.
type RejectedCalls struct {
	Unit
	Source string        // metrics, logs or none; "" while it is looked for
	Counts counts        // by the function's ID and the code
	Lost   time.Duration // what could not be caught up with
}

// rejectedCalls counts them, place by place.
type rejectedCalls struct {
	cockpit  *Cockpit
	api      *API
	config   rejectedConfig
	fleet    *Fleet
	interval time.Duration // of the polls
	again    time.Duration // after which the source is looked for again
	log      *slog.Logger
}

// CountRejectedCalls makes the poller count them, unless c switches it off. It
// is called before Run.
func (p *Poller) CountRejectedCalls(cockpit *Cockpit, c config.RejectedCalls) {
	if c.Source == config.SourceOff {
		return
	}
	p.rejected = &rejectedCalls{cockpit, p.api, rejectedConfig{c}, p.fleet, p.settings.Interval, p.settings.SlowInterval, p.log}
}

type rejectedConfig struct{ config.RejectedCalls }

// wants tells whether a method, which may be one of the last process, is one
// that this configuration could find.
func (c rejectedConfig) wants(m *method) bool {
	switch {
	case c.Source != config.SourceAuto && c.Source != m.Source:
		return false
	case c.Source != config.SourceLogs && c.MetricsQuery != "":
		return m.Query == c.MetricsQuery
	case c.Source != config.SourceMetrics && c.LogsQuery != "":
		return m.Query == c.LogsQuery
	}
	return m.Shape != shapeCount || m.Query == builtinLogsQuery
}

// defaultSpacing is how far apart samples are taken to lie as long as none are
// seen: the widest that Scaleway documents.
const defaultSpacing = 5 * time.Minute

func (r *rejectedCalls) at(unit Unit) *rejectedPlace {
	return &rejectedPlace{rejectedCalls: r, unit: unit, tally: r.fleet.ledger.of(unit.ProjectID, unit.Region), answers: map[string]any{}}
}

// rejectedPlace is one project and region. What it has to remember is in its
// tally, which no other poll but its own counts into.
type rejectedPlace struct {
	*rejectedCalls
	unit  Unit
	tally *tally

	pace    pace
	looked  time.Time      // when the source was last looked for to an end
	began   time.Time      // when looking for it began, while it goes on
	answers map[string]any // that it had so far
	failed  error          // it met so far
	told    string         // of the source
	warned  string         // of what could not be looked into
}

// poll counts the next window. functions is nil where it is not known which
// there are.
func (p *rejectedPlace) poll(ctx context.Context, functions []Function, now time.Time) (Items, error) {
	if functions != nil && len(functions) == 0 {
		p.settle(nil)
		return p.items(sourceOfNone), nil
	}
	if p.tally.Method != nil && !p.config.wants(p.tally.Method) {
		// What is found instead goes on where this one ends.
		p.fleet.tally(p.unit, func(t *tally) { t.use(nil) })
	}
	// The source in use comes first: looking for a better one is not to hide
	// that it fails, or to keep it waiting.
	asked := &calls{left: callsAPoll, answers: p.answers}
	err := p.count(ctx, asked, functions, now)
	if gone := statusOf(err) == http.StatusNotFound; err == nil || gone {
		if gone {
			p.looked = time.Time{}
		}
		inUse := p.tally.Method
		failed := p.look(ctx, asked, now)
		if p.tally.Method != inUse {
			err = p.count(ctx, asked, functions, now)
		} else if failed != nil {
			err = failed
		}
	}
	switch {
	case err != nil && !errors.Is(err, errLater):
		return Items{}, err
	case p.tally.Method != nil:
		return p.items(p.tally.Method.Source), nil
	case err != nil:
		return p.items(""), nil
	}
	return p.items(sourceOfNone), nil
}

func (p *rejectedPlace) items(source string) Items {
	return Items{Rejected: &RejectedCalls{Unit: p.unit, Source: source, Counts: p.tally.whole(), Lost: p.tally.Lost}}
}

// look looks for the source, where it is time to. One that is in use stays
// until another is found, or there certainly is none: a source that has been
// silent for long is no other.
func (p *rejectedPlace) look(ctx context.Context, asked *calls, now time.Time) error {
	if since := now.Sub(p.looked); !p.looked.IsZero() && since >= 0 && since < p.again {
		return nil
	}
	if since := now.Sub(p.began); p.began.IsZero() || since < 0 || since >= p.again {
		clear(p.answers) // of a round that came to no end in all that time
		p.began = now
	}
	d := discovery{cockpit: p.cockpit, api: p.api, config: p.config.RejectedCalls, unit: p.unit, calls: asked, now: now}
	found, err := d.method(ctx)
	inUse := p.tally.Method
	switch {
	case errors.Is(err, errLater) && inUse != nil:
		return nil // counting goes on meanwhile
	case errors.Is(err, errLater):
		return cmp.Or(p.failed, err) // what failed before has not worked yet
	case err != nil && inUse == nil:
		p.failed = err
		return err
	}
	p.looked, p.began, p.failed = now, time.Time{}, nil
	if err == nil {
		err = d.uncertain
	}
	warning := ""
	if err != nil {
		warning = fmt.Sprint("status ", statusOf(err))
	}
	if warning != "" && warning != p.warned {
		p.log.Warn("not all that may tell rejected calls better can be read", append(p.unit.attrs(), "err", err)...)
	}
	p.warned = warning
	if inUse != nil && (err != nil || found == nil && d.there(inUse)) {
		return nil
	}
	p.settle(found)
	return nil
}

// settle makes m what is counted by, and says so where that is news.
func (p *rejectedPlace) settle(m *method) {
	if !p.tally.Method.same(m) || m == nil && !p.tally.Counted.IsZero() {
		p.fleet.tally(p.unit, func(t *tally) {
			if m == nil {
				t.Counted = time.Time{} // there is nothing to go on with
			}
			t.use(m)
		})
		p.pace = pace{}
	}
	source, attrs := sourceOfNone, p.unit.attrs()
	if m != nil {
		source = m.Source
		attrs = append(attrs, "counted_from", source, "found_by", m.FoundBy, "shape", m.Shape, "query", m.Query)
	} else {
		attrs = append(attrs, "counted_from", source)
	}
	if told := fmt.Sprint(attrs...); told != p.told {
		p.told = told
		p.log.Info("the source of rejected calls", attrs...)
	}
}

// count counts the next window, where there is a source and one is due.
func (p *rejectedPlace) count(ctx context.Context, asked *calls, functions []Function, now time.Time) error {
	if p.tally.Method == nil {
		return nil
	}
	m, newest := p.tally.Method, latest(now, p.config.Delay)
	if err := p.measure(ctx, asked, newest); err != nil {
		return err
	}
	if from, lost := skip(p.tally.Counted, newest); p.tally.Counted.IsZero() {
		p.fleet.tally(p.unit, func(t *tally) { t.Counted = newest })
	} else if !from.Equal(p.tally.Counted) {
		p.log.Warn("rejected calls cannot be counted without a gap", append(p.unit.attrs(), "counted_up_to", p.tally.Counted, "goes_on_at", from, "lost", lost)...)
		p.fleet.tally(p.unit, func(t *tally) { t.leap(from, lost) })
	}
	from := p.tally.Counted
	end, due := p.pace.window(from, newest, p.least(), p.interval, now)
	if !due {
		if p.missesFunctions(functions) {
			p.fleet.tally(p.unit, func(t *tally) { t.add(nil, nil, functions, from) })
		}
		return nil
	}
	if asked.left == 0 {
		return errLater
	}
	asked.left--
	found, taken, err := p.ask(ctx, m, from, end)
	if err != nil {
		return err
	}
	p.pace.counted(end.Sub(from))
	p.fleet.tally(p.unit, func(t *tally) { t.add(found, taken, functions, end) })
	return nil
}

// ask asks for the window from one time to another, and counts what comes.
func (p *rejectedPlace) ask(ctx context.Context, m *method, from, end time.Time) (found counts, taken map[string]reading, err error) {
	wanted, window := "vector", end.Sub(from)
	if m.Shape != shapeCount {
		wanted, window = "matrix", window+p.overlap()
	}
	all, err := p.cockpit.query(ctx, p.unit, m.Source, m.Address, m.over(window), wanted, end)
	if err != nil {
		return nil, nil, err
	}
	if m.Shape == shapeCount {
		found, err = countAnswers(all)
	} else {
		found, taken, err = m.countSamples(all, p.tally.Series, from, p.spacing())
		if spacing, seen := spacingOf(all); seen && err == nil && spacing != p.tally.Spacing {
			p.fleet.tally(p.unit, func(t *tally) { t.Spacing = spacing })
		}
	}
	if err != nil {
		err = &APIError{Attempted: "count rejected calls in " + p.unit.Region + " of project " + p.unit.ProjectID, Reason: err.Error(), Advice: "the query is " + m.Query}
	}
	return found, taken, err
}

// measure sees how far apart samples lie, once for a source. Few functions have
// calls refused at any time, so all statuses are asked for.
func (p *rejectedPlace) measure(ctx context.Context, asked *calls, at time.Time) error {
	m := p.tally.Method
	if p.tally.Spacing != 0 || m.Source != sourceOfMetrics {
		return nil
	}
	selector := measured(m)
	if selector == "" {
		return nil
	}
	all, err := once(asked, "spacing", func() ([]series, error) {
		return p.cockpit.query(ctx, p.unit, m.Source, m.Address, fmt.Sprintf("%s[%ds]", selector, int64(overlapOf(defaultSpacing).Seconds())), "matrix", at)
	})
	if err != nil {
		return err
	}
	delete(p.answers, "spacing")
	if spacing, seen := spacingOf(all); seen {
		p.fleet.tally(p.unit, func(t *tally) { t.Spacing = spacing })
	}
	return nil
}

func (p *rejectedPlace) spacing() time.Duration { return cmp.Or(p.tally.Spacing, defaultSpacing) }

// least is the shortest window: the samples of a shorter one tell nothing. Each
// line of a log tells of its own.
func (p *rejectedPlace) least() time.Duration {
	if p.tally.Method.Source == sourceOfLogs {
		return 0
	}
	return 2 * p.spacing()
}

// firstOverlap is how far the first query of a source reaches back: a series
// that is silent for a while must not seem new when it comes back.
const firstOverlap = time.Hour

// overlap is how far a query reaches back behind its window: to the last sample
// before it, and to samples that came late.
func (p *rejectedPlace) overlap() time.Duration {
	if p.tally.Series == nil {
		return firstOverlap
	}
	return overlapOf(p.spacing())
}

func overlapOf(spacing time.Duration) time.Duration { return max(2*time.Minute, 4*spacing) }

// missesFunctions tells whether a function has no count yet, or one that is no
// more still has.
func (p *rejectedPlace) missesFunctions(functions []Function) bool {
	total := p.tally.Totals[p.tally.Method.Source]
	for _, f := range functions {
		if total[f.ID] == nil {
			return true
		}
	}
	return functions != nil && len(total) != len(functions)
}
