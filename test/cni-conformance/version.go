package main

import (
	"encoding/json"
	"fmt"
	"slices"
)

// newest is the version of the specification that the cases are about. Configurations of this version are given to older plugins in
// the newest version that these speak, so that they are judged by what they do, not by their age: what a version has no
// command for they fail.
const newest = "1.1.0"

// speak asks the plugins for the newest version that they speak; e.version stays empty if it is the newest there is.
func (e *env) speak() error {
	out, err := e.run(call{plugin: "bridge", verb: "VERSION"}, object{"cniVersion": "1.0.0"})
	if err != nil {
		return fmt.Errorf("ask the plugins for their versions: %w", err)
	}
	var answer struct {
		Supported []string `json:"supportedVersions"`
	}
	if err := json.Unmarshal(out, &answer); err != nil || len(answer.Supported) == 0 {
		return fmt.Errorf("the plugins answer VERSION with %q: %w", out, err)
	}
	if !slices.Contains(answer.Supported, newest) {
		e.version = answer.Supported[len(answer.Supported)-1]
	}
	return nil
}
