package config

// Resolve fills in what the file leaves to the credentials: the projects and
// regions watched, the home, and each target's project and region. The error is
// a [Problems] that says what is missing for what the file wants done.
func (c *Config) Resolve(credentials Credentials) error {
	if len(c.Scaleway.Projects) == 0 && credentials.ProjectID != "" {
		c.Scaleway.Projects = []string{credentials.ProjectID}
	}
	if len(c.Scaleway.Regions) == 0 {
		c.Scaleway.Regions = Regions()
	}
	if c.Cockpit.Project == "" {
		c.Cockpit.Project = credentials.ProjectID
	}
	for i := range c.Provision.Targets {
		target := &c.Provision.Targets[i]
		if target.Project == "" {
			target.Project = c.Cockpit.Project
		}
		if target.Region == "" {
			target.Region = c.Cockpit.Region
		}
	}
	if credentials.unusableID {
		return nil // not missing, but malformed: that has been reported
	}
	d := c.resolved()
	switch {
	case len(c.Scaleway.Projects) == 0:
		d.reject("scaleway.projects", "no project to watch: list some, or set SCW_DEFAULT_PROJECT_ID")
	case c.Scaleway.AllProjects() && credentials.OrganizationID == "":
		d.reject("scaleway.projects", `"*" needs the organization: set SCW_DEFAULT_ORGANIZATION_ID`)
	}
	if c.Cockpit.Project == "" && c.Push.Enabled && c.Push.URL == "" && d.sound("push.url") {
		d.reject("cockpit.project", "no project to push to: set it, or SCW_DEFAULT_PROJECT_ID")
	}
	return d.problems.err()
}

// RequireTargets checks, after [Config.Resolve], that each target has a
// project. It is asked by what provisions; watching alone needs none. The error
// is a [Problems].
func (c *Config) RequireTargets() error {
	d := c.resolved()
	for i, target := range c.Provision.Targets {
		if target.Project == "" {
			d.reject(element("provision.targets", i)+".project", "no project: set it, cockpit.project or SCW_DEFAULT_PROJECT_ID")
		}
	}
	return d.problems.err()
}

// Problem is one with the value at path, which is written as in the file:
// "provision.targets[0].rules".
func (c *Config) Problem(path, format string, args ...any) Problem {
	d := c.resolved()
	d.add(d.at(path), path, format, args...)
	return d.problems[0]
}

// resolved is the document without the problems found before.
func (c *Config) resolved() *document {
	d := newDocument(c.File)
	if c.document != nil {
		d.positions, d.undecoded = c.document.positions, c.document.undecoded
	}
	return d
}
