package config

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const canary = "CANARY-1f0e"

func TestSecretDoesNotPrint(t *testing.T) {
	secret := NewSecret(canary)
	type exported struct{ Key Secret }
	type unexported struct{ key Secret }
	values := map[string]any{
		"value":            secret,
		"pointer":          &secret,
		"exported field":   exported{secret},
		"unexported field": unexported{secret},
		"pointer to it":    &unexported{secret},
		"slice":            []Secret{secret},
		"map":              map[string]Secret{"key": secret},
		"credentials":      Credentials{SecretKey: secret},
	}
	for name, v := range values {
		outputs := map[string]string{
			"print": fmt.Sprint(v),
			"error": fmt.Errorf("with %v: %w", v, errors.New("failed")).Error(),
		}
		for _, verb := range "vTtbcdoOqxXUeEfFgGspw" {
			for _, flag := range []string{"", "+", "#", "-", " ", "0", "9.99"} {
				format := "%" + flag + string(verb)
				outputs[format] = fmt.Sprintf(format, v)
			}
		}
		if text, err := json.Marshal(v); err == nil {
			outputs["JSON"] = string(text)
		}
		if text, err := yaml.Marshal(v); err == nil {
			outputs["YAML"] = string(text)
		}
		if text, err := xml.Marshal(v); err == nil {
			outputs["XML"] = string(text)
		}
		var text, object bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("key", "value", v)
		slog.New(slog.NewJSONHandler(&object, nil)).Info("key", "value", v)
		outputs["slog text"], outputs["slog JSON"] = text.String(), object.String()

		for kind, output := range outputs {
			hexadecimal := fmt.Sprintf("%x", canary)
			if strings.Contains(output, canary) || strings.Contains(strings.ToLower(output), hexadecimal) {
				t.Errorf("%s as %s: %s", name, kind, output)
			}
		}
	}
}

func TestSecretSaysWhatItIs(t *testing.T) {
	secret := NewSecret(canary)
	text, err := json.Marshal(map[string]any{"key": secret})
	if err != nil {
		t.Fatal(err)
	}
	var decoded map[string]string
	if err := json.Unmarshal(text, &decoded); err != nil {
		t.Fatal(err)
	}
	document, err := yaml.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	for kind, got := range map[string]string{
		"%v": fmt.Sprintf("%v", secret), "%#v": fmt.Sprintf("%#v", secret), "%d": fmt.Sprintf("%d", secret),
		"String": secret.String(), "slog": secret.LogValue().String(),
		"JSON": decoded["key"], "YAML": strings.TrimSpace(string(document)),
	} {
		if got != "<secret>" {
			t.Errorf("%s: got %q", kind, got)
		}
	}
}

func TestSecretReveals(t *testing.T) {
	if got := NewSecret(canary).Reveal(); got != canary {
		t.Errorf("got %q", got)
	}
	var zero Secret
	if got := zero.Reveal(); got != "" {
		t.Errorf("the zero secret: got %q", got)
	}
	if !NewSecret("a").Equal(NewSecret("a")) || NewSecret("a").Equal(NewSecret("b")) || !zero.Equal(NewSecret("")) {
		t.Error("Equal does not compare values")
	}
}
