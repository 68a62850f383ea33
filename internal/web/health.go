package web

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4 << 10

// AskReady asks the daemon that listens on address whether it is ready, and
// returns why not. With encrypted it asks by TLS, without a look at the
// certificate: it is made out for the daemon's name, not for loopback, and
// nothing secret is sent.
func AskReady(ctx context.Context, address string, encrypted bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("the listen address %q is not of the form host:port", address)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	scheme := "http"
	if encrypted {
		scheme = "https"
	}
	url := scheme + "://" + net.JoinHostPort(host, port) + readyPath
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch resp.StatusCode {
	case http.StatusOK, http.StatusUnauthorized:
		// A daemon that asks for a password answers; its users file holds
		// hashes only, so that more cannot be asked.
		return nil
	case http.StatusServiceUnavailable:
		return fmt.Errorf("%s", strings.TrimSpace(string(body)))
	}
	return fmt.Errorf("%s answers %s; is it scwatch that listens there?", url, resp.Status)
}
