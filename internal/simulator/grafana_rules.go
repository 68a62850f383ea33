package simulator

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
)

// provisioning answers /api/v1/provisioning/…: the rules that Grafana manages.
// Ordinary mistakes are its own: 500.
func (g *Grafana) provisioning(c grafanaCall, path []string) (any, *failure) {
	switch {
	case len(path) == 1 && path[0] == "alert-rules" && c.method == http.MethodGet:
		all := []map[string]any{}
		for _, group := range g.AlertGroups {
			all = append(all, group.Rules...)
		}
		return all, nil
	case len(path) == 1 && path[0] == "alert-rules" && c.method == http.MethodPost:
		return g.createRule(c)
	case len(path) == 2 && path[0] == "alert-rules":
		return g.onRule(c, path[1])
	case len(path) == 4 && path[0] == "folder" && path[2] == "rule-groups":
		return g.onRuleGroup(c, path[1], path[3])
	}
	return nil, message(http.StatusNotFound, "Not found")
}

func ruleMistake(format string, args ...any) *failure {
	return message(http.StatusInternalServerError, "invalid alert rule: "+fmt.Sprintf(format, args...))
}

// checkRule refuses what Grafana would.
func checkRule(rule map[string]any) *failure {
	for _, key := range []string{"title", "condition"} {
		if text, _ := rule[key].(string); text == "" && !(key == "condition" && rule["record"] != nil) {
			return ruleMistake("%s is empty", key)
		}
	}
	if data, _ := rule["data"].([]any); len(data) == 0 {
		return ruleMistake("no queries or expressions are found")
	}
	for _, key := range []string{"for", "keep_firing_for"} {
		if text, _ := rule[key].(string); text != "" {
			if _, err := model.ParseDuration(text); err != nil {
				return message(http.StatusBadRequest, "bad request data")
			}
		}
	}
	return nil
}

// titleTaken tells whether another rule of the folder has the title.
func (g *Grafana) titleTaken(folder string, rule map[string]any, besides string) bool {
	for _, group := range g.AlertGroups {
		for _, other := range group.Rules {
			if group.FolderUID == folder && group.Title != besides && other["title"] == rule["title"] && other["uid"] != rule["uid"] {
				return true
			}
		}
	}
	return false
}

// complete gives a rule what Grafana adds.
func (g *Grafana) complete(c grafanaCall, rule map[string]any, folder, group string) map[string]any {
	rule = maps.Clone(rule)
	rule["orgID"], rule["folderUID"], rule["ruleGroup"], rule["updated"] = 1, folder, group, c.now
	if i, r := g.rule(fmt.Sprint(rule["uid"])); i >= 0 {
		rule["id"] = g.AlertGroups[i].Rules[r]["id"]
	} else {
		rule["id"] = g.newID()
	}
	if uid, _ := rule["uid"].(string); uid == "" {
		rule["uid"] = fmt.Sprintf("made-%d", rule["id"])
	}
	if strings.HasPrefix(g.version(), "9.") {
		for _, key := range []string{"keep_firing_for", "record", "notification_settings", "missingSeriesEvalsToResolve"} {
			delete(rule, key) // which it does not know
		}
	}
	for _, key := range []string{"for", "keep_firing_for"} {
		if duration, err := model.ParseDuration(fmt.Sprint(rule[key])); err == nil {
			rule[key] = duration.String()
		}
	}
	for key, value := range map[string]any{"noDataState": "NoData", "execErrState": "Alerting", "for": "0s", "isPaused": false} {
		if rule[key] == nil || rule[key] == "" {
			rule[key] = value
		}
	}
	if c.header.Get("X-Disable-Provenance") == "" {
		rule["provenance"] = "api"
	} else {
		delete(rule, "provenance")
	}
	return rule
}

func (g *Grafana) rule(uid string) (group, rule int) {
	for i := range g.AlertGroups {
		for r, rule := range g.AlertGroups[i].Rules {
			if rule["uid"] == uid {
				return i, r
			}
		}
	}
	return -1, -1
}

func (g *Grafana) group(folder, title string) int {
	return slices.IndexFunc(g.AlertGroups, func(other AlertGroup) bool { return other.FolderUID == folder && other.Title == title })
}

// createRule takes a folder that does not exist as well.
func (g *Grafana) createRule(c grafanaCall) (any, *failure) {
	var rule map[string]any
	if failed := c.read(&rule); failed != nil {
		return nil, failed
	}
	folder, _ := rule["folderUID"].(string)
	title, _ := rule["ruleGroup"].(string)
	if failed := checkRule(rule); failed != nil {
		return nil, failed
	}
	if folder == "" || title == "" {
		return nil, ruleMistake("folder and group are needed")
	}
	if uid, _ := rule["uid"].(string); uid != "" {
		if i, _ := g.rule(uid); i >= 0 {
			return nil, message(http.StatusInternalServerError, "failed to insert alert rules: UNIQUE constraint failed: alert_rule.org_id, alert_rule.uid")
		}
	}
	if g.titleTaken(folder, rule, "") {
		return nil, message(http.StatusInternalServerError, "a conflicting alert rule is found: rule title under the same organisation and folder should be unique")
	}
	rule = g.complete(c, rule, folder, title)
	i := g.group(folder, title)
	if i < 0 {
		g.AlertGroups = append(g.AlertGroups, AlertGroup{FolderUID: folder, Title: title, Interval: 60})
		i = len(g.AlertGroups) - 1
	}
	g.AlertGroups[i].Rules = append(g.AlertGroups[i].Rules, rule)
	return answered{http.StatusCreated, rule}, nil
}

func (g *Grafana) onRule(c grafanaCall, uid string) (any, *failure) {
	i, r := g.rule(uid)
	switch {
	case c.method == http.MethodDelete: // one that is missing, too
		if i >= 0 {
			g.AlertGroups[i].Rules = slices.Delete(g.AlertGroups[i].Rules, r, r+1)
			if len(g.AlertGroups[i].Rules) == 0 {
				g.AlertGroups = slices.Delete(g.AlertGroups, i, i+1)
			}
		}
		return answered{http.StatusNoContent, nil}, nil
	case i < 0:
		return nil, &failure{http.StatusNotFound, nil}
	case c.method == http.MethodGet:
		return g.AlertGroups[i].Rules[r], nil
	case c.method == http.MethodPut:
		var rule map[string]any
		if failed := c.read(&rule); failed != nil {
			return nil, failed
		}
		if failed := checkRule(rule); failed != nil {
			return nil, failed
		}
		rule["uid"] = uid
		rule = g.complete(c, rule, g.AlertGroups[i].FolderUID, g.AlertGroups[i].Title)
		g.AlertGroups[i].Rules[r] = rule
		return rule, nil
	}
	return nil, message(http.StatusNotFound, "Not found")
}

func (g *Grafana) onRuleGroup(c grafanaCall, folder, title string) (any, *failure) {
	i := g.group(folder, title)
	switch c.method {
	case http.MethodGet:
		if i < 0 {
			return nil, &failure{http.StatusNotFound, nil}
		}
		return groupBody(g.AlertGroups[i]), nil
	case http.MethodDelete:
		if i < 0 {
			return nil, &failure{http.StatusNotFound, nil}
		}
		g.AlertGroups = slices.Delete(g.AlertGroups, i, i+1)
		return answered{http.StatusNoContent, nil}, nil
	case http.MethodPut:
		return g.replaceRuleGroup(c, folder, title)
	}
	return nil, message(http.StatusNotFound, "Not found")
}

// replaceRuleGroup keeps the rules whose uids the new group has, and removes
// the others: a rule without one is a new rule.
func (g *Grafana) replaceRuleGroup(c grafanaCall, folder, title string) (any, *failure) {
	var wanted struct {
		Interval int64
		Rules    []map[string]any
	}
	if err := json.Unmarshal(c.body, &wanted); err != nil {
		return nil, message(http.StatusBadRequest, "bad request data")
	}
	if wanted.Interval <= 0 || wanted.Interval%10 != 0 {
		return nil, ruleMistake("interval (%ds) should be non-zero and divided exactly by scheduler interval: 10s", wanted.Interval)
	}
	group := AlertGroup{FolderUID: folder, Title: title, Interval: wanted.Interval}
	titles := map[any]bool{}
	for _, rule := range wanted.Rules {
		if failed := checkRule(rule); failed != nil {
			return nil, failed
		}
		if titles[rule["title"]] || g.titleTaken(folder, rule, title) {
			return nil, message(http.StatusInternalServerError, "a conflicting alert rule is found: rule title under the same organisation and folder should be unique")
		}
		titles[rule["title"]] = true
		// A uid says that the rule is there; newer versions than 9.4 make one.
		if uid, _ := rule["uid"].(string); uid != "" {
			switch i, _ := g.rule(uid); {
			case i < 0:
				return nil, message(http.StatusInternalServerError, "failed to update rule with UID "+uid+" because could not find alert rule")
			case g.AlertGroups[i].FolderUID != folder || g.AlertGroups[i].Title != title:
				return nil, message(http.StatusInternalServerError, "failed to update rule with UID "+uid+": it is in another group")
			}
		}
		group.Rules = append(group.Rules, g.complete(c, rule, folder, title))
	}
	i := g.group(folder, title)
	switch {
	case len(group.Rules) == 0 && i >= 0:
		g.AlertGroups = slices.Delete(g.AlertGroups, i, i+1)
	case len(group.Rules) == 0:
	case i >= 0:
		g.AlertGroups[i] = group
	default:
		g.AlertGroups = append(g.AlertGroups, group)
	}
	return groupBody(group), nil
}

func groupBody(group AlertGroup) object {
	return object{
		"title": group.Title, "folderUid": group.FolderUID, "interval": group.Interval, "rules": append([]map[string]any{}, group.Rules...),
	}
}
