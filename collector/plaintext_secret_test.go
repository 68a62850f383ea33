package collector

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

// variable is one to judge, with the reason where one could judge otherwise.
type variable struct{ name, value, why string }

// fake joins pieces, so that no scanner takes the fakes in this file for what
// they imitate.
func fake(pieces ...string) string { return strings.Join(pieces, "") }

var (
	a20, a32, a40, a64 = strings.Repeat("a", 20), strings.Repeat("a", 32), strings.Repeat("a", 40), strings.Repeat("a", 64)

	fakeJWT       = fake("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", ".eyJzdWIiOiIxMjM0NTY3ODkwIn0", ".dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U")
	fakePEM       = fake("-----BEGIN ", "PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END ", "PRIVATE KEY-----")
	fakeAWSID     = fake("AKIA", "IOSFODNN7EXAMPLE")
	fakeAWSSecret = fake("wJalrXUtnFEMI/K7MDENG/", "bPxRfiCYEXAMPLEKEY")
	uuid          = "6b3d3786-c7bd-47c8-b0e4-daabfa8f4e2e"
	hex32         = strings.Repeat("0123456789abcdef", 2)
	hex40         = hex32 + "01234567"
	randomKey     = fake("Zk3", "p9QwX7", "vB2nM5", "tR8yL1c")
)

// planted are secrets, by the kind that they are found as.
var planted = map[string][]variable{
	kindURL: {
		{"DATABASE_URL", "postgres://shop:hunter2@db.internal:5432/shop?sslmode=require", ""},
		{"DB", "mysql://root:root@tcp(localhost:3306)/db", "a bad password is one, and localhost in a function is a real host"},
		{"DB_DSN", "shop:hunter2@tcp(db.internal:3306)/shop?parseTime=true", "Go's MySQL driver has no scheme"},
		{"REDIS_URL", "redis://:hunter2@cache:6379/0", ""},
		{"REDIS", "rediss://default:p%40ss@cache:6379", ""},
		{"CACHE", "redis://:hunter2@[fd00::1]:6379", ""},
		{"AMQP", "amqp://guest:guest@mq:5672/", ""},
		{"MONGO_URI", "mongodb+srv://app:s3cret@cluster0.example.net/?retryWrites=true", ""},
		{"MONGO_URI", "mongodb://app:s3cret@a.example.net,b.example.net/?replicaSet=x", ""},
		{"UPSTREAM", "https://admin:admin@internal.example.com/api", ""},
		{"HTTPS_PROXY", "http://proxy:hunter2@proxy.example.com:3128", ""},
		{"SMTP", "smtp://mailer:a/b@mail.example.com:587", "a slash that nobody escaped"},
		{"AMQP_URL", "amqp://app:a?b#c@mq", "nor this"},
		{"URLS", "http://a.example, http://u:pw@b.example", "the second of a list"},
		{"URLS", "http://a.example,http://u:pw@b.example", ""},
		{"JDBC", "jdbc:postgresql://u:pw@host/db", ""},
		{"FTP", "ftp://anonymous:me@example.com@ftp.example.com", "an @ that nobody escaped"},
		{"SENTRY_DSN", "https://public:private@sentry.example.com/1", "the old form, with a secret half"},
		{"NEXT_PUBLIC_API", "https://u:pw@api.example.com", "a name makes no password public"},
		{"GIT_REMOTE", "clone https://oauth2:abcdef@git.example.com/x.git now", "within a text"},
		{"TOKEN_URL", "https://u:pw@auth.example.com/token", "the name disarms, the form does not"},
		{"DATABASE_URL", "postgres://user:password@db/shop", "as weak as it is common"},
	},
	kindSetting: {
		{"PG", "host=db user=app password=hunter2 dbname=shop", ""},
		{"PG", "password = 'hunter2' host = db", ""},
		{"SQLSERVER", "Server=tcp:x.example.net,1433;User ID=sa;Password=hunter2;Encrypt=true", ""},
		{"AZURE_STORAGE", "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=" + fake("Zm9v", "YmFy==") + ";EndpointSuffix=core", ""},
		{"BUS", "Endpoint=sb://x.example.net/;SharedAccessKeyName=Root;SharedAccessKey=abcdefgh=", ""},
		{"SAS", "https://x.blob.example.net/c?sv=2020-08-04&se=2030-01-01&sig=" + fake("Ab3%2F", randomKey, "%3D"), ""},
		{"JDBC_URL", "jdbc:mysql://db/shop?user=app&password=hunter2", ""},
		{"ODBC", "Driver={PostgreSQL};Uid=app;Pwd=hunter2", ""},
		{"JAVA_OPTS", "-Xmx1g -Dspring.datasource.password=hunter2", ""},
		{"ARGS", "--user=app --password=hunter2", ""},
		{"SINGLE", "password=hunter2", "one setting is one too many"},
		{"CALLBACK", "https://api.example.com/hook?token=abc123", ""},
		{"OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a,x-api-key=abc123", ""},
		{"CONFIG", `{"db": {"user": "app", "password": "hunter2"}}`, ""},
		{"CONFIG", `{\"apiKey\":\"abc123\"}`, "escaped JSON"},
		{"DOTENV", "PORT=8080\nDB_PASSWORD=hunter2\n", "a whole file in a variable"},
		{"WG", "[Interface]\nPrivateKey = " + fake("Zm9v", "YmFy=") + "\n", ""},
		{"AWS_INI", "[default]\naws_access_key_id=" + fakeAWSID + "\naws_secret_access_key=" + fakeAWSSecret, ""},
		{"LAST", strings.Repeat("a=b;", 50_000) + "password=hunter2", "at the end of a long value"},
	},
	kindPrivateKey: {
		{"TLS", fakePEM, ""}, {"TLS_PATH", fakePEM, "the name disarms, the form does not"}, {"PUBLIC_KEY", fakePEM, "somebody pasted the wrong half"},
		{"K", fake("-----BEGIN RSA ", "PRIVATE KEY-----"), ""}, {"K", fake("-----BEGIN EC ", `PRIVATE KEY-----\nMHcC`), ""},
		{"SSH", fake("-----BEGIN OPENSSH ", "PRIVATE KEY-----\nb3Bl"), ""}, {"PGP", fake("-----BEGIN PGP ", "PRIVATE KEY BLOCK-----"), ""},
		{"BUNDLE", "-----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----\n" + fakePEM, ""},
		{"GOOGLE_APPLICATION_CREDENTIALS_JSON", `{"type":"service_account","private_key":"` + fake("-----BEGIN ", `PRIVATE KEY-----\nMIIE`) + `"}`, ""},
		{"GCP", base64.StdEncoding.EncodeToString([]byte(`{"type":"service_account","project_id":"shop","private_key_id":"0123"}`)), "in base64"},
		{"GCP", base64.StdEncoding.EncodeToString([]byte("{\n  \"type\": \"service_account\",\n  \"project_id\": \"shop\",\n  \"private_key_id\": \"0123\"}")), ""},
		{"TLS", base64.StdEncoding.EncodeToString([]byte(fakePEM)), ""},
		{"JWK", `{"kty":"RSA","n":"AQAB","d":"` + a20 + `"}`, ""},
		{"AGE", fake("AGE-SECRET-", "KEY-1", strings.Repeat("Q", 58)), ""}, {"PPK", fake("PuTTY-User-", "Key-File-3: ssh-ed25519"), ""},
	},
	kindJWT: {
		{"X", fakeJWT, ""}, {"SUPABASE_SERVICE_ROLE", fakeJWT, ""}, {"QUOTED", `"` + fakeJWT + `"`, ""}, {"IN_JSON", `{"jwt":"` + fakeJWT + `"}`, ""},
		{"UNSIGNED", fake("eyJhbGciOiJub25lIn0", ".e30."), "worse than a signed one"},
	},
	kindAuthHeader: {
		{"HEADER", "Basic dXNlcjpodW50ZXIy", ""}, {"AUTHORIZATION", "Bearer abcdefgh12345678", ""}, {"X", "bearer 0123456789abcdef", ""},
		{"OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20dXNlcjpodW50ZXIy", ""}, {"H", "Authorization: Basic dXNlcjpodW50ZXIy", ""},
	},
	kindHash: {
		{"HTPASSWD", "admin:" + fake("$2y$", "05$", strings.Repeat("a", 53)), "guessed offline, as fast as the guesser likes"},
		{"ADMIN_PASSWORD_HASH", fake("$2b$", "12$", strings.Repeat("a", 53)), ""}, {"H", fake("$2a$", "12$", strings.Repeat("a", 53)), ""},
		{"H", fake("$argon2", "id$v=19$m=65536,t=3,p=4$", a40), ""}, {"H", "root:" + fake("$6$", "salt$", a64), ""}, {"H", fake("$5$", "salt$", a40), ""}, {"H", "u:" + fake("$apr1$", "saltsalt$", a20), ""},
	},
	kindAWSSecret: {{"AWS", fakeAWSID + ":" + fakeAWSSecret, "the pair in one value"}, {"AWS", fake("ASIA", fakeAWSID[4:]) + ", " + fakeAWSSecret, ""}},
	kindGoogleKey: {{"MAPS", fake("AIza", strings.Repeat("a", 35)), ""}, {"MAPS_URL", "https://maps.example.com/js?key=" + fake("AIza", strings.Repeat("a", 35)), ""}},
	kindTelegram:  {{"BOT", fake("123456789", ":AAE", a32), ""}, {"NOTIFY", "https://api.telegram.org/bot" + fake("123456789", ":AAE", a32) + "/sendMessage", ""}},

	"AWS session token":     {{"T", fake("IQoJb3JpZ2lu", a64), ""}, {"T", fake("FwoGZXIvYXdz", a64), ""}},
	"Google client secret":  {{"G", fake("GOCSPX-", a32), ""}},
	"Google access token":   {{"G", fake("ya29.", a40), ""}},
	"GitHub token":          {{"GH", fake("ghp_", a40), ""}, {"GH", fake("gho_", a40), ""}, {"GH", fake("ghs_", a40), ""}, {"GH", fake("ghu_", a40), ""}, {"GH", fake("ghr_", a40), ""}, {"GH", fake("github_pat_", a64), ""}, {"REPO", "https://" + fake("ghp_", a40) + "@github.com/a/b", "a user that is a token"}},
	"GitLab token":          {{"GL", fake("glpat-", a20), ""}, {"GL", fake("glrt-", a20), ""}, {"GL", fake("gldt-", a20), ""}, {"GL", fake("glptt-", a20), ""}, {"GL", fake("glcbt-", a20), ""}, {"GL", fake("glft-", a20), ""}},
	"Slack token":           {{"S", fake("xoxb-", "1234567890-abcdef"), ""}, {"S", fake("xapp-", "1-A0123456789"), ""}, {"S", fake("xoxp-", "1234567890-abcdef"), ""}, {"S", fake("xoxa-", "2-1234567890"), ""}, {"S", fake("xoxr-", "1234567890-abcdef"), ""}, {"S", fake("xoxs-", "1234567890-abcdef"), ""}, {"S", fake("xoxe.", "xoxp-1-abcdef"), ""}},
	"Slack webhook":         {{"S", fake("https://hooks.slack.com", "/services/", "T000/B000/XXXX"), ""}, {"SLACK_URL", fake("https://hooks.slack.com", "/workflows/", "T000/A000/1234"), ""}, {"S", fake("https://hooks.slack.com", "/triggers/", "T000/1234/abcd"), ""}},
	"Discord webhook":       {{"D", fake("https://discord.com", "/api/webhooks/", "123456/abcdef"), ""}, {"D", fake("https://discordapp.com", "/api/webhooks/", "123456/abcdef"), ""}},
	"Teams webhook":         {{"T", fake("https://shop.webhook.office.com", "/webhookb2/", uuid, "@", uuid), ""}, {"T", fake("https://outlook.office.com", "/webhook/", uuid), ""}},
	"Stripe key":            {{"S", fake("sk_live_", "4eC39HqLyjWDarjtT1"), ""}, {"S", fake("sk_test_", "4eC39HqLyjWDarjtT1"), "opens the test account"}, {"S", fake("rk_live_", "4eC39HqLyjWDarjtT1"), ""}, {"S", fake("rk_test_", "4eC39HqLyjWDarjtT1"), ""}, {"NEXT_PUBLIC_STRIPE", fake("sk_live_", "4eC39HqLyjWDarjtT1"), "the wrong one was published"}},
	"Stripe webhook secret": {{"S", fake("whsec_", a20), ""}},
	"SendGrid key":          {{"S", fake("SG.", strings.Repeat("a", 22), ".", strings.Repeat("b", 43)), ""}},
	"Twilio API key":        {{"T", fake("SK", hex32), ""}},
	"Mailgun key":           {{"M", fake("key-", hex32), ""}},
	"Brevo key":             {{"B", fake("xkeysib-", a64, "-abc"), ""}, {"B", fake("xsmtpsib-", a64, "-abc"), ""}},
	"npm token":             {{"N", fake("npm_", a40), ""}, {"NPMRC", "//registry.npmjs.org/:_authToken=" + fake("npm_", a40), ""}},
	"PyPI token":            {{"P", fake("pypi-", a64), ""}},
	"RubyGems key":          {{"R", fake("rubygems_", a64), ""}},
	"Docker token":          {{"D", fake("dckr_pat_", a32), ""}},
	"OpenAI key":            {{"O", fake("sk-", a40), ""}, {"O", fake("sk-proj-", a40), ""}, {"O", fake("sk-svcacct-", a40), ""}, {"O", fake("sk-admin-", a40), ""}},
	"OpenRouter key":        {{"O", fake("sk-or-v1-", a64), ""}},
	"Anthropic key":         {{"A", fake("sk-ant-", "api03-", a40), ""}},
	"Groq key":              {{"G", fake("gsk_", a64), ""}},
	"Hugging Face token":    {{"H", fake("hf_", a32), ""}},
	"Replicate token":       {{"R", fake("r8_", a40), ""}},
	"DigitalOcean token":    {{"D", fake("dop_v1_", a64), ""}, {"D", fake("doo_v1_", a64), ""}},
	"Tailscale key":         {{"T", fake("tskey-", "auth-", a32), ""}},
	"Shopify token":         {{"S", fake("shpat_", a32), ""}, {"S", fake("shpss_", a32), ""}, {"S", fake("shpca_", a32), ""}, {"S", fake("shppa_", a32), ""}},
	"Vault token":           {{"V", fake("hvs.", a32), ""}, {"V", fake("hvb.", a32), ""}, {"V", fake("hvr.", a32), ""}},
	"Grafana token":         {{"G", fake("glsa_", a32), ""}, {"G", fake("glc_", a32), ""}},
	"Doppler token":         {{"D", fake("dp.st.", "prd.", a40), ""}, {"D", fake("dp.pt.", a40), ""}, {"D", fake("dp.sa.", a40), ""}, {"D", fake("dp.ct.", a40), ""}},
	"Sentry token":          {{"S", fake("sntrys_", a64), ""}, {"S", fake("sntryu_", a64), ""}},
	"New Relic key":         {{"N", fake("NRAK-", a32), ""}},
	"Linear key":            {{"L", fake("lin_api_", a40), ""}},
	"Postman key":           {{"P", fake("PMAK-", a20, "-", a32), ""}},
	"Atlassian token":       {{"A", fake("ATATT3", a64), ""}},
	"Supabase token":        {{"S", fake("sbp_", a40), ""}},
	"Supabase key":          {{"S", fake("sb_secret_", a32), ""}},
	"PlanetScale password":  {{"P", fake("pscale_pw_", a40), ""}},
	"Databricks token":      {{"D", fake("dapi", hex32), ""}},
	"Mapbox token":          {{"M", fake("sk.eyJ", a40, ".", a20), ""}},

	kindByName: {
		// Weak passwords are the ones that matter most.
		{"DB_PASSWORD", "hunter2", ""}, {"ADMIN_PASSWORD", "admin", ""}, {"POSTGRES_PASSWORD", "postgres", ""}, {"PASSWORD", "password", ""}, {"PASSWORD", "123456", ""},
		{"PASSWORD", "a b c", ""}, {"PASSWORD", "P@ssw0rd!", ""}, {"PASSWORD", "test", ""}, {"PASSWORD", "secret", ""}, {"ROOT_PASSWORD", "0000", ""}, {"PASSWORD", "default", "Redis and ClickHouse start with it"},
		{"PASSWORD", "$ecret", "a variable's name is in capitals"}, {"PASSWORD", "!!!!", ""}, {"PASSWORD", "пароль", ""}, {"DB_PASSWORD", "yourmom", "'your' is no word of its own"},
		{"DB_PASSWORD", "changeme123", "somebody did change it"}, {"PASSWORD", "/Kx9vQ2", "base64 may begin as a path does"}, {"PASSWORD", "fr-par", "a region's name is no excuse"}, {"DB_PASSWORD", "a.b.c", ""},
		// However the name is written.
		{"dbPassword", "hunter2", ""}, {"db.password", "hunter2", ""}, {"db-password", "hunter2", ""}, {"DB-PASSWORD", "hunter2", ""}, {"DBPassword", "hunter2", ""}, {"DBPASSWORD", "hunter2", ""}, {"dbpassword", "hunter2", ""},
		{"db_passwd", "hunter2", ""}, {"spring.datasource.password", "hunter2", ""}, {"Db__Password", "hunter2", ""}, {"DB_PASSWORD_2", "hunter2", ""}, {"PASSWORD1", "hunter2", ""}, {"PASSWORD_PROD", "123456", ""}, {"SECRETS_PASSWORD", "123456", ""}, {"db2Password", "hunter2", ""},
		{"MYSQL_PWD", "hunter2", ""}, {"SMTP_PASS", "hunter2", ""}, {"smtpPass", "hunter2", ""}, {"SMTPPass", "hunter2", ""}, {"PGPASSWORD", "hunter2", ""}, {"DB_PW", "hunter2", ""}, {"KEY_PASSPHRASE", "correct horse", ""}, {"SITE_PASSWORD", "hunter2", ""},
		{"PUBLIC_SITE_PASSWORD", "hunter2", "a password is never everybody's"}, {"NEXT_PUBLIC_CLIENT_SECRET", "abc", "nor is a client secret, which this one publishes"},
		{"DB_MDP", "hunter2", "French"}, {"MOT_DE_PASSE", "hunter2", ""}, {"API_JETON", "abc123", ""}, {"DB_PASSWORT", "hunter2", "German"},
		// Secrets and tokens.
		{"CLIENT_SECRET", "abc123", ""}, {"clientSecret", "abc123", ""}, {"OAUTH_CLIENT_SECRET", uuid, "a UUID where a secret belongs"}, {"WEBHOOK_SECRET", "abc123", ""}, {"JWT_SECRET", "s3cr3t", ""}, {"SESSION_SECRET", "keyboard cat", ""},
		{"SECRET", "x1", ""}, {"AUTH_TOKEN", "abc123", ""}, {"ACCESS_TOKEN", "abc123", ""}, {"accessToken", "abc123", ""}, {"BOT_TOKEN", fake("123456:", "ABC-DEF"), ""}, {"NPM_TOKEN", uuid, ""}, {"TOKEN", "abc123", ""}, {"FOO_TOKEN", "12345", "singular: not how many"},
		{"PASSWORD_SALT_SECRET", "x1y2", ""}, {"TWILIO_AUTH_TOKEN", hex32, ""}, {"CLOUDFLARE_API_TOKEN", hex40, ""}, {"TOKEN_GITHUB", "abc123", ""}, {"VAULT_TOKEN", "root", ""}, {"SECRET_KEY_BASE", hex40, ""}, {"TOKEN", "key", ""},
		// Keys.
		{"API_KEY", "abc123", ""}, {"APIKEY", "abc123", ""}, {"apiKey", "abc123", ""}, {"X_API_KEY", "abc", ""}, {"API_KEYS", "abc,def", ""}, {"DD_API_KEY", hex32, ""}, {"DD_APP_KEY", hex40, "behind a mere KEY, its form must show it"},
		{"PRIVATE_KEY", "MIIEvQIBADANBgkq", ""}, {"SIGNING_KEY", "abc123", ""}, {"ENCRYPTION_KEY", hex40, ""}, {"MASTER_KEY", "abc", ""}, {"HMAC_KEY", "abc", ""}, {"ACCOUNT_KEY", "abc", ""}, {"LICENSE_KEY", "AAAA-BBBB", "worth money"},
		{"AWS_SECRET_ACCESS_KEY", fakeAWSSecret, ""}, {"SECRET_ACCESS_KEY", "abc", ""}, {"ACCESS_KEY", fakeAWSSecret, "the wrong half"}, {"SCW_SECRET_KEY", uuid, "Scaleway's are UUIDs"}, {"SCALEWAY_SECRET_KEY", uuid, ""}, {"SCW_API_KEY", uuid, ""}, {"SCW_TOKEN", uuid, ""},
		{"RAILS_MASTER_KEY", hex32, ""}, {"DJANGO_SECRET_KEY", "django-insecure-abc", ""}, {"APP_KEY", "base64:" + randomKey + "=", "Laravel"}, {"PAGERDUTY_ROUTING_KEY", hex32, "AMQP's are words"}, {"ALGOLIA_ADMIN_KEY", hex32, ""}, {"SENDGRID_KEY", randomKey, ""}, {"KEY", randomKey, ""},
		// Credentials.
		{"CREDENTIALS", "user:hunter2", ""}, {"GOOGLE_CREDENTIALS", `{"client_email":"x"}`, ""}, {"SIM_PIN", "1234", ""}, {"HTPASSWD", "admin:abc", ""}, {"BASIC_AUTH", "user:hunter2", "AUTH counts where its value does"}, {"REDIS_AUTH", randomKey, ""},
	},
}

// harmless are what must raise no alarm.
var harmless = map[string][]variable{
	"settings": {
		{"LOG_LEVEL", "info", ""}, {"PORT", "8080", ""}, {"HOST", "0.0.0.0", ""}, {"NODE_ENV", "production", ""}, {"TZ", "Europe/Paris", ""}, {"LANG", "en_US.UTF-8", ""}, {"DEBUG", "true", ""},
		{"REGION", "fr-par", ""}, {"SCW_DEFAULT_REGION", "nl-ams", ""}, {"VERSION", "1.2.3", ""}, {"APP_VERSION", "v2.0.1-rc.1+build5", ""}, {"SCHEDULE", "0 3 * * *", ""}, {"GREETING", "Hello, world: it is nice", ""},
		{"TIMEOUT", "30s", ""}, {"WORKERS", "4", ""}, {"EMPTY", "", ""}, {"SPACES", "   ", ""}, {"JSON", `{"a":1}`, ""}, {"LIST", "a,b,c", ""}, {"REGEX", "^[a-z]+$", ""}, {"EMAIL", "ops@example.com", ""},
		{"PATH", "/usr/bin:/bin", ""}, {"PWD", "/home/app", "the shell's own"}, {"OLDPWD", "/app/src", ""}, {"COLOR", "#ff00ff", ""}, {"QUERY", "a=1&b=2", ""}, {"DB_HOST", "db.internal.example.com", ""}, {"DB_USER", "shop", ""},
		{"PROMPT", "Enter your password: at least 12 characters", "prose has colons"}, {"SQL", "SELECT 1 FROM t WHERE token=$1 AND password=?", ""}, {"CODE", `if token == "" {}`, ""}, {"HTML", `<input type="password" name="password">`, ""},
		{"NAMES", "password,token,secret", ""}, {"LOG_REDACT", `["password","token"]`, ""}, {"GRANT", "grant_type=password&scope=all", ""},
	},
	"identifiers": {
		{"PROJECT_ID", uuid, ""}, {"SCW_DEFAULT_PROJECT_ID", uuid, ""}, {"SCW_ACCESS_KEY", "SCWXXXXXXXXXXXXXXXXX", ""}, {"SCW_ACCESS_KEY", "SCW0123456789ABCDEFG", ""}, {"API_KEY", "SCW0123456789ABCDEFG", "an access key under another name"},
		{"AWS_ACCESS_KEY_ID", fakeAWSID, "opens nothing without its other half, and stands in presigned URLs"}, {"S3_KEY", fakeAWSID, ""}, {"MINIO_ACCESS_KEY", "Q3AM3UQ867SPQQA43P2F", ""}, {"AWS_ACCESS_KEY", "my-key", ""},
		{"CLIENT_ID", "abc123", ""}, {"GOOGLE_CLIENT_ID", "1234-abc.apps.googleusercontent.com", ""}, {"TOKEN_ID", uuid, ""}, {"SECRET_ID", uuid, "Scaleway's Secret Manager names secrets so; Vault's AppRole shares the name, and is rarer here"}, {"API_KEY_ID", uuid, ""}, {"KEY_ID", "abc", ""},
		{"TWILIO_ACCOUNT_SID", "AC" + hex32, ""}, {"SECRET_NAME", "db-password", ""}, {"SECRET_ARN", "x", ""}, {"TOKEN_NAME", "ci", ""}, {"CREDENTIALS_USERNAME", "shop", ""}, {"secretName", "db", ""}, {"db.password.name", "db", ""},
		{"GIT_SHA", hex40, ""}, {"IMAGE_DIGEST", "sha256:" + hex40, ""}, {"ETAG", hex40, ""}, {"COMMIT", hex40, ""}, {"TRACE_ID", hex32, ""}, {"FINGERPRINT", "SHA256:abc", ""}, {"CHECKSUM", hex40, ""}, {"CACHE_KEY", hex32, "keys of caches are hashes"},
		{"TENANT", uuid, ""}, {"BUILD_ID", "12345", ""}, {"SORT_KEY", "created_at", ""}, {"PARTITION_KEY", "id", ""}, {"CACHE_KEY", "v1", ""}, {"KEY", "value", ""}, {"PRIMARY_KEY", "id", ""}, {"FOREIGN_KEY", "user_id", ""}, {"ROUTING_KEY", "orders.created", ""},
		{"OBJECT_KEY", "backups/2024/db.tar.gz", ""}, {"S3_KEY", "backups/2024-01-02/Shop.dump", ""}, {"REDIS_KEY", "session:profile:v2", ""}, {"IDEMPOTENCY_KEY", uuid, ""}, {"INSTRUMENTATION_KEY", uuid, ""}, {"MAP_KEY", "name", ""},
		{"ORGANIZATION_ID", uuid, ""}, {"FUNCTION_ID", uuid, ""}, {"S3_BUCKET", "backups", ""}, {"QUEUE", "refunds", ""}, {"TOPIC", "events", ""}, {"GPG_KEY_ID", "0xDEADBEEF", ""}, {"KEYCLOAK_REALM", "shop", ""}, {"NIL_TOKEN", "00000000-0000-0000-0000-000000000000", ""},
	},
	"about secrets, and none": {
		{"PASSWORD_MIN_LENGTH", "12", ""}, {"TOKEN_TTL", "3600", ""}, {"TOKEN_EXPIRY", "1h", ""}, {"TOKEN_TIMEOUT", "30s", ""}, {"MAX_TOKENS", "4096", ""}, {"maxTokens", "4096", ""}, {"TOKENS", "4096", ""}, {"NUM_TOKENS", "7", ""}, {"OPENAI_MAX_OUTPUT_TOKENS", "100000", ""}, {"MAX_TOKEN", "512", ""}, {"ASSEMBLY", "Shop, Version=1.0.0.0, Culture=neutral, PublicKeyToken=b77a5c561934e089", ".NET"},
		{"TOKENS_PER_REQUEST", "100000", ""}, {"TOKEN_LIMIT", "1000", ""}, {"SECRET_ROTATION_DAYS", "90", ""}, {"SECRET_ROTATION", "30", ""}, {"TOKEN_REFRESH", "15m", ""}, {"TOKEN_LEEWAY", "60", ""}, {"PASSWORD_MAX", "64", ""}, {"SECRETS_COUNT", "3", ""}, {"TOKEN_VERSION", "2", ""},
		{"PASSWORD_FILE", "/run/secrets/db", ""}, {"DB_PASSWORD_FILE", "secrets/db", ""}, {"TOKEN_PATH", "abc", ""}, {"CREDENTIALS_DIR", "creds", ""}, {"TOKEN_URL", "https://auth.example.com/token", ""}, {"TOKEN_ENDPOINT", "auth.example.com", ""}, {"TOKEN_HOST", "auth", ""}, {"SECRET_REGION", "fr-par", ""},
		{"TOKEN_ISSUER", "https://auth.example.com", ""}, {"TOKEN_AUDIENCE", "shop", ""}, {"TOKEN_HEADER", "X-Auth-Token", ""}, {"API_KEY_HEADER", "X-API-Key", ""}, {"TOKEN_TYPE", "Bearer", ""}, {"TOKEN_ALGORITHM", "RS256", ""}, {"JWT_ALGORITHM", "RS256", ""}, {"PASSWORD_HASH_ALGORITHM", "argon2id", ""},
		{"PASSWORD_ENABLED", "basic", ""}, {"SECRET_PROVIDER", "vault", ""}, {"SECRET_STORE", "vault", ""}, {"SECRETS_MANAGER", "scaleway", ""}, {"CREDENTIALS_PROVIDER", "env", ""}, {"PASSWORD_POLICY", "strict", ""}, {"PASSWORD_FIELD", "pwd", ""}, {"SECRET_MODE", "strict", ""}, {"TOKEN_COOKIE", "session", ""}, {"PASSWORD_REGEX", "^.{12,}$", ""},
		{"PASSWORD_SALT", "x1y2", "a salt is no secret by its definition"}, {"TOKEN_HASH", hex40, "the hash of a random token is of no use"}, {"PASSWORD_HASH", "argon2id", "which one; a hash itself is found by its form"}, {"TOKEN_SYMBOL", "ETH", ""}, {"TOKEN_ADDRESS", "0xdeadbeef", ""},
		{"TOKEN_SERVICE", "auth.example.com:8443", "where, not what"}, {"AUTH", "oauth2", ""}, {"HTTP_AUTH", "basic", ""}, {"SMTP_AUTH", "plain", ""}, {"KAFKA_AUTH", "SCRAM-SHA-512", ""}, {"AUTH", "keycloak:8080", "a host with its port"}, {"AUTHORIZATION", "rbac", ""}, {"PASS_THROUGH", "all", ""},
	},
	"flags": {
		{"ENABLE_TOKEN_AUTH", "true", ""}, {"PASSWORD_LOGIN", "false", ""}, {"SECRET_ROTATION", "on", ""}, {"TOKEN_REFRESH", "enabled", ""}, {"USE_PASSWORD", "yes", ""}, {"REQUIRE_TOKEN", "1", ""}, {"DISABLE_PASSWORD", "TRUE", ""}, {"FEATURE_TOKENS", "true", ""}, {"PASSWORD", "required", ""}, {"OPTS", "token=true x=1", ""}, {"TOKEN", "auto", ""},
	},
	"words that only look alike": {
		{"TOKENIZER", "bert-base", ""}, {"AUTHOR", "jane", ""}, {"PASSENGER", "12", ""}, {"COMPASS", "north", ""}, {"KEYBOARD", "qwerty", ""}, {"MONKEY", "banana", ""}, {"SECRETARY", "jane", ""}, {"BYPASS", "none at all", ""}, {"PINNED", "yes please", ""}, {"HOTKEY", "ctrl", ""}, {"SPIN", "left", ""},
		{"PASSING_GRADE", "5", ""}, {"DEPASSEMENT", "oui", ""}, {"TURNKEY", "abc", ""}, {"PASSTHROUGH", "all", ""}, {"SPINNER", "dots", ""}, {"PASSPORT_STRATEGY", "local", ""}, {"TOKENIZERS_PARALLELISM", "off-ish", ""}, {"APIKEYBOARD", "x1", ""}, {"AUTHORITY", "https://login.example.com", ""}, {"OPINION", "strong", ""},
	},
	"public by design": {
		{"PUBLIC_KEY", "MIIBIjANBgkq", ""}, {"JWT_PUBLIC_KEY", "-----BEGIN PUBLIC KEY-----\nMIIB", ""}, {"TLS_CERT", "-----BEGIN CERTIFICATE-----\nMIID", ""}, {"SSH_KEY", "ssh-ed25519 AAAAC3Nz ops@example", ""}, {"DEPLOY_KEY", "AAAAC3NzaC1lZDI1NTE5AAAAIJ", ""}, {"SIGNING_KEY", "-----BEGIN PUBLIC KEY-----", "to check with"}, {"JWT_KEY", `{"kty":"RSA","n":"AQAB","e":"AQAB"}`, ""},
		{"CERT", base64.StdEncoding.EncodeToString([]byte("-----BEGIN CERTIFICATE-----\nMIIDMIIDMIIDMIID")), ""}, {"AGE_RECIPIENT", "age1" + a40, ""},
		{"STRIPE_PUBLISHABLE_KEY", "pk_live_abcdefghijklmnop", ""}, {"STRIPE_API_KEY", "pk_live_abcdefghijklmnop", "publishable, whatever its name"}, {"STRIPE_API_KEY", "pk_test_abcdefghijklmnop", ""}, {"NEXT_PUBLIC_API_KEY", "abc123", ""}, {"PUBLIC_TOKEN", "abc123", ""}, {"VAPID_PUBLIC_KEY", randomKey, ""}, {"RECAPTCHA_SITE_KEY", randomKey, "stands in the page"}, {"MAPBOX_TOKEN", "pk.eyJ1Ijoic2hvcCJ9.abc", ""},
		{"NEXT_PUBLIC_FIREBASE_API_KEY", fake("AIza", strings.Repeat("a", 35)), "Google's browser keys are public, and restricted by referrer"}, {"NEXT_PUBLIC_SUPABASE_ANON_KEY", fakeJWT, "the browser's"}, {"SUPABASE_ANON_KEY", fakeJWT, "the same, without the prefix"},
	},
	"URLs without a password": {
		{"API_URL", "https://api.example.com/v1?x=1", ""}, {"DATABASE_URL", "postgres://db.internal:5432/shop", ""}, {"DATABASE_URL", "postgres://shop@db.internal/shop", ""}, {"SENTRY_DSN", "https://0123456789abcdef@o1.ingest.example.com/2", "a user, and no password"}, {"REDIS_URL", "redis://cache:6379/0", ""},
		{"URL", "http://[::1]:8080/a@b", ""}, {"URL", "https://example.com:8443/users/@me", ""}, {"URL", "https://example.com/?mail=a:b@c.example", ""}, {"URL", "https://example.com:/@me", ""}, {"REPO", "git@github.com:scwatch/scwatch.git", ""}, {"MAIL", "mailto:a@b.example", ""}, {"AUTH_TOKEN_SERVICE", "https://auth.example.com", ""}, {"JWKS", "https://auth.example.com/.well-known/jwks.json", ""},
		{"DATABASE_URL", "postgres://shop:${DB_PASSWORD}@db/shop", ""}, {"DATABASE_URL", "postgres://shop:$DB_PASSWORD@db/shop", ""}, {"DATABASE_URL", "postgres://shop:%s@db/shop", ""}, {"DATABASE_URL", "postgres://shop:***@db/shop", ""}, {"DATABASE_URL", "postgres://shop:<password>@db/shop", ""}, {"DATABASE_URL", "postgres://shop:[PASSWORD]@db/shop", ""},
		{"DATABASE_URL", "postgres://shop:changeme@db/shop", ""}, {"DATABASE_URL", "postgres://shop:{{password}}@db/shop", ""}, {"DATABASE_URL", "postgres://shop:{password}@db/shop", ""}, {"DATABASE_URL", "postgres://shop:@db/shop", ""}, {"DATABASE_URL", "postgres://user:xxxx@db/shop", ""}, {"DATABASE_URL", "postgres://user:__PASSWORD__@db/shop", ""}, {"DSN", "shop:${PW}@tcp(db)/shop", ""},
	},
	"settings without a secret": {
		{"PG", "host=db user=app dbname=shop", ""}, {"PG", "host=db password=${PW}", ""}, {"PG", "host=db password=*** user=a", ""}, {"PG", "password= host=db", ""}, {"ARGS", "--password --user app", ""}, {"ARGS", "--token-ttl=5m --password-file=/run/pw", ""}, {"JDBC", "jdbc:mysql://db/shop?user=app", ""}, {"URL", "https://example.com/?max_tokens=100", ""},
		{"BUS", "Endpoint=sb://x.example.net/;SharedAccessKeyName=Root", ""}, {"JAVA_OPTS", "-Djavax.net.ssl.trustStorePassword=changeit", "Java's own, of public certificates"}, {"CONFIG", `{"password":"${DB_PASSWORD}","tokenUrl":"https://auth.example.com"}`, ""}, {"CONFIG", `{"password":"","token":null}`, ""}, {"SCHEMA", `{"token":{"type":"string"}}`, ""}, {"BASE64", "dG9rZW4=", ""},
	},
	"placeholders": {
		{"DB_PASSWORD", "changeme", "says that there is none yet"}, {"DB_PASSWORD", "CHANGE_ME", ""}, {"DB_PASSWORD", "change-me-please", ""}, {"SECRET_KEY", "changeme", ""}, {"SECRET_KEY", "change-this-in-production", ""}, {"API_KEY", "<your-api-key>", ""}, {"API_KEY", "your-api-key", ""}, {"API_KEY", "YOUR_API_KEY", ""}, {"API_KEY", "enter_your_key_here", ""}, {"API_KEY", "API_KEY", "its own name"}, {"TOKEN", "REPLACE_ME", ""}, {"TOKEN", "replace-with-token", ""},
		{"TOKEN", "todo", ""}, {"TOKEN", "TBD", ""}, {"TOKEN", "null", ""}, {"TOKEN", "none", ""}, {"TOKEN", "undefined", ""}, {"TOKEN", "***", ""}, {"TOKEN", "********", ""}, {"TOKEN", "xxx", ""}, {"TOKEN", "XXXX", ""}, {"TOKEN", "xxxx-xxxx-xxxx", ""}, {"TOKEN", "...", ""}, {"TOKEN", "placeholder", ""}, {"TOKEN", "token-here", ""}, {"TOKEN", "%", "what one sign stands for is no secret"}, {"TOKEN", "[redacted]", ""}, {"TOKEN", "<secret>", ""},
		{"TOKEN", `""`, ""}, {"TOKEN", "n/a", ""}, {"TOKEN", "-", ""}, {"TOKEN", "•••", ""}, {"TOKEN", "__TOKEN__", ""}, {"TOKEN", "@TOKEN@", ""}, {"SECRETS", "[]", ""}, {"CREDENTIALS", "{}", ""}, {"EOS_TOKEN", "</s>", ""}, {"EOS_TOKEN", "<|end|>", ""}, {"GH", "ghp_" + strings.Repeat("x", 36), ""}, {"H", "Authorization: Bearer <token-1234>", ""}, {"STRIPE", "sk_test_your_key_here", ""},
	},
	"references": {
		{"DB_PASSWORD", "${DB_PASSWORD}", ""}, {"DB_PASSWORD", "$DB_PASSWORD", ""}, {"DB_PASSWORD", "{{ .Values.password }}", ""}, {"DB_PASSWORD", "prefix-${SUFFIX}", ""}, {"DB_PASSWORD", "%(password)s", ""}, {"DB_PASSWORD", "$(cat /run/secrets/db)", ""}, {"DB_PASSWORD", "%DB_PASSWORD%", ""}, {"DB_PASSWORD", "#{DbPassword}", ""}, {"DB_PASSWORD", "<%= db %>", ""},
		{"DB_PASSWORD", "vault:secret/data/db#password", ""}, {"DB_PASSWORD", "arn:aws:secretsmanager:eu-west-3:123:secret:db", ""}, {"DB_PASSWORD", "sm://project/db", ""}, {"DB_PASSWORD", "op://vault/db/password", ""}, {"DB_PASSWORD", "scw-secret:db", ""}, {"DB_PASSWORD", "secretmanager:projects/1/x", ""}, {"DB_PASSWORD", "secretKeyRef", ""}, {"DB_PASSWORD", "@Microsoft.KeyVault(SecretUri=x)", ""},
		{"DB_PASSWORD", "ENC[AES256_GCM,data:x]", "encrypted by sops"}, {"SIGNING_KEY", "alias/signing", "a key in a KMS"}, {"DB_PASSWORD", "/run/secrets/db", ""}, {"TLS_PRIVATE_KEY", "/etc/tls/tls.key", ""}, {"TLS_PRIVATE_KEY", "tls/server.pem", ""}, {"CREDENTIALS", "./credentials.json", ""}, {"API_KEY", "projects/1/secrets/x/versions/1", ""}, {"TOKEN", "file:///run/token", ""}, {"TOKEN", "env:TOKEN", ""}, {"TOKEN", "ref+vault://x", ""},
	},
	"not quite a secret's form": {
		{"X", "eyJ", ""}, {"X", "eyJmb28iOiJiYXIifQ.e30.abc", "a header without alg"}, {"X", "eyJhbGciOiJub25lIn0.e30", "two parts"}, {"X", "eyJ.e30.abc", ""}, {"X", "a.b.c", ""}, {"X", "AKIA", ""}, {"X", "ghp_", ""}, {"X", "sk-learn", ""}, {"X", "sk-some-rather-long-name-of-a-slug-that-goes-on", ""}, {"X", "key-value", ""}, {"X", "monkey-" + hex32, ""}, {"X", "SKU-0123456789", ""},
		{"X", "Basic plan", ""}, {"X", "Basic authentication", ""}, {"X", "Bearer", ""}, {"X", "Bearer authentication", ""}, {"X", "BearerToken12345", ""}, {"X", "basic <credentials>", ""}, {"X", "SG.1", ""}, {"X", "hf_hub_some_long_setting_of_the_library", ""}, {"X", "npm_config_registry_with_a_rather_long_name", ""}, {"X", "12:AAB", ""}, {"X", "123456789:AAb", ""},
		{"DOCS", "https://discord.com/developers", ""}, {"DOCS", "https://hooks.slack.com/", ""}, {"DOCS", "-----BEGIN PUBLIC KEY-----", ""},
	},
}

// eachVariable calls f for every variable of the table.
func eachVariable(table map[string][]variable, f func(group string, v variable)) {
	for group, all := range table {
		for _, v := range all {
			f(group, v)
		}
	}
}

func TestPlaintextSecretFinds(t *testing.T) {
	n := 0
	eachVariable(planted, func(kind string, v variable) {
		n++
		if got, found := plaintextSecret(v.name, v.value); got != kind || !found {
			t.Errorf("%s=%.80s is %q (found %v), want %q %s", v.name, v.value, got, found, kind, v.why)
		}
	})
	if n < 120 {
		t.Errorf("%d planted secrets, want at least 120", n)
	}
	for _, f := range secretForms {
		if planted[f.kind] == nil {
			t.Errorf("nothing is planted for %s", f.kind)
		}
	}
}

func TestPlaintextSecretRaisesNoFalseAlarm(t *testing.T) {
	n := 0
	eachVariable(harmless, func(group string, v variable) {
		n++
		if kind, found := plaintextSecret(v.name, v.value); found || kind != "" {
			t.Errorf("%s: %s=%s is taken for a %s %s", group, v.name, v.value, kind, v.why)
		}
	})
	if n < 200 {
		t.Errorf("%d harmless variables, want at least 200", n)
	}
}

// White space and quotes around a value change nothing, nor does the case of a
// name that is all in one.
func checkSame(t *testing.T, name, value string) {
	want, _ := plaintextSecret(name, value)
	for _, around := range []string{" ", "\n", `"`, `'`, "\t\"' "} {
		if got, _ := plaintextSecret(name, around+value+around); got != want {
			t.Errorf("%s=%.80q is %q, and %q within %q", name, value, want, got, around)
		}
	}
	upper, _ := plaintextSecret(changeCase(strings.ToUpper, name), value)
	lower, _ := plaintextSecret(changeCase(strings.ToLower, name), value)
	if upper != lower {
		t.Errorf("%q=%.80q is %q in capitals, and %q in small letters", name, value, upper, lower)
	}
}

// changeCase changes the case of a name where that is reversible.
func changeCase(change func(string) string, name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 }) {
		return name
	}
	return change(name)
}

func TestPlaintextSecretIgnoresQuotesAndCase(t *testing.T) {
	for _, table := range []map[string][]variable{planted, harmless} {
		eachVariable(table, func(_ string, v variable) { checkSame(t, v.name, v.value) })
	}
}

// hostile are values that cost the most, without an end.
var hostile = []string{
	"://", "://:", "://:@", "a://b:c/", "eyJ.", "eyJ", "eyJhbGciOiJub25lIn0.", "$2b$", "$argon2", "AIza ", "sk-", "sk_live_ ", "glpat-", ":AA", "0:AA", "12345678:AA", "=", "a=", "token=", "token=x&", "token=true&",
	`"token":`, `"token":"`, `"token":"x",`, `"":"`, "Basic ", "Bearer 1", "Bearer abcdefgh ", "LS0tLS1CRUdJTi", "-----BEGIN ", `"kty"`, "@tcp(", "${", "{{", "<", "[", "{", "_", "*", "your", "your-", "changeme", "A", "Aa", "aB", "a", "0", ".", "é", "\xff", "\x00", " x", `"`,
}

func TestPlaintextSecretIsLinear(t *testing.T) {
	const size = 1 << 18
	for _, piece := range hostile {
		long := strings.Repeat(piece, size/len(piece))
		for _, v := range []variable{{"X", long, ""}, {"DB_PASSWORD", long, ""}, {long, "hunter2", ""}} {
			begin := time.Now()
			plaintextSecret(v.name, v.value)
			// Some milliseconds are usual; anything quadratic takes minutes.
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("256 KiB of %q took %v", piece, took)
			}
		}
	}
}

func TestPlaintextSecretAllocatesNothing(t *testing.T) {
	for _, v := range typical {
		if n := testing.AllocsPerRun(100, func() { plaintextSecret(v.name, v.value) }); n > 0 {
			t.Errorf("%s=%s allocates %v times", v.name, v.value, n)
		}
	}
}

func FuzzPlaintextSecret(f *testing.F) {
	kinds := map[string]bool{
		"": true, kindByName: true, kindURL: true, kindSetting: true, kindPrivateKey: true, kindJWT: true,
		kindAuthHeader: true, kindHash: true, kindAWSSecret: true, kindGoogleKey: true, kindTelegram: true,
	}
	for _, form := range secretForms {
		kinds[form.kind] = true
	}
	for _, table := range []map[string][]variable{planted, harmless} {
		eachVariable(table, func(_ string, v variable) { f.Add(v.name, v.value) })
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		kind, found := plaintextSecret(name, value)
		if found != (kind != "") || !kinds[kind] {
			t.Errorf("%q is no kind that is known", kind)
		}
		checkSame(t, name, value)
		begin := time.Now()
		plaintextSecret(name, strings.Repeat(value, 1<<16/max(1, len(value))))
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("64 KiB of %q took %v", value, took)
		}
	})
}

// typical are ordinary variables.
var typical = []variable{
	{"LOG_LEVEL", "info", ""}, {"PORT", "8080", ""}, {"SCW_DEFAULT_PROJECT_ID", uuid, ""}, {"API_URL", "https://api.example.com/v1", ""}, {"DB_PASSWORD", "hunter2", ""},
	{"DATABASE_URL", "postgres://shop:hunter2@db.internal:5432/shop?sslmode=require", ""}, {"PG", "host=db user=app dbname=shop sslmode=require", ""}, {"CORS_ORIGINS", "https://a.example.com,https://b.example.com", ""},
}

func BenchmarkPlaintextSecret(b *testing.B) {
	run := func(title string, v variable) {
		b.Run(title, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				plaintextSecret(v.name, v.value)
			}
		})
	}
	for _, v := range typical {
		run("typical/"+v.name, v)
	}
	const size = 1 << 20
	for _, piece := range []string{"://:", "a=", "token=true&", "eyJ.", "$2b$", "a"} {
		run("hostile/"+piece, variable{"X", strings.Repeat(piece, size/len(piece)), ""})
	}
	run("hostile/name", variable{strings.Repeat("A_", size/2), "hunter2", ""})
}
