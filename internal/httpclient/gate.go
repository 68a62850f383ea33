package httpclient

import (
	"container/list"
	"context"
	"net/http"
	"sync"
	"time"
)

// Gate admits requests: a bounded number at once, a bounded number a second,
// and those of the foreground before those of the background. One Gate serves
// every unit that is polled, so that no unit can starve the account's rate
// limit or the other units.
type Gate struct {
	mu          sync.Mutex
	concurrency int
	rate        float64 // tokens a second; 0: no limit
	burst       float64

	inUse      int
	tokens     float64
	refilled   time.Time
	foreground list.List // of *waiter
	background list.List
	wake       *time.Timer
}

type waiter struct {
	admitted chan struct{}
	granted  bool
}

// NewGate returns a Gate for concurrency requests at once and rate requests a
// second with bursts of twice the rate. A rate of 0 is no limit.
func NewGate(concurrency int, rate float64) *Gate {
	return &Gate{
		concurrency: concurrency,
		rate:        rate,
		burst:       2 * rate,
		tokens:      2 * rate,
		refilled:    time.Now(),
	}
}

type backgroundKey struct{}

// Background marks the requests of ctx as those that wait for all others.
func Background(ctx context.Context) context.Context {
	return context.WithValue(ctx, backgroundKey{}, true)
}

// Acquire waits for admission. The slot it takes is given back by Release.
// Its only error is that of ctx.
func (g *Gate) Acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	queue := &g.foreground
	if ctx.Value(backgroundKey{}) != nil {
		queue = &g.background
	}
	w := &waiter{admitted: make(chan struct{})}
	g.mu.Lock()
	place := queue.PushBack(w)
	g.admit()
	g.mu.Unlock()

	select {
	case <-w.admitted:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.granted {
		// Admission and cancellation met: the slot goes to the next in line.
		g.inUse--
		g.admit()
	} else {
		queue.Remove(place)
	}
	return ctx.Err()
}

// Release gives the slot of one Acquire back.
func (g *Gate) Release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inUse--
	g.admit()
}

// admit lets in whoever may enter now, and sets the timer for the next token
// where only that is missing. It is called with the lock held.
func (g *Gate) admit() {
	g.refill()
	for g.inUse < g.concurrency {
		queue := &g.foreground
		if queue.Len() == 0 {
			queue = &g.background
		}
		if queue.Len() == 0 {
			return
		}
		if g.rate > 0 {
			if g.tokens < 1 {
				g.wakeAtNextToken()
				return
			}
			g.tokens--
		}
		w := queue.Remove(queue.Front()).(*waiter)
		w.granted = true
		g.inUse++
		close(w.admitted)
	}
}

func (g *Gate) refill() {
	now := time.Now()
	g.tokens = min(g.burst, g.tokens+now.Sub(g.refilled).Seconds()*g.rate)
	g.refilled = now
}

func (g *Gate) wakeAtNextToken() {
	if g.wake != nil {
		return
	}
	// Rounded up, so that the token is whole when the timer fires.
	wait := time.Duration((1-g.tokens)/g.rate*float64(time.Second)) + time.Microsecond
	g.wake = time.AfterFunc(wait, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.wake = nil
		g.admit()
	})
}

// Transport returns next behind the gate. A slot is held from the request
// until next returns, which for a buffering transport is the body's end.
func (g *Gate) Transport(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if err := g.Acquire(req.Context()); err != nil {
			return nil, err
		}
		defer g.Release()
		return next.RoundTrip(req)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
