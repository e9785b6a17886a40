//go:build race

package keeper_test

// raced is set where the race detector watches.
const raced = true
