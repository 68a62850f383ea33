package simulator

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
)

// Listen serves on a TCP address, ":0" for any free port, and returns its base
// URL. close ends all connections and waits for the calls under way.
func (s *Server) Listen(address string) (baseURL string, close func(), err error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "", nil, err
	}
	return "http://" + listener.Addr().String(), s.serve(listener), nil
}

// Pipe serves within the process, over pipes instead of sockets: the same HTTP
// on both sides, in which goroutines block so that testing/synctest can tell.
// The transport reaches the server at any host.
func (s *Server) Pipe() (transport *http.Transport, close func()) {
	listener := &pipeListener{connections: make(chan net.Conn), closed: make(chan struct{})}
	transport = &http.Transport{DialContext: listener.dial}
	end := s.serve(listener)
	return transport, func() {
		transport.CloseIdleConnections()
		end()
	}
}

func (s *Server) serve(listener net.Listener) (end func()) {
	server := &http.Server{Handler: s, ErrorLog: log.New(io.Discard, "", 0)}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(listener) }) // until Close
	return func() {
		s.mu.Lock()
		select {
		case <-s.closing:
		default:
			close(s.closing)
		}
		s.mu.Unlock()
		server.Close()
		serving.Wait()
	}
}

type pipeListener struct {
	connections chan net.Conn
	once        sync.Once
	closed      chan struct{}
}

var errClosed = errors.New("the simulator is closed")

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.connections <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.closed:
		return nil, errClosed
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.connections:
		return conn, nil
	case <-l.closed:
		return nil, errClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
