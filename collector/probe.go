package collector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"

	function "github.com/scaleway/scaleway-sdk-go/api/function/v1beta1"
)

// probeTimeout bounds one probe, from the look-up of its host to the head of
// the answer.
const probeTimeout = 10 * time.Second

// Prober calls private functions without a token, and expects to be refused.
type Prober struct {
	client *http.Client
	scheme string // of the API: a stand-in for it without TLS has functions without it
	agent  string
}

// NewProber returns a Prober of functions that the API at apiURL gives. It goes
// the direct way: what a proxy answers says nothing about a function, and the
// address that a proxy would resolve cannot be judged.
func NewProber(apiURL, version string) *Prober {
	address, err := url.Parse(apiURL)
	if err != nil {
		address = &url.URL{Scheme: "https"}
	}
	apiIsInside := sync.OnceValue(func() bool { return isInside(address.Hostname()) })
	return &Prober{
		scheme: address.Scheme,
		agent:  fmt.Sprintf("scwatch/%s (probe for refusal; +https://github.com/scwatch/scwatch)", version),
		client: newProbeClient(func(ctx context.Context, network, host string) (net.Conn, error) {
			dialer := net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
				if to, err := netip.ParseAddrPort(address); err != nil || inside(to.Addr()) && !apiIsInside() {
					return fmt.Errorf("%s is inside a network, and no place for a function: %w", address, errInside)
				}
				return nil
			}}
			return dialer.DialContext(ctx, network, host)
		}),
	}
}

func newProbeClient(dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Client {
	return &http.Client{
		Timeout: probeTimeout,
		Transport: &http.Transport{
			DialContext: dial, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, TLSHandshakeTimeout: probeTimeout,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

var errInside = errors.New("the address is loopback, link-local or private")

// sharedAddresses are those behind a carrier's own translation.
var sharedAddresses = netip.MustParsePrefix("100.64.0.0/10")

// inside tells whether an address is one of a machine or a network of its own.
func inside(address netip.Addr) bool {
	a := address.Unmap()
	return !a.IsGlobalUnicast() || a.IsPrivate() || sharedAddresses.Contains(a)
}

// isInside tells the same of a host.
func isInside(host string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	for _, address := range addresses {
		if !inside(address) {
			return false
		}
	}
	return err == nil
}

// plainHost is a host that can stand in an address as it is.
var plainHost = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?$`)

// status calls a host without a token and returns the status of its answer.
func (p *Prober) status(ctx context.Context, host string) (int, error) {
	if !plainHost.MatchString(host) {
		return 0, errors.New("its host name is none")
	}
	address := url.URL{Scheme: p.scheme, Host: host, Path: "/"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("User-Agent", p.agent)
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close() // thrown away unread: it may be large, and is nobody's business
	return resp.StatusCode, nil
}

// verdictOf is what the status of an answer says; conclusive only for a refusal
// and a success.
func verdictOf(status int) (refused, conclusive bool) {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return true, true
	case status/100 == 2:
		return false, true
	}
	return false, false
}

// Probe makes the poller probe private functions. It is called before Run.
func (p *Poller) Probe(prober *Prober) { p.prober = prober }

// probed is what a round of probes found and did not keep yet.
type probed struct {
	mu       sync.Mutex
	verdicts map[string]bool
	sent     []sentProbe
	kept     time.Time
}

// probesKept is how often a round keeps what it found: a kill -9 loses no more.
const probesKept = 5 * time.Second

// readProbes probes the private functions of a unit, one after the other over
// spread. A function that does not answer is no failure of the unit: nothing is
// known of it that was not known before.
func (p *Poller) readProbes(ctx context.Context, unit Unit, functions []Function, spread time.Duration) (Items, error) {
	private := map[string]bool{}
	for _, f := range functions {
		private[f.ID] = f.Privacy == privacyPrivate
	}
	p.fleet.tally(unit, func(t *tally) { // without those that are public now, or gone
		maps.DeleteFunc(t.Verdicts, func(id string, _ bool) bool { return !private[id] })
	})
	round := &probed{verdicts: map[string]bool{}, kept: time.Now()}
	err := fanOut(ctx, p, max(spread, p.settings.Interval), functions, func(ctx context.Context, f Function) error {
		return p.probe(ctx, unit, f.ID, round)
	})
	p.keepProbes(unit, round)
	return Items{}, err
}

// probe calls one function, if it is private now: a round takes long.
func (p *Poller) probe(ctx context.Context, unit Unit, id string, round *probed) error {
	f, ok := p.privateFunction(unit, id)
	if !ok {
		return nil
	}
	var answered, accepted bool
	for _, host := range append([]string{f.Domain}, p.fleet.items(Unit{unit.ProjectID, unit.Region, sourceDomains}).Domains[id]...) {
		at := time.Now()
		status, err := p.prober.status(ctx, host)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		refused, conclusive := verdictOf(status)
		if !conclusive {
			p.log.Debug("a probe tells nothing", append(f.attrs(), "host", host, "status", status, "err", err)...)
			continue
		}
		answered, accepted = true, accepted || !refused
		if refused {
			round.refused(sentProbe{Function: id, Code: strconv.Itoa(status), At: at, Left: 1})
		}
	}
	if !answered {
		return nil
	}
	if accepted && !p.api.stillPrivate(ctx, unit.Region, id) {
		return nil // it was made public meanwhile, or that cannot be told
	}
	if before, known := p.fleet.ledger.verdict(unit.ProjectID, unit.Region, id); accepted && (!known || before) {
		p.log.Warn("a private function answered a call without a token", f.attrs()...)
	}
	round.verdict(id, !accepted)
	if round.due() {
		p.keepProbes(unit, round)
	}
	return nil
}

func (p *Poller) privateFunction(unit Unit, id string) (Function, bool) {
	for _, f := range p.fleet.items(Unit{unit.ProjectID, unit.Region, sourceFunctions}).Functions {
		if f.ID == id && f.Privacy == privacyPrivate && f.Domain != "" {
			return f, true
		}
	}
	return Function{}, false
}

// stillPrivate asks whether the function is set private at this time.
func (a *API) stillPrivate(ctx context.Context, region, id string) bool {
	var f function.Function
	err := a.get(ctx, fmt.Sprintf("read function %s in %s", id, region), functionsPath(region, "functions")+"/"+id, nil, &f)
	return err == nil && f.ID == id && privacy(f.Privacy) == privacyPrivate
}

func (r *probed) refused(probe sentProbe) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, probe)
}

func (r *probed) verdict(id string, refused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.verdicts[id] = refused
}

func (r *probed) due() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.kept) >= probesKept
}

// keepProbes takes what a round found into the tally.
func (p *Poller) keepProbes(unit Unit, round *probed) {
	round.mu.Lock()
	defer round.mu.Unlock()
	p.fleet.tally(unit, func(t *tally) {
		if t.Verdicts == nil {
			t.Verdicts = map[string]bool{}
		}
		for id, refused := range round.verdicts {
			t.Verdicts[id] = refused
		}
		if t.Method != nil { // or nobody would take them off
			t.Probes = append(t.Probes, round.sent...)
		}
	})
	round.verdicts, round.sent, round.kept = map[string]bool{}, nil, time.Now()
	p.news()
}
