package origin

import (
	"fmt"
	"time"
)

const (
	missingAfter = 3 * time.Second // a track of which nothing comes
	silentAfter  = 2 * time.Second // a feed of which nothing comes

	// mostQueued is a quarter of what ends the feed.
	mostQueued = maxQueuedBytes / 4

	// mostDrift is far beyond any quartz: a second in an hour.
	mostDriftPPM = 300
	// leastDriftAlarm is how long must be measured before an alarm.
	leastDriftAlarm = 2 * time.Minute

	mostAVOffset = 2.0 // seconds
)

// Alarm is something about a feed that a person should look at.
type Alarm struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since"`
	Text  string    `json:"text"` // what is seen, and what to do
}

// alarmRule raises an alarm when it has held for so long, and clears it when it
// has not held for so long: each is told once.
type alarmRule struct {
	name         string
	after, quiet time.Duration
	// holds returns what to tell, or "" while all is well. It is asked each
	// second.
	holds func(h *health) string
}

// alarmRules are all there are. What only sizes tell is said to be a guess.
var alarmRules = []alarmRule{
	{"no_media", 0, 0, (*health).noMedia},
	{"no_picture", 0, time.Second, (*health).noPicture},
	{"no_sound", 0, time.Second, (*health).noSound},
	{"silent_sound", 10 * time.Second, 2 * time.Second, (*health).silentSound},
	{"still_picture", 5 * time.Second, 2 * time.Second, (*health).stillPicture},
	{"long_gop", 0, 10 * time.Second, (*health).longGOP},
	{"variable_gop", 0, 10 * time.Second, (*health).variableGOP},
	{"open_gop", 0, 10 * time.Second, (*health).openGOP},
	{"timestamps", 0, 0, (*health).wrongTimes},
	{"loss", 0, 10 * time.Second, (*health).lossyLine},
	{"queue", 0, 5 * time.Second, (*health).longQueue},
	{"clock_drift", 0, time.Minute, (*health).fastClock},
	{"av_offset", 5 * time.Second, 5 * time.Second, (*health).apart},
}

// alarmState is what became of a rule.
type alarmState struct {
	holding time.Time // since when it has held, zero while it does not
	gone    time.Time // since when it has not, while raised
	raised  bool
	alarm   Alarm
}

// judge asks all rules, and logs what is raised and cleared.
func (h *health) judge() {
	for i := range alarmRules {
		rule, state := &alarmRules[i], &h.alarms[i]
		text := rule.holds(h)
		switch state.step(rule, text, h.end) {
		case alarmUp:
			h.logger.Warn("alarm", "alarm", rule.name, "text", text)
		case alarmDown:
			h.logger.Info("alarm is over", "alarm", rule.name, "after", h.end.Sub(state.alarm.Since).Round(time.Second))
		}
	}
}

type alarmChange int

const (
	alarmSame alarmChange = iota
	alarmUp
	alarmDown
)

// step takes what a rule says now.
func (a *alarmState) step(rule *alarmRule, text string, now time.Time) alarmChange {
	if text == "" {
		a.holding = time.Time{}
		if a.gone.IsZero() {
			a.gone = now
		}
		if a.raised && now.Sub(a.gone) >= rule.quiet {
			a.raised = false
			return alarmDown
		}
		return alarmSame
	}
	a.gone = time.Time{}
	if a.holding.IsZero() {
		a.holding = now
	}
	if a.raised {
		a.alarm.Text = text
		return alarmSame
	}
	if now.Sub(a.holding) < rule.after {
		return alarmSame
	}
	a.raised = true
	a.alarm = Alarm{Name: rule.name, Since: a.holding, Text: text}
	return alarmUp
}

// raised are the alarms that are on.
func raised(states []alarmState) (alarms []Alarm) {
	for i := range states {
		if states[i].raised {
			alarms = append(alarms, states[i].alarm)
		}
	}
	return alarms
}

func (h *health) noMedia() string {
	if h.silence() < silentAfter {
		return ""
	}
	return "nothing comes from the encoder, though it is connected: look at its line, and whether it still runs"
}

func (h *health) noPicture() string {
	p := h.picture()
	if p == nil || !p.missing(h.end, h.begun) || h.silence() >= silentAfter {
		return ""
	}
	return "sound comes, but no picture: look at the encoder's video input"
}

func (h *health) noSound() string {
	sounds := h.sounds()
	for i := range sounds {
		if sounds[i].missing(h.end, h.begun) && h.silence() < silentAfter {
			return fmt.Sprintf("no sound comes in audio track %d of %d: look at the encoder's audio input, or turn the track off", i+1, len(sounds))
		}
	}
	return ""
}

// silentSound looks at the first track: an interpreter's may well be silent.
func (h *health) silentSound() string {
	sounds := h.sounds()
	if len(sounds) == 0 {
		return ""
	}
	if all, _ := sounds[0].sum(1); all.units == 0 || all.silent*10 < all.units*9 {
		return ""
	}
	return "the sound may be silent, or one tone: its frames are tiny or all the same; listen to it, look at microphone, mixer and cable"
}

func (h *health) stillPicture() string {
	p := h.picture()
	if p == nil || !p.gop.known {
		return ""
	}
	all, n := p.sum(3)
	if n < 3 || all.between == 0 || all.still*5 < all.between*2 {
		return ""
	}
	seen := "be frozen, or a board that nobody moves: frames are tiny"
	switch {
	case p.keySize <= p.frame.black:
		seen = "be black: frames are tiny, key frames too"
	case p.keySize <= p.frame.plain:
		seen = "be colour bars or a plain board: frames are tiny, key frames small"
	}
	return "the picture may " + seen + "; look at it, and at the encoder's video input"
}

func (h *health) longGOP() string {
	p := h.picture()
	if p == nil || p.gop.length() <= longestGOP+gopSlack {
		return ""
	}
	return fmt.Sprintf("a key frame only each %.1f s or more: viewers wait as long to join or to change relays; set the encoder to one each second or two",
		p.gop.length().Seconds())
}

func (h *health) variableGOP() string {
	p := h.picture()
	if p == nil {
		return ""
	}
	shortest, longest, ok := p.gop.variable()
	if !ok {
		return ""
	}
	return fmt.Sprintf("key frames come after %.1f to %.1f s: segments get uneven; set the encoder to a fixed key frame interval, without scene detection",
		shortest.Seconds(), longest.Seconds())
}

func (h *health) openGOP() string {
	p := h.picture()
	if p == nil || p.gop.open.IsZero() || h.end.Sub(p.gop.open) > longestGOP {
		return ""
	}
	return "the GOP is open, or there are recovery points in place of key frames: who joins sees broken pictures or waits; set the encoder to closed GOP, each with an IDR picture"
}

func (h *health) wrongTimes() string {
	for i := range h.tracks {
		t := &h.tracks[i]
		if t.jumps == 0 || h.end.Sub(t.jumped) > 30*time.Second {
			continue
		}
		kind := "sound"
		if t.video {
			kind = "picture"
		}
		return fmt.Sprintf("the %s's timestamps jumped by %.1f s, %d times so far: look at the encoder's clock and source", kind, t.by.Seconds(), t.jumps)
	}
	return ""
}

// lossyLine: one loss may happen to anybody.
func (h *health) lossyLine() string {
	seconds := 0
	for _, lossy := range h.lossy {
		if lossy {
			seconds++
		}
	}
	if seconds < 3 {
		return ""
	}
	return fmt.Sprintf("media are lost or damaged on the way, in %d of the last %d seconds: use SRT or TCP, a lower bit rate, or a better line", seconds, healthWindow)
}

func (h *health) longQueue() string {
	if h.figures.QueuedBytes < mostQueued {
		return ""
	}
	return fmt.Sprintf("the origin does not keep up: %d MiB wait, at %d it lets go; look at its CPU and disk", h.figures.QueuedBytes>>20, maxQueuedBytes>>20)
}

func (h *health) fastClock() string {
	f := &h.figures
	if f.DriftPPM == nil || time.Duration(h.seconds)*time.Second < leastDriftAlarm || max(*f.DriftPPM, -*f.DriftPPM) < mostDriftPPM {
		return ""
	}
	return fmt.Sprintf("the encoder's clock is off by %+.0f ppm, %+.0f ms so far: it sends faster or slower than it says; look at its clock source and frame rate",
		*f.DriftPPM, *f.DriftSeconds*1000)
}

func (h *health) apart() string {
	offset := h.figures.AVOffsetSeconds
	if offset == nil || max(*offset, -*offset) < mostAVOffset {
		return ""
	}
	return fmt.Sprintf("the sound comes %+.1f s after the picture that it belongs to: the encoder's timestamps of both may not fit; watch lip sync", *offset)
}
