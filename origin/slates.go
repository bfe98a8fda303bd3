package origin

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"surgecast/relay"
)

// SlateKind is what a slate says.
type SlateKind string

// The kinds. SlateInterruption is shown when the publisher is lost, the others
// on command.
const (
	SlateHold         SlateKind = "hold"
	SlateInterruption SlateKind = "interruption"
	SlateFault        SlateKind = "fault"
	SlateEnded        SlateKind = "ended"
)

// SlateKinds are all kinds.
var SlateKinds = []SlateKind{SlateHold, SlateInterruption, SlateFault, SlateEnded}

// Errors about slates.
var (
	// ErrSlate: it can't be used; the text says why.
	ErrSlate = errors.New("slate refused")
	// ErrNoSlate: there is none of that id, or none that fits.
	ErrNoSlate = errors.New("no such slate")
)

// maxSlates bounds the operator's own slates; another one is refused.
const maxSlates = 64

// Slate is a prepared clip of pictures.
type Slate struct {
	ID        string    `json:"id"`
	Kind      SlateKind `json:"kind"`
	Stream    string    `json:"stream,omitempty"` // "": for all
	Codec     string    `json:"codec"`
	Width     int       `json:"width"`
	Height    int       `json:"height"`
	FrameRate float64   `json:"frame_rate"`
	Seconds   float64   `json:"seconds"`
	Bytes     int       `json:"bytes"`
	BuiltIn   bool      `json:"built_in,omitempty"`

	path string
}

// builtInSlates were made by slate/make.sh.
//
//go:embed slate/*.mp4
var builtInSlates embed.FS

// slates are those that are built in and those in a folder, one file each:
// {kind}.{stream or _}.{id}.slate.
type slates struct {
	dir string

	keeping sync.Mutex // held while the folder changes; taken before mu

	mu  sync.Mutex // streams wait for it: no disk is touched under it
	all []Slate
}

const (
	slateSuffix   = ".slate"
	slateOfAll    = "_" // no stream has that name
	builtInPrefix = "built-in-"
)

// openSlates reads what is there. A file that can't be read, or is none of ours,
// is left out, with a line in the log.
func openSlates(dir string, logger *slog.Logger) *slates {
	s := &slates{dir: dir}
	built, err := builtIn()
	if err != nil {
		logger.Error("built-in slates left out", "err", err)
	}
	s.all = slices.Clone(built)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		logger.Error("own slates left out", "err", err)
	}
	for _, entry := range entries {
		if err := s.read(entry.Name()); err != nil {
			logger.Warn("slate left out", "file", filepath.Join(dir, entry.Name()), "err", err)
		}
	}
	return s
}

// builtIn are the slates that are built in.
var builtIn = sync.OnceValues(func() ([]Slate, error) {
	files, err := fs.Glob(builtInSlates, "slate/*.mp4")
	if err != nil {
		return nil, err
	}
	var s slates
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".mp4")
		kind, _, _ := strings.Cut(name, "-")
		file, err := builtInSlates.ReadFile(path)
		if err == nil {
			err = s.take(Slate{ID: builtInPrefix + name, Kind: SlateKind(kind), BuiltIn: true, path: path}, file)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return s.all, nil
})

// read takes up a file of the folder.
func (s *slates) read(name string) error {
	parts := strings.Split(strings.TrimSuffix(name, slateSuffix), ".")
	if !strings.HasSuffix(name, slateSuffix) || len(parts) != 3 || !slices.Contains(SlateKinds, SlateKind(parts[0])) {
		return errors.New("its name is none of a slate")
	}
	if s.own() >= maxSlates {
		return fmt.Errorf("there are %d already", maxSlates)
	}
	slate := Slate{ID: parts[2], Kind: SlateKind(parts[0]), path: filepath.Join(s.dir, name)}
	if parts[1] != slateOfAll {
		slate.Stream = parts[1]
	}
	file, err := readSlateFile(slate.path)
	if err != nil {
		return err
	}
	return s.take(slate, file)
}

// readSlateFile reads no more than a slate may have.
func readSlateFile(path string) ([]byte, error) {
	if info, err := os.Stat(path); err != nil || info.Size() > MaxSlateBytes {
		return nil, fmt.Errorf("it can't be read, or has more than %d bytes", MaxSlateBytes)
	}
	return os.ReadFile(path)
}

// take adds a slate, with what its file says of it.
func (s *slates) take(slate Slate, file []byte) error {
	if err := slate.learn(file); err != nil {
		return err
	}
	s.all = append(s.all, slate)
	return nil
}

// learn fills in what a slate's file says of it.
func (slate *Slate) learn(file []byte) error {
	clip, err := parseSlate(file)
	if err != nil {
		return err
	}
	d, err := describe(clip.codec)
	if err != nil {
		return err
	}
	slate.Codec, slate.Width, slate.Height = family(clip.codec), d.width, d.height
	slate.Seconds = ticksDuration(clip.length, videoClockRate).Seconds()
	slate.FrameRate = math.Round(float64(len(clip.pictures))/slate.Seconds*1000) / 1000
	slate.Bytes = len(file)
	return nil
}

func (s *slates) own() (n int) {
	for i := range s.all {
		if !s.all[i].BuiltIn {
			n++
		}
	}
	return n
}

// add checks a file and keeps it. The same file for the same purpose is kept
// once.
func (s *slates) add(kind SlateKind, stream string, file []byte) (Slate, error) {
	if !slices.Contains(SlateKinds, kind) {
		return Slate{}, fmt.Errorf("%w: there is no kind %q: write one of %v", ErrSlate, kind, SlateKinds)
	}
	of := slateOfAll
	if stream != "" {
		of = stream
	}
	sum := sha256.Sum256(append([]byte(string(kind)+"."+of+"."), file...))
	slate := Slate{ID: hex.EncodeToString(sum[:4]), Kind: kind, Stream: stream}
	slate.path = filepath.Join(s.dir, string(kind)+"."+of+"."+slate.ID+slateSuffix)
	if err := slate.learn(file); err != nil {
		return Slate{}, fmt.Errorf("%w: %w", ErrSlate, err)
	}
	s.keeping.Lock()
	defer s.keeping.Unlock()
	if known, ok, err := s.room(slate.ID); ok || err != nil {
		return known, err
	}
	err := os.MkdirAll(s.dir, 0o700)
	if err == nil {
		err = replaceFile(slate.path, file)
	}
	if err != nil {
		return Slate{}, fmt.Errorf("keep slate: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, slate)
	return slate, nil
}

// room returns the slate of that id if there is one, and else whether there is
// room for it.
func (s *slates) room(id string) (Slate, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(id); i >= 0 {
		return s.all[i], true, nil
	}
	if s.own() >= maxSlates {
		return Slate{}, false, fmt.Errorf("%w: there are %d already: remove one", ErrSlate, maxSlates)
	}
	return Slate{}, false, nil
}

// remove forgets an own slate; where it is shown it is shown to its end.
func (s *slates) remove(id string) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	s.mu.Lock()
	i := s.find(id)
	var slate Slate
	if i >= 0 {
		slate = s.all[i]
	}
	s.mu.Unlock()
	switch {
	case i < 0:
		return fmt.Errorf("%w: %q: \"surgecast slate list\" shows all", ErrNoSlate, id)
	case slate.BuiltIn:
		return fmt.Errorf("%w: %q is built in: add one of your own, which comes before it", ErrSlate, id)
	}
	if err := os.Remove(slate.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove slate: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = slices.DeleteFunc(s.all, func(o Slate) bool { return o.ID == id })
	return nil
}

func (s *slates) find(id string) int {
	return slices.IndexFunc(s.all, func(o Slate) bool { return o.ID == id })
}

// list are all slates, the own ones first.
func (s *slates) list() []Slate {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.all)
	slices.SortStableFunc(all, func(a, b Slate) int {
		if a.BuiltIn != b.BuiltIn {
			if a.BuiltIn {
				return 1
			}
			return -1
		}
		return strings.Compare(string(a.Kind)+a.Stream+a.ID, string(b.Kind)+b.Stream+b.ID)
	})
	return all
}

// choose returns the slate that fits a stream best, and its pictures: of the
// codec's family, or players could not show it; the stream's own before those
// for all, before those that are built in; then by size and frame rate.
func (s *slates) choose(kind SlateKind, stream string, v relay.Variant, codec string) (Slate, *slateClip, error) {
	slate, err := s.best(kind, stream, v, codec)
	if err != nil {
		return slate, nil, err
	}
	read := readSlateFile
	if slate.BuiltIn {
		read = builtInSlates.ReadFile
	}
	file, err := read(slate.path)
	if err != nil {
		return slate, nil, fmt.Errorf("read slate %s: %w", slate.ID, err)
	}
	clip, err := parseSlate(file)
	if err != nil {
		return slate, nil, fmt.Errorf("read slate %s: %w", slate.ID, err)
	}
	return slate, clip, nil
}

// best is choose without the pictures.
func (s *slates) best(kind SlateKind, stream string, v relay.Variant, codec string) (Slate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	best, least := -1, math.Inf(1)
	for i := range s.all {
		slate := &s.all[i]
		if slate.Kind != kind || slate.Codec != codec || slate.Stream != "" && slate.Stream != stream {
			continue
		}
		cost := math.Abs(math.Log2(float64(max(slate.Height, 1))/float64(max(v.Height, 1)))) + math.Abs(slate.FrameRate-v.FrameRate)/100
		if slate.BuiltIn {
			cost += 2000
		} else if slate.Stream == "" {
			cost += 1000
		}
		if cost < least {
			best, least = i, cost
		}
	}
	if best < 0 {
		return Slate{}, fmt.Errorf("%w: none of kind %s has %s: add one", ErrNoSlate, kind, codec)
	}
	return s.all[best], nil
}
