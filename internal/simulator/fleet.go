package simulator

import (
	"encoding/json"
	"fmt"
	"time"
)

// The credentials and projects of the demo account.
const (
	DemoAccessKey    = "SCWDEMODEMODEMODEMO1"
	DemoSecretKey    = "d1d1d1d1-0000-4000-8000-000000000001"
	DemoOrganization = "0c0c0c0c-0000-4000-8000-000000000001"
	DemoHome         = "aaaaaaaa-0000-4000-8000-000000000001"
)

const day = 24 * time.Hour

// DemoAccount is a small organization that has every posture there is: three
// projects, functions in all regions. It is the same at every call but for the
// times, which count from now.
func DemoAccount(now time.Time) *Account {
	a := &Account{
		OrganizationID: DemoOrganization,
		Keys:           []Key{{AccessKey: DemoAccessKey, SecretKey: DemoSecretKey, Description: "scwatch", Expires: now.Add(25 * day)}},
		PollInterval:   time.Minute,
		Runtimes: []Runtime{
			{"go126", "Go", "1.26", "available"},
			{"python314", "Python", "3.14", "available"},
			{"node26", "Node", "26", "beta"},
			{"node22", "Node", "22", "deprecated"},
			{"python39", "Python", "3.9", "end_of_support"},
			{"go119", "Go", "1.19", "end_of_life"},
		},
	}
	b := &builder{account: a, now: now}
	platform := b.project(DemoHome, "platform")
	payments := b.project("bbbbbbbb-0000-4000-8000-000000000002", "payments")
	marketing := b.project("cccccccc-0000-4000-8000-000000000003", "marketing")

	platform.DataSources = []DataSource{
		{"dddddddd-0000-4000-8000-000000000001", "scwatch", "fr-par", "metrics", "custom"},
		{"dddddddd-0000-4000-8000-000000000002", "Scaleway Metrics", "fr-par", "metrics", "scaleway"},
		{"dddddddd-0000-4000-8000-000000000003", "Scaleway Logs", "fr-par", "logs", "scaleway"},
	}
	payments.DataSources = []DataSource{
		{"dddddddd-0000-4000-8000-000000000004", "Scaleway Metrics", "fr-par", "metrics", "scaleway"},
		{"dddddddd-0000-4000-8000-000000000005", "Scaleway Logs", "fr-par", "logs", "scaleway"},
	}
	marketing.DataSources = []DataSource{
		{"dddddddd-0000-4000-8000-000000000006", "Scaleway Metrics", "fr-par", "metrics", "scaleway"},
		{"dddddddd-0000-4000-8000-000000000007", "Scaleway Logs", "fr-par", "logs", "scaleway"},
	}
	payments.Grafana.Provisioned = true // somebody has looked at it
	a.Dashboards = map[string]map[string]json.RawMessage{payments.ID: {
		ScalewayFunctionsDashboard: FunctionsDashboard(
			`sum by (code) (rate(`+demoMetric+`{resource_id=~"$resource_id"}[$__rate_interval]))`, "reqps",
			`sum by (resource_name) (rate(`+demoMetric+`{resource_id=~"$resource_id"}[$__rate_interval]))`),
	}}

	a.FixedAnswers = true

	ops := b.namespace(platform, "ops", "fr-par", nil)
	ops.add("audit-trail", "team=platform")
	ops.add("backup", "team=platform").with(func(f *Function) {
		f.Crons = []Cron{{b.id(), "nightly", "0 3 * * *"}}
		f.Secrets = b.secrets("S3_SECRET_KEY")
		f.Updated = now.Add(-200 * day)
	})
	ops.add("status-page", "team=platform", "scwatch-allow=function_public").with(func(f *Function) { f.Privacy = "public" })
	ops.add("never-deployed").with(func(f *Function) { f.Status = "created" })
	edge := b.namespace(platform, "edge", "nl-ams", nil)
	edge.add("resize", "team=platform").with(func(f *Function) { f.Runtime, f.Status = "node22", "pending" })
	edge.add("rewrite", "team=platform").with(func(f *Function) { f.Privacy = "unknown_privacy"; f.HTTPOption = "unknown_http_option" })
	edge.add("cache-warmer", "team=platform").with(func(f *Function) {
		f.Status, f.ErrorMessage, f.Updated = "error", "internal error", now.Add(-20*time.Hour)
	})

	shop := b.namespace(payments, "shop", "fr-par", map[string]string{"LOG_LEVEL": "info", "DB_URL": "postgres://shop:" + "hunter2" + "@db.internal:5432/shop"})
	shop.Secrets = b.secrets("STRIPE_KEY")
	shop.Tokens = []Token{{b.id(), b.jwt(), "shared by the shop", now.Add(5 * day)}}
	shop.add("checkout", "team=payments").with(func(f *Function) {
		f.Secrets = b.secrets("DB_PASSWORD", "SIGNING_KEY")
		f.Tokens = []Token{{b.id(), b.jwt(), "storefront", time.Time{}}}
		f.Domains = []Domain{{b.id(), "checkout.example.com"}}
		f.MinScale = 1
	})
	shop.add("cart", "team=payments").with(func(f *Function) {
		f.Variables = map[string]string{"PORT": "8080", "REDIS_PASSWORD": "hunter2", "FEATURE_TOKENS": "true"}
	})
	shop.add("webhook-stripe", "team=payments").with(func(f *Function) { f.Privacy, f.HTTPOption = "public", "enabled" })
	shop.add("refunds", "team=payments").with(func(f *Function) {
		f.Triggers = []Trigger{{b.id(), "refunds", "scw_sqs"}, {b.id(), "events", "scw_nats"}}
	})
	ledger := b.namespace(payments, "ledger", "pl-waw", nil)
	ledger.add("export", "team=payments").with(func(f *Function) { f.Runtime, f.PrivateNetworkID = "python39", "" })
	ledger.add("import", "team=payments").with(func(f *Function) {
		f.Variables = map[string]string{"AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY", "AWS_REGION": "eu-west-3"}
	})
	ledger.add("close-books", "team=payments").with(func(f *Function) {
		f.Runtime, f.Sandbox = "go119", "v1"
		f.Tokens = []Token{{b.id(), b.jwt(), "left over", now.Add(-30 * day)}}
	})
	ledger.add("locked", "team=payments").with(func(f *Function) { f.Status = "locked" })

	site := b.namespace(marketing, "site", "fr-par", map[string]string{"SITE": "https://www.example.com"})
	site.add("contact-form", "team=web").with(func(f *Function) { f.Privacy, f.PrivateNetworkID = "public", "" })
	site.add("newsletter", "team=web").with(func(f *Function) {
		f.PrivateNetworkID = ""
		f.Variables = map[string]string{"MAIL_API_TOKEN": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiJkZW1vIn0." + "c2lnbmF0dXJlLW9mLXRoZS1kZW1v"}
	})
	site.add("search", "team=web").with(func(f *Function) { f.Runtime = "node26" })
	campaigns := b.namespace(marketing, "campaigns", "nl-ams", nil)
	campaigns.add("landing").with(func(f *Function) { f.Privacy, f.HTTPOption = "public", "enabled" })
	campaigns.add("tracker", "team=web").with(func(f *Function) { f.Status = "creating" })
	campaigns.add("mailer", "team=web").with(func(f *Function) {
		f.Variables = map[string]string{"TLS_KEY": "-----BEGIN " + "PRIVATE KEY-----\nMIIEdemo\n-----END " + "PRIVATE KEY-----", "TLS_CERT": "-----BEGIN CERTIFICATE-----\nMIIBdemo\n-----END CERTIFICATE-----"}
		f.Status = "deleting"
	})
	return a
}

// LargeAccount has functions spread evenly over namespaces and regions, in one
// project (the demo's), each with a few variables and secrets.
func LargeAccount(functions, namespaces, regionCount int, now time.Time) *Account {
	a := DemoAccount(now)
	a.Projects = nil
	b := &builder{account: a, now: now}
	project := b.project(DemoHome, "large")
	var all []*namespaceBuilder
	for n := range namespaces {
		all = append(all, b.namespace(project, fmt.Sprintf("namespace-%d", n), regions[n%regionCount], map[string]string{"LOG_LEVEL": "info"}))
	}
	for n := range functions {
		all[n%namespaces].add(fmt.Sprintf("function-%d", n), "team=web").with(func(f *Function) {
			f.Secrets = b.secrets("DB_PASSWORD")
			f.Variables = map[string]string{"PORT": "8080", "DB_HOST": "db.internal", "MODE": "production"}
			if n%10 == 0 {
				f.Privacy = "public"
			}
		})
	}
	return a
}

// builder numbers what it makes, so that an account is always the same.
type builder struct {
	account *Account
	now     time.Time
	made    int
}

type namespaceBuilder struct {
	*Namespace
	builder *builder
}

type functionBuilder struct{ *Function }

func (b *builder) id() string {
	b.made++
	return fmt.Sprintf("%08x-0000-4000-8000-%012x", b.made, b.made)
}

// jwt is a token by its form alone.
func (b *builder) jwt() string {
	return "eyJhbGciOiJSUzI1NiJ9." + "e30." + fmt.Sprintf("demo-%d", b.made)
}

func (b *builder) secrets(keys ...string) []Secret {
	var all []Secret
	for _, key := range keys {
		b.account.secretsSet++
		all = append(all, Secret{key, hash(b.account.secretsSet)})
	}
	return all
}

func (b *builder) project(id, name string) *Project {
	// Pointers into the list stay good only within its capacity.
	if b.account.Projects == nil {
		b.account.Projects = make([]Project, 0, 8)
	}
	b.account.Projects = append(b.account.Projects, Project{ID: id, Name: name, Created: b.now.Add(-400 * day)})
	return &b.account.Projects[len(b.account.Projects)-1]
}

func (b *builder) namespace(p *Project, name, region string, variables map[string]string) *namespaceBuilder {
	if p.Namespaces == nil {
		p.Namespaces = make([]Namespace, 0, 1000)
	}
	p.Namespaces = append(p.Namespaces, Namespace{
		ID: b.id(), Name: name, Region: region, Status: "ready", Variables: variables,
		Created: b.now.Add(-300 * day), Updated: b.now.Add(-10 * day),
	})
	return &namespaceBuilder{&p.Namespaces[len(p.Namespaces)-1], b}
}

// add adds a function that nothing is wrong with.
func (n *namespaceBuilder) add(name string, tags ...string) functionBuilder {
	b := n.builder
	n.Functions = append(n.Functions, Function{
		ID: b.id(), Name: name, Runtime: "go126", Privacy: "private", HTTPOption: "redirected", Sandbox: "v2", Status: "ready",
		Tags: tags, PrivateNetworkID: "eeeeeeee-0000-4000-8000-000000000001", MaxScale: 20, MemoryMB: 256, MilliCPU: 140,
		Timeout: 5 * time.Minute, Created: b.now.Add(-100*day + time.Duration(b.made)*time.Second), Updated: b.now.Add(-5 * day),
	})
	return functionBuilder{&n.Functions[len(n.Functions)-1]}
}

func (f functionBuilder) with(change func(*Function)) { change(f.Function) }
