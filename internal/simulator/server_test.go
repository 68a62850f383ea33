package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	account "github.com/scaleway/scaleway-sdk-go/api/account/v3"
	function "github.com/scaleway/scaleway-sdk-go/api/function/v1beta1"
	iam "github.com/scaleway/scaleway-sdk-go/api/iam/v1alpha1"
	"github.com/scaleway/scaleway-sdk-go/scw"
)

// client is the real SDK on a server over TCP.
func client(t *testing.T, s *Server, secretKey string) *scw.Client {
	t.Helper()
	url, end, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	c, err := scw.NewClient(scw.WithAPIURL(url), scw.WithAuth(DemoAccessKey, secretKey), scw.WithHTTPClient(&http.Client{Transport: &http.Transport{}}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every route, as the SDK's own methods decode it.
func TestSDK(t *testing.T) {
	s := New(DemoAccount(time.Now()))
	c := client(t, s, DemoSecretKey)
	api := function.NewAPI(c)
	project := "bbbbbbbb-0000-4000-8000-000000000002"

	namespaces, err := api.ListNamespaces(&function.ListNamespacesRequest{Region: scw.RegionFrPar, ProjectID: &project})
	if err != nil || namespaces.TotalCount != 1 || namespaces.Namespaces[0].Name != "shop" {
		t.Fatalf("namespaces %+v, error %v", namespaces, err)
	}
	shop := namespaces.Namespaces[0].ID
	functions, err := api.ListFunctions(&function.ListFunctionsRequest{Region: scw.RegionFrPar, NamespaceID: shop})
	if err != nil || functions.TotalCount != 4 {
		t.Fatalf("functions %+v, error %v", functions, err)
	}
	f := functions.Functions[0]
	if f.Name != "checkout" || f.Privacy != function.FunctionPrivacyPrivate || len(f.SecretEnvironmentVariables) != 2 ||
		f.Timeout.Seconds != 300 || f.MemoryLimit != 256 || f.CreatedAt == nil || !strings.HasSuffix(f.DomainName, "-checkout.functions.fnc.fr-par.scw.cloud") {
		t.Errorf("function %+v", f)
	}
	if got, err := api.GetFunction(&function.GetFunctionRequest{Region: scw.RegionFrPar, FunctionID: f.ID}); err != nil || got.Name != f.Name {
		t.Errorf("function %+v, error %v", got, err)
	}
	tokens, err := api.ListTokens(&function.ListTokensRequest{Region: scw.RegionFrPar, FunctionID: &f.ID})
	if err != nil || tokens.TotalCount != 1 || tokens.Tokens[0].ExpiresAt != nil {
		t.Errorf("tokens %+v, error %v", tokens, err)
	}
	tokens, err = api.ListTokens(&function.ListTokensRequest{Region: scw.RegionFrPar, NamespaceID: &shop})
	if err != nil || tokens.TotalCount != 1 || tokens.Tokens[0].ExpiresAt == nil {
		t.Errorf("the namespace's tokens %+v, error %v", tokens, err)
	}
	triggers, err := api.ListTriggers(&function.ListTriggersRequest{Region: scw.RegionFrPar, ProjectID: &project})
	if err != nil || triggers.TotalCount != 2 || triggers.Triggers[0].InputType != function.TriggerInputTypeScwSqs {
		t.Errorf("triggers %+v, error %v", triggers, err)
	}
	domains, err := api.ListDomains(&function.ListDomainsRequest{Region: scw.RegionFrPar, FunctionID: f.ID})
	if err != nil || domains.TotalCount != 1 || domains.Domains[0].Hostname != "checkout.example.com" {
		t.Errorf("domains %+v, error %v", domains, err)
	}
	crons, err := api.ListCrons(&function.ListCronsRequest{Region: scw.RegionFrPar, FunctionID: f.ID})
	if err != nil || crons.TotalCount != 0 {
		t.Errorf("crons %+v, error %v", crons, err)
	}
	runtimes, err := api.ListFunctionRuntimes(&function.ListFunctionRuntimesRequest{Region: scw.RegionFrPar})
	if err != nil || runtimes.TotalCount != 6 {
		t.Errorf("runtimes %+v, error %v", runtimes, err)
	}
	projects, err := account.NewProjectAPI(c).ListProjects(&account.ProjectAPIListProjectsRequest{OrganizationID: DemoOrganization})
	if err != nil || projects.TotalCount != 3 {
		t.Errorf("projects %+v, error %v", projects, err)
	}
	if p, err := account.NewProjectAPI(c).GetProject(&account.ProjectAPIGetProjectRequest{ProjectID: project}); err != nil || p.Name != "payments" {
		t.Errorf("project %+v, error %v", p, err)
	}
	if key, err := iam.NewAPI(c).GetAPIKey(&iam.GetAPIKeyRequest{AccessKey: DemoAccessKey}); err != nil || key.ExpiresAt == nil {
		t.Errorf("key %+v, error %v", key, err)
	}
}

func TestRefusals(t *testing.T) {
	s := New(DemoAccount(time.Now()))
	s.Update(func(a *Account) { a.Denied = []Denial{{Region: "nl-ams", Resource: "function"}} })
	api := function.NewAPI(client(t, s, DemoSecretKey))
	other := function.NewAPI(client(t, New(DemoAccount(time.Now())), "00000000-0000-4000-8000-000000000000"))
	unknown := "ffffffff-0000-4000-8000-000000000000"
	home := DemoHome
	var authentication *scw.DeniedAuthenticationError
	if _, err := other.ListNamespaces(&function.ListNamespacesRequest{Region: scw.RegionFrPar}); !errors.As(err, &authentication) {
		t.Errorf("an unknown key: %v", err)
	}
	var permissions *scw.PermissionsDeniedError
	if _, err := api.ListNamespaces(&function.ListNamespacesRequest{Region: scw.RegionFrPar, ProjectID: &unknown}); !errors.As(err, &permissions) {
		t.Errorf("an unknown project: %v", err)
	}
	if _, err := api.ListNamespaces(&function.ListNamespacesRequest{Region: scw.RegionNlAms, ProjectID: &home}); !errors.As(err, &permissions) {
		t.Errorf("a denied region: %v", err)
	}
	var arguments *scw.InvalidArgumentsError
	if _, err := api.ListFunctions(&function.ListFunctionsRequest{Region: scw.RegionFrPar}); !errors.As(err, &arguments) {
		t.Errorf("functions of no namespace: %v", err)
	}
	size := uint32(101)
	if _, err := api.ListNamespaces(&function.ListNamespacesRequest{Region: scw.RegionFrPar, PageSize: &size}); !errors.As(err, &arguments) {
		t.Errorf("a page of 101: %v", err)
	}
	var response *scw.ResponseError
	for _, id := range []string{unknown} {
		if _, err := api.ListFunctions(&function.ListFunctionsRequest{Region: scw.RegionFrPar, NamespaceID: id}); !errors.As(err, &response) || response.StatusCode != 404 {
			t.Errorf("functions of a namespace that is gone: %v", err)
		}
		if _, err := api.ListCrons(&function.ListCronsRequest{Region: scw.RegionFrPar, FunctionID: id}); !errors.As(err, &response) || response.StatusCode != 404 {
			t.Errorf("crons of a function that is gone: %v", err)
		}
	}
}

func TestPages(t *testing.T) {
	s := New(LargeAccount(250, 1, 1, time.Now()))
	ns := s.account.Projects[0].Namespaces[0].ID
	api := function.NewAPI(client(t, s, DemoSecretKey))
	seen := map[string]bool{}
	for page, want := range []int{100, 100, 50, 0} {
		number, size := int32(page+1), uint32(100)
		got, err := api.ListFunctions(&function.ListFunctionsRequest{Region: scw.RegionFrPar, NamespaceID: ns, Page: &number, PageSize: &size})
		if err != nil || len(got.Functions) != want || got.TotalCount != 250 {
			t.Fatalf("page %d: %d functions of %d, error %v", number, len(got.Functions), got.TotalCount, err)
		}
		for _, f := range got.Functions {
			seen[f.ID] = true
		}
	}
	if len(seen) != 250 {
		t.Errorf("%d different functions on all pages, want 250", len(seen))
	}
	if got, err := api.ListFunctions(&function.ListFunctionsRequest{Region: scw.RegionFrPar, NamespaceID: ns}); err != nil || len(got.Functions) != defaultPageSize {
		t.Errorf("%d functions on a page of the default size, error %v", len(got.Functions), err)
	}
}

// The faults, over pipes and in the bubble's time.
func TestFaults(t *testing.T) {
	path := "/functions/v1beta1/regions/fr-par/namespaces"
	for name, test := range map[string]struct {
		fault  Fault
		status int // 0: no whole answer within a minute
		want   string
	}{
		"none":           {Fault{Path: "/elsewhere"}, 200, `"total_count"`},
		"429":            {Fault{Kind: TooManyRequests, RetryAfter: "7"}, 429, "too many"},
		"500":            {Fault{Kind: ServerError}, 500, "internal error"},
		"503":            {Fault{Kind: Unavailable}, 503, "<html>"},
		"a login page":   {Fault{Kind: NoJSON}, 200, "<form>"},
		"another shape":  {Fault{Kind: WrongShape}, 200, `[{`},
		"denied":         {Fault{Kind: Denied}, 403, "permissions_denied"},
		"no page":        {Fault{Kind: NoPage}, 404, "404 page not found"},
		"redirected":     {Fault{Kind: Redirected}, 302, "<html>"},
		"of a method":    {Fault{Kind: ServerError, Method: "POST"}, 200, `"total_count"`},
		"after a call":   {Fault{Kind: ServerError, After: 1}, 200, `"total_count"`},
		"hang":           {Fault{Kind: Hang}, 0, ""},
		"reset":          {Fault{Kind: Reset}, 0, ""},
		"cut short":      {Fault{Kind: CutShort}, 0, ""},
		"slow":           {Fault{Kind: Slow, Delay: time.Millisecond}, 200, `"total_count"`},
		"too slow":       {Fault{Kind: Slow, Delay: time.Second}, 0, ""},
		"over by then":   {Fault{Kind: ServerError, Until: time.Unix(0, 0)}, 200, `"total_count"`},
		"used up before": {Fault{Kind: ServerError, Times: 1}, 200, `"total_count"`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(DemoAccount(time.Now()))
				s.Latency = 40 * time.Millisecond
				transport, end := s.Pipe()
				defer end()
				off := s.Fault(test.fault)
				get := func() (int, string) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					req, _ := http.NewRequestWithContext(ctx, "GET", "http://api.example"+path, nil)
					req.Header.Set("X-Auth-Token", DemoSecretKey)
					resp, err := transport.RoundTrip(req)
					if err != nil {
						return 0, err.Error()
					}
					defer resp.Body.Close()
					if resp.Header.Get("X-Request-Id") == "" || resp.StatusCode == 429 && resp.Header.Get("Retry-After") != test.fault.RetryAfter {
						t.Errorf("headers %v", resp.Header)
					}
					body, err := io.ReadAll(resp.Body)
					if err != nil {
						return 0, err.Error()
					}
					return resp.StatusCode, string(body)
				}
				if test.fault.Times == 1 {
					if status, _ := get(); status != 500 {
						t.Errorf("the first answer is %d", status)
					}
				}
				began := time.Now()
				status, body := get()
				if status != test.status || !strings.Contains(body, test.want) && test.status != 0 {
					t.Errorf("%d %s, want %d with %q", status, body, test.status, test.want)
				}
				if time.Since(began) < s.Latency {
					t.Errorf("answered after %s, before the latency", time.Since(began))
				}
				off()
				if status, body := get(); status != 200 || !json.Valid([]byte(body)) {
					t.Errorf("switched off: %d %s", status, body)
				}
			})
		})
	}
}

// The demo goes on for ever, and its account stays the same size.
func TestPlay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(DemoAccount(time.Now()))
		ctx, cancel := context.WithCancel(t.Context())
		var told bytes.Buffer
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Play(ctx, func(says string) { told.WriteString(says + "\n") })
		}()
		state := func(namespace, name string) string {
			var privacy string
			s.Update(func(a *Account) { f := a.Lookup(namespace, name); privacy = f.Privacy + " " + f.Status })
			return privacy
		}
		secret := func() (hash string) {
			s.Update(func(a *Account) { hash = a.Lookup("ops", "backup").Secrets[0].Hash })
			return hash
		}
		hash := secret()
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if got := state("shop", "checkout"); got != "public ready" {
			t.Errorf("after a minute checkout is %s", got)
		}
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		if got := state("ops", "audit-trail"); got != "private error" {
			t.Errorf("after five minutes audit-trail is %s", got)
		}
		if secret() == hash {
			t.Error("the secret was not set again")
		}
		time.Sleep(55 * time.Minute)
		synctest.Wait()
		cancel()
		<-done
		if n := strings.Count(told.String(), "\n"); n != 6*len(scenario) {
			t.Errorf("%d changes in an hour, want %d:\n%s", n, 6*len(scenario), told.String())
		}
		if got := state("site", "search"); got != "private ready" {
			t.Errorf("search is %s", got)
		}
	})
}

// Two accounts of the same time are the same.
func TestDemoAccountIsTheSame(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	a, _ := json.Marshal(DemoAccount(now))
	b, _ := json.Marshal(DemoAccount(now))
	if !bytes.Equal(a, b) {
		t.Error("they differ")
	}
}
