package collector

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode"
)

// The kinds of secrets, as findings name them. A kind never holds a piece of
// the value.
const (
	kindURLPassword = "password in a URL"
	kindDSN         = "password in a connection string"
	kindPrivateKey  = "private key"
	kindJWT         = "JSON web token"
	kindAuthHeader  = "authorization header"
	kindByName      = "value behind a secret's name"
)

// maxJudged is how much of a value is looked at: what makes a secret stands at
// its beginning, and values of any length must cost little.
const maxJudged = 16 << 10

// plaintextSecret tells whether a clear-text variable looks like a secret, and
// like which kind. It looks at the value's form first, because that needs no
// trust in names; then at the name, behind which any value counts that is not
// a placeholder, a reference, a flag or an identifier: weak passwords are the
// ones that matter most.
func plaintextSecret(name, value string) (kind string, found bool) {
	value = unquote(value[:min(len(value), maxJudged)])
	words := wordsOf(name)
	if value == "" || isPlaceholder(value) || isReference(value) {
		return "", false
	}
	if kind, found := byForm(value); found {
		return kind, true
	}
	if isSecretName(words) && !isHarmless(words, value) {
		return kindByName, true
	}
	return "", false
}

// unquote takes away what people put around a value.
func unquote(s string) string {
	return strings.TrimSpace(strings.Trim(strings.TrimSpace(s), `"'`))
}

// vendorKeys are credentials that show what they are: a prefix, and how many
// characters of an alphabet follow at least.
var vendorKeys = []struct {
	prefix, kind string
	length       int
}{
	{"AKIA", "AWS access key", 16}, {"ASIA", "AWS access key", 16},
	{"AIza", "Google API key", 35}, {"GOCSPX-", "Google client secret", 20}, {"ya29.", "Google access token", 20},
	{"ghp_", "GitHub token", 30}, {"gho_", "GitHub token", 30}, {"ghs_", "GitHub token", 30}, {"ghu_", "GitHub token", 30},
	{"ghr_", "GitHub token", 30}, {"github_pat_", "GitHub token", 22},
	{"glpat-", "GitLab token", 20}, {"gldt-", "GitLab token", 20}, {"glrt-", "GitLab token", 20},
	{"xoxb-", "Slack token", 10}, {"xoxp-", "Slack token", 10}, {"xoxa-", "Slack token", 10}, {"xoxr-", "Slack token", 10},
	{"xoxs-", "Slack token", 10}, {"xapp-", "Slack token", 10},
	{"sk_live_", "Stripe key", 10}, {"sk_test_", "Stripe key", 10}, {"rk_live_", "Stripe key", 10}, {"rk_test_", "Stripe key", 10},
	{"whsec_", "Stripe webhook secret", 10},
	{"SG.", "SendGrid key", 40}, {"key-", "Mailgun key", 32}, {"npm_", "npm token", 30}, {"pypi-", "PyPI token", 40},
	{"sk-ant-", "Anthropic key", 20}, {"sk-proj-", "OpenAI key", 20}, {"sk-", "OpenAI key", 40}, {"hf_", "Hugging Face token", 30},
	{"dop_v1_", "DigitalOcean token", 40}, {"doo_v1_", "DigitalOcean token", 40},
	{"shpat_", "Shopify token", 20}, {"shpss_", "Shopify token", 20},
	{"hvs.", "Vault token", 20}, {"hvb.", "Vault token", 20}, {"glsa_", "Grafana token", 20}, {"glc_", "Grafana token", 20},
	{"dp.st.", "Doppler token", 20}, {"dp.pt.", "Doppler token", 20}, {"lin_api_", "Linear key", 20}, {"PMAK-", "Postman key", 20},
	{"AGE-SECRET-KEY-1", kindPrivateKey, 40},
	{"https://hooks.slack.com/services/", "Slack webhook", 10},
	{"https://discord.com/api/webhooks/", "Discord webhook", 10},
}

// byForm judges by the value alone.
func byForm(value string) (string, bool) {
	for _, v := range vendorKeys {
		if rest, ok := strings.CutPrefix(value, v.prefix); ok && len(rest) >= v.length && !strings.ContainsFunc(rest, unicode.IsSpace) {
			return v.kind, true
		}
	}
	switch {
	case strings.Contains(value, "PRIVATE KEY-----"), strings.Contains(value, "PRIVATE KEY BLOCK-----"):
		return kindPrivateKey, true
	case isJWT(value):
		return kindJWT, true
	case isAuthHeader(value):
		return kindAuthHeader, true
	case hasURLPassword(value):
		return kindURLPassword, true
	case hasDSNPassword(value):
		return kindDSN, true
	}
	return "", false
}

// isJWT wants three parts of base64 of which the first is a header.
func isJWT(value string) bool {
	header, rest, ok := strings.Cut(value, ".")
	if !ok || strings.Count(rest, ".") != 1 || !strings.HasPrefix(header, "ey") {
		return false
	}
	decoded, err := base64.RawURLEncoding.DecodeString(header)
	var h struct {
		Algorithm string `json:"alg"`
	}
	return err == nil && json.Unmarshal(decoded, &h) == nil && h.Algorithm != ""
}

func isAuthHeader(value string) bool {
	scheme, credentials, ok := strings.Cut(value, " ")
	return ok && (strings.EqualFold(scheme, "basic") || strings.EqualFold(scheme, "bearer")) &&
		len(credentials) >= 8 && !strings.ContainsFunc(credentials, unicode.IsSpace) && !isPlaceholder(credentials)
}

// maxAuthority is how long the part of a URL up to its password can be.
const maxAuthority = 512

// hasURLPassword finds scheme://user:password@host anywhere in the value. A
// user without a password, as in a Sentry DSN, is an identifier.
func hasURLPassword(value string) bool {
	for rest := value; ; {
		_, after, found := strings.Cut(rest, "://")
		if !found {
			return false
		}
		rest = after
		authority := after[:min(len(after), maxAuthority)]
		// A password may hold a slash or a question mark that nobody escaped:
		// all up to the next space, quote or comma belongs to the URL.
		if end := strings.IndexAny(authority, " \t\n\"'`<>,"); end >= 0 {
			authority = authority[:end]
		}
		if at := strings.LastIndexByte(beforePath(authority), '@'); at >= 0 {
			if _, password, ok := strings.Cut(authority[:at], ":"); ok && password != "" && !isPlaceholder(password) && !isReference(password) {
				return true
			}
		}
	}
}

// beforePath cuts a URL's rest where its path begins. A slash in a password
// that nobody escaped is none of the path: there, what stands before it is a
// user with a colon, and no host with a port.
func beforePath(rest string) string {
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		return rest
	}
	_, port, colon := strings.Cut(rest[:end], ":")
	if strings.Contains(rest[:end], "@") || !colon || isNumber(port) || rest[0] == '[' {
		return rest[:end]
	}
	return rest
}

// dsnKeys are what a connection string calls its secret.
var dsnKeys = []string{"password", "pwd", "passwd", "accountkey", "sharedaccesskey", "secret", "token", "client_secret"}

// hasDSNPassword finds "host=… password=…" and "…;AccountKey=…": a list of
// settings of which one is a secret. A single setting is no list.
func hasDSNPassword(value string) bool {
	fields := strings.FieldsFunc(value, func(r rune) bool { return r == ';' || r == '&' || r == '?' || unicode.IsSpace(r) })
	if len(fields) < 2 {
		return false
	}
	for _, field := range fields {
		key, secret, ok := strings.Cut(field, "=")
		secret = unquote(secret)
		if !ok || secret == "" || isPlaceholder(secret) || isReference(secret) || isFlag(secret) {
			continue
		}
		for _, telling := range dsnKeys {
			if strings.EqualFold(strings.TrimSpace(key), telling) {
				return true
			}
		}
	}
	return false
}

// wordsOf splits a name into lower-case words: DB_PASSWORD, db.password,
// dbPassword and DB-Password are the same two.
func wordsOf(name string) []string {
	var words []string
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
			word.Reset()
		}
	}
	runes := []rune(name[:min(len(name), 256)])
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			end()
			continue
		case unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) ||
			i+1 < len(runes) && unicode.IsUpper(runes[i-1]) && unicode.IsLower(runes[i+1])):
			end()
		}
		word.WriteRune(unicode.ToLower(r))
	}
	end()
	return words
}

// secretWords make a name a secret's, alone or as a pair of words.
var secretWords = set(
	"password", "passwords", "passwd", "passwort", "pwd", "pass", "passphrase", "passcode", "secret", "secrets", "token", "tokens",
	"apikey", "apisecret", "secretkey", "privatekey", "accesstoken", "authtoken", "clientsecret", "credential", "credentials", "pin", "dbpass", "dbpassword",
	"api key", "private key", "secret key", "signing key", "encryption key", "master key", "account key", "auth key", "service key", "session key", "hmac key", "jwt key",
	"license key",
)

// aboutWords at the end of a name say that the value is about a secret, and is
// not one.
var aboutWords = set(
	"id", "ids", "name", "names", "arn", "path", "file", "dir", "url", "uri", "endpoint", "host", "port", "region", "version", "type", "kind", "format",
	"ttl", "expiry", "expires", "expiration", "timeout", "duration", "lifetime", "age", "days", "hours", "minutes", "seconds", "interval",
	"length", "size", "count", "limit", "max", "min", "enabled", "disabled", "required", "optional", "header", "field", "prefix", "suffix", "alg", "algorithm",
	"issuer", "audience", "scope", "scopes", "policy", "rotation", "provider", "store", "manager", "backend", "engine", "mode", "strategy", "cookie", "regex", "pattern", "class", "ref",
)

// publicWords anywhere in a name say that everybody may know the value.
var publicWords = set("public", "publishable", "pub", "site", "max", "min", "enable", "disable", "use", "allow", "num")

func set(words ...string) map[string]bool {
	all := map[string]bool{}
	for _, word := range words {
		all[word] = true
	}
	return all
}

func isSecretName(words []string) bool {
	for i, word := range words {
		if secretWords[word] || i+1 < len(words) && secretWords[word+" "+words[i+1]] {
			return true
		}
	}
	return false
}

// isHarmless tells whether what stands behind a secret's name is no secret.
func isHarmless(words []string, value string) bool {
	if aboutWords[words[len(words)-1]] || isFlag(value) {
		return true
	}
	for i, word := range words {
		// NEXT_PUBLIC_…, MAX_TOKENS; but not PUBLIC_SITE_PASSWORD: a password
		// is never everybody's.
		if publicWords[word] && words[len(words)-1] != "password" && (i == 0 || word == "public" || word == "publishable") {
			return true
		}
	}
	last := words[len(words)-1]
	switch {
	case last == "tokens" && isNumber(value): // how many
		return true
	case strings.HasPrefix(value, "pk_live_"), strings.HasPrefix(value, "pk_test_"): // publishable
		return true
	case strings.HasPrefix(value, "-----BEGIN"), strings.HasPrefix(value, "ssh-"): // private keys were found by their form
		return true
	case isAccessKeyID(words, value):
		return true
	case strings.Contains(value, "://"): // its password was looked for
		return true
	}
	return false
}

// isAccessKeyID: the first half of a pair of keys is an identifier: SCW…,
// whatever is called ACCESS_KEY without being a secret.
func isAccessKeyID(words []string, value string) bool {
	if strings.HasPrefix(value, "SCW") && len(value) == 20 {
		return true
	}
	n := len(words)
	return n >= 2 && words[n-2] == "access" && words[n-1] == "key" && !(n >= 3 && words[n-3] == "secret")
}

func isFlag(value string) bool {
	switch strings.ToLower(value) {
	case "true", "false", "yes", "no", "on", "off", "enabled", "disabled", "enable", "disable", "required", "optional", "y", "n":
		return true
	}
	return len(value) == 1
}

func isNumber(value string) bool {
	return value != "" && strings.Trim(value, "0123456789_.") == ""
}

// isPlaceholder tells whether a value stands where a secret should be put.
func isPlaceholder(value string) bool {
	lower := strings.ToLower(value)
	switch strings.Trim(lower, "<>[]{}()_-. ") {
	case "", "changeme", "change_me", "change-me", "change me", "change it", "changeit", "replaceme", "replace_me", "replace-me", "replace me",
		"todo", "tbd", "fixme", "null", "nil", "none", "undefined", "n/a", "na", "unset", "empty", "placeholder", "example", "dummy", "redacted", "masked", "hidden", "secret here":
		return true
	}
	if strings.HasPrefix(lower, "your") && strings.ContainsAny(lower, "_- ") {
		return true
	}
	if value[0] == '<' && value[len(value)-1] == '>' {
		return true
	}
	// The same sign again and again: ***, xxxx, ....
	return strings.ContainsRune("*x.#•-_", rune(lower[0])) && strings.Trim(lower, lower[:1]) == "" || strings.Trim(value, "•") == ""
}

// references are how a value says that the secret is elsewhere.
var references = []string{
	"vault:", "arn:aws:", "sm://", "op://", "secretmanager:", "gcp-secret:", "scw-secret:", "ssm:", "awssm:", "projects/", "secret://", "ref+", "file:", "env:", "keyvault:", "@microsoft.keyvault",
	"/run/", "/var/", "/etc/", "/secrets/", "/mnt/", "/tmp/", "/opt/", "/home/", "./", "../", "~/",
}

// isReference tells whether a value names where the secret is: a variable, a
// template, a file, an entry of a secret store.
func isReference(value string) bool {
	lower := strings.ToLower(value)
	for _, prefix := range references {
		if strings.HasPrefix(lower, prefix) {
			return true
		}
	}
	switch {
	case strings.HasPrefix(value, "${") && strings.HasSuffix(value, "}"),
		strings.HasPrefix(value, "{{") && strings.HasSuffix(value, "}}"),
		strings.HasPrefix(value, "%(") && strings.HasSuffix(value, "s"),
		strings.HasPrefix(value, "$(") && strings.HasSuffix(value, ")"),
		len(value) > 2 && value[0] == '%' && value[len(value)-1] == '%',
		value == "%s", value == "%v":
		return true
	}
	// $NAME; a password may begin with a dollar, a variable's name is upper case.
	name, ok := strings.CutPrefix(value, "$")
	return ok && len(name) > 1 && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}
