package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// screen prints what the demo does: a line for each step, which on a terminal
// is seen while it lasts. It may be used from several goroutines.
type screen struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	pending  string // the step that is under way, shown on a terminal only
}

func newScreen(out io.Writer) *screen {
	s := &screen{out: out}
	if f, ok := out.(*os.File); ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		info, err := f.Stat()
		s.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

// Styles, of a terminal only.
const (
	bold  = "1"
	dim   = "2"
	green = "32"
	red   = "31"
	cyan  = "36"

	yellow = "33"
)

func (s *screen) paint(style, text string) string {
	if !s.terminal {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// Print writes lines; a step that is under way is shown again below them.
func (s *screen) Print(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	fmt.Fprintf(s.out, format, args...)
	fmt.Fprint(s.out, s.pending)
}

// erase needs s.mu.
func (s *screen) erase() {
	if s.terminal && s.pending != "" {
		fmt.Fprint(s.out, "\r\x1b[2K")
	}
}

// show needs s.mu.
func (s *screen) show(text string) {
	s.erase()
	s.pending = ""
	if s.terminal {
		s.pending = text
		fmt.Fprint(s.out, text)
	}
}

// Step shows a step while wait runs, and its outcome after: what, where, and
// the detail that wait returns, with the time it took.
func (s *screen) Step(what, where, doing string, wait func() (detail string, err error)) error {
	began := time.Now()
	s.mu.Lock()
	s.show(fmt.Sprintf("  %s %-8s %-22s %s", s.paint(dim, "…"), what, where, s.paint(dim, doing)))
	s.mu.Unlock()
	detail, err := wait()
	took := fmt.Sprintf("%.1f s", time.Since(began).Seconds())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.show("")
	if err != nil {
		fmt.Fprintf(s.out, "  %s %-8s %-22s %s\n", s.paint(red, "✗"), what, where, err)
		return err
	}
	fmt.Fprintf(s.out, "  %s %-8s %-22s %-30s %s\n", s.paint(green, "✓"), what, where, detail, s.paint(dim, took))
	return nil
}

// Event prints something that happened while the demo runs.
func (s *screen) Event(style, sign, text string) {
	s.Print("  %s %s  %s\n", s.paint(style, sign), s.paint(dim, time.Now().Format("15:04:05")), text)
}

// indent puts spaces before each line.
func indent(text string, spaces int) string {
	margin := strings.Repeat(" ", spaces)
	return margin + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+margin)
}
