package provisioner

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/scwatch/scwatch/internal/config"
)

// Summary is what the definitions hold, in a sentence.
func (d *Definitions) Summary() string {
	dashboards, groups, alerts, records, routes := 0, 0, 0, 0, 0
	for _, t := range d.targets {
		dashboards += len(t.dashboards)
		for _, set := range t.rules {
			for _, g := range set.groups {
				groups++
				for _, r := range g.Rules {
					if r.Alert != "" {
						alerts++
					} else {
						records++
					}
				}
			}
		}
		if t.routes != nil {
			routes++
		}
	}
	return fmt.Sprintf("All is well: targets: %d, dashboards: %d, rule groups: %d with alerts: %d and recording rules: %d, configurations of routes: %d.",
		len(d.targets), dashboards, groups, alerts, records, routes)
}

// Warnings are what is allowed and probably not meant: metrics that alerts ask
// for and the push leaves out, and ejected content that is older than what is
// built in.
func (d *Definitions) Warnings(push config.Push) []string {
	warnings := slices.Clone(d.outdated)
	if !push.Enabled {
		return warnings
	}
	dropped := make(map[string]string) // the first alert that asks, by metric
	for _, t := range d.targets {
		for _, set := range t.rules {
			if set.dataSource.Type != config.DataSourceMetrics {
				continue
			}
			for _, g := range set.groups {
				for _, rule := range g.Rules {
					expr, err := promQL.ParseExpr(rule.Expr)
					if err != nil {
						continue // it is reported
					}
					for _, name := range selected(expr) {
						matches := slices.ContainsFunc(push.Drop, func(pattern string) bool {
							matched, _ := path.Match(pattern, name)
							return matched
						})
						if matches && dropped[name] == "" {
							dropped[name] = ruleName(rule)
						}
					}
				}
			}
		}
	}
	for _, name := range sortedKeys(dropped) {
		warnings = append(warnings, fmt.Sprintf("push.drop leaves out %s, which %s asks for: it will never fire", name, dropped[name]))
	}
	return warnings
}

// stamp is the line that eject puts before a file.
var stamp = regexp.MustCompile(`^(?:#|\{\{/\*) Built-in content of scwatch (\S+): (\S+) \(([0-9a-f]{12})\)\.`)

// Stamp puts a line before a built-in file that says what it is and of which
// version, so that check can tell when there is a newer one.
func Stamp(name string, data []byte, version string) []byte {
	line := fmt.Sprintf("Built-in content of scwatch %s: %s (%s).", version, name, fingerprint(data))
	if path.Ext(name) == ".tmpl" {
		return append([]byte("{{/* "+line+" */}}\n"), data...)
	}
	return append([]byte("# "+line+"\n"), data...)
}

func fingerprint(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:6])
}

// outdated tells what is newer than a file that was ejected; empty where it is
// as new as the built-in one, or no such file.
func outdated(file source, builtin []source) string {
	found := stamp.FindSubmatch(file.data)
	if found == nil {
		return ""
	}
	name := string(found[2])
	for _, b := range builtin {
		if strings.TrimPrefix(b.name, config.Builtin+":") == name && fingerprint(b.data) != string(found[3]) {
			return fmt.Sprintf("%s is of scwatch %s, and the built-in %s has changed since: compare it with what eject writes now", file.name, found[1], name)
		}
	}
	return ""
}
