package config

// Values of Target.RulesTarget.
const (
	RulesTargetCockpit = "cockpit"
	RulesTargetGrafana = "grafana"
)

// Values of DataSource.Type.
const (
	DataSourceMetrics = "metrics"
	DataSourceLogs    = "logs"
)

// DefaultRunbookBase is where the links of the built-in alerts lead to.
const DefaultRunbookBase = "https://github.com/scwatch/scwatch/blob/main/docs/runbooks/"

// Provision says what plan, apply and destroy manage.
type Provision struct {
	Watch        bool     `yaml:"watch" default:"false" doc:"\"serve\" compares at the slow interval and exports \"scwatch_drift\". Needs rights to read."`
	RunbookBase  string   `yaml:"runbook_base" default:"https://github.com/scwatch/scwatch/blob/main/docs/runbooks/" format:"url" doc:"Where the runbooks of the built-in alerts are."`
	KnownMetrics []string `yaml:"known_metrics" default:"[]" format:"glob" doc:"Names of metrics that definitions may use besides scwatch's own and Scaleway's."`
	Targets      []Target `yaml:"targets" default:"[{}]" doc:"Where definitions go. An empty entry is the home with the built-in content."`
}

// Target is one Cockpit, or one Grafana, and what is to be in it.
type Target struct {
	Project      string   `yaml:"project" default:"" format:"id" doc:"The project's ID. Empty: the home's."`
	Region       string   `yaml:"region" default:"" format:"region" doc:"Empty: the home's."`
	Folder       Folder   `yaml:"folder" doc:"The Grafana folder of the dashboards."`
	Dashboards   []string `yaml:"dashboards" default:"[builtin]" format:"files" doc:"Dashboard manifests."`
	Rules        []Rules  `yaml:"rules" default:"[{}]" doc:"Rule files, and who evaluates them."`
	Alertmanager string   `yaml:"alertmanager" default:"" format:"path" doc:"An Alertmanager configuration; \"${NAME}\" in it reads the environment. Empty: routes are left alone."`
	Contacts     []string `yaml:"contacts" default:"[]" format:"email" doc:"E-mail addresses in the Cockpit API. Empty: contacts are left alone."`
	RulesTarget  string   `yaml:"rules_target" default:"cockpit" enum:"cockpit|grafana" doc:"\"cockpit\": its Mimir and Loki rulers; \"grafana\": Grafana-managed rules, for a Grafana of one's own."`
	GrafanaURL   string   `yaml:"grafana_url" default:"" format:"url" doc:"A Grafana of one's own, with \"SCWATCH_GRAFANA_TOKEN\". Empty: the project's Cockpit."`
}

// Folder is a Grafana folder.
type Folder struct {
	UID   string `yaml:"uid" default:"scwatch" format:"uid" doc:"The folder's uid."`
	Title string `yaml:"title" default:"Serverless security" doc:"The folder's title."`
}

// Rules are rule files with the data source that evaluates them.
type Rules struct {
	Files      []string   `yaml:"files" default:"[builtin]" format:"files" doc:"Prometheus rule files, with LogQL expressions where the data source holds logs."`
	DataSource DataSource `yaml:"data_source" doc:"The data source that holds their series."`
	Namespace  string     `yaml:"namespace" default:"scwatch" format:"namespace" doc:"The ruler's namespace that they are kept in."`
}

// DataSource is a data source of a target's Cockpit.
type DataSource struct {
	Type string `yaml:"type" default:"metrics" enum:"metrics|logs" doc:"What the data source holds."`
	Name string `yaml:"name" default:"" doc:"Its name. Empty, for metrics: \"cockpit.data_source\"."`
}

func (p Provision) validate(d *document) {
	for i, target := range p.Targets {
		at := element("provision.targets", i)
		d.rejectRepeated(at+".contacts", target.Contacts)
		for j, rules := range target.Rules {
			if rules.DataSource.Type != DataSourceMetrics && rules.DataSource.Name == "" {
				d.reject(element(at+".rules", j)+".data_source.name", "is required for %s", rules.DataSource.Type)
			}
		}
	}
}

// nameDataSources gives the data sources without a name the home's. It runs
// after validation, which must see what the file says.
func (c *Config) nameDataSources() {
	for _, target := range c.Provision.Targets {
		for j := range target.Rules {
			if source := &target.Rules[j].DataSource; source.Name == "" {
				source.Name = c.Cockpit.DataSource
			}
		}
	}
}
