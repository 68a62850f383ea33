package provisioner

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/httpclient"
)

// rulerPaths are where a ruler's configuration is, below its data source.
var rulerPaths = map[string]string{
	config.DataSourceMetrics: "/prometheus/config/v1/rules", // Mimir
	config.DataSourceLogs:    "/loki/api/v1/rules",
}

// rules are the groups in the ruler of one data source. A group is one object:
// rulers replace it as a whole.
type rules struct {
	place      *place
	connect    func(base string) server
	dataSource config.DataSource
	namespaces []string // ours; groups elsewhere are others'

	foreign       int // groups of others, at the last listing
	foreignAlerts int
}

// server is the ruler, and false while its data source is not there.
func (r *rules) server() (server, bool, error) {
	source, err := r.place.source(r.dataSource)
	if err != nil || source == nil {
		return server{}, false, err
	}
	return r.connect(strings.TrimSuffix(source.URL, "/")), true, nil
}

func (r *rules) path() string { return rulerPaths[r.dataSource.Type] }

// noGroups are the words of a 404 for a tenant without rules. Any other 404 is
// a wrong address.
const noGroups = "no rule groups found"

func (r *rules) list(ctx context.Context) ([]object, error) {
	ruler, there, err := r.server()
	if err != nil || !there {
		return nil, err
	}
	attempted := fmt.Sprintf("list the rules of the data source %q of project %s in %s", r.dataSource.Name, r.place.project, r.place.region)
	a, err := ruler.call(ctx, attempted, http.MethodGet, r.path(), "", nil)
	if a.status == http.StatusNotFound && strings.Contains(string(a.body), noGroups) {
		r.foreign, r.foreignAlerts = 0, 0
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var namespaces map[string][]yaml.Node
	if err := yaml.Unmarshal(a.body, &namespaces); err != nil || namespaces == nil {
		return nil, &httpclient.Error{Attempted: attempted, Status: a.status, Reason: "the answer is no map of namespaces", Advice: "check " + ruler.check}
	}
	var all []object
	foreign, alerts := 0, 0
	for namespace, groups := range namespaces {
		for _, node := range groups {
			data, err := yaml.Marshal(&node)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", attempted, err)
			}
			tree, err := ruleTree(data)
			if err != nil {
				return nil, fmt.Errorf("%s: namespace %s: %w", attempted, namespace, err)
			}
			name, _ := tree["name"].(string)
			owned := slices.Contains(r.namespaces, namespace) && isMarked(tree)
			if !owned {
				items, _ := tree["rules"].([]any)
				foreign, alerts = foreign+1, alerts+len(names(items, "alert"))
			}
			all = append(all, object{name: r.objectName(namespace, name), tree: tree, owned: owned, state: [2]string{namespace, name}})
		}
	}
	r.foreign, r.foreignAlerts = foreign, alerts
	return all, nil
}

// objectName names a group over all data sources of a target.
func (r *rules) objectName(namespace, group string) string {
	return r.dataSource.Name + "/" + namespace + "/" + group
}

// desired are the groups of a target for this data source.
func (r *rules) desired(t target, grafana string) ([]object, error) {
	var all []object
	for _, set := range t.rules {
		if set.dataSource != r.dataSource {
			continue
		}
		for _, g := range set.groups {
			data, err := yaml.Marshal(g.marked(grafana))
			if err != nil {
				return nil, fmt.Errorf("%s: group %q: %w", g.file, g.Name, err)
			}
			tree, err := ruleTree(data)
			if err != nil {
				return nil, fmt.Errorf("%s: group %q: %w", g.file, g.Name, err)
			}
			all = append(all, object{name: r.objectName(set.namespace, g.Name), tree: tree, state: groupBody{set.namespace, g.Name, data}})
		}
	}
	return all, nil
}

// groupBody is a group as it is sent.
type groupBody struct {
	namespace, name string
	yaml            []byte
}

func (r *rules) put(ctx context.Context, desired object, _ *object) error {
	body := desired.state.(groupBody)
	ruler, there, err := r.server()
	if err == nil && !there {
		err = fmt.Errorf("its data source %q is not there", r.dataSource.Name)
	}
	if err != nil {
		return err
	}
	_, err = ruler.call(httpclient.Repeatable(ctx), "write the rule group "+desired.name, http.MethodPost,
		r.path()+"/"+url.PathEscape(body.namespace), "application/yaml", body.yaml)
	return err
}

// groupGone are the words of a 404 for a group that is not there any more.
var groupGone = [][]byte{[]byte("group does not exist"), []byte("group namespace does not exist")}

func (r *rules) remove(ctx context.Context, live object) error {
	at := live.state.([2]string)
	ruler, there, err := r.server()
	if err != nil || !there {
		return err
	}
	if misread(at[0]) || misread(at[1]) {
		return fmt.Errorf("delete the rule group %s: its name would be misread, and another group deleted; delete it by hand", live.name)
	}
	a, err := ruler.call(httpclient.Repeatable(ctx), "delete the rule group "+live.name, http.MethodDelete,
		r.path()+"/"+url.PathEscape(at[0])+"/"+url.PathEscape(at[1]), "", nil)
	if a.status == http.StatusNotFound && slices.ContainsFunc(groupGone, func(words []byte) bool { return bytes.Contains(a.body, words) }) {
		return nil
	}
	return err
}
