package relay

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"regexp"
)

// ErrorLog returns a log for http.Server, whose lines name the viewer's
// address: here they don't. What a viewer did wrong is for debugging; a panic
// is an error of ours.
func ErrorLog(logger *slog.Logger) *log.Logger {
	return log.New(addressless{logger}, "", 0)
}

type addressless struct{ logger *slog.Logger }

// addressPattern finds ip:port, where net/http and net put them in a line.
var addressPattern = regexp.MustCompile(`\[[0-9a-fA-F:.]+(%[\w.-]+)?\]:\d+|\b\d{1,3}(\.\d{1,3}){3}:\d+\b`)

// Write implements io.Writer for a log.Logger: a line at a time.
func (a addressless) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	if bytes.Contains(line, []byte("panic serving")) {
		level = slog.LevelError
	}
	if a.logger.Enabled(context.Background(), level) {
		text := addressPattern.ReplaceAllString(string(bytes.TrimSpace(line)), "ADDRESS")
		a.logger.Log(context.Background(), level, "http", "text", text)
	}
	return len(line), nil
}
