package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/simulator"
)

// demoAddress is where the demo serves unless told otherwise: it shows a
// simulated account only, but nobody asked for it to be seen from outside.
const demoAddress = "127.0.0.1:9762"

// demoConfig shortens the intervals, so that there is something to see soon.
const demoConfig = `
scaleway: {projects: ["*"]}
collect: {interval: 10s, slow_interval: 1m, stale_after: 2m}
rejected_calls: {delay: 10s}
exceptions_from_tags: true
exceptions:
  - {checks: [function_public, function_http_allowed], function: "webhook-*", owner: payments, reason: Stripe calls it, expires: %s}
`

// demo is serve against a simulated account inside the process.
func demo(ctx context.Context, o options, p process) error {
	sim := simulator.New(simulator.DemoAccount(time.Now()))
	url, end, err := sim.Listen("127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("start the simulated account: %w", err)
	}
	defer end()
	if !o.storageGiven {
		dir, err := os.MkdirTemp("", "scwatch-demo-")
		if err != nil {
			return fmt.Errorf("make a temporary folder: %w", err)
		}
		defer os.RemoveAll(dir)
		o.storagePath = dir
	}
	if !o.listenGiven {
		o.listenAddresses = []string{demoAddress}
	}
	p.env = demoEnvironment(o, url)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	played := make(chan struct{})
	defer func() {
		cancel()
		<-played
	}()
	go func() {
		defer close(played)
		sim.Play(ctx, func(says string) {
			fmt.Fprintf(p.stdout, "%s  %s\n", time.Now().Format(time.TimeOnly), says)
		})
	}()
	return serveThen(ctx, o, p, func(addresses []net.Addr) { introduce(p, url, addresses) })
}

// demoEnvironment has the credentials of the simulated account instead of
// those of the user.
func demoEnvironment(o options, url string) config.Environment {
	own := map[string]string{
		"SCW_API_URL":                 url,
		"SCW_ACCESS_KEY":              simulator.DemoAccessKey,
		"SCW_SECRET_KEY":              simulator.DemoSecretKey,
		"SCW_DEFAULT_ORGANIZATION_ID": simulator.DemoOrganization,
		"SCW_DEFAULT_PROJECT_ID":      simulator.DemoHome,
		"SCW_CONFIG_PATH":             "none", // a file that is not there is no error
	}
	if o.configFile == "" {
		own["SCWATCH_CONFIG"] = fmt.Sprintf(demoConfig, time.Now().AddDate(0, 1, 0).Format(time.DateOnly))
	}
	return func(name string) string { return own[name] }
}

func introduce(p process, url string, addresses []net.Addr) {
	fmt.Fprintf(p.stdout, `scwatch watches a simulated Scaleway account: three projects, some twenty functions.

`)
	for _, address := range addresses {
		fmt.Fprintf(p.stdout, "  metrics    http://%s/metrics\n", address)
	}
	fmt.Fprintf(p.stdout, `
Which functions are open, and what else is wrong:

  curl -s http://%[1]s/metrics | grep -E '^scaleway_function_(privacy|finding).* 1$'

Who knocks without a token (a burst at shop/refunds begins after a minute and a
half and shows a minute later; the expression is true while it lasts):

  curl -s http://%[1]s/metrics | grep '^scaleway_function_rejected_calls_total'
  sum by (function) (increase(scaleway_function_rejected_calls_total{code=~"401|403"}[2m])) > 50

The account has a Cockpit, too. In another shell, see what would be provisioned
there, do it, and ask what is still missing until somebody is paged:

  export SCW_API_URL=%[2]s SCW_DEFAULT_PROJECT_ID=%[3]s
  export SCW_ACCESS_KEY=%[4]s SCW_SECRET_KEY=%[5]s
  scwatch plan
  scwatch apply
  scwatch doctor

The account changes as time goes by; each change is told here and shows within
ten seconds. Ctrl-C ends it all.

`, addresses[0], url, simulator.DemoHome, simulator.DemoAccessKey, simulator.DemoSecretKey)
}
