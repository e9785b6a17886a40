// Command vm runs tests in a virtual machine: the distribution's cloud kernel, with pure cgroup v2 and AppArmor, and without
// what newer kernels have, under qemu's software emulation. It needs no KVM, and no image but the kernel's package.
//
//	vm [--console FILE] [--memory MiB] [--only REGEXP] [--tries N] [JOB…]
//
// The machine's root is an archive made here: static test binaries, berth's programs, critest, AppArmor's parser, nft, the test
// images, and the program in folder guest as its first process. The tests' temporary files are on a disk. The console goes to a
// file and shows every test that ran; the last line counts them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/test/node"
)

// options is the command line.
type options struct {
	console string
	memory  int
	jobs    []string
	only    string // -test.run for all of them; "": each its own
	tries   int    // of races
}

func main() {
	var o options
	flag.StringVar(&o.console, "console", "build/vm/console.log", "file of the machine's console")
	flag.IntVar(&o.memory, "memory", 3072, "memory of the machine, in MiB")
	flag.StringVar(&o.only, "only", "", "run only the tests of the jobs that match this expression, as go test -run does")
	flag.IntVar(&o.tries, "tries", 50, "how often each race is run; 1,000 times, as elsewhere, take 20 minutes more on two idle cores")
	flag.Parse()
	o.jobs = flag.Args()
	if runtime.GOARCH != "amd64" {
		fmt.Println("SKIP-REASON: vm: written for amd64 so far")
		fmt.Println("0 passed, 0 failed, 1 skipped")
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	repo, err := node.Repo()
	if err != nil {
		return err
	}
	work := filepath.Join(repo, "build", "vm")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	k, err := fetchKernel(ctx, work)
	if err != nil {
		return fmt.Errorf("get a kernel: %w", err)
	}
	chosen, err := chooseJobs(repo, o.jobs)
	if err != nil {
		return err
	}
	if o.only != "" {
		for i := range chosen {
			chosen[i].run = o.only
		}
	}
	archive := filepath.Join(work, "root.cpio")
	if err := buildArchive(ctx, archive, repo, work, k, chosen); err != nil {
		return fmt.Errorf("build the machine's root: %w", err)
	}
	began := time.Now()
	if err := boot(ctx, k, archive, o); err != nil {
		return fmt.Errorf("run the machine: %w; see %s", err, o.console)
	}
	fmt.Printf("machine with Linux %s ran for %.0f s, console in %s\n", k.version, time.Since(began).Seconds(), o.console)
	return summarize(o.console, chosen)
}
