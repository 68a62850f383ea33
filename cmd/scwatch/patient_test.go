package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scwatch/scwatch/internal/simulator"
)

// patient is an account in which all is well, until it is given something.
type patient struct {
	*simulator.Server
	url, dir string
	env      map[string]string

	mu       sync.Mutex
	answer   func(w http.ResponseWriter, r *http.Request) bool // in the place of the account's, if it is true
	requests []string                                          // method, path, size of the body
}

func newPatient(t *testing.T) *patient {
	p := &patient{Server: simulator.New(simulator.DemoAccount(time.Now())), dir: t.TempDir()}
	p.Update(func(a *simulator.Account) { a.Storage, a.PollInterval = http.HandlerFunc(answerAll), 0 })
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		p.mu.Lock()
		p.requests = append(p.requests, fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, len(body)))
		answer := p.answer
		p.mu.Unlock()
		if answer == nil || !answer(w, r) {
			p.Server.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	p.url = front.URL
	p.env = map[string]string{
		"HOME": p.dir, "SCW_API_URL": p.url, "SCW_ACCESS_KEY": simulator.DemoAccessKey, "SCW_SECRET_KEY": simulator.DemoSecretKey,
		"SCW_DEFAULT_ORGANIZATION_ID": simulator.DemoOrganization, "SCW_DEFAULT_PROJECT_ID": simulator.DemoHome,
	}
	p.write(t, "routes.yaml", `
route: {receiver: pager, group_by: [alertname]}
receivers:
  - name: pager
    webhook_configs: [{url: https://hooks.example.com/canary-path}]
`)
	p.write(t, "rules.yaml", `
groups:
  - name: posture
    rules:
      - alert: FunctionPublic
        expr: scaleway_function_privacy{privacy="public"} == 1
        labels: {severity: critical}
        annotations: {summary: It is public., description: Anybody can call it., runbook_url: https://runbooks.example.com/FunctionPublic}
`)
	p.configure(t, "push: {enabled: true}")
	return p
}

// targets has each part of a target once: what is built in takes longer.
const targets = "provision: {targets: [{dashboards: [], rules: [{files: [rules.yaml], data_source: {type: metrics, name: scwatch}}], contacts: [oncall@example.com], alertmanager: routes.yaml}]}\n"

func (p *patient) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// configure writes the configuration with further keys.
func (p *patient) configure(t *testing.T, more string) {
	t.Helper()
	if !strings.Contains(more, "scaleway:") {
		more += "\nscaleway: {regions: [fr-par]}"
	}
	p.write(t, "scwatch.yaml", targets+more+"\n")
}

func (p *patient) environment() (all []string) {
	for name, value := range p.env {
		all = append(all, name+"="+value)
	}
	return all
}

func (p *patient) run(t *testing.T, args ...string) (stdout string, code int) {
	t.Helper()
	cmd := exec.Command(scwatchProgram(t), args...)
	cmd.Env = p.environment()
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &said, p.dir
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if strings.Contains(out.String()+said.String(), "canary") {
		t.Errorf("%v: a secret is shown:\n%s%s", args, &out, &said)
	}
	if said.Len() > 0 {
		t.Log(said.String())
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// instead has answer go before the account's, where it returns true.
func (p *patient) instead(answer func(w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

// asked returns the requests since it was called last.
func (p *patient) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	requests := p.requests
	p.requests = nil
	return requests
}

func (p *patient) home(change func(*simulator.Project)) {
	p.Update(func(a *simulator.Account) { change(&a.Projects[0]) })
}

var askedNames = regexp.MustCompile(`__name__=~"([^"]*)"`)

// answerAll takes every push, and answers every query with a sample of now.
func answerAll(w http.ResponseWriter, r *http.Request) {
	names := []string{""}
	if found := askedNames.FindStringSubmatch(r.FormValue("query")); found != nil {
		names = strings.Split(found[1], "|")
	}
	if strings.HasSuffix(r.URL.Path, "/label/__name__/values") {
		io.WriteString(w, `{"status":"success","data":["serverless_function_http_requests_total"]}`)
		return
	}
	if strings.HasSuffix(r.URL.Path, "/series") || strings.HasSuffix(r.URL.Path, "query_range") {
		io.WriteString(w, `{"status":"success","data":[]}`)
		return
	}
	var all []string
	for _, name := range names {
		all = append(all, fmt.Sprintf(`{"metric":{"__name__":%q},"value":[%d,"%d"]}`, name, time.Now().Unix(), time.Now().Unix()+1))
	}
	fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s]}}`, strings.Join(all, ","))
}
