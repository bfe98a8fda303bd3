package main

import (
	"fmt"
	"io"
	"math"
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
	if f.Standing != nil {
		text += standingText(*f.Standing)
	}
	if f.Broadcaster != "" {
		text += ", by " + f.Broadcaster
	}
	if f.LostPackets+f.DamagedUnits+f.InvalidPackets > 0 {
		text += fmt.Sprintf("; %s lost, %s damaged, %s refused",
			count(int(f.LostPackets), "packet"), count(int(f.DamagedUnits), "unit"), count(int(f.InvalidPackets), "packet"))
	}
	return text
}

// standingText says whether an input is on air or stands by, and how.
func standingText(s origin.Standing) string {
	switch {
	case s.Gone:
		return ""
	case s.OnAir:
		return ", on air"
	case s.Bytes == origin.SameYes:
		return fmt.Sprintf(", stands by with the same bytes, %+d ms", int(math.Round(s.BehindSeconds*1000)))
	case s.Bytes == origin.SameNotKnown:
		return ", stands by"
	}
	return fmt.Sprintf(", stands by with %s bytes", s.Bytes)
}
