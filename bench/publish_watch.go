package main

import (
	"context"
	"crypto/tls"
	"strconv"
	"strings"
	"time"
)

// watch asks for each part's list as players do, until ctx ends.
func (p *publisher) watch(ctx context.Context) error {
	if p.list == "" {
		<-ctx.Done()
		return nil
	}
	ask, ended := "", time.Duration(0)
	for ctx.Err() == nil {
		body, at, err := fetch(ctx, p.list+ask, p.bearer)
		if err != nil {
			if ask != "" && ctx.Err() == nil {
				return err
			}
			_ = pause(ctx, 50*time.Millisecond) // it is not on air yet
			continue
		}
		l := list{string(body)}
		for _, end := range l.ends() {
			if end > ended && ask != "" {
				p.listed(end, at)
			}
			ended = max(ended, end)
		}
		ask = directives(l.hint())
	}
	return nil
}

// listed takes a part that ends so long after the stream's beginning. A picture's
// duration is known when the next is there, so the packet that completes a part
// is the last one of the picture behind it.
func (p *publisher) listed(end time.Duration, at time.Time) {
	next := int((end*time.Duration(p.fps) + time.Second/2) / time.Second)
	if next >= len(p.sent) {
		return
	}
	sent := time.Duration(p.sent[next].Load())
	if sent < publishSettle {
		return
	}
	latency := at.Sub(p.began) - sent
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latency.add(latency)
	if latency > lateListing {
		p.late++
	}
}

// ends are the times at which parts end, from the list's beginning on: those of
// the open segment, and the segments'.
func (l list) ends() (ends []time.Duration) {
	var segments, parts time.Duration
	for line := range strings.Lines(l.text) {
		text, segment := strings.CutPrefix(line, "#EXTINF:")
		part := false
		if !segment {
			text, part = strings.CutPrefix(line, "#EXT-X-PART:DURATION=")
		}
		if !segment && !part {
			continue
		}
		text, _, _ = strings.Cut(text, ",")
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil {
			continue
		}
		d := time.Duration(seconds * float64(time.Second))
		if segment {
			segments, parts = segments+d, 0
			ends = append(ends, segments)
			continue
		}
		parts += d
		ends = append(ends, segments+parts)
	}
	return ends
}

// anyCertificate trusts the bench's own, on this machine.
func anyCertificate() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
