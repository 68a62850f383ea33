package simulator

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"gopkg.in/yaml.v3"
)

// RuleGroup is a group of rules that a data source's ruler keeps.
type RuleGroup struct {
	DataSourceID, Namespace, Name string
	YAML                          string // as the ruler answers it
}

// The limits of a tenant, which is a data source.
const (
	maxRules                = 20
	maxGroups               = 70
	maxAlertsBesideScaleway = 10
)

const (
	mimirRules = "prometheus/config/v1/rules"
	lokiRules  = "loki/api/v1/rules"
)

// isRuler tells whether the path below a data source is its ruler's.
func isRuler(d *DataSource, path string) bool {
	config := map[string]string{"metrics": mimirRules, "logs": lokiRules}[d.Type]
	return config != "" && (path == config || strings.HasPrefix(path, config+"/") || isRulerState(path))
}

func isRulerState(path string) bool {
	return path == "prometheus/api/v1/rules" || path == "prometheus/api/v1/alerts"
}

// groupDocument is a group as it is written and answered. What it has no field
// for vanishes.
type groupDocument struct {
	Name        string            `yaml:"name"`
	Interval    model.Duration    `yaml:"interval,omitempty"`
	QueryOffset *model.Duration   `yaml:"query_offset,omitempty"`
	Limit       int               `yaml:"limit,omitempty"`
	Rules       []ruleDocument    `yaml:"rules"`
	Labels      map[string]string `yaml:"labels,omitempty"`
}

type ruleDocument struct {
	Record        string            `yaml:"record,omitempty"`
	Alert         string            `yaml:"alert,omitempty"`
	Expr          string            `yaml:"expr"`
	For           model.Duration    `yaml:"for,omitempty"`
	KeepFiringFor model.Duration    `yaml:"keep_firing_for,omitempty"`
	Labels        map[string]string `yaml:"labels,omitempty"`
	Annotations   map[string]string `yaml:"annotations,omitempty"`
}

func (g RuleGroup) parsed() groupDocument {
	var document groupDocument
	if err := yaml.Unmarshal([]byte(g.YAML), &document); err != nil {
		panic(fmt.Sprintf("rule group %s of namespace %s: %v", g.Name, g.Namespace, err))
	}
	return document
}

// ruler is one data source's, for the length of a call.
type ruler struct {
	account *Account
	project *Project
	source  *DataSource
	loki    bool
}

// ruler answers the calls of isRuler.
func (s *Server) ruler(w http.ResponseWriter, r *http.Request, id string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(r)
	p, d := s.account.dataSource(id)
	if d == nil { // meanwhile
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	scope := "full_access_" + d.Type + "_rules"
	switch {
	case !s.mayUse(r, p, d.Region, scope):
		http.Error(w, "no org id", http.StatusUnauthorized)
		return
	case s.denied(p.ID, d.Region, "cockpit", r.Method):
		http.Error(w, "Forbidden", http.StatusForbidden)
		return
	}
	at := ruler{s.account, p, d, d.Type == "logs"}
	below := strings.TrimPrefix(r.URL.Path, dataSourcesPath+d.ID+"/")
	if isRulerState(below) {
		at.state(w, below, s.evaluated(d, at.groups("")))
		return
	}
	// Loki decodes names before it routes: %2F ends one.
	prefix := mimirRules
	escaped := strings.TrimPrefix(r.URL.EscapedPath(), dataSourcesPath+d.ID+"/")
	if at.loki {
		prefix, escaped = lokiRules, below
		if strings.Contains(r.URL.EscapedPath(), "%25") {
			http.Error(w, "invalid URL escape", http.StatusInternalServerError)
			return
		}
	}
	names := strings.Split(strings.TrimPrefix(strings.TrimPrefix(escaped, prefix), "/"), "/")
	if slices.Contains(names, ".") || slices.Contains(names, "..") {
		w.Header().Set("Location", path.Clean(r.URL.EscapedPath()))
		w.WriteHeader(http.StatusMovedPermanently)
		return
	}
	if strings.HasSuffix(escaped, "/") || len(names) > 2 || slices.Contains(names[1:], "") {
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	if !at.loki {
		for i := range names {
			name, err := url.PathUnescape(names[i])
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			names[i] = name
		}
	}
	namespace, group := names[0], ""
	if len(names) == 2 {
		group = names[1]
	}
	before := at.groups("")
	switch {
	case r.Method == http.MethodGet && group != "":
		at.one(w, namespace, group)
	case r.Method == http.MethodGet:
		at.list(w, namespace)
	case r.Method == http.MethodPost && namespace != "" && group == "":
		if at.loki && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
			body = nil // it was read as a form
		}
		at.store(w, namespace, body)
	case r.Method == http.MethodDelete && namespace != "":
		at.delete(w, namespace, group)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
	if r.Method != http.MethodGet {
		s.written(d, before)
	}
}

// groups are those of a namespace; empty: of all. A ruler has no order of them,
// so they come by the ends of their names, which nobody could have meant.
func (at ruler) groups(namespace string) []RuleGroup {
	var all []RuleGroup
	for _, g := range at.project.RuleGroups {
		if g.DataSourceID == at.source.ID && (namespace == "" || g.Namespace == namespace) {
			all = append(all, g)
		}
	}
	slices.SortFunc(all, func(a, b RuleGroup) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(reversed(a.Name), reversed(b.Name)))
	})
	return all
}

func reversed(s string) string {
	runes := []rune(s)
	slices.Reverse(runes)
	return string(runes)
}

func writeYAML(w http.ResponseWriter, body any) {
	encoded, err := yaml.Marshal(body)
	if err != nil {
		panic(err) // of our own types
	}
	w.Header().Set("Content-Type", "application/yaml")
	w.Write(encoded)
}

func (at ruler) list(w http.ResponseWriter, namespace string) {
	found := map[string][]groupDocument{}
	for _, g := range at.groups(namespace) {
		found[g.Namespace] = append(found[g.Namespace], g.parsed())
	}
	if len(found) == 0 && (at.loki || !at.account.MimirAnswers) {
		http.Error(w, "no rule groups found", http.StatusNotFound)
		return
	}
	writeYAML(w, found)
}

func (at ruler) one(w http.ResponseWriter, namespace, name string) {
	for _, g := range at.groups(namespace) {
		if g.Name == name {
			writeYAML(w, g.parsed())
			return
		}
	}
	http.Error(w, "group does not exist", http.StatusNotFound)
}

func (at ruler) accepted(w http.ResponseWriter) {
	if at.loki {
		writeJSON(w, http.StatusAccepted, lokiAccepted)
		return
	}
	writeJSON(w, http.StatusAccepted, struct {
		Status string `json:"status"`
	}{"success"})
}

var lokiAccepted = struct {
	Status    string `json:"status"`
	Data      any    `json:"data"`
	ErrorType string `json:"errorType"`
	Error     string `json:"error"`
}{Status: "success"}

func (at ruler) delete(w http.ResponseWriter, namespace, name string) {
	kept := slices.DeleteFunc(slices.Clone(at.project.RuleGroups), func(g RuleGroup) bool {
		return g.DataSourceID == at.source.ID && g.Namespace == namespace && (name == "" || g.Name == name)
	})
	if len(kept) == len(at.project.RuleGroups) {
		if name == "" {
			http.Error(w, "group namespace does not exist", http.StatusNotFound)
			return
		}
		if at.account.MimirAnswers && !at.loki {
			http.Error(w, "group does not exist", http.StatusNotFound)
			return
		}
	}
	at.project.RuleGroups = kept
	at.accepted(w)
}

// store replaces the whole group that body is.
func (at ruler) store(w http.ResponseWriter, namespace string, body []byte) {
	refuse := func(text string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusBadRequest)
		if text != "" {
			fmt.Fprintln(w, text)
		}
	}
	var group groupDocument
	if err := yaml.Unmarshal(body, &group); err != nil { // the first document; strict about nothing
		refuse("unable to decoded rule group")
		return
	}
	if text, ok := at.validate(group); !ok {
		refuse(text)
		return
	}
	if at.loki {
		group.QueryOffset, group.Labels = nil, nil
		for i := range group.Rules {
			group.Rules[i].KeepFiringFor = 0
		}
	}
	if n := len(group.Rules); n > maxRules {
		refuse(fmt.Sprintf("per-user rules per rule group limit (limit: %d actual: %d) exceeded", maxRules, n))
		return
	}
	// One more, whether it is there already or not.
	if n := len(at.groups("")) + 1; n > maxGroups {
		refuse(fmt.Sprintf("per-user rule groups limit (limit: %d actual: %d) exceeded", maxGroups, n))
		return
	}
	if at.source.Origin == "scaleway" && !at.loki {
		if n := at.alertsWith(namespace, group); n > maxAlertsBesideScaleway {
			// What the real one says is not known.
			refuse(fmt.Sprintf("custom alerts limit (limit: %d actual: %d) exceeded", maxAlertsBesideScaleway, n))
			return
		}
	}
	if at.account.RulersLoseRules && len(group.Rules) > 0 {
		group.Rules = group.Rules[:len(group.Rules)-1]
	}
	encoded, err := yaml.Marshal(group)
	if err != nil {
		panic(err) // of our own type
	}
	stored := RuleGroup{at.source.ID, namespace, group.Name, string(encoded)}
	i := slices.IndexFunc(at.project.RuleGroups, func(g RuleGroup) bool {
		return g.DataSourceID == stored.DataSourceID && g.Namespace == stored.Namespace && g.Name == stored.Name
	})
	if i < 0 {
		at.project.RuleGroups = append(at.project.RuleGroups, stored)
	} else {
		at.project.RuleGroups[i] = stored
	}
	at.accepted(w)
}

// alertsWith counts the data source's alerts as they would be with group.
func (at ruler) alertsWith(namespace string, group groupDocument) int {
	n := 0
	count := func(rules []ruleDocument) {
		for _, rule := range rules {
			if rule.Alert != "" {
				n++
			}
		}
	}
	count(group.Rules)
	for _, g := range at.groups("") {
		if g.Namespace != namespace || g.Name != group.Name {
			count(g.parsed().Rules)
		}
	}
	return n
}

// validate returns the text of a refusal, which may be empty.
func (at ruler) validate(group groupDocument) (text string, ok bool) {
	if at.loki {
		if group.Name == "" {
			return "group 0: Groupname must not be empty", false
		}
		for _, rule := range group.Rules {
			if (rule.Alert == "") == (rule.Record == "") {
				return fmt.Sprintf("group %q: one of 'record' and 'alert' must be set", group.Name), false
			}
			if column, problem := checkLogQL(rule.Expr); problem != "" {
				kind, name := "alert", rule.Alert
				if name == "" {
					kind, name = "record", rule.Record
				}
				return fmt.Sprintf("could not parse expression for %s '%s' in group '%s': parse error at line 1, col %d: %s", kind, name, group.Name, column, problem), false
			}
		}
		return "", true // a group without rules, and a query of logs as an alert, too
	}
	if group.Name == "" {
		return "invalid rules config: rule group name must not be empty", false
	}
	if len(group.Rules) == 0 {
		return fmt.Sprintf("rule group '%s' has no rules", group.Name), false
	}
	for _, rule := range group.Rules {
		if (rule.Alert == "") == (rule.Record == "") || rule.Record != "" && (rule.For != 0 || rule.KeepFiringFor != 0 || len(rule.Annotations) > 0) {
			return "", false
		}
		if _, err := parser.NewParser(parser.Options{}).ParseExpr(rule.Expr); err != nil {
			return "", false
		}
	}
	return "", true
}

// polled is what a ruler goes by: what it had at its last look.
type polled struct {
	look   time.Time
	groups []RuleGroup
}

// written keeps what the ruler goes by until its next look. The lock is held.
func (s *Server) written(d *DataSource, before []RuleGroup) {
	look := time.Now().Truncate(max(s.account.PollInterval, 1))
	if !s.rulers[d.ID].look.Equal(look) {
		s.rulers[d.ID] = polled{look, before}
	}
}

// evaluated returns the groups that the ruler goes by. The lock is held.
func (s *Server) evaluated(d *DataSource, now []RuleGroup) []RuleGroup {
	if s.account.PollInterval > 0 && s.rulers[d.ID].look.Equal(time.Now().Truncate(s.account.PollInterval)) {
		return s.rulers[d.ID].groups
	}
	return now
}

// state answers prometheus/api/v1/rules and …/alerts. Nothing ever fires.
func (at ruler) state(w http.ResponseWriter, path string, groups []RuleGroup) {
	if strings.HasSuffix(path, "/alerts") {
		writeJSON(w, http.StatusOK, object{"status": "success", "data": object{"alerts": []object{}}})
		return
	}
	all := []object{}
	for _, g := range groups {
		document := g.parsed()
		rules := []object{}
		for _, rule := range document.Rules {
			body := object{
				"query": rule.Expr, "labels": variables(rule.Labels), "health": "ok", "lastError": "",
				"lastEvaluation": "0001-01-01T00:00:00Z", "evaluationTime": 0,
			}
			if at.loki && strings.HasPrefix(strings.TrimSpace(rule.Expr), "{") {
				body["health"], body["lastError"] = "err", "rule result is not a vector or scalar"
			}
			if rule.Alert == "" {
				body["type"], body["name"] = "recording", rule.Record
			} else {
				body["type"], body["name"], body["state"] = "alerting", rule.Alert, "inactive"
				body["duration"], body["keepFiringFor"] = time.Duration(rule.For).Seconds(), time.Duration(rule.KeepFiringFor).Seconds()
				body["annotations"], body["alerts"] = variables(rule.Annotations), []object{}
			}
			rules = append(rules, body)
		}
		interval := time.Duration(document.Interval)
		if interval == 0 {
			interval = time.Minute
		}
		all = append(all, object{
			"name": g.Name, "file": g.Namespace, "rules": rules, "interval": interval.Seconds(), "limit": document.Limit,
			"lastEvaluation": "0001-01-01T00:00:00Z", "evaluationTime": 0, "sourceTenants": nil,
		})
	}
	writeJSON(w, http.StatusOK, object{"status": "success", "data": object{"groups": all}, "errorType": "", "error": ""})
}

// checkLogQL finds what no query of Loki's has, far from all of it: brackets
// that do not match, nothing at all, no stream selector, and one with a
// metric's name before it. Its parser cannot be used here. Returns a column
// and a problem; empty: none.
func checkLogQL(expr string) (column int, problem string) {
	var open []rune
	closing := map[rune]rune{')': '(', '}': '{', ']': '['}
	var quote rune
	escaped, selectors := false, 0
	var last, previous rune // without spaces, and with
	word := ""
	for i, c := range []rune(expr) {
		switch {
		case quote != 0:
			switch {
			case escaped:
				escaped = false
			case c == '\\' && quote == '"':
				escaped = true
			case c == quote:
				quote = 0
			}
			last, previous = c, c
			continue
		case c == '"' || c == '`':
			quote = c
		case strings.ContainsRune("({[", c):
			if c == '{' {
				selectors++
				if isWord(last) && !slices.Contains([]string{"and", "or", "unless", "bool"}, word) {
					return i + 1, "syntax error: unexpected {"
				}
			}
			open = append(open, c)
		case closing[c] != 0:
			if len(open) == 0 || open[len(open)-1] != closing[c] {
				return i + 1, fmt.Sprintf("syntax error: unexpected %c", c)
			}
			if c == '}' && last == '{' {
				return i + 1, "queries require at least one regexp or equality matcher that does not have an empty-compatible value"
			}
			open = open[:len(open)-1]
		}
		if isWord(c) {
			if !isWord(previous) {
				word = ""
			}
			word += string(c)
		}
		if c != ' ' && c != '\n' && c != '\t' {
			last = c
		}
		previous = c
	}
	if quote != 0 || len(open) > 0 || strings.TrimSpace(expr) == "" {
		return len([]rune(expr)) + 1, "syntax error: unexpected $end"
	}
	if selectors == 0 && !strings.Contains(expr, "vector(") {
		return 1, "syntax error: unexpected IDENTIFIER"
	}
	return 0, ""
}

func isWord(c rune) bool {
	return c == '_' || c == ':' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
