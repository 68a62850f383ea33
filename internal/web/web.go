// Package web is the daemon's HTTP side: its routes, and the health check that
// asks them from outside.
package web

import (
	"fmt"
	"net/http"

	toolkit "github.com/prometheus/exporter-toolkit/web"
)

// The paths of the routes.
const (
	MetricsPath = "/metrics"
	healthyPath = "/-/healthy"
	readyPath   = "/-/ready"
	reloadPath  = "/-/reload"
)

// Options are what the routes show and do.
type Options struct {
	Version string
	Metrics http.Handler
	Page    http.Handler             // what is weak
	Trusted func(*http.Request) bool // who is shown the page; all others get the landing page
	Ready   func() error             // why the daemon is not ready yet; nil: it is
	Reload  func() error             // nil: reloading over HTTP is not enabled
}

// Handler returns the daemon's routes.
func Handler(o Options) (http.Handler, error) {
	links := []toolkit.LandingLinks{
		{Address: MetricsPath, Text: "Metrics", Description: "in the text, OpenMetrics and protobuf formats"},
		{Address: readyPath, Text: "Readiness", Description: "whether every region has been asked"},
		{Address: healthyPath, Text: "Health", Description: "whether the process answers"},
	}
	landing, err := toolkit.NewLandingPage(toolkit.LandingConfig{
		Name:        "scwatch",
		Description: "Watches over the security of Scaleway Serverless Functions.",
		Version:     o.Version,
		Profiling:   "false",
		Links:       links,
	})
	if err != nil {
		return nil, fmt.Errorf("make the landing page: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case o.Trusted(r):
			o.Page.ServeHTTP(w, r)
		case r.URL.RawQuery != "":
			http.Error(w, "The status page is shown to clients on loopback and behind the authentication of --web.config.file.", http.StatusForbidden)
		default:
			w.Header().Set("Cache-Control", "no-store") // after a password the same address shows more
			landing.ServeHTTP(w, r)
		}
	})
	mux.Handle("GET "+MetricsPath, o.Metrics)
	mux.HandleFunc("GET "+healthyPath, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "scwatch answers.")
	})
	mux.HandleFunc("GET "+readyPath, func(w http.ResponseWriter, _ *http.Request) {
		if err := o.Ready(); err != nil {
			http.Error(w, "scwatch is not ready: "+err.Error()+".", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "scwatch is ready.")
	})
	mux.HandleFunc("POST "+reloadPath, func(w http.ResponseWriter, _ *http.Request) {
		if o.Reload == nil {
			http.Error(w, "Reloading over HTTP is not enabled: start scwatch with --web.enable-lifecycle, or send it SIGHUP.", http.StatusForbidden)
			return
		}
		if err := o.Reload(); err != nil {
			http.Error(w, "The configuration stays as it was:\n"+err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, "The configuration is reloaded.")
	})
	return mux, nil
}
