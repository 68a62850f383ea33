package config

import "time"

// Values of RejectedCalls.Source.
const (
	SourceAuto    = "auto"
	SourceMetrics = "metrics"
	SourceLogs    = "logs"
	SourceOff     = "off"
)

// RejectedCalls says where the number of refused calls comes from.
type RejectedCalls struct {
	Source       string            `yaml:"source" default:"auto" enum:"auto|metrics|logs|off" doc:"\"auto\" takes what each project's Cockpit has: metrics before logs."`
	MetricsQuery string            `yaml:"metrics_query" default:"" format:"query" doc:"PromQL, an instant query by \"resource_id\" and \"code\"; \"$window\" stands for the window asked. Empty: discovered."`
	LogsQuery    string            `yaml:"logs_query" default:"" format:"query" doc:"LogQL, likewise."`
	Delay        time.Duration     `yaml:"delay" default:"2m" min:"0s" max:"1h" doc:"How long late samples are waited for."`
	TokenFiles   map[string]string `yaml:"token_files" default:"{}" keys:"place" format:"path" doc:"Files with the Cockpit tokens that may query a project's data in a region. Where there is none: the IAM key."`
	Probe        bool              `yaml:"probe" default:"false" doc:"Call private functions without a token and expect a refusal. This runs a function that is open after all."`
}
