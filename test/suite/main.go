// Command suite runs the steps of `make test`, prints what failed and why something was skipped, and ends with the counts:
//
//	suite [STEP…]
//
// The last line is "N passed, N failed, N skipped". A step that can't run counts as one failure; there is no way for a step
// to vanish.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	chosen, err := choose(steps(), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		os.Exit(2)
	}
	var total counts
	for _, s := range chosen {
		total.add(s.report(ctx))
	}
	total.writeDetails(os.Stdout)
	fmt.Printf("%d passed, %d failed, %d skipped\n", total.passed, total.failed, total.skipped)
	if total.failed > 0 {
		os.Exit(1)
	}
}

// choose returns the named steps in their usual order, or all.
func choose(all []step, names []string) ([]step, error) {
	for _, name := range names {
		if !slices.ContainsFunc(all, func(s step) bool { return s.name == name }) {
			return nil, fmt.Errorf("no step named %q", name)
		}
	}
	return slices.DeleteFunc(all, func(s step) bool { return len(names) > 0 && !slices.Contains(names, s.name) }), nil
}

// report runs a step and prints its head and result.
func (s step) report(ctx context.Context) counts {
	fmt.Printf("=== %s: %s\n", s.name, strings.Join(s.command, " "))
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	c := s.run(ctx)
	fmt.Printf("=== %s: %d passed, %d failed, %d skipped in %.0f s\n\n", s.name, c.passed, c.failed, c.skipped, time.Since(began).Seconds())
	return c
}
