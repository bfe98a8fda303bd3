package origin

import (
	"fmt"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

func newTestQueue() *audioQueue {
	return &audioQueue{
		codec: &codecs.MPEG4Audio{Config: mpeg4audio.AudioSpecificConfig{Type: 2, SampleRate: 48000}},
		rate:  48000,
	}
}

// taken returns times and durations of what take returned.
func taken(frames []frame) string {
	s := ""
	for _, f := range frames {
		s += fmt.Sprintf("%d+%d ", f.dts, f.duration)
	}
	return s
}

func (q *audioQueue) pushAll(times ...int64) {
	for _, pts := range times {
		q.push(Unit{PTS: pts, Payload: [][]byte{{1}}})
	}
}

func TestAudioQueue(t *testing.T) {
	q := newTestQueue()
	q.pushAll(-2048, 0, 1024)
	q.begin(1000, 1000, 1000)
	q.pushAll(2048)
	if got := taken(q.take(3048)); got != "1000+1024 2024+1024 " {
		t.Errorf("what began before the run is left out, what begins later stays: %s", got)
	}
	q.pushAll(3071, 4097) // a tick early, a tick late
	if got := taken(q.take(1 << 40)); got != "3048+1024 4072+1024 5096+1024 " {
		t.Errorf("ticks of rounding: %s", got)
	}
	q.pushAll(4097, 7168) // one twice, two lost
	if got := taken(q.take(1 << 40)); got != "8168+1024 " {
		t.Errorf("twice and lost: %s", got)
	}
	q.pushAll(8192, 10240)
	if got := taken(q.take(1 << 40)); got != "9192+2048 11240+1024 " {
		t.Errorf("a hole within a part: %s", got)
	}
}

func TestAudioQueueIsBounded(t *testing.T) {
	q := newTestQueue()
	q.begin(0, 0, 0)
	for i := range int64(10 * maxQueuedAudio) {
		q.pushAll(i * 1024)
	}
	frames := q.take(1 << 40)
	if len(frames) != maxQueuedAudio || frames[len(frames)-1].dts != (10*maxQueuedAudio-1)*1024 {
		t.Errorf("%d frames, the newest at %d", len(frames), frames[len(frames)-1].dts)
	}
}
