package collector

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/scwatch/scwatch/internal/clock"
)

// Settings are what is polled and how often.
type Settings struct {
	Projects     []string // empty: every project of Organization
	Organization string
	Regions      []string
	AccessKey    string // whose end is asked for

	Interval     time.Duration // of the functions
	SlowInterval time.Duration // of all else
	Concurrency  int           // calls of one unit at once
	TeamTag      string
}

// Poller reads the units at their intervals into a Fleet.
type Poller struct {
	settings Settings
	api      *API
	fleet    *Fleet
	reader   reader
	metrics  *PollMetrics
	log      *slog.Logger

	rejected *rejectedCalls // nil: they are not counted
	prober   *Prober        // nil: functions are not probed

	changed chan struct{} // the fleet has news
}

// PollMetrics are the poller's own metrics.
type PollMetrics struct {
	duration *prometheus.HistogramVec
}

// NewPollMetrics registers them with reg.
func NewPollMetrics(reg prometheus.Registerer) *PollMetrics {
	m := &PollMetrics{duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "scwatch_poll_duration_seconds",
		Help:    "How long a poll of one unit took, by source. A slow source's calls are spread over its interval on purpose.",
		Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900},
	}, []string{"source"})}
	reg.MustRegister(m.duration)
	for _, source := range append([]string{sourceFunctions, sourceProjects, sourceCredentials, sourceRejected, sourceProbe}, slowSources...) {
		m.duration.WithLabelValues(source)
	}
	return m
}

// NewPoller returns a Poller that is started by Run.
func NewPoller(settings Settings, api *API, fleet *Fleet, metrics *PollMetrics, log *slog.Logger) *Poller {
	return &Poller{
		settings: settings, api: api, fleet: fleet, metrics: metrics, log: log,
		reader:  reader{teamTag: settings.TeamTag, fingerprint: fleet.history.state.Fingerprint},
		changed: make(chan struct{}, 1),
	}
}

// publishDelay gathers what units report shortly after each other into one
// snapshot.
const publishDelay = 500 * time.Millisecond

// Run polls until ctx ends, and gives publish a new snapshot whenever there is
// news. All that it started has ended when it returns.
func (p *Poller) Run(ctx context.Context, publish func(*Snapshot)) {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { p.runAccount(ctx) })
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.changed:
		}
		if clock.Sleep(ctx, publishDelay) != nil {
			return
		}
		select {
		case <-p.changed:
		default:
		}
		publish(p.fleet.Snapshot(time.Now()))
	}
}

func (p *Poller) news() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// runAccount polls the account's own units, and runs those of each project for
// as long as it exists.
func (p *Poller) runAccount(ctx context.Context) {
	unit := Unit{Source: sourceProjects}
	var running sync.WaitGroup
	defer running.Wait()
	stop := map[string]context.CancelFunc{} // by project
	follow := func(projects []string) {
		p.fleet.watch(p.units(projects), time.Now())
		p.news()
		for _, id := range projects {
			if stop[id] == nil {
				var projectCtx context.Context
				projectCtx, stop[id] = context.WithCancel(ctx)
				running.Go(func() { p.runProject(projectCtx, id) })
			}
		}
		for id, cancel := range stop {
			if !slices.Contains(projects, id) {
				cancel()
				delete(stop, id)
				p.log.Info("a project is gone", "project_id", id)
			}
		}
	}
	defer func() {
		for _, cancel := range stop {
			cancel()
		}
	}()
	// What was known before a reload is followed at once.
	known := p.settings.Projects
	if len(known) == 0 {
		for id := range p.fleet.items(unit).Projects {
			known = append(known, id)
		}
	}
	follow(known)
	running.Go(func() {
		p.every(ctx, Unit{Source: sourceCredentials}, p.settings.SlowInterval, p.readCredentials)
	})
	p.every(ctx, unit, p.settings.SlowInterval, func(ctx context.Context, _ time.Duration) (Items, error) {
		names, err := p.readProjects(ctx)
		if err != nil {
			return Items{}, err
		}
		if len(p.settings.Projects) == 0 {
			var found []string
			for id := range names {
				found = append(found, id)
			}
			follow(found)
		}
		return Items{Projects: names}, nil
	})
}

// units returns the account's units and those of projects.
func (p *Poller) units(projects []string) []Unit {
	units := []Unit{{Source: sourceProjects}, {Source: sourceCredentials}}
	for _, project := range projects {
		for _, region := range p.settings.Regions {
			units = append(units, Unit{project, region, sourceFunctions})
			for _, source := range p.sourcesOnFunctions() {
				units = append(units, Unit{project, region, source})
			}
		}
	}
	return units
}

// sourcesOnFunctions are those that are asked about what sourceFunctions found.
func (p *Poller) sourcesOnFunctions() []string {
	sources := slices.Clone(slowSources)
	if p.rejected != nil {
		sources = append(sources, sourceRejected)
	}
	if p.prober != nil {
		sources = append(sources, sourceProbe)
	}
	return sources
}

// runProject runs the units of one project. The slow ones of a region begin
// when its functions are known.
func (p *Poller) runProject(ctx context.Context, project string) {
	var running sync.WaitGroup
	defer running.Wait()
	for _, region := range p.settings.Regions {
		unit := Unit{project, region, sourceFunctions}
		found := make(chan struct{})
		foundOnce := sync.OnceFunc(func() { close(found) })
		if p.fleet.items(unit).Functions != nil {
			foundOnce()
		}
		running.Go(func() {
			p.every(ctx, unit, p.settings.Interval, func(ctx context.Context, _ time.Duration) (Items, error) {
				functions, err := p.readFunctions(ctx, unit)
				return Items{Functions: functions}, err
			}, foundOnce)
		})
		for _, source := range p.sourcesOnFunctions() {
			running.Go(func() {
				select {
				case <-ctx.Done():
					return
				case <-found:
				}
				own := Unit{project, region, source}
				if source == sourceRejected {
					place := p.rejected.at(own)
					p.every(ctx, own, p.settings.Interval, func(ctx context.Context, _ time.Duration) (Items, error) {
						return place.poll(ctx, p.fleet.items(unit).Functions, time.Now())
					})
					return
				}
				p.every(ctx, own, p.settings.SlowInterval, func(ctx context.Context, spread time.Duration) (Items, error) {
					return p.readSlow(ctx, own, p.fleet.items(unit).Functions, spread)
				})
			})
		}
	}
}

// A later round of a slow unit is spread over this part of its interval; the
// rest is room for calls that take long.
const spreadOver = 0.8

// jitter is the part of an interval by which a poll may be late, so that the
// units of this and other daemons do not fall into step.
const jitter = 0.05

// every polls unit at once and then at every interval, never twice at the same
// time: what fell due meanwhile is skipped and counted. read is told over how
// long to spread its calls. A unit that failed is tried again within the fast
// interval.
func (p *Poller) every(ctx context.Context, unit Unit, interval time.Duration, read func(context.Context, time.Duration) (Items, error), succeeded ...func()) {
	due := time.Now()
	var spread time.Duration // the first round is for those who wait for it
	for {
		started := time.Now()
		items, err := read(ctx, spread)
		now := time.Now()
		if ctx.Err() != nil {
			return // an interrupted poll is no failed one
		}
		p.metrics.duration.WithLabelValues(unit.Source).Observe(now.Sub(started).Seconds())
		if err == nil {
			p.fleet.succeeded(unit, items, now)
			for _, f := range succeeded {
				f()
			}
		} else {
			p.fleet.failed(unit, err, now)
		}
		p.news()

		due = due.Add(interval)
		if late := now.Sub(due); late >= 0 {
			missed := int64(late/interval) + 1
			p.fleet.skipped(unit, uint64(missed))
			due = due.Add(time.Duration(missed) * interval)
		}
		wait := due.Sub(now)
		spread = time.Duration(spreadOver * float64(interval))
		if err != nil {
			wait = min(wait, p.settings.Interval)
			spread = 0 // what is overdue is not put off any longer
		}
		if clock.Sleep(ctx, wait+rand.N(1+time.Duration(jitter*float64(min(wait, p.settings.Interval))))) != nil {
			return
		}
	}
}

// fanOut calls do for every item, as many at once as the settings allow, and
// ends at the first error. The starts are spread evenly over spread.
func fanOut[T any](ctx context.Context, p *Poller, spread time.Duration, items []T, do func(context.Context, T) error) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(p.settings.Concurrency)
	started := time.Now()
	for i, item := range items {
		at := started.Add(spread * time.Duration(i) / time.Duration(len(items)))
		if clock.Sleep(groupCtx, time.Until(at)) != nil {
			break
		}
		group.Go(func() error { return do(groupCtx, item) })
	}
	return cmp.Or(group.Wait(), ctx.Err())
}

// Preflight finds out whether the API accepts the key at all: it returns the
// first refusal if the key may read nothing that the settings name. An API
// that does not answer is no reason not to start.
func (p *Poller) Preflight(ctx context.Context) error {
	if len(p.settings.Projects) == 0 {
		_, err := p.api.projects(ctx, p.settings.Organization)
		return refusal(err)
	}
	var errs []error
	for _, project := range p.settings.Projects {
		for _, region := range p.settings.Regions {
			_, err := p.api.namespaces(ctx, project, region)
			if !Refused(err) {
				return nil
			}
			errs = append(errs, err)
			if statusOf(err) == http.StatusUnauthorized {
				return err // the key itself is refused, wherever it is used
			}
		}
	}
	return errors.Join(errs...)
}

func refusal(err error) error {
	if Refused(err) {
		return err
	}
	return nil
}
