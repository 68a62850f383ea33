package simulator

import (
	"context"
	"time"
)

// step is a change of the demo's account, at a time after its start.
type step struct {
	after time.Duration
	says  string
	do    func(a *Account, now time.Time)
}

// scenario is what happens in the demo, over and over again.
var scenario = []step{
	{1 * time.Minute, "shop/checkout (payments, fr-par) is made public", func(a *Account, now time.Time) {
		f := a.Lookup("shop", "checkout")
		f.Privacy, f.Updated = "public", now
	}},
	{90 * time.Second, "somebody calls shop/refunds (payments, fr-par) without a token, five times a second for two minutes", func(a *Account, now time.Time) {
		a.Knock("shop", "refunds", 5, now, 2*time.Minute)
	}},
	{2 * time.Minute, "a deployment of ops/audit-trail (platform, fr-par) fails", func(a *Account, now time.Time) {
		f := a.Lookup("ops", "audit-trail")
		f.Status, f.ErrorMessage, f.Updated = "error", "internal error", now
	}},
	{3 * time.Minute, "the secret of ops/backup (platform, fr-par) is set again", func(a *Account, now time.Time) {
		a.SetSecret(a.Lookup("ops", "backup"), "S3_SECRET_KEY", now)
	}},
	{4 * time.Minute, "site/search (marketing, fr-par) is deleted", func(a *Account, _ time.Time) {
		a.Delete("site", "search")
	}},
	{6 * time.Minute, "shop/checkout is made private again", func(a *Account, now time.Time) {
		f := a.Lookup("shop", "checkout")
		f.Privacy, f.Updated = "private", now
	}},
	{8 * time.Minute, "ops/audit-trail is mended, and site/search created again", func(a *Account, now time.Time) {
		f := a.Lookup("ops", "audit-trail")
		f.Status, f.ErrorMessage, f.Updated = "ready", "", now
		search := *a.Lookup("site", "newsletter")
		b := &builder{account: a, now: now, made: int(now.Unix())}
		search.ID, search.Name, search.Variables, search.Created, search.Updated = b.id(), "search", nil, now, now
		a.Create("site", search)
	}},
}

// scenarioLength is how long a round takes.
const scenarioLength = 10 * time.Minute

// Play changes the demo's account as time goes by, until ctx ends, and tells
// each change.
func (s *Server) Play(ctx context.Context, tell func(string)) {
	for begin := time.Now(); ; begin = begin.Add(scenarioLength) {
		for _, next := range scenario {
			timer := time.NewTimer(time.Until(begin.Add(next.after)))
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
			s.Update(func(a *Account) { next.do(a, time.Now()) })
			tell(next.says)
		}
	}
}
