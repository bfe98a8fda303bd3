package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"surgecast/origin"
)

// writeFeeds prints what encoders send to the origins, a line each, and below it
// what a part of the viewers will not get of it.
func (s *poolStatus) writeFeeds(out io.Writer, on terminal) error {
	for _, n := range s.Nodes {
		for _, f := range n.Feeds {
			if _, err := fmt.Fprintf(out, "\n%s\n", fold(feedText(f), on.width)); err != nil {
				return err
			}
			for _, note := range f.Notes {
				if _, err := fmt.Fprintln(out, on.paint(yellow, fold("! "+note, on.width))); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func feedText(f origin.Feed) string {
	name := f.Stream
	if f.Branch != "" {
		name += "/" + f.Branch
	}
	text := fmt.Sprintf("%s  %s %s from %s, %s, for %v", name, f.Protocol, f.Transport, f.Remote,
		strings.Join(f.Codecs, " and "), time.Since(f.Since).Round(time.Second))
	if f.Broadcaster != "" {
		text += ", by " + f.Broadcaster
	}
	if f.LostPackets+f.DamagedUnits+f.InvalidPackets > 0 {
		text += fmt.Sprintf("; %s lost, %s damaged, %s refused",
			count(int(f.LostPackets), "packet"), count(int(f.DamagedUnits), "unit"), count(int(f.InvalidPackets), "packet"))
	}
	return text
}
