// Command guest is the first process of the test machine: it sets the system up, runs every job and powers the machine off.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	if os.Getenv("BERTH_VM_STAGE") == "" {
		if err := newRoot(); err != nil {
			fmt.Println("guest: move to a new root:", err)
		}
	} else if err := second(); err != nil {
		fmt.Println("guest:", err)
	}
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF) // there is nobody to tell
}

// newRoot copies everything to a tmpfs and goes on there: pivot_root(2) refuses to leave the kernel's first root.
func newRoot() error {
	if err := syscall.Mount("root", "/new", "tmpfs", 0, "size=90%"); err != nil {
		return err
	}
	if err := moveTree("/", "/new"); err != nil {
		return err
	}
	if err := os.Chdir("/new"); err != nil {
		return err
	}
	if err := syscall.Mount("/new", "/", "", syscall.MS_MOVE, ""); err != nil {
		return err
	}
	if err := syscall.Chroot("."); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return syscall.Exec("/init", []string{"/init"}, append(os.Environ(), "BERTH_VM_STAGE=2"))
}

// moveTree moves all files, each removed when it is copied: memory holds only one of both.
func moveTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		dst := filepath.Join(to, path)
		switch {
		case err != nil:
			return err
		case path == "/new":
			return fs.SkipDir
		case d.IsDir():
			if err := os.Mkdir(dst, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(target, dst)
		case d.Type().IsRegular():
			return moveFile(path, dst)
		}
		return nil
	})
}

func moveFile(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	return os.Remove(from)
}

// second sets the system up and runs the jobs.
func second() error {
	os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
	os.Setenv("HOME", "/root")
	many := syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20} // as a service manager sets it for the keeper
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &many); err != nil {
		return fmt.Errorf("raise the limit of open files: %w", err)
	}
	for _, m := range []struct{ source, target, kind, data string }{
		{"proc", "/proc", "proc", ""},
		{"sysfs", "/sys", "sysfs", ""},
		{"securityfs", "/sys/kernel/security", "securityfs", ""},
		{"devtmpfs", "/dev", "devtmpfs", ""},
		{"devpts", "/dev/pts", "devpts", "ptmxmode=0666"},
		{"shm", "/dev/shm", "tmpfs", ""},
		{"run", "/run", "tmpfs", ""},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", ""},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(m.source, m.target, m.kind, 0, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	if _, err := os.Stat("/sys/kernel/security/apparmor"); err != nil {
		return fmt.Errorf("want a kernel with AppArmor, its tests would skip: %w", err)
	}
	if err := insertModules(); err != nil {
		return err
	}
	if err := syscall.Mount("/dev/vda", "/tmp", "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount the disk: %w", err)
	}
	if err := exec.Command("/bin/ip", "link", "set", "lo", "up").Run(); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return runJobs()
}

// insertModules loads what the archive brings, in its order. One that the kernel refuses is named, and its tests will skip.
func insertModules() error {
	order, err := os.ReadFile("/modules.order")
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(order)) {
		data, err := os.ReadFile("/modules/" + name)
		if err != nil {
			return err
		}
		empty := []byte{0}
		_, _, errno := syscall.Syscall(syscall.SYS_INIT_MODULE, uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)), uintptr(unsafe.Pointer(&empty[0])))
		if errno != 0 && errno != syscall.EEXIST {
			fmt.Printf("guest: module %s: %v\n", name, errno)
		}
	}
	return os.RemoveAll("/modules")
}

// runJobs runs each line of /jobs: a package's folder, its test binary, and a pattern of tests.
func runJobs() error {
	f, err := os.Open("/jobs")
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		parts := strings.SplitN(lines.Text(), " ", 3)
		if len(parts) != 3 {
			return fmt.Errorf("job %q", lines.Text())
		}
		fmt.Println("\n@@job " + parts[0]) // the firmware leaves no line of its own
		cmd := exec.Command("./"+parts[1], "-test.v", "-test.timeout=20m", "-test.run="+parts[2])
		cmd.Dir = "/repo/" + parts[0]
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
		status, began := 0, time.Now()
		if err := cmd.Run(); err != nil {
			fmt.Println("guest:", err)
			status = 1
		}
		fmt.Printf("guest: %s took %.0f s\n", parts[0], time.Since(began).Seconds())
		fmt.Printf("@@end %s %d\n", parts[0], status)
	}
	return lines.Err()
}
