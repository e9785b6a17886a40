package wire

import "time"

// Exit is how a process ended.
type Exit struct {
	Code   int       // exit status; 128 + Signal if a signal ended it; 255 if not Known
	Signal int       // 0 unless a signal ended it
	At     time.Time // when the keeper learned of it
	Known  bool      // false: nobody saw the end
	Reason string    // why it is not known
}

// Event tells that a process has ended and that its output is in the log.
type Event struct {
	ID   string
	Exit Exit
}

// Process is one entry of the keeper's list.
type Process struct {
	ID        string
	PID       int
	StartTime uint64 // field 22 of /proc/PID/stat: clock ticks since boot
	At        time.Time
	Exited    bool
	Exit      Exit // if Exited
}
