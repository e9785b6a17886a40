package fdstore

import (
	"strconv"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

const (
	firstFile = 3 // SD_LISTEN_FDS_START

	// maxFiles bounds what a manager hands back: its own bound (FileDescriptorStoreMax) is below.
	maxFiles = 1 << 16
)

// Received is a descriptor that the manager kept.
type Received struct {
	Name string
	File sys.Raw
}

// Parse returns what LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES say, to the process pid: nothing if they are meant for another
// process or not there.
func Parse(listenPID, listenFDs, listenNames string, pid int) ([]Received, error) {
	if listenPID == "" || listenFDs == "" {
		return nil, nil
	}
	if owner, err := strconv.Atoi(listenPID); err != nil || owner <= 0 {
		return nil, errdefs.Invalid("LISTEN_PID: %q is no process", listenPID)
	} else if owner != pid {
		return nil, nil
	}
	count, err := strconv.Atoi(listenFDs)
	if err != nil || count < 0 || count > maxFiles {
		return nil, errdefs.Invalid("LISTEN_FDS: %q is no number of files", listenFDs)
	}
	names := make([]string, count)
	if listenNames != "" {
		given := strings.Split(listenNames, ":")
		if len(given) != count {
			return nil, errdefs.Invalid("LISTEN_FDNAMES: %d names for %d files", len(given), count)
		}
		names = given
	}
	list := make([]Received, count)
	for i := range list {
		list[i] = Received{names[i], sys.Raw(firstFile + i)}
	}
	return list, nil
}
