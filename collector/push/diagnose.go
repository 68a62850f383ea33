package push

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/scwatch/scwatch/internal/clock"
	"github.com/scwatch/scwatch/internal/diagnosis"
)

// Hops are the names of those that Diagnose walks, in their order.
var Hops = []string{hopWrite, hopSample}

const (
	hopWrite  = "push"
	hopSample = "pushed sample"
)

// probeMetric is the sample that is written where writing is allowed.
const probeMetric = "scwatch_doctor_check"

// genericHost is Cockpit's address without a data source.
var genericHost = regexp.MustCompile(`^metrics\.cockpit\.[a-z-]+\.scw\.cloud$|^metrics\.prd\.obs\.[a-z-]+\.scw\.cloud$`)

// The time that a receiver gets to show a sample that it took.
const (
	showTries = 10
	showPause = time.Second
)

// Diagnose tells whether the receiver takes samples, and gives them back. It
// pushes nothing but a request without samples, which stores nothing, unless a
// sample may be written.
func Diagnose(ctx context.Context, r Receiver, transport http.RoundTripper, agent string, mayWrite bool) []diagnosis.Hop {
	c, err := newClient(&r, transport, agent)
	write := diagnosis.Hop{Name: hopWrite, Tried: "push a request without samples"}
	sample := diagnosis.Hop{Name: hopSample, Tried: "read back the last sample that a daemon pushed"}
	if mayWrite {
		write.Tried, sample.Tried = "push the sample "+probeMetric, "read back "+probeMetric
	}
	if err != nil {
		return []diagnosis.Hop{write.Broke("its address is no URL", "nothing is pushed", "correct push.url"), sample.HiddenBy(hopWrite)}
	}
	now := time.Now()
	var samples []Sample
	if mayWrite {
		samples = []Sample{{string(appendLabels(nil, []label{{"__name__", probeMetric}})), float64(now.Unix())}}
	}
	write = c.diagnoseWrite(ctx, write, samples, now)
	if write.Status != diagnosis.OK {
		return []diagnosis.Hop{write, sample.HiddenBy(hopWrite)}
	}
	if r.QueryURL == "" {
		return []diagnosis.Hop{write, sample.NotWanted("where this receiver answers queries is not known")}
	}
	return []diagnosis.Hop{write, c.diagnoseSample(ctx, sample, mayWrite, now)}
}

func (c *client) diagnoseWrite(ctx context.Context, hop diagnosis.Hop, samples []Sample, now time.Time) diagnosis.Hop {
	err := c.write(ctx, samples, now)
	if err == nil {
		return hop.Ok("taken")
	}
	var answer *refusal
	if !errors.As(err, &answer) {
		return hop.Failed(err, false, "whether samples arrive is not known")
	}
	host := ""
	if u, err := url.Parse(c.receiver.PushURL); err == nil {
		host = u.Hostname()
	}
	words := "no answer"
	if answer.status != 0 {
		words = fmt.Sprintf("%d: %.200s", answer.status, answer.words)
	}
	hasToken := c.receiver.TokenFile != "" || c.receiver.Token.Reveal() != ""
	const nothing = "nothing that scwatch pushes arrives"
	switch {
	case answer.status == http.StatusUnauthorized && hasToken:
		return hop.Broke(words, nothing+": the push token is unknown to this data source. A Cockpit token is of one region and one project, and this one is of others, or deleted",
			"make one in the project and region of the data source: scw cockpit token create name=scwatch-push project-id=… region=… token-scopes.0=write_only_metrics, and put it into push.token_file")
	case answer.status == http.StatusUnauthorized:
		return hop.Broke(words, nothing+": the data source does not take the IAM key", "give the key's application ObservabilityFullAccess in the home's project, or set push.token_file to a Cockpit token with the scope write_only_metrics")
	case answer.status == http.StatusForbidden:
		return hop.Broke(words, nothing+": this is one of Scaleway's own data sources, which take no data, or the token has not the scope write_only_metrics",
			"push to a custom data source: leave push.url empty and name it in cockpit.data_source; the token needs the scope write_only_metrics")
	case answer.status == http.StatusNotFound || genericHost.MatchString(host):
		return hop.Broke(words, nothing+": the address has no data source in it, as the generic host has none", "leave push.url empty, or take the address of a data source, https://<data source ID>.metrics.cockpit.<region>.scw.cloud/api/v1/push: scw cockpit data-source list")
	case answer.retryable():
		hop = hop.Failed(errors.New(words), false, "whether samples arrive is not known")
		hop.Mend = "ask again; check the network and the address"
		return hop
	}
	return hop.Broke(words, nothing, "see what the receiver says")
}

// lastSample is the newest sample of the daemon's own counter of the last day.
const lastSample = "max(max_over_time(timestamp(scwatch_push_samples_total)[1d:1m]))"

func (c *client) diagnoseSample(ctx context.Context, hop diagnosis.Hop, mayWrite bool, now time.Time) diagnosis.Hop {
	query := lastSample
	if mayWrite {
		query = probeMetric
	}
	var at float64
	var found bool
	var err error
	for range showTries {
		at, found, err = c.query(ctx, query)
		if err != nil || !mayWrite || found && at >= float64(now.Unix()) || clock.Sleep(ctx, showPause) != nil {
			break
		}
	}
	age := now.Sub(time.Unix(int64(at), 0)).Round(time.Second)
	var answer *refusal
	switch {
	case errors.As(err, &answer) && (answer.status == http.StatusUnauthorized || answer.status == http.StatusForbidden):
		hop = hop.Failed(errors.New(answer.Error()), false, "nothing proves that what is pushed arrives")
		hop.Mend = "a token that only writes cannot ask: give it the scope read_only_metrics as well"
		return hop
	case err != nil:
		hop = hop.Failed(errors.New(strings.ReplaceAll(err.Error(), c.receiver.QueryURL, "the receiver")), false, "nothing proves that what is pushed arrives")
		return hop
	case mayWrite && (!found || at < float64(now.Unix())):
		return hop.Broke("it is not there", "samples are taken and do not show", "look whether the token is of another tenant; if not, ask Scaleway's support")
	case mayWrite:
		return hop.Ok("it is there")
	case !found:
		return hop.Broke("there is none of the last day", "no daemon pushes here", `run "scwatch serve" with push.enabled: true and look at its log`)
	case age > 10*time.Minute:
		return hop.Broke(fmt.Sprintf("the newest is %s old", age), "the daemon has stopped, or its pushes fail", "look at scwatch_push_failures_total and the daemon's log")
	}
	return hop.Ok("the newest is less than ten minutes old")
}
