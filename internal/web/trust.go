package web

import (
	"net"
	"net/http"
	"net/netip"
	"os"

	"gopkg.in/yaml.v3"
)

// forwarded are the headers that a proxy adds: what comes through one on this
// machine may come from anywhere.
var forwarded = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"}

// TrustedBy tells who is shown the status page: a client on this machine, one
// whose certificate was verified, and one whose password was, by the
// exporter-toolkit with the configuration in file. file may be empty.
func TrustedBy(file string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return fromLoopback(r) || r.TLS != nil && len(r.TLS.VerifiedChains) > 0 || hasPassword(file, r)
	}
}

// fromLoopback tells whether r was made on this machine, and for it: a page of
// another site can have a browser here ask under a name of its own.
func fromLoopback(r *http.Request) bool {
	for _, header := range forwarded {
		if len(r.Header.Values(header)) > 0 {
			return false
		}
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		return false
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	ip := net.ParseIP(trimBrackets(host))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func trimBrackets(host string) string {
	if n := len(host); n > 1 && host[0] == '[' && host[n-1] == ']' {
		return host[1 : n-1]
	}
	return host
}

// hasPassword tells whether r has passed basic authentication. The toolkit has
// compared the password before r came here, if file has users now: it reads it
// anew with every request, and so does this.
func hasPassword(file string, r *http.Request) bool {
	user, _, given := r.BasicAuth()
	if file == "" || !given {
		return false
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	var c struct {
		Users map[string]string `yaml:"basic_auth_users"`
	}
	if yaml.Unmarshal(data, &c) != nil {
		return false
	}
	_, known := c.Users[user]
	return known
}
