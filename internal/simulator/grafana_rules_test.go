package simulator

import (
	"net/http"
	"testing"
	"time"
)

func ruleOf(uid, title string) object {
	rule := object{
		"title": title, "condition": "C", "data": []object{{"refId": "A"}}, "noDataState": "OK", "execErrState": "Error", "for": "5m",
		"folderUID": "f", "ruleGroup": "g", "orgID": 1,
	}
	if uid != "" {
		rule["uid"] = uid
	}
	return rule
}

// ownGrafana is a Grafana of one's own, with a folder.
func ownGrafana(t *testing.T) (*GrafanaServer, grafanaClient) {
	g := NewGrafana("glsa_token")
	c := grafanaClient{t, g, "", http.Header{"Authorization": {"Bearer glsa_token"}}}
	c.folder("f", "F")
	return g, c
}

func TestGrafanaOfOnesOwn(t *testing.T) {
	g, c := ownGrafana(t)
	c.want("GET", "/api/health", nil, 200, `"version":"9.4.7"`)
	c.header = http.Header{"X-Auth-Token": {DemoSecretKey}}
	c.want("GET", "/api/org", nil, 401, `{"message":"Unauthorized"}`)
	g.Update(func(g *Grafana) {
		if g.Cockpit || len(g.Folders) != 1 {
			t.Errorf("it has %+v", g)
		}
	})
}

// Contract 26.
func TestGrafanaRuleGroups(t *testing.T) {
	const group = "/api/v1/provisioning/folder/f/rule-groups/g"
	g, c := ownGrafana(t)
	c.want("GET", group, nil, 404, "")
	put := func(interval int, status int, text string, rules ...object) object {
		t.Helper()
		return c.want("PUT", group, object{"title": "g", "folderUid": "f", "interval": interval, "rules": rules}, status, text)
	}
	put(15, 500, "divided exactly", ruleOf("", "A"))
	put(0, 500, "divided exactly", ruleOf("", "A"))
	put(60, 500, "title is empty", ruleOf("", ""))
	put(60, 500, "no queries", object{"title": "A", "condition": "C"})
	put(60, 500, "should be unique", ruleOf("", "A"), ruleOf("", "A"))
	put(60, 500, "could not find alert rule", ruleOf("unknown", "A"))
	made := put(60, 200, `"provenance":"api"`, ruleOf("", "A"), ruleOf("", "B"))
	of := func(i int, key string) any { return made["rules"].([]any)[i].(object)[key] }
	uid := func(i int) string { return of(i, "uid").(string) }
	a, b, id := uid(0), uid(1), of(0, "id")
	// The rule whose uid is there stays; one without is new, and the others go.
	made = put(120, 200, `"interval":120`, ruleOf(a, "A changed"), ruleOf("", "B"))
	if uid(0) != a || uid(1) == b || of(0, "id") != id || of(1, "id") == id {
		t.Errorf("the rules' uids are %s and %s, after %s and %s", uid(0), uid(1), a, b)
	}
	made = put(120, 200, "A changed", ruleOf(a, "A changed"))
	if n := len(made["rules"].([]any)); n != 1 {
		t.Errorf("%d rules are left", n)
	}
	c.want("GET", group, nil, 200, a)
	c.want("PUT", "/api/v1/provisioning/folder/f/rule-groups/h", object{"interval": 60, "rules": []object{ruleOf("", "A changed")}}, 500, "should be unique")
	c.want("PUT", "/api/v1/provisioning/folder/f/rule-groups/h", object{"interval": 60, "rules": []object{ruleOf(a, "C")}}, 500, "another group")
	// An unknown folder is accepted.
	c.want("PUT", "/api/v1/provisioning/folder/nowhere/rule-groups/g", object{"interval": 60, "rules": []object{ruleOf("", "A")}}, 200, "nowhere")
	c.want("DELETE", "/api/folders/f", nil, 400, "contains alert rules")
	c.want("DELETE", group, nil, 204, "")
	c.want("DELETE", group, nil, 404, "")
	c.want("DELETE", "/api/folders/f", nil, 200, "deleted")
	g.Update(func(g *Grafana) {
		if len(g.AlertGroups) != 1 || g.AlertGroups[0].FolderUID != "nowhere" {
			t.Errorf("left are %+v", g.AlertGroups)
		}
	})
}

func TestGrafanaSingleRules(t *testing.T) {
	g, c := ownGrafana(t)
	const rules = "/api/v1/provisioning/alert-rules"
	c.want("GET", rules, nil, 200, "[]")
	c.want("POST", rules, ruleOf("a", "A"), 201, `"uid":"a"`)
	c.want("POST", rules, ruleOf("a", "B"), 500, "UNIQUE")
	c.want("POST", rules, ruleOf("b", "A"), 500, "should be unique")
	c.want("POST", rules, ruleOf("b", ""), 500, "title is empty")
	c.want("POST", rules, object{"title": "C", "condition": "C", "data": []object{{}}}, 500, "folder and group")
	c.want("GET", rules, nil, 200, `"uid":"a"`)
	c.want("GET", rules+"/a", nil, 200, `"for":"5m"`)
	c.want("GET", rules+"/x", nil, 404, "")
	c.want("PUT", rules+"/a", ruleOf("", "A changed"), 200, `"uid":"a"`)
	c.want("PUT", rules+"/a", ruleOf("", ""), 500, "title is empty")
	c.want("PUT", rules+"/x", ruleOf("", "A"), 404, "")
	c.header.Set("X-Disable-Provenance", "true")
	if rule := c.want("POST", rules, ruleOf("c", "C"), 201, ""); rule["provenance"] != nil {
		t.Errorf("rule %v", rule)
	}
	// Durations are spelled anew; what a version does not know vanishes.
	kept := ruleOf("k", "K")
	kept["for"], kept["keep_firing_for"] = "1m0s", "120s"
	if rule := c.want("POST", rules, kept, 201, `"for":"1m"`); rule["keep_firing_for"] != nil {
		t.Errorf("rule %v", rule)
	}
	g.Update(func(g *Grafana) { g.Version = "12.2.0" })
	c.want("PUT", rules+"/k", kept, 200, `"keep_firing_for":"2m"`)
	kept["for"] = "soon"
	c.want("PUT", rules+"/k", kept, 400, "bad request data")
	c.want("DELETE", rules+"/k", nil, 204, "")
	c.want("DELETE", rules+"/a", nil, 204, "")
	c.want("DELETE", rules+"/a", nil, 204, "")
	c.want("DELETE", rules+"/c", nil, 204, "")
	c.want("GET", "/api/v1/provisioning/folder/f/rule-groups/g", nil, 404, "")
	c.want("GET", "/api/v1/provisioning/other", nil, 404, "Not found")
}

// A Cockpit's Grafana stores rules, too: nothing evaluates them.
func TestCockpitGrafanaStoresRules(t *testing.T) {
	s := New(DemoAccount(time.Now()))
	c := grafanaClient{t, s, grafanaPath + DemoHome, http.Header{"X-Auth-Token": {DemoSecretKey}}}
	c.want("GET", "/api/org", nil, 200, "")
	c.want("POST", "/api/v1/provisioning/alert-rules", ruleOf("a", "A"), 201, "")
	s.Update(func(a *Account) {
		if g := a.Project(DemoHome).Grafana; !g.Cockpit || len(g.AlertGroups) != 1 {
			t.Errorf("it has %+v", g)
		}
	})
	if _, text := (call{method: "GET", path: "/cockpit/v1/regions/fr-par/alerts?project_id=" + DemoHome}).text(s); text != `{"alerts":[],"total_count":0}` {
		t.Errorf("alerts %s", text)
	}
}
