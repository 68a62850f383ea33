package collector

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/scaleway/scaleway-sdk-go/scw"

	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/httpclient"
	"github.com/scwatch/scwatch/internal/simulator"
)

// world is a collector that polls a simulated account, all within one
// synctest bubble.
type world struct {
	t          testing.TB
	sim        *simulator.Server
	api        *API
	fleet      *Fleet
	exposition *Exposition
	registry   *prometheus.Registry
	log        *lockedBuffer
	settings   Settings
	rate       float64
	state      *State

	rejected config.RejectedCalls          // off unless a test sets it
	prober   func(*http.Transport) *Prober // nil: functions are not probed

	client    *http.Client
	transport *http.Transport

	end func()
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// newWorld makes one of account; change may alter it before anything runs.
func newWorld(t testing.TB, account *simulator.Account, change ...func(*world)) *world {
	t.Helper()
	w := &world{t: t, sim: simulator.New(account), log: &lockedBuffer{}, registry: prometheus.NewRegistry(), state: NewState(), rate: 50, rejected: config.RejectedCalls{Source: config.SourceOff}}
	w.settings = Settings{
		Organization: simulator.DemoOrganization, Regions: FunctionRegions(), AccessKey: simulator.DemoAccessKey,
		Interval: time.Minute, SlowInterval: 15 * time.Minute, Concurrency: 8, TeamTag: "team",
	}
	for _, c := range change {
		c(w)
	}
	transport, closeSim := w.sim.Pipe()
	t.Cleanup(closeSim)
	w.transport = transport
	w.client = httpclient.New(httpclient.Options{
		Base: transport, Gate: httpclient.NewGate(w.settings.Concurrency, w.rate),
		Metrics: httpclient.NewMetrics(w.registry, "functions", "account", "iam"),
		API:     func(*http.Request) string { return "functions" },
	})
	client, err := scw.NewClient(
		scw.WithAPIURL("http://api.example"), scw.WithAuth(simulator.DemoAccessKey, simulator.DemoSecretKey), scw.WithHTTPClient(w.client))
	if err != nil {
		t.Fatal(err)
	}
	w.api = NewAPI(client)
	w.exposition = NewExposition(w.registry, slog.New(slog.DiscardHandler))
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.fleet, err = NewFleet(w.state, log)
	if err != nil {
		t.Fatal(err)
	}
	w.fleet.Judge(Rules{StaleAfter: 15 * time.Minute})
	w.end = func() {}
	t.Cleanup(func() { w.end() })
	return w
}

// run starts a poller, in the place of the one that is running.
func (w *world) run() {
	w.end()
	ctx, cancel := context.WithCancel(context.Background())
	poller := NewPoller(w.settings, w.api, w.fleet, NewPollMetrics(prometheus.NewRegistry()), slog.New(slog.NewTextHandler(w.log, nil)))
	poller.CountRejectedCalls(NewCockpit(w.client, "test", config.NewSecret(simulator.DemoSecretKey), nil), w.rejected)
	if w.prober != nil {
		poller.Probe(w.prober(w.transport))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		poller.Run(ctx, w.exposition.Publish)
	}()
	w.end = func() {
		cancel()
		<-done
	}
}

// play lets the demo's account change, until stop.
func (w *world) play() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	played := make(chan struct{})
	go func() {
		defer close(played)
		w.sim.Play(ctx, func(string) {})
	}()
	return func() {
		cancel()
		<-played
	}
}

// after lets time pass and returns the metrics then.
func (w *world) after(d time.Duration) string {
	w.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	return scrape(w.t, w.exposition, "text/plain", "").Body.String()
}

// has tells whether there is a sample of a metric with these labels and value:
// `scaleway_function_privacy{function="cart",privacy="public"} 1`.
func has(metrics, sample string) bool {
	name, rest, _ := strings.Cut(sample, "{")
	labels, value, _ := strings.Cut(rest, "}")
	for line := range strings.Lines(metrics) {
		if !strings.HasPrefix(line, name+"{") {
			continue
		}
		all := value == "" || strings.HasSuffix(line, "}"+value+"\n")
		for label := range strings.SplitSeq(labels, ",") {
			all = all && strings.Contains(line, label)
		}
		if all {
			return true
		}
	}
	return false
}

func (w *world) expect(metrics string, samples ...string) {
	w.t.Helper()
	for _, sample := range samples {
		sample, absent := strings.CutPrefix(sample, "not ")
		if has(metrics, sample) == absent {
			found := ""
			name, _, _ := strings.Cut(sample, "{")
			for line := range strings.Lines(metrics) {
				if strings.HasPrefix(line, name+"{") {
					found += line
				}
			}
			w.t.Errorf("%s: absent %v, want absent %v; there is\n%.3000s", sample, !absent, absent, found)
		}
	}
}

func inWorld(t *testing.T, test func(*testing.T, *world), change ...func(*world)) {
	synctest.Test(t, func(t *testing.T) {
		test(t, newWorld(t, simulator.DemoAccount(time.Now()), change...))
	})
}

func TestPollDemoAccount(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		if err := w.fleet.Ready(); err == nil {
			t.Error("ready before anything was read")
		}
		w.run()
		metrics := w.after(5 * time.Second)
		if err := w.fleet.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
		w.expect(metrics,
			`scaleway_function_privacy{function="webhook-stripe",privacy="public"} 1`,
			`scaleway_function_privacy{function="checkout",privacy="public"} 0`,
			`scaleway_function_privacy{function="checkout",privacy="private"} 1`,
			`scaleway_function_privacy{function="rewrite",privacy="unknown"} 1`,
			`scaleway_function_info{function="checkout",namespace="shop",project="payments",team="payments",runtime="go126"} 1`,
			`scaleway_function_secrets{function="checkout",scope="function"} 2`,
			`scaleway_function_secrets{function="checkout",scope="namespace"} 1`,
			`scaleway_function_environment_variables{function="cart",scope="function"} 3`,
			`scaleway_function_memory_limit_bytes{function="checkout"} 2.56e+08`,
			`scaleway_function_cpu_limit_cores{function="checkout"} 0.14`,
			`scaleway_function_timeout_seconds{function="checkout"} 300`,
			`scaleway_function_runtime_status{function="close-books",status="end_of_life"} 1`,
			`scaleway_function_runtime_status{function="checkout",status="available"} 1`,
			`scaleway_function_tokens{function="checkout",scope="function"} 1`,
			`scaleway_function_tokens{function="cart",scope="namespace"} 1`,
			`scaleway_function_triggers{function="refunds",type="scw_sqs"} 1`,
			`scaleway_function_crons{function="backup"} 1`,
			`scaleway_function_domains{function="checkout"} 1`,
			`scaleway_function_domains{function="cart"} 0`,
			`not scaleway_function_https_only{function="rewrite"}`,
			`scaleway_function_https_only{function="webhook-stripe"} 0`,
			`scaleway_function_error_since_timestamp_seconds{function="cache-warmer"}`,
			`scaleway_function_finding{function="webhook-stripe",check="function_public",severity="high"} 1`,
			`scaleway_function_finding{function="backup",check="function_secret_stale"} 1`,
			`scwatch_poll_up{project_id="`+simulator.DemoHome+`",region="pl-waw",source="functions"} 1`,
			`scwatch_poll_up{source="projects"} 1`,
			`scwatch_credential_expiry_timestamp_seconds{credential="api_key"}`,
		)
		if strings.Contains(metrics, `source="projects",`) || strings.Contains(metrics, `project_id=""`) {
			t.Error("an empty label is written")
		}
	})
}

// The changes of the demo, as a scrape sees them.
func TestDemoOverTime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run()
		defer w.play()()
		w.after(5 * time.Second)
		metrics := w.after(135 * time.Second)
		w.expect(metrics,
			`scaleway_function_privacy{function="checkout",privacy="public"} 1`,
			`scaleway_function_privacy_changes_total{function="checkout",to="public"} 1`,
			`scaleway_function_public_since_timestamp_seconds{function="checkout"}`)
		if n := strings.Count(w.log.String(), "a function became public"); n != 1 {
			t.Errorf("said %d times that a function became public", n)
		}
		metrics = w.after(3 * time.Minute) // 5:20
		w.expect(metrics,
			`scaleway_function_status{function="audit-trail",status="error"} 1`,
			`not scaleway_function_info{function="search"}`,
			`not scaleway_function_finding{function="backup",check="function_secret_stale"}`)
		metrics = w.after(4 * time.Minute) // 9:20
		w.expect(metrics,
			`scaleway_function_privacy{function="checkout",privacy="private"} 1`,
			`scaleway_function_privacy_changes_total{function="checkout",to="private"} 1`,
			`not scaleway_function_public_since_timestamp_seconds{function="checkout"}`,
			`scaleway_function_status{function="audit-trail",status="ready"} 1`,
			`scaleway_function_info{function="search"} 1`)
	})
}

const platformUnit = `project_id="` + simulator.DemoHome + `",region="fr-par",source="functions"`

// Each way in which the API can fail: the unit is down, what it last found
// stays for stale_after and goes then, nothing else is touched, and all is
// back with the first good answer.
func TestFaults(t *testing.T) {
	for name, fault := range map[string]simulator.Fault{
		"429":                       {Kind: simulator.TooManyRequests},
		"429 with a long wait":      {Kind: simulator.TooManyRequests, RetryAfter: "3600"},
		"500":                       {Kind: simulator.ServerError},
		"503 with an HTML body":     {Kind: simulator.Unavailable},
		"hang":                      {Kind: simulator.Hang},
		"reset":                     {Kind: simulator.Reset},
		"body cut short":            {Kind: simulator.CutShort},
		"wrong shape":               {Kind: simulator.WrongShape},
		"a login page":              {Kind: simulator.NoJSON},
		"denied":                    {Kind: simulator.Denied},
		"a body that takes forever": {Kind: simulator.Slow, Delay: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.run()
				w.after(30 * time.Second)
				before := scrape(t, w.exposition, "", "").Body.String()
				fault.Path = "/regions/fr-par/namespaces?order_by=created_at_asc&page=1&page_size=100&project_id=" + simulator.DemoHome
				off := w.sim.Fault(fault)
				metrics := w.after(2 * time.Minute)
				w.expect(metrics,
					`scwatch_poll_up{`+platformUnit+`} 0`,
					`scwatch_poll_up{region="nl-ams",source="functions"} 1`,
					`scaleway_function_privacy{function="status-page",privacy="public"} 1`)
				if got, want := strings.Count(metrics, "scaleway_function_info{"), strings.Count(before, "scaleway_function_info{"); got != want {
					t.Errorf("%d functions while the unit is down, want all %d", got, want)
				}
				metrics = w.after(12 * time.Minute)
				w.expect(metrics, `scaleway_function_privacy{function="status-page",privacy="public"} 1`)
				metrics = w.after(4 * time.Minute)
				w.expect(metrics,
					`scwatch_poll_up{`+platformUnit+`} 0`,
					`not scaleway_function_info{namespace="ops"}`,
					`scaleway_function_info{namespace="shop"} 1`)
				off()
				metrics = w.after(2 * time.Minute)
				w.expect(metrics,
					`scwatch_poll_up{`+platformUnit+`} 1`,
					`scaleway_function_privacy{function="status-page",privacy="public"} 1`,
					`scaleway_function_privacy_changes_total{function="status-page",to="public"} 0`)
				log := w.log.String()
				for message, want := range map[string]int{"reading fails": 1, "too old and are dropped": 1, "reading works again": 1} {
					if got := strings.Count(log, message); got != want {
						t.Errorf("%q is logged %d times, want %d\n%s", message, got, want, log)
					}
				}
			})
		})
	}
}

// A poll that takes longer than its interval does not overlap with the next:
// what fell due meanwhile is counted.
func TestOverlapIsSkipped(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run()
		w.after(10 * time.Second)
		metrics := w.after(5 * time.Minute)
		w.expect(metrics, `scwatch_poll_skipped_total{source="functions"} 0`)
		w.sim.Fault(simulator.Fault{Path: "/regions/pl-waw/namespaces", Kind: simulator.TooManyRequests, RetryAfter: "9"})
		metrics = w.after(10 * time.Minute)
		// Every poll takes 27 s of waiting, in which two more fall due.
		var polls, skipped int
		for _, name := range []string{"fr-par", "pl-waw"} {
			text := line(functionsOnly(metrics), `scwatch_poll_skipped_total`, name)
			_, value, _ := strings.Cut(text, "} ")
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				t.Fatal(err)
			}
			polls, skipped = skipped, n
		}
		if polls != 0 || skipped < 36 || skipped > 42 {
			t.Errorf("%d polls of a good region and %d of the slow one were skipped, want 0 and about 40", polls, skipped)
		}
	}, func(w *world) { w.settings.Interval = 10 * time.Second; w.settings.SlowInterval = time.Hour })
}

// What was seen over time is known after a restart as well, and a restart is
// no event.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	open := func(w *world) {
		state, _, err := OpenState(dir, time.Now())
		if err != nil {
			w.t.Fatal(err)
		}
		w.state = state
	}
	account := simulator.DemoAccount(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
	var since string
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, account, open)
		w.run()
		w.after(30 * time.Second)
		w.sim.Update(func(a *simulator.Account) { a.Lookup("shop", "checkout").Privacy = "public" })
		metrics := w.after(2 * time.Minute)
		w.expect(metrics, `scaleway_function_privacy_changes_total{function="checkout",to="public"} 1`)
		since = line(metrics, "scaleway_function_public_since_timestamp_seconds", "checkout")
		w.end()
		w.state.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		w := newWorld(t, account, open)
		w.settings.Projects = []string{"bbbbbbbb-0000-4000-8000-000000000002"}
		w.sim.Fault(simulator.Fault{Path: "/account/", Kind: simulator.ServerError}) // its name cannot be read again
		w.run()
		metrics := w.after(30 * time.Second)
		w.expect(metrics, `scaleway_function_privacy_changes_total{function="checkout",to="public"} 1`)
		w.expect(metrics, `scaleway_function_info{function="checkout",project="payments"} 1`)
		if got := line(metrics, "scaleway_function_public_since_timestamp_seconds", "checkout"); got != since {
			t.Errorf("after the restart\n%swant\n%s", got, since)
		}
		if strings.Contains(w.log.String(), "public\" ") || strings.Contains(w.log.String(), "became public") {
			t.Errorf("a restart told of changes:\n%s", w.log)
		}
		w.end()
		w.state.Close()
	})
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "argon2id") {
		t.Error("the state file holds a hash")
	}
}

func functionsOnly(metrics string) string {
	var out strings.Builder
	for line := range strings.Lines(metrics) {
		if strings.Contains(line, `source="functions"`) {
			out.WriteString(line)
		}
	}
	return out.String()
}

// line returns the first sample of a metric with a label of that value.
func line(metrics, name, value string) string {
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, name+"{") && strings.Contains(line, `="`+value+`"`) {
			return line
		}
	}
	return ""
}

// A reload puts another poller in the place of the first; nothing disappears
// meanwhile.
func TestReplacedPoller(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run()
		w.after(30 * time.Second)
		w.settings.Regions = []string{"fr-par"}
		w.sim.Fault(simulator.Fault{Kind: simulator.Hang})
		w.run()
		metrics := w.after(time.Second)
		w.expect(metrics,
			`scaleway_function_info{namespace="shop",project="payments"} 1`,
			`scaleway_function_tokens{function="checkout",scope="function"} 1`,
			`not scaleway_function_info{region="nl-ams"}`,
			`scwatch_poll_up{`+platformUnit+`} 1`)
		if strings.Contains(w.log.String(), "reading fails") {
			t.Errorf("the interrupted polls are told as failures:\n%s", w.log)
		}
	})
}

// The calls of a poll: a page of namespaces for each project and region, and a
// page of functions for each namespace; the slow sources cost a call or two a
// function, and are spread after the first round.
func TestCallsOfAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, simulator.LargeAccount(120, 12, 3, time.Now()), func(w *world) { w.settings.Projects = []string{simulator.DemoHome} })
		w.run()
		w.after(50 * time.Second)
		first := w.sim.Requests()
		want := map[string]int{"namespaces": 3, "functions": 12, "tokens": 132, "crons": 120, "domains": 120, "triggers": 3, "runtimes": 3, "projects": 1, "api-keys": 1}
		for collection, n := range want {
			if first[collection] != n {
				t.Errorf("%d calls for %s in the first round, want %d", first[collection], collection, n)
			}
		}
		w.after(13 * time.Minute)
		begin := w.sim.Requests()["crons"]
		if begin != 120 {
			t.Errorf("%d calls for crons before the second round is due", begin)
		}
		w.after(7 * time.Minute)
		half := w.sim.Requests()["crons"] - begin
		w.after(8 * time.Minute)
		whole := w.sim.Requests()["crons"] - begin
		if half < 40 || half > 80 || whole != 120 {
			t.Errorf("%d calls for crons in the first half of the interval and %d in all, want about 60 and 120", half, whole)
		}
	})
}

// Fast polls go before slow ones: with a first round that takes minutes at the
// rate limit, they still end in time.
func TestFastPollsPassSlowOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, simulator.LargeAccount(600, 15, 3, time.Now()), func(w *world) {
			w.settings.Projects = []string{simulator.DemoHome}
			w.rate = 10
		})
		w.run()
		w.after(2 * time.Minute)
		if w.sim.Requests()["crons"] == 0 || has(w.after(0), `scwatch_poll_up{source="crons"} 1`) {
			t.Fatal("the first round of the slow sources is not under way")
		}
		w.sim.Update(func(a *simulator.Account) { a.Projects[0].Namespaces[1].Functions[1].Privacy = "public" })
		metrics := w.after(66 * time.Second)
		w.expect(metrics, `scaleway_function_privacy_changes_total{to="public"} 1`, `scwatch_poll_skipped_total{source="functions"} 0`)
	})
}
