package httpclient

import (
	"context"
	"time"
)

// Exchange is what a caller learns of a call beside its answer, because the
// SDKs' errors carry neither the status nor the request ID.
type Exchange struct {
	Status    int    // of the last answer; 0: none came
	RequestID string // X-Request-Id of the last answer; may be empty
	Attempts  int

	spent time.Duration // of the call's budget
}

type exchangeKey struct{}

// Record makes the call of ctx write what it learns into ex. One ex serves one
// call.
func Record(ctx context.Context, ex *Exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, ex)
}

// exchangeOf returns the exchange of ctx, or ctx with a new one.
func exchangeOf(ctx context.Context) (context.Context, *Exchange) {
	if ex, ok := ctx.Value(exchangeKey{}).(*Exchange); ok {
		return ctx, ex
	}
	ex := &Exchange{}
	return Record(ctx, ex), ex
}
