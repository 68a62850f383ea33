package provisioner

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/scwatch/scwatch/internal/httpclient"
)

// alertmanagerPath is where the configuration of a tenant's Alertmanager is.
const alertmanagerPath = "/api/v1/alerts"

// routing is our part of the one configuration that a region's alert manager
// has. Its answers hold secrets in clear text: no body of it is ever shown.
type routing struct {
	place   *place
	connect func(base string) server

	seen document // at the last listing
}

// routesName is the name of the only object there is.
const routesName = "scwatch"

// document is a configuration as the alert manager keeps it.
type document struct {
	top       *yaml.Node // nil: there is none
	templates map[string]string
}

// noConfiguration are the words of a 404 for a tenant without a configuration.
const noConfiguration = "alertmanager storage object not found"

func (r *routing) read(ctx context.Context) (document, error) {
	manager := r.connect(r.place.alertManagerURL)
	attempted := fmt.Sprintf("read the routes of project %s in %s", r.place.project, r.place.region)
	a, err := manager.call(ctx, attempted, http.MethodGet, alertmanagerPath, "", nil)
	if a.status == http.StatusNotFound && strings.Contains(string(a.body), noConfiguration) {
		return document{}, nil
	}
	if err != nil {
		return document{}, err
	}
	strange := &httpclient.Error{Attempted: attempted, Status: a.status, Reason: "the answer is no Alertmanager configuration", Advice: "check " + manager.check}
	var body struct {
		Templates map[string]string `yaml:"template_files"`
		Config    yaml.Node         `yaml:"alertmanager_config"`
	}
	if yaml.Unmarshal(a.body, &body) != nil {
		return document{}, strange
	}
	d := document{templates: body.Templates}
	switch body.Config.Kind {
	case yaml.MappingNode: // as it comes through Grafana
		d.top = &body.Config
	case yaml.ScalarNode:
		var node yaml.Node
		if yaml.Unmarshal([]byte(body.Config.Value), &node) != nil {
			return document{}, strange
		}
		if len(node.Content) == 0 {
			return d, nil
		}
		if d.top = node.Content[0]; d.top.Kind != yaml.MappingNode {
			return document{}, strange
		}
	default:
		return document{}, strange
	}
	return d, nil
}

func (r *routing) list(ctx context.Context) ([]object, error) {
	if r.place.alertManagerURL == "" {
		return nil, nil // it is not enabled: nothing is there
	}
	d, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	r.seen = d
	if d.top == nil {
		return nil, nil
	}
	tree := ownPart(d.top, d.templates).tree()
	if len(tree) == 0 {
		return nil, nil
	}
	return []object{{name: routesName, tree: positioned(tree, d.top), owned: true}}, nil
}

// positioned adds where our subtree is: only first can no catch-all of others
// take our alerts.
func positioned(tree map[string]any, top *yaml.Node) map[string]any {
	children := elements(value(value(top, "route"), "routes"))
	tree["first"] = len(children) > 0 && isOwnRoute(children[0])
	return tree
}

func (r *routing) desired(own *routes) object {
	tree := own.tree()
	tree["first"] = true
	return object{name: routesName, tree: tree, state: own}
}

func (r *routing) put(ctx context.Context, desired object, _ *object) error {
	return r.change(ctx, desired.state.(*routes))
}

func (r *routing) remove(ctx context.Context, _ object) error { return r.change(ctx, nil) }

// change writes the configuration with own as our part. It is read again just
// before: where it is not what the plan saw, nothing is written. There is no
// compare-and-swap, so that this is best effort.
func (r *routing) change(ctx context.Context, own *routes) error {
	now, err := r.read(ctx)
	if err != nil {
		return err
	}
	if !same(r.seen, now) {
		return errors.New("write the routes: somebody changed the configuration after it was planned; plan anew")
	}
	merged := mergedRoutes(now.top, own)
	manager := r.connect(r.place.alertManagerURL)
	attempted := fmt.Sprintf("write the routes of project %s in %s", r.place.project, r.place.region)
	templates := map[string]string{}
	for name, text := range now.templates {
		if !strings.HasPrefix(name, ownPrefix) {
			templates[name] = text
		}
	}
	if own == nil && isEmptyRoutes(merged) && len(templates) == 0 {
		_, err := manager.call(httpclient.Repeatable(ctx), attempted, http.MethodDelete, alertmanagerPath, "", nil)
		return err
	}
	if own != nil {
		for name, text := range own.templates {
			templates[name] = text
		}
	}
	config, err := yaml.Marshal(merged)
	if err != nil {
		return fmt.Errorf("%s: %w", attempted, err)
	}
	body, err := yaml.Marshal(map[string]any{"alertmanager_config": string(config), "template_files": templates})
	if err != nil {
		return fmt.Errorf("%s: %w", attempted, err)
	}
	_, err = manager.call(httpclient.Repeatable(ctx), attempted, http.MethodPost, alertmanagerPath, "application/yaml", body)
	var failed *httpclient.Error
	if errors.As(err, &failed) { // its words can repeat a value
		failed.Reason = (&routes{secrets: receiverSecrets(merged)}).mask(failed.Reason)
	}
	return err
}

func same(a, b document) bool {
	if a.top == nil || b.top == nil {
		return a.top == b.top
	}
	return reflect.DeepEqual(plain(a.top), plain(b.top)) && (len(a.templates) == 0 && len(b.templates) == 0 || reflect.DeepEqual(a.templates, b.templates))
}

// receiverSecrets are the values in all receivers, ours and others', that must
// not be shown.
func receiverSecrets(top *yaml.Node) []string {
	var all []string
	var gather func(v any)
	gather = func(v any) {
		switch v := v.(type) {
		case secret:
			all = append(all, string(v))
		case map[string]any:
			for _, item := range v {
				gather(item)
			}
		case []any:
			for _, item := range v {
				gather(item)
			}
		}
	}
	for _, receiver := range elements(value(top, "receivers")) {
		gather((&routes{}).masked("", plain(receiver)))
	}
	return all
}
