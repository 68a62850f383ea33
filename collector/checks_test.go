package collector

import (
	"strings"
	"testing"
	"time"
)

// Each check finds what it is for, says what, and nothing a step beside it.
func TestChecks(t *testing.T) {
	day := 24 * time.Hour
	sound := func() Function {
		return Function{Privacy: privacyPrivate, HTTPOption: httpRedirected, Status: "ready", PrivateNetwork: true,
			Sandbox: "v2", Runtime: "go126", RuntimeStatus: "available", OldestSecretSet: noon.Add(-180 * day)}
	}
	tokens := func(scope string, expires ...time.Time) func(*Function) {
		return func(f *Function) {
			f.Tokens = map[string][]Token{}
			for _, e := range expires {
				f.Tokens[scope] = append(f.Tokens[scope], Token{Expires: e})
			}
		}
	}
	for name, test := range map[string]struct {
		change func(*Function)
		want   map[string]string // what is found, by check
	}{
		"sound":                         {func(*Function) {}, nil},
		"public":                        {func(f *Function) { f.Privacy = privacyPublic }, map[string]string{"function_public": "anybody can call it"}},
		"privacy not known":             {func(f *Function) { f.Privacy = unknown }, nil},
		"public when last told":         {func(f *Function) { f.Privacy, f.PublicSince = unknown, noon.Add(-day) }, map[string]string{"function_public": "anybody could call it when the API last told"}},
		"plain HTTP":                    {func(f *Function) { f.HTTPOption = httpEnabled }, map[string]string{"function_http_allowed": "plain HTTP is served"}},
		"HTTP not known":                {func(f *Function) { f.HTTPOption = unknown }, nil},
		"plain HTTP when last told":     {func(f *Function) { f.HTTPOption, f.WasPlainHTTP = unknown, true }, map[string]string{"function_http_allowed": "plain HTTP was served when the API last told"}},
		"plain HTTP no more":            {func(f *Function) { f.WasPlainHTTP = true }, nil},
		"in error":                      {func(f *Function) { f.Status = statusError }, map[string]string{"function_in_error": "its last deployment failed"}},
		"being deployed":                {func(f *Function) { f.Status = "pending" }, nil},
		"being deployed after an error": {func(f *Function) { f.Status, f.ErrorSince = "pending", noon.Add(-day) }, map[string]string{"function_in_error": "and how the next one ends is not known yet"}},
		"own suspects": {func(f *Function) {
			f.Variables = map[string]Variables{scopeFunction: {Suspect: []PlaintextVar{{"A", "a JWT"}, {"B", "a private key"}}}}
		}, map[string]string{"function_plaintext_secret": "looks like a secret: A (a JWT), B (a private key)"}},
		"the namespace's suspects": {func(f *Function) {
			f.Variables = map[string]Variables{scopeNamespace: {Suspect: []PlaintextVar{{"A", "a JWT"}}}}
		}, map[string]string{"namespace_plaintext_secret": "looks like a secret: A (a JWT)"}},
		"end of life":        {func(f *Function) { f.RuntimeStatus = runtimeEndOfLife }, map[string]string{"function_runtime_end_of_life": "go126 is at its end of life"}},
		"end of support":     {func(f *Function) { f.RuntimeStatus = runtimeEndOfSupport }, map[string]string{"function_runtime_end_of_support": "go126 is at its end of support"}},
		"deprecated":         {func(f *Function) { f.RuntimeStatus = runtimeDeprecated }, map[string]string{"function_runtime_deprecated": "go126 is deprecated"}},
		"beta":               {func(f *Function) { f.RuntimeStatus = "beta" }, nil},
		"runtime not known":  {func(f *Function) { f.RuntimeStatus = unknown }, nil},
		"token for ever":     {tokens(scopeFunction, time.Time{}), map[string]string{"function_legacy_token": "tokens of the deprecated kind: 1", "function_token_never_expires": "tokens that never expire: 1"}},
		"token ends soon":    {tokens(scopeNamespace, noon.Add(29*day)), map[string]string{"function_legacy_token": "", "function_token_expiring": "tokens that expire within 30 days: 1"}},
		"token ends later":   {tokens(scopeFunction, noon.Add(30*day)), map[string]string{"function_legacy_token": ""}},
		"token has ended":    {tokens(scopeFunction, noon), map[string]string{"function_legacy_token": ""}},
		"stale secret":       {func(f *Function) { f.OldestSecretSet = noon.Add(-180*day - time.Second) }, map[string]string{"function_secret_stale": "a secret was last set on 2026-05-27"}},
		"no secret":          {func(f *Function) { f.OldestSecretSet = time.Time{} }, nil},
		"no Private Network": {func(f *Function) { f.PrivateNetwork = false }, map[string]string{"function_no_private_network": ""}},
		"old sandbox":        {func(f *Function) { f.Sandbox = sandboxV1 }, map[string]string{"function_sandbox_v1": ""}},
		"probe accepted":     {func(f *Function) { f.ProbeAccepted = true }, map[string]string{"function_probe_accepted": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			f := sound()
			test.change(&f)
			Rules{}.judge(&f, noon)
			if len(f.Findings) != len(test.want) {
				t.Errorf("found %d, want %d", len(f.Findings), len(test.want))
			}
			for _, finding := range f.Findings {
				want, ok := test.want[finding.Check.ID]
				if !ok {
					t.Errorf("found %s (%s)", finding.Check.ID, finding.What)
				} else if !strings.Contains(finding.What, want) {
					t.Errorf("%s says %q, want %q", finding.Check.ID, finding.What, want)
				}
			}
		})
	}
}
