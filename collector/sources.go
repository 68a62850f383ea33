package collector

import (
	"context"
	"sync"
	"time"

	function "github.com/scaleway/scaleway-sdk-go/api/function/v1beta1"

	"github.com/scwatch/scwatch/internal/httpclient"
)

// readFunctions lists the functions of a project in a region, namespace by
// namespace.
func (p *Poller) readFunctions(ctx context.Context, unit Unit) ([]Function, error) {
	namespaces, err := p.api.namespaces(ctx, unit.ProjectID, unit.Region)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	found := []Function{} // not nil: none were found
	err = fanOut(ctx, p, 0, namespaces, func(ctx context.Context, ns function.Namespace) error {
		functions, err := p.api.functions(ctx, unit.Region, ns.ID)
		if err != nil {
			return p.unlessGone(ctx, err, unit.Region, "namespaces", ns.ID)
		}
		inherited := p.reader.variables(ns.EnvironmentVariables, ns.SecretEnvironmentVariables, ns.UpdatedAt)
		mu.Lock()
		defer mu.Unlock()
		for _, f := range functions {
			found = append(found, p.reader.function(unit, f, ns, inherited))
		}
		return nil
	})
	return found, err
}

// unlessGone returns err, or nil where it came because the object was deleted
// while its unit was read.
func (p *Poller) unlessGone(ctx context.Context, err error, region, collection, id string) error {
	if !missing(err) {
		return err
	}
	if exists, lookup := p.api.exists(ctx, region, collection, id); lookup != nil || exists {
		return err
	}
	return nil
}

// readSlow reads a slow source about functions, behind all fast polls.
func (p *Poller) readSlow(ctx context.Context, unit Unit, functions []Function, spread time.Duration) (Items, error) {
	ctx = httpclient.Background(ctx)
	switch unit.Source {
	case sourceRuntimes:
		return p.readRuntimes(ctx, unit, functions)
	case sourceTriggers:
		return p.readTriggers(ctx, unit, functions)
	case sourceTokens:
		return p.readTokens(ctx, unit, functions, spread)
	case sourceProbe:
		return p.readProbes(ctx, unit, functions, spread)
	case sourceCrons:
		crons, err := ofEach(ctx, p, unit, functions, spread, func(ctx context.Context, id string) (int, error) {
			crons, err := p.api.crons(ctx, unit.Region, id)
			return len(crons), err
		})
		return Items{Crons: crons}, err
	default: // sourceDomains
		domains, err := ofEach(ctx, p, unit, functions, spread, func(ctx context.Context, id string) ([]string, error) {
			domains, err := p.api.domains(ctx, unit.Region, id)
			hosts := []string{}
			for _, d := range domains {
				hosts = append(hosts, d.Hostname)
			}
			return hosts, err
		})
		return Items{Domains: domains}, err
	}
}

// ofEach asks about each function by its ID. One that was deleted meanwhile has
// no answer.
func ofEach[T any](ctx context.Context, p *Poller, unit Unit, functions []Function, spread time.Duration, ask func(context.Context, string) (T, error)) (map[string]T, error) {
	var mu sync.Mutex
	answers := map[string]T{}
	err := fanOut(ctx, p, spread, functions, func(ctx context.Context, f Function) error {
		answer, err := ask(ctx, f.ID)
		if err != nil {
			return p.unlessGone(ctx, err, unit.Region, "functions", f.ID)
		}
		mu.Lock()
		defer mu.Unlock()
		answers[f.ID] = answer
		return nil
	})
	return answers, err
}

func (p *Poller) readRuntimes(ctx context.Context, unit Unit, functions []Function) (Items, error) {
	statuses := map[string]string{}
	if len(functions) == 0 {
		return Items{Runtimes: statuses}, nil
	}
	runtimes, err := p.api.runtimes(ctx, unit.Region)
	for _, r := range runtimes {
		statuses[r.Name] = label(string(r.Status))
	}
	return Items{Runtimes: statuses}, err
}

func (p *Poller) readTriggers(ctx context.Context, unit Unit, functions []Function) (Items, error) {
	counts := map[string]map[string]int{}
	if len(functions) == 0 {
		return Items{Triggers: counts}, nil
	}
	triggers, err := p.api.triggers(ctx, unit.ProjectID, unit.Region)
	for _, t := range triggers {
		if counts[t.FunctionID] == nil {
			counts[t.FunctionID] = map[string]int{}
		}
		counts[t.FunctionID][label(string(t.InputType))]++
	}
	return Items{Triggers: counts}, err
}

// readTokens lists the tokens of each function and of each namespace that has
// one.
func (p *Poller) readTokens(ctx context.Context, unit Unit, functions []Function, spread time.Duration) (Items, error) {
	type owner struct{ parameter, collection, id string }
	var owners []owner
	namespaces := map[string]bool{}
	for _, f := range functions {
		if !namespaces[f.NamespaceID] {
			namespaces[f.NamespaceID] = true
			owners = append(owners, owner{"namespace_id", "namespaces", f.NamespaceID})
		}
		owners = append(owners, owner{"function_id", "functions", f.ID})
	}
	var mu sync.Mutex
	found := map[string][]Token{}
	err := fanOut(ctx, p, spread, owners, func(ctx context.Context, o owner) error {
		tokens, err := p.api.tokens(ctx, unit.Region, o.parameter, o.id)
		if err != nil {
			return p.unlessGone(ctx, err, unit.Region, o.collection, o.id)
		}
		mu.Lock()
		defer mu.Unlock()
		found[o.id] = []Token{}
		for _, t := range tokens {
			found[o.id] = append(found[o.id], Token{ID: t.ID, Expires: timeOf(t.ExpiresAt)})
		}
		return nil
	})
	return Items{Tokens: found}, err
}

// readProjects returns the names of the watched projects by ID: of every
// project there is, or of those that the settings name. A name that the key
// may not read is not told, which is no failure.
func (p *Poller) readProjects(ctx context.Context) (map[string]string, error) {
	names := map[string]string{}
	if len(p.settings.Projects) == 0 {
		projects, err := p.api.projects(ctx, p.settings.Organization)
		for _, project := range projects {
			names[project.ID] = project.Name
		}
		return names, err
	}
	before := p.fleet.items(Unit{Source: sourceProjects}).Projects
	for _, id := range p.settings.Projects {
		project, err := p.api.project(ctx, id)
		if err != nil && !Refused(err) {
			return nil, err
		}
		if err != nil {
			project.Name = before[id]
		}
		names[id] = project.Name
	}
	return names, nil
}

// credentialAPIKey is the label of the key that scwatch itself uses.
const credentialAPIKey = "api_key"

// readCredentials asks when the API key ends. A key that may not read its own
// entry has its end kept as it was last told.
func (p *Poller) readCredentials(ctx context.Context, _ time.Duration) (Items, error) {
	key, err := p.api.apiKey(ctx, p.settings.AccessKey)
	if Refused(err) || missing(err) {
		return p.fleet.items(Unit{Source: sourceCredentials}), nil
	}
	ends := map[string]time.Time{}
	if end := timeOf(key.ExpiresAt); !end.IsZero() {
		ends[credentialAPIKey] = end
	}
	return Items{Credentials: ends}, err
}
