package collector

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	cockpit "github.com/scaleway/scaleway-sdk-go/api/cockpit/v1"

	"github.com/scwatch/scwatch/internal/config"
)

// callsAPoll bounds what one poll may ask of Cockpit. What is left of a
// discovery is asked by the polls after it.
const callsAPoll = 3

// errLater says that a poll has made its calls.
var errLater = errors.New("asked enough for one poll")

// calls counts those of a poll, and remembers the answers of a discovery that
// takes several.
type calls struct {
	left    int
	answers map[string]any
}

// once makes a call unless its answer is known. A failure is not remembered.
func once[T any](c *calls, key string, ask func() (T, error)) (answer T, err error) {
	if known, ok := c.answers[key]; ok {
		return known.(T), nil
	}
	if c.left == 0 {
		return answer, errLater
	}
	c.left--
	if answer, err = ask(); err == nil {
		c.answers[key] = answer
	}
	return answer, err
}

// discovery looks for what counts the rejected calls of one project and region.
type discovery struct {
	cockpit *Cockpit
	api     *API
	config  config.RejectedCalls
	unit    Unit
	calls   *calls
	now     time.Time

	metrics, logs string // the addresses of Scaleway's own data sources; "" where there is none
	uncertain     error  // why something could not be looked into that may have been better
}

// there tells whether the data source that m counts from is still listed.
func (d *discovery) there(m *method) bool { return m.Address == d.metrics || m.Address == d.logs }

// lookBack is how long ago series and lines still tell that there are such.
const lookBack = 24 * time.Hour

// method returns what counts there; nil where there is nothing.
func (d *discovery) method(ctx context.Context) (*method, error) {
	sources, err := once(d.calls, "data sources", func() ([]cockpit.DataSource, error) {
		all, err := d.api.dataSources(ctx, d.unit.ProjectID, d.unit.Region)
		if missing(err) {
			return nil, nil // the project has no Cockpit
		}
		return all, err
	})
	if err != nil {
		return nil, err
	}
	d.metrics, d.logs = scaleways(sources, cockpit.DataSourceTypeMetrics), scaleways(sources, cockpit.DataSourceTypeLogs)
	useMetrics := d.metrics != "" && d.config.Source != config.SourceLogs
	useLogs := d.logs != "" && d.config.Source != config.SourceMetrics
	switch {
	case useMetrics && d.config.MetricsQuery != "":
		return configured(sourceOfMetrics, d.metrics, d.config.MetricsQuery), nil
	case useLogs && d.config.LogsQuery != "":
		return configured(sourceOfLogs, d.logs, d.config.LogsQuery), nil
	}
	var found *method
	if useMetrics {
		found, err = d.inMetrics(ctx, d.metrics)
	}
	if useLogs && found == nil && err == nil {
		found, err = d.inLogs(ctx, d.logs)
	}
	return found, err
}

// scaleways returns the address of Scaleway's own data source of a type; ""
// where there is none.
func scaleways(all []cockpit.DataSource, kind cockpit.DataSourceType) string {
	name := map[cockpit.DataSourceType]string{cockpit.DataSourceTypeMetrics: "Scaleway Metrics", cockpit.DataSourceTypeLogs: "Scaleway Logs"}[kind]
	own := slices.DeleteFunc(slices.Clone(all), func(d cockpit.DataSource) bool {
		return d.Type != kind || d.Origin != cockpit.DataSourceOriginScaleway || d.URL == ""
	})
	if len(own) == 0 {
		return ""
	}
	return slices.MinFunc(own, func(a, b cockpit.DataSource) int {
		return cmp.Or(-compareBool(a.Name == name, b.Name == name), cmp.Compare(a.ID, b.ID))
	}).URL
}

func compareBool(a, b bool) int { return int(truth(a)) - int(truth(b)) }

// inMetrics goes by Scaleway's dashboard, and then by the names of series. A
// dashboard that cannot be read is no reason not to count.
func (d *discovery) inMetrics(ctx context.Context, address string) (*method, error) {
	candidates, err := d.onDashboards(ctx)
	if errors.Is(err, errLater) || ctx.Err() != nil {
		return nil, err
	}
	d.uncertain = err
	if found, err := d.confirm(ctx, address, candidates); err != nil || found != nil {
		return found, err
	}
	names, err := once(d.calls, "names", func() (names []string, err error) {
		q := dataQuestion(d.unit, sourceOfMetrics, address, "label/__name__/values", "look for series about functions", d.matching(`{__name__=~"serverless_function_.*"}`))
		return names, d.cockpit.data(ctx, q, &names)
	})
	if err != nil {
		return nil, err
	}
	return d.confirm(ctx, address, byName(names))
}

// matching is the query of an endpoint that lists what there was lately.
func (d *discovery) matching(selector string) url.Values {
	return url.Values{
		"match[]": {selector},
		"start":   {strconv.FormatInt(d.now.Add(-lookBack).Unix(), 10)}, "end": {strconv.FormatInt(d.now.Unix(), 10)},
	}
}

// byName makes candidates of the metrics that may be about requests. Their
// labels must tell which of them are by status.
func byName(names []string) []candidate {
	var rate selector
	for _, name := range names {
		if isRequestRate(name) {
			rate.name = name
			break
		}
	}
	var all []candidate
	for _, name := range names {
		lower := strings.ToLower(name)
		if !requestWords.MatchString(lower) && !strings.Contains(lower, "status") || otherWords.MatchString(lower) {
			continue
		}
		shape, scale := shapeOf(name, false, "")
		all = append(all, candidate{status: selector{name: name}, rate: rate, shape: shape, scale: scale, foundBy: "the names of its series"})
	}
	return ranked(all)
}

// ranked puts the exact shapes first, and leaves out what cannot be counted.
func ranked(all []candidate) []candidate {
	all = slices.DeleteFunc(all, func(c candidate) bool {
		return c.shape == "" || c.shape == shapePercentage && (c.rate.name == "" || c.rate.name == c.status.name)
	})
	order := []string{shapeCounter, shapeRate, shapePercentage}
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Compare(slices.Index(order, a.shape), slices.Index(order, b.shape))
	})
	return all
}

// confirm returns the first candidate whose series are by function and status,
// as the series themselves say.
func (d *discovery) confirm(ctx context.Context, address string, candidates []candidate) (*method, error) {
	var names []string
	for _, c := range candidates {
		names = append(names, regexp.QuoteMeta(c.status.name))
		if c.shape == shapePercentage {
			names = append(names, regexp.QuoteMeta(c.rate.name))
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	slices.Sort(names)
	selector := fmt.Sprintf("{__name__=~%q}", strings.Join(slices.Compact(names), "|"))
	all, err := once(d.calls, selector, func() (all []map[string]string, err error) {
		q := dataQuestion(d.unit, sourceOfMetrics, address, "series", "list series of calls by status", d.matching(selector))
		return all, d.cockpit.data(ctx, q, &all)
	})
	if err != nil {
		return nil, err
	}
	byName := map[string][]map[string]string{}
	for _, s := range all {
		if s[labelResource] != "" {
			byName[s["__name__"]] = append(byName[s["__name__"]], s)
		}
	}
	for _, c := range candidates {
		label, values := statusLabel(byName[c.status.name], c.label)
		if label == "" || c.shape == shapePercentage && len(byName[c.rate.name]) == 0 {
			continue
		}
		m := &method{
			Source: sourceOfMetrics, FoundBy: c.foundBy, Address: address,
			Shape: c.shape, Metric: c.status.name, CodeLabel: label, Scale: c.scale,
		}
		m.Query, m.Codes = c.query(label, values)
		return m, nil
	}
	return nil, nil
}

// functionsDashboard is the uid of Scaleway's own dashboard of functions, after
// the pattern of its others.
const functionsDashboard = "scw-serverless-functions-overview"

// dashboard is the part of Grafana's that is read.
type dashboard struct {
	UID    string
	Title  string
	Panels []panel
}

type panel struct {
	Title       string
	Panels      []panel // of a row
	Targets     []struct{ Expr, LegendFormat string }
	FieldConfig struct{ Defaults struct{ Unit string } }
}

// onDashboards reads candidates off Scaleway's dashboard of functions. A
// project without a Grafana, or without that dashboard, has none.
func (d *discovery) onDashboards(ctx context.Context) ([]candidate, error) {
	base, err := once(d.calls, "grafana", func() (string, error) { return d.api.grafanaURL(ctx, d.unit.ProjectID) })
	if err != nil || base == "" {
		return nil, err
	}
	base = strings.TrimSuffix(base, "/")
	// A Cockpit's Grafana does not exist before this is asked of it.
	if _, err := once(d.calls, "open", func() ([]byte, error) {
		return d.cockpit.ask(ctx, question{unit: d.unit, attempted: "open the Grafana of project " + d.unit.ProjectID, address: base + "/api/org"})
	}); err != nil {
		return nil, err
	}
	board, err := d.dashboard(ctx, base, functionsDashboard)
	if err != nil || board != nil {
		return board.candidates(), err
	}
	found, err := once(d.calls, "search", func() (found []struct{ UID string }, err error) {
		body, err := d.cockpit.ask(ctx, question{
			unit: d.unit, attempted: "search the dashboards of project " + d.unit.ProjectID,
			address: base + "/api/search", query: url.Values{"type": {"dash-db"}, "query": {"functions"}},
		})
		if err == nil && json.Unmarshal(body, &found) != nil {
			err = &APIError{Attempted: "search the dashboards of project " + d.unit.ProjectID, Status: http.StatusOK, Reason: "the answer is not one of Grafana"}
		}
		return found, err
	})
	if err != nil {
		return nil, err
	}
	var all []candidate
	for _, hit := range found {
		if !strings.HasPrefix(hit.UID, "scw-") || !strings.Contains(hit.UID, "function") || strings.HasSuffix(hit.UID, "-logs") {
			continue
		}
		board, err := d.dashboard(ctx, base, hit.UID)
		if err != nil {
			return nil, err
		}
		all = append(all, board.candidates()...)
	}
	return ranked(all), nil
}

// dashboard reads one; nil where there is none of that uid.
func (d *discovery) dashboard(ctx context.Context, base, uid string) (*dashboard, error) {
	return once(d.calls, "dashboard "+uid, func() (*dashboard, error) {
		q := question{
			unit: d.unit, attempted: fmt.Sprintf("read the dashboard %s of project %s", uid, d.unit.ProjectID),
			address: base + "/api/dashboards/uid/" + url.PathEscape(uid),
		}
		body, err := d.cockpit.ask(ctx, q)
		var e *APIError
		if errors.As(err, &e) && e.Status == http.StatusNotFound {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		var answer struct{ Dashboard *dashboard }
		if json.Unmarshal(body, &answer) != nil || answer.Dashboard == nil {
			return nil, &APIError{Attempted: q.attempted, Status: http.StatusOK, Reason: "the answer is not one of Grafana"}
		}
		return answer.Dashboard, nil
	})
}

// legendLabel is a label in the legend of a panel.
var legendLabel = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// candidates are the metrics that the panels show by status, with the request
// rate that another one shows.
func (b *dashboard) candidates() []candidate {
	if b == nil {
		return nil
	}
	foundBy := "Scaleway's dashboard " + cmp.Or(b.UID, b.Title)
	var all []candidate
	var rate selector
	var walk func([]panel)
	walk = func(panels []panel) {
		for _, p := range panels {
			walk(p.Panels)
			for _, target := range p.Targets {
				q, err := parsePanel(target.Expr)
				if err != nil {
					continue // not PromQL, or beyond what is understood
				}
				var legend []string
				for _, label := range legendLabel.FindAllStringSubmatch(target.LegendFormat, -1) {
					legend = append(legend, label[1])
				}
				for _, s := range q.selectors {
					label := cmp.Or(statusLabelAmong(q.grouping), statusLabelAmong(s.labels), statusLabelAmong(legend))
					if label == "" && !s.counter && isRequestRate(s.name) && rate.name == "" {
						rate = s.selector
					}
					shape, scale := shapeOf(s.name, s.counter, p.FieldConfig.Defaults.Unit)
					if label != "" {
						all = append(all, candidate{status: s.selector, label: label, shape: shape, scale: scale, foundBy: foundBy})
					}
				}
			}
		}
	}
	walk(b.Panels)
	for i := range all {
		all[i].rate = rate
	}
	return ranked(all)
}

// statusLabelAmong returns the likeliest name of a label with a status.
func statusLabelAmong(names []string) string {
	for _, label := range statusLabels {
		if slices.Contains(names, label) {
			return label
		}
	}
	return ""
}
