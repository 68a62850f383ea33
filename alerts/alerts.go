// Package alerts holds the shipped alert rules, their unit tests and the
// routes, in the formats of Prometheus and Alertmanager.
package alerts

import "embed"

// FS holds, by what they are for:
//
//	*.yaml             rules on scwatch's own metrics, and alertmanager.yaml
//	scaleway/*.yaml    rules on what Scaleway measures
//	logs/*.yaml        rules in LogQL
//	tests/*.yaml       promtool's unit tests of the rules
//	templates/*.tmpl   texts for the receivers of alertmanager.yaml
//	examples/*.yaml    receivers and routes to put into it
//
//go:embed *.yaml scaleway logs tests templates examples
var FS embed.FS
