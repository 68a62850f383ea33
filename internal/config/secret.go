package config

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted stands for every secret that is printed.
const redacted = "<secret>"

// Secret is a string that does not print, log or encode as itself.
//
// It holds a pointer because fmt does not ask the methods of unexported fields:
// of a Secret in one it prints an address.
type Secret struct{ value *string }

// NewSecret makes a secret of value.
func NewSecret(value string) Secret { return Secret{&value} }

// Reveal returns the value, "" for the zero Secret.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Equal tells whether both hold the same value.
func (s Secret) Equal(other Secret) bool { return s.Reveal() == other.Reveal() }

// String returns "<secret>".
func (s Secret) String() string { return redacted }

// Format writes "<secret>" for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText gives "<secret>" to every encoding: JSON, YAML, XML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue gives "<secret>" to every log handler.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
