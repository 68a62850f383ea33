package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/scwatch/scwatch/collector"
	"github.com/scwatch/scwatch/collector/push"
	"github.com/scwatch/scwatch/internal/clock"
	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/httpclient"
)

const (
	pushPath  = "/api/v1/push"
	writePath = "/api/v1/write"
	queryPath = "/api/v1/query"

	// addressRetry is how soon the Cockpit API is asked again for the home's
	// data source, while it does not answer.
	addressRetry = 30 * time.Second
)

// receiver is where the configuration says that samples go. A home whose
// address cannot be read now has none yet.
func (w *watch) receiver(ctx context.Context, c *config.Config, credentials config.Credentials, api *collector.API) (push.Receiver, error) {
	r := push.Receiver{TokenFile: c.Push.TokenFile, Token: config.NewSecret(w.env("SCWATCH_PUSH_TOKEN"))}
	if r.TokenFile != "" {
		if data, err := os.ReadFile(r.TokenFile); err != nil {
			return r, fmt.Errorf("push.token_file: it cannot be read: %w", errors.Unwrap(err))
		} else if strings.TrimSpace(string(data)) == "" {
			return r, errors.New("push.token_file: it is empty")
		}
	}
	if c.Push.URL != "" {
		r.PushURL = c.Push.URL
		if base, ok := strings.CutSuffix(r.PushURL, pushPath); ok {
			r.QueryURL = base + "/prometheus" + queryPath
		} else if base, ok := strings.CutSuffix(r.PushURL, writePath); ok {
			r.QueryURL = base + queryPath
		}
		return r, nil
	}
	r.Home, r.APIKey = true, credentials.SecretKey
	ctx, cancel := context.WithTimeout(ctx, preflightTimeout)
	defer cancel()
	address, err := api.PushAddress(ctx, c.Cockpit.Project, c.Cockpit.Region, c.Cockpit.DataSource)
	if err == nil {
		r.PushURL, r.QueryURL = address+pushPath, address+"/prometheus"+queryPath
	}
	return r, err
}

// pushing runs a pusher until ctx ends. Its error says that pushing as
// configured is not to begin.
func (w *watch) pushing(ctx context.Context, c *config.Config, r push.Receiver, api *collector.API, credentials config.Credentials) error {
	for r.PushURL == "" {
		w.log.Error("the address of the home's data source cannot be read; nothing is pushed until it can", "retry_in", addressRetry)
		if clock.Sleep(ctx, addressRetry) != nil {
			return nil
		}
		found, err := w.receiver(ctx, c, credentials, api)
		if err == nil {
			r = found
		}
	}
	dir := ""
	if w.storagePath != "" {
		dir = filepath.Join(w.storagePath, "push")
	}
	pusher, err := push.New(push.Options{
		Receiver: r, Transport: httpclient.NewTransport(), Agent: "scwatch/" + releaseVersion(),
		Selection: push.Selection{Drop: c.Push.Drop, External: c.Push.ExternalLabels},
		Interval:  c.Push.Interval, Heartbeat: c.Push.Heartbeat,
		Dir: dir, MaxBytes: int64(c.Push.SpoolMaxBytes), MaxAge: c.Push.SpoolMaxAge,
		Price: c.Push.PriceEURPerMillion, Budget: c.Push.MonthlyBudgetEUR, Refuse: c.Push.OverBudget == config.OverBudgetRefuse,
		Gather: w.shown.Gather, Settled: w.fleet.Settled, FirstWithin: c.Push.Interval,
	}, w.pushes, w.log)
	if err != nil {
		return err
	}
	return pusher.Run(ctx)
}
