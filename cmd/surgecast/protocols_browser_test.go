package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"surgecast/relay/hlscheck"
)

// Where encoders push to in TestProtocolsPlay, by port of the origin.
const (
	protocolRTMP  = 1935
	protocolRTMPS = 1936
	protocolSRT   = 8890
	protocolUDP   = 5000

	protocolCalled = 9000 // where ffmpeg waits to be called by SRT
)

// encoderLine is a program that pushes a stream by one protocol.
type encoderLine struct {
	name    string // that of its stream, too
	command []string
}

// encoderLines are ffmpeg with the same film by each protocol, and GStreamer with
// encoders of its own by those that it has.
func encoderLines(film string, origin netip.Addr, key string) (lines []encoderLine) {
	at := func(port uint16) string { return netip.AddrPortFrom(origin, port).String() }
	for name, output := range map[string]string{
		"rtsp-tcp": "-f rtsp -rtsp_transport tcp rtsp://publish:KEY@" + at(defaultRTSPPort) + "/NAME",
		"rtsp-udp": "-f rtsp -rtsp_transport udp rtsp://publish:KEY@" + at(defaultRTSPPort) + "/NAME",
		"rtsps":    "-f rtsp -tls_verify 0 rtsps://publish:KEY@" + at(defaultRTSPSPort) + "/NAME",
		"rtmp":     "-f flv rtmp://" + at(protocolRTMP) + "/NAME/KEY",
		"rtmps":    "-f flv rtmps://" + at(protocolRTMPS) + "/NAME/KEY",
		"srt":      "-f mpegts srt://" + at(protocolSRT) + "?streamid=publish:NAME:KEY",
		"udp":      "-f mpegts udp://" + at(protocolUDP) + "?pkt_size=1316",
		"srt-pull": "-f mpegts srt://" + at(protocolCalled) + "?mode=listener&passphrase=KEY",
	} {
		lines = append(lines, encoderLine{name, append([]string{
			"ffmpeg", "-v", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", film, "-c", "copy",
		}, strings.Fields(output)...)})
	}
	const (
		picture = "videotestsrc is-live=true ! video/x-raw,format=I420,width=640,height=360,framerate=25/1 ! " +
			"x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 bitrate=600 ! h264parse ! out. "
		sound = "audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! "
		aac   = picture + sound + "avenc_aac bitrate=96000 ! aacparse ! out. "
	)
	for name, pipeline := range map[string]string{
		"gstreamer-rtsp":      aac + "rtspclientsink name=out protocols=tcp location=rtsp://publish:KEY@" + at(defaultRTSPPort) + "/NAME",
		"gstreamer-rtsp-opus": picture + sound + "opusenc ! out. rtspclientsink name=out protocols=udp location=rtsp://publish:KEY@" + at(defaultRTSPPort) + "/NAME",
		"gstreamer-rtmp":      aac + "flvmux name=out streamable=true ! rtmp2sink location=rtmp://" + at(protocolRTMP) + "/NAME/KEY",
		"gstreamer-srt":       aac + "mpegtsmux name=out alignment=7 ! srtsink uri=srt://" + at(protocolSRT) + "?streamid=publish:NAME:KEY",
	} {
		lines = append(lines, encoderLine{name, append([]string{"gst-launch-1.0", "-q"}, strings.Fields(pipeline)...)})
	}
	slices.SortFunc(lines, func(a, b encoderLine) int { return strings.Compare(a.name, b.name) })
	for _, line := range lines {
		for i := range line.command {
			line.command[i] = strings.NewReplacer("NAME", line.name, "KEY", key).Replace(line.command[i])
		}
	}
	return lines
}

// TestProtocolsPlay: what an encoder pushes, by whatever protocol, is listed by a
// relay by all the rules, decoded by ffmpeg, and plays in Chromium without an
// error.
func TestProtocolsPlay(t *testing.T) {
	if !proving() {
		t.Skip("long: SURGECAST_PROVE=1, as in make prove")
	}
	const key = "curtain-of-the-theatre"
	lines := encoderLines("", someLoopback(), key) // for the names alone
	pool := startBrowserPool(t, func(c *OriginConfig) {
		certified := t.TempDir()
		if err := writeCertificate(certified, []string{"live.surgecast.test"}, nil); err != nil {
			t.Fatal(err)
		}
		c.EncoderTLS.CertFile, c.EncoderTLS.KeyFile = filepath.Join(certified, certFileName), filepath.Join(certified, keyFileName)
		c.RTMP.Port, c.RTMP.TLSPort, c.SRT.Port = protocolRTMP, protocolRTMPS, protocolSRT
		base := c.Streams[0]
		for _, line := range lines {
			stream := base
			stream.Name, stream.PublishKey = line.name, key
			if line.name == "udp" {
				stream.UDP.Port, stream.UDP.From = protocolUDP, []Address{{c.Address.Addr}, {netip.MustParseAddr("127.0.0.1")}}
			}
			if line.name == "srt-pull" {
				stream.Pull = PullConfig{URL: "srt://" + netip.AddrPortFrom(c.Address.Addr, protocolCalled).String(), Passphrase: key}
			}
			c.Streams = append(c.Streams, stream)
		}
	})
	view := openBrowser(t)
	for _, line := range encoderLines(makeFilm(t), pool.origin, key) {
		t.Run(line.name, func(t *testing.T) {
			if _, err := exec.LookPath(line.command[0]); err != nil {
				t.Skipf("%s is not installed: make prove", line.command[0])
			}
			runEncoder(t, line.command)
			relay := pool.url(pool.origin.Next())
			list := awaitList(t, relay+"/"+line.name+"/index.m3u8")
			checkList(t, list, 3*time.Second)
			read(t, list, time.Second)
			(&browserView{t: t, ctx: view.ctx}).plays(relay + "/" + line.name + "/")
		})
	}
}

// runEncoder runs a program until the test ends.
func runEncoder(t *testing.T, command []string) {
	t.Helper()
	program := exec.Command(command[0], command[1:]...)
	var complaint bytes.Buffer
	program.Stdout, program.Stderr = &complaint, &complaint
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = program.Process.Signal(os.Interrupt) // as somebody at a keyboard ends it
		_ = program.Wait()                       // it tells of the signal
		if t.Failed() {
			t.Logf("%s\n%s", strings.Join(command, " "), complaint.Bytes())
		}
	})
}

// awaitList waits until a multivariant playlist names a list with some media, and
// returns the list's URL.
func awaitList(t *testing.T, index string) (list string) {
	t.Helper()
	base, err := url.Parse(index)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is something to play", func() error {
		text, err := fetchText(t, index)
		if err != nil {
			return err
		}
		variants := readMultivariant(text).variants
		if len(variants) == 0 {
			return fmt.Errorf("no variant in %s", text)
		}
		there, err := base.Parse(variants[0].uri)
		if err != nil {
			return err
		}
		list = there.String()
		text, err = fetchText(t, list)
		if n := strings.Count(text, "#EXTINF"); err == nil && n < 3 {
			err = fmt.Errorf("%d segments", n)
		}
		return err
	})
	return list
}

func fetchText(t *testing.T, url string) (string, error) {
	t.Helper()
	return get(t.Context(), http.DefaultClient, url, "")
}

func body(t *testing.T, url string) string {
	t.Helper()
	text, err := fetchText(t, url)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// checkList holds each version of a list to the rules for a while, in which it
// has to go on.
func checkList(t *testing.T, list string, d time.Duration) {
	t.Helper()
	before := body(t, list)
	first := before
	for until := time.Now().Add(d); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		next := body(t, list)
		for _, problem := range hlscheck.Check(before, next) {
			t.Error(problem)
		}
		before = next
	}
	if before == first {
		t.Errorf("the list stands for %v", d)
	}
}

// plays opens a page and watches for some seconds: no error of the player's, no
// stall.
func (v *browserView) plays(page string) {
	v.t.Helper()
	v.open(page)
	if v.eval(`String(document.documentElement.dataset.library)`) == "missing" {
		v.t.Skip("built without hls.js: run make deps where npm can be reached")
	}
	v.await("playing", `state === 'playing'`)
	v.eval(takeLibrary)
	v.await("the page has looked", `window.library !== undefined`)
	v.eval(`(window.wrong = [], library.on('hlsError', (_, d) => window.wrong.push(d.details)), '')`)
	v.playFor(5 * time.Second)
	wrong, stalls, latency := v.eval(`window.wrong.join(' ')`), v.eval(`stalls`), v.eval(`latency.toFixed(1)`)
	v.t.Logf("served by %s, %s stalls, %s s behind live, errors: [%s], codecs %s",
		v.servedBy(), stalls, latency, wrong, v.eval(`library.levels.map((l) => l.attrs.CODECS).join(' ')`))
	if v.eval(`String(latency > 0.5 && latency < 4)`) != "true" {
		v.t.Errorf("%s s behind live: are the dates right?", latency)
	}
	if wrong != "" || stalls != "0" || v.eval(`String(video.error)`) != "null" {
		v.t.Errorf("errors [%s], %s stalls", wrong, stalls)
	}
}
