// Command probe is what the tests run inside containers. Each argument is one command, "name" or "name:argument[:argument]";
// what it has to say goes to standard output as "name value" lines.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	for _, arg := range os.Args[1:] {
		name, rest, _ := strings.Cut(arg, ":")
		run, ok := commands()[name]
		if !ok {
			fmt.Println("unknown command", name)
			os.Exit(125)
		}
		if err := run(rest); err != nil {
			var errno syscall.Errno
			if errors.As(err, &errno) {
				fmt.Printf("%s error %d %v\n", arg, int(errno), err)
			} else {
				fmt.Printf("%s error %v\n", arg, err)
			}
		}
	}
}

func commands() map[string]func(string) error {
	return map[string]func(string) error{
		"status": func(string) error { return cat("/proc/self/status") },
		"cat":    cat,
		"args":   func(string) error { fmt.Printf("args %q\n", os.Args); return nil },
		"env":    func(string) error { fmt.Printf("env %q\n", os.Environ()); return nil },
		"cwd":    cwd,
		"ids":    ids,
		"fds":    fds,
		"ls":     ls,
		"stat":   stat,
		"link":   func(p string) error { t, err := os.Readlink(p); fmt.Println("link", t); return err },
		"mkdir":  func(p string) error { return os.Mkdir(p, 0o755) },
		"touch":  func(p string) error { return touch(p) },
		"write": func(p string) error {
			path, text, _ := strings.Cut(p, "=")
			return os.WriteFile(path, []byte(text), 0o644)
		},
		"print":  func(s string) error { fmt.Println("print", s); return nil },
		"stderr": func(s string) error { fmt.Fprintln(os.Stderr, s); return nil },
		"host":   func(string) error { n, err := os.Hostname(); fmt.Println("host", n); return err },
		"rlimit": rlimit,
		"mount":  mount,
		"tty":    tty,
		"alloc":  alloc,
		"forks":  forks,
		"orphan": orphan,
		"trap":   trap,
		"loop":   loop,
		"wait":   waitFor,
		"line":   line,
		"pid":    func(string) error { fmt.Println("pid", os.Getpid(), os.Getppid()); return nil },
		"openw": func(p string) error {
			f, err := os.OpenFile(p, os.O_WRONLY, 0)
			if err == nil {
				err = f.Close()
			}
			return err
		},
		"exec": func(p string) error { return syscall.Exec(p, []string{p}, nil) },
		"spy":  spy,
		"sleep": func(ms string) error {
			n, err := strconv.Atoi(ms)
			time.Sleep(time.Duration(n) * time.Millisecond)
			return err
		},
		"exit": func(code string) error {
			n, err := strconv.Atoi(code)
			if err != nil {
				n = 124
			}
			os.Exit(n)
			return nil
		},
		"umask":      func(string) error { fmt.Printf("umask %04o\n", syscall.Umask(0)); return nil },
		"attributes": attributes,
		"cores":      func(string) error { fmt.Println("cores", runtime.NumCPU()); return nil },
	}
}

// loop runs on; Go would call a bare select a deadlock.
func loop(string) error {
	fmt.Println("loop")
	for {
		time.Sleep(time.Hour)
	}
}

func cat(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(os.Stdout, f)
	return err
}

func cwd(string) error {
	dir, err := syscall.Getwd() // not os.Getwd, which trusts $PWD
	fmt.Println("cwd", dir)
	return err
}

func ids(string) error {
	groups, err := os.Getgroups()
	fmt.Println("ids", os.Getuid(), os.Getgid(), os.Geteuid(), os.Getegid(), groups)
	return err
}

// fds lists descriptors but the one that lists them.
func fds(string) error {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	for _, n := range names {
		target, linkErr := os.Readlink("/proc/self/fd/" + n)
		// What the Go runtime opens for itself is not ours: its poller, and the CPU limits of its cgroup.
		if linkErr == nil && !strings.HasPrefix(target, "/sys/fs/cgroup/") && n != strconv.Itoa(int(dir.Fd())) && !strings.HasPrefix(target, "anon_inode:[event") {
			fmt.Println("fd", n, target)
		}
	}
	return err
}

func ls(path string) error {
	entries, err := os.ReadDir(path)
	for _, e := range entries {
		fmt.Println("entry", e.Name(), e.Type())
	}
	return err
}

func stat(path string) error {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return err
	}
	fmt.Printf("stat %s %o %d:%d %d:%d ino=%d size=%d\n", path, st.Mode, st.Uid, st.Gid, st.Rdev>>8&0xfff, st.Rdev&0xff|st.Rdev>>12&0xfff00, st.Ino, st.Size)
	return nil
}

func touch(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	fmt.Println("touched", path)
	return f.Close()
}

func rlimit(n string) error {
	i, err := strconv.Atoi(n)
	if err != nil {
		return err
	}
	var l syscall.Rlimit
	// Not syscall.Getrlimit alone: the Go runtime has raised RLIMIT_NOFILE, so /proc has it no better.
	err = syscall.Getrlimit(i, &l)
	fmt.Println("rlimit", i, l.Cur, l.Max)
	return err
}

// mount mounts a tmpfs on a folder.
func mount(path string) error {
	if err := syscall.Mount("probe", path, "tmpfs", 0, ""); err != nil {
		return err
	}
	fmt.Println("mounted", path)
	return nil
}

func tty(string) error {
	var size [4]uint16
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, 0, syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	name, _ := os.Readlink("/proc/self/fd/0")
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	fmt.Println("tty", name, size[1], size[0], errno == 0, err)
	if err == nil {
		err = f.Close()
	}
	return err
}

var kept [][]byte

func alloc(mb string) error {
	n, err := strconv.Atoi(mb)
	for range n {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = 1
		}
		kept = append(kept, b)
	}
	fmt.Println("allocated", n)
	return err
}

func forks(count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	started := 0
	for range n {
		cmd := exec.Command("/proc/self/exe", "loop")
		if err = cmd.Start(); err != nil {
			break
		}
		started++
	}
	fmt.Println("forked", started)
	return err
}

// orphan leaves a process behind in a session of its own.
func orphan(string) error {
	cmd := exec.Command("/proc/self/exe", "loop")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	fmt.Println("orphan", cmd.Process.Pid)
	return nil
}

// trap waits for SIGTERM and exits with the code given.
func trap(code string) error {
	n, err := strconv.Atoi(code)
	if err != nil {
		return err
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	fmt.Println("trapped")
	<-c
	os.Exit(n)
	return nil
}

// spy tries to open the files and memory of every other process, until /tmp/stop is there, and tells of files that are none
// of the container's.
func spy(string) error {
	fmt.Println("spying")
	for {
		if _, err := os.Stat("/tmp/stop"); err == nil {
			return nil
		}
		procs, err := os.ReadDir("/proc")
		if err != nil {
			return err
		}
		for _, p := range procs {
			if pid, err := strconv.Atoi(p.Name()); err != nil || pid == os.Getpid() {
				continue
			}
			target, err := os.Readlink("/proc/" + p.Name() + "/exe")
			if err == nil && target != "/bin/probe" {
				fmt.Println("STOLEN", target)
			}
			fds, _ := os.ReadDir("/proc/" + p.Name() + "/fd")
			for _, fd := range fds {
				if target, err := os.Readlink("/proc/" + p.Name() + "/fd/" + fd.Name()); err == nil && strings.Contains(target, "/tasks") {
					fmt.Println("STOLEN", target)
				}
			}
		}
	}
}

// waitFor waits until a file exists.
func waitFor(path string) error {
	for range 1000 {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("%s did not come", path)
}

func line(string) error {
	text, err := bufio.NewReader(os.Stdin).ReadString('\n')
	fmt.Printf("line %q\n", text)
	if err == io.EOF {
		return nil
	}
	return err
}
