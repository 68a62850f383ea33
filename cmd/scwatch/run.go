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
	exitFound   = 2 // there is something: for audit, findings at or above --fail-on
	exitRefused = 3 // credentials or permissions, where nothing could be read
	exitPartly  = 4 // partly done or partly seen; wins over exitFound
	exitUsage   = 5 // usage or invalid configuration
)

// exitError is an error that ends the process with a code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// process is what a command has of the process that it runs in.
type process struct {
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

	audit auditOptions
}

// command is one of scwatch's commands.
type command struct {
	name, help string
	run        func(context.Context, options, process) error
	flags      func(*kingpin.CmdClause, *options) // its own; nil: none
}

var commands = []command{
	{"serve", "Poll the functions' settings and serve what they are as metrics, until told to end.", serve, nil},
	{"demo", "The same on a simulated account inside the process: needs no account and no configuration.", demo, nil},
	{"audit", "Read everything once and report what is wrong, for people, pipelines and code scanning.", audit, auditFlags},
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
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(p.stderr, "scwatch: %s\n", line)
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
