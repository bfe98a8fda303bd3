package relay

import (
	"encoding/json"
	"net/http"
	"time"
)

// HeldPath is where a relay tells nodes what it holds, however long ago it came:
// an origin that starts again takes up its lists from there. Below it, at
// {stream}/{rendition}, is the newest list itself; media are at their usual
// places.
const HeldPath = "/pool/held"

// heldVersion is the form of Held. A reader skips fields that it does not know.
const heldVersion = 1

// Held is what a relay holds.
type Held struct {
	Version int `json:"v"`
	// Catalogue is the newest line of the control channel, nil of none: signed,
	// so that the authority knows its own word for how high its epoch was.
	Catalogue []byte       `json:"catalogue,omitempty"`
	Streams   []HeldStream `json:"streams"`
}

// HeldStream is what a relay holds of one stream.
type HeldStream struct {
	Name       string          `json:"name"`
	Renditions []HeldRendition `json:"renditions"`
}

// HeldRendition tells how far the newest list of a rendition has come.
type HeldRendition struct {
	Name string `json:"name"`
	// Open is the media sequence number of the open segment, Parts how many
	// parts of it are listed.
	Open  uint64 `json:"open"`
	Parts int    `json:"parts"`
	// Age is how long ago the list came, by a clock that nobody sets.
	Age time.Duration `json:"age"`
}

// Rendition returns what is held of a rendition; false if nothing.
func (h *Held) Rendition(stream, rendition string) (HeldRendition, bool) {
	for _, s := range h.Streams {
		for _, r := range s.Renditions {
			if s.Name == stream && r.Name == rendition {
				return r, true
			}
		}
	}
	return HeldRendition{}, false
}

// Held returns what this relay holds. A list that has ended is not worth being
// taken up, and is left out.
func (f *Follower) Held() Held {
	f.mu.Lock()
	h := Held{Version: heldVersion, Catalogue: f.line}
	f.mu.Unlock()
	for _, st := range f.Store.Streams() {
		one := HeldStream{Name: st.Name}
		for _, rendition := range st.Renditions() {
			v, age := st.Window(rendition).newestAndAge()
			if v == nil || v.Playlist.Ended {
				continue
			}
			one.Renditions = append(one.Renditions, HeldRendition{
				Name: rendition, Open: v.Playlist.OpenSequence(), Parts: len(v.Playlist.Open.Parts), Age: age,
			})
		}
		if len(one.Renditions) > 0 {
			h.Streams = append(h.Streams, one)
		}
	}
	return h
}

// newestAndAge returns the newest list, confirmed or not, and for how long it
// is that.
func (w *Window) newestAndAge() (*Version, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.version, time.Since(w.published)
}

// ServeHeld answers below HeldPath; the server has checked that a node asks.
func (f *Follower) ServeHeld(w http.ResponseWriter, r *http.Request) {
	stream, rendition := r.PathValue("stream"), r.PathValue("rendition")
	if stream == "" {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(f.Held()) // whoever asked is gone
		return
	}
	if st := f.Store.Stream(stream); st != nil {
		if window := st.Window(rendition); window != nil {
			if v := window.Version(); v != nil {
				w.Header()["Content-Type"] = typePlaylist
				_, _ = w.Write(v.Text)
				return
			}
		}
	}
	http.Error(w, "nothing is held of this", http.StatusNotFound)
}
