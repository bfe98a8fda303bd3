package relay

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Epoch counts the lives of the authority. It is part of each media URL, so
// that a URL is never used again for other bytes.
type Epoch uint32

// String returns the epoch as it stands in URLs: 8 lower-case hex digits.
func (e Epoch) String() string { return fmt.Sprintf("%08x", uint32(e)) }

// ParseEpoch reads what String writes, and nothing else.
func ParseEpoch(s string) (Epoch, error) {
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil || len(s) != 8 || s != strings.ToLower(s) {
		return 0, fmt.Errorf("epoch %q: want 8 lower-case hex digits", clip(s))
	}
	return Epoch(n), nil
}

// reserved are the first path elements that mean something else than a stream.
var reserved = []string{"pool", "steering", "healthz", "readyz", "status", "assets"}

// ValidStream tells why a name can't be a stream's: it wants 1 to 64 of a-z,
// 0-9 and "-", and must not be a reserved path.
func ValidStream(name string) error {
	if !validLabel(name) {
		return fmt.Errorf("stream name %q: want 1 to 64 of a-z, 0-9 and \"-\"", clip(name))
	}
	if slices.Contains(reserved, name) {
		return fmt.Errorf("stream name %q is reserved: choose another", name)
	}
	return nil
}

// validLabel tells whether s can be a stream's or a rendition's name.
func validLabel(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// MediaKind tells which kind of media object a name means.
type MediaKind uint8

// The kinds of media object. The zero kind is no object.
const (
	Init MediaKind = iota + 1
	SegmentMedia
	PartMedia
)

// MediaName names one immutable media object of a rendition. It is the cache
// key: paths are parsed to it and looked up in memory, never used as files.
type MediaName struct {
	Kind   MediaKind
	Epoch  Epoch
	Number uint64 // media sequence number, or the number of the init segment
	Part   int    // from 0; only of a part
}

// ErrMediaName is returned for a path that names no media object.
var ErrMediaName = errors.New("not the name of a media object")

// String returns the name as the URI that media playlists carry, relative to
// the playlist; the empty string for the zero name.
func (n MediaName) String() string {
	switch n.Kind {
	case Init:
		return n.Epoch.String() + "/init-" + strconv.FormatUint(n.Number, 10) + ".mp4"
	case SegmentMedia:
		return n.Epoch.String() + "/" + strconv.FormatUint(n.Number, 10) + ".m4s"
	case PartMedia:
		return n.Epoch.String() + "/" + strconv.FormatUint(n.Number, 10) + "." + strconv.Itoa(n.Part) + ".m4s"
	}
	return ""
}

// ParseMediaName reads what String writes, strictly: one object has one name,
// so a cache in front can't be made to hold it twice. It returns
// ErrMediaName.
func ParseMediaName(s string) (MediaName, error) {
	dir, file, ok := strings.Cut(s, "/")
	if !ok {
		return MediaName{}, ErrMediaName
	}
	epoch, err := ParseEpoch(dir)
	if err != nil {
		return MediaName{}, ErrMediaName
	}
	n := MediaName{Epoch: epoch}
	var number string
	if rest, ok := strings.CutPrefix(file, "init-"); ok {
		n.Kind = Init
		if number, ok = strings.CutSuffix(rest, ".mp4"); !ok {
			return MediaName{}, ErrMediaName
		}
	} else {
		stem, ok := strings.CutSuffix(file, ".m4s")
		if !ok {
			return MediaName{}, ErrMediaName
		}
		var part string
		n.Kind = SegmentMedia
		if number, part, ok = strings.Cut(stem, "."); ok {
			n.Kind = PartMedia
			p, ok := parseDecimal(part)
			if !ok || p > maxPart {
				return MediaName{}, ErrMediaName
			}
			n.Part = int(p)
		}
	}
	if n.Number, ok = parseDecimal(number); !ok {
		return MediaName{}, ErrMediaName
	}
	return n, nil
}

// maxPart bounds part numbers: a segment of TARGETDURATION has some ten parts;
// more than this comes from no origin.
const maxPart = 9999

// parseDecimal reads digits in their one shortest form.
func parseDecimal(s string) (uint64, bool) {
	if s == "" || len(s) > 1 && s[0] == '0' || s[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return n, err == nil
}

// clip shortens outside text for an error message.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
