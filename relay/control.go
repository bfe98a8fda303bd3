package relay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// ControlPath is where an origin serves its control channel: an endless answer
// of signed catalogues, a line each, the current one at once, and an empty
// line at least each KeepAlive.
const ControlPath = "/pool/control"

// KeepAlive is how often an origin shows on the control channel that it lives.
const KeepAlive = 5 * time.Second

// keepAliveLost is when a silent control channel is given up.
const keepAliveLost = 3 * KeepAlive

// mediaHeader tells, with a request for the control channel, where the relay is
// reached.
const mediaHeader = "Surgecast-Media"

// maxMediaBytes bounds its value.
const maxMediaBytes = 128

// ControlMedia returns where a relay that asks for the control channel says it
// is reached, and where from outside, which may be invalid. False if it does not
// say.
func ControlMedia(r *http.Request) (media, public netip.AddrPort, ok bool) {
	value := r.Header.Get(mediaHeader)
	if len(value) > maxMediaBytes {
		return media, public, false
	}
	own, outside, two := strings.Cut(value, ", ")
	media, err := netip.ParseAddrPort(own)
	if two && err == nil {
		public, err = netip.ParseAddrPort(outside)
	}
	return media, public, err == nil
}

// control reads the upstream's control channel until it fails. Losing it loses
// nothing: what is followed is followed on.
func (f *Follower) control(ctx context.Context, base string) error {
	reading, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(keepAliveLost, func() { cancel(errors.New("the control channel fell silent")) })
	defer silence.Stop()

	request, err := http.NewRequestWithContext(reading, http.MethodGet, base+ControlPath, nil)
	if err != nil {
		return err
	}
	if len(f.Media) > 0 {
		request.Header.Set(mediaHeader, strings.Join(f.Media, ", "))
	}
	f.Credential.Authorize(request)
	response, err := f.Client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return &StatusError{Status: response.StatusCode}
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxCatalogueBytes)
	for lines.Scan() {
		silence.Reset(keepAliveLost)
		if len(lines.Bytes()) == 0 {
			continue
		}
		c, err := OpenCatalogue(lines.Bytes(), f.Authority)
		if err != nil {
			return err
		}
		f.take(ctx, c, bytes.Clone(lines.Bytes()))
	}
	if err := lines.Err(); err != nil {
		if cause := context.Cause(reading); cause != nil {
			err = cause // says more than that the reading was cancelled
		}
		return fmt.Errorf("read control channel: %w", err)
	}
	return errors.New("the upstream closed the control channel")
}
