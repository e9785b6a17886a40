package keeper_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/berth-runtime/berth/runtime/keeper"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// attachAndRead is the main function of a client that is going to be killed: it attaches, starts a process of its own, and reads
// output without end.
func attachAndRead(socket string) error {
	ctx := context.Background()
	c, err := client.Dial(ctx, socket)
	if err != nil {
		return err
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer inW.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	if err := c.Attach(ctx, "loud", inR, outW, nil); err != nil {
		return err
	}
	inR.Close()
	outW.Close()
	buf := make([]byte, 4096)
	for i := 0; ; i++ {
		if _, err := outR.Read(buf); err != nil { // it was too slow
			select {}
		}
		if i == 10 {
			fmt.Println("reading")
		}
	}
}

// keeperHere runs a keeper in this process, so that its goroutines can be counted.
func keeperHere(t *testing.T, dir string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- keeper.Run(ctx, keeper.Config{
			Socket: dir + "/socket", StateDir: dir + "/state", Logger: slog.New(slog.DiscardHandler),
			Ready: func() error { close(ready); return nil },
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
}

// settles waits until a count is down to what it was. Everything that is counted goes by itself, soon; how soon is not what is
// tested.
func settles(t *testing.T, what string, want int, count func() int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for count() > want {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d %s, %d before\n%s", count(), what, want, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(time.Millisecond)
	}
}

// Clients that are killed in the middle of a stream, hang up one direction only, or never read, leave nothing in the keeper.
func TestClientsVanish(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "berth-keeper-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	keeperHere(t, dir)
	n := &node{t: t, dir: dir}
	s := n.dial()
	m := n.managed("loud")
	m.Stdin, m.LogPath = true, ""
	loud := s.start("loud", sh(t, "exec yes 'some output, again and again'"), client.Stdio{Managed: m})
	in, out := attach(t, s, "loud")                                  // whatever the first client makes the keeper open, is open
	if _, err := io.ReadFull(out, make([]byte, 1<<12)); err != nil { // less than fits into the pipe: to be slow is to be cut off
		t.Fatal(err)
	}
	in.Close()
	out.Close()

	self := os.Getpid()
	files, goroutines := openFiles(t, self)+8, runtime.NumGoroutine()+4 // spare pipes, and lanes that happen to run
	for range 20 {
		cmd := exec.Command("/proc/self/exe", dir+"/socket")
		cmd.Env = append(os.Environ(), modeVar+"=attach")
		cmd.Stderr = os.Stderr
		said, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(said).ReadString('\n'); line != "reading\n" {
			t.Fatalf("the client said %q, %v", line, err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the client was not killed")
		}
	}
	var slow []*os.File
	for i := range 100 {
		settles(t, "files", files+60, func() int { return openFiles(t, self) }) // there may be so many clients at once
		in, out := attach(t, s, "loud")
		switch i % 4 {
		case 0: // hangs up its input; its output later, without a word
			in.Close()
			slow = append(slow, out)
		case 1: // does not want output
			out.Close()
			slow = append(slow, in)
		case 2: // never reads: is cut off
			slow = append(slow, in)
		default:
			in.Close()
			out.Close()
		}
		if len(slow) > 10 {
			closeAll(slow)
			slow = nil
		}
	}
	closeAll(slow)
	if err := syscall.Kill(loud.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if x := s.exit("loud"); x.Signal != int(syscall.SIGKILL) || !x.Known {
		t.Errorf("exit %+v", x)
	}
	if err := s.Forget(context.Background(), "loud"); err != nil {
		t.Fatal(err)
	}
	settles(t, "goroutines", goroutines, runtime.NumGoroutine)
	settles(t, "files", files+25, func() int { return openFiles(t, self) }) // the test's own ends that never read
	if _, err := os.Stat(m.Dir); !os.IsNotExist(err) {
		t.Errorf("the FIFOs' folder: %v", err)
	}
	if err := syscall.Kill(loud.PID, 0); err != syscall.ESRCH {
		t.Errorf("the process is still there: %v", err)
	}
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
