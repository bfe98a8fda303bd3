package relay

import (
	"context"
	"fmt"
	"time"
)

// MaxDVR is the longest time that viewers can look back.
const MaxDVR = 24 * time.Hour

// validateDVR tells what is wrong with a time to look back.
func validateDVR(length time.Duration) error {
	if length < 0 || length > MaxDVR {
		return fmt.Errorf("dvr of %v: want 0 to %v", length, MaxDVR)
	}
	return nil
}

// recordingLife is the recording of a stream that is followed.
type recordingLife struct {
	length time.Duration
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended
}

// record records a followed stream as long as the catalogue says, and changes
// that when the catalogue does. It needs f.mu.
func (f *Follower) record(ctx context.Context, one *following, length time.Duration) {
	before := one.recording
	if f.DVR == nil || before != nil && before.length == length {
		return
	}
	if before != nil {
		before.cancel()
	}
	ctx, cancel := context.WithCancel(ctx)
	life := &recordingLife{length: length, cancel: cancel, done: make(chan struct{})}
	one.recording = life
	one.stream.setLookedBack(length > 0) // now, so that nobody finds it missing
	f.wait.Go(func() {
		defer close(life.done)
		if before != nil {
			<-before.done
		}
		if err := f.DVR.Run(ctx, one.stream, length, f.epoch); err != nil && ctx.Err() == nil {
			f.Logger.Error("the DVR of a stream ended", "stream", one.stream.Name, "err", err)
		}
	})
}

// forgetOthers deletes what the DVR has of streams that are no more.
func (f *Follower) forgetOthers(streams []CatalogueStream) {
	if f.DVR == nil {
		return
	}
	names := make([]string, 0, len(streams))
	for _, s := range streams {
		names = append(names, s.Name)
	}
	f.DVR.Keep(names)
}
