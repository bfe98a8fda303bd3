package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// terminal is where a table is printed; the zero value is a file or a pipe,
// which gets plain text.
type terminal struct {
	tty   bool
	color bool
	width int // in characters; 0: not known
}

// terminalOf looks at what is printed on. NO_COLOR and TERM=dumb are heeded.
func terminalOf(out io.Writer) terminal {
	file, ok := out.(*os.File)
	if !ok {
		return terminal{}
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil || os.Getenv("TERM") == "dumb" {
		return terminal{}
	}
	return terminal{tty: true, color: os.Getenv("NO_COLOR") == "", width: int(size.Col)}
}

func (t terminal) paint(style, text string) string {
	if !t.color {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}
