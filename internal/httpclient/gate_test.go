package httpclient

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestGateBoundsConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := NewGate(3, 0)
		var now, most atomic.Int64
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := gate.Acquire(t.Context()); err != nil {
					t.Error(err)
				}
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(time.Second)
				now.Add(-1)
				gate.Release()
			})
		}
		began := time.Now()
		wg.Wait()
		if most.Load() != 3 {
			t.Errorf("%d at once, want 3", most.Load())
		}
		if took := time.Since(began); took != 7*time.Second {
			t.Errorf("20 calls of 1 s, 3 at once, took %s, want 7s", took)
		}
	})
}

func TestGateBoundsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := NewGate(1000, 50)
		admitted := map[int]int{} // by second
		began := time.Now()
		for range 300 {
			if err := gate.Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
			gate.Release()
			admitted[int(time.Since(began).Seconds())]++
		}
		// A burst of 100 and 50 more within the first second, then 50 a second.
		if admitted[0] < 149 || admitted[0] > 150 {
			t.Errorf("%d in the first second, want 150", admitted[0])
		}
		for second := 1; second < 3; second++ {
			if admitted[second] < 49 || admitted[second] > 51 {
				t.Errorf("%d in second %d, want 50", admitted[second], second)
			}
		}
	})
}

func TestGateLetsForegroundPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := NewGate(1, 0)
		if err := gate.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		var order []string
		var wg sync.WaitGroup
		enter := func(name string, ctx context.Context) {
			wg.Go(func() {
				if err := gate.Acquire(ctx); err != nil {
					t.Error(err)
				}
				order = append(order, name)
				gate.Release()
			})
			synctest.Wait()
		}
		enter("slow 1", Background(t.Context()))
		enter("slow 2", Background(t.Context()))
		enter("fast 1", t.Context())
		enter("fast 2", t.Context())
		gate.Release()
		wg.Wait()
		want := []string{"fast 1", "fast 2", "slow 1", "slow 2"}
		for i := range want {
			if order[i] != want[i] {
				t.Fatalf("admitted %q, want %q", order, want)
			}
		}
	})
}

// A caller that gives up neither keeps its place nor takes a slot along.
func TestGateForgetsWhoGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := NewGate(1, 0)
		if err := gate.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := gate.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v, want the deadline's", err)
		}
		gate.Release()
		if err := gate.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		if gate.inUse != 1 || gate.foreground.Len() != 0 {
			t.Errorf("%d in use and %d waiting, want 1 and 0", gate.inUse, gate.foreground.Len())
		}
	})
}
