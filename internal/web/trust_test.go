package web

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

func TestTrustedBy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(file, []byte("basic_auth_users: {ops: x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		from, host, file string
		change           func(*http.Request)
		want             bool
	}{
		"loopback":               {"127.0.0.1:1", "127.0.0.1:9762", "", nil, true},
		"loopback by name":       {"127.0.0.1:1", "localhost:9762", "", nil, true},
		"loopback, IPv6":         {"[::1]:1", "[::1]", "", nil, true},
		"mapped loopback":        {"[::ffff:127.0.0.1]:1", "localhost", "", nil, true},
		"rebound name":           {"127.0.0.1:1", "evil.example.com", "", nil, false},
		"through a proxy":        {"127.0.0.1:1", "localhost", "", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "127.0.0.1") }, false},
		"elsewhere":              {"192.0.2.1:1", "localhost", "", nil, false},
		"password":               {"192.0.2.1:1", "scwatch", file, func(r *http.Request) { r.SetBasicAuth("ops", "x") }, true},
		"password nobody checks": {"192.0.2.1:1", "scwatch", "", func(r *http.Request) { r.SetBasicAuth("ops", "x") }, false},
		"unknown user":           {"192.0.2.1:1", "scwatch", file, func(r *http.Request) { r.SetBasicAuth("other", "x") }, false},
		"configuration is gone":  {"192.0.2.1:1", "scwatch", file + ".gone", func(r *http.Request) { r.SetBasicAuth("ops", "x") }, false},
		"certificate":            {"192.0.2.1:1", "scwatch", "", func(r *http.Request) { r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{}}} }, true},
		"unverified certificate": {"192.0.2.1:1", "scwatch", "", func(r *http.Request) { r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr, r.Host = test.from, test.host
			if test.change != nil {
				test.change(r)
			}
			if got := TrustedBy(test.file)(r); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
