package config

import (
	"cmp"
	"strings"

	"github.com/scaleway/scaleway-sdk-go/validation"
)

const defaultAPIURL = "https://api.scaleway.com"

// Credentials are what calls to the Scaleway API need, found where the scw CLI
// finds it.
type Credentials struct {
	AccessKey      string
	SecretKey      Secret
	OrganizationID string // "" where none is given
	ProjectID      string // "" where none is given
	Region         string // "" where none is given
	APIURL         string // without a slash at the end

	// Warning is what the user should know about the scw configuration file,
	// "" for nothing.
	Warning string

	unusableID bool // an ID was given, or may have been, and could not be used
}

// The settings that make up the credentials.
var (
	accessKey = setting{
		name: "ACCESS_KEY", key: "access_key",
		valid: validation.IsAccessKey, want: "SCW and 17 capital letters or digits",
		doc: "Access key of the API key.",
	}
	secretKey = setting{
		name: "SECRET_KEY", key: "secret_key",
		valid: validation.IsSecretKey, want: "a UUID",
		doc: "Secret key of the API key.",
	}
	projectID = setting{
		name: "DEFAULT_PROJECT_ID", key: "default_project_id",
		valid: validation.IsProjectID, want: "a UUID",
		doc: "The project that is watched, and the home, where the file names none.",
	}
	organizationID = setting{
		name: "DEFAULT_ORGANIZATION_ID", key: "default_organization_id",
		valid: validation.IsOrganizationID, want: "a UUID",
		doc: "The organization, for `projects: [\"*\"]`.",
	}
	region = setting{
		name: "DEFAULT_REGION", key: "default_region",
		valid: validRegion, want: oneOf(Regions()),
		doc: "Default of the Scaleway client. The regions watched and the home's stand in the file.",
	}
	apiURL = setting{
		name: "API_URL", key: "api_url",
		valid: validAPIURL, want: "an absolute http or https URL without user, query and fragment",
		doc: "Address of the Scaleway API. Default: " + defaultAPIURL + ".",
	}
	profileName = setting{
		name: "PROFILE",
		doc:  "Profile of the scw configuration file. Default: its active one.",
	}
	configPath = setting{
		name: "CONFIG_PATH",
		doc:  "The scw configuration file, which may be missing. Default: `$XDG_CONFIG_HOME/scw/config.yaml` or `~/.config/scw/config.yaml`.",
	}
)

// LoadCredentials reads the credentials from the environment and, where a
// variable is not set, from a profile of the scw configuration file. The error
// is a [Problems] that repeats none of the values; what could be used is in
// Credentials even then.
func LoadCredentials(env Environment) (Credentials, error) {
	s := settings{env: env}
	s.loadProfile()

	var c Credentials
	c.AccessKey = s.require(accessKey, "access key")
	c.SecretKey = NewSecret(s.require(secretKey, "secret key"))
	c.Region = s.get(region)
	c.APIURL = cmp.Or(strings.TrimRight(s.get(apiURL), "/"), defaultAPIURL)

	before := len(s.problems)
	c.OrganizationID = strings.ToLower(s.get(organizationID))
	c.ProjectID = strings.ToLower(s.get(projectID))
	c.unusableID = s.profileFailed || len(s.problems) > before

	c.Warning = s.warning
	return c, s.problems.err()
}

func validRegion(s string) bool {
	_, err := normaliseRegion(s)
	return err == nil
}

func validAPIURL(s string) bool {
	_, err := normaliseURL(s)
	return err == nil && !strings.ContainsAny(s, "?#")
}
