package main

import (
	"io"
	"strings"
	"testing"
)

func TestNetKnowsItsCommands(t *testing.T) {
	c := (&app{}).command()
	c.SetOut(io.Discard)
	c.SetArgs([]string{"net", "bogus"})
	if err := c.Execute(); err == nil || !strings.Contains(err.Error(), "bogus") {
		t.Errorf("berth net bogus: %v", err)
	}
	c.SetArgs([]string{"net"})
	if err := c.Execute(); err != nil {
		t.Errorf("berth net: %v", err)
	}
}
