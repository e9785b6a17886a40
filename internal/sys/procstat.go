package sys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// ProcStat is what is used of /proc/PID/stat (proc_pid_stat(5)).
type ProcStat struct {
	State     byte   // field 3: 'Z' is a zombie
	StartTime uint64 // field 22, clock ticks since boot
	ExitCode  int    // field 52, the status word of a zombie; 0 without the right to see it
}

// Ended tells whether the process was a zombie, or on its way from there.
func (s ProcStat) Ended() bool { return s.State == 'Z' || s.State == 'X' || s.State == 'x' }

const maxProcStat = 4096

// ReadProcStat looks at a process. One that is not there is fs.ErrNotExist, one that goes meanwhile ESRCH.
func ReadProcStat(pid int) (ProcStat, error) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ProcStat{}, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxProcStat))
	if err := errors.Join(err, f.Close()); err != nil {
		return ProcStat{}, fmt.Errorf("read stat of process %d: %w", pid, err)
	}
	return parseProcStat(data)
}

// parseProcStat takes apart a line like "17 (na me) S 1 …". The name may hold anything, also ") ".
func parseProcStat(line []byte) (ProcStat, error) {
	end := bytes.LastIndexByte(line, ')')
	fields := bytes.Fields(line[end+1:])
	const first = 3 // number of the first field after the name
	if end < 0 || len(fields) < 52-first+1 || len(fields[0]) != 1 {
		return ProcStat{}, errdefs.Invalid("stat of a process has a bad form: %q", line)
	}
	start, err := strconv.ParseUint(string(fields[22-first]), 10, 64)
	if err != nil {
		return ProcStat{}, errdefs.Invalid("start time of a process: %w", err)
	}
	code, err := strconv.Atoi(string(fields[52-first]))
	if err != nil {
		return ProcStat{}, errdefs.Invalid("exit code of a process: %w", err)
	}
	return ProcStat{State: fields[0][0], StartTime: start, ExitCode: code}, nil
}
