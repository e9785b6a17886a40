package keeper

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// stat is what the keeper uses of /proc/PID/stat (proc_pid_stat(5)).
type stat struct {
	state     byte   // field 3: 'Z' is a zombie
	startTime uint64 // field 22, clock ticks since boot
	exitCode  int    // field 52, the status word of a zombie; 0 without the right to see it
}

const maxStat = 4096

func readStat(pid int) (stat, error) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxStat))
	if err := errors.Join(err, f.Close()); err != nil {
		return stat{}, fmt.Errorf("read stat of process %d: %w", pid, err)
	}
	return parseStat(data)
}

// parseStat takes apart a line like "17 (na me) S 1 …". The name may hold anything, also ") ".
func parseStat(line []byte) (stat, error) {
	end := bytes.LastIndexByte(line, ')')
	fields := bytes.Fields(line[end+1:])
	const first = 3 // number of the first field after the name
	if end < 0 || len(fields) < 52-first+1 || len(fields[0]) != 1 {
		return stat{}, errdefs.Invalid("stat of a process has a bad form: %q", line)
	}
	start, err := strconv.ParseUint(string(fields[22-first]), 10, 64)
	if err != nil {
		return stat{}, errdefs.Invalid("start time of a process: %w", err)
	}
	code, err := strconv.Atoi(string(fields[52-first]))
	if err != nil {
		return stat{}, errdefs.Invalid("exit code of a process: %w", err)
	}
	return stat{state: fields[0][0], startTime: start, exitCode: code}, nil
}
