package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// StatusError is an upstream's answer other than 200.
type StatusError struct {
	Status   int
	Referral []string // host:port of nodes that it sends us to, at most 3
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("the upstream answered %d %s", e.Status, http.StatusText(e.Status))
}

// gone tells whether the upstream said that there is no such thing.
func gone(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && (status.Status == http.StatusNotFound || status.Status == http.StatusGone)
}

// early tells whether the upstream said that it does not know of this yet.
func early(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Status == http.StatusBadRequest
}

// errPatience is the cause with which a request ends that took too long.
var errPatience = errors.New("the upstream did not answer in time")

// open asks an upstream and returns its answer, of which the status is one of
// 200 and 206; the body is to be closed. The time to connect is bounded in the
// client's dialer, all else by ctx.
func (f *Follower) open(ctx context.Context, url string, headers ...string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if f.Self != nil {
		request.Header.Set(nodeHeader, f.Self()+lookMark)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	f.Credential.Authorize(request)
	response, err := f.Client.Do(request)
	if err != nil {
		return nil, because(ctx, err)
	}
	err = nil
	kind := response.Header.Get("Content-Type")
	coding := response.Header.Get("Content-Encoding")
	switch {
	case response.StatusCode != http.StatusOK && response.StatusCode != http.StatusPartialContent:
		err = &StatusError{response.StatusCode, parseReferral(response.Header.Get(referralHeader))}
	case strings.HasPrefix(kind, "text/html"):
		// Some middle box's page, whatever its status says.
		err = fmt.Errorf("the upstream answered with %q", clip(kind))
	case coding != "" && coding != "identity":
		err = fmt.Errorf("the upstream answered in %q, which was not asked for", clip(coding))
	}
	if err != nil {
		_ = response.Body.Close()
		return nil, err
	}
	return response, nil
}

// because adds why ctx ended to an error that says only that it did.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%w (%w)", cause, err)
	}
	return err
}

// get fetches a whole text of at most limit bytes within the time. One that is
// cut short is an error.
func (f *Follower) get(ctx context.Context, url string, limit int64, patience time.Duration, headers ...string) ([]byte, http.Header, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	response, err := f.open(ctx, url, headers...)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	if response.ContentLength > limit {
		return nil, nil, fmt.Errorf("the answer has %d bytes, want at most %d", response.ContentLength, limit)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("read body: %w", because(ctx, err))
	case int64(len(body)) > limit:
		return nil, nil, fmt.Errorf("the answer is longer than %d bytes", limit)
	}
	return body, response.Header, nil
}

// backoff is a pause that doubles from 100 ms to 2 s, or to most where that is
// set, with jitter, so that the relays of a pool do not come back in step.
type backoff struct{ next, most time.Duration }

// wait pauses, and no longer than until wake; nil: nothing wakes it.
func (b *backoff) wait(ctx context.Context, wake <-chan struct{}) {
	b.next = min(max(2*b.next, 100*time.Millisecond), cmp.Or(b.most, 2*time.Second))
	t := time.NewTimer(b.next/2 + rand.N(b.next/2))
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
	}
}
