package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"surgecast/origin"
)

// writeFeeds prints what encoders send to the origins: a line each, its figures,
// its alarms, and what a part of the viewers will not get of it.
func (s *poolStatus) writeFeeds(out io.Writer, on terminal) error {
	for _, n := range s.Nodes {
		for _, shown := range n.Shown {
			if _, err := fmt.Fprintf(out, "\n%s\n", on.paint(yellow, fold(shownText(shown), on.width))); err != nil {
				return err
			}
		}
		for _, f := range n.Feeds {
			if _, err := fmt.Fprintf(out, "\n%s\n", fold(feedText(f), on.width)); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(out, fold("  "+healthText(f.Health), on.width)); err != nil {
				return err
			}
			for _, alarm := range f.Alarms {
				text := fmt.Sprintf("! %s, for %v: %s", alarm.Name, time.Since(alarm.Since).Round(time.Second), alarm.Text)
				if _, err := fmt.Fprintln(out, on.paint(red, fold(text, on.width))); err != nil {
					return err
				}
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

// shownText says what viewers see in place of the feed.
func shownText(s origin.Shown) string {
	since := time.Since(s.Since).Round(time.Second)
	switch {
	case s.Slate == nil:
		return fmt.Sprintf("! %s has had nothing from its encoder for %v: the programme has a gap", s.Stream, since)
	case s.Ordered:
		return fmt.Sprintf("! %s shows its slate %q by command, for %v", s.Stream, s.Slate.Kind, since)
	}
	return fmt.Sprintf("! %s has had nothing from its encoder for %v: the slate %q is shown", s.Stream, since, s.Slate.Kind)
}

func feedText(f origin.Feed) string {
	text := fmt.Sprintf("%s  %s %s from %s, %s, for %v", branchName(f.Stream, f.Branch), f.Protocol, f.Transport, f.Remote,
		strings.Join(f.Codecs, " and "), time.Since(f.Since).Round(time.Second))
	if len(f.Rungs) > 0 {
		text += ", its pictures are " + strings.Join(f.Rungs, ", ")
	}
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
	case s.Silent:
		return ", stands by and sends nothing"
	case s.Bytes == origin.SameYes:
		return fmt.Sprintf(", stands by with the same bytes, %+d ms", int(math.Round(s.BehindSeconds*1000)))
	case s.Bytes == origin.SameNotKnown:
		return ", stands by"
	}
	return fmt.Sprintf(", stands by with %s bytes", s.Bytes)
}

// healthText are the figures that are known.
func healthText(h origin.Health) string {
	parts := []string{fmt.Sprintf("%.2f Mbit/s", h.BitsPerSecond/1e6)}
	if h.FrameRate > 0 {
		parts = append(parts, fmt.Sprintf("%.4g frames/s", h.FrameRate), fmt.Sprintf("GOP %.1f s", h.GOPSeconds),
			fmt.Sprintf("key frame %.1f s ago", h.KeyFrameAgeSeconds))
	}
	parts = append(parts, fmt.Sprintf("jitter %.0f ms", h.JitterSeconds*1000))
	if h.RTTSeconds != nil {
		parts = append(parts, fmt.Sprintf("round trip %.0f ms", *h.RTTSeconds*1000))
	}
	if h.ResentPackets+h.DroppedPackets > 0 {
		parts = append(parts, fmt.Sprintf("%s resent, %d too late", count(int(h.ResentPackets), "packet"), h.DroppedPackets))
	}
	if h.DriftPPM != nil {
		parts = append(parts, fmt.Sprintf("clock %+.0f ppm, %+.0f ms so far", *h.DriftPPM, *h.DriftSeconds*1000))
	}
	if h.AVOffsetSeconds != nil {
		parts = append(parts, fmt.Sprintf("sound %+.0f ms to the picture", *h.AVOffsetSeconds*1000))
	}
	return strings.Join(append(parts, fmt.Sprintf("queue %d kB", h.QueuedBytes/1000)), ", ")
}
