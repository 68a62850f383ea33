package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// progress is a line at the foot of a terminal that says how far a command is.
// What else is written to the terminal goes through it, so that the line stays
// the last one. Anywhere but on a terminal there is no line.
type progress struct {
	w        io.Writer
	terminal bool

	mu   sync.Mutex
	line string
}

const eraseLine = "\r\x1b[K"

func newProgress(w io.Writer) *progress {
	return &progress{w: w, terminal: isTerminal(w)}
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// show replaces the line.
func (p *progress) show(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		p.line = line
		fmt.Fprint(p.w, eraseLine+line)
	}
}

// end takes the line away.
func (p *progress) end() { p.show("") }

// Write writes above the line.
func (p *progress) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line != "" {
		fmt.Fprint(p.w, eraseLine)
		defer fmt.Fprint(p.w, p.line)
	}
	return p.w.Write(data)
}
