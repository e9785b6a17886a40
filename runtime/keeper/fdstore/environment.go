package fdstore

import (
	"errors"
	"os"
)

// FromEnvironment returns the service manager that this process has, and what it has handed back: sd_notify(3),
// sd_listen_fds(3). Of the latter the environment says nothing afterwards: it is not meant for the program that this one may
// become.
func FromEnvironment() (Store, []Received, error) {
	store, err := New(os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		return store, nil, err
	}
	list, err := Parse(os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES"), os.Getpid())
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		err = errors.Join(err, os.Unsetenv(name))
	}
	return store, list, err
}
