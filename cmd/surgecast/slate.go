package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"text/tabwriter"

	"surgecast/origin"
	"surgecast/relay"
)

// slateCmd is about the pictures that are shown in place of a programme.
type slateCmd struct {
	Show   slateShowCmd   `cmd:"" help:"Show a slate in place of the encoder's feed."`
	Off    slateOffCmd    `cmd:"" help:"Let the programme come back."`
	List   slateListCmd   `cmd:"" help:"Show which slates there are."`
	Add    slateAddCmd    `cmd:"" help:"Keep a slate of your own."`
	Remove slateRemoveCmd `cmd:"" help:"Forget a slate of your own."`
}

// slateShowCmd shows a slate.
type slateShowCmd struct {
	Stream string           `arg:"" help:"Name of the stream."`
	Kind   origin.SlateKind `arg:"" optional:"" enum:"hold,interruption,fault,ended" default:"hold" help:"What it says: hold, interruption, fault or ended."`
	apiFlags
}

// Help is shown by --help.
func (*slateShowCmd) Help() string {
	return `All viewers see the slate within a second or two, until "surgecast slate off",
also after a restart of the origin. The encoder may stay connected, go or change
meanwhile: its feed is received and not shown. Sound is silent. The slate that fits
the stream best is taken: one of the stream's own, else one for all, else one that
is built in.

	surgecast slate show theatre --dir ~/evening
	surgecast slate show theatre fault --dir ~/evening`
}

// Validate checks the stream's name.
func (c *slateShowCmd) Validate() error { return relay.ValidStream(c.Stream) }

// Run asks the origin.
func (c *slateShowCmd) Run(ctx context.Context, out io.Writer) error {
	q := apiRequest{Method: http.MethodPost, Path: slatePath(c.Stream), Body: slateOrder{Kind: c.Kind}}
	if err := c.ask(ctx, q, &struct{}{}); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%s shows its slate %q until \"surgecast slate off %s\".\n", c.Stream, c.Kind, c.Stream)
	return err
}

// slateOffCmd ends what slateShowCmd began.
type slateOffCmd struct {
	Stream string `arg:"" help:"Name of the stream."`
	apiFlags
}

// Help is shown by --help.
func (*slateOffCmd) Help() string {
	return `The programme comes back with the encoder's next key picture. Where no encoder is
connected, what "on_loss:" of origin.yaml says follows.

	surgecast slate off theatre --dir ~/evening`
}

// Validate checks the stream's name.
func (c *slateOffCmd) Validate() error { return relay.ValidStream(c.Stream) }

// Run asks the origin.
func (c *slateOffCmd) Run(ctx context.Context, out io.Writer) error {
	if err := c.ask(ctx, apiRequest{Method: http.MethodDelete, Path: slatePath(c.Stream)}, &struct{}{}); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%s comes back with its encoder's next key picture.\n", c.Stream)
	return err
}

func slatePath(stream string) string { return "/streams/" + url.PathEscape(stream) + "/slate" }

// slateListCmd shows what there is.
type slateListCmd struct{ apiFlags }

// Run asks the origin.
func (c *slateListCmd) Run(ctx context.Context, out io.Writer) error {
	var list slateList
	if err := c.ask(ctx, apiRequest{Method: http.MethodGet, Path: "/slates"}, &list); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tKIND\tSTREAM\tCODEC\tSIZE\tRATE\tLENGTH\tBYTES")
	for _, s := range list.Slates {
		stream := s.Stream
		if stream == "" {
			stream = "all"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%dx%d\t%g\t%gs\t%d\n", s.ID, s.Kind, stream, s.Codec, s.Width, s.Height, s.FrameRate, s.Seconds, s.Bytes)
	}
	return w.Flush()
}

// slateAddCmd keeps a file.
type slateAddCmd struct {
	File   string           `arg:"" help:"MP4 or MPEG-TS file with H.264, H.265 or AV1." type:"existingfile"`
	Kind   origin.SlateKind `enum:"hold,interruption,fault,ended" default:"interruption" help:"What it says: hold, interruption (shown when the encoder is lost), fault or ended."`
	Stream string           `help:"Only for this stream. Default: for all." placeholder:"NAME"`
	apiFlags
}

// Help is shown by --help.
func (*slateAddCmd) Help() string {
	return `The clip is shown again and again, so its end should fit its beginning: 1 to 60 s,
16 MiB at most, a key picture at least each 5 s, closed GOPs. It must have the codec
of the streams that it is for; its size may be another one. Sound is left out. The
origin keeps it in its data folder.

	ffmpeg -loop 1 -i slate.png -t 10 -r 25 -c:v libx264 -pix_fmt yuv420p -g 25 slate.mp4
	surgecast slate add slate.mp4 --stream theatre --kind hold --dir ~/evening`
}

// Run gives the file to the origin.
func (c *slateAddCmd) Run(ctx context.Context, out io.Writer) error {
	info, err := os.Stat(c.File)
	if err != nil {
		return err
	}
	if info.Size() > origin.MaxSlateBytes {
		return fmt.Errorf("%s has %d bytes, want at most %d: shorten it, or encode it smaller", c.File, info.Size(), origin.MaxSlateBytes)
	}
	file, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	var s origin.Slate
	q := apiRequest{Method: http.MethodPost, Path: "/slates", Body: slateUpload{Kind: c.Kind, Stream: c.Stream, File: file}}
	if err := c.ask(ctx, q, &s); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "Slate %s is kept: %s, %s, %dx%d, %g pictures a second, %gs.\n", s.ID, s.Kind, s.Codec, s.Width, s.Height, s.FrameRate, s.Seconds)
	return err
}

// slateRemoveCmd forgets one.
type slateRemoveCmd struct {
	ID string `arg:"" name:"id" help:"Its id, as \"surgecast slate list\" shows it."`
	apiFlags
}

// Validate keeps odd ids out of paths.
func (c *slateRemoveCmd) Validate() error {
	if c.ID == "" {
		return errors.New("which slate? \"surgecast slate list\" shows all")
	}
	return nil
}

// Run asks the origin.
func (c *slateRemoveCmd) Run(ctx context.Context, out io.Writer) error {
	if err := c.ask(ctx, apiRequest{Method: http.MethodDelete, Path: "/slates/" + url.PathEscape(c.ID)}, &struct{}{}); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "Slate %s is removed.\n", c.ID)
	return err
}
