package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"

	"github.com/scwatch/scwatch/internal/config"
)

// The exit codes.
const (
	exitDone    = 0
	exitFailed  = 1
	exitFound   = 2 // there is something: changes of a plan; for audit, findings at or above --fail-on
	exitRefused = 3 // credentials or permissions, where nothing could be read
	exitPartly  = 4 // partly done or partly seen; wins over exitFound
	exitUsage   = 5 // usage or invalid configuration
)

// exitError is an error that ends the process with a code of its own. Without an
// error there is nothing to say beside it.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// process is what a command has of the process that it runs in.
type process struct {
	stdin          io.Reader // nil: there is nobody to ask
	stdout, stderr io.Writer
	env            config.Environment
	hangup         <-chan os.Signal // asks for a reload
}

// options are the flags. All commands share them, so that a daemon and its
// health check can be given the same ones.
type options struct {
	configFile      string
	listenAddresses []string
	listenGiven     bool
	webConfigFile   string
	enableLifecycle bool
	storagePath     string
	storageGiven    bool
	log             *promslog.Config
	provision       provisionOptions
	doctor          doctorOptions
	audit           auditOptions
}

// command is one of scwatch's commands.
type command struct {
	name, help string
	run        func(context.Context, options, process) error
	flags      func(*kingpin.CmdClause, *options) // its own; nil: it has none
}

var commands = []command{
	{"serve", "Poll the functions' settings and serve what they are as metrics, until told to end.", serve, nil},
	{"demo", "The same on a simulated account inside the process: needs no account and no configuration.", demo, nil},
	{"audit", "Read everything once and report what is wrong, for people, pipelines and code scanning.", audit, auditFlags},
	{"check", "Validate the configuration and all definitions without asking anybody.", check, emptyFlag},
	{"plan", "Print what apply would change, and exit with 2 where it would change something.", plan, planFlags},
	{"apply", "Make dashboards, rules, routes and contacts what the definitions say.", apply, applyFlags},
	{"destroy", "Remove what scwatch owns, and only that. Data sources and the alert manager stay.", destroy, destroyFlags},
	{"eject", "Write the built-in dashboards, rules, routes and tests out as files to own.", eject, ejectArguments},
	{"doctor", "Walk the way from the API key to the pager and say which hop is broken, and how to mend it.", doctor, doctorFlags},
	{"health", "Ask a running daemon whether it is ready, and exit with 0 or 1.", health, nil},
	{"version", "Print the version, the revision and the version of Go.", printVersion, nil},
}

func newApplication(o *options) *kingpin.Application {
	app := kingpin.New("scwatch", "Watches over the security of Scaleway Serverless Functions.")
	app.HelpFlag.Short('h')
	app.Flag("config.file", "Configuration file; SCWATCH_CONFIG may hold the YAML itself instead. Default: the built-in defaults.").
		PlaceHolder("FILE").StringVar(&o.configFile)
	app.Flag("web.listen-address", "Address to serve on; for demo 127.0.0.1:9762. Repeatable.").
		Default(":9762").IsSetByUser(&o.listenGiven).StringsVar(&o.listenAddresses)
	app.Flag("web.config.file", "Configuration of TLS and basic authentication, in the format of Prometheus's exporter-toolkit.").
		PlaceHolder("FILE").StringVar(&o.webConfigFile)
	app.Flag("web.enable-lifecycle", "Reload the configuration on POST /-/reload. SIGHUP always does.").
		BoolVar(&o.enableLifecycle)
	app.Flag("storage.path", "Folder of the state file; for demo a temporary one. Empty: nothing is kept over restarts.").
		Default("./data").IsSetByUser(&o.storageGiven).StringVar(&o.storagePath)
	o.log = &promslog.Config{}
	promslogflag.AddFlags(app, o.log)
	for _, c := range commands {
		clause := app.Command(c.name, c.help)
		if c.flags != nil {
			c.flags(clause, o)
		}
	}
	return app
}

func emptyFlag(c *kingpin.CmdClause, o *options) {
	c.Flag("allow-empty", "A list of files may come out empty: what was provisioned from it goes.").BoolVar(&o.provision.allowEmpty)
}

func onlyFlag(c *kingpin.CmdClause, o *options) {
	c.Flag("only", "Narrow it to KIND/NAME, a pattern for the name allowed. Repeatable.").PlaceHolder("KIND/NAME").StringsVar(&o.provision.only)
}

func approveFlag(c *kingpin.CmdClause, o *options) {
	c.Flag("auto-approve", "Do not ask: consents to deletions of what is ours as well.").BoolVar(&o.provision.autoApprove)
}

func planFlags(c *kingpin.CmdClause, o *options) {
	c.Flag("output", "Form of the plan: text or json.").Default("text").EnumVar(&o.provision.output, "text", "json")
	c.Flag("out", "File to save the plan in, for apply.").PlaceHolder("FILE").StringVar(&o.provision.out)
	onlyFlag(c, o)
	emptyFlag(c, o)
}

func applyFlags(c *kingpin.CmdClause, o *options) {
	c.Arg("plan", "A saved plan: do exactly that, or nothing where the world has moved.").StringVar(&o.provision.planFile)
	onlyFlag(c, o)
	approveFlag(c, o)
	emptyFlag(c, o)
}

func destroyFlags(c *kingpin.CmdClause, o *options) {
	onlyFlag(c, o)
	approveFlag(c, o)
}

func ejectArguments(c *kingpin.CmdClause, o *options) {
	c.Arg("dir", "Folder to write to.").Required().StringVar(&o.provision.ejectDir)
}

// run is scwatch: it returns the exit code.
func run(ctx context.Context, args []string, p process) int {
	var o options
	app := newApplication(&o)
	// Asking for help ends the process inside kingpin otherwise.
	ended := false
	app.Terminate(func(int) { ended = true })
	app.UsageWriter(p.stdout)
	app.ErrorWriter(p.stderr)
	name, err := app.Parse(args)
	switch {
	case len(args) == 0: // kingpin has shown the usage, as if asked for it
		return exitUsage
	case ended:
		return exitDone
	case err != nil:
		fmt.Fprintf(p.stderr, "scwatch: %v; see scwatch --help\n", err)
		return exitUsage
	}
	for _, c := range commands {
		if c.name == name {
			err = c.run(ctx, o, p)
		}
	}
	if err == nil {
		return exitDone
	}
	if words := err.Error(); words != "" {
		for line := range strings.SplitSeq(words, "\n") {
			fmt.Fprintf(p.stderr, "scwatch: %s\n", line)
		}
	}
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return exitFailed
}

func (o options) logger(p process) *slog.Logger {
	o.log.Writer = p.stderr
	return promslog.New(o.log)
}
