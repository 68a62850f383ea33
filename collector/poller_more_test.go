package collector

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scwatch/scwatch/internal/simulator"
)

// A slow source that fails touches neither the functions nor the other slow
// sources, and is tried again within the fast interval.
func TestSlowSourceFails(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		off := w.sim.Fault(simulator.Fault{Path: "/regions/fr-par/tokens", Kind: simulator.ServerError})
		w.run()
		metrics := w.after(40 * time.Second)
		w.expect(metrics,
			`scwatch_poll_up{region="fr-par",source="tokens"} 0`,
			`not scaleway_function_tokens{region="fr-par"}`,
			`scwatch_poll_up{region="nl-ams",source="tokens"} 1`,
			`scwatch_poll_up{`+platformUnit+`} 1`,
			`scaleway_function_crons{function="backup"} 1`)
		off()
		w.expect(w.after(70*time.Second),
			`scwatch_poll_up{region="fr-par",source="tokens"} 1`,
			`scaleway_function_tokens{function="checkout",scope="function"} 1`)
	})
}

// A namespace that is deleted between the listing of the namespaces and that
// of its functions is no error; its functions are gone.
func TestNamespaceDeletedMeanwhile(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run()
		w.after(30 * time.Second)
		// The listing is held up long enough for the deletion.
		shop := ""
		w.sim.Update(func(a *simulator.Account) { shop = a.Projects[1].Namespaces[0].ID })
		w.sim.Fault(simulator.Fault{Path: "namespace_id=" + shop, Kind: simulator.TooManyRequests, RetryAfter: "2", Times: 1})
		time.Sleep(31 * time.Second)
		synctest.Wait()
		w.sim.Update(func(a *simulator.Account) { a.Projects[1].Namespaces = a.Projects[1].Namespaces[1:] })
		metrics := w.after(20 * time.Second)
		w.expect(metrics,
			`scwatch_poll_up{project_id="bbbbbbbb-0000-4000-8000-000000000002",region="fr-par",source="functions"} 1`,
			`not scaleway_function_info{namespace="shop"}`,
			`scaleway_function_info{namespace="ledger"} 1`)
	})
}

// A 404 that the object itself does not confirm takes nothing away.
func TestFalse404(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run()
		w.after(30 * time.Second)
		w.sim.Update(func(a *simulator.Account) { a.HideListings = true })
		metrics := w.after(time.Minute)
		w.expect(metrics,
			`scwatch_poll_up{`+platformUnit+`} 0`,
			`scaleway_function_info{namespace="ops"} 1`)
	})
}

// A region where the key has no rights is a unit that is down, said once.
func TestDeniedRegion(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.sim.Update(func(a *simulator.Account) {
			a.Denied = []simulator.Denial{{ProjectID: simulator.DemoHome, Region: "nl-ams", Resource: "function"}}
		})
		w.run()
		metrics := w.after(10 * time.Minute)
		w.expect(metrics,
			`scwatch_poll_up{project_id="`+simulator.DemoHome+`",region="nl-ams",source="functions"} 0`,
			`scwatch_poll_up{`+platformUnit+`} 1`)
		if err := w.fleet.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
		if log := w.log.String(); strings.Count(log, "reading fails") != 1 || !strings.Contains(log, "FunctionsReadOnly") {
			t.Errorf("log:\n%s", log)
		}
	})
}

// Projects of an organization come and go; names are told, or the ID stands
// for them.
func TestProjectsComeAndGo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run()
		w.after(time.Minute)
		w.sim.Update(func(a *simulator.Account) {
			added := a.Projects[2]
			added.ID, added.Name = "dddddddd-0000-4000-8000-000000000004", "new"
			added.Namespaces = append([]simulator.Namespace(nil), added.Namespaces[:1]...)
			added.Namespaces[0].ID = "dddddddd-0000-4000-8000-000000000005"
			added.Namespaces[0].Functions = append([]simulator.Function(nil), added.Namespaces[0].Functions...)
			for i := range added.Namespaces[0].Functions {
				added.Namespaces[0].Functions[i].ID = fmt.Sprintf("dddddddd-0000-4000-8000-%012x", i)
			}
			a.Projects = append(a.Projects[:2:2], added)
		})
		metrics := w.after(16 * time.Minute)
		w.expect(metrics,
			`scaleway_function_info{function="contact-form",project="new"} 1`,
			`not scaleway_function_info{project="marketing"}`,
			`not scwatch_poll_up{project_id="cccccccc-0000-4000-8000-000000000003"}`)
	})
}

func TestListedProjects(t *testing.T) {
	for name, denied := range map[string]bool{"with names": false, "without the right to read names": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				if denied {
					w.sim.Update(func(a *simulator.Account) {
						a.Denied = []simulator.Denial{{Resource: "project"}, {Resource: "api_key"}}
					})
				}
				w.run()
				project := "platform"
				if denied {
					project = simulator.DemoHome
				}
				metrics := w.after(30 * time.Second)
				w.expect(metrics,
					`scaleway_function_info{namespace="ops",project="`+project+`"} 1`,
					`not scaleway_function_info{namespace="shop"}`,
					`scwatch_poll_up{source="projects"} 1`,
					`scwatch_poll_up{source="credential"} 1`)
				if has(metrics, `scwatch_credential_expiry_timestamp_seconds{credential="api_key"}`) == denied {
					t.Error("the key's end is told exactly where it may be read")
				}
			}, func(w *world) { w.settings.Projects = []string{simulator.DemoHome} })
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
		w.run()
		metrics := w.after(30 * time.Second)
		w.expect(metrics, `scaleway_function_privacy_changes_total{function="checkout",to="public"} 1`)
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
