package origin

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"surgecast/relay"
)

// maxSegmentFile bounds what is read of one file of the media journal: far more
// than a segment can have. What is behind it is as if it were torn.
const maxSegmentFile = 256 << 20

// recalled is what the media journal has of one rendition.
type recalled struct {
	list  *relay.Playlist // the newest; nil if there is none
	index []byte          // the multivariant playlist, nil if it is not known
	media map[relay.MediaName][]byte
	age   time.Duration // since the list was written, by the clock
}

// recall reads the media journal of a rendition. What is torn or garbled is as
// if it had not been written.
func recall(dir string) recalled {
	r := recalled{media: map[relay.MediaName][]byte{}}
	numbers := segmentFiles(dir)
	slices.Sort(numbers)
	slices.Reverse(numbers)
	for _, n := range numbers {
		file := readSegmentRecord(readFile(filepath.Join(dir, segmentFileName(n))))
		if r.list == nil {
			r.begin(&file)
		}
		if r.list != nil {
			r.take(n, &file)
		}
	}
	return r
}

// begin takes the list of a file, if it has one. Where the clock was set back
// since, it is as if it had been written now.
func (r *recalled) begin(file *segmentRecord) {
	if list, err := relay.ParsePlaylist(file.list); err == nil {
		r.list, r.age = list, max(time.Since(file.at), 0)
	}
}

// take takes the media of a segment.
func (r *recalled) take(n uint64, file *segmentRecord) {
	if r.index == nil {
		r.index = file.index
	}
	for name, body := range file.objects {
		r.media[name] = body
	}
	if p := r.list; n >= p.MediaSequence && n < p.OpenSequence() {
		name := p.Segments[n-p.MediaSequence].Name
		if body := file.segment(name); body != nil {
			r.media[name] = body
		}
	}
}

// readFile returns what can be read of a file.
func readFile(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var b bytes.Buffer
	_, _ = io.Copy(&b, io.LimitReader(f, maxSegmentFile)) // what a bad disk keeps is torn off
	return b.Bytes()
}
