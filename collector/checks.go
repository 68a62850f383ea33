package collector

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Severity orders findings; the constants run from the worst to the least.
type Severity string

// The severities.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
	Info     Severity = "info"
)

// Severities is every severity, worst first.
var Severities = []Severity{Critical, High, Medium, Low, Info}

// Thresholds of the checks that go by time.
const (
	tokenExpiresSoon = 30 * 24 * time.Hour
	secretIsStale    = 180 * 24 * time.Hour
)

// Check is one thing that can be wrong with a function.
type Check struct {
	ID       string
	Severity Severity
	Title    string // what is found
	Why      string // it matters
	Remedy   Remedy

	// detect returns what was found at f, as a sentence without an end.
	detect func(f *Function, now time.Time) (what string, found bool)
	// subjects names the things that a finding stands for where it can stand for
	// several, in order; nil: for the function alone.
	subjects func(f *Function, now time.Time) []string
}

// Remedy is how to mend it, by each way that users configure functions.
type Remedy struct {
	Console, CLI, Terraform string
}

// Checks is every check, worst first. docs/checks is generated from it.
var Checks = []*Check{
	{
		ID: "function_plaintext_secret", Severity: Critical,
		Title: "A secret stands in a clear-text variable of the function",
		Why:   "Environment variables are stored in clear text: everyone who may read the function, in the console, by the API or in Terraform's state, reads the secret. Secrets are encrypted and cannot be read back.",
		Remedy: Remedy{
			Console:   "Replace the credential where it was issued, for it must be taken as known. Then: Functions > the namespace > the function > Settings > Secrets > Add secret; remove the variable of the same name; Save settings.",
			CLI:       "scw function function update FUNCTION_ID secret-environment-variables.0.key=NAME secret-environment-variables.0.value=NEW_VALUE region=REGION",
			Terraform: "Move the entry from environment_variables to secret_environment_variables of the scaleway_function, with a new value.",
		},
		detect:   func(f *Function, _ time.Time) (string, bool) { return suspects(f.Variables[scopeFunction]) },
		subjects: func(f *Function, _ time.Time) []string { return suspectNames(f.Variables[scopeFunction]) },
	},
	{
		ID: "namespace_plaintext_secret", Severity: Critical,
		Title: "A secret stands in a clear-text variable of the function's namespace",
		Why:   "A namespace's variables are stored in clear text and given to every function in it: the secret is known to all who may read the namespace, and to code that has no use for it.",
		Remedy: Remedy{
			Console:   "Replace the credential where it was issued. Then: Functions > the namespace > Settings > Secrets > Add secret; remove the variable of the same name; Save settings.",
			CLI:       "scw function namespace update NAMESPACE_ID secret-environment-variables.0.key=NAME secret-environment-variables.0.value=NEW_VALUE region=REGION",
			Terraform: "Move the entry from environment_variables to secret_environment_variables of the scaleway_function_namespace, with a new value.",
		},
		detect:   func(f *Function, _ time.Time) (string, bool) { return suspects(f.Variables[scopeNamespace]) },
		subjects: func(f *Function, _ time.Time) []string { return suspectNames(f.Variables[scopeNamespace]) },
	},
	{
		ID: "function_probe_accepted", Severity: Critical,
		Title: "A private function answered a call without a token",
		Why:   "The function is set private, and yet a call without credentials was answered with success: what the settings promise is not what callers meet.",
		Remedy: Remedy{
			Console:   "Functions > the namespace > the function > Security: set the privacy policy to Public and back to Private, and deploy. If calls without a token still pass, open a ticket with Scaleway.",
			CLI:       "scw function function update FUNCTION_ID privacy=private redeploy=true region=REGION",
			Terraform: `Set privacy = "private" and deploy = true in the scaleway_function, and apply.`,
		},
		detect: func(f *Function, _ time.Time) (string, bool) {
			return "a call without a token was answered with success", f.ProbeAccepted
		},
	},
	{
		ID: "function_public", Severity: High,
		Title: "The function is public",
		Why:   "Anybody on the Internet can call it, and each call runs it. A private function rejects calls without a valid token before it is started.",
		Remedy: Remedy{
			Console:   "Functions > the namespace > the function > Security: set the privacy policy to Private. Callers then send an X-Auth-Token.",
			CLI:       "scw function function update FUNCTION_ID privacy=private region=REGION",
			Terraform: `Set privacy = "private" in the scaleway_function.`,
		},
		detect: func(f *Function, _ time.Time) (string, bool) {
			if f.Privacy == unknown {
				return "anybody could call it when the API last told", !f.PublicSince.IsZero()
			}
			return "anybody can call it", f.Privacy == privacyPublic
		},
	},
	{
		ID: "function_runtime_end_of_life", Severity: High,
		Title: "The function's runtime is at its end of life",
		Why:   "The runtime gets no security fixes, and the function can no longer be updated: a leaked secret could not even be replaced without a change of runtime.",
		Remedy: Remedy{
			Console:   "Functions > the namespace > the function > Settings: choose a supported runtime; test; deploy.",
			CLI:       "scw function runtime list region=REGION; scw function function update FUNCTION_ID runtime=NEW_RUNTIME region=REGION",
			Terraform: "Set runtime in the scaleway_function to a supported one.",
		},
		detect: runtimeIs(runtimeEndOfLife, "is at its end of life"),
	},
	{
		ID: "function_in_error", Severity: High,
		Title: "The function is in error",
		Why:   "A deployment failed. The version before it goes on serving for up to 24 hours; then both are removed.",
		Remedy: Remedy{
			Console:   "Functions > the namespace > the function: read the error message and the logs in Cockpit, mend the code or the settings, and deploy again.",
			CLI:       "scw function function get FUNCTION_ID region=REGION; scw function function deploy FUNCTION_ID region=REGION",
			Terraform: "Mend the scaleway_function and apply again with deploy = true.",
		},
		detect: func(f *Function, _ time.Time) (string, bool) {
			if f.Status != statusError {
				return "its last deployment failed, and how the next one ends is not known yet", !f.ErrorSince.IsZero()
			}
			return "its last deployment failed", true
		},
	},
	{
		ID: "function_http_allowed", Severity: Medium,
		Title: "The function answers over plain HTTP",
		Why:   "Calls over HTTP carry their token and their data in clear text over the network.",
		Remedy: Remedy{
			Console:   "Functions > the namespace > the function > Security: set HTTP to redirect to HTTPS.",
			CLI:       "scw function function update FUNCTION_ID http-option=redirected region=REGION",
			Terraform: `Set http_option = "redirected" in the scaleway_function.`,
		},
		detect: func(f *Function, _ time.Time) (string, bool) {
			if f.HTTPOption == unknown {
				return "plain HTTP was served when the API last told", f.WasPlainHTTP
			}
			return "plain HTTP is served", f.HTTPOption == httpEnabled
		},
	},
	{
		ID: "function_runtime_end_of_support", Severity: Medium,
		Title: "The function's runtime is at its end of support",
		Why:   "The runtime gets no security fixes any more, and its end of life follows.",
		Remedy: Remedy{
			Console:   "Functions > the namespace > the function > Settings: choose a supported runtime; test; deploy.",
			CLI:       "scw function runtime list region=REGION; scw function function update FUNCTION_ID runtime=NEW_RUNTIME region=REGION",
			Terraform: "Set runtime in the scaleway_function to a supported one.",
		},
		detect: runtimeIs(runtimeEndOfSupport, "is at its end of support"),
	},
	{
		ID: "function_token_never_expires", Severity: Medium,
		Title: "A token for the function never expires",
		Why:   "Whoever once saw the token can call the function for ever.",
		Remedy: Remedy{
			Console:   "Give the callers an IAM API key with the permission set FunctionsPrivateAccess and an end; then delete the token under Functions > the namespace > the function > Security.",
			CLI:       "scw function token delete TOKEN_ID region=REGION",
			Terraform: "Replace the scaleway_function_token by a scaleway_iam_api_key with expires_at.",
		},
		detect:   tokensThat("that never expire", neverExpires),
		subjects: tokenIDs(neverExpires),
	},
	{
		ID: "function_token_expiring", Severity: Medium,
		Title: "A token for the function expires soon",
		Why:   "Callers with that token are refused from its end on.",
		Remedy: Remedy{
			Console:   "Give the callers an IAM API key with the permission set FunctionsPrivateAccess before the token ends.",
			CLI:       "scw iam api-key create application-id=APPLICATION_ID expires-at=DATE",
			Terraform: "Replace the scaleway_function_token by a scaleway_iam_api_key with expires_at.",
		},
		detect:   tokensThat(fmt.Sprintf("that expire within %d days", int(tokenExpiresSoon.Hours()/24)), expiresSoon),
		subjects: tokenIDs(expiresSoon),
	},
	{
		ID: "function_runtime_deprecated", Severity: Low,
		Title: "The function's runtime is deprecated",
		Why:   "A date for its end of support is set or near. Changing the runtime now is planned work; later it is an incident.",
		Remedy: Remedy{
			Console:   "Functions > the namespace > the function > Settings: choose an available runtime; test; deploy.",
			CLI:       "scw function runtime list region=REGION; scw function function update FUNCTION_ID runtime=NEW_RUNTIME region=REGION",
			Terraform: "Set runtime in the scaleway_function to an available one.",
		},
		detect: runtimeIs(runtimeDeprecated, "is deprecated"),
	},
	{
		ID: "function_legacy_token", Severity: Low,
		Title: "The function is called with legacy tokens",
		Why:   "JWT tokens are deprecated since November 2025 in favour of IAM API keys, which have an owner, an end and a trail.",
		Remedy: Remedy{
			Console:   "Give the callers an IAM API key with the permission set FunctionsPrivateAccess; then delete the tokens under Functions > the namespace > the function > Security.",
			CLI:       "scw iam api-key create application-id=APPLICATION_ID; scw function token delete TOKEN_ID region=REGION",
			Terraform: "Replace the scaleway_function_token by a scaleway_iam_api_key.",
		},
		detect:   tokensThat("of the deprecated kind", anyToken),
		subjects: tokenIDs(anyToken),
	},
	{
		ID: "function_secret_stale", Severity: Low,
		Title: "A secret of the function has not been set again for 180 days",
		Why:   "The longer a credential lives, the more copies of it there are. One that is replaced on a schedule is known to be replaceable.",
		Remedy: Remedy{
			Console:   "Replace the credential where it was issued; then set it again under Functions > the namespace > the function > Settings > Secrets.",
			CLI:       "scw function function update FUNCTION_ID secret-environment-variables.0.key=NAME secret-environment-variables.0.value=NEW_VALUE region=REGION",
			Terraform: "Give the entry of secret_environment_variables a new value and apply.",
		},
		detect: func(f *Function, now time.Time) (string, bool) {
			return "a secret was last set on " + f.OldestSecretSet.UTC().Format(time.DateOnly),
				!f.OldestSecretSet.IsZero() && now.Sub(f.OldestSecretSet) > secretIsStale
		},
	},
	{
		ID: "function_no_private_network", Severity: Info,
		Title: "The function is in no Private Network",
		Why:   "Without one it reaches databases and other services over public addresses only, which must then be open to the Internet.",
		Remedy: Remedy{
			Console:   "Functions > the namespace > the function > Settings > Private Network: choose one, where the function uses resources in it.",
			CLI:       "scw function function update FUNCTION_ID private-network-id=PRIVATE_NETWORK_ID region=REGION",
			Terraform: "Set private_network_id in the scaleway_function.",
		},
		detect: func(f *Function, _ time.Time) (string, bool) {
			return "it is in no Private Network", !f.PrivateNetwork
		},
	},
	{
		ID: "function_sandbox_v1", Severity: Info,
		Title: "The function runs in the old sandbox",
		Why:   "Sandbox v2 starts faster and is the one that is developed.",
		Remedy: Remedy{
			Console:   "Functions > the namespace > the function > Settings: choose sandbox v2; test; deploy.",
			CLI:       "scw function function update FUNCTION_ID sandbox=v2 region=REGION",
			Terraform: `Set sandbox = "v2" in the scaleway_function.`,
		},
		detect: func(f *Function, _ time.Time) (string, bool) {
			return "its sandbox is v1", f.Sandbox == sandboxV1
		},
	},
}

// CheckIDs returns the ID of every check.
func CheckIDs() []string {
	var ids []string
	for _, check := range Checks {
		ids = append(ids, check.ID)
	}
	return ids
}

func suspects(v Variables) (string, bool) {
	var parts []string
	for _, p := range v.Suspect {
		parts = append(parts, fmt.Sprintf("%s (%s)", p.Name, p.Kind))
	}
	return "looks like a secret: " + strings.Join(parts, ", "), len(parts) > 0
}

func runtimeIs(status, words string) func(*Function, time.Time) (string, bool) {
	return func(f *Function, _ time.Time) (string, bool) {
		return f.Runtime + " " + words, f.RuntimeStatus == status
	}
}

func suspectNames(v Variables) []string {
	var names []string
	for _, p := range v.Suspect {
		names = append(names, p.Name)
	}
	return names
}

func neverExpires(t Token, _ time.Time) bool { return t.Expires.IsZero() }

func expiresSoon(t Token, now time.Time) bool {
	return t.Expires.After(now) && t.Expires.Sub(now) < tokenExpiresSoon
}

func anyToken(Token, time.Time) bool { return true }

func tokensThat(words string, match func(Token, time.Time) bool) func(*Function, time.Time) (string, bool) {
	ids := tokenIDs(match)
	return func(f *Function, now time.Time) (string, bool) {
		n := len(ids(f, now))
		return fmt.Sprintf("tokens %s: %d", words, n), n > 0
	}
}

func tokenIDs(match func(Token, time.Time) bool) func(*Function, time.Time) []string {
	return func(f *Function, now time.Time) []string {
		var ids []string
		for _, scope := range scopes {
			for _, token := range f.Tokens[scope] {
				if match(token, now) {
					ids = append(ids, token.ID)
				}
			}
		}
		slices.Sort(ids)
		return ids
	}
}
