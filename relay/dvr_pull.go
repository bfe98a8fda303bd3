package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"github.com/klauspost/compress/gzip"
)

const (
	// listPatience is how long an upstream may take for a long list, and
	// pullPatience how long a viewer waits for an object to be pulled through,
	// its turn included: players give up soon after.
	listPatience = 5 * time.Second
	pullPatience = 20 * time.Second
	// pullPeers is how many peers are asked before an upstream.
	pullPeers = 2
	// onlyIfCached asks a node for what it has, not for what it could get: so
	// peers do not send each other looking.
	onlyIfCached = "only-if-cached"
)

// fetch gets an object that l names onto this disk; all who ask for it share
// that.
func (f *followedList) fetch(ctx context.Context, name MediaName, l *longList) error {
	return f.pull.do(ctx, name, func() error {
		if f.recording.folder.has(name) {
			return nil
		}
		ctx, cancel := context.WithTimeout(f.life, pullPatience)
		defer cancel()
		select { // looking back waits for its turn, and takes little of the link
		case f.recording.dvr.pulls <- struct{}{}:
		case <-ctx.Done():
			return ErrUnavailable
		}
		defer func() { <-f.recording.dvr.pulls }()
		return f.pullThrough(ctx, name, l.dateOf(name))
	})
}

// dateOf is about when an object was filmed.
func (l *longList) dateOf(name MediaName) time.Time {
	if run, ok := l.find(name); ok && !run.date.IsZero() {
		return run.at(name.Number)
	}
	return time.Now()
}

// pullThrough asks peers first, so that what was looked at once does not cost
// the origin's link again.
func (f *followedList) pullThrough(ctx context.Context, name MediaName, date time.Time) error {
	config, path := &f.recording.dvr.config, f.path+name.String()
	if config.Peers != nil {
		peers := config.Peers()
		for _, base := range peers[:min(len(peers), pullPeers)] {
			if f.pullFrom(ctx, base+path, name, date, true) == nil {
				return nil
			}
		}
	}
	err := ErrUnavailable
	for _, base := range config.Upstreams() {
		if err = f.pullFrom(ctx, base+path, name, date, false); err == nil {
			return nil
		}
	}
	f.recording.log.Debug("pull through", "object", name.String(), "err", err)
	return asAnswer(err)
}

// pullFrom writes an object straight to disk, so that none is held in memory.
// A body that breaks off leaves nothing.
func (f *followedList) pullFrom(ctx context.Context, url string, name MediaName, date time.Time, peer bool) error {
	header := http.Header{}
	if peer {
		header.Set("Cache-Control", onlyIfCached)
	}
	response, err := f.recording.dvr.get(ctx, url, header)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	size := response.ContentLength
	if size <= 0 || size > maxObjectBytes {
		return fmt.Errorf("an object of %d bytes", size)
	}
	return f.recording.folder.write(name, date, size, func(w io.Writer) error {
		n, err := io.Copy(w, response.Body)
		if err == nil && n != size {
			err = io.ErrUnexpectedEOF
		}
		var onDisk *fs.PathError
		if err != nil && !errors.As(err, &onDisk) {
			return &foreignError{fmt.Errorf("read body: %w", err)}
		}
		return err
	})
}

// get asks another node. The caller closes the body.
func (d *DVR) get(ctx context.Context, url string, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header = header
	d.config.Credential.Authorize(request)
	response, err := d.config.Client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, &StatusError{Status: response.StatusCode}
	}
	return response, nil
}

// getList fetches a long list, which is packed on its way: an hour of it is a
// tenth of its size then.
func (d *DVR) getList(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, listPatience)
	defer cancel()
	response, err := d.get(ctx, url, http.Header{"Accept-Encoding": encodingGzip})
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var body io.Reader = response.Body
	if response.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(body); err != nil {
			return nil, fmt.Errorf("unpack the long list: %w", err)
		}
	}
	text, err := io.ReadAll(io.LimitReader(body, maxLongBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the long list: %w", err)
	}
	return text, nil
}
