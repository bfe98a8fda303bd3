package origin

import (
	"slices"
	"strings"
	"time"
)

// Feed is a publisher that is connected.
type Feed struct {
	Stream      string    `json:"stream"`
	Branch      string    `json:"branch,omitempty"` // of the stream, "" for the stream itself
	Protocol    string    `json:"protocol"`
	Transport   string    `json:"transport"`
	Broadcaster string    `json:"broadcaster,omitempty"` // whose key it was, "" for the stream's own
	Remote      string    `json:"remote"`
	Codecs      []string  `json:"codecs"`
	Rungs       []string  `json:"rungs,omitempty"` // that its pictures are, of several
	Since       time.Time `json:"since"`

	// Standing is nil before it has sent a key picture.
	Standing *Standing `json:"standing,omitempty"`
	input    *switchInput

	// Notes say what a part of the viewers will not get, and what is dropped.
	Notes []string `json:"notes,omitempty"`

	// Units are the access units that were published.
	Units int64 `json:"units"`

	// Health is as of the last whole second, and Alarms what a person should
	// look at.
	Health Health  `json:"health"`
	Alarms []Alarm `json:"alarms,omitempty"`

	LostPackets    int64 `json:"lost_packets"`
	DamagedUnits   int64 `json:"damaged_units"`
	InvalidPackets int64 `json:"invalid_packets"`
}

// Feeds returns all publishers that are connected, by stream.
func (g *Gate) Feeds() []Feed {
	g.mu.Lock()
	defer g.mu.Unlock()
	feeds := []Feed{}
	for in, feed := range g.feeds {
		f := *feed
		if f.input != nil {
			standing := f.input.standing()
			f.Standing = &standing
		}
		f.Units = in.units.Load()
		f.Health, f.Alarms = in.health.snapshot()
		f.LostPackets, f.DamagedUnits, f.InvalidPackets = in.reception.counts()
		feeds = append(feeds, f)
	}
	slices.SortFunc(feeds, func(a, b Feed) int {
		if c := strings.Compare(a.Stream, b.Stream); c != 0 {
			return c
		}
		if c := strings.Compare(a.Branch, b.Branch); c != 0 {
			return c
		}
		return a.Since.Compare(b.Since)
	})
	return feeds
}
