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

// webConfig is what matters here of the web configuration.
type webConfig struct {
	TLS   map[string]any    `yaml:"tls_server_config"`
	Users map[string]string `yaml:"basic_auth_users"`
}

func readWebConfig(file string) (c webConfig, err error) {
	if file == "" {
		return c, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return c, fmt.Errorf("read --web.config.file: %w", err)
	}
	if err := yaml.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("read --web.config.file %s: %w", file, err)
	}
	return c, nil
}

// servesTLS tells whether the daemon's web configuration turns TLS on.
func servesTLS(file string) (bool, error) {
	c, err := readWebConfig(file)
	return len(c.TLS) > 0, err
}

// authenticates tells whether it lets in only those with a password or a
// certificate.
func authenticates(file string) (bool, error) {
	c, err := readWebConfig(file)
	return len(c.Users) > 0 || c.TLS["client_auth_type"] == "RequireAndVerifyClientCert", err
}
