package stats_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-runtime/berth/cri-server/stats"
)

func TestRates(t *testing.T) {
	r := stats.NewRates()
	start := time.Now()
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	for _, tt := range []struct {
		name  string
		at    float64
		usage uint64
		want  int64 // -1: none
	}{
		{"one sample is no rate", 0, 1000, -1},
		{"too soon after it", 0.5, 2000, -1},
		{"over the whole window", 2, 1e9 + 1000, 5e8},
		{"too soon: the rate before", 2.1, 3e9, 5e8},
		{"idle", 12, 1e9 + 1000, 0},
		{"a counter that went backwards is another one", 13, 5, -1},
		{"and begins anew", 15, 2e9 + 5, 1e9},
	} {
		got := r.Sample("c", at(tt.at), tt.usage)
		switch {
		case tt.want < 0 && got != nil:
			t.Errorf("%s: %d, want none", tt.name, *got)
		case tt.want >= 0 && (got == nil || *got != uint64(tt.want)):
			t.Errorf("%s: %v, want %d", tt.name, got, tt.want)
		}
	}
	r.Forget("c")
	if got := r.Sample("c", at(20), 1); got != nil {
		t.Errorf("forgotten, but %d", *got)
	}
}

func TestALayerIsWalkedOnceForAllAndAgainWhenOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := stats.NewLayers(10 * time.Second)
		var walks atomic.Int64
		walk := func(context.Context) (stats.Filesystem, error) {
			n := walks.Add(1)
			time.Sleep(time.Second)
			return stats.Filesystem{At: time.Now(), Bytes: uint64(n)}, nil
		}
		get := func() uint64 {
			fs, err := l.Get(t.Context(), "c", walk)
			if err != nil {
				t.Error(err)
				return 0
			}
			return fs.Bytes
		}
		for range 3 {
			go get()
		}
		if got := get(); got != 1 || walks.Load() != 1 {
			t.Errorf("value of walk %d, %d walks", got, walks.Load())
		}
		time.Sleep(11 * time.Second)
		if got := get(); got != 1 { // what is known, while a walk begins
			t.Errorf("an old value was waited for: %d", got)
		}
		time.Sleep(2 * time.Second)
		if got := get(); got != 2 || walks.Load() != 2 {
			t.Errorf("value of walk %d, %d walks", got, walks.Load())
		}
		l.Forget("c")
		if got := get(); got != 3 {
			t.Errorf("forgotten, but %d", got)
		}
	})
}

func TestAFailedWalkIsToldAndRepeated(t *testing.T) {
	l := stats.NewLayers(time.Minute)
	broken := errors.New("broken")
	if _, err := l.Get(t.Context(), "c", func(context.Context) (stats.Filesystem, error) { return stats.Filesystem{}, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	fs, err := l.Get(t.Context(), "c", func(context.Context) (stats.Filesystem, error) {
		return stats.Filesystem{At: time.Now(), Bytes: 7}, nil
	})
	if err != nil || fs.Bytes != 7 {
		t.Errorf("got %v, %v", fs, err)
	}
}

func TestAWaitForAWalkEndsWithItsContext(t *testing.T) {
	l := stats.NewLayers(time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	hang := make(chan struct{})
	defer close(hang)
	_, err := l.Get(ctx, "c", func(context.Context) (stats.Filesystem, error) { <-hang; return stats.Filesystem{}, nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
