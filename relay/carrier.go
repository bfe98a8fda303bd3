package relay

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// carrier takes one object from parents into an incoming: what one began,
// another can go on with.
type carrier struct {
	*Follower
	in    *incoming
	path  string // "/theatre/main/"
	begun func() // called when a parent's answer has begun and is as it should be
	etag  string // of the first answer
}

// transfer asks one parent for the object, or for what is missing of it. It
// returns nil when the object is whole.
func (c *carrier) transfer(ctx context.Context, base string) error {
	have, size := c.in.length()
	if have == size {
		return nil // only its end was lost
	}
	var headers []string
	if have > 0 {
		headers = []string{"Range", "bytes=" + strconv.Itoa(have) + "-"}
		if c.etag != "" {
			headers = append(headers, "If-Range", c.etag)
		}
	}
	response, err := c.open(ctx, base+c.path+c.in.name.String(), headers...)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := c.accept(response, have); err != nil {
		return err
	}
	c.begun()
	c.Precedence.enter()
	defer c.Precedence.leave()
	// A server that does not know ranges sends all anew.
	if response.StatusCode != http.StatusPartialContent {
		if err := c.in.passOver(response.Body, have); err != nil {
			return because(ctx, err)
		}
	}
	if err := c.in.readFrom(response.Body); err != nil {
		return because(ctx, err)
	}
	return nil
}

// accept checks the head of an answer against what is here already.
func (c *carrier) accept(response *http.Response, have int) error {
	tag := response.Header.Get("ETag")
	switch {
	case c.etag == "":
		c.etag = tag
	case tag != "" && tag != c.etag:
		return fmt.Errorf("%w: %s instead of %s", errConflict, clip(tag), clip(c.etag))
	}
	if response.StatusCode == http.StatusPartialContent {
		size, err := rangeFrom(response.Header.Get("Content-Range"), have)
		if err != nil {
			return err
		}
		return c.in.expect(size)
	}
	if response.ContentLength < 0 {
		return nil // a relay that is receiving it itself
	}
	return c.in.expect(response.ContentLength)
}

// passOver reads the bytes that are here already, which must be the same.
func (in *incoming) passOver(r io.Reader, n int) error {
	again := make([]byte, min(n, firstBytes))
	for at := 0; at < n; {
		piece := again[:min(len(again), n-at)]
		if _, err := io.ReadFull(r, piece); err != nil {
			return fmt.Errorf("read body: %w", err)
		}
		if !bytes.Equal(piece, in.body[at:at+len(piece)]) { // only this goroutine writes
			return errConflict
		}
		at += len(piece)
	}
	return nil
}

// rangeFrom reads a Content-Range that begins at from and goes to the end, and
// returns the size of the whole.
func rangeFrom(header string, from int) (int64, error) {
	span, whole, ok := strings.Cut(strings.TrimPrefix(header, "bytes "), "/")
	first, last, ok2 := strings.Cut(span, "-")
	begin, ok3 := parseDecimal(first)
	end, ok4 := parseDecimal(last)
	size, ok5 := parseDecimal(whole)
	if !ok || !ok2 || !ok3 || !ok4 || !ok5 || begin != uint64(from) || end+1 != size || size > maxObjectBytes {
		return 0, fmt.Errorf("the upstream answered with the range %q, wanted was all from %d on", clip(header), from)
	}
	return int64(size), nil
}
