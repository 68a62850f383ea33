package web

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRoutes(t *testing.T) {
	failing := errors.New("scwatch.yaml:1:1: x: unknown key")
	options := Options{
		Version: "1.2.3",
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("up 1\n")) }),
		Page:    http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("what is weak")) }),
		Trusted: func(*http.Request) bool { return false },
		Ready:   func() error { return nil },
		Reload:  func() error { return nil },
	}
	with := func(change func(*Options)) Options {
		o := options
		change(&o)
		return o
	}
	for name, test := range map[string]struct {
		options      Options
		method, path string
		status       int
		want         string
	}{
		"landing page":   {options, "GET", "/", 200, "1.2.3"},
		"status page":    {with(func(o *Options) { o.Trusted = func(*http.Request) bool { return true } }), "GET", "/", 200, "what is weak"},
		"its JSON":       {options, "GET", "/?format=json", 403, "on loopback"},
		"metrics":        {options, "GET", "/metrics", 200, "up 1"},
		"healthy":        {options, "GET", "/-/healthy", 200, "answers"},
		"ready":          {options, "GET", "/-/ready", 200, "is ready"},
		"not ready":      {with(func(o *Options) { o.Ready = func() error { return failing } }), "GET", "/-/ready", 503, "not ready: scwatch.yaml"},
		"reload":         {options, "POST", "/-/reload", 200, "is reloaded"},
		"failing reload": {with(func(o *Options) { o.Reload = func() error { return failing } }), "POST", "/-/reload", 400, "stays as it was:\nscwatch.yaml:1:1"},
		"no reload":      {with(func(o *Options) { o.Reload = nil }), "POST", "/-/reload", 403, "--web.enable-lifecycle"},
		"reload by GET":  {options, "GET", "/-/reload", 405, ""},
		"elsewhere":      {options, "GET", "/elsewhere", 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			handler, err := Handler(test.options)
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(test.method, test.path, nil))
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) {
				t.Errorf("%d %s, want %d with %q", w.Code, w.Body, test.status, test.want)
			}
		})
	}
}

func TestAskReady(t *testing.T) {
	for name, test := range map[string]struct {
		status    int
		encrypted bool
		want      string // error; empty: none
	}{
		"ready":            {200, false, ""},
		"ready, by TLS":    {200, true, ""},
		"with a password":  {401, false, ""},
		"not ready":        {503, false, "scwatch is not ready: why"},
		"something else":   {404, false, "404 Not Found; is it scwatch that listens there?"},
		"an error of its":  {500, false, "500 Internal Server Error; is it scwatch that listens there?"},
		"elsewhere by now": {302, false, "302 Found; is it scwatch"},
	} {
		t.Run(name, func(t *testing.T) {
			handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != readyPath {
					t.Errorf("asked for %s", r.URL.Path)
				}
				if test.status == 302 {
					w.Header().Set("Location", "http://127.0.0.1:1/")
				}
				w.WriteHeader(test.status)
				w.Write([]byte("scwatch is not ready: why\n"))
			})
			server := httptest.NewUnstartedServer(handler)
			if test.encrypted {
				server.StartTLS()
			} else {
				server.Start()
			}
			defer server.Close()
			err := AskReady(t.Context(), server.Listener.Addr().String(), test.encrypted)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	if err := AskReady(t.Context(), "nonsense", false); err == nil {
		t.Error("an address without a port is asked")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := AskReady(ctx, ":1", false); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
