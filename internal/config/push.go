package config

import (
	"strings"
	"time"
)

// Values of Push.OverBudget.
const (
	OverBudgetRefuse = "refuse"
	OverBudgetWarn   = "warn"
)

// Push says how samples get into a remote-write receiver.
type Push struct {
	Enabled            bool              `yaml:"enabled" default:"false" doc:"Push at all."`
	URL                string            `yaml:"url" default:"" format:"url" doc:"A remote-write receiver. Empty: the home's data source."`
	TokenFile          string            `yaml:"token_file" default:"" format:"path" doc:"A file with the push token; \"SCWATCH_PUSH_TOKEN\" may hold it instead. Empty: the IAM key."`
	Interval           time.Duration     `yaml:"interval" default:"1m" max:"4m" doc:"A sample that changed goes out at the next interval."`
	Heartbeat          time.Duration     `yaml:"heartbeat" default:"2m" max:"4m" doc:"A sample that did not change is repeated this often, because a receiver forgets it after 5 minutes. At least \"interval\"."`
	Drop               []string          `yaml:"drop" default:"[]" format:"glob" doc:"Names of metrics that are not pushed."`
	ExternalLabels     map[string]string `yaml:"external_labels" default:"{}" keys:"label" doc:"Labels added to every series."`
	SpoolMaxBytes      Bytes             `yaml:"spool_max_bytes" default:"256MiB" min:"1MiB" doc:"What waits on disk at most; the oldest is dropped first."`
	SpoolMaxAge        time.Duration     `yaml:"spool_max_age" default:"50m" doc:"How long a sample waits at most."`
	PriceEURPerMillion float64           `yaml:"price_eur_per_million" default:"0.15" min:"0" doc:"Price of a million samples, in euros, for the forecast."`
	MonthlyBudgetEUR   float64           `yaml:"monthly_budget_eur" default:"0" min:"0" doc:"The forecast may reach this many euros a month. 0: no limit."`
	OverBudget         string            `yaml:"over_budget" default:"refuse" enum:"refuse|warn" doc:"What a forecast over the budget does at start."`
}

const pushPath = "/api/v1/push"

func (p Push) validate(d *document) {
	if d.sound("push.interval") && p.Heartbeat < p.Interval {
		d.reject("push.heartbeat", "%s is shorter than interval (%s)", durationText(p.Heartbeat), durationText(p.Interval))
	}
	if strings.Count(p.URL, pushPath) > 1 {
		d.reject("push.url", "%s stands in it twice", pushPath)
	}
}
