package plugin_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/cniwire"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

// Calls that one process serves know nothing of each other.
func TestServe(t *testing.T) {
	commands := plugin.Commands{Name: "t", Del: func(r *plugin.Request) error {
		r.Warn("%s %v", r.ContainerID, r.Args)
		if r.ContainerID == "bad" {
			return errdefs.Invalid("%s is bad", r.ContainerID)
		}
		return nil
	}}
	var calls, replies bytes.Buffer
	for _, vars := range []map[string]string{{"CNI_ARGS": "A=1"}, {"CNI_CONTAINERID": "bad"}, {"CNI_IFNAME": ""}, {}} {
		c := cniwire.Call{Environ: append([]string{"CNI_COMMAND=ADD", "OF=berthd"}, environ(env("DEL", vars))...), Stdin: []byte(conf)}
		testutil.Must(t, cniwire.WriteCall(&calls, c))
	}
	testutil.Must(t, plugin.Serve(commands, &calls, &replies))
	testutil.Must(t, cniwire.ReadHello(&replies))
	for i, want := range []string{
		"0 [] [t: c1 map[A:1]]", "1 [bad is bad] [t: bad map[]]", "1 [CNI_IFNAME is not set] []", "0 [] [t: c1 map[]]",
	} {
		r, err := cniwire.ReadReply(&replies)
		testutil.Must(t, err)
		said := ""
		if _, text, ok := strings.Cut(string(r.Stdout), `"msg": "`); ok {
			said = text[:strings.IndexAny(text, `";`)]
		}
		if got := fmt.Sprintf("%d [%s] [%s]", r.Status, said, bytes.TrimSpace(r.Stderr)); got != want {
			t.Errorf("call %d: %s, want %s", i, got, want)
		}
	}
}

func TestServeEndsAtWhatIsNoCall(t *testing.T) {
	err := plugin.Serve(plugin.Commands{}, strings.NewReader(strings.Repeat("x", 100)), new(bytes.Buffer))
	if !errors.Is(err, errdefs.ErrInvalid) {
		t.Error(err)
	}
}
