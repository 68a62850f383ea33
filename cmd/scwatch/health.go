package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/scwatch/scwatch/internal/web"
)

const healthTimeout = 5 * time.Second

// health asks the daemon that runs with the same flags.
func health(ctx context.Context, o options, p process) error {
	encrypted, err := servesTLS(o.webConfigFile)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	if err := web.AskReady(ctx, o.listenAddresses[0], encrypted); err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.stdout, "ready")
	return err
}

// servesTLS tells whether the daemon's web configuration turns TLS on.
func servesTLS(file string) (bool, error) {
	if file == "" {
		return false, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return false, fmt.Errorf("read --web.config.file: %w", err)
	}
	var c struct {
		TLS map[string]any `yaml:"tls_server_config"`
	}
	if err := yaml.Unmarshal(data, &c); err != nil {
		return false, fmt.Errorf("read --web.config.file %s: %w", file, err)
	}
	return len(c.TLS) > 0, nil
}
