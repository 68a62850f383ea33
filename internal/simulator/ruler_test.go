package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gopkg.in/yaml.v3"
)

const (
	homeMetrics = "dddddddd-0000-4000-8000-000000000001"
	homeScw     = "dddddddd-0000-4000-8000-000000000002"
	homeLogs    = "dddddddd-0000-4000-8000-000000000003"
)

// call is one call to a simulated server, with the demo's key unless it has
// headers of its own.
type call struct {
	method, path, body string
	header             http.Header
}

func (c call) do(h http.Handler) *http.Response {
	r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
	r.Header.Set("X-Auth-Token", DemoSecretKey)
	if c.header != nil {
		r.Header = c.header
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// text returns the status and the whole body.
func (c call) text(h http.Handler) (int, string) {
	resp := c.do(h)
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// on is a ruler with the calls that tests make.
type on struct {
	t      *testing.T
	s      *Server
	source string // ID
	rules  string // path below it
}

func rulers(t *testing.T) (s *Server, mimir, loki on) {
	s = New(DemoAccount(time.Now()))
	s.Update(func(a *Account) { a.PollInterval = 0 })
	return s, on{t, s, homeMetrics, mimirRules}, on{t, s, homeLogs, lokiRules}
}

func (o on) call(method, path, body string) (int, string) {
	return call{method: method, path: dataSourcesPath + o.source + "/" + o.rules + path, body: body}.text(o.s)
}

func (o on) want(method, path, body string, status int, text string) {
	o.t.Helper()
	if gotStatus, got := o.call(method, path, body); gotStatus != status || got != text {
		o.t.Errorf("%s %s: %d %q, want %d %q", method, path, gotStatus, got, status, text)
	}
}

// groups are the names of the stored groups, by namespace.
func (o on) groups() string {
	var all []string
	o.s.Update(func(a *Account) {
		for _, g := range a.Project(DemoHome).RuleGroups {
			if g.DataSourceID == o.source {
				all = append(all, g.Namespace+"/"+g.Name)
			}
		}
	})
	slices.Sort(all)
	return strings.Join(all, " ")
}

const (
	mimirGroup = "name: g\nrules: [{alert: A, expr: up == 0}]\n"
	lokiGroup  = "name: g\nrules: [{alert: A, expr: 'sum(rate({app=\"a\"}[1m])) > 0'}]\n"
	mimirOK    = `{"status":"success"}`
	lokiOK     = `{"status":"success","data":null,"errorType":"","error":""}`
)

func rulesOf(n int, expr string) string {
	text := "name: g\nrules:\n"
	for i := range n {
		text += fmt.Sprintf("- {alert: A%d, expr: '%s'}\n", i, expr)
	}
	return text
}

// The table of the contracts, line by line.
func TestRulersCaseByCase(t *testing.T) {
	const logs = `sum(rate({app="a"}[1m])) > 0`
	const document = "name: g\nrules:\n    - alert: A\n      expr: up == 0\n"
	const lokiDocument = "name: g\nrules:\n    - alert: A\n      expr: " + logs + "\n"
	const listed = "ns:\n    - name: g\n      rules:\n        - alert: A\n          expr: "
	type answer struct {
		status int
		text   string
	}
	for name, test := range map[string]struct {
		empty              bool // without the group
		method, path       string
		mimirBody, logBody string
		mimir, loki        answer
	}{
		"POST a group":            {true, "POST", "/ns", mimirGroup, lokiGroup, answer{202, mimirOK}, answer{202, lokiOK}},
		"GET all":                 {false, "GET", "", "", "", answer{200, listed + "up == 0\n"}, answer{200, listed + logs + "\n"}},
		"GET a namespace":         {false, "GET", "/ns", "", "", answer{200, listed + "up == 0\n"}, answer{200, listed + logs + "\n"}},
		"GET one group":           {false, "GET", "/ns/g", "", "", answer{200, document}, answer{200, lokiDocument}},
		"GET a missing group":     {false, "GET", "/ns/h", "", "", answer{404, "group does not exist\n"}, answer{404, "group does not exist\n"}},
		"GET a missing namespace": {false, "GET", "/other", "", "", answer{404, "no rule groups found\n"}, answer{404, "no rule groups found\n"}},
		"GET of an empty tenant":  {true, "GET", "", "", "", answer{404, "no rule groups found\n"}, answer{404, "no rule groups found\n"}},
		"DELETE a group":          {false, "DELETE", "/ns/g", "", "", answer{202, mimirOK}, answer{202, lokiOK}},
		"DELETE a missing group":  {false, "DELETE", "/ns/h", "", "", answer{202, mimirOK}, answer{202, lokiOK}},
		"DELETE a namespace":      {false, "DELETE", "/ns", "", "", answer{202, mimirOK}, answer{202, lokiOK}},
		"DELETE a missing namespace": {false, "DELETE", "/other", "", "", answer{404, "group namespace does not exist\n"},
			answer{404, "group namespace does not exist\n"}},
		"bad YAML":        {true, "POST", "/ns", "{", "{", answer{400, "unable to decoded rule group\n"}, answer{400, "unable to decoded rule group\n"}},
		"a list":          {true, "POST", "/ns", "- a", "- a", answer{400, "unable to decoded rule group\n"}, answer{400, "unable to decoded rule group\n"}},
		"a duplicate key": {true, "POST", "/ns", "name: g\nname: h\n", "name: g\nname: h\n", answer{400, "unable to decoded rule group\n"}, answer{400, "unable to decoded rule group\n"}},
		"no name": {true, "POST", "/ns", "rules: [{alert: A, expr: up}]", "rules: [{alert: A, expr: '" + logs + "'}]",
			answer{400, "invalid rules config: rule group name must not be empty\n"}, answer{400, "group 0: Groupname must not be empty\n"}},
		"a file with groups": {true, "POST", "/ns", "groups: [{name: g}]", "groups: [{name: g}]",
			answer{400, "invalid rules config: rule group name must not be empty\n"}, answer{400, "group 0: Groupname must not be empty\n"}},
		"20 rules": {true, "POST", "/ns", rulesOf(20, "up"), rulesOf(20, logs), answer{202, mimirOK}, answer{202, lokiOK}},
		"21 rules": {true, "POST", "/ns", rulesOf(21, "up"), rulesOf(21, logs),
			answer{400, "per-user rules per rule group limit (limit: 20 actual: 21) exceeded\n"}, answer{400, "per-user rules per rule group limit (limit: 20 actual: 21) exceeded\n"}},
		"no rules": {true, "POST", "/ns", "name: x", "name: x", answer{400, "rule group 'x' has no rules\n"}, answer{202, lokiOK}},
		"a bad expression": {true, "POST", "/ns", "name: g2\nrules: [{alert: A, expr: 'sum('}]", "name: g2\nrules: [{alert: A, expr: 'sum(rate({a='}]",
			answer{400, ""}, answer{400, "could not parse expression for alert 'A' in group 'g2': parse error at line 1, col 13: syntax error: unexpected $end\n"}},
		"a query of logs as an alert":   {true, "POST", "/ns", "name: g\nrules: [{alert: A, expr: '{a='}]", "name: g\nrules: [{alert: A, expr: '{a=\"b\"}'}]", answer{400, ""}, answer{202, lokiOK}},
		"a trailing slash":              {false, "GET", "/", "", "", answer{404, "404 page not found\n"}, answer{404, "404 page not found\n"}},
		"a trailing slash of a name":    {false, "DELETE", "/ns/", "", "", answer{404, "404 page not found\n"}, answer{404, "404 page not found\n"}},
		"more than a group":             {false, "DELETE", "/ns/g/h", "", "", answer{404, "404 page not found\n"}, answer{404, "404 page not found\n"}},
		"another method":                {true, "PUT", "/ns", mimirGroup, lokiGroup, answer{405, ""}, answer{405, ""}},
		"a percent sign in a name":      {false, "DELETE", "/a%25b", "", "", answer{404, "group namespace does not exist\n"}, answer{500, "invalid URL escape\n"}},
		"two dots as a name":            {false, "DELETE", "/ns/..", "", "", answer{301, ""}, answer{301, ""}},
		"an escaped slash in no group":  {false, "GET", "/ns%2Fg", "", "", answer{404, "no rule groups found\n"}, answer{200, lokiDocument}},
		"a space and a plus in a name":  {true, "POST", "/a%20b+c", mimirGroup, lokiGroup, answer{202, mimirOK}, answer{202, lokiOK}},
		"a group of a missing one's ns": {true, "DELETE", "/ns/g", "", "", answer{202, mimirOK}, answer{202, lokiOK}},
	} {
		t.Run(name, func(t *testing.T) {
			_, mimir, loki := rulers(t)
			for _, ruler := range []struct {
				on
				group, body string
				want        answer
			}{{mimir, mimirGroup, test.mimirBody, test.mimir}, {loki, lokiGroup, test.logBody, test.loki}} {
				ok := mimirOK
				if ruler.rules == lokiRules {
					ok = lokiOK
				}
				if !test.empty {
					ruler.on.want("POST", "/ns", ruler.group, 202, ok)
				}
				ruler.on.want(test.method, test.path, ruler.body, ruler.want.status, ruler.want.text)
			}
		})
	}
}

func TestRulersContentTypes(t *testing.T) {
	s, mimir, loki := rulers(t)
	for _, o := range []on{mimir, loki} {
		base := dataSourcesPath + o.source + "/" + o.rules
		group := map[string]string{mimirRules: mimirGroup, lokiRules: lokiGroup}[o.rules]
		for _, test := range []struct{ method, path, body, want string }{
			{"GET", "", "", "text/plain; charset=utf-8"},
			{"POST", "/ns", "{", "text/plain; charset=utf-8"},
			{"POST", "/ns", group, "application/json"},
			{"GET", "", "", "application/yaml"},
			{"GET", "/ns/g", "", "application/yaml"},
			{"GET", "/ns/g/", "", "text/plain; charset=utf-8"},
		} {
			resp := call{method: test.method, path: base + test.path, body: test.body}.do(s)
			if got := resp.Header.Get("Content-Type"); got != test.want {
				t.Errorf("%s %s%s: %s", test.method, o.rules, test.path, got)
			}
		}
	}
}

// Contract 1: what Loki decodes before it routes.
func TestLokiEscapedSlashDeletesSomethingElse(t *testing.T) {
	for _, test := range []struct {
		loki bool
		want string
	}{{true, "team/b"}, {false, "team/a team/b"}} {
		_, o, loki := rulers(t)
		group, status := mimirGroup, 404
		if test.loki {
			o, group, status = loki, lokiGroup, 202
		}
		for _, name := range []string{"a", "b"} {
			o.call("POST", "/team", strings.Replace(group, "name: g", "name: "+name, 1))
		}
		if got, text := o.call("DELETE", "/team%2Fa", ""); got != status {
			t.Errorf("%s: %d %s", o.rules, got, text)
		}
		if got := o.groups(); got != test.want {
			t.Errorf("%s: left are %s, want %s", o.rules, got, test.want)
		}
	}
}

// Contract 2.
func TestLokiLosesTheBodyOfAForm(t *testing.T) {
	s, mimir, loki := rulers(t)
	for o, want := range map[on]int{mimir: 202, loki: 400} {
		group := map[string]string{mimirRules: mimirGroup, lokiRules: lokiGroup}[o.rules]
		header := http.Header{"X-Auth-Token": {DemoSecretKey}, "Content-Type": {"application/x-www-form-urlencoded"}}
		if status, text := (call{"POST", dataSourcesPath + o.source + "/" + o.rules + "/ns", group, header}).text(s); status != want {
			t.Errorf("%s: %d %s", o.rules, status, text)
		}
	}
}

// Contract 3: 70 groups can be stored, 69 can be kept up to date.
func TestRulersLimitOfGroups(t *testing.T) {
	_, mimir, loki := rulers(t)
	for _, o := range []on{mimir, loki} {
		group := map[string]string{mimirRules: mimirGroup, lokiRules: lokiGroup}[o.rules]
		post := func(i int) (int, string) {
			return o.call("POST", fmt.Sprintf("/ns%d", i%7), strings.Replace(group, "name: g", fmt.Sprintf("name: g%d", i), 1))
		}
		for i := range 69 {
			post(i)
		}
		if status, text := post(68); status != 202 {
			t.Errorf("%s: an update with 69 groups: %d %s", o.rules, status, text)
		}
		if status, text := post(69); status != 202 {
			t.Errorf("%s: the 70th: %d %s", o.rules, status, text)
		}
		const want = "per-user rule groups limit (limit: 70 actual: 71) exceeded\n"
		for _, i := range []int{70, 3} {
			if status, text := post(i); status != 400 || text != want {
				t.Errorf("%s: group %d with 70 stored: %d %q", o.rules, i, status, text)
			}
		}
	}
}

// Ninety at once: 69 or 70 are stored, and the answers say which.
func TestRulersManyAtOnce(t *testing.T) {
	_, mimir, _ := rulers(t)
	var calls sync.WaitGroup
	var mu sync.Mutex
	stored := map[string]bool{}
	next := make(chan int)
	for range 20 {
		calls.Go(func() {
			for i := range next {
				if status, _ := mimir.call("POST", "/ns", strings.Replace(mimirGroup, "name: g", fmt.Sprintf("name: g%d", i), 1)); status == 202 {
					mu.Lock()
					stored[fmt.Sprintf("ns/g%d", i)] = true
					mu.Unlock()
				}
			}
		})
	}
	for i := range 90 {
		next <- i
	}
	close(next)
	calls.Wait()
	groups := strings.Fields(mimir.groups())
	if len(groups) < 69 || len(groups) > 70 || len(groups) != len(stored) {
		t.Errorf("%d groups, %d answers of 202", len(groups), len(stored))
	}
}

// Contracts 4 and 5, as Mimir's source has it.
func TestMimirAnswers(t *testing.T) {
	s, mimir, loki := rulers(t)
	s.Update(func(a *Account) { a.MimirAnswers = true })
	mimir.want("GET", "", "", 200, "{}\n")
	mimir.want("DELETE", "/ns/g", "", 404, "group does not exist\n")
	mimir.want("DELETE", "/ns", "", 404, "group namespace does not exist\n")
	loki.want("GET", "", "", 404, "no rule groups found\n")
	loki.want("DELETE", "/ns/g", "", 202, lokiOK)
}

// Contract 4: a wrong path is 404, too, with another text.
func TestRulersWrongPaths(t *testing.T) {
	s := New(DemoAccount(time.Now()))
	for _, path := range []string{
		"/data-sources/ffffffff-0000-4000-8000-000000000000/" + mimirRules, "/nothing/" + mimirRules,
	} {
		if status, text := (call{method: "GET", path: path}).text(s); status != 404 || strings.Contains(text, "no rule groups found") {
			t.Errorf("%s: %d %q", path, status, text)
		}
	}
	// The other kind's path is the storage's, where there is one.
	for _, path := range []string{homeMetrics + "/" + lokiRules, homeLogs + "/" + mimirRules, homeMetrics + "/prometheus/config/v1/rulesets"} {
		if status, text := (call{method: "GET", path: dataSourcesPath + path}).text(s); status != 404 && status != 503 {
			t.Errorf("%s: %d %q", path, status, text)
		}
	}
}

// Contracts 6, 9 and 10: what comes back of what was sent.
func TestRulersAnswerInTheirOwnSpelling(t *testing.T) {
	const sent = `# a comment
name: g
interval: 60s
limit: 5
query_offset: 90s
labels: {team: web}
owner: nobody
rules:
  - alert: Z # first
    expr: |
      EXPR
    for: 24h
    keep_firing_for: 120s
    labels: {a: 1, b: true}
    annotations: {summary: it is}
    runbook: lost
  - alert: B
    expr: EXPR
    for: 0s
    labels: {}
    annotations: {}
---
name: second
rules: [{alert: C, expr: up}]
`
	mimirWant := `name: g
interval: 1m
query_offset: 1m30s
limit: 5
rules:
    - alert: Z
      expr: |
        up
      for: 1d
      keep_firing_for: 2m
      labels:
        a: "1"
        b: "true"
      annotations:
        summary: it is
    - alert: B
      expr: up
labels:
    team: web
`
	const logs = `sum(rate({a="b"}[1m])) > 0`
	lokiWant := strings.NewReplacer("query_offset: 1m30s\n", "", "      keep_firing_for: 2m\n", "", "labels:\n    team: web\n", "", "        up\n", "        "+logs+"\n", "expr: up\n", "expr: "+logs+"\n").Replace(mimirWant)
	_, mimir, loki := rulers(t)
	mimir.want("POST", "/ns", strings.ReplaceAll(sent, "EXPR", "up"), 202, mimirOK)
	mimir.want("GET", "/ns/g", "", 200, mimirWant)
	loki.want("POST", "/ns", strings.ReplaceAll(sent, "EXPR", logs), 202, lokiOK)
	loki.want("GET", "/ns/g", "", 200, lokiWant)
	if got := mimir.groups(); got != "ns/g" {
		t.Errorf("stored are %s", got)
	}
	// The whole group is replaced.
	mimir.want("POST", "/ns", mimirGroup, 202, mimirOK)
	mimir.want("GET", "/ns/g", "", 200, "name: g\nrules:\n    - alert: A\n      expr: up == 0\n")
}

// Contract 10: groups come in an order of the ruler's, rules in their own.
func TestRulersOrder(t *testing.T) {
	_, mimir, _ := rulers(t)
	for _, name := range []string{"a-9", "b-1", "c-5"} {
		mimir.call("POST", "/ns", "name: "+name+"\nrules: [{alert: Z, expr: up}, {alert: A, expr: up}]\n")
	}
	_, text := mimir.call("GET", "", "")
	var listed map[string][]struct {
		Name  string
		Rules []struct{ Alert string }
	}
	if err := yaml.Unmarshal([]byte(text), &listed); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range listed["ns"] {
		names = append(names, g.Name)
		if g.Rules[0].Alert != "Z" {
			t.Errorf("the rules of %s are in another order", g.Name)
		}
	}
	if slices.IsSorted(names) || len(names) != 3 {
		t.Errorf("groups in the order %v, which is that of their names or of their coming", names)
	}
}

// Contract 6: an answer of 202, and less stored.
func TestRulersLoseRules(t *testing.T) {
	s, mimir, _ := rulers(t)
	s.Update(func(a *Account) { a.RulersLoseRules = true })
	mimir.want("POST", "/ns", "name: g\nrules: [{alert: A, expr: up}, {alert: B, expr: up}]", 202, mimirOK)
	mimir.want("GET", "/ns/g", "", 200, "name: g\nrules:\n    - alert: A\n      expr: up\n")
}

// Contract 11: configuration at once, evaluation after the poll interval.
func TestRulersPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, mimir, _ := rulers(t)
		s.Update(func(a *Account) { a.PollInterval = time.Minute })
		state := func() string {
			var answer struct {
				Data struct {
					Groups []struct {
						File, Name string
						Rules      []struct{ Health, State, Name string }
					}
				}
			}
			_, text := (call{method: "GET", path: dataSourcesPath + homeMetrics + "/prometheus/api/v1/rules"}).text(s)
			if err := json.Unmarshal([]byte(text), &answer); err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, g := range answer.Data.Groups {
				for _, rule := range g.Rules {
					all = append(all, g.File+"/"+g.Name+"/"+rule.Name+" "+rule.Health+" "+rule.State)
				}
			}
			return strings.Join(all, ", ")
		}
		const evaluated = "ns/g/A ok inactive"
		time.Sleep(10 * time.Second)
		mimir.want("POST", "/ns", mimirGroup, 202, mimirOK)
		if got := mimir.groups(); got != "ns/g" || state() != "" {
			t.Errorf("configured %q, evaluated %q", got, state())
		}
		time.Sleep(time.Minute)
		if state() != evaluated {
			t.Errorf("after a minute %q", state())
		}
		mimir.call("DELETE", "/ns", "")
		if got := mimir.groups(); got != "" || state() != evaluated {
			t.Errorf("deleted: configured %q, evaluated %q", got, state())
		}
		time.Sleep(time.Minute)
		if state() != "" {
			t.Errorf("a minute later %q", state())
		}
	})
}

// Contract 8: a query of logs shows only as the health of its rule.
func TestLokiState(t *testing.T) {
	s, _, loki := rulers(t)
	loki.want("POST", "/ns", "name: g\nrules: [{alert: A, expr: '{app=\"a\"} |= \"x\"'}]", 202, lokiOK)
	_, text := (call{method: "GET", path: dataSourcesPath + homeLogs + "/prometheus/api/v1/rules"}).text(s)
	if !strings.Contains(text, `"health":"err"`) {
		t.Error(text)
	}
	if status, text := (call{method: "GET", path: dataSourcesPath + homeLogs + "/prometheus/api/v1/alerts"}).text(s); status != 200 || !strings.Contains(text, `"alerts":[]`) {
		t.Errorf("%d %s", status, text)
	}
}

// Ten alerts of one's own at most on Scaleway's metrics; recording rules and
// the data sources of one's own are not counted.
func TestScalewayMetricsTakeTenAlerts(t *testing.T) {
	s, mimir, _ := rulers(t)
	scw := on{t, s, homeScw, mimirRules}
	scw.want("POST", "/ns", rulesOf(10, "up"), 202, mimirOK)
	scw.want("POST", "/ns", rulesOf(10, "up == 1"), 202, mimirOK)
	scw.want("POST", "/ns", "name: r\nrules: [{record: 'a:b', expr: up}]", 202, mimirOK)
	if status, text := scw.call("POST", "/ns", "name: h\nrules: [{alert: A, expr: up}]"); status != 400 || !strings.Contains(text, "limit: 10 actual: 11") {
		t.Errorf("the eleventh: %d %s", status, text)
	}
	mimir.want("POST", "/ns", rulesOf(11, "up"), 202, mimirOK)
}

func TestRulersCredentials(t *testing.T) {
	s := New(DemoAccount(time.Now()))
	s.Update(func(a *Account) {
		a.CockpitTokens = []string{"any"}
		a.Project(DemoHome).CockpitTokens = []CockpitToken{
			{SecretKey: "rules", Region: "fr-par", Scopes: []string{"full_access_metrics_rules"}},
			{SecretKey: "push", Region: "fr-par", Scopes: []string{"write_only_metrics"}},
			{SecretKey: "elsewhere", Region: "nl-ams", Scopes: []string{"full_access_metrics_rules"}},
		}
		a.Project(payments).CockpitTokens = []CockpitToken{{SecretKey: "other", Region: "fr-par", Scopes: []string{"full_access_metrics_rules"}}}
	})
	for name, test := range map[string]struct {
		header http.Header
		want   int
	}{
		"none":                     {http.Header{}, 401},
		"a key":                    {http.Header{"X-Auth-Token": {DemoSecretKey}}, 404},
		"another key":              {http.Header{"X-Auth-Token": {"x"}}, 401},
		"a token":                  {http.Header{"X-Token": {"rules"}}, 404},
		"a token as a bearer":      {http.Header{"Authorization": {"Bearer rules"}}, 404},
		"one of the account":       {http.Header{"X-Token": {"any"}}, 404},
		"one of another scope":     {http.Header{"X-Token": {"push"}}, 401},
		"one of another region":    {http.Header{"X-Token": {"elsewhere"}}, 401},
		"one of another project":   {http.Header{"X-Token": {"other"}}, 401},
		"an empty one as a bearer": {http.Header{"Authorization": {"Bearer "}}, 401},
	} {
		status, text := call{"GET", dataSourcesPath + homeMetrics + "/" + mimirRules, "", test.header}.text(s)
		if status != test.want || status == 401 && text != "no org id\n" {
			t.Errorf("%s: %d %q, want %d", name, status, text, test.want)
		}
	}
}

// A denial may be of writes only.
func TestRulersDenied(t *testing.T) {
	s, mimir, _ := rulers(t)
	s.Update(func(a *Account) {
		a.Denied = []Denial{{ProjectID: DemoHome, Region: "fr-par", Resource: "cockpit", WritesOnly: true}}
	})
	mimir.want("GET", "", "", 404, "no rule groups found\n")
	mimir.want("POST", "/ns", mimirGroup, 403, "Forbidden\n")
	s.Update(func(a *Account) { a.Denied[0].WritesOnly = false })
	mimir.want("GET", "", "", 403, "Forbidden\n")
}

func TestLogQL(t *testing.T) {
	for expr, ok := range map[string]bool{
		`sum(rate({a="b"}[1m])) > 0`:                                       true,
		`sum by (x) (count_over_time({a=~"b|}"} |= "(" | json [5m]))`:      true,
		"sum(rate({a=`b{`}[1m])) and on() sum(rate({c=\"\\\"\"}[1m])) > 1": true,
		`{a="b"}`:                 true,
		`vector(1) > 0`:           true,
		`{a="b"} or {a="c"}`:      true,
		`up == 0`:                 false,
		`rate(foo{a="b"}[1m])`:    false,
		`sum(rate({}[1m]))`:       false,
		`sum(rate({a="b"}[1m])`:   false,
		`sum(rate({a="b"}[1m])))`: false,
		`sum(rate({a="b}[1m]))`:   false,
		``:                        false,
	} {
		if _, problem := checkLogQL(expr); (problem == "") != ok {
			t.Errorf("%s: %q", expr, problem)
		}
	}
}
