// Command entry prints, as JSON, what the Go runtime makes of its start.
package main

import (
	"encoding/json"
	"os"
	"runtime"

	_ "github.com/berth-runtime/berth/cni-plugins/internal/plugin" // has the entry
)

func main() {
	slack, err := os.ReadFile("/proc/self/timerslack_ns")
	if err != nil {
		panic(err)
	}
	err = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"procs": runtime.GOMAXPROCS(0), "page": os.Getpagesize(), "slack": string(slack), "args": os.Args, "env": os.Environ(),
	})
	if err != nil {
		panic(err)
	}
}
