// Package cleanup undoes the effects of a function that fails half way.
//
//	func start() (err error) {
//		cu := cleanup.Make(&err)
//		defer cu.Clean()
//		f, err := open()
//		cu.Add(f.Close)
//		…
//		cu.Release()
//		return nil
//	}
//
// Errors of the clean-ups are joined to the function's own, never dropped.
package cleanup

import (
	"errors"
	"slices"
)

// Stack is a list of effects to undo, newest first. The zero value drops errors; use [Make].
type Stack struct {
	err  *error
	undo []func() error
}

// Make returns a stack that joins the errors of its clean-ups to *err, the named result of the calling function.
func Make(err *error) *Stack { return &Stack{err: err} }

// Add pushes one clean-up.
func (s *Stack) Add(undo func() error) { s.undo = append(s.undo, undo) }

// Release forgets all clean-ups: the effects stay.
func (s *Stack) Release() { s.undo = nil }

// Clean runs the clean-ups, newest first, unless Release came before. Every one runs, whatever the others return.
func (s *Stack) Clean() {
	undo := s.undo
	s.undo = nil
	var errs []error
	for _, f := range slices.Backward(undo) {
		errs = append(errs, f())
	}
	if s.err == nil {
		return
	}
	if joined := errors.Join(errs...); joined != nil {
		*s.err = errors.Join(*s.err, joined)
	}
}
