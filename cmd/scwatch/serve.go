package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"github.com/scwatch/scwatch/collector"
	"github.com/scwatch/scwatch/collector/page"
	"github.com/scwatch/scwatch/internal/config"
	"github.com/scwatch/scwatch/internal/web"
)

// shutdownTimeout bounds the wait for scrapes that are under way at the end.
const shutdownTimeout = 5 * time.Second

// serve is the daemon: it polls and serves until ctx ends.
func serve(ctx context.Context, o options, p process) error {
	return serveThen(ctx, o, p, func([]net.Addr) {})
}

// serveThen calls started with the addresses once the daemon listens on them.
func serveThen(ctx context.Context, o options, p process, started func([]net.Addr)) error {
	log := o.logger(p)
	settings, credentials, err := config.Read(o.configFile, p.env, collector.CheckIDs())
	if err == nil {
		err = checkDefinitions(settings, p.env)
	}
	if err := errors.Join(err, checkWebConfig(o.webConfigFile), checkStorage(o.storagePath)); err != nil {
		return &exitError{exitUsage, err}
	}
	if credentials.Warning != "" {
		log.Warn(credentials.Warning)
	}

	state, err := openState(o.storagePath, log)
	if err != nil {
		return err
	}
	defer state.Close()
	fleet, err := collector.NewFleet(state, log)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	exposition := collector.NewExposition(registry, log)
	w := newWatch(p.env, o, fleet, exposition, registry, log)
	if err := w.start(ctx, settings, credentials); err != nil {
		return err
	}
	defer w.stop()

	routes := web.Options{
		Version: releaseVersion(), Metrics: exposition, Ready: fleet.Ready,
		Page:    page.New(exposition.Snapshot, registry, time.Now),
		Trusted: web.TrustedBy(o.webConfigFile),
	}
	reload := func() error { return w.reload(ctx) }
	if o.enableLifecycle {
		routes.Reload = reload
	}
	handler, err := web.Handler(routes)
	if err != nil {
		return err
	}
	server, err := listen(o, handler, log)
	if err != nil {
		return err
	}
	defer server.shutdown()
	started(server.addresses)
	for {
		select {
		case <-ctx.Done():
			log.Info("ending")
			return nil
		case <-p.hangup:
			reload() // its error is logged, and shown on a gauge
		case err := <-w.failed:
			return err
		case err := <-server.failed:
			return fmt.Errorf("serve HTTP: %w", err)
		}
	}
}

// checkWebConfig finds what is wrong with --web.config.file.
func checkWebConfig(file string) error {
	if file == "" {
		return nil
	}
	if err := toolkit.Validate(file); err != nil {
		return fmt.Errorf("--web.config.file %s: %w", file, err)
	}
	return nil
}

// checkStorage finds what is wrong with --storage.path, before anything is
// made there.
func checkStorage(path string) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("--storage.path: %w", err)
	case !info.IsDir():
		return fmt.Errorf("--storage.path %s: it is not a folder", path)
	}
	return nil
}

func openState(path string, log *slog.Logger) (*collector.State, error) {
	if path == "" {
		return collector.NewState(), nil
	}
	state, setAside, err := collector.OpenState(path, time.Now())
	switch {
	case errors.Is(err, collector.ErrStateInUse):
		return nil, fmt.Errorf("--storage.path: %w", err)
	case err != nil:
		return nil, &exitError{exitUsage, fmt.Errorf("--storage.path: %w", err)}
	}
	if setAside != "" {
		log.Error("the state file was damaged or not one of scwatch and was set aside; what it knew of the past is not known any more", "set_aside", setAside)
	}
	return state, nil
}

// server is what listens.
type server struct {
	servers   []*http.Server // one a listener: the toolkit wraps a server's handler for each
	addresses []net.Addr
	failed    chan error
}

// listen begins to serve handler on every address. It listens before it
// returns, so that a port in use is an error at the start.
func listen(o options, handler http.Handler, log *slog.Logger) (*server, error) {
	s := &server{failed: make(chan error, len(o.listenAddresses))}
	var listeners []net.Listener
	for _, address := range o.listenAddresses {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			for _, open := range listeners {
				open.Close()
			}
			return nil, fmt.Errorf("--web.listen-address: %w", err)
		}
		listeners = append(listeners, listener)
		s.addresses = append(s.addresses, listener.Addr())
	}
	flags := &toolkit.FlagConfig{WebConfigFile: &o.webConfigFile}
	for _, listener := range listeners {
		httpServer := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
		s.servers = append(s.servers, httpServer)
		go func() {
			if err := toolkit.Serve(listener, httpServer, flags, log); !errors.Is(err, http.ErrServerClosed) {
				s.failed <- err
			}
		}()
	}
	return s, nil
}

func (s *server) shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	var ending sync.WaitGroup
	for _, httpServer := range s.servers {
		ending.Go(func() {
			if httpServer.Shutdown(ctx) != nil {
				httpServer.Close()
			}
		})
	}
	ending.Wait()
}
