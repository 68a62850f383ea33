package collector

import (
	"fmt"
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
