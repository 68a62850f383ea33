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
	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/httpclient"
)

// preflightTimeout bounds the question whether the API accepts the key.
const preflightTimeout = 10 * time.Second

// watch runs the poller that goes by the current configuration, and replaces
// it at a reload. The fleet outlives them all.
type watch struct {
	env     config.Environment
	file    string
	fleet   *collector.Fleet
	publish func(*collector.Snapshot)
	log     *slog.Logger

	requests *httpclient.Metrics
	polls    *collector.PollMetrics
	reloaded reloadMetrics

	mu  sync.Mutex // one start, reload or stop at a time
	end func()     // the running poller, and waits for it
}

type reloadMetrics struct {
	successful prometheus.Gauge
	at         prometheus.Gauge
}

func newWatch(env config.Environment, file string, fleet *collector.Fleet, publish func(*collector.Snapshot), reg prometheus.Registerer, log *slog.Logger) *watch {
	w := &watch{
		env: env, file: file, fleet: fleet, publish: publish, log: log,
		requests: httpclient.NewMetrics(reg, "functions", "account", "iam"),
		polls:    collector.NewPollMetrics(reg),
		reloaded: reloadMetrics{
			successful: prometheus.NewGauge(prometheus.GaugeOpts{
				Name: "scwatch_config_last_reload_successful",
				Help: "1 if the last attempt to load the configuration worked; 0 if the one before is still in use.",
			}),
			at: prometheus.NewGauge(prometheus.GaugeOpts{
				Name: "scwatch_config_last_reload_success_timestamp_seconds",
				Help: "When the configuration in use was loaded.",
			}),
		},
		end: func() {},
	}
	reg.MustRegister(w.reloaded.successful, w.reloaded.at,
		versioncollector.NewCollector("scwatch"),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return w
}

// start begins to poll. Its error is the API's refusal of the key.
func (w *watch) start(ctx context.Context, c *config.Config, credentials config.Credentials) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	poller, err := w.poller(c, credentials)
	if err != nil {
		return err
	}
	if err := preflight(ctx, poller); err != nil {
		return err
	}
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
		poller.Run(pollCtx, w.publish)
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

func (w *watch) poller(c *config.Config, credentials config.Credentials) (*collector.Poller, error) {
	client, err := scw.NewClient(
		scw.WithAPIURL(credentials.APIURL),
		scw.WithAuth(credentials.AccessKey, credentials.SecretKey.Reveal()),
		scw.WithUserAgent("scwatch/"+releaseVersion()),
		scw.WithHTTPClient(httpclient.New(httpclient.Options{
			Base:    httpclient.NewTransport(),
			Gate:    httpclient.NewGate(c.Collect.Concurrency, float64(c.Collect.RateLimit)),
			Metrics: w.requests,
			API:     apiName,
		})),
	)
	if err != nil {
		// The SDK's words are not passed on: they can hold the key.
		return nil, errors.New("the Scaleway client refuses the credentials or SCW_API_URL")
	}
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
	return collector.NewPoller(settings, collector.NewAPI(client), w.fleet, w.polls, w.log), nil
}

// apiName is the product in the path of a call: /functions/v1beta1/…
func apiName(req *http.Request) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	return name
}
