package main

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/prometheus/common/version"
)

func printVersion(_ context.Context, _ options, p process) error {
	_, err := fmt.Fprintf(p.stdout, "scwatch %s (revision %s, %s, %s/%s)\n",
		releaseVersion(), version.GetRevision(), version.GoVersion, version.GoOS, version.GoArch)
	return err
}

// releaseVersion is what the build was given or, for one by go install, the
// module's version.
func releaseVersion() string {
	if version.Version != "" {
		return version.Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
