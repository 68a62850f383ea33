package collector

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"unicode"
)

// The kinds of secrets that more than a prefix tells. With those in the table
// of forms they are all that plaintextSecret ever says: no kind is made of a
// value.
const (
	kindByName     = "value behind a secret's name"
	kindURL        = "password in a URL"
	kindSetting    = "secret among settings"
	kindPrivateKey = "private key"
	kindJWT        = "JSON web token"
	kindAuthHeader = "authorization header"
	kindHash       = "password hash"
	kindAWSSecret  = "AWS secret access key"
	kindGoogleKey  = "Google API key"
	kindTelegram   = "Telegram bot token"
)

// plaintextSecret tells whether a clear-text variable looks like a secret, and
// of which kind. The value's form comes first, because it needs no trust in
// names. Then the name: behind one that tells of a secret, any value counts
// that is no placeholder, reference, flag or identifier, since weak passwords
// are the ones that matter most.
//
// It judges every variable at every poll: it allocates nothing for ordinary
// ones, and takes time linear in the length of name and value.
func plaintextSecret(name, value string) (kind string, found bool) {
	value = strings.TrimFunc(value, isAround)
	n := readName(name)
	kind = byForm(value)
	switch {
	case kind != "":
		// Browsers are given these two by design, where the name says so.
		if n.is(rolePublic) && (kind == kindJWT || kind == kindGoogleKey) {
			return "", false
		}
		return kind, true
	case !n.accuses(value):
		return "", false
	case strings.Contains(value, "_") && strings.EqualFold(name, value):
		return "", false // API_KEY=API_KEY waits to be filled in; PASSWORD=password does not
	}
	return kindByName, true
}

// isAround tells what people leave around a value.
func isAround(r rune) bool {
	return r == '"' || r == '\'' || r == '`' || unicode.IsSpace(r)
}

// A secretForm is how a credential begins, and what must follow.
type secretForm struct {
	prefix, kind string
	follows      func(rest string) bool
}

// secretForms are credentials that show what they are, wherever a word begins.
// Identifiers that come with a secret (AKIA…, SCW…, AC…) are not among them.
var secretForms = []secretForm{
	{"AKIA", kindAWSSecret, isAWSPair}, {"ASIA", kindAWSSecret, isAWSPair},
	{"IQoJb3JpZ2lu", "AWS session token", formBody(50, "+/")}, {"FwoGZXIvYXdz", "AWS session token", formBody(50, "+/")},
	{"AIza", kindGoogleKey, formBody(35, "_-")}, {"GOCSPX-", "Google client secret", formBody(20, "_-")}, {"ya29.", "Google access token", formBody(20, "_-.")},
	{"ghp_", "GitHub token", formBody(30, "")}, {"gho_", "GitHub token", formBody(30, "")}, {"ghs_", "GitHub token", formBody(30, "")},
	{"ghu_", "GitHub token", formBody(30, "")}, {"ghr_", "GitHub token", formBody(30, "")}, {"github_pat_", "GitHub token", formBody(22, "_")},
	{"glpat-", "GitLab token", formBody(20, "_-")}, {"gldt-", "GitLab token", formBody(20, "_-")}, {"glrt-", "GitLab token", formBody(20, "_-")},
	{"glptt-", "GitLab token", formBody(20, "_-")}, {"glcbt-", "GitLab token", formBody(20, "_-")}, {"glft-", "GitLab token", formBody(20, "_-")},
	{"xoxb-", "Slack token", formBody(10, "-")}, {"xoxp-", "Slack token", formBody(10, "-")}, {"xoxa-", "Slack token", formBody(10, "-")},
	{"xoxr-", "Slack token", formBody(10, "-")}, {"xoxs-", "Slack token", formBody(10, "-")}, {"xoxe.", "Slack token", formBody(10, "-")}, {"xapp-", "Slack token", formBody(10, "-")},
	{"hooks.slack.com/services/", "Slack webhook", formBody(10, "/")}, {"hooks.slack.com/workflows/", "Slack webhook", formBody(10, "/")},
	{"hooks.slack.com/triggers/", "Slack webhook", formBody(10, "/")},
	{"discord.com/api/webhooks/", "Discord webhook", formBody(10, "/_-")}, {"discordapp.com/api/webhooks/", "Discord webhook", formBody(10, "/_-")},
	{"webhook.office.com/webhookb2/", "Teams webhook", formBody(20, "-@/")}, {"outlook.office.com/webhook/", "Teams webhook", formBody(20, "-@/")},
	{"sk_live_", "Stripe key", formBody(10, "")}, {"sk_test_", "Stripe key", formBody(10, "")},
	{"rk_live_", "Stripe key", formBody(10, "")}, {"rk_test_", "Stripe key", formBody(10, "")}, {"whsec_", "Stripe webhook secret", formBody(16, "+/")},
	{"SG.", "SendGrid key", formBody(60, "_-.")}, {"SK", "Twilio API key", isHex32}, {"key-", "Mailgun key", isHex32},
	{"xkeysib-", "Brevo key", formBody(40, "-")}, {"xsmtpsib-", "Brevo key", formBody(40, "-")},
	{"npm_", "npm token", formBody(30, "")}, {"pypi-", "PyPI token", formBody(40, "_-")}, {"rubygems_", "RubyGems key", formBody(40, "")}, {"dckr_pat_", "Docker token", formBody(20, "_-")},
	{"sk-ant-", "Anthropic key", formBody(20, "_-")}, {"sk-proj-", "OpenAI key", formBody(20, "_-")}, {"sk-svcacct-", "OpenAI key", formBody(20, "_-")},
	{"sk-admin-", "OpenAI key", formBody(20, "_-")}, {"sk-or-v1-", "OpenRouter key", formBody(32, "")}, {"sk-", "OpenAI key", formBody(32, "")},
	{"gsk_", "Groq key", formBody(40, "")}, {"hf_", "Hugging Face token", formBody(30, "")}, {"r8_", "Replicate token", formBody(35, "")},
	{"dop_v1_", "DigitalOcean token", formBody(40, "")}, {"doo_v1_", "DigitalOcean token", formBody(40, "")}, {"tskey-", "Tailscale key", formBody(20, "-")},
	{"shpat_", "Shopify token", formBody(20, "")}, {"shpss_", "Shopify token", formBody(20, "")}, {"shpca_", "Shopify token", formBody(20, "")}, {"shppa_", "Shopify token", formBody(20, "")},
	{"hvs.", "Vault token", formBody(20, "_-")}, {"hvb.", "Vault token", formBody(20, "_-")}, {"hvr.", "Vault token", formBody(20, "_-")},
	{"glsa_", "Grafana token", formBody(20, "_")}, {"glc_", "Grafana token", formBody(20, "+/=")},
	{"dp.st.", "Doppler token", formBody(20, "_-.")}, {"dp.pt.", "Doppler token", formBody(20, "")}, {"dp.sa.", "Doppler token", formBody(20, "")}, {"dp.ct.", "Doppler token", formBody(20, "")},
	{"sntrys_", "Sentry token", formBody(20, "_+/=")}, {"sntryu_", "Sentry token", formBody(20, "")}, {"NRAK-", "New Relic key", formBody(20, "")},
	{"lin_api_", "Linear key", formBody(20, "")}, {"PMAK-", "Postman key", formBody(20, "-")}, {"ATATT3", "Atlassian token", formBody(40, "_-=")},
	{"sbp_", "Supabase token", formBody(30, "")}, {"sb_secret_", "Supabase key", formBody(20, "_-")}, {"pscale_pw_", "PlanetScale password", formBody(20, "_-.")},
	{"dapi", "Databricks token", isHex32}, {"sk.eyJ", "Mapbox token", formBody(40, "_-.")},
	{"AGE-SECRET-KEY-1", kindPrivateKey, formBody(40, "")}, {"PuTTY-User-Key-File-", kindPrivateKey, formBody(1, "")},
	// The same in base64: a service account, compact and indented; PEM.
	{"eyJ0eXBlIjoic2VydmljZV9hY2NvdW50", kindPrivateKey, formBody(40, "+/=")}, {"ewogICJ0eXBlIjogInNlcnZpY2VfYWNjb3VudC", kindPrivateKey, formBody(40, "+/=")},
	{"LS0tLS1CRUdJTi", kindPrivateKey, isEncodedPEM},
	{"eyJ", kindJWT, isJWT},
	{"Basic", kindAuthHeader, isBasic}, {"basic", kindAuthHeader, isBasic}, {"Bearer", kindAuthHeader, isBearer}, {"bearer", kindAuthHeader, isBearer},
	{"$2a$", kindHash, formBody(50, "$./")}, {"$2b$", kindHash, formBody(50, "$./")}, {"$2y$", kindHash, formBody(50, "$./")},
	{"$5$", kindHash, formBody(40, "$./=")}, {"$6$", kindHash, formBody(40, "$./=")}, {"$apr1$", kindHash, formBody(24, "$./")}, {"$argon2", kindHash, formBody(40, "$,=+/")},
}

// formsByByte has them by their first byte, in the table's order.
var formsByByte = func() (by [256][]secretForm) {
	for _, f := range secretForms {
		by[f.prefix[0]] = append(by[f.prefix[0]], f)
	}
	return by
}()

// formBody wants n letters, digits or bytes of extra that are no placeholder. It
// looks at no more than n bytes: a value full of prefixes must stay cheap.
func formBody(n int, extra string) func(string) bool {
	return func(rest string) bool {
		if len(rest) < n {
			return false
		}
		for i := range n {
			if !isAlphanumeric(rest[i]) && strings.IndexByte(extra, rest[i]) < 0 {
				return false
			}
		}
		return !isPlaceholder(rest[:n])
	}
}

// byForm judges by the value alone: its kind, or nothing.
func byForm(value string) string {
	if len(value) < len("a://:b@c") {
		return ""
	}
	wordBegins := true
	for i := range len(value) {
		c := value[i]
		if wordBegins {
			for _, f := range formsByByte[c] {
				if rest, ok := strings.CutPrefix(value[i:], f.prefix); ok && f.follows(rest) {
					return f.kind
				}
			}
		}
		wordBegins = !isAlphanumeric(c) && c != '_' && c != '-'
	}
	switch {
	case strings.Contains(value, "PRIVATE KEY-----"), strings.Contains(value, "PRIVATE KEY BLOCK-----"),
		strings.Contains(value, `"kty"`) && (strings.Contains(value, `"d":`) || strings.Contains(value, `"k":`)):
		return kindPrivateKey
	case hasTelegramToken(value):
		return kindTelegram
	case hasURLPassword(value):
		return kindURL
	case hasSecretSetting(value):
		return kindSetting
	}
	return ""
}

// isAWSPair: the identifier alone opens nothing; with 40 more behind it, it does.
func isAWSPair(rest string) bool {
	return formBody(16, "")(rest) && len(rest) > 17 && !isAlphanumeric(rest[16]) && formBody(40, "+/")(strings.TrimLeft(rest[16:min(len(rest), 60)], ":;, \n"))
}

func isHex32(rest string) bool {
	return len(rest) >= 32 && strings.Trim(rest[:32], "0123456789abcdef") == "" && (len(rest) == 32 || !isAlphanumeric(rest[32]))
}

func isEncodedPEM(rest string) bool {
	decoded, _ := base64.StdEncoding.DecodeString("LS0tLS1CRUdJTi" + rest[:min(len(rest), 42)])
	return strings.Contains(string(decoded), "PRIVATE KEY")
}

// isJWT wants three parts of base64, of which the first is a header that names
// an algorithm. An unsigned token's third part is empty.
func isJWT(rest string) bool {
	const base64url = alphanumeric + "_-"
	header := len(rest) - len(strings.TrimLeft(rest, base64url))
	if header < 12 || header == len(rest) || rest[header] != '.' {
		return false // no room for {"alg":"…"}
	}
	claims := strings.TrimLeft(rest[header+1:], base64url)
	if claims == "" || claims[0] != '.' || len(claims) == len(rest)-header-1 {
		return false
	}
	decoded, err := base64.RawURLEncoding.DecodeString("eyJ" + rest[:header])
	var h struct {
		Algorithm string `json:"alg"`
	}
	return err == nil && json.Unmarshal(decoded, &h) == nil && h.Algorithm != ""
}

// headerCredentials are what follows "Basic" or "Bearer", also within a URL's query.
func headerCredentials(rest string) string {
	rest, space := strings.CutPrefix(rest, " ")
	if !space {
		if rest, space = strings.CutPrefix(rest, "%20"); !space {
			return ""
		}
	}
	rest = rest[:min(len(rest), maxWord)]
	return rest[:len(rest)-len(strings.TrimLeft(rest, alphanumeric+"-._~+/="))]
}

func isBasic(rest string) bool {
	decoded, err := base64.StdEncoding.DecodeString(headerCredentials(rest))
	_, password, ok := strings.Cut(string(decoded), ":")
	return err == nil && ok && !isStandIn(password)
}

// isBearer wants a digit: "bearer authentication" is prose.
func isBearer(rest string) bool {
	token := headerCredentials(rest)
	return len(token) >= 8 && strings.ContainsAny(token, "0123456789") && !isStandIn(token)
}

// hasTelegramToken finds 123456789:AA…, alone or behind "bot" in a URL.
func hasTelegramToken(value string) bool {
	for {
		bot, secret, found := strings.Cut(value, ":AA")
		if !found {
			return false
		}
		if n := len(bot); n >= 8 && isNumber(bot[n-8:]) && formBody(33, "_-")(secret) {
			return true
		}
		value = secret
	}
}

// maxWord is how much is looked at of a key, a password or an authority: more
// than real ones have, and a bound to what a hostile value costs.
const maxWord = 512

// hasURLPassword finds scheme://user:password@host anywhere, and Go's
// user:password@tcp(host). A user without a password, as in a Sentry DSN, is
// an identifier.
func hasURLPassword(value string) bool {
	if before, _, ok := strings.Cut(value, "@tcp("); ok && !strings.Contains(before, "://") {
		if _, password, ok := strings.Cut(before, ":"); ok && !isStandIn(password) {
			return true
		}
	}
	for {
		_, rest, found := strings.Cut(value, "://")
		if !found {
			return false
		}
		value = rest
		authority := authorityOf(rest[:min(len(rest), maxWord)])
		if at := strings.LastIndexByte(authority, '@'); at >= 0 {
			if _, password, ok := strings.Cut(authority[:at], ":"); ok && !isStandIn(password) {
				return true
			}
		}
	}
}

// authorityOf cuts a URL's rest where its path begins. A slash in a password
// that nobody escaped begins none: what stands before that is a user with a
// colon, and not a host with a port.
func authorityOf(rest string) string {
	const around = " \t\r\n\"'`"
	end := strings.IndexAny(rest, "/?#"+around)
	if end < 0 {
		return rest
	}
	_, port, colon := strings.Cut(rest[:end], ":")
	if colon && port != "" && !isNumber(port) && rest[0] != '[' && strings.IndexByte("/?#", rest[end]) >= 0 && strings.IndexByte(rest[:end], '@') < 0 {
		if end = strings.IndexAny(rest, around); end < 0 {
			return rest
		}
	}
	return rest[:end]
}

// hasSecretSetting finds key=value and "key": "value" whose key tells of a
// secret, in a connection string, a query, a command line or a file's text.
// Keys are judged as names of variables are.
func hasSecretSetting(value string) bool {
	for i := 0; ; i++ {
		next := strings.IndexAny(value[i:], "=:")
		if next < 0 {
			return false
		}
		i += next
		before := value[max(0, i-maxKey):i]
		key := strings.TrimRight(before, " ")
		rest := value[i+1 : min(len(value), i+1+maxWord)]
		if value[i] == ':' || key != before { // "password= host=db" has an empty one
			rest = strings.TrimLeft(rest, " ")
		}
		if value[i] == ':' && !(strings.HasSuffix(key, `"`) && (strings.HasPrefix(rest, `"`) || strings.HasPrefix(rest, `\"`))) {
			continue // only JSON's colon: prose has them too
		}
		key = strings.TrimRight(key, `"'\`)
		begin := len(key)
		for begin > 0 && (isAlphanumeric(key[begin-1]) || strings.IndexByte("_-.", key[begin-1]) >= 0) {
			begin--
		}
		if n := readName(key[begin:]); n.suspicious() {
			rest = strings.TrimLeft(rest, `"'\`)
			if end := strings.IndexAny(rest, "\"';&\\ \t\r\n"); end >= 0 {
				rest = rest[:end]
			}
			if n.accuses(rest) {
				return true
			}
		}
	}
}

// maxKey is how long the key of a setting can be.
const maxKey = 64

// A role is what a word does in a name.
type role uint16

const (
	roleTells     role = 1 << iota // of a secret, wherever it stands: DB_PASSWORD, PASSWORD_PROD
	roleGrave                      // of one that is never published, whatever the name says
	roleTellsLast                  // at the end only: SMTP_PASS, and not PASS_THROUGH
	roleKey                        // tells behind an owner; else its value must look like a key
	roleOwner                      // API_KEY, PRIVATE_KEY
	rolePlain                      // SORT_KEY, SITE_KEY
	roleThrough                    // no word of its own between owner and key: ACCOUNT_ACCESS_KEY
	roleAuth                       // tells where the value is user:password or looks like a key
	roleCounted                    // a number behind it says how many
	roleLimit                      // at the beginning, makes it a number: MAX_TOKEN
	rolePublic                     // everybody may know
	roleAbout                      // at the end: the value is about a secret, and is none
)

var wordRoles = map[string]role{}

func init() {
	for r, words := range map[role]string{
		roleTells | roleGrave: `password passwords passwd passphrase passcode secret secrets passwort kennwort motdepasse mdp
			dbpass userpass apisecret clientsecret`,
		roleTells:     "token jeton apikey apikeys accesstoken authtoken credential credentials creds privatekey secretkey htpasswd",
		roleCounted:   "tokens secrets",
		roleTellsLast: "pass passe pwd pw pin",
		roleKey:       "key keys",
		roleOwner:     "api private secret signing encryption decryption master account auth admin shared hmac jwt license",
		rolePlain:     "sort partition primary foreign cache object idempotency site host write client",
		roleThrough:   "access",
		roleAuth:      "auth authorization sig",
		roleLimit:     "max min num",
		rolePublic:    "public publishable pub anon",
		roleAbout: `id ids sid name names username arn path paths file filename dir folder url uri endpoint host hostname port region zone version
			type kind class format encoding charset template schema ttl expiry expires expire expiration timeout duration lifetime age days
			day hours hour minutes minute seconds second sec secs ms interval leeway grace skew length len size bytes bits count limit max min
			quota budget cost rounds iterations attempts retries threshold rate window enabled disabled enable disable required optional
			allowed supported header headers field column table prefix suffix separator delimiter alg algorithm hash digest checksum
			fingerprint salt issuer iss audience aud scope scopes claim role roles policy rotation provider store manager backend engine
			driver plugin mode strategy method flow grant cookie regex pattern ref reference label title description message hint prompt
			placeholder symbol address decimals chain network bucket topic queue locale language`,
	} {
		for _, word := range strings.Fields(words) {
			wordRoles[word] |= r
		}
	}
	wordRoles["tokens"] |= roleTells
}

// glued words tell also at the end of a word that nobody split: dbpassword.
var glued = []string{"password", "passwd", "pwd", "passphrase", "secret", "token", "apikey", "secretkey", "privatekey", "credentials"}

// A nameSense is what a name says.
type nameSense struct{ words, last, beforeLast role }

func (s nameSense) is(r role) bool { return s.words&r != 0 }

// readName reads the words of a name, which end at anything that is no letter
// or digit, and at a hump: DB_PASSWORD, db.password, dbPassword and DBPassword
// are the same two. Numbers behind a word are none of it.
func readName(name string) nameSense {
	var s nameSense
	first := true
	for begin := 0; begin < len(name); {
		end := begin
		for end < len(name) && isLetter(name[end]) && !(end > begin && isHump(name, end)) {
			end++
		}
		word := end
		for word > begin && isDigit(name[word-1]) {
			word--
		}
		if word == begin {
			begin = max(end, begin+1)
			continue
		}
		r := roleOf(name[begin:word])
		begin = end
		if r&roleKey != 0 && s.last&roleOwner != 0 {
			r |= roleTells
		}
		if r&roleThrough != 0 {
			r |= s.last & roleOwner
		}
		if !first {
			r &^= roleLimit
		}
		s.words |= r &^ (roleAbout | roleKey | roleAuth | roleTellsLast)
		s.beforeLast, s.last, first = s.last, r, false
	}
	if s.last&roleTellsLast != 0 {
		s.words |= roleTells | roleGrave
	}
	return s
}

// isHump tells whether a word begins with the capital at i.
func isHump(name string, i int) bool {
	return isUpper(name[i]) && (!isUpper(name[i-1]) && !isDigit(name[i-1]) || i+1 < len(name) && isLower(name[i+1]))
}

func roleOf(word string) role {
	var buffer [32]byte
	lower := buffer[:copy(buffer[:], word[max(0, len(word)-len(buffer)):])]
	for i, c := range lower {
		if isUpper(c) {
			lower[i] = c + 'a' - 'A'
		}
	}
	if r, ok := wordRoles[string(lower)]; ok {
		return r
	}
	for _, end := range glued {
		if n := len(lower) - len(end); n > 0 && string(lower[n:]) == end {
			return wordRoles[end] | roleTells
		}
	}
	return 0
}

// suspicious tells whether there is a value that the name would accuse.
func (s nameSense) suspicious() bool {
	return s.words&roleTells != 0 || s.last&(roleKey|roleAuth) != 0
}

// accuses tells whether a value behind the name is a secret.
func (s nameSense) accuses(value string) bool {
	switch {
	case !s.suspicious(), s.last&roleAbout != 0, s.is(roleLimit), s.is(rolePublic) && !s.is(roleGrave):
		return false
	case isStandIn(value), isFlag(value), isIdentifier(value):
		return false
	case s.is(roleTells):
		// Behind TOKEN_REFRESH a small number is a setting, and behind TOKENS
		// any says how many; behind PASSWORD it is a bad password.
		setting := s.last&(roleTells|roleKey|roleTellsLast) == 0 && (len(value) <= 5 && isNumber(value) || isDuration(value) || isHost(value))
		count := s.is(roleCounted) && (s.last&roleTells == 0 || s.last&roleCounted != 0) && isNumber(value)
		return !setting && !count
	case s.last&roleAuth != 0:
		return looksKey(value) || isLogin(value)
	}
	return s.beforeLast&rolePlain == 0 && looksKey(value)
}

// looksKey tells whether a value looks like nothing but a key: long, and of
// what no word or slug is made of.
func looksKey(value string) bool {
	value = strings.TrimPrefix(value, "base64:")
	if len(value) < 20 || len(value) > maxWord || strings.Trim(value, alphanumeric+"+/=_%") != "" {
		return false
	}
	return len(value) >= 32 && strings.Trim(value, "0123456789abcdef") == "" ||
		strings.ContainsFunc(value, unicode.IsUpper) && strings.ContainsFunc(value, unicode.IsLower) && strings.ContainsFunc(value, unicode.IsDigit)
}

// isLogin tells user:password from host:port and scheme://.
func isLogin(value string) bool {
	user, password, ok := strings.Cut(value, ":")
	return ok && user != "" && !isStandIn(password) && !isNumber(password) && !strings.ContainsAny(value, " /")
}

// isIdentifier tells what is known to everybody by its form: public keys, the
// identifying half of a pair, and URLs, whose password was looked for before.
func isIdentifier(value string) bool {
	return strings.Contains(value, "://") || slices.ContainsFunc(publicForms, func(prefix string) bool { return strings.HasPrefix(value, prefix) }) ||
		len(value) == 20 && (value[:3] == "SCW" || value[:4] == "AKIA" || value[:4] == "ASIA") && strings.ToUpper(value) == value
}

// publicForms are public keys (PEM, SSH, DER in base64, JSON; private ones were
// found by their form) and publishable ones.
var publicForms = []string{
	"-----BEGIN", "ssh-", "ecdsa-", "AAAAB3Nza", "AAAAC3Nza", "AAAAE2Vj", "MIIBIjANBgkq", "MIICIjANBgkq", "MFkwEwYH", "MCowBQYDK2Vw", `{"kty"`, `{"keys"`,
	"pk_live_", "pk_test_", "pk.eyJ", "sb_publishable_",
}

var flagWords = []string{"true", "false", "yes", "no", "on", "off", "enabled", "disabled", "enable", "disable", "required", "optional", "auto", "always", "never"}

func isFlag(value string) bool {
	return len(value) == 1 || slices.ContainsFunc(flagWords, func(flag string) bool { return strings.EqualFold(flag, value) })
}

func isNumber(value string) bool {
	return value != "" && strings.Trim(value, "0123456789_.") == ""
}

func isDuration(value string) bool {
	number := strings.TrimRight(value, "nuµmshdw")
	return number != value && isNumber(number)
}

// isHost wants two dots, or a dot and a port: a password may have one.
func isHost(value string) bool {
	host, port, colon := strings.Cut(value, ":")
	return strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-.") == "" && (strings.Count(host, ".") > 1 && !colon || strings.Contains(host, ".") && isNumber(port))
}

// isStandIn tells whether a value only stands where a secret should, or names
// where it is.
func isStandIn(value string) bool {
	return isPlaceholder(value) || isReference(value)
}

func isPlaceholder(value string) bool {
	if strings.Trim(value, "*xX•.#-_? ") == "" || strings.Contains(value, "-") && strings.Trim(value, "0-") == "" { // a mask, the nil UUID
		return true
	}
	begin, end := value[0], value[len(value)-1]
	switch {
	case len(value) == 1:
		return false // a flag
	case len(value) == 2 && begin == '%': // %s
		return true
	case begin == '<' && end == '>', begin == '[' && end == ']', begin == '{' && end == '}', begin == '@' && end == '@', begin == '%' && end == '%',
		strings.HasPrefix(value, "__") && strings.HasSuffix(value, "__"):
		// A word or a few in brackets; a JSON document is not.
		if len(value) <= maxWord && strings.Trim(value[1:len(value)-1], alphanumeric+"<>{}_-. $/|@%") == "" {
			return true
		}
	}
	// The letters of its words, in lower case.
	var buffer [64]byte
	letters := buffer[:0]
	for i := 0; i < len(value) && len(letters) < len(buffer); i++ {
		switch c := value[i]; {
		case isUpper(c):
			letters = append(letters, c+'a'-'A')
		case isLower(c) || isDigit(c):
			letters = append(letters, c)
		}
	}
	switch string(letters) {
	case "changeit", "todo", "tbd", "fixme", "null", "nil", "none", "undefined", "na", "unset", "notset", "empty", "setme", "fillme", "fillmein",
		"placeholder", "example", "dummy", "redacted", "masked", "hidden", "insertkeyhere", "secrethere", "keyhere", "tokenhere", "passwordhere":
		return true
	}
	if strings.ContainsAny(value, "0123456789") {
		return false // changeme123 is somebody's password
	}
	for _, begin := range []string{"changeme", "changethis", "pleasechange", "replaceme", "replacethis", "replacewith"} {
		if n := len(begin); len(letters) >= n && string(letters[:n]) == begin {
			return true
		}
	}
	return hasYour(value)
}

// hasYour finds "your" as a word: your-api-key, enter_your_token_here.
func hasYour(value string) bool {
	for i := 0; i+5 <= min(len(value), maxWord); i++ {
		if (i == 0 || !isLetter(value[i-1])) && strings.EqualFold(value[i:i+4], "your") && strings.IndexByte("_- ", value[i+4]) >= 0 {
			return true
		}
	}
	return false
}

// referencePrefixes are how a value says that the secret is elsewhere: in a variable,
// a template, a store, a file; or that it is encrypted.
var referencePrefixes = []string{
	"${", "$(", "{{", "#{", "%(", "<%", "vault:", "arn:aws:", "sm://", "op://", "ssm:", "awssm:", "aws-ssm:", "secretmanager:", "secretsmanager:", "gcp-secret:", "scw-secret:",
	"secret://", "keyvault:", "@microsoft.keyvault", "kms:", "alias/", "projects/", "ref+", "file:", "env:", "secretkeyref", "valuefrom", "enc[", "enc(", "var.", "secrets.", "process.env.",
	"/run/", "/var/", "/etc/", "/secrets/", "/mnt/", "/tmp/", "/opt/", "/home/", "/usr/", "/srv/", "/root/", "/app/", "/data/", "/config/", "./", "../", "~/",
}

// fileSuffixes end what is a path, wherever it begins.
var fileSuffixes = []string{".pem", ".key", ".json", ".p12", ".pfx", ".crt", ".jks", ".txt", ".yaml", ".yml"}

func isReference(value string) bool {
	for _, prefix := range referencePrefixes {
		if len(value) > len(prefix) && strings.EqualFold(value[:len(prefix)], prefix) || strings.EqualFold(value, prefix) {
			return true
		}
	}
	if slices.ContainsFunc(fileSuffixes, func(suffix string) bool { return strings.HasSuffix(value, suffix) }) ||
		strings.Contains(value, "${") || strings.Contains(value, "{{") {
		return true
	}
	// $NAME: a password may begin with a dollar, but a variable is in capitals.
	name, ok := strings.CutPrefix(value, "$")
	return ok && name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

const alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

func isUpper(c byte) bool        { return 'A' <= c && c <= 'Z' }
func isLower(c byte) bool        { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool        { return '0' <= c && c <= '9' }
func isAlphanumeric(c byte) bool { return isLower(c) || isUpper(c) || isDigit(c) }

// isLetter tells what a name's words are made of; beyond ASCII, all is.
func isLetter(c byte) bool { return isAlphanumeric(c) || c >= 0x80 }
