package collector

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/scwatch/scwatch/internal/simulator"
)

// Every answer that a server can give, and what it says of a private function.
func TestProbeVerdicts(t *testing.T) {
	const (
		refused  = "refused"
		accepted = "accepted"
		nothing  = "nothing"
	)
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"401": {status(401), refused},
		"403": {status(403), refused},
		"200": {status(200), accepted},
		"204": {status(204), accepted},
		"206": {status(206), accepted},
		"301": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusMovedPermanently)
		}, nothing},
		"302 to 200": {redirectOnce, nothing},
		"304":        {status(304), nothing},
		"400":        {status(400), nothing},
		"404":        {status(404), nothing},
		"407":        {status(407), nothing},
		"429":        {status(429), nothing},
		"500":        {status(500), nothing},
		"503":        {status(503), nothing},
		"an endless body": {func(w http.ResponseWriter, r *http.Request) {
			for w.(http.Flusher).Flush(); r.Context().Err() == nil; {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, accepted},
		"no answer":       {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nothing},
		"a broken answer": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nothing},
		"a huge header": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<17))
			w.WriteHeader(403)
		}, nothing},
		"no HTTP": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.Write([]byte("SSH-2.0-OpenSSH\r\n"))
			conn.Close()
		}, nothing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls []*http.Request
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls = append(calls, r)
				test.answer(w, r)
			}))
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
			server.Start()
			p := NewProber(server.URL, "1.2.3") // the API is on loopback itself
			if name == "no answer" {
				p.client.Timeout = 200 * time.Millisecond
			}
			status, err := p.status(t.Context(), strings.TrimPrefix(server.URL, "http://"))
			got := nothing
			if refusal, conclusive := verdictOf(status); conclusive && refusal {
				got = refused
			} else if conclusive {
				got = accepted
			}
			if got != test.want {
				t.Errorf("status %d, error %v: %s, want %s", status, err, got, test.want)
			}
			server.Close() // waits for the calls
			for _, r := range calls {
				if r.Method != http.MethodGet || r.URL.Path != "/" || r.Header.Get("X-Auth-Token") != "" || r.Header.Get("Authorization") != "" ||
					!strings.HasPrefix(r.UserAgent(), "scwatch/1.2.3 ") {
					t.Errorf("called with %s %s %v", r.Method, r.URL, r.Header)
				}
			}
			if len(calls) > 1 {
				t.Errorf("%d calls for one probe", len(calls))
			}
		})
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func redirectOnce(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/" {
		http.Redirect(w, r, "/open", http.StatusFound)
	}
}

// Only places where functions can be are called.
func TestProbeAddresses(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1": true, "::1": true, "10.1.2.3": true, "172.16.0.1": true, "192.168.1.1": true, "169.254.169.254": true, "fe80::1": true,
		"fd00::1": true, "0.0.0.0": true, "::": true, "100.64.1.1": true, "::ffff:127.0.0.1": true, "224.0.0.1": true, "255.255.255.255": true,
		"51.15.0.1": false, "2001:bc8::1": false, "8.8.8.8": false, "172.32.0.1": false,
	} {
		if got := inside(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s inside: %v", address, got)
		}
	}
	server := httptest.NewServer(status(403))
	defer server.Close()
	p := NewProber("http://192.0.2.1", "x") // the API is outside
	if status, err := p.status(t.Context(), strings.TrimPrefix(server.URL, "http://")); err == nil || !strings.Contains(err.Error(), errInside.Error()) {
		t.Errorf("a function on loopback was called: %d %v", status, err)
	}
	for _, host := range []string{"", "a b", "user@host", "host/path", "host?x", "[::1]", "a#b", "-"} {
		if _, err := p.status(t.Context(), host); err == nil || !strings.Contains(err.Error(), "host name") {
			t.Errorf("the host %q: %v", host, err)
		}
	}
}

// probing makes a world's poller probe functions through the simulator.
func probing(w *world) {
	w.prober = func(transport *http.Transport) *Prober {
		p := NewProber("http://api.example", "test")
		p.client = newProbeClient(transport.DialContext)
		return p
	}
}

// The daemon probes the private functions, and only those, and says what it
// found; over time, changes, restarts and failures.
func TestProbe(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var private, public []string
		w.sim.Update(func(a *simulator.Account) {
			for _, p := range a.Projects {
				for _, ns := range p.Namespaces {
					for _, f := range ns.Functions {
						if f.Privacy == "private" {
							private = append(private, f.ID)
						} else {
							public = append(public, f.ID)
						}
					}
				}
			}
		})
		w.run()
		metrics := w.after(3 * time.Minute)
		w.expect(metrics,
			`scaleway_function_probe_rejected{function="backup"} 1`,
			`not scaleway_function_probe_rejected{function="webhook-stripe"}`,
			`not scaleway_function_probe_rejected{function="rewrite"}`,
			`scwatch_poll_up{`+strings.Replace(platformUnit, `source="functions"`, `source="probe"`, 1)+`} 1`)
		for _, id := range private {
			if n := w.sim.Called(id); n == 0 {
				t.Errorf("the private function %s was called %d times", id, n)
			}
		}
		for _, id := range public {
			if n := w.sim.Called(id); n != 0 {
				t.Errorf("the function %s, which is not private, was called %d times", id, n)
			}
		}
		w.after(15 * time.Minute) // the domains are known before the next round
		if w.sim.Called("checkout.example.com") == 0 {
			t.Error("a domain of a function's own was not called")
		}
		// The gateway lets everybody in, while the setting stays.
		open := w.sim.Open("ops", "backup")
		metrics = w.after(31 * time.Minute)
		w.expect(metrics,
			`scaleway_function_probe_rejected{function="backup"} 0`,
			`scaleway_function_finding{function="backup",check="function_probe_accepted",severity="critical"} 1`)
		if !strings.Contains(w.log.String(), "a private function answered a call without a token") {
			t.Error("the log does not say so")
		}
		// What tells nothing changes nothing.
		open()
		w.sim.Update(func(a *simulator.Account) { a.Lookup("ops", "backup").Status = "pending" })
		w.sim.Open("ops", "backup") // and so it answers 503
		metrics = w.after(31 * time.Minute)
		w.expect(metrics, `scaleway_function_probe_rejected{function="backup"} 0`)
		// A function that is made public is not probed any more.
		w.sim.Update(func(a *simulator.Account) { a.Lookup("ops", "backup").Privacy = "public" })
		metrics = w.after(2 * time.Minute)
		w.expect(metrics, `not scaleway_function_probe_rejected{function="backup"}`, `not scaleway_function_finding{function="backup",check="function_probe_accepted"}`)
		// Private again, what was found before is of another time.
		w.after(31 * time.Minute)
		w.sim.Update(func(a *simulator.Account) { a.Lookup("ops", "backup").Privacy = "private" })
		metrics = w.after(2 * time.Minute)
		w.expect(metrics, `not scaleway_function_probe_rejected{function="backup"}`)
	}, probing)
}

func (w *world) id(namespace, name string) (id string) {
	w.sim.Update(func(a *simulator.Account) { id = a.Lookup(namespace, name).ID })
	return id
}

// A function that is made public after it was listed is no private one that
// answered.
func TestProbeOfAFunctionMadePublic(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.settings.Interval = time.Hour // it is not listed again
		w.run()
		w.after(time.Second)
		w.sim.Update(func(a *simulator.Account) { a.Lookup("ops", "backup").Privacy = "public" })
		w.expect(w.after(59*time.Minute), `not scaleway_function_probe_rejected{function="backup"}`, `scaleway_function_privacy{function="backup",privacy="private"} 1`)
		if id := w.id("ops", "backup"); w.sim.Called(id) == 0 || strings.Contains(w.log.String(), "answered a call without a token") {
			t.Errorf("called %d times; the log:\n%s", w.sim.Called(id), w.log)
		}
	}, probing)
}

// The last verdict is known again after a restart, before any probe.
func TestProbeVerdictIsKept(t *testing.T) {
	dir := t.TempDir()
	for n, name := range []string{"first", "after a restart"} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				state, _, err := OpenState(dir, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				defer state.Close()
				if w.fleet, err = NewFleet(state, slog.New(slog.DiscardHandler)); err != nil {
					t.Fatal(err)
				}
				w.fleet.Judge(Rules{StaleAfter: time.Hour})
				if n > 0 {
					w.settings.SlowInterval, w.settings.Interval = 24*time.Hour, 24*time.Hour // the first probes are spread over a day
				}
				w.run()
				defer w.end()
				metrics := w.after(2*time.Minute - time.Duration(n)*110*time.Second)
				w.expect(metrics, `scaleway_function_probe_rejected{function="status-page"} 1`)
				w.end()
				w.end = func() {}
			}, probing, func(w *world) {
				w.sim.Update(func(a *simulator.Account) { a.Lookup("ops", "status-page").Privacy = "private" })
			})
		})
	}
}
