package collector

import (
	"bufio"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

const recordings = "../../shared/recordings/scaleway-api.jsonl"

// Namespaces and functions as the real API answered, served as lists through
// the SDK's client and the poller: each one's posture is right on /metrics.
func TestRecordedFunctions(t *testing.T) {
	file, err := os.Open(recordings)
	if os.IsNotExist(err) {
		t.Skipf("the recorded answers of the real API are not here (%s)", recordings)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	type object = map[string]any
	namespaces, functions := map[string]object{}, map[string]object{} // the last that was seen, by ID
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e struct {
			URL      string
			Status   int
			Response json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		var body object
		if e.Status != 200 || !strings.HasPrefix(e.URL, "/functions/") || json.Unmarshal(e.Response, &body) != nil || body["id"] == nil {
			continue
		}
		switch id := body["id"].(string); {
		case body["namespace_id"] != nil && body["privacy"] != nil:
			functions[id] = body
		case body["registry_endpoint"] != nil:
			namespaces[id] = body
		}
	}
	if len(functions) < 8 || len(namespaces) < 8 {
		t.Fatalf("%d functions and %d namespaces were recorded", len(functions), len(namespaces))
	}

	list := func(key string, all map[string]object, filter, want string) object {
		items := []object{}
		for _, item := range all {
			if item[filter] == want {
				items = append(items, item)
			}
		}
		return object{key: items, "total_count": len(items)}
	}
	api := scripted(t, func(req *http.Request) (int, string, string) {
		query := req.URL.Query()
		answer := list("functions", functions, "namespace_id", query.Get("namespace_id"))
		if strings.HasSuffix(req.URL.Path, "/namespaces") {
			answer = list("namespaces", namespaces, "project_id", query.Get("project_id"))
		}
		body, err := json.Marshal(answer)
		if err != nil {
			t.Error(err)
		}
		return 200, jsonType, string(body)
	})
	projects := map[string]bool{}
	for _, ns := range namespaces {
		projects[ns["project_id"].(string)] = true
	}
	fleet, err := NewFleet(NewState(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	poller := NewPoller(Settings{Concurrency: 2, TeamTag: "team"}, api, fleet, NewPollMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	var units []Unit
	for project := range projects {
		units = append(units, Unit{project, "fr-par", sourceFunctions})
	}
	fleet.watch(units, noon)
	for _, unit := range units {
		found, err := poller.readFunctions(t.Context(), unit)
		if err != nil {
			t.Fatal(err)
		}
		fleet.succeeded(unit, Items{Functions: found}, noon)
	}
	exposition, _ := newTestExposition(t)
	exposition.Publish(fleet.Snapshot(noon))
	metrics := scrape(t, exposition, "text/plain", "").Body.String()

	withSecrets := 0
	for id, f := range functions {
		ns := namespaces[f["namespace_id"].(string)]
		if ns == nil {
			continue // its namespace was never read
		}
		label := `function_id="` + id + `"`
		for _, sample := range []string{
			`scaleway_function_privacy{` + label + `,privacy="` + f["privacy"].(string) + `"} 1`,
			`scaleway_function_status{` + label + `,status="` + f["status"].(string) + `"} 1`,
			`scaleway_function_info{` + label + `,function="` + f["name"].(string) + `",namespace="` + ns["name"].(string) + `",runtime="` + f["runtime"].(string) + `",sandbox="` + f["sandbox"].(string) + `",http_option="` + f["http_option"].(string) + `",domain="` + f["domain_name"].(string) + `"} 1`,
			`scaleway_function_secrets{` + label + `,scope="function"} ` + count(f["secret_environment_variables"]),
			`scaleway_function_environment_variables{` + label + `,scope="function"} ` + count(f["environment_variables"]),
			`scaleway_function_environment_variables{` + label + `,scope="namespace"} ` + count(ns["environment_variables"]),
			`scaleway_function_https_only{` + label + `} ` + map[any]string{"enabled": "0", "redirected": "1"}[f["http_option"]],
			`scaleway_function_timeout_seconds{` + label + `} ` + strings.TrimSuffix(f["timeout"].(string), "s"),
		} {
			if !has(metrics, sample) {
				t.Errorf("no sample %s", sample)
			}
		}
		if count(f["secret_environment_variables"]) != "0" {
			withSecrets++
		}
	}
	if withSecrets == 0 {
		t.Error("no recorded function has a secret")
	}
	if strings.Contains(metrics, "argon2id") {
		t.Error("a hash is in the metrics")
	}
}

func count(members any) string {
	n := 0
	switch m := members.(type) {
	case []any:
		n = len(m)
	case map[string]any:
		n = len(m)
	}
	text, _ := json.Marshal(n)
	return string(text)
}
