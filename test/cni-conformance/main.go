// Command cni-conformance judges CNI plugins from outside, by what the specification 1.1 and its conventions ask of them: every verb,
// error codes, idempotence, garbage collection, traffic, crashes.
//
// It owns the namespaces that it runs the plugins in, one host namespace for each case, and touches nothing else of the machine. A
// case is a function that returns what is wrong. The plugins are programs in a folder; where they come from does not matter:
//
//	go run ./test/cni-conformance -plugins bin/cni,/usr/lib/cni
//
// prints a table, a line for each requirement with a column for each folder; README.md says how to read it. The tests of this package
// run it on berth's plugins, of which every case must pass, on those that Debian ships, and, with BERTH_CNI_UPSTREAM=DIR, on those of
// the CNI project, which upstream.sh builds: theirs must fail what debian.txt and upstream.txt list.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/berth-runtime/berth/internal/testutil"
)

func main() {
	plugins := flag.String("plugins", "", "folder of the plugins to judge; more to compare them with, after commas")
	only := flag.String("run", "", "regular expression: only cases whose name it matches")
	flag.Parse()
	wanted, err := regexp.Compile(*only)
	if *plugins == "" || err != nil {
		flag.Usage()
		os.Exit(2)
	}
	os.Exit(testutil.Isolate(func() int { return score(strings.Split(*plugins, ","), wanted) }))
}

// column counts what one folder's plugins did.
type column struct{ passed, failed, skipped, absent int }

// score runs the wanted cases and prints a line for each. The exit status is about the first folder.
func score(folders []string, wanted *regexp.Regexp) int {
	columns := make([]column, len(folders))
	for i, folder := range folders {
		fmt.Printf("%d: %s\n", i+1, folder)
		if abs, err := filepath.Abs(folder); err == nil { // plugins run in other folders
			folders[i] = abs
		}
	}
	for _, c := range allCases() {
		if !wanted.MatchString(c.name) {
			continue
		}
		var details []string
		for i, folder := range folders {
			verdict, err := judge(c, folder, &columns[i])
			fmt.Printf("%-6s", verdict)
			if err != nil {
				details = append(details, fmt.Sprintf("      %d: %v", i+1, err))
			}
		}
		fmt.Println(c.name)
		for _, d := range details {
			fmt.Println(d)
		}
	}
	for i, n := range columns {
		fmt.Printf("%d: %d pass, %d fail, %d skipped, %d of plugins that are not there\n", i+1, n.passed, n.failed, n.skipped, n.absent)
	}
	return min(columns[0].failed, 1)
}

// judge runs one case on the plugins of one folder. The case's name begins with that of the plugin that it is about.
func judge(c testCase, folder string, n *column) (verdict string, err error) {
	plugin, _, _ := strings.Cut(c.name, "/")
	if _, err := os.Stat(filepath.Join(folder, plugin)); errors.Is(err, fs.ErrNotExist) && slices.Contains(knownPlugins(), plugin) {
		n.absent++
		return "-", nil
	}
	err = c.run(folder)
	_, skip := errors.AsType[lacking](err)
	switch {
	case skip:
		n.skipped++
		return "skip", err
	case err != nil:
		n.failed++
		return "FAIL", err
	}
	n.passed++
	return "ok", nil
}
