package collector

import (
	"maps"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// identity are the labels that say which function a series is about.
var identity = []string{"project_id", "region", "namespace", "function", "function_id"}

// Metric describes one metric of a snapshot. docs/metrics.md is generated from
// the table of them.
type Metric struct {
	Name   string
	Help   string
	Type   string // gauge or counter
	Labels []string

	function func(*Function, sample)
	snapshot func(*Snapshot, sample)
}

// sample adds one sample: its value, and the values of the metric's own labels.
type sample func(value float64, labels ...string)

const (
	gauge   = "gauge"
	counter = "counter"
)

// ofFunction describes a metric with samples of each function; labels come
// after those of its identity.
func ofFunction(name, kind, help string, each func(*Function, sample), labels ...string) Metric {
	return Metric{Name: name, Help: help, Type: kind, Labels: append(append([]string(nil), identity...), labels...), function: each}
}

func ofSnapshot(name, kind, help string, all func(*Snapshot, sample), labels ...string) Metric {
	return Metric{Name: name, Help: help, Type: kind, Labels: labels, snapshot: all}
}

// one is for a metric with one sample a function.
func one(value func(*Function) float64) func(*Function, sample) {
	return func(f *Function, add sample) { add(value(f)) }
}

// instant is for a time that may not be known.
func instant(at func(*Function) time.Time) func(*Function, sample) {
	return func(f *Function, add sample) {
		if t := at(f); !t.IsZero() {
			add(seconds(t))
		}
	}
}

// scoped is for a count by scope.
func scoped(count func(Variables) int) func(*Function, sample) {
	return func(f *Function, add sample) {
		for _, scope := range scopes {
			add(float64(count(f.Variables[scope])), scope)
		}
	}
}

// Metrics is every metric of a snapshot, in the order of the exposition.
var Metrics = []Metric{
	ofFunction("scaleway_function_info", gauge,
		"Always 1. What is known of the function beside its identity; http_option, runtime and sandbox as the API spells them.",
		func(f *Function, add sample) {
			add(1, f.Project, f.NamespaceID, f.Team, f.Runtime, f.Sandbox, f.HTTPOption, f.Domain)
		}, "project", "namespace_id", "team", "runtime", "sandbox", "http_option", "domain"),
	ofFunction("scaleway_function_privacy", gauge,
		"Who may call the function, as a state set: 1 for the privacy that it has, 0 for the others.",
		func(f *Function, add sample) {
			for _, privacy := range privacies {
				add(truth(f.Privacy == privacy), privacy)
			}
		}, "privacy"),
	ofFunction("scaleway_function_secrets", gauge,
		"Secret variables that the function runs with, by scope: its own, and its namespace's.",
		scoped(func(v Variables) int { return v.Secrets }), "scope"),
	ofFunction("scaleway_function_environment_variables", gauge,
		"Clear-text variables that the function runs with, by scope.",
		scoped(func(v Variables) int { return v.Count }), "scope"),
	ofFunction("scaleway_function_plaintext_secrets", gauge,
		"Clear-text variables that look like secrets, by scope.",
		scoped(func(v Variables) int { return len(v.Suspect) }), "scope"),
	ofFunction("scaleway_function_secret_oldest_set_timestamp_seconds", gauge,
		"When the least recently set secret was last seen to be set; for one never seen to be set, at the latest. Absent without secrets.",
		instant(func(f *Function) time.Time { return f.OldestSecretSet })),
	ofFunction("scaleway_function_rejected_calls_total", counter,
		"Calls that were refused for want of a valid token, by status code and by the source that tells them; scwatch's own probes are taken off. 4xx where the source has no more than the class. Absent without a source.",
		func(f *Function, add sample) {
			for _, code := range slices.Sorted(maps.Keys(f.Rejected)) {
				add(f.Rejected[code], code, f.RejectedBy)
			}
		}, "code", "source"),
	ofFunction("scaleway_function_probe_rejected", gauge,
		"1 if the last conclusive probe, a call without a token, of the private function was refused; 0 if it was answered with success. Kept over restarts; absent before the first one.",
		func(f *Function, add sample) {
			if f.ProbeRejected != nil {
				add(truth(*f.ProbeRejected))
			}
		}),
	ofFunction("scaleway_function_status", gauge,
		"Always 1, for the status that the function is in.",
		func(f *Function, add sample) { add(1, f.Status) }, "status"),
	ofFunction("scaleway_function_error_since_timestamp_seconds", gauge,
		"Since when the function is in error, at the latest. The platform removes it 24 hours after the failed deployment. Stays while it is deployed again; absent once that worked.",
		instant(func(f *Function) time.Time { return f.ErrorSince })),
	ofFunction("scaleway_function_public_since_timestamp_seconds", gauge,
		"When the function was first seen public, kept over restarts and re-creation, and while its privacy is unknown. Absent once it is private.",
		instant(func(f *Function) time.Time { return f.PublicSince })),
	ofFunction("scaleway_function_privacy_changes_total", counter,
		"Changes of privacy that were seen, by what it changed to, kept over restarts and re-creation.",
		func(f *Function, add sample) {
			for _, to := range privacies {
				add(float64(f.PrivacyChanges[to]), to)
			}
		}, "to"),
	ofFunction("scaleway_function_runtime_status", gauge,
		"Always 1, for the stage of its life that the function's runtime is in.",
		func(f *Function, add sample) {
			if f.RuntimeStatus != "" {
				add(1, f.RuntimeStatus)
			}
		}, "status"),
	ofFunction("scaleway_function_https_only", gauge,
		"1 if plain HTTP is redirected to HTTPS, 0 if it is served. Absent where the API does not tell.",
		func(f *Function, add sample) {
			if f.HTTPOption != unknown {
				add(truth(f.HTTPOption == httpRedirected))
			}
		}),
	ofFunction("scaleway_function_private_network", gauge,
		"1 if the function is in a Private Network.",
		one(func(f *Function) float64 { return truth(f.PrivateNetwork) })),
	ofFunction("scaleway_function_min_scale", gauge,
		"Instances that are kept running.",
		one(func(f *Function) float64 { return float64(f.MinScale) })),
	ofFunction("scaleway_function_max_scale", gauge,
		"Instances that it may have.",
		one(func(f *Function) float64 { return float64(f.MaxScale) })),
	ofFunction("scaleway_function_memory_limit_bytes", gauge,
		"Memory of one instance.",
		one(func(f *Function) float64 { return f.MemoryBytes })),
	ofFunction("scaleway_function_cpu_limit_cores", gauge,
		"CPU of one instance.",
		one(func(f *Function) float64 { return f.CPUCores })),
	ofFunction("scaleway_function_timeout_seconds", gauge,
		"Time that a call may take. Absent where the API does not tell.",
		func(f *Function, add sample) {
			if f.Timeout != 0 {
				add(f.Timeout.Seconds())
			}
		}),
	ofFunction("scaleway_function_tokens", gauge,
		"Legacy JWT tokens that open the function, by scope.",
		func(f *Function, add sample) {
			if f.Tokens != nil {
				for _, scope := range scopes {
					add(float64(len(f.Tokens[scope])), scope)
				}
			}
		}, "scope"),
	ofFunction("scaleway_function_token_expiry_timestamp_seconds", gauge,
		"When a legacy JWT token ends. Absent for one that never does.",
		func(f *Function, add sample) {
			for _, scope := range scopes {
				for _, token := range f.Tokens[scope] {
					if !token.Expires.IsZero() {
						add(seconds(token.Expires), token.ID, scope)
					}
				}
			}
		}, "token_id", "scope"),
	ofFunction("scaleway_function_triggers", gauge,
		"Triggers that call the function, by type as the API spells it. No series for types that it has none of.",
		func(f *Function, add sample) {
			for _, kind := range slices.Sorted(maps.Keys(f.Triggers)) {
				add(float64(f.Triggers[kind]), kind)
			}
		}, "type"),
	ofFunction("scaleway_function_crons", gauge,
		"Schedules that call the function.",
		func(f *Function, add sample) {
			if f.Crons != nil {
				add(float64(*f.Crons))
			}
		}),
	ofFunction("scaleway_function_domains", gauge,
		"Domains of its own that the function answers on.",
		func(f *Function, add sample) {
			if f.Domains != nil {
				add(float64(len(f.Domains)))
			}
		}),
	ofFunction("scaleway_function_created_timestamp_seconds", gauge,
		"When the function was created.",
		instant(func(f *Function) time.Time { return f.Created })),
	ofFunction("scaleway_function_updated_timestamp_seconds", gauge,
		"When the function was last updated.",
		instant(func(f *Function) time.Time { return f.Updated })),
	ofFunction("scaleway_function_finding", gauge,
		"Always 1, for each open finding: what a check found and nobody answers for.",
		func(f *Function, add sample) {
			for _, finding := range f.Findings {
				add(1, finding.Check.ID, string(finding.Check.Severity))
			}
		}, "check", "severity"),
	ofFunction("scaleway_function_exception_expiry_timestamp_seconds", gauge,
		"When the exception of a finding ends; +Inf for one from a tag. One in the past has lapsed, and its finding is open again.",
		func(f *Function, add sample) {
			for _, findings := range [][]Finding{f.Excepted, f.Findings} {
				for _, finding := range findings {
					if e := finding.Exception; e != nil {
						add(e.expiry(), finding.Check.ID, e.Owner)
					}
				}
			}
		}, "check", "owner"),

	ofUnit("scwatch_poll_up", gauge,
		"1 if the last poll of the unit worked; 0 if it failed, and before the first. The account's own units have no project and no region.",
		func(u UnitStatus, add unitSample) { add(truth(u.Up)) }),
	ofUnit("scwatch_poll_last_success_timestamp_seconds", gauge,
		"When the unit was last read completely. Absent before the first time.",
		func(u UnitStatus, add unitSample) {
			if !u.LastSuccess.IsZero() {
				add(seconds(u.LastSuccess))
			}
		}),
	ofUnit("scwatch_poll_skipped_total", counter,
		"Polls that were left out because the one before was still under way.",
		func(u UnitStatus, add unitSample) { add(float64(u.Skipped)) }),
	ofSnapshot("scwatch_rejected_calls_source", gauge,
		"Always 1, for the source of rejected calls in use: metrics or logs of the project's Cockpit in the region, or none. Absent while it is looked for.",
		func(s *Snapshot, add sample) {
			for _, r := range s.Rejected {
				if r.Source != "" {
					add(1, r.ProjectID, r.Region, r.Source)
				}
			}
		}, "project_id", "region", "source"),
	ofSnapshot("scwatch_rejected_calls_uncounted_seconds_total", counter,
		"Time in which rejected calls were not counted, because the source could not be read until it was too late to catch up. Absent without a source.",
		func(s *Snapshot, add sample) {
			for _, r := range s.Rejected {
				if r.Source != "" && r.Source != sourceOfNone {
					add(r.Lost.Seconds(), r.ProjectID, r.Region)
				}
			}
		}, "project_id", "region"),
	ofSnapshot("scwatch_credential_expiry_timestamp_seconds", gauge,
		"When a credential of scwatch's own ends. Absent where it does not end or the API does not tell.",
		func(s *Snapshot, add sample) {
			for _, credential := range slices.Sorted(maps.Keys(s.Credentials)) {
				add(seconds(s.Credentials[credential]), credential)
			}
		}, "credential"),
}

type unitSample func(value float64)

func ofUnit(name, kind, help string, each func(UnitStatus, unitSample)) Metric {
	return ofSnapshot(name, kind, help, func(s *Snapshot, add sample) {
		for _, u := range s.Units {
			each(u, func(value float64) { add(value, u.ProjectID, u.Region, u.Source) })
		}
	}, "project_id", "region", "source")
}

// family returns the metric's samples in s. functionLabels are the identity
// labels of each function of s, which all metrics share.
func (m *Metric) family(s *Snapshot, functionLabels [][]*dto.LabelPair) *dto.MetricFamily {
	family := &dto.MetricFamily{Name: &m.Name, Help: &m.Help, Type: dto.MetricType_GAUGE.Enum()}
	if m.Type == counter {
		family.Type = dto.MetricType_COUNTER.Enum()
	}
	add := func(shared []*dto.LabelPair, names []string) sample {
		return func(value float64, values ...string) {
			labels := make([]*dto.LabelPair, 0, len(shared)+len(names))
			labels = append(labels, shared...)
			for i, name := range names {
				if values[i] != "" { // an empty label is none
					labels = append(labels, &dto.LabelPair{Name: &name, Value: proto.String(values[i])})
				}
			}
			metric := &dto.Metric{Label: labels}
			if m.Type == counter {
				metric.Counter = &dto.Counter{Value: &value}
			} else {
				metric.Gauge = &dto.Gauge{Value: &value}
			}
			family.Metric = append(family.Metric, metric)
		}
	}
	if m.snapshot != nil {
		m.snapshot(s, add(nil, m.Labels))
		return family
	}
	for i := range s.Functions {
		m.function(&s.Functions[i], add(functionLabels[i], m.Labels[len(identity):]))
	}
	return family
}

// functionLabels returns the identity labels of each function.
func functionLabels(functions []Function) [][]*dto.LabelPair {
	all := make([][]*dto.LabelPair, len(functions))
	for i := range functions {
		f := &functions[i]
		for n, value := range []string{f.ProjectID, f.Region, f.Namespace, f.Name, f.ID} {
			all[i] = append(all[i], &dto.LabelPair{Name: &identity[n], Value: proto.String(value)})
		}
	}
	return all
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
