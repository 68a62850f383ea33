package simulator

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const recordings = "../../../shared/recordings/scaleway-api.jsonl"

type exchange struct {
	Recording, Method, URL string
	Status                 int
	ContentType            string `json:"content_type"`
	Response               any
}

func readRecordings(t *testing.T) []exchange {
	t.Helper()
	file, err := os.Open(recordings)
	if os.IsNotExist(err) {
		t.Skipf("the recorded answers of the real API are not here (%s)", recordings)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var all []exchange
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e exchange
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	if err := lines.Err(); err != nil || len(all) == 0 {
		t.Fatalf("%d exchanges, error %v", len(all), err)
	}
	return all
}

var anID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// shape describes the keys and types of a JSON value, one path a line. What is
// null may be of any type; the members of variables have names of their own.
func shape(path string, value any, into map[string]string) {
	switch v := value.(type) {
	case map[string]any:
		into[path] = "object"
		if strings.HasSuffix(path, ".environment_variables") || strings.HasSuffix(path, ".args") {
			return
		}
		for key, member := range v {
			shape(path+"."+key, member, into)
		}
	case []any:
		into[path] = "list"
		for _, member := range v {
			shape(path+"[]", member, into)
		}
	case nil:
		into[path] = "null"
	default:
		into[path] = fmt.Sprintf("%T", v)
	}
}

// What was recorded of the functions API is answered with the same status,
// content type, keys and types, and the same bodies of errors.
func TestAnswersAreThoseRecorded(t *testing.T) {
	account := DemoAccount(time.Now())
	checkout := account.Lookup("shop", "checkout")
	checkout.ErrorMessage, checkout.PrivateNetworkID = "internal error", ""
	ids := map[string]string{
		"namespaces": account.Projects[1].Namespaces[0].ID,
		"functions":  checkout.ID,
		"crons":      account.Lookup("ops", "backup").Crons[0].ID,
	}
	server := New(account)
	compared := map[string]int{}
	for _, e := range readRecordings(t) {
		if e.Method != "GET" || !strings.HasPrefix(e.URL, "/functions/") {
			continue
		}
		collection := strings.Split(strings.Split(e.URL, "?")[0], "/")[5]
		url := e.URL
		switch {
		case e.Status == 200 && strings.Contains(url, "?"):
			url = strings.Split(url, "?")[0]
		case e.Status == 200:
			url = anID.ReplaceAllString(url, ids[collection])
		}
		req := httptest.NewRequest("GET", url, nil)
		req.Header.Set("X-Auth-Token", DemoSecretKey)
		w := httptest.NewRecorder()
		server.ServeHTTP(w, req)
		if w.Code != e.Status || w.Header().Get("Content-Type") != e.ContentType {
			t.Errorf("%s: %d %s, recorded %d %s", e.URL, w.Code, w.Header().Get("Content-Type"), e.Status, e.ContentType)
			continue
		}
		var answer any
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		if e.Status != 200 {
			if want, _ := json.Marshal(e.Response); strings.TrimSpace(w.Body.String()) != string(want) {
				t.Errorf("%s: %s, recorded %s", e.URL, w.Body, want)
			}
		} else {
			for _, difference := range differences(e.Response, answer) {
				t.Errorf("%s: %s", e.URL, difference)
			}
		}
		compared[fmt.Sprint(collection, " ", e.Status)]++
	}
	for _, kind := range []string{"namespaces 200", "namespaces 404", "functions 200", "crons 200"} {
		if compared[kind] == 0 {
			t.Errorf("no recording of %s was compared", kind)
		}
	}
	t.Log(compared)
}

func differences(recorded, answered any) []string {
	want, got := map[string]string{}, map[string]string{}
	shape("", recorded, want)
	shape("", answered, got)
	var all []string
	for path, kind := range want {
		switch other, ok := got[path]; {
		case !ok && strings.Contains(path, "[]"):
			// The recording's list has members where the answer's has none.
		case !ok:
			all = append(all, path+" is missing")
		case other != kind && other != "null" && kind != "null":
			all = append(all, fmt.Sprintf("%s is a %s, recorded as %s", path, other, kind))
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok && !strings.Contains(path, "[]") {
			all = append(all, path+" was never recorded")
		}
	}
	slices.Sort(all)
	return all
}

// The bodies of errors that were recorded for other products are the same here.
func TestDeniedIsAsRecorded(t *testing.T) {
	for _, e := range readRecordings(t) {
		if e.Status != 403 {
			continue
		}
		body, _ := json.Marshal(denied("cockpit", http.MethodGet).body)
		want, _ := json.Marshal(e.Response)
		if string(body) != string(want) {
			t.Errorf("%s, recorded %s", body, want)
		}
		return
	}
	t.Error("no 403 was recorded")
}
