package provisioner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-openapi/strfmt"
	"github.com/grafana/grafana-openapi-client-go/client/provisioning"
	"github.com/grafana/grafana-openapi-client-go/models"
	"github.com/prometheus/prometheus/model/rulefmt"

	"github.com/scwatch/scwatch/internal/config"
)

// managedRules are the groups of Grafana-managed rules in a target's folder.
type managedRules struct {
	*grafana
	folder string
}

// The references of a converted rule's steps.
const (
	queryStep     = "A"
	conditionStep = "B"
)

// everySeries is true for each series that the query returns, whatever its
// value: that is what an alert of Prometheus fires for.
const everySeries = "is_number($A) || is_nan($A) || is_inf($A)"

// defaultInterval is that of a group without one.
const defaultInterval = time.Minute

// plugins are what data sources are called in Grafana.
var plugins = map[string]string{config.DataSourceMetrics: "prometheus", config.DataSourceLogs: "loki"}

// desired are the groups of a target as this Grafana evaluates them.
func (m *managedRules) desired(t target, version string) ([]object, error) {
	var all []object
	var errs []error
	titles := make(map[string]bool) // Grafana wants them unique in a folder
	for _, set := range t.rules {
		uid, err := find(m.sources, plugins[set.dataSource.Type], set.dataSource.Name, "")
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, g := range set.groups {
			if slices.ContainsFunc(all, func(o object) bool { return o.name == g.Name }) {
				errs = append(errs, fmt.Errorf("%s: group %q is in another namespace as well, and Grafana has none: rename one of the two", g.file, g.Name))
				continue
			}
			group, err := m.convert(g, uid, version, titles)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: group %q: %w", g.file, g.Name, err))
				continue
			}
			tree, err := managedTree(group)
			if err != nil {
				return nil, err
			}
			all = append(all, object{name: g.Name, tree: tree, state: group})
		}
	}
	return all, errors.Join(errs...)
}

func (m *managedRules) convert(g group, uid, version string, titles map[string]bool) (*models.AlertRuleGroup, error) {
	interval := time.Duration(g.Interval)
	if interval == 0 {
		interval = defaultInterval
	}
	group := &models.AlertRuleGroup{FolderUID: m.folder, Title: g.Name, Interval: int64(interval.Seconds())}
	for _, rule := range g.marked(m.address).Rules {
		convert := convertAlert
		if rule.Record != "" {
			convert = convertRecord
		}
		converted, err := convert(rule, uid, version)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ruleName(rule), err)
		}
		title := uniqueTitle(rule, titles)
		folder, name, organization := m.folder, g.Name, int64(1)
		converted.Title, converted.FolderUID, converted.RuleGroup, converted.OrgID = &title, &folder, &name, &organization
		group.Rules = append(group.Rules, converted)
	}
	return group, nil
}

// uniqueTitle is the alert's name, with its severity or a number behind it
// where another alert of that name is there.
func uniqueTitle(rule rulefmt.Rule, taken map[string]bool) string {
	name := cmp.Or(rule.Alert, rule.Record)
	title := name
	for n := 1; taken[title]; n++ {
		what := cmp.Or(rule.Labels["severity"], "record")
		title = fmt.Sprintf("%s (%s)", name, what)
		if n > 1 {
			title = fmt.Sprintf("%s (%s %d)", name, what, n)
		}
	}
	taken[title] = true
	return title
}

// convertAlert turns an alert of Prometheus into one of Grafana's that means
// the same: it fires for each series that the expression returns, no data is
// no alert, and an error changes nothing.
func convertAlert(rule rulefmt.Rule, uid, version string) (*models.ProvisionedAlertRule, error) {
	noData, onError := "OK", "Error" // the second one is heard, and resolves nothing without a word
	if atLeast(version, 10, 4) {
		onError = "KeepLast"
	}
	condition := conditionStep
	wait := strfmt.Duration(rule.For)
	notes := make(map[string]string, len(rule.Annotations))
	for name, text := range rule.Annotations {
		if queries.MatchString(text) {
			return nil, fmt.Errorf("its annotation %s asks a query, which Grafana's templates cannot", name)
		}
		notes[name] = valueOf.ReplaceAllString(text, "$$values."+queryStep+".Value")
	}
	return &models.ProvisionedAlertRule{
		Condition: &condition, For: &wait, KeepFiringFor: strfmt.Duration(rule.KeepFiringFor), NoDataState: &noData, ExecErrState: &onError,
		Labels: rule.Labels, Annotations: notes,
		Data: []*models.AlertQuery{
			instantQuery(rule.Expr, uid),
			{RefID: conditionStep, DatasourceUID: "__expr__", RelativeTimeRange: &models.RelativeTimeRange{}, Model: map[string]any{
				"refId": conditionStep, "type": "math", "expression": everySeries, "intervalMs": 1000.0, "maxDataPoints": 43200.0,
				"datasource": map[string]any{"type": "__expr__", "uid": "__expr__"},
			}},
		},
	}, nil
}

// convertRecord turns a recording rule of Prometheus into one of Grafana's, which
// writes into the data source that it asks.
func convertRecord(rule rulefmt.Rule, uid, version string) (*models.ProvisionedAlertRule, error) {
	if !atLeast(version, 12, 0) {
		return nil, fmt.Errorf("a Grafana %s has no recording rules of its own (12.0 does): let a Prometheus evaluate it", version)
	}
	condition, noData, onError, metric, from := queryStep, "OK", "Error", rule.Record, queryStep
	return &models.ProvisionedAlertRule{
		Condition: &condition, For: new(strfmt.Duration), NoDataState: &noData, ExecErrState: &onError, Labels: rule.Labels,
		Data:   []*models.AlertQuery{instantQuery(rule.Expr, uid)},
		Record: &models.Record{From: &from, Metric: &metric, TargetDatasourceUID: uid},
	}, nil
}

func instantQuery(expr, uid string) *models.AlertQuery {
	// Grafana answers the type of a query outside of its model, too.
	return &models.AlertQuery{RefID: queryStep, DatasourceUID: uid, QueryType: "instant", RelativeTimeRange: &models.RelativeTimeRange{From: 600}, Model: map[string]any{
		"refId": queryStep, "expr": expr, "instant": true, "range": false, "editorMode": "code", "queryType": "instant", "intervalMs": 1000.0, "maxDataPoints": 43200.0,
	}}
}

var (
	valueOf = regexp.MustCompile(`\$value\b|\.Value\b`)
	queries = regexp.MustCompile(`\{\{[^}]*\bquery\b`)
)

// atLeast compares the version of a Grafana.
func atLeast(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, errA := strconv.Atoi(parts[0])
	b, errB := strconv.Atoi(parts[1])
	return errA == nil && errB == nil && (a > major || a == major && b >= minor)
}

// managedTree is the normal form of a group: without what Grafana counts.
func managedTree(g *models.AlertRuleGroup) (map[string]any, error) {
	tree, err := treeOf(g)
	if err != nil {
		return nil, err
	}
	items, _ := tree["rules"].([]any)
	for _, item := range items {
		rule, _ := item.(map[string]any)
		for _, field := range []string{"id", "uid", "orgID", "updated", "provenance", "folderUID", "ruleGroup"} {
			delete(rule, field)
		}
		if rule["keep_firing_for"] == "0s" {
			delete(rule, "keep_firing_for")
		}
		steps, _ := rule["data"].([]any)
		for _, step := range steps {
			dropZero(step.(map[string]any))
		}
		dropZero(rule)
	}
	return tree, nil
}

func (m *managedRules) list(ctx context.Context) ([]object, error) {
	resp, err := m.api.Provisioning.GetAlertRulesWithParams(provisioning.NewGetAlertRulesParamsWithContext(ctx))
	if err != nil {
		return nil, attempt("list the rules of the Grafana "+m.address, err)
	}
	var groups []string
	for _, rule := range resp.Payload {
		if rule.FolderUID != nil && *rule.FolderUID == m.folder && rule.RuleGroup != nil && !slices.Contains(groups, *rule.RuleGroup) {
			groups = append(groups, *rule.RuleGroup)
		}
	}
	return parallel(ctx, groups, m.read)
}

func (m *managedRules) read(ctx context.Context, name string) ([]object, error) {
	resp, err := m.api.Provisioning.GetAlertRuleGroupWithParams(provisioning.NewGetAlertRuleGroupParamsWithContext(ctx).WithFolderUID(m.folder).WithGroup(name))
	if err != nil {
		if err = attempt("read the rule group "+name, err); missing(err) {
			return nil, nil
		}
		return nil, err
	}
	tree, err := managedTree(resp.Payload)
	if err != nil {
		return nil, err
	}
	uids := make(map[string]string)
	owned := false
	for _, rule := range resp.Payload.Rules {
		if rule.Title != nil {
			uids[*rule.Title] = rule.UID
		}
		owned = owned || rule.Annotations[markAnnotation] == markValue || rule.Record != nil && strings.Contains(text(rule.Data), strings.TrimSpace(markComment))
	}
	return []object{{name: name, tree: tree, owned: owned, state: uids}}, nil
}

// put replaces a group. Rules that stay need their uid, others have none yet.
func (m *managedRules) put(ctx context.Context, desired object, live *object) error {
	group := *desired.state.(*models.AlertRuleGroup)
	group.Rules = slices.Clone(group.Rules)
	if live != nil {
		uids := live.state.(map[string]string)
		for i, rule := range group.Rules {
			staying := *rule
			staying.UID = uids[*rule.Title]
			group.Rules[i] = &staying
		}
	}
	_, err := m.api.Provisioning.PutAlertRuleGroup(provisioning.NewPutAlertRuleGroupParamsWithContext(ctx).WithFolderUID(m.folder).WithGroup(desired.name).WithBody(&group))
	return attempt("write the rule group "+desired.name, err)
}

func (m *managedRules) remove(ctx context.Context, live object) error {
	for title, uid := range live.state.(map[string]string) {
		_, err := m.api.Provisioning.DeleteAlertRule(provisioning.NewDeleteAlertRuleParamsWithContext(ctx).WithUID(uid))
		if err = attempt("delete the rule "+title, err); err != nil && !missing(err) {
			return err
		}
	}
	return nil
}
