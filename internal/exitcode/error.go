// Package exitcode carries the exit code that a command is to end with to its main function.
package exitcode

import "fmt"

// Error makes a command exit with a code. Without Err nothing is printed: the code is a container's own.
type Error struct {
	Code int
	Err  error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }
