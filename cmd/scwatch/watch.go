package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/scaleway/scaleway-sdk-go/scw"

	"github.com/scwatch/scwatch/collector"
	"github.com/scwatch/scwatch/collector/push"
	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/httpclient"
)

// preflightTimeout bounds the question whether the API accepts the key.
const preflightTimeout = 10 * time.Second

// watch runs the poller that goes by the current configuration, and replaces
// it at a reload. The fleet outlives them all.
type watch struct {
	env   config.Environment
	file  string
	fleet *collector.Fleet
	shown *collector.Exposition
	log   *slog.Logger

	storagePath string

	requests *httpclient.Metrics
	polls    *collector.PollMetrics
	pushes   *push.Metrics // nil until pushing is configured
	registry prometheus.Registerer
	reloaded reloadMetrics
	drift    *prometheus.GaugeVec

	failed chan error // pushing as configured is not to begin; at the start alone

	mu      sync.Mutex // one start, reload or stop at a time
	started bool
	end     func() // what runs, and waits for it
}

type reloadMetrics struct {
	successful prometheus.Gauge
	at         prometheus.Gauge
}

func newWatch(env config.Environment, o options, fleet *collector.Fleet, shown *collector.Exposition, reg prometheus.Registerer, log *slog.Logger) *watch {
	w := &watch{
		env: env, file: o.configFile, storagePath: o.storagePath, fleet: fleet, shown: shown, registry: reg, log: log,
		failed:   make(chan error, 1),
		requests: httpclient.NewMetrics(reg, "functions", "account", "iam", "cockpit", apiMetrics, apiLogs, apiGrafana),
		polls:    collector.NewPollMetrics(reg),
		reloaded: registerOwn(reg),
		drift:    newDrift(reg),
		end:      func() {},
	}
	return w
}

// registerOwn registers what the daemon says of its own process, and returns
// what a reload sets.
func registerOwn(reg prometheus.Registerer) reloadMetrics {
	m := reloadMetrics{
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "scwatch_config_last_reload_successful",
			Help: "1 if the last attempt to load the configuration worked; 0 if the one before is still in use.",
		}),
		at: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "scwatch_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration in use was loaded.",
		}),
	}
	reg.MustRegister(m.successful, m.at,
		versioncollector.NewCollector("scwatch"),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// start begins to poll, and to push where that is configured. Its error has the
// exit code of what is wrong: the API refuses the key, or there is nothing to
// push to.
func (w *watch) start(ctx context.Context, c *config.Config, credentials config.Credentials) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	gate := httpclient.NewGate(c.Collect.Concurrency, float64(c.Collect.RateLimit))
	api, err := w.api(credentials, gate)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	poller := w.poller(c, credentials, api)
	w.countRejectedCalls(poller, c, credentials, gate)
	if err := preflight(ctx, poller); err != nil {
		return &exitError{exitRefused, err}
	}
	var receiver push.Receiver
	if c.Push.Enabled {
		var unread *collector.APIError
		receiver, err = w.receiver(ctx, c, credentials, api)
		if err != nil && !errors.As(err, &unread) && ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
			return &exitError{exitUsage, err}
		}
		if collector.Refused(err) {
			return &exitError{exitRefused, err}
		}
		if w.pushes == nil {
			w.pushes = push.NewMetrics(w.registry)
		}
	}
	first := !w.started
	w.started = true
	w.end() // the poller before, so that no unit is polled twice at a time
	w.fleet.Judge(collector.Rules{
		StaleAfter:         c.Collect.StaleAfter,
		Exceptions:         c.Exceptions,
		ExceptionsFromTags: c.ExceptionsFromTags,
	})
	pollCtx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var running sync.WaitGroup
		defer running.Wait()
		if c.Provision.Watch {
			running.Go(func() { w.compare(pollCtx, c, credentials) })
		} else {
			w.drift.Reset() // nobody knows any more
		}
		if c.Push.Enabled {
			running.Go(func() {
				err := w.pushing(pollCtx, c, receiver, api, credentials)
				switch {
				case err != nil && first:
					w.failed <- &exitError{exitUsage, err}
				case err != nil: // a reload ends no daemon that watches
					w.log.Error("nothing is pushed", "err", err)
				}
			})
		}
		poller.Run(pollCtx, w.shown.Publish)
	}()
	w.end = func() {
		cancel()
		<-done
	}
	w.reloaded.successful.Set(1)
	w.reloaded.at.SetToCurrentTime()
	return nil
}

// reload reads the configuration and the credentials again. Where anything is
// wrong with them, all stays as it is.
func (w *watch) reload(ctx context.Context) error {
	c, credentials, err := config.Read(w.file, w.env, collector.CheckIDs())
	if err == nil {
		err = checkDefinitions(c, w.env)
	}
	if err == nil {
		err = w.start(ctx, c, credentials)
	}
	if err != nil {
		w.reloaded.successful.Set(0)
		w.log.Error("the configuration is not reloaded and stays as it was", "err", err)
		return err
	}
	w.log.Info("the configuration is reloaded")
	return nil
}

// stop ends polling.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end()
}

func preflight(ctx context.Context, poller *collector.Poller) error {
	ctx, cancel := context.WithTimeout(ctx, preflightTimeout)
	defer cancel()
	return poller.Preflight(ctx)
}

func (w *watch) api(credentials config.Credentials, gate *httpclient.Gate) (*collector.API, error) {
	client, err := scw.NewClient(
		scw.WithAPIURL(credentials.APIURL),
		scw.WithAuth(credentials.AccessKey, credentials.SecretKey.Reveal()),
		scw.WithUserAgent("scwatch/"+releaseVersion()),
		scw.WithHTTPClient(httpclient.New(httpclient.Options{
			Base: httpclient.NewTransport(), Gate: gate, Metrics: w.requests, API: apiName,
		})),
	)
	if err != nil {
		// The SDK's words are not passed on: they can hold the key.
		return nil, errors.New("the Scaleway client refuses the credentials or SCW_API_URL")
	}
	return collector.NewAPI(client), nil
}

func (w *watch) poller(c *config.Config, credentials config.Credentials, api *collector.API) *collector.Poller {
	settings := collector.Settings{
		Projects:     c.Scaleway.Projects,
		Organization: credentials.OrganizationID,
		Regions:      c.Scaleway.Regions,
		AccessKey:    credentials.AccessKey,
		Interval:     c.Collect.Interval,
		SlowInterval: c.Collect.SlowInterval,
		Concurrency:  c.Collect.Concurrency,
		TeamTag:      c.Collect.TeamTag,
	}
	if c.Scaleway.AllProjects() {
		settings.Projects = nil
	}
	return collector.NewPoller(settings, api, w.fleet, w.polls, w.log)
}

// countRejectedCalls has the poller ask each project's Cockpit for them, and the
// functions themselves where that is wanted.
func (w *watch) countRejectedCalls(poller *collector.Poller, c *config.Config, credentials config.Credentials, gate *httpclient.Gate) {
	poller.CountRejectedCalls(collector.NewCockpit(httpclient.New(httpclient.Options{
		Base: httpclient.NewTransport(), Gate: gate, Metrics: w.requests, API: cockpitAPIName,
	}), "scwatch/"+releaseVersion(), credentials.SecretKey, c.RejectedCalls.TokenFiles), c.RejectedCalls)
	if c.RejectedCalls.Probe {
		poller.Probe(collector.NewProber(credentials.APIURL, releaseVersion()))
	}
}

// The names of what a project's Cockpit is made of, as scwatch_api_requests_total
// has them.
const (
	apiMetrics = "cockpit_metrics"
	apiLogs    = "cockpit_logs"
	apiGrafana = "grafana"
)

// cockpitAPIName is the part of a Cockpit that a call goes to.
func cockpitAPIName(req *http.Request) string {
	switch {
	case strings.Contains(req.URL.Path, "/prometheus/"):
		return apiMetrics
	case strings.Contains(req.URL.Path, "/loki/"):
		return apiLogs
	}
	return apiGrafana
}

// apiName is the product in the path of a call: /functions/v1beta1/…
func apiName(req *http.Request) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	return name
}
