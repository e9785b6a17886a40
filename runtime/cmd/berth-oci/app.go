package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/version"
	"github.com/berth-runtime/berth/runtime/oci"
)

// defaultRoot is on a tmpfs everywhere: what is in it does not outlive a reboot, as containers don't.
const defaultRoot = "/run/berth-oci"

// app is one call of berth-oci.
type app struct {
	stdin, stdout, stderr *os.File

	log     *slog.Logger // nil until the global flags are read
	logFile *os.File     // nil: standard error
	runtime *oci.Runtime
}

// globals are the flags before the command.
type globals struct {
	root, log, logFormat, rootless string
	debug, systemd, version, help  bool
}

func (g *globals) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("berth-oci", pflag.ContinueOnError)
	f.SetInterspersed(false)
	f.Usage = func() {}
	f.StringVar(&g.root, "root", defaultRoot, "folder of the containers' state, on a tmpfs")
	f.StringVar(&g.log, "log", "", "file that messages are appended to (default standard error)")
	f.StringVar(&g.logFormat, "log-format", "text", "text or json")
	f.BoolVar(&g.debug, "debug", false, "log more")
	f.BoolVar(&g.systemd, "systemd-cgroup", false, "have systemd make control groups; linux.cgroupsPath is slice:prefix:name")
	f.StringVar(&g.rootless, "rootless", "auto", "true, false or auto; berth-oci needs root in any case")
	f.String("criu", "", "ignored")
	f.BoolVarP(&g.version, "version", "v", false, "print the version")
	f.BoolVarP(&g.help, "help", "h", false, "print this")
	return f
}

// run does what the command line says.
func (a *app) run(ctx context.Context, argv []string) error {
	var g globals
	flags := g.flags()
	if err := flags.Parse(argv[1:]); err != nil {
		return errdefs.Invalid("%w", err)
	}
	args := flags.Args()
	switch {
	case g.version:
		return printTo(a.stdout, "berth-oci version %s\nspec: %s\n", version.String(), specs.Version)
	case g.help || len(args) == 0 || args[0] == "help" && len(args) == 1:
		return a.help(flags)
	case args[0] == "help":
		args = []string{args[1], "--help"}
	}
	c := find(args[0])
	if c == nil {
		return errdefs.Invalid("no command %q: berth-oci --help lists them", args[0])
	}
	if err := c.parse(args[1:]); err != nil {
		return err
	}
	if c.showHelp {
		return printTo(a.stdout, "berth-oci %s [flags] %s: %s\n\n%s", c.name, c.args, c.short, c.flags.FlagUsages())
	}
	if err := a.setUp(&g); err != nil {
		return err
	}
	if c.forks {
		if err := seal(argv); err != nil {
			return err
		}
	}
	return c.run(ctx, a, c.flags.Args())
}

func (a *app) setUp(g *globals) error {
	switch {
	case g.rootless != "auto" && g.rootless != "true" && g.rootless != "false":
		return errdefs.Invalid("--rootless %q: neither true, false nor auto", g.rootless)
	case g.root == "":
		return errdefs.Invalid("--root is empty")
	}
	if err := a.openLog(g); err != nil {
		return err
	}
	a.runtime = oci.New(oci.Config{Root: g.root, Logger: a.log, Systemd: g.systemd})
	return nil
}

// openLog makes the logger. Its records look like those of runc: a level in small letters, the text as msg.
func (a *app) openLog(g *globals) error {
	out := a.stderr
	if g.log != "" && g.log != "/dev/stderr" {
		f, err := os.OpenFile(g.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			return err
		}
		a.logFile, out = f, f
	}
	options := &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: lowerLevel}
	if g.debug {
		options.Level = slog.LevelDebug
	}
	switch g.logFormat {
	case "text":
		a.log = slog.New(slog.NewTextHandler(out, options))
	case "json":
		a.log = slog.New(slog.NewJSONHandler(out, options))
	default:
		return errdefs.Invalid("unknown log-format %q", g.logFormat)
	}
	return nil
}

func lowerLevel(groups []string, attr slog.Attr) slog.Attr {
	if len(groups) > 0 || attr.Key != slog.LevelKey {
		return attr
	}
	level := strings.ToLower(attr.Value.String())
	if level == "warn" {
		level = "warning"
	}
	return slog.String(slog.LevelKey, level)
}

// printJSON writes a result as indented JSON.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (a *app) help(flags *pflag.FlagSet) error {
	var b strings.Builder
	b.WriteString("berth-oci runs containers as the OCI runtime specification says.\n\nusage: berth-oci [global flags] COMMAND [flags] [arguments]\n\n")
	for _, name := range names() {
		c := find(name)
		fmt.Fprintf(&b, "  %-9s %s\n", c.name, c.short)
	}
	b.WriteString("\nglobal flags:\n" + flags.FlagUsages())
	return printTo(a.stdout, "%s", b.String())
}
