package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/berth-runtime/berth/cri-server/config"
	"github.com/berth-runtime/berth/cri-server/daemon"
	"github.com/berth-runtime/berth/internal/version"
)

// flags are the command line.
type flags struct {
	file string
	over config.Overrides
}

func command() *cobra.Command {
	var f flags
	root := &cobra.Command{
		Use:           "berthd",
		Short:         "Run pods for the kubelet, crictl and berth",
		Version:       version.String(),
		Args:          cobra.NoArgs,
		SilenceErrors: true, // main prints them once
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.load()
			if err != nil {
				return err
			}
			level, err := cfg.Log.Threshold()
			if err != nil {
				return err
			}
			log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
			return daemon.Run(cmd.Context(), cfg, log)
		},
	}
	set := root.PersistentFlags()
	set.StringVar(&f.file, "config", "", "configuration `file` (default "+config.DefaultPath+", which may be absent)")
	set.StringVar(&f.over.Root, "root", "", "`folder` for images and layers")
	set.StringVar(&f.over.State, "state", "", "`folder` for sockets, namespaces and records")
	set.StringVar(&f.over.Listen, "listen", "", "unix `socket` of the CRI server")
	set.StringVar(&f.over.LogLevel, "log-level", "", "debug, info, warn or error")
	root.AddCommand(configCommand(&f))
	return root
}

// load reads the file, puts the flags over it and checks the result.
func (f *flags) load() (config.Config, error) {
	cfg, err := config.Load(f.file)
	if err != nil {
		return config.Config{}, err
	}
	over := f.over
	if over.Listen != "" {
		if over.Listen, err = config.SocketPath(over.Listen); err != nil {
			return config.Config{}, fmt.Errorf("--listen: %w", err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return config.Config{}, fmt.Errorf("find berthd's own folder: %w", err)
	}
	cfg = cfg.Apply(over, self)
	if err := cfg.Check(); err != nil {
		return config.Config{}, fmt.Errorf("configuration: %w", err)
	}
	return cfg, nil
}

func configCommand(f *flags) *cobra.Command {
	group := &cobra.Command{Use: "config", Short: "Show or check the configuration"}
	group.AddCommand(
		&cobra.Command{
			Use: "default", Short: "Print a file with every setting at its default", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return printConfig(cmd, config.Default()) },
		},
		&cobra.Command{
			Use: "check", Short: "Check the file and the flags, and print what would hold", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				cfg, err := f.load()
				if err != nil {
					return err
				}
				return printConfig(cmd, cfg)
			},
		},
	)
	return group
}

func printConfig(cmd *cobra.Command, cfg config.Config) error {
	data, err := cfg.Marshal()
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(data)
	return err
}
