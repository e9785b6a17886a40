package imagestore_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-runtime/berth/imagestore"
)

// textTar makes a layer of about size bytes that looks like software: files of 30 KB on average, which gzip makes 2.5 times
// smaller.
func textTar(tb testing.TB, seed uint64, size int) []byte {
	tb.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	words := make([]string, 3000)
	for i := range words {
		words[i] = fmt.Sprintf("%x", r.Uint64()>>(8*r.IntN(6)))
	}
	var files []string
	for total := 0; total < size; {
		n := int(r.ExpFloat64() * 30_000)
		var b strings.Builder
		fmt.Fprintf(&b, "d%d/", r.IntN(100))
		if len(files) < 100 {
			b.Reset()
			fmt.Fprintf(&b, "d%d/", len(files))
			files = append(files, b.String())
			continue
		}
		fmt.Fprintf(&b, "f%d=", len(files))
		for b.Len() < n {
			b.WriteString(words[int(float64(len(words))*r.Float64()*r.Float64())])
			b.WriteByte(" \n.,"[r.IntN(4)])
		}
		total += b.Len()
		files = append(files, b.String())
	}
	return tarOf(tb, files...)
}

func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPull pulls an image of 6 layers of 60 MB (unpacked) from loopback. The CPU time includes the registry's share,
// which serves from memory in the same process.
func BenchmarkPull(b *testing.B) {
	for name, pack := range map[string]packing{"gzip": gzipped, "zstd": zstded, "plain": plain} {
		b.Run(name, func(b *testing.B) {
			h := newHub(b)
			i := image{pack: pack}
			unpacked, packed := 0, 0
			for n := range uint64(6) {
				l := textTar(b, n, 60<<20)
				unpacked += len(l)
				i.layers = append(i.layers, l)
			}
			h.push("big", "latest", i)
			s, _ := open(b, b.TempDir())
			var spent time.Duration
			for b.Loop() {
				before := cpu(b)
				img, err := s.Pull(b.Context(), imagestore.PullRequest{Ref: h.addr + "/big", Progress: func(p imagestore.Progress) { packed = int(p.Total) }})
				if err != nil {
					b.Fatal(err)
				}
				spent += cpu(b) - before
				b.StopTimer()
				if err := s.Remove(b.Context(), img.ID); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.SetBytes(int64(packed))
			b.ReportMetric(spent.Seconds()/float64(b.N), "cpu-s/op")
			b.ReportMetric(float64(unpacked)/1e6, "MB-unpacked")
			b.ReportMetric(float64(packed)/1e6, "MB-packed")
		})
	}
}
