package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"surgecast/origin"
	"surgecast/relay"
)

// streamControl is what operators change of an origin's streams, by its private
// API:
//
//	POST /streams/{stream}/end     ends it for good
//	POST /streams/{stream}/marks   adds a date range, see markRequest
//	POST /streams/{stream}/input   puts an input on air, see inputRequest
//	POST /streams/{stream}/slate   shows a slate, see slateOrder; DELETE ends it
//	GET /slates                    lists slates, see slateList
//	POST /slates                   keeps one, see slateUpload
//	DELETE /slates/{id}            forgets one
type streamControl interface {
	End(stream string) error
	Mark(stream string, d relay.DateRange) error
	Switch(stream string, input origin.Input) error
	ShowSlate(stream string, kind origin.SlateKind) error
	HideSlate(stream string) error
	Slates() []origin.Slate
	Shown() []origin.Shown
	AddSlate(kind origin.SlateKind, stream string, file []byte) (origin.Slate, error)
	RemoveSlate(id string) error
}

var _ streamControl = (*origin.Origin)(nil)

func endRequest(stream string) apiRequest {
	return apiRequest{Method: http.MethodPost, Path: "/streams/" + url.PathEscape(stream) + "/end"}
}

// endStream answers with an empty object.
func (c apiConfig) endStream(w http.ResponseWriter, r *http.Request) {
	err := c.Streams.End(r.PathValue("stream"))
	c.answer(w, r, struct{}{}, err)
}

// markRequest is what is to be said about a range of dates.
type markRequest struct {
	Class           string            `json:"class"`                // what kind of thing it is, as org.example.incision
	ID              string            `json:"id,omitempty"`         // default: one of its own
	Start           time.Time         `json:"start,omitzero"`       // default: now
	DurationSeconds float64           `json:"duration_seconds"`     // 0: a moment
	Open            bool              `json:"open,omitempty"`       // its end is not known
	Attributes      map[string]string `json:"attributes,omitempty"` // further ones, by names that begin with X-
}

// markAnswer says how it stands in the lists.
type markAnswer struct {
	ID    string    `json:"id"`
	Start time.Time `json:"start"`
}

// Bounds of a mark: it stands in each list of the stream while it is listed, as
// often as a player reloads. More is refused.
const (
	maxMarkBytes = 1 << 10 // of what is said beside the dates
	maxMarkTime  = 24 * time.Hour
)

func (m markRequest) request(stream string) apiRequest {
	return apiRequest{Method: http.MethodPost, Path: "/streams/" + url.PathEscape(stream) + "/marks", Body: m}
}

// markStream answers with a markAnswer.
func (c apiConfig) markStream(w http.ResponseWriter, r *http.Request) {
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4*maxMarkBytes))
	body.DisallowUnknownFields() // a misspelt field would be a mark that says something else
	var m markRequest
	if err := body.Decode(&m); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("the mark can't be read: %v", err))
		return
	}
	d, err := m.dateRange(time.Now())
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	c.answer(w, r, markAnswer{ID: d.ID, Start: d.Start}, c.Streams.Mark(r.PathValue("stream"), d))
}

// answer answers with what came of a change.
func (c apiConfig) answer(w http.ResponseWriter, r *http.Request, value any, err error) {
	switch {
	case err == nil:
		writeJSON(w, value)
	case errors.Is(err, origin.ErrUnknownStream):
		refuse(w, http.StatusNotFound, fmt.Sprintf("this origin has no stream %q: its configuration names those that it has", r.PathValue("stream")))
	case errors.Is(err, origin.ErrClosed):
		refuse(w, http.StatusServiceUnavailable, "the origin is shutting down")
	default:
		refuse(w, http.StatusConflict, err.Error())
	}
}

// elsewhere answers on a relay.
func elsewhere(w http.ResponseWriter, _ *http.Request) {
	refuse(w, http.StatusMisdirectedRequest, "this node is a relay: streams are ended, marked, switched and slated at their origin, whose folder --dir names, or whose address --node")
}

// attributeName is that of client-defined attributes: RFC 8216bis 4.4.5.1.
var attributeName = regexp.MustCompile(`^X-[A-Z0-9-]{1,62}$`)

// dateRange checks a mark and returns what stands in the lists; now is when it
// begins if it does not say.
func (m markRequest) dateRange(now time.Time) (relay.DateRange, error) {
	if m.ID == "" {
		m.ID = "mark-" + strings.ToLower(rand.Text()[:13]) // 65 bits: never the same twice
	}
	if m.Start.IsZero() {
		m.Start = now
	}
	duration := time.Duration(-1)
	switch {
	case m.Class == "":
		return relay.DateRange{}, errors.New("a mark needs a class, by which players tell what it is: write one such as org.example.incision")
	case m.Open && m.DurationSeconds != 0:
		return relay.DateRange{}, errors.New("a mark has a duration or is open, not both")
	case !(m.DurationSeconds >= 0 && m.DurationSeconds <= maxMarkTime.Seconds()):
		return relay.DateRange{}, fmt.Errorf("a mark of %v s: its duration is 0s to %v, or it is open", m.DurationSeconds, maxMarkTime)
	case !m.Open:
		duration = time.Duration(m.DurationSeconds * float64(time.Second))
	}
	extra, err := m.attributes()
	if err != nil {
		return relay.DateRange{}, err
	}
	return relay.NewDateRange(m.ID, m.Start, duration, extra)
}

// attributes are the class and the further attributes as a list has them.
func (m markRequest) attributes() (string, error) {
	list := `CLASS="` + m.Class + `"`
	values := []string{m.ID, m.Class}
	for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
		if !attributeName.MatchString(name) {
			return "", fmt.Errorf("attribute %q: write a name such as X-ORG-EXAMPLE-STEP, in capitals", name)
		}
		list += "," + name + `="` + m.Attributes[name] + `"`
		values = append(values, m.Attributes[name])
	}
	for _, value := range values {
		if i := strings.IndexFunc(value, func(r rune) bool { return r == '"' || r < ' ' || r == 0x7f || r == '\uFFFD' }); i >= 0 {
			return "", fmt.Errorf("%q can't stand in a list: leave out quotes and control characters", value)
		}
	}
	if size := len(m.ID) + len(list); size > maxMarkBytes {
		return "", fmt.Errorf("the mark has %d bytes, want at most %d: each viewer loads it with every list", size, maxMarkBytes)
	}
	return list, nil
}
