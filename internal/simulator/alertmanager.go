package simulator

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// AlertManager is that of one region of a project's Cockpit.
type AlertManager struct {
	Region     string
	Enabled    bool
	Config     *AlertmanagerConfig // nil: none
	TestAlerts int                 // how many were triggered
	Alerts     []json.RawMessage   // as they were sent
	Silences   []json.RawMessage
	Configured time.Time // when it first got a configuration
}

// AlertmanagerConfig is the one document that a tenant of an Alertmanager has.
type AlertmanagerConfig struct {
	Config    string            `yaml:"alertmanager_config"`
	Templates map[string]string `yaml:"template_files"`
}

// ContactPoint is an e-mail address that Cockpit notifies: one of the receiver
// that it calls its default.
type ContactPoint struct {
	Email        string
	SendResolved bool
}

// AlertManager returns the project's alert manager of that region, one that is
// not enabled where there was none.
func (p *Project) AlertManager(region string) *AlertManager {
	i := slices.IndexFunc(p.AlertManagers, func(m AlertManager) bool { return m.Region == region })
	if i < 0 {
		p.AlertManagers = append(p.AlertManagers, AlertManager{Region: region})
		i = len(p.AlertManagers) - 1
	}
	return &p.AlertManagers[i]
}

// defaultReceiver is what Cockpit's contact points belong to. Its name is that
// of the API's description, "the default receiver"; the real one is not known.
const defaultReceiver = "default"

// defaultConfig is what the first contact point makes of a tenant that has no
// configuration. The mail server and its password are Scaleway's.
const defaultConfig = `global:
    smtp_smarthost: smtp.cockpit.example:587
    smtp_from: alerts@cockpit.example
    smtp_auth_username: cockpit
    smtp_auth_password: the-password-of-cockpit
route:
    receiver: default
receivers:
    - name: default
`

// ContactPoints are the e-mail addresses of the default receiver: Cockpit keeps
// them in the tenant's one configuration, whoever else writes it.
func (m *AlertManager) ContactPoints() []ContactPoint {
	receiver := m.receiver(defaultReceiver)
	entries, _ := receiver["email_configs"].([]any)
	var all []ContactPoint
	for _, entry := range entries {
		if email, ok := entry.(map[string]any); ok {
			to, _ := email["to"].(string)
			resolved, _ := email["send_resolved"].(bool)
			all = append(all, ContactPoint{to, resolved})
		}
	}
	return all
}

func (m *AlertManager) setContactPoints(all []ContactPoint) {
	if m.Config == nil {
		m.Config = &AlertmanagerConfig{Config: defaultConfig}
		m.Configured = time.Now()
	}
	var document map[string]any
	if err := yaml.Unmarshal([]byte(m.Config.Config), &document); err != nil {
		panic(err) // it was read before it was stored
	}
	receivers, _ := document["receivers"].([]any)
	i := slices.IndexFunc(receivers, func(r any) bool {
		receiver, ok := r.(map[string]any)
		return ok && receiver["name"] == defaultReceiver
	})
	if i < 0 {
		receivers = append(receivers, map[string]any{"name": defaultReceiver})
		document["receivers"], i = receivers, len(receivers)-1
	}
	receiver := receivers[i].(map[string]any)
	delete(receiver, "email_configs")
	var emails []any
	for _, c := range all {
		emails = append(emails, map[string]any{"to": c.Email, "send_resolved": c.SendResolved})
	}
	if len(emails) > 0 {
		receiver["email_configs"] = emails
	}
	encoded, err := yaml.Marshal(document)
	if err != nil {
		panic(err) // of what was YAML
	}
	m.Config.Config = string(encoded)
}

// additional tells whether there are receivers besides the default one, and
// whether that has other ways to notify than e-mail.
func (m *AlertManager) additional() (receivers, contactPoints bool) {
	if m.Config == nil {
		return false, false
	}
	var document struct{ Receivers []map[string]any }
	if err := yaml.Unmarshal([]byte(m.Config.Config), &document); err != nil {
		panic(err) // it was read before it was stored
	}
	for _, r := range document.Receivers {
		if r["name"] != defaultReceiver {
			receivers = true
			continue
		}
		for key := range r {
			contactPoints = contactPoints || key != "name" && key != "email_configs"
		}
	}
	return receivers, contactPoints
}

func (m *AlertManager) receiver(name string) map[string]any {
	if m.Config == nil {
		return nil
	}
	var document struct{ Receivers []map[string]any }
	if err := yaml.Unmarshal([]byte(m.Config.Config), &document); err != nil {
		panic(err) // it was read before it was stored
	}
	for _, r := range document.Receivers {
		if r["name"] == name {
			return r
		}
	}
	return nil
}

// alertManagersPath is where the simulated alert managers are reached, by
// project and region; the real ones have hosts of their own.
const alertManagersPath = "/alert-managers/"

// alertManager answers for the alert manager in the path.
func (s *Server) alertManager(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(r)
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, alertManagersPath), "/", 3)
	project := s.account.Project(parts[0])
	if project == nil || len(parts) < 3 || !slices.Contains(regions, parts[1]) || !project.AlertManager(parts[1]).Enabled {
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	manager := project.AlertManager(parts[1])
	switch {
	case !s.mayUse(r, project, manager.Region, "full_access_alert_manager"):
		http.Error(w, "no org id", http.StatusUnauthorized)
	case s.denied(project.ID, manager.Region, "cockpit", r.Method):
		http.Error(w, "Forbidden", http.StatusForbidden)
	case parts[2] == "api/v1/alerts":
		manager.configuration(w, r.Method, body)
	case !strings.HasPrefix(parts[2], "alertmanager/api/v2/"):
		http.Error(w, "404 page not found", http.StatusNotFound)
	case manager.Config == nil || time.Since(manager.Configured) < s.account.PollInterval:
		// Alerts that are sent meanwhile are lost.
		http.Error(w, "the Alertmanager is not configured", http.StatusNotFound)
	default:
		manager.v2(w, r.Method, strings.TrimPrefix(parts[2], "alertmanager/api/v2/"), body, s.newID())
	}
}

// configuration answers api/v1/alerts.
func (m *AlertManager) configuration(w http.ResponseWriter, method string, body []byte) {
	switch method {
	case http.MethodGet:
		if m.Config == nil {
			http.Error(w, "alertmanager storage object not found", http.StatusNotFound)
			return
		}
		encoded, err := yaml.Marshal(m.Config) // the secrets, too
		if err != nil {
			panic(err) // of our own type
		}
		w.Header().Set("Content-Type", "application/yaml")
		w.Write(encoded)
	case http.MethodPost:
		config, err := readAlertmanagerConfig(body)
		if err != "" {
			http.Error(w, err, http.StatusBadRequest)
			return
		}
		if m.Config == nil {
			m.Configured = time.Now()
		}
		m.Config = config
		w.WriteHeader(http.StatusCreated)
	case http.MethodDelete: // none is as good
		m.Config, m.Alerts, m.Silences = nil, nil, nil
		w.WriteHeader(http.StatusOK)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// readAlertmanagerConfig returns why it was not taken.
func readAlertmanagerConfig(body []byte) (*AlertmanagerConfig, string) {
	config := &AlertmanagerConfig{}
	if err := yaml.Unmarshal(body, config); err != nil {
		return nil, "error marshalling YAML Alertmanager config: " + err.Error()
	}
	const invalid = "error validating Alertmanager config: "
	if config.Config == "" {
		return nil, invalid + "configuration provided is empty, if you'd like to remove your configuration please use the delete configuration endpoint"
	}
	var document map[string]any
	if err := yaml.Unmarshal([]byte(config.Config), &document); err != nil {
		return nil, invalid + err.Error()
	}
	if key := fileSetting(document); key != "" {
		return nil, invalid + key + " is not allowed"
	}
	receivers := map[string]bool{}
	list, _ := document["receivers"].([]any)
	for _, r := range list {
		receiver, _ := r.(map[string]any)
		name, _ := receiver["name"].(string)
		if name == "" || receivers[name] {
			return nil, invalid + `notification config name "` + name + `" is not unique`
		}
		receivers[name] = true
	}
	route, ok := document["route"].(map[string]any)
	if !ok {
		return nil, invalid + "no routes provided"
	}
	if route["receiver"] == nil {
		return nil, invalid + "root route must specify a default receiver"
	}
	return config, unknownReceiver(route, receivers)
}

// fileSetting returns a setting anywhere below value that would read a file of
// the server's; empty: none.
func fileSetting(value any) string {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if strings.HasSuffix(key, "_file") {
				return key
			}
			if found := fileSetting(v[key]); found != "" {
				return found
			}
		}
	case []any:
		for _, member := range v {
			if found := fileSetting(member); found != "" {
				return found
			}
		}
	}
	return ""
}

func unknownReceiver(route map[string]any, receivers map[string]bool) string {
	if name, ok := route["receiver"].(string); ok && !receivers[name] {
		return `error validating Alertmanager config: undefined receiver "` + name + `" used in route`
	}
	below, _ := route["routes"].([]any)
	for _, r := range below {
		if child, ok := r.(map[string]any); ok {
			if why := unknownReceiver(child, receivers); why != "" {
				return why
			}
		}
	}
	return ""
}

// v2 answers alertmanager/api/v2/….
func (m *AlertManager) v2(w http.ResponseWriter, method, path string, body []byte, id string) {
	list := func(all []json.RawMessage) { writeJSON(w, http.StatusOK, append([]json.RawMessage{}, all...)) }
	switch method + " " + path {
	case "GET status":
		writeJSON(w, http.StatusOK, object{
			"cluster": object{"status": "ready", "peers": []object{}}, "config": object{"original": ""},
			"uptime": timestamp(m.Configured), "versionInfo": object{"version": "0.28.0"},
		})
	case "GET alerts":
		list(m.Alerts)
	case "GET silences":
		list(m.Silences)
	case "POST alerts":
		var sent []json.RawMessage
		if err := json.Unmarshal(body, &sent); err != nil {
			writeJSON(w, http.StatusBadRequest, object{"code": 400, "message": err.Error()})
			return
		}
		m.Alerts = append(m.Alerts, sent...)
		w.WriteHeader(http.StatusOK)
	case "POST silences":
		var silence object
		if err := json.Unmarshal(body, &silence); err != nil {
			writeJSON(w, http.StatusBadRequest, object{"code": 400, "message": err.Error()})
			return
		}
		silence["id"], silence["status"] = id, object{"state": "active"}
		encoded, err := json.Marshal(silence)
		if err != nil {
			panic(err) // of what was JSON
		}
		m.Silences = append(m.Silences, encoded)
		writeJSON(w, http.StatusOK, object{"silenceID": id})
	default:
		http.Error(w, "404 page not found", http.StatusNotFound)
	}
}
