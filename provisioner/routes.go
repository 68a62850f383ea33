package provisioner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	amconfig "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/pkg/labels"
	amtemplate "github.com/prometheus/alertmanager/template"
	"gopkg.in/yaml.v3"
)

// ownPrefix is what our receivers, time intervals and templates are called by
// in a configuration that others use as well.
const ownPrefix = "scwatch-"

// markMatcher is in every inhibition rule of ours, which have no name. It holds
// for every alert, because none has this label.
const markMatcher = `managed_by_scwatch!="no"`

// routes is an Alertmanager configuration of ours, as the part that it becomes
// of one that others use as well.
type routes struct {
	route     *yaml.Node   // the subtree
	receivers []*yaml.Node // …
	inhibit   []*yaml.Node
	intervals []*yaml.Node
	templates map[string]string // by name, with our prefix
	secrets   []string          // what the environment gave
}

// routes reads an Alertmanager configuration with the templates beside it.
// alerts are what it is for: nobody else's are routed or silenced by it.
func (r *reader) routes(file string, alerts []string) *routes {
	data, err := os.ReadFile(file)
	if err != nil {
		r.report(file, 0, 0, "cannot be read: %s", errors.Unwrap(err))
		return nil
	}
	top, ok := r.document(source{name: file, data: data})
	if !ok {
		return nil
	}
	before := len(r.problems)
	out := &routes{templates: make(map[string]string)}
	r.expand(file, top, out)
	r.templates(file, top, out)
	expanded, err := yaml.Marshal(top)
	if err != nil {
		r.report(file, 1, 1, "%v", err)
		return nil
	}
	r.receivers(file, top)
	if _, err := amconfig.Load(string(expanded)); err != nil && len(r.problems) == before {
		// Its lines are those of the expanded text.
		r.report(file, 1, 1, "%s", out.mask(err.Error()))
	}
	if len(r.problems) > before {
		return nil
	}
	r.graft(file, top, out, alerts)
	if len(r.problems) > before {
		return nil
	}
	return out
}

var reference = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand puts the environment into ${NAME}, in the values after parsing, so
// that no value can change the structure.
func (r *reader) expand(file string, node *yaml.Node, out *routes) {
	if node.Kind == yaml.ScalarNode {
		node.Value = reference.ReplaceAllStringFunc(node.Value, func(whole string) string {
			name := reference.FindStringSubmatch(whole)[1]
			value := r.Env(name)
			switch {
			case value != "":
				out.secrets = append(out.secrets, value)
				return value
			case !r.Offline:
				r.report(file, node.Line, node.Column, "the environment variable %s is not set", name)
			case whole == node.Value:
				return "https://" + strings.ToLower(strings.ReplaceAll(name, "_", "-")) + ".invalid/"
			}
			return name
		})
	}
	for _, child := range node.Content {
		r.expand(file, child, out)
	}
}

// mask takes what the environment gave out of a text.
func (o *routes) mask(s string) string {
	for _, secret := range o.secrets {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, masked)
		}
	}
	return s
}

// templates reads the files that the configuration names.
func (r *reader) templates(file string, top *yaml.Node, out *routes) {
	for _, pattern := range elements(value(top, "templates")) {
		at := pattern.Value
		if !filepath.IsAbs(at) {
			at = filepath.Join(filepath.Dir(file), at)
		}
		found, err := filepath.Glob(at)
		if err != nil || len(found) == 0 {
			r.report(file, pattern.Line, pattern.Column, "templates: %s matches no file", pattern.Value)
			continue
		}
		for _, name := range found {
			data, err := os.ReadFile(name)
			if err == nil {
				err = parseTemplate(string(data))
			}
			if err != nil {
				r.report(name, 0, 0, "%v", err)
				continue
			}
			out.templates[prefixed(filepath.Base(name))] = string(data)
		}
	}
}

func parseTemplate(text string) error {
	t, err := amtemplate.New()
	if err != nil {
		return err
	}
	return t.Parse(strings.NewReader(text))
}

// receivers checks that each route's receiver exists and each receiver has a
// route that alerts can get to.
func (r *reader) receivers(file string, top *yaml.Node) {
	at := func(node *yaml.Node, format string, args ...any) {
		r.report(file, node.Line, node.Column, format, args...)
	}
	defined := make(map[string]bool)
	var names []string
	for _, receiver := range elements(value(top, "receivers")) {
		name := value(receiver, "name")
		if defined[name.Value] {
			at(name, "receiver %q is defined twice", name.Value)
		}
		defined[name.Value] = true
		names = append(names, name.Value)
	}
	reached := make(map[string]bool)
	var walk func(route *yaml.Node, inherited string, reachable bool)
	walk = func(route *yaml.Node, inherited string, reachable bool) {
		receiver := value(route, "receiver")
		if receiver.Value != "" {
			inherited = receiver.Value
			if !defined[inherited] {
				at(receiver, "there is no receiver %q", inherited)
			}
		}
		taken := false // by a child that takes every alert
		for _, child := range elements(value(route, "routes")) {
			if taken {
				at(child, "no alert gets to this route: the one before takes them all")
			}
			walk(child, inherited, reachable && !taken)
			if !hasMatchers(child) && value(child, "continue").Value != "true" {
				taken = true
			}
		}
		if reachable && !taken {
			reached[inherited] = true
		}
	}
	route := value(top, "route")
	if route.Kind == 0 {
		at(top, "there is no route")
		return
	}
	walk(route, "", true)
	for i, receiver := range elements(value(top, "receivers")) {
		if name := names[i]; name != "" && !reached[name] {
			at(receiver, "no route leads to the receiver %q", name)
		}
	}
}

func hasMatchers(route *yaml.Node) bool {
	for _, key := range []string{"matchers", "match", "match_re"} {
		if len(value(route, key).Content) > 0 {
			return true
		}
	}
	return false
}

func prefixed(name string) string {
	if strings.HasPrefix(name, ownPrefix) {
		return name
	}
	return ownPrefix + name
}

// globals are the settings under "global" that a receiver can have itself: the
// integration, and the field there. What others wrote under "global" stays
// theirs.
var globals = map[string]struct{ integration, field string }{
	"smtp_from": {"email_configs", "from"}, "smtp_smarthost": {"email_configs", "smarthost"}, "smtp_hello": {"email_configs", "hello"},
	"smtp_auth_username": {"email_configs", "auth_username"}, "smtp_auth_password": {"email_configs", "auth_password"},
	"smtp_auth_secret": {"email_configs", "auth_secret"}, "smtp_auth_identity": {"email_configs", "auth_identity"},
	"smtp_require_tls": {"email_configs", "require_tls"},
	"slack_api_url":    {"slack_configs", "api_url"}, "pagerduty_url": {"pagerduty_configs", "url"},
	"opsgenie_api_key": {"opsgenie_configs", "api_key"}, "opsgenie_api_url": {"opsgenie_configs", "api_url"},
	"victorops_api_key": {"victorops_configs", "api_key"}, "victorops_api_url": {"victorops_configs", "api_url"},
	"telegram_api_url": {"telegram_configs", "api_url"}, "webex_api_url": {"webex_configs", "api_url"},
	"mattermost_webhook_url": {"mattermost_configs", "webhook_url"},
}

// graft makes the configuration at top a part of another one: a subtree of
// routes for our alerts alone, with names under our prefix.
func (r *reader) graft(file string, top *yaml.Node, out *routes, alerts []string) {
	at := func(node *yaml.Node, format string, args ...any) {
		r.report(file, node.Line, node.Column, format, args...)
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		switch key := top.Content[i]; key.Value {
		case "route", "receivers", "inhibit_rules", "templates", "time_intervals", "mute_time_intervals", "global":
		default:
			at(key, "%s is not of one receiver or route, and would change what others wrote: leave it out", key.Value)
		}
	}
	global := value(top, "global")
	for i := 0; i+1 < len(global.Content); i += 2 {
		key := global.Content[i]
		place, known := globals[key.Value]
		if !known {
			at(key, "global.%s would change what others wrote: set it in the receivers", key.Value)
			continue
		}
		for _, receiver := range elements(value(top, "receivers")) {
			for _, integration := range elements(value(receiver, place.integration)) {
				if value(integration, place.field).Kind == 0 {
					setValue(integration, place.field, global.Content[i+1])
				}
			}
		}
	}
	if len(alerts) == 0 {
		at(value(top, "route"), "this target has no alerts that could be routed: its rules are needed to tell ours from others'")
		return
	}
	out.receivers = elements(value(top, "receivers"))
	for _, receiver := range out.receivers {
		rename(value(receiver, "name"))
	}
	out.intervals = slices.Concat(elements(value(top, "time_intervals")), elements(value(top, "mute_time_intervals")))
	for _, interval := range out.intervals {
		rename(value(interval, "name"))
	}
	ours := `alertname=~"` + strings.Join(alerts, "|") + `"`
	out.inhibit = elements(value(top, "inhibit_rules"))
	for _, rule := range out.inhibit {
		addMatchers(rule, "source_matchers", ours, markMatcher)
		addMatchers(rule, "target_matchers", ours)
	}
	out.route = value(top, "route")
	renameRoutes(out.route)
	if value(out.route, "group_by").Kind == 0 {
		at(out.route, "the first route has no group_by: as a part of another configuration it would take that one's; say what to group by")
	}
	// The same for what a configuration of its own has by default.
	for _, timing := range []struct{ field, value string }{{"group_wait", "30s"}, {"group_interval", "5m"}, {"repeat_interval", "4h"}} {
		if value(out.route, timing.field).Kind == 0 {
			setValue(out.route, timing.field, scalar(timing.value))
		}
	}
	addMatchers(out.route, "matchers", ours)
}

func rename(name *yaml.Node) {
	if name.Kind == yaml.ScalarNode {
		name.Value = prefixed(name.Value)
	}
}

func renameRoutes(route *yaml.Node) {
	rename(value(route, "receiver"))
	for _, field := range []string{"mute_time_intervals", "active_time_intervals"} {
		for _, name := range elements(value(route, field)) {
			rename(name)
		}
	}
	for _, child := range elements(value(route, "routes")) {
		renameRoutes(child)
	}
}

func scalar(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}

func sequence(of []*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: of}
}

// setValue sets what a mapping has under a key; nil takes it away.
func setValue(mapping *yaml.Node, key string, v *yaml.Node) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value != key {
			continue
		}
		if v == nil {
			mapping.Content = slices.Delete(mapping.Content, i, i+2)
		} else {
			mapping.Content[i+1] = v
		}
		return
	}
	if v != nil {
		mapping.Content = append(mapping.Content, scalar(key), v)
	}
}

func addMatchers(rule *yaml.Node, key string, matchers ...string) {
	all := slices.Clone(elements(value(rule, key)))
	for _, m := range matchers {
		all = append(all, scalar(m))
	}
	setValue(rule, key, sequence(all))
}

// ownPart takes our part out of a configuration that others use as well.
func ownPart(top *yaml.Node, templates map[string]string) *routes {
	own := &routes{templates: make(map[string]string)}
	for _, child := range elements(value(value(top, "route"), "routes")) {
		if isOwnRoute(child) {
			own.route = child
			break
		}
	}
	own.receivers = slices.DeleteFunc(slices.Clone(elements(value(top, "receivers"))), func(n *yaml.Node) bool {
		return !isOwnName(n) || value(n, "name").Value == emptyReceiver
	})
	own.intervals = slices.DeleteFunc(slices.Concat(elements(value(top, "time_intervals")), elements(value(top, "mute_time_intervals"))),
		func(n *yaml.Node) bool { return !isOwnName(n) })
	own.inhibit = slices.DeleteFunc(slices.Clone(elements(value(top, "inhibit_rules"))), func(n *yaml.Node) bool { return !isOwnInhibition(n) })
	for name, text := range templates {
		if strings.HasPrefix(name, ownPrefix) {
			own.templates[name] = text
		}
	}
	return own
}

func isOwnName(n *yaml.Node) bool { return strings.HasPrefix(value(n, "name").Value, ownPrefix) }

func isOwnRoute(n *yaml.Node) bool {
	return strings.HasPrefix(value(n, "receiver").Value, ownPrefix)
}

func isOwnInhibition(n *yaml.Node) bool {
	return slices.ContainsFunc(elements(value(n, "source_matchers")), func(m *yaml.Node) bool {
		return canonicalMatcher(m.Value) == canonicalMatcher(markMatcher)
	})
}

func canonicalMatcher(s string) string {
	matchers, err := labels.ParseMatchers(s)
	if err != nil || len(matchers) != 1 {
		return s
	}
	return matchers[0].String()
}

// emptyReceiver takes what nobody routes, in a configuration that was not there
// before us.
const emptyReceiver = ownPrefix + "nobody"

// merged is a configuration that others use as well, with own as our part; nil
// own takes it out. Our subtree comes first: it takes our alerts alone, and a
// catch-all before it would take them.
func mergedRoutes(top *yaml.Node, own *routes) *yaml.Node {
	merged := clone(top)
	if merged == nil {
		merged = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	}
	if own == nil {
		own = &routes{}
	}
	route := value(merged, "route")
	if route.Kind != yaml.MappingNode {
		route = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		setValue(route, "receiver", scalar(emptyReceiver))
		setValue(merged, "route", route)
	}
	children := slices.DeleteFunc(slices.Clone(elements(value(route, "routes"))), isOwnRoute)
	if own.route != nil {
		children = append([]*yaml.Node{own.route}, children...)
	}
	setList(route, "routes", children)
	notOurs := func(key string, mine func(*yaml.Node) bool) []*yaml.Node {
		return slices.DeleteFunc(slices.Clone(elements(value(merged, key))), mine)
	}
	receivers := append(notOurs("receivers", isOwnName), own.receivers...)
	if value(route, "receiver").Value == emptyReceiver {
		empty := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		setValue(empty, "name", scalar(emptyReceiver))
		receivers = append(receivers, empty)
	}
	setList(merged, "receivers", receivers)
	setList(merged, "inhibit_rules", append(notOurs("inhibit_rules", isOwnInhibition), own.inhibit...))
	setList(merged, "mute_time_intervals", notOurs("mute_time_intervals", isOwnName))
	setList(merged, "time_intervals", append(notOurs("time_intervals", isOwnName), own.intervals...))
	named := slices.DeleteFunc(slices.Clone(elements(value(merged, "templates"))), func(n *yaml.Node) bool { return strings.HasPrefix(n.Value, ownPrefix) })
	for _, name := range sortedKeys(own.templates) {
		named = append(named, scalar(name))
	}
	setList(merged, "templates", named)
	return merged
}

// isEmptyRoutes tells whether nothing is left of a configuration but what we
// made to hold our part.
func isEmptyRoutes(top *yaml.Node) bool {
	route := value(top, "route")
	receivers := elements(value(top, "receivers"))
	return value(route, "receiver").Value == emptyReceiver && len(elements(value(route, "routes"))) == 0 && len(receivers) == 1 && len(top.Content) == 4
}

// setList sets a list, or takes the key away where nothing is in it.
func setList(mapping *yaml.Node, key string, items []*yaml.Node) {
	if len(items) == 0 {
		setValue(mapping, key, nil)
		return
	}
	setValue(mapping, key, sequence(items))
}

func clone(node *yaml.Node) *yaml.Node {
	if node == nil {
		return nil
	}
	c := *node
	c.Content = make([]*yaml.Node, len(node.Content))
	for i := range node.Content {
		c.Content[i] = clone(node.Content[i])
	}
	return &c
}

// tree is the normal form of our part, with everything masked that is not known
// to be no secret.
func (o *routes) tree() map[string]any {
	tree := map[string]any{}
	if o.route != nil {
		tree["route"] = routeTree(plain(o.route))
	}
	receivers := []any{}
	for _, receiver := range o.receivers {
		receivers = append(receivers, o.masked("", plain(receiver)))
	}
	if len(receivers) > 0 {
		tree["receivers"] = receivers
	}
	for key, nodes := range map[string][]*yaml.Node{"inhibit_rules": o.inhibit, "time_intervals": o.intervals} {
		items := []any{}
		for _, node := range nodes {
			item := plain(node)
			normaliseMatchers(item)
			items = append(items, item)
		}
		if len(items) > 0 {
			tree[key] = items
		}
	}
	if len(o.templates) > 0 {
		templates := map[string]any{}
		for name, text := range o.templates {
			templates[name] = text
		}
		tree["templates"] = templates
	}
	return tree
}

// plain is what a node says, as a tree.
func plain(node *yaml.Node) any {
	switch node.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			m[node.Content[i].Value] = plain(node.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		l := []any{}
		for _, child := range node.Content {
			l = append(l, plain(child))
		}
		return l
	case yaml.AliasNode:
		return plain(node.Alias)
	}
	switch node.ShortTag() {
	case "!!bool":
		return node.Value == "true"
	case "!!int", "!!float":
		if f, err := strconv.ParseFloat(node.Value, 64); err == nil {
			return f
		}
	case "!!null":
		return nil
	}
	return node.Value
}

// routeTree brings a route and those below it into one spelling.
func routeTree(v any) any {
	route, ok := v.(map[string]any)
	if !ok {
		return v
	}
	normaliseMatchers(route)
	for _, field := range []string{"group_wait", "group_interval", "repeat_interval"} {
		if spelled, ok := route[field].(string); ok {
			normaliseDuration(route, field)
			if route[field] == nil {
				route[field] = strings.TrimLeft(spelled, "0") + "0" // 0s is said, and not the same as nothing
			}
		}
	}
	children, _ := route["routes"].([]any)
	for i := range children {
		children[i] = routeTree(children[i])
	}
	return dropZero(route)
}

// normaliseMatchers spells matchers in one way, the old forms included.
func normaliseMatchers(v any) {
	rule, ok := v.(map[string]any)
	if !ok {
		return
	}
	for _, side := range []struct{ key, old, regexp string }{
		{"matchers", "match", "match_re"}, {"source_matchers", "source_match", "source_match_re"}, {"target_matchers", "target_match", "target_match_re"},
	} {
		var all []any
		if matchers, ok := rule[side.key].([]any); ok {
			for _, m := range matchers {
				if s, ok := m.(string); ok {
					m = canonicalMatcher(s)
				}
				all = append(all, m)
			}
		}
		for old, operator := range map[string]string{side.old: "=", side.regexp: "=~"} {
			if equals, ok := rule[old].(map[string]any); ok {
				for name, v := range equals {
					all = append(all, canonicalMatcher(fmt.Sprintf("%s%s%q", name, operator, v)))
				}
				delete(rule, old)
			}
		}
		if len(all) > 0 {
			slices.SortFunc(all, func(a, b any) int { return strings.Compare(text(a), text(b)) })
			rule[side.key] = all
		}
	}
}

// shown are the fields of receivers that hold no secret. All others are masked:
// an integration that is new to us must not be the one that leaks.
var shown = []string{
	"name", "send_resolved", "channel", "username", "icon_emoji", "icon_url", "title", "text", "message", "fallback", "color", "footer", "pretext",
	"short_fields", "short", "mrkdwn_in", "link_names", "to", "from", "smarthost", "hello", "require_tls", "force_implicit_tls", "subject", "html",
	"class", "component", "severity", "group", "description", "client", "priority", "tags", "entity", "note", "source", "max_alerts", "timeout",
	"parse_mode", "chat_id", "disable_notifications", "message_type", "state_message", "entity_display_name", "monitoring_tool", "sound", "ttl",
	"retry", "expire", "update_alerts", "update_message", "follow_redirects", "enable_http2",
}

// masked is a receiver as it may be shown.
func (o *routes) masked(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for name, item := range v {
			m[name] = o.masked(name, item)
		}
		return m
	case []any:
		l := []any{}
		for _, item := range v {
			l = append(l, o.masked(key, item))
		}
		return l
	case string:
		if slices.Contains(shown, key) && o.mask(v) == v {
			return v
		}
		return secret(v)
	}
	return v
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
