// Command cni-conformance judges CNI plugins from outside, by what the specification 1.1 and its conventions ask of them: every verb,
// error codes, idempotence, garbage collection, traffic, crashes.
//
// It owns the namespaces that it runs the plugins in, one host namespace for each case, and touches nothing else of the machine. A
// case is a function that returns what is wrong. The plugins are programs in a folder; where they come from does not matter:
//
//	go run ./test/cni-conformance -plugins /opt/cni/bin
//
// prints a scoreboard. The tests of this package run it on berth's plugins, of which every case must pass, and, with
// BERTH_CNI_UPSTREAM=DIR, on those of the CNI project, which upstream.sh builds; their failures must be exactly those in upstream.txt.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"

	"github.com/berth-runtime/berth/internal/testutil"
)

func main() {
	plugins := flag.String("plugins", "", "folder of the plugins to judge")
	only := flag.String("run", "", "regular expression: only cases whose name it matches")
	flag.Parse()
	wanted, err := regexp.Compile(*only)
	if *plugins == "" || err != nil {
		flag.Usage()
		os.Exit(2)
	}
	os.Exit(testutil.Isolate(func() int { return score(*plugins, wanted) }))
}

// score runs the wanted cases and prints a line for each.
func score(plugins string, wanted *regexp.Regexp) int {
	failed, skipped, total := 0, 0, 0
	for _, c := range allCases() {
		if !wanted.MatchString(c.name) {
			continue
		}
		total++
		err := c.run(plugins)
		if _, skip := errors.AsType[lacking](err); skip {
			skipped++
			fmt.Printf("skip  %-45s %v\n", c.name, err)
			continue
		}
		if err != nil {
			failed++
			fmt.Printf("FAIL  %-45s %v\n", c.name, err)
			continue
		}
		fmt.Printf("ok    %s\n", c.name)
	}
	fmt.Printf("%d of %d cases pass, %d skipped\n", total-failed-skipped, total, skipped)
	return min(failed, 1)
}
