package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"surgecast/origin"
	"surgecast/relay"
)

// switchCmd puts the other input of a stream on air.
type switchCmd struct {
	Stream string       `arg:"" help:"Name of the stream."`
	Input  origin.Input `arg:"" enum:"primary,backup" help:"The input that is to be on air: primary or backup."`
	apiFlags
}

// Help is shown by --help.
func (*switchCmd) Help() string {
	return `A stream may come twice: the primary is pushed to STREAM, the backup to
STREAM/backup, or pulled by "backup:" of origin.yaml. The backup takes over by
itself when the primary ends or stands still. This command changes over while all
is well, to one side or back: where both send the same bytes nobody can tell, else
with the next key picture. The input stays on air until it fails.

	surgecast switch theatre backup --dir ~/evening`
}

// Validate checks the stream's name.
func (c *switchCmd) Validate() error { return relay.ValidStream(c.Stream) }

// Run asks the origin.
func (c *switchCmd) Run(ctx context.Context, out io.Writer) error {
	request := apiRequest{Method: http.MethodPost, Path: "/streams/" + url.PathEscape(c.Stream) + "/input", Body: inputRequest{Input: c.Input}}
	if err := c.ask(ctx, request, &struct{}{}); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%s goes over to its %s; \"surgecast status\" shows what is on air.\n", c.Stream, c.Input)
	return err
}

// inputRequest is what POST /streams/{stream}/input of the private API takes.
type inputRequest struct {
	Input origin.Input `json:"input"`
}

// switchStream answers with an empty object.
func (c apiConfig) switchStream(w http.ResponseWriter, r *http.Request) {
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10))
	body.DisallowUnknownFields()
	var request inputRequest
	if err := body.Decode(&request); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("the order can't be read: %v", err))
		return
	}
	if request.Input != origin.Primary && request.Input != origin.Backup {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("input %q: write primary or backup", request.Input))
		return
	}
	c.answer(w, r, struct{}{}, c.Streams.Switch(r.PathValue("stream"), request.Input))
}
