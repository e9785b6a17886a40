package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func (a *app) runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [flags] IMAGE [COMMAND [ARG...]]",
		Short: "Make a container and run a command in it",
		Args:  arguments(1, unlimited),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.image, o.args = args[0], args[1:]
			return exitWith(a.run(cmd.Context(), &o))
		},
	}
	o.flags(cmd.Flags())
	cmd.Flags().SetInterspersed(false) // what follows the image is the command's
	return cmd
}

// run makes a pod and a container in it, and stays with it unless detached. What is wrong with the command line is found
// before anything is asked of berthd.
func (a *app) run(ctx context.Context, o *runOptions) (code int, err error) {
	if err := o.check(); err != nil {
		return 0, err
	}
	if o.tty && !o.detach && o.interactive && !isTerminal(a.in) {
		return 0, errdefs.Invalid("run -t: standard input is no terminal; leave -t out")
	}
	unique := make([]byte, 16)
	rand.Read(unique) // never fails since Go 1.24
	uid := hex.EncodeToString(unique)
	if o.name == "" {
		o.name = nameFromImage(o.image, uid[:6])
	}
	req, err := o.build(uid)
	if err != nil {
		return 0, err
	}
	if err := checkAddresses(req.pod.GetPortMappings()); err != nil {
		return 0, err
	}
	n, err := connect(ctx, a.socket)
	if err != nil {
		return 0, err
	}
	defer n.close()
	if err := n.checkName(ctx, o.name); err != nil {
		return 0, err
	}
	if req.pod.LogDirectory, err = n.logFolder(ctx, o.name+"_"+uid); err != nil {
		return 0, err
	}
	if err := a.ensureImage(ctx, n, o.image, o.pull); err != nil {
		return 0, err
	}
	c, err := n.make(ctx, o, req)
	if err != nil {
		return 0, err
	}
	if o.detach {
		_, err := fmt.Fprintln(a.out, c.id)
		return 0, err
	}
	return a.foreground(ctx, n, o, c)
}

// checkName refuses a name that a container has. Two runs of one name at the same moment may both pass: names are a help
// for people; IDs are what counts.
func (n *node) checkName(ctx context.Context, name string) error {
	list, err := n.runtime.ListContainers(ctx, &cri.ListContainersRequest{
		Filter: &cri.ContainerFilter{LabelSelector: map[string]string{labelName: name}},
	})
	if err != nil {
		return stage(err, "look whether the name %s is free", name)
	}
	if found := list.GetContainers(); len(found) > 0 {
		return errdefs.Exists("the name %s belongs to container %s; remove that with berth rm, or choose another", name, short(found[0].GetId()))
	}
	return nil
}

// fallbackLogs is where logs go when the server does not tell its folders.
const fallbackLogs = "/var/log/berth"

// logFolder chooses a folder for one pod's logs, beside the server's other data.
func (n *node) logFolder(ctx context.Context, pod string) (string, error) {
	resp, err := n.runtime.Status(ctx, &cri.StatusRequest{Verbose: true})
	if err != nil {
		return "", stage(err, "ask for the node's status")
	}
	var config struct {
		RootDir string `json:"rootDir"`
	}
	if text := resp.GetInfo()["config"]; text != "" {
		if err := json.Unmarshal([]byte(text), &config); err != nil {
			return "", fmt.Errorf("read the node's configuration: %w", err)
		}
	}
	if !filepath.IsAbs(config.RootDir) {
		return filepath.Join(fallbackLogs, pod), nil
	}
	return filepath.Join(config.RootDir, "logs", pod), nil
}

// discard stops and removes a container of run with its pod and log.
func (n *node) discard(ctx context.Context, podID, logs string) error {
	_, err := n.runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: podID})
	if err != nil {
		return stage(err, "remove the pod")
	}
	if logs == "" {
		return nil
	}
	if err := os.RemoveAll(logs); err != nil {
		return fmt.Errorf("remove the log: %w", err)
	}
	return nil
}
