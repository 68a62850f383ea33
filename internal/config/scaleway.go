package config

import "slices"

// Scaleway says what is watched.
type Scaleway struct {
	Projects []string `yaml:"projects" default:"[]" format:"projects" doc:"IDs of the projects; \"*\" alone stands for every project of the organization. Empty: \"SCW_DEFAULT_PROJECT_ID\"."`
	Regions  []string `yaml:"regions" default:"[]" format:"region" doc:"Empty: every region that has Serverless Functions."`
}

// AllProjects tells whether every project of the organization is watched, in
// which case Projects holds no IDs.
func (s Scaleway) AllProjects() bool { return slices.Contains(s.Projects, allProjects) }

const allProjects = "*"

func (s Scaleway) validate(d *document) {
	d.rejectRepeated("scaleway.projects", s.Projects)
	d.rejectRepeated("scaleway.regions", s.Regions)
	if s.AllProjects() && len(s.Projects) > 1 {
		d.reject("scaleway.projects", `"*" stands for every project: it cannot be listed with others`)
	}
}

// Cockpit is the home of everything that scwatch writes.
type Cockpit struct {
	Project    string `yaml:"project" default:"" format:"id" doc:"The project's ID. Empty: \"SCW_DEFAULT_PROJECT_ID\"."`
	Region     string `yaml:"region" default:"fr-par" format:"region" doc:"The region of its data sources and alert manager."`
	DataSource string `yaml:"data_source" default:"scwatch" doc:"The custom metrics data source, by name or ID."`
}
