package config

import "time"

// Collect says how the Scaleway API is polled.
type Collect struct {
	Interval     time.Duration `yaml:"interval" default:"1m" doc:"How often namespaces and functions are read."`
	SlowInterval time.Duration `yaml:"slow_interval" default:"15m" doc:"How often runtimes, tokens, triggers, domains and crons are read. At least \"interval\"."`
	StaleAfter   time.Duration `yaml:"stale_after" default:"15m" doc:"How long the last good answer is shown after polls begin to fail. At least \"interval\"."`
	Concurrency  int           `yaml:"concurrency" default:"8" min:"1" doc:"Requests in flight over all units."`
	RateLimit    int           `yaml:"rate_limit" default:"50" min:"1" doc:"Requests a second over all units, with bursts of twice as many."`
	TeamTag      string        `yaml:"team_tag" default:"team" format:"tag" doc:"The function tag \"team=payments\" becomes the label \"team\" on \"scaleway_function_info\"."`
}

func (c Collect) validate(d *document) {
	if !d.sound("collect.interval") {
		return
	}
	if d.sound("collect.stale_after") && c.Interval > c.StaleAfter {
		d.reject("collect.interval", "%s is longer than stale_after (%s): every answer would be stale before the next poll",
			durationText(c.Interval), durationText(c.StaleAfter))
	}
	if c.SlowInterval < c.Interval {
		d.reject("collect.slow_interval", "%s is shorter than interval (%s)",
			durationText(c.SlowInterval), durationText(c.Interval))
	}
}
