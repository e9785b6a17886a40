package registry

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Fault makes the server misbehave for the requests that it matches.
type Fault struct {
	Match      string        // part of the path, such as "/blobs/"; "" matches everything
	Times      int           // how many requests; 0 means all
	Status     int           // answer with this status instead
	RetryAfter string        // with Status: the Retry-After header
	Truncate   int64         // cut the connection after this many bytes of the body
	Rate       int64         // bytes per second
	Corrupt    bool          // flip a bit of the body
	Extra      int64         // send this many bytes more than the content has, without a length
	Hang       time.Duration // wait before answering; ends early when the client leaves
}

// Inject adds a fault; ClearFaults ends all.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// ClearFaults makes the server behave again.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// takeFault returns the first fault that matches, one use less left in it.
func (s *Server) takeFault(r *http.Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.faults, func(f *Fault) bool { return strings.Contains(r.URL.Path, f.Match) })
	if i < 0 {
		return nil
	}
	f := *s.faults[i]
	if s.faults[i].Times > 0 {
		if s.faults[i].Times--; s.faults[i].Times == 0 {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
	}
	return &f
}

// apply answers the request itself and returns nil, or returns the writer that spoils the answer.
func (f *Fault) apply(w http.ResponseWriter, r *http.Request) *spoiler {
	if f.Hang > 0 {
		select {
		case <-r.Context().Done():
			return nil
		case <-time.After(f.Hang):
		}
	}
	if f.Status != 0 {
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		refuse(w, f.Status, "FAULT", http.StatusText(f.Status))
		return nil
	}
	return &spoiler{ResponseWriter: w, request: r, fault: f}
}

// spoiler is a response writer that slows, cuts or changes a body.
type spoiler struct {
	http.ResponseWriter
	request *http.Request
	fault   *Fault
	sent    int64
}

// chunk bounds what goes out at once, so that a rate is held evenly.
const chunk = 16 << 10

// WriteHeader hides the length when the body will not keep to it.
func (s *spoiler) WriteHeader(status int) {
	if s.fault.Extra > 0 {
		s.Header().Del("Content-Length")
	}
	s.ResponseWriter.WriteHeader(status)
}

// finish sends what the fault adds to the body.
func (s *spoiler) finish() {
	for left := s.fault.Extra; left > 0; left -= chunk {
		if _, err := s.Write(make([]byte, min(left, chunk))); err != nil {
			return // the client has seen enough
		}
	}
}

func (s *spoiler) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		part := p[:min(len(p), chunk)]
		if s.fault.Truncate > 0 {
			if s.sent >= s.fault.Truncate {
				s.cut()
			}
			part = part[:min(int64(len(part)), s.fault.Truncate-s.sent)]
		}
		if s.fault.Corrupt && s.sent == 0 {
			part = slices.Clone(part)
			part[len(part)/2] ^= 1
		}
		if err := s.pace(len(part)); err != nil {
			return written, err
		}
		n, err := s.ResponseWriter.Write(part)
		written, s.sent, p = written+n, s.sent+int64(n), p[n:]
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// cut ends the connection in the middle of the body. What was sent goes out first: a client that has seen nothing would
// silently ask again.
func (s *spoiler) cut() {
	_ = http.NewResponseController(s.ResponseWriter).Flush() // the connection is lost either way
	panic(http.ErrAbortHandler)                              // the server closes it and logs nothing
}

// pace sends what was written before and waits as long as n bytes take at the fault's rate.
func (s *spoiler) pace(n int) error {
	if s.fault.Rate <= 0 {
		return nil
	}
	if err := http.NewResponseController(s.ResponseWriter).Flush(); err != nil {
		return err
	}
	select {
	case <-s.request.Context().Done():
		return s.request.Context().Err()
	case <-time.After(time.Duration(n) * time.Second / time.Duration(s.fault.Rate)):
		return nil
	}
}
