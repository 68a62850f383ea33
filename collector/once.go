package collector

import (
	"context"
	"sync"
	"time"
)

// Once reads every unit one time, of the projects that choose returns. choose is
// given the names of the watched projects by ID, empty where they could not be
// read; its error ends the round. What could not be read is the fleet's to tell.
// progress is told how many units are done, of how many, one call at a time.
func (p *Poller) Once(ctx context.Context, choose func(names map[string]string) ([]string, error), progress func(done, of int)) error {
	account := Unit{Source: sourceProjects}
	p.fleet.watch(p.units(nil), time.Now())
	p.readOnce(ctx, account, func(ctx context.Context) (Items, error) {
		names, err := p.readProjects(ctx)
		return Items{Projects: names}, err
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	names := map[string]string{}
	for _, id := range p.settings.Projects {
		names[id] = ""
	}
	for id, name := range p.fleet.items(account).Projects {
		names[id] = name
	}
	projects, err := choose(names)
	if err != nil {
		return err
	}
	units := p.units(projects)
	p.fleet.watch(units, time.Now())

	var mu sync.Mutex
	done := 0
	tell := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		done += n
		progress(done, len(units))
	}
	tell(1)
	var reading sync.WaitGroup
	reading.Go(func() {
		p.readOnce(ctx, Unit{Source: sourceCredentials}, func(ctx context.Context) (Items, error) { return p.readCredentials(ctx, 0) })
		tell(1)
	})
	for _, project := range projects {
		for _, region := range p.settings.Regions {
			reading.Go(func() { p.readRegionOnce(ctx, project, region, tell) })
		}
	}
	reading.Wait()
	return ctx.Err()
}

// readRegionOnce reads the functions of a project in a region, and then all else
// about them. Of functions that could not be read nothing else can be asked.
func (p *Poller) readRegionOnce(ctx context.Context, project, region string, tell func(int)) {
	unit := Unit{project, region, sourceFunctions}
	read := p.readOnce(ctx, unit, func(ctx context.Context) (Items, error) {
		functions, err := p.readFunctions(ctx, unit)
		return Items{Functions: functions}, err
	})
	tell(1)
	if !read {
		tell(len(slowSources))
		return
	}
	functions := p.fleet.items(unit).Functions
	var reading sync.WaitGroup
	for _, source := range slowSources {
		reading.Go(func() {
			slow := Unit{project, region, source}
			p.readOnce(ctx, slow, func(ctx context.Context) (Items, error) { return p.readSlow(ctx, slow, functions, 0) })
			tell(1)
		})
	}
	reading.Wait()
}

// readOnce reads one unit into the fleet, and tells whether that worked. An
// interrupted poll is no failed one.
func (p *Poller) readOnce(ctx context.Context, unit Unit, read func(context.Context) (Items, error)) bool {
	started := time.Now()
	items, err := read(ctx)
	if ctx.Err() != nil {
		return false
	}
	p.metrics.duration.WithLabelValues(unit.Source).Observe(time.Since(started).Seconds())
	if err != nil {
		p.fleet.failed(unit, err, time.Now())
		return false
	}
	p.fleet.succeeded(unit, items, time.Now())
	return true
}
