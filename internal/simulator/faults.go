package simulator

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Kind is a way in which an answer goes wrong.
type Kind int

// The kinds of faults.
const (
	TooManyRequests Kind = iota // 429, with Retry-After where Fault.RetryAfter is set
	ServerError                 // 500, as JSON
	Unavailable                 // 503 with an HTML body, as from a gateway
	Hang                        // no answer until the client leaves
	Reset                       // the connection is reset before an answer
	CutShort                    // the body ends before its announced length
	WrongShape                  // valid JSON of another shape
	NoJSON                      // a login page, with 200
	Denied                      // 403 as the product says it
	Slow                        // the right answer, Fault.Delay for each of its bytes
	NoPage                      // 404 page not found, as text, as from a wrong address
	Redirected                  // 302 to another host
)

// Fault makes calls go wrong.
type Fault struct {
	Path       string // part of the path and query of the calls; empty: of all
	Kind       Kind
	Method     string    // of the calls; empty: any
	After      int       // how many calls go well before
	Times      int       // how many calls; 0: all
	Until      time.Time // zero: for ever
	RetryAfter string    // the header, seconds or a date
	Delay      time.Duration
}

type fault struct {
	Fault
	spared int // calls that are still to go well
	left   int // calls; -1: all
}

// Fault switches f on, and returns what switches it off. Of several that match
// a call the first one counts.
func (s *Server) Fault(f Fault) (off func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := f.Times
	if left == 0 {
		left = -1
	}
	switched := &fault{f, f.After, left}
	s.faults = append(s.faults, switched)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		switched.left = 0
	}
}

// faultFor is called with the lock held.
func (s *Server) faultFor(r *http.Request) *fault {
	for _, f := range s.faults {
		if f.left == 0 || !f.Until.IsZero() && !time.Now().Before(f.Until) || !strings.Contains(r.URL.RequestURI(), f.Path) || f.Method != "" && f.Method != r.Method {
			continue
		}
		if f.spared > 0 {
			f.spared--
			continue
		}
		if f.left > 0 {
			f.left--
		}
		return f
	}
	return nil
}

// disrupt answers a call for which the account does not matter; false: it does.
func (s *Server) disrupt(w http.ResponseWriter, r *http.Request, f *fault) bool {
	answer := func(status int, contentType, body string) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		w.Write([]byte(body))
	}
	switch f.Kind {
	case TooManyRequests:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		answer(http.StatusTooManyRequests, "application/json", `{"message":"too many requests","type":"too_many_requests"}`)
	case ServerError:
		answer(http.StatusInternalServerError, "application/json", `{"message":"internal error","type":"internal_error"}`)
	case Unavailable:
		answer(http.StatusServiceUnavailable, "text/html", "<html><body><h1>503 Service Unavailable</h1></body></html>")
	case Denied:
		switch path := r.URL.Path; {
		case strings.HasPrefix(path, grafanaPath):
			writeJSON(w, http.StatusForbidden, accessDenied(r.Method))
		case strings.HasPrefix(path, dataSourcesPath), strings.HasPrefix(path, alertManagersPath):
			http.Error(w, "Forbidden", http.StatusForbidden)
		case strings.HasPrefix(path, "/cockpit/"):
			writeJSON(w, http.StatusForbidden, denied("cockpit", r.Method).body)
		default:
			writeJSON(w, http.StatusForbidden, denied("function", r.Method).body)
		}
	case NoJSON:
		answer(http.StatusOK, "text/html", "<html><body><form>Log in</form></body></html>")
	case NoPage:
		answer(http.StatusNotFound, "text/plain; charset=utf-8", "404 page not found\n")
	case Redirected:
		w.Header().Set("Location", "http://login.example/")
		answer(http.StatusFound, "text/html", "<html><body>Found</body></html>")
	case WrongShape:
		answer(http.StatusOK, "application/json", `[{"total_count":"many"}]`)
	case Hang:
		select {
		case <-r.Context().Done():
		case <-s.closing:
		}
	case Reset:
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0) // a reset rather than an orderly end
		}
		conn.Close()
	default:
		return false
	}
	return true
}

// spoil sends the right answer in a wrong way.
func (s *Server) spoil(w http.ResponseWriter, r *http.Request, f *fault, status int, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if f.Kind == CutShort {
		w.Write(body[:len(body)/2])
		panic(http.ErrAbortHandler) // closes the connection
	}
	for i := range body { // Slow
		if !s.wait(r, f.Delay) {
			return
		}
		w.Write(body[i : i+1])
		w.(http.Flusher).Flush()
	}
}
