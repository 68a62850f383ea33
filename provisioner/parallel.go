package provisioner

import (
	"context"
	"errors"
	"sync"
)

// atOnce is how many calls of one kind are under way at a time.
const atOnce = 8

// parallel calls do for each item, and joins what it returns in the order of
// the items.
func parallel[In, Out any](ctx context.Context, items []In, do func(context.Context, In) ([]Out, error)) ([]Out, error) {
	results, errs := make([][]Out, len(items)), make([]error, len(items))
	slots := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	for i, item := range items {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			results[i], errs[i] = do(ctx, item)
		})
	}
	running.Wait()
	var all []Out
	for _, result := range results {
		all = append(all, result...)
	}
	return all, errors.Join(errs...)
}
