package collector

import (
	"encoding/base64"
	"strings"
	"testing"
)

// fake joins pieces, so that no scanner takes the fakes in this file for what
// they imitate.
func fake(pieces ...string) string { return strings.Join(pieces, "") }

var (
	fakeJWT = fake("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", ".eyJzdWIiOiIxMjM0NTY3ODkwIn0", ".dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U")
	fakePEM = fake("-----BEGIN ", "PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END ", "PRIVATE KEY-----")
	uuid    = "6b3d3786-c7bd-47c8-b0e4-daabfa8f4e2e"
	hex40   = strings.Repeat("0123456789abcdef", 3)[:40]
)

// planted are secrets, by the kind that they are found as.
var planted = map[string][][2]string{
	kindURLPassword: {
		{"DATABASE_URL", "postgres://shop:hunter2@db.internal:5432/shop?sslmode=require"},
		{"DB", "mysql://root:root@tcp(localhost:3306)/db"},
		{"REDIS_URL", "redis://:hunter2@cache:6379/0"},
		{"REDIS", "rediss://default:p%40ss@cache:6379"},
		{"AMQP", "amqp://guest:guest@mq:5672/"},
		{"MONGO_URI", "mongodb+srv://app:s3cret@cluster0.example.net/?retryWrites=true"},
		{"UPSTREAM", "https://admin:admin@internal.example.com/api"},
		{"SMTP", "smtp://mailer:a/b@mail.example.com:587"},
		{"URLS", "http://a.example, http://u:pw@b.example"},
		{"JDBC", "jdbc:postgresql://u:pw@host/db"},
		{"FTP", "ftp://anonymous:me@example.com@ftp.example.com"},
		{"SENTRY_DSN", "https://public:private@sentry.example.com/1"},
	},
	kindDSN: {
		{"PG", "host=db user=app password=hunter2 dbname=shop"},
		{"SQLSERVER", "Server=tcp:x.example.net,1433;User ID=sa;Password=hunter2;Encrypt=true"},
		{"AZURE_STORAGE", "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=" + fake("Zm9v", "YmFy==") + ";EndpointSuffix=core"},
		{"BUS", "Endpoint=sb://x.example.net/;SharedAccessKeyName=Root;SharedAccessKey=abcdefgh="},
		{"JDBC_URL", "jdbc:mysql://db/shop?user=app&password=hunter2"},
		{"ODBC", "Driver={PostgreSQL};Uid=app;Pwd=hunter2"},
	},
	kindPrivateKey: {
		{"TLS", fakePEM},
		{"K", fake("-----BEGIN RSA ", "PRIVATE KEY-----")},
		{"SSH", fake("-----BEGIN OPENSSH ", "PRIVATE KEY-----\nb3Bl")},
		{"PGP", fake("-----BEGIN PGP ", "PRIVATE KEY BLOCK-----")},
		{"GOOGLE_APPLICATION_CREDENTIALS_JSON", `{"type":"service_account","private_key":"` + fake("-----BEGIN ", `PRIVATE KEY-----\nMIIE`) + `"}`},
		{"AGE", fake("AGE-SECRET-", "KEY-1", strings.Repeat("Q", 58))},
	},
	kindJWT: {
		{"X", fakeJWT}, {"SUPABASE_ANON", fakeJWT}, {"QUOTED", `"` + fakeJWT + `"`},
		{"UNSIGNED", fake("eyJhbGciOiJub25lIn0", ".e30.")},
	},
	kindAuthHeader: {
		{"HEADER", "Basic dXNlcjpodW50ZXIy"}, {"AUTHORIZATION", "Bearer abcdefgh12345678"}, {"X", "bearer 0123456789abcdef"},
	},
	"AWS access key":        {{"AWS_ACCESS_KEY_ID", fake("AKIA", "IOSFODNN7EXAMPLE")}, {"K", fake("ASIA", "IOSFODNN7EXAMPLE")}},
	"Google API key":        {{"MAPS", fake("AIza", strings.Repeat("a", 35))}},
	"Google client secret":  {{"G", fake("GOCSPX-", strings.Repeat("a", 28))}},
	"Google access token":   {{"G", fake("ya29.", strings.Repeat("a", 40))}},
	"GitHub token":          {{"GH", fake("ghp_", strings.Repeat("a", 36))}, {"GH", fake("gho_", strings.Repeat("a", 36))}, {"GH", fake("ghs_", strings.Repeat("a", 36))}, {"GH", fake("github_pat_", strings.Repeat("a", 60))}},
	"GitLab token":          {{"GL", fake("glpat-", strings.Repeat("a", 20))}, {"GL", fake("glrt-", strings.Repeat("a", 20))}},
	"Slack token":           {{"S", fake("xoxb-", "1234567890-abcdef")}, {"S", fake("xapp-", "1-A0123456789")}, {"S", fake("xoxp-", "1234567890-abcdef")}},
	"Slack webhook":         {{"S", fake("https://hooks.slack.com/services/", "T000/B000/XXXX")}},
	"Discord webhook":       {{"D", fake("https://discord.com/api/webhooks/", "123456/abcdef")}},
	"Stripe key":            {{"S", fake("sk_live_", "4eC39HqLyjWDarjtT1")}, {"S", fake("sk_test_", "4eC39HqLyjWDarjtT1")}, {"S", fake("rk_live_", "4eC39HqLyjWDarjtT1")}},
	"Stripe webhook secret": {{"S", fake("whsec_", "abcdefghijklmnop")}},
	"SendGrid key":          {{"S", fake("SG.", strings.Repeat("a", 22), ".", strings.Repeat("b", 43))}},
	"Mailgun key":           {{"M", fake("key-", strings.Repeat("a", 32))}},
	"npm token":             {{"N", fake("npm_", strings.Repeat("a", 36))}},
	"PyPI token":            {{"P", fake("pypi-", strings.Repeat("a", 60))}},
	"OpenAI key":            {{"O", fake("sk-", strings.Repeat("a", 48))}, {"O", fake("sk-proj-", strings.Repeat("a", 48))}},
	"Anthropic key":         {{"A", fake("sk-ant-", strings.Repeat("a", 48))}},
	"Hugging Face token":    {{"H", fake("hf_", strings.Repeat("a", 34))}},
	"DigitalOcean token":    {{"D", fake("dop_v1_", strings.Repeat("a", 64))}},
	"Shopify token":         {{"S", fake("shpat_", strings.Repeat("a", 32))}},
	"Vault token":           {{"V", fake("hvs.", strings.Repeat("a", 24))}},
	"Grafana token":         {{"G", fake("glsa_", strings.Repeat("a", 32))}, {"G", fake("glc_", strings.Repeat("a", 32))}},
	"Doppler token":         {{"D", fake("dp.st.", strings.Repeat("a", 40))}},
	"Linear key":            {{"L", fake("lin_api_", strings.Repeat("a", 40))}},
	"Postman key":           {{"P", fake("PMAK-", strings.Repeat("a", 40))}},
	kindByName: {
		// Weak passwords are the ones that matter most.
		{"DB_PASSWORD", "hunter2"}, {"ADMIN_PASSWORD", "admin"}, {"POSTGRES_PASSWORD", "postgres"}, {"PASSWORD", "password"}, {"PASSWORD", "123456"},
		{"PASSWORD", "a b c"}, {"PASSWORD", "$ecret"}, {"PASSWORD", "P@ssw0rd!"}, {"PASSWORD", "test"}, {"PASSWORD", "secret"}, {"ROOT_PASSWORD", "0000"},
		// However the name is written.
		{"dbPassword", "hunter2"}, {"db.password", "hunter2"}, {"db-password", "hunter2"}, {"DBPassword", "hunter2"}, {"DBPASSWORD", "hunter2"}, {"db_passwd", "hunter2"},
		{"MYSQL_PWD", "hunter2"}, {"SMTP_PASS", "hunter2"}, {"KEY_PASSPHRASE", "correct horse"}, {"SITE_PASSWORD", "hunter2"}, {"PUBLIC_SITE_PASSWORD", "hunter2"},
		{"CLIENT_SECRET", "abc123"}, {"clientSecret", "abc123"}, {"OAUTH_CLIENT_SECRET", "abc"}, {"WEBHOOK_SECRET", "abc123"}, {"JWT_SECRET", "s3cr3t"}, {"SESSION_SECRET", "keyboard cat"}, {"SECRET", "x1"},
		{"API_KEY", "abc123"}, {"APIKEY", "abc123"}, {"apiKey", "abc123"}, {"DD_API_KEY", hex40}, {"STRIPE_API_KEY", "abc"}, {"X_API_KEY", "abc"},
		{"AUTH_TOKEN", "abc123"}, {"ACCESS_TOKEN", "abc123"}, {"accessToken", "abc123"}, {"BOT_TOKEN", fake("123456:", "ABC-DEF")}, {"NPM_TOKEN", uuid}, {"TOKEN", "abc123"},
		{"PRIVATE_KEY", "MIIEvQIBADANBgkq"}, {"SIGNING_KEY", "abc123"}, {"ENCRYPTION_KEY", hex40}, {"MASTER_KEY", "abc"}, {"HMAC_KEY", "abc"}, {"ACCOUNT_KEY", "abc"},
		{"AWS_SECRET_ACCESS_KEY", fake("wJalrXUtnFEMI/K7MDENG/", "bPxRfiCYEXAMPLEKEY")}, {"SECRET_ACCESS_KEY", "abc"}, {"SCW_SECRET_KEY", uuid}, {"SCALEWAY_SECRET_KEY", uuid},
		{"CREDENTIALS", "user:hunter2"}, {"GOOGLE_CREDENTIALS", `{"client_email":"x"}`}, {"LICENSE_KEY", "AAAA-BBBB"}, {"SIM_PIN", "1234"},
		{"TOKEN", "key"}, {"DB_PASSWORD", "postgres"}, {"DB_PASSWORD", "yourmom"}, {"SECRET_KEY_BASE", hex40}, {"RAILS_MASTER_KEY", hex40}, {"DJANGO_SECRET_KEY", "django-insecure-abc"},
		{"CLOUDFLARE_API_TOKEN", hex40}, {"TWILIO_AUTH_TOKEN", hex40}, {"DATADOG_API_KEY", hex40}, {"PASSWORD_SALT_SECRET", "x1y2"}, {"FOO_TOKEN", "12345"},
	},
}

// harmless are what must raise no alarm.
var harmless = [][2]string{
	// Settings.
	{"LOG_LEVEL", "info"}, {"PORT", "8080"}, {"HOST", "0.0.0.0"}, {"NODE_ENV", "production"}, {"TZ", "Europe/Paris"}, {"LANG", "en_US.UTF-8"}, {"DEBUG", "true"},
	{"REGION", "fr-par"}, {"VERSION", "1.2.3"}, {"SCHEDULE", "0 3 * * *"}, {"GREETING", "Hello, world: it is nice"}, {"TIMEOUT", "30s"}, {"WORKERS", "4"}, {"EMPTY", ""}, {"SPACES", "   "},
	{"JSON", `{"a":1}`}, {"LIST", "a,b,c"}, {"REGEX", "^[a-z]+$"}, {"EMAIL", "ops@example.com"}, {"PATH", "/usr/bin:/bin"}, {"COLOR", "#ff00ff"}, {"QUERY", "a=1&b=2"},
	// Identifiers.
	{"PROJECT_ID", uuid}, {"SCW_DEFAULT_PROJECT_ID", uuid}, {"SCW_ACCESS_KEY", "SCWXXXXXXXXXXXXXXXXX"}, {"AWS_ACCESS_KEY", "my-key"}, {"CLIENT_ID", "abc123"}, {"TOKEN_ID", uuid}, {"SECRET_ID", uuid},
	{"API_KEY_ID", uuid}, {"KEY_ID", "abc"}, {"SECRET_NAME", "db-password"}, {"SECRET_ARN", "x"}, {"GIT_SHA", hex40}, {"IMAGE_DIGEST", "sha256:" + hex40}, {"ETAG", hex40}, {"TENANT", uuid}, {"COMMIT", hex40},
	{"BUILD_ID", "12345"}, {"REQUEST_KEY", "request"}, {"SORT_KEY", "created_at"}, {"PARTITION_KEY", "id"}, {"CACHE_KEY", "v1"}, {"KEY", "value"}, {"PRIMARY_KEY", "id"},
	{"ORGANIZATION_ID", uuid}, {"FUNCTION_ID", uuid}, {"TRACE_ID", hex40}, {"FINGERPRINT", "SHA256:abc"}, {"CHECKSUM", hex40}, {"S3_BUCKET", "backups"}, {"QUEUE", "refunds"}, {"TOPIC", "events"},
	{"FOREIGN_KEY", "user_id"}, {"GPG_KEY_ID", "0xDEADBEEF"}, {"MAP_KEY", "name"}, {"KEYCLOAK_REALM", "shop"}, {"ACCESS_KEY", "SCWXXXXXXXXXXXXXXXXX"}, {"SECRETS_COUNT", "3"}, {"TOKEN_NAME", "ci"},
	// About secrets, and none.
	{"PASSWORD_MIN_LENGTH", "12"}, {"TOKEN_TTL", "3600"}, {"TOKEN_EXPIRY", "1h"}, {"MAX_TOKENS", "4096"}, {"TOKENS", "4096"}, {"NUM_TOKENS", "7"}, {"TOKEN_LIMIT", "1000"}, {"SECRET_ROTATION_DAYS", "90"},
	{"PASSWORD_FILE", "/run/secrets/db"}, {"DB_PASSWORD_FILE", "secrets/db"}, {"TOKEN_PATH", "abc"}, {"TOKEN_URL", "https://auth.example.com/token"}, {"TOKEN_ENDPOINT", "https://auth.example.com/token"},
	{"TOKEN_ISSUER", "https://auth.example.com"}, {"TOKEN_AUDIENCE", "shop"}, {"TOKEN_HEADER", "X-Auth-Token"}, {"TOKEN_TYPE", "Bearer"}, {"SECRET_PROVIDER", "vault"}, {"SECRET_STORE", "vault"}, {"PASSWORD_POLICY", "strict"},
	{"PASSWORD_HASH_ALGORITHM", "argon2id"}, {"SECRETS_MANAGER", "scaleway"}, {"CREDENTIALS_PROVIDER", "env"}, {"JWT_ALGORITHM", "RS256"}, {"PASSWORD_FIELD", "pwd"}, {"SECRET_MODE", "strict"}, {"TOKEN_VERSION", "2"},
	{"API_KEY_HEADER", "X-API-Key"}, {"TOKEN_COOKIE", "session"}, {"PASSWORD_REGEX", "^.{12,}$"},
	// Flags.
	{"ENABLE_TOKEN_AUTH", "true"}, {"PASSWORD_LOGIN", "false"}, {"SECRET_SCANNING", "on"}, {"TOKEN_REFRESH", "enabled"}, {"USE_PASSWORD", "yes"}, {"REQUIRE_TOKEN", "1"}, {"DISABLE_PASSWORD", "TRUE"}, {"FEATURE_TOKENS", "true"},
	// Words that only look alike.
	{"TOKENIZER", "bert-base"}, {"AUTHOR", "jane"}, {"PASSENGER", "12"}, {"COMPASS", "north"}, {"KEYBOARD", "qwerty"}, {"MONKEY", "banana"}, {"SECRETARY", "jane"}, {"BYPASS", "none"}, {"PINNED", "yes please"}, {"HOTKEY", "ctrl"},
	{"PASSING_GRADE", "5"}, {"DEPASSEMENT", "oui"}, {"TURNKEY", "abc"}, {"PASSTHROUGH", "all"}, {"SPINNER", "dots"},
	// Public by design.
	{"PUBLIC_KEY", "MIIBIjANBgkq"}, {"JWT_PUBLIC_KEY", "-----BEGIN PUBLIC KEY-----\nMIIB"}, {"TLS_CERT", "-----BEGIN CERTIFICATE-----\nMIID"}, {"SSH_KEY", "ssh-ed25519 AAAAC3Nz ops@example"},
	{"STRIPE_PUBLISHABLE_KEY", "pk_live_abcdefghijklmnop"}, {"STRIPE_API_KEY", "pk_test_abcdefghijklmnop"}, {"NEXT_PUBLIC_API_KEY", "abc123"}, {"PUBLIC_TOKEN", "abc123"}, {"SIGNING_KEY", "-----BEGIN PUBLIC KEY-----"},
	// URLs without a password.
	{"API_URL", "https://api.example.com/v1?x=1"}, {"DATABASE_URL", "postgres://db.internal:5432/shop"}, {"DATABASE_URL", "postgres://shop@db.internal/shop"}, {"SENTRY_DSN", "https://0123456789abcdef@o1.ingest.example.com/2"},
	{"URL", "http://[::1]:8080/a@b"}, {"URL", "https://example.com:8443/users/@me"}, {"URL", "https://example.com/?mail=a:b@c.example"}, {"REPO", "git@github.com:scwatch/scwatch.git"}, {"MAIL", "mailto:a@b.example"}, {"AUTH_TOKEN_SERVICE", "https://auth.example.com"},
	{"DATABASE_URL", "postgres://shop:${DB_PASSWORD}@db/shop"}, {"DATABASE_URL", "postgres://shop:$DB_PASSWORD@db/shop"}, {"DATABASE_URL", "postgres://shop:%s@db/shop"}, {"DATABASE_URL", "postgres://shop:***@db/shop"}, {"DATABASE_URL", "postgres://shop:<password>@db/shop"},
	{"DATABASE_URL", "postgres://shop:changeme@db/shop"}, {"DATABASE_URL", "postgres://shop:{{password}}@db/shop"}, {"DATABASE_URL", "postgres://shop:@db/shop"}, {"DATABASE_URL", "postgres://user:xxxx@db/shop"},
	{"PG", "host=db user=app dbname=shop"}, {"PG", "host=db password=${PW}"}, {"PG", "host=db password=*** user=a"}, {"OPTS", "token=true x=1"}, {"ARGS", "--password --user app"}, {"SINGLE", "password=hunter2"[:8]},
	// Placeholders.
	{"DB_PASSWORD", "changeme"}, {"DB_PASSWORD", "CHANGE_ME"}, {"DB_PASSWORD", "change-me"}, {"API_KEY", "<your-api-key>"}, {"API_KEY", "your-api-key"}, {"API_KEY", "YOUR_API_KEY"}, {"TOKEN", "REPLACE_ME"}, {"TOKEN", "todo"}, {"TOKEN", "TBD"},
	{"TOKEN", "null"}, {"TOKEN", "none"}, {"TOKEN", "undefined"}, {"TOKEN", "***"}, {"TOKEN", "********"}, {"TOKEN", "xxxxxxxx"}, {"TOKEN", "XXXX"}, {"TOKEN", "..."}, {"TOKEN", "placeholder"}, {"TOKEN", "[redacted]"}, {"TOKEN", "<secret>"}, {"TOKEN", `""`}, {"TOKEN", "n/a"}, {"TOKEN", "-"}, {"TOKEN", "•••"},
	// References.
	{"DB_PASSWORD", "${DB_PASSWORD}"}, {"DB_PASSWORD", "$DB_PASSWORD"}, {"DB_PASSWORD", "{{ .Values.password }}"}, {"DB_PASSWORD", "%(password)s"}, {"DB_PASSWORD", "$(cat /run/secrets/db)"}, {"DB_PASSWORD", "%DB_PASSWORD%"},
	{"DB_PASSWORD", "vault:secret/data/db#password"}, {"DB_PASSWORD", "arn:aws:secretsmanager:eu-west-3:123:secret:db"}, {"DB_PASSWORD", "sm://project/db"}, {"DB_PASSWORD", "op://vault/db/password"}, {"DB_PASSWORD", "scw-secret:db"},
	{"DB_PASSWORD", "/run/secrets/db"}, {"TLS_PRIVATE_KEY", "/etc/tls/tls.key"}, {"CREDENTIALS", "./credentials.json"}, {"API_KEY", "projects/1/secrets/x/versions/1"}, {"TOKEN", "file:///run/token"}, {"TOKEN", "env:TOKEN"}, {"TOKEN", "ref+vault://x"},
	// Forms that are not quite a secret's.
	{"X", "eyJ"}, {"X", "eyJmb28iOiJiYXIifQ.e30.abc"}, {"X", "a.b.c"}, {"X", "AKIA"}, {"X", "ghp_"}, {"X", "sk-learn"}, {"X", "key-value"}, {"X", "Basic plan"}, {"X", "Bearer"}, {"X", "basic <credentials>"}, {"X", "SG.1"}, {"X", "hf_hub"}, {"X", "npm_config"},
}

func TestPlaintextSecretFinds(t *testing.T) {
	n := 0
	for kind, all := range planted {
		for _, variable := range all {
			n++
			if got, found := plaintextSecret(variable[0], variable[1]); got != kind {
				t.Errorf("%s=%s is %q (found %v), want %q", variable[0], variable[1], got, found, kind)
			}
		}
	}
	if n < 120 {
		t.Errorf("%d planted secrets, want at least 120", n)
	}
}

func TestPlaintextSecretRaisesNoFalseAlarm(t *testing.T) {
	for _, variable := range harmless {
		if kind, found := plaintextSecret(variable[0], variable[1]); found {
			t.Errorf("%s=%s is taken for %s", variable[0], variable[1], kind)
		}
	}
	if len(harmless) < 200 {
		t.Errorf("%d harmless variables, want at least 200", len(harmless))
	}
}

// White space and quotes around a value change nothing.
func TestPlaintextSecretIgnoresQuotes(t *testing.T) {
	check := func(name, value string) {
		want, _ := plaintextSecret(name, value)
		for _, around := range []string{" ", "\n", `"`, `'`} {
			if got, _ := plaintextSecret(name, around+value+around); got != want {
				t.Errorf("%s=%q is %q, and %q within %q", name, value, want, got, around)
			}
		}
	}
	for _, all := range planted {
		for _, variable := range all {
			check(variable[0], variable[1])
		}
	}
	for _, variable := range harmless {
		check(variable[0], variable[1])
	}
}

func FuzzPlaintextSecret(f *testing.F) {
	kinds := map[string]bool{"": true}
	for kind, all := range planted {
		kinds[kind] = true
		for _, variable := range all {
			f.Add(variable[0], variable[1])
		}
	}
	for _, variable := range harmless {
		f.Add(variable[0], variable[1])
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		kind, found := plaintextSecret(name, value)
		if found != (kind != "") || !kinds[kind] {
			t.Errorf("%q is no kind that is known", kind)
		}
	})
}

func BenchmarkPlaintextSecret(b *testing.B) {
	for name, variable := range map[string][2]string{
		"setting":  {"LOG_LEVEL", "info"},
		"url":      {"API_URL", "https://api.example.com/v1"},
		"password": {"DB_PASSWORD", "hunter2"},
		"hostile":  {strings.Repeat("A_", 1<<19), strings.Repeat("://:@", 1<<18)},
		"long":     {"CERTIFICATE", base64.StdEncoding.EncodeToString(make([]byte, 1<<20))},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				plaintextSecret(variable[0], variable[1])
			}
		})
	}
}
