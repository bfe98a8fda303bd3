package relay

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// DateRange is an EXT-X-DATERANGE: something said about a range of dates. Its
// attributes are passed on as they came; only the id and the dates are read.
type DateRange struct {
	ID         string
	Start      time.Time // zero where an earlier tag of this ID has it
	End        time.Time // zero when it is not known yet
	Attributes string    // the whole attribute list
}

// maxDateRanges bounds a list's.
const maxDateRanges = 1_000

// NewDateRange returns a range that begins at start. A negative duration means
// that its end is not known yet. extra are further attributes as they stand in
// a list, such as `CLASS="org.example.act",X-ORG-EXAMPLE-ACT=2`, or "".
func NewDateRange(id string, start time.Time, duration time.Duration, extra string) (DateRange, error) {
	if id == "" || strings.ContainsAny(id, "\"\r\n\t") || strings.ContainsAny(extra, "\r\n") {
		return DateRange{}, fmt.Errorf("date range %q: want an id and attributes that fit into one line", clip(id))
	}
	b := []byte(`ID="` + id + `",START-DATE="`)
	b = append(start.UTC().AppendFormat(b, programDateTime), '"')
	if duration >= 0 {
		b = appendSeconds(append(b, ",DURATION="...), duration)
	}
	if extra != "" {
		b = append(append(b, ','), extra...)
	}
	return parseDateRange(string(b))
}

// parseDateRange reads the attribute list of an EXT-X-DATERANGE.
func parseDateRange(attributes string) (DateRange, error) {
	d := DateRange{Attributes: attributes}
	var duration time.Duration = -1
	err := eachAttribute(attributes, func(k, v string) (err error) {
		switch k {
		case "ID":
			d.ID = unquote(v)
		case "START-DATE":
			d.Start, err = dateTime(unquote(v))
		case "END-DATE":
			d.End, err = dateTime(unquote(v))
		case "DURATION":
			duration, err = rangeSeconds(v)
		}
		return err
	})
	switch {
	case err != nil:
		return d, err
	case d.ID == "":
		return d, errors.New("a date range without ID")
	case d.End.IsZero() && duration >= 0 && !d.Start.IsZero():
		d.End = d.Start.Add(duration)
	}
	return d, nil
}

// rangeSeconds reads a duration that may be longer than any of media.
func rangeSeconds(s string) (time.Duration, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0 && f < 1e9) {
		return 0, fmt.Errorf("%q is not a number of seconds", clip(s))
	}
	return time.Duration(math.Round(f*1e3)) * time.Millisecond, nil
}

// dateTime reads a date with its zone.
func dateTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() < 1970 || t.Year() > 9000 {
		return time.Time{}, fmt.Errorf("date %q: want RFC 3339", clip(s))
	}
	return t.UTC(), nil
}
