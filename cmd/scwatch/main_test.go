package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.etcd.io/bbolt"

	"github.com/scwatch/scwatch/internal/simulator"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"scwatch": main})
}

// TestScripts runs what users see: the commands, their output and exit codes,
// against the simulated account.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("SCWATCH_UPDATE") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Values[simulated{}] = simulator.New(simulator.DemoAccount(time.Now()))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"simulator": startSimulator,
			"fault":     switchFault,
			"account":   changeAccount,
			"edit":      editRules,
			"freeport":  findPort,
			"occupy":    occupyPort,
			"exits":     runAndExit,
			"until":     waitFor,
			"post":      post,
			"schema":    setSchema,
			"signal":    sendSignal,
			"get":       getPage,
			"selfsign":  selfSign,
			"storage":   connectStorage,
			"sources":   setSources,
			"config":    configurePrometheus,
			"timeless":  timeless,
			"knock":     knock,
		},
	})
}

// simulated is the key of a script's simulator.
type simulated struct{}

func sim(ts *testscript.TestScript) *simulator.Server {
	return ts.Value(simulated{}).(*simulator.Server)
}

// startSimulator serves the demo's account, and sets the credentials for it.
func startSimulator(ts *testscript.TestScript, _ bool, _ []string) {
	url, end, err := sim(ts).Listen("127.0.0.1:0")
	ts.Check(err)
	ts.Defer(end)
	for name, value := range map[string]string{
		"SCW_API_URL": url, "SCW_ACCESS_KEY": simulator.DemoAccessKey, "SCW_SECRET_KEY": simulator.DemoSecretKey,
		"SCW_DEFAULT_PROJECT_ID": simulator.DemoHome, "SCW_DEFAULT_ORGANIZATION_ID": simulator.DemoOrganization,
	} {
		ts.Setenv(name, value)
	}
}

var faults = map[string]simulator.Kind{
	"hang": simulator.Hang, "500": simulator.ServerError, "denied": simulator.Denied, "html": simulator.NoJSON,
}

// switchFault: fault KIND [PATH]
func switchFault(ts *testscript.TestScript, _ bool, args []string) {
	fault := simulator.Fault{Kind: faults[args[0]]}
	if len(args) > 1 {
		fault.Path = args[1]
	}
	sim(ts).Fault(fault)
}

// changeAccount: account NAMESPACE FUNCTION PRIVACY
func changeAccount(ts *testscript.TestScript, _ bool, args []string) {
	sim(ts).Update(func(a *simulator.Account) { a.Lookup(args[0], args[1]).Privacy = args[2] })
}

// editRules: edit GROUP OLD NEW changes a rule group of the home as a person does
// in the page.
func editRules(ts *testscript.TestScript, _ bool, args []string) {
	sim(ts).Update(func(a *simulator.Account) {
		for i, g := range a.Projects[0].RuleGroups {
			if g.Name == args[0] && strings.Contains(g.YAML, args[1]) {
				a.Projects[0].RuleGroups[i].YAML = strings.Replace(g.YAML, args[1], args[2], 1)
				return
			}
		}
		ts.Fatalf("no group %s with %s", args[0], args[1])
	})
}

// knock: knock NAMESPACE FUNCTION CALLS calls a function without a token, within
// a second.
func knock(ts *testscript.TestScript, _ bool, args []string) {
	calls, err := strconv.Atoi(args[2])
	ts.Check(err)
	sim(ts).Update(func(a *simulator.Account) { a.Knock(args[0], args[1], float64(calls), time.Now(), time.Second) })
}

// findPort: freeport NAME sets the variable NAME to a port that is free.
func findPort(ts *testscript.TestScript, _ bool, args []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))
	ts.Check(listener.Close())
}

// occupyPort: occupy NAME does the same, and keeps the port.
func occupyPort(ts *testscript.TestScript, _ bool, args []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { listener.Close() })
	ts.Setenv(args[0], strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))
}

// runAndExit: exits CODE PROGRAM ARGS...
func runAndExit(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit := (*exec.ExitError)(nil); err != nil {
		ok := false
		if exit, ok = err.(*exec.ExitError); !ok {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// sendSignal: signal TERM|INT|HUP|KILL to the last program in the background.
func sendSignal(ts *testscript.TestScript, _ bool, args []string) {
	running := ts.BackgroundCmds()
	ts.Check(running[len(running)-1].Process.Signal(map[string]os.Signal{
		"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL,
	}[args[0]]))
}

// waitFor: until URL PATTERN waits until the answer matches; with ! until it
// no longer does.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	pattern := regexp.MustCompile("(?m)" + args[1])
	last := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		last = fetch(http.MethodGet, args[0])
		if pattern.MatchString(last) != neg {
			return
		}
	}
	ts.Fatalf("%s answers, after 30 s:\n%.3000s", args[0], last)
}

// getPage: get URL FILE
func getPage(ts *testscript.TestScript, _ bool, args []string) {
	_, body, _ := strings.Cut(fetch(http.MethodGet, args[0]), "\n")
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(body), 0o600))
}

// selfSign: selfsign CERTIFICATE KEY writes a key and its certificate.
func selfSign(ts *testscript.TestScript, _ bool, args []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"scwatch.example"}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	ts.Check(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	for file, block := range map[string]*pem.Block{
		args[0]: {Type: "CERTIFICATE", Bytes: certificate},
		args[1]: {Type: "PRIVATE KEY", Bytes: private},
	} {
		ts.Check(os.WriteFile(ts.MkAbs(file), pem.EncodeToMemory(block), 0o600))
	}
}

// connectStorage: storage URL puts a Prometheus behind the data sources.
func connectStorage(ts *testscript.TestScript, _ bool, args []string) {
	target, err := url.Parse(args[0])
	ts.Check(err)
	sim(ts).Update(func(a *simulator.Account) {
		a.Storage, a.CockpitTokens = remoteWrite(target), []string{"cockpit-token"}
	})
}

// remoteWrite is a Prometheus as a data source of Cockpit's.
func remoteWrite(target *url.URL) http.Handler {
	proxy := httputil.NewSingleHostReverseProxy(target)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = map[string]string{"/api/v1/push": "/api/v1/write", "/prometheus/api/v1/query": "/api/v1/query"}[r.URL.Path]
		proxy.ServeHTTP(w, r)
	})
}

// configurePrometheus: config FILE TARGET
func configurePrometheus(ts *testscript.TestScript, _ bool, args []string) {
	text := fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: scwatch, static_configs: [{targets: [%q]}]}]\n", args[1])
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// setSources: sources NAME:TYPE:ORIGIN... are the data sources of the home.
func setSources(ts *testscript.TestScript, _ bool, args []string) {
	sim(ts).Update(func(a *simulator.Account) {
		a.Projects[0].DataSources = nil
		for n, arg := range args {
			part := strings.Split(arg, ":")
			a.Projects[0].DataSources = append(a.Projects[0].DataSources, simulator.DataSource{
				ID: fmt.Sprintf("dddddddd-0000-4000-8000-%012d", n), Name: part[0], Region: "fr-par", Type: part[1], Origin: part[2],
			})
		}
	})
}

// post: post URL writes the status and the body to stdout.
func post(ts *testscript.TestScript, _ bool, args []string) {
	fmt.Fprint(ts.Stdout(), fetch(http.MethodPost, args[0]))
}

func fetch(method, url string) string {
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		return err.Error()
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s\n%s", resp.Status, body)
}

// setSchema: schema FILE N makes a state file one of schema N.
func setSchema(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseUint(args[1], 10, 64)
	ts.Check(err)
	db, err := bbolt.Open(ts.MkAbs(args[0]), 0o600, nil)
	ts.Check(err)
	defer db.Close()
	ts.Check(db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), binary.BigEndian.AppendUint64(nil, n))
	}))
}

// times are those that count from now in the simulated account, and request IDs,
// which count the calls.
var times = regexp.MustCompile(`20\d\d-\d\d-\d\d(T[\d:.]+Z)?|request ID [-0-9a-f]+|"request_id": "[-0-9a-f]+"`)

// timeless: timeless FILE writes the last command's output without them.
func timeless(ts *testscript.TestScript, _ bool, args []string) {
	text := times.ReplaceAllStringFunc(ts.ReadFile("stdout"), func(found string) string {
		switch {
		case strings.HasPrefix(found, "request ID"):
			return "request ID ID"
		case strings.HasPrefix(found, `"`):
			return `"request_id": "ID"`
		case len(found) == len(time.DateOnly):
			return "DAY"
		}
		return "TIME"
	})
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}
