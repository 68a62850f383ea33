package config

import (
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/prometheus/common/model"
	function "github.com/scaleway/scaleway-sdk-go/api/function/v1beta1"
	"github.com/scaleway/scaleway-sdk-go/validation"
)

// format is what a string of the file must be. Its errors do not repeat the
// string where it could be a secret that was pasted into the wrong line.
type format struct {
	name      string                       // for docs/configuration.md
	normalise func(string) (string, error) // checks it and gives its normal form
	path      bool                         // relative to the file's own folder
}

var formats = map[string]format{
	"id":        {name: "ID", normalise: normaliseID},
	"projects":  {name: "ID or `*`", normalise: normaliseProject},
	"region":    {name: "region", normalise: normaliseRegion},
	"url":       {name: "URL", normalise: normaliseURL},
	"path":      {name: "path", normalise: keep, path: true},
	"files":     {name: "path, glob or `builtin`", normalise: require(validFiles, "expected a path or a glob: the pattern does not parse"), path: true},
	"glob":      {name: "glob", normalise: require(validGlob, "expected a glob: the pattern does not parse")},
	"query":     {name: "query", normalise: func(s string) (string, error) { return strings.TrimSpace(s), nil }},
	"email":     {name: "e-mail address", normalise: require(validEmail, "expected an e-mail address")},
	"tag":       {name: "string", normalise: require(validTag, "expected the part of a tag before =")},
	"uid":       {name: "uid", normalise: require(uidPattern.MatchString, "expected a uid: at most 40 letters, digits, - and _")},
	"label":     {name: "label name", normalise: require(validLabel, "expected a label name: letters, digits and _, no digit first, no __ first")},
	"place":     {name: "`<project ID>/<region>`", normalise: normalisePlace},
	"namespace": {name: "name", normalise: require(validNamespace, "expected a name without /, % and control characters that is not . or ..: rulers misread those")},
}

func keep(s string) (string, error) { return s, nil }

func require(valid func(string) bool, message string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !valid(s) {
			return "", errors.New(message)
		}
		return s, nil
	}
}

func normaliseID(s string) (string, error) {
	if !validation.IsUUID(s) {
		return "", errors.New("expected an ID such as 11111111-1111-1111-1111-111111111111")
	}
	return strings.ToLower(s), nil
}

func normaliseProject(s string) (string, error) {
	if s == allProjects {
		return s, nil
	}
	return normaliseID(s)
}

func normaliseRegion(s string) (string, error) {
	if regions := Regions(); !slices.Contains(regions, s) {
		return "", fmt.Errorf("unknown region %.40q: expected %s", s, oneOf(regions))
	}
	return s, nil
}

// Regions are the regions that have Serverless Functions.
func Regions() []string {
	var regions []string
	for _, region := range new(function.API).Regions() {
		regions = append(regions, string(region))
	}
	return regions
}

// normalisePlace wants a project and a region, "<project ID>/<region>".
func normalisePlace(s string) (string, error) {
	project, region, _ := strings.Cut(s, "/")
	id, err := normaliseID(project)
	if err == nil {
		_, err = normaliseRegion(region)
	}
	if err != nil {
		return "", errors.New("expected a key <project ID>/<region>")
	}
	return id + "/" + region, nil
}

// normaliseURL wants an absolute address that carries no credentials: it would
// show them wherever it is printed.
func normaliseURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return "", errors.New("expected an absolute http or https URL")
	}
	if u.User != nil {
		return "", errors.New("must not carry a user or a password")
	}
	return s, nil
}

func validFiles(pattern string) bool {
	_, err := filepath.Match(pattern, "")
	return err == nil
}

func validEmail(s string) bool {
	address, err := mail.ParseAddress(s)
	return err == nil && address.Address == s
}

// validLabel leaves out the names with two underscores: receivers keep those
// for themselves.
func validLabel(s string) bool {
	return model.LegacyValidation.IsValidLabelName(s) && !strings.HasPrefix(s, "__")
}

func validTag(s string) bool { return !strings.Contains(s, "=") }

var uidPattern = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,40}$`)

func validNamespace(s string) bool {
	return s != "." && s != ".." && !strings.ContainsAny(s, "/%") && !strings.ContainsFunc(s, unicode.IsControl)
}
