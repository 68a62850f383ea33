// Package dashboards holds the shipped dashboards, as Grafana's own manifests.
package dashboards

import "embed"

// FS holds *.yaml, one dashboard each.
//
//go:embed *.yaml
var FS embed.FS
