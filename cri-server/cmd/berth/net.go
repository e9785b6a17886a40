package main

import (
	"github.com/spf13/cobra"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (a *app) netCommand() *cobra.Command {
	net := &cobra.Command{
		Use: "net", Short: "Look after the pods' network", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }, // without it an unknown command would be a success
	}
	net.AddCommand(&cobra.Command{
		Use:   "repair",
		Short: "Put back firewall rules of pods that others flushed",
		Long: "Put back firewall rules of pods that others flushed. berthd does so by itself when their whole table is deleted; this is for\n" +
			"what it can't see: rules or elements that were taken out one by one.",
		Args: cobra.NoArgs,
		RunE: a.action(func(cmd *cobra.Command, n *node, _ []string) error {
			_, err := n.runtime.UpdateRuntimeConfig(cmd.Context(), &cri.UpdateRuntimeConfigRequest{RuntimeConfig: &cri.RuntimeConfig{}})
			return stage(err, "repair the pods' network")
		}),
	})
	return net
}
