package main

import (
	"os"
	"regexp"
	"strings"
)

// setting is a key of a sample configuration and the value to put there.
type setting struct{ key, value string }

// rewrite puts values into a configuration file, wherever the key stands and
// however deep, and adds more to its end. A key that is not there is passed
// over: not every node has every port.
func rewrite(file string, settings []setting, more string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(set(string(text), settings)+more), 0o600)
}

// set is rewrite on a text. A key may name the group that it stands in:
// "rtsp.port".
func set(text string, settings []setting) string {
	lines := strings.SplitAfter(text, "\n")
	for _, s := range settings {
		group, key, nested := strings.Cut(s.key, ".")
		if !nested {
			group, key = "", s.key
		}
		pattern := regexp.MustCompile(`^(\s*(?:- )?` + regexp.QuoteMeta(key) + `: )[^\n]*`)
		within := ""
		for i, line := range lines {
			if line != "" && strings.IndexAny(line, " #-\n") != 0 {
				within, _, _ = strings.Cut(line, ":")
			}
			if match := pattern.FindStringSubmatch(line); match != nil && (group == "" || group == within) {
				lines[i] = match[1] + s.value + "\n"
			}
		}
	}
	return strings.Join(lines, "")
}
