package collector

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scwatch/scwatch/internal/simulator"
)

// A marker stands in every variable, secret, hash and token of a fleet: none
// of it comes out, whatever goes wrong meanwhile.
func TestCanary(t *testing.T) {
	const canary = "cAnArY1337"
	dir := t.TempDir()
	inWorld(t, func(t *testing.T, w *world) {
		w.sim.Update(func(a *simulator.Account) {
			for p := range a.Projects {
				for n := range a.Projects[p].Namespaces {
					ns := &a.Projects[p].Namespaces[n]
					ns.Variables = map[string]string{"DB_PASSWORD": canary, "URL": "postgres://u:" + canary + "@h/d"}
					ns.Secrets = []simulator.Secret{{Key: "A", Hash: "$argon2id$" + canary}}
					ns.Tokens = []simulator.Token{{ID: "t", Value: canary, Description: canary}}
					for f := range ns.Functions {
						fn := &ns.Functions[f]
						fn.Variables = map[string]string{"API_TOKEN": canary, "PLAIN": canary}
						fn.Secrets = []simulator.Secret{{Key: "B", Hash: "$argon2id$" + canary}}
						fn.Tokens = []simulator.Token{{ID: "u", Value: canary}}
						fn.ErrorMessage = ""
					}
				}
			}
		})
		w.run()
		w.after(30 * time.Second)
		var pages bytes.Buffer
		for _, kind := range []simulator.Kind{simulator.CutShort, simulator.WrongShape, simulator.ServerError, simulator.Slow} {
			off := w.sim.Fault(simulator.Fault{Path: "/regions/fr-par", Kind: kind, Delay: time.Second})
			w.after(2 * time.Minute)
			off()
			for _, accept := range []string{"", "application/openmetrics-text", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"} {
				pages.Write(scrape(t, w.exposition, accept, "").Body.Bytes())
			}
		}
		// A body whose variables are of another type makes the decoder complain.
		w.sim.Update(func(a *simulator.Account) { a.Projects[0].Namespaces[0].Functions[0].Timeout = -1 })
		w.after(2 * time.Minute)
		snapshot := w.fleet.Snapshot(time.Now())
		if n := len(snapshot.Functions); n < 20 {
			t.Fatalf("%d functions", n)
		}
		found := 0
		for _, f := range snapshot.Functions {
			for _, finding := range f.Findings {
				if strings.Contains(finding.What, "API_TOKEN") || strings.Contains(finding.What, "DB_PASSWORD") {
					found++
				}
			}
		}
		if found == 0 {
			t.Error("no planted secret was found")
		}
		dump, err := json.Marshal(snapshot.Functions)
		if err != nil {
			t.Fatal(err)
		}
		w.end()
		w.state.Close()
		state, err := os.ReadFile(filepath.Join(dir, stateFile))
		if err != nil {
			t.Fatal(err)
		}
		for where, text := range map[string]string{"metrics": pages.String(), "log": w.log.String(), "snapshot": string(dump), "state file": string(state)} {
			if strings.Contains(text, canary) {
				t.Errorf("the marker is in the %s", where)
			}
			if len(text) == 0 {
				t.Errorf("there is no %s", where)
			}
		}
	}, func(w *world) {
		state, _, err := OpenState(dir, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		w.state = state
	})
}
