package main

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"surgecast/configs"
)

// newPoolDir writes the files of a pool as `surgecast init` does.
func newPoolDir(t testing.TB, settings poolSettings) string {
	t.Helper()
	if settings.Stream == "" {
		settings.Stream = "theatre"
	}
	if settings.Zone == "" {
		settings.Zone = "live.surgecast.test"
	}
	if !settings.Origin.IsValid() {
		settings.Origin = netip.MustParseAddr("127.0.0.1")
	}
	files, err := newPoolFiles(settings)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "pool")
	if err := files.write(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestInitMakesAPoolThatLoads(t *testing.T) {
	dir := newPoolDir(t, poolSettings{Zone: "live.example.org", Origin: netip.MustParseAddr("192.0.2.10")})
	o, err := loadOriginConfig(filepath.Join(dir, "origin.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := loadRelayConfig(filepath.Join(dir, "relay.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := o.Address.String(); got != "192.0.2.10" {
		t.Errorf("the origin's address is %s", got)
	}
	if r.Address.IsValid() {
		t.Errorf("the relay's file names an address: %s", r.Address)
	}
	if got := r.Seeds[0].String(); got != "192.0.2.10:7946" {
		t.Errorf("the relay's seed is %s", got)
	}
	n, err := loadNameserverConfig(filepath.Join(dir, "nameserver.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if n.Seeds[0] != r.Seeds[0] || n.Zone != "live.example.org" || string(n.PoolSecret) != string(r.PoolSecret) {
		t.Errorf("the name server's pool is not the relay's: %+v", n)
	}
	if string(o.PoolSecret) != string(r.PoolSecret) || len(o.PoolSecret) < 32 {
		t.Error("the two configurations have different pool secrets, or a short one")
	}
	if !o.AuthorityKey.Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(r.AuthorityPublicKey)) {
		t.Error("the relay's public key is not that of the origin's private one")
	}
	if s := o.Streams[0]; s.Name != "theatre" || len(s.PublishKey) != 24 {
		t.Errorf("stream %s has a key of %d letters", s.Name, len(s.PublishKey))
	}
}

// TestSamplesAreComplete holds that each field of a Config struct stands in
// its sample, and that the defaults that the sample shows are those of the code.
func TestSamplesAreComplete(t *testing.T) {
	o, r, n := defaultOriginConfig(), defaultRelayConfig(), defaultNameserverConfig()
	for _, sample := range []struct {
		name, text string
		config     any
	}{
		{"origin.yaml", configs.Origin, &o},
		{"relay.yaml", configs.Relay, &r},
		{"nameserver.yaml", configs.Nameserver, &n},
	} {
		d, err := parseDocument(sample.name, []byte(sample.text))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.decode(sample.config); err != nil {
			t.Fatal(err)
		}
		requireKeys(t, d, reflect.ValueOf(sample.config).Elem(), nil)
	}
	defaults := defaultOriginConfig()
	if o.Ports != defaults.Ports || o.RTSP != defaults.RTSP || o.Window != defaults.Window || o.DVRBytes != defaults.DVRBytes || o.Drain != defaults.Drain ||
		o.TLS != defaults.TLS || o.Limits != defaults.Limits || o.Dir != defaults.Dir || o.Pool != defaults.Pool || o.ServeViewers != defaults.ServeViewers || o.Log != defaults.Log {
		t.Errorf("origin.yaml shows other defaults than the code has: %+v", o)
	}
	if o.FFmpeg != defaults.FFmpeg {
		t.Errorf("origin.yaml shows other defaults of ffmpeg than the code has: %+v", o.FFmpeg)
	}
	if !reflect.DeepEqual(o.OnForecast, defaults.OnForecast) {
		t.Errorf("origin.yaml shows other defaults of on_forecast than the code has: %+v", o.OnForecast)
	}
	if r.Ports != defaults.Ports || r.TLS != defaults.TLS || r.Limits != defaults.Limits || r.DVRBytes != defaults.DVRBytes || r.Drain != defaultNodeConfig().Drain || r.Dir != defaults.Dir || r.Log != defaults.Log {
		t.Errorf("relay.yaml shows other defaults than the code has: %+v", r)
	}
	if plain := defaultNameserverConfig(); n.Ports != plain.Ports || n.Dir != plain.Dir || n.Log != plain.Log || n.ServeViewers != plain.ServeViewers || n.DNS.Port != plain.DNS.Port || !reflect.DeepEqual(n.OnForecast, plain.OnForecast) {
		t.Errorf("nameserver.yaml shows other defaults than the code has: %+v", n)
	}
}

func requireKeys(t *testing.T, d *document, v reflect.Value, at []any) {
	t.Helper()
	for key, field := range fieldsOf(v) {
		here := append(at[:len(at):len(at)], key)
		node := d.root
		for _, step := range here {
			node = childOf(node, step)
		}
		switch {
		case node == nil:
			t.Errorf("%s lacks %s", d.file, pathText(here))
		case field.Kind() == reflect.Struct && field.NumField() > 1:
			requireKeys(t, d, field, here)
		case field.Kind() == reflect.Slice && field.Len() > 0 && field.Index(0).Kind() == reflect.Struct && field.Index(0).NumField() > 1:
			requireKeys(t, d, field.Index(0), append(here, 0))
		}
	}
}

func TestDefaults(t *testing.T) {
	dir := newPoolDir(t, poolSettings{})
	text := "pool_secret_file: pool.secret\nauthority_key_file: authority.key\nstreams: [{name: theatre, publish_key_file: theatre.key}]\n"
	file := filepath.Join(dir, "short.yaml")
	writeFile(t, file, text, 0o600)
	c, err := loadOriginConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	if time.Duration(c.Window) != time.Minute || c.Ports.Viewers != 8080 || c.Dir != filepath.Join(dir, "state") {
		t.Errorf("got window %v, port %d, dir %s", time.Duration(c.Window), c.Ports.Viewers, c.Dir)
	}
	if s := c.Streams[0]; time.Duration(s.TargetDuration) != 2*time.Second || time.Duration(s.Part) != 225*time.Millisecond {
		t.Errorf("got constants %+v", s.constants())
	}
}

func writeFile(t testing.TB, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

// TestBadConfigs changes one thing in a good configuration and holds the exact
// sentence that stops the start.
func TestBadConfigs(t *testing.T) {
	rungs := configs.Origin[strings.Index(configs.Origin, "    rungs: [] "):] // to the end
	for _, test := range []struct {
		name     string
		role     string
		old, new string // in the file that init writes
		at       string // text in the line that is to be named, if not new
		want     string // the sentence; DIR stands for the folder
	}{
		{
			"mistyped key", "origin", "\nserve_viewers:", "\nserve_viewer:", "",
			`there is no key "serve_viewer" here: did you mean "serve_viewers"?`,
		},
		{
			"mistyped key below another", "origin", "  rtp_port:", "  rpt_port:", "",
			`there is no key "rpt_port" under rtsp: did you mean "rtp_port"?`,
		},
		{
			"mistyped key in a list", "origin", "    part:", "    parts:", "",
			`there is no key "parts" under streams[0]: did you mean "part"?`,
		},
		{
			"a key like no other", "relay", "pool: surgecast", "wibblefrotz: 1", "",
			`there is no key "wibblefrotz" here: the keys are address, authority_public_key, capacity, dir, drain, dvr_bytes, limits, log, metadata, parents, pool, pool_secret_file, ports, public_address, resolver, second_address, seeds, steering, tls, zone`,
		},
		{
			"the origin's key on a relay", "relay", "pool: surgecast", "rtsp: {port: 1}", "",
			`there is no key "rtsp" here: the keys are address, authority_public_key, capacity, dir, drain, dvr_bytes, limits, log, metadata, parents, pool, pool_secret_file, ports, public_address, resolver, second_address, seeds, steering, tls, zone`,
		},
		{
			"key twice", "origin", "drain: 2s", "window: 30s", "",
			`window stands here for the second time: remove one`,
		},
		{
			"a webhook that is none", "origin", "  webhook: \"\"", "  webhook: example.org", "",
			`on_forecast.webhook is no URL: write one such as https://hooks.example.org/clone`,
		},
		{
			"a command without a program", "origin", "  command: []", "  command: [\"\"]", "",
			`on_forecast.command begins with nothing: write the program first, as in [/usr/local/bin/clone, live]`,
		},
		{
			"a command as one text", "origin", "  command: []", "  command: clone live", "",
			`on_forecast.command is a list: write [a, b], or each entry on its own line after "- "`,
		},
		{
			"a forecast that never holds", "origin", "  under: 300s", "  under: 2h", "",
			`on_forecast.under: 2h0m0s is out of bounds: write 1s to 1h`,
		},
		{
			"a hook without a pause", "origin", "  every: 5m", "  every: 0s", "",
			`on_forecast.every: 0s is too short: write at least 1s`,
		},
		{
			"half a yes", "origin", "  dry_run: true", "  dry_run: maybe", "",
			`on_forecast.dry_run: "maybe" is neither: write true or false`,
		},
		{
			"no unit", "origin", "window: 60s", "window: 60", "",
			`window: 60 has no unit: write 60s or 60ms`,
		},
		{
			"wrong unit", "origin", "part: 225ms", "part: 225 msec", "",
			`streams[0].part: "225 msec" is no duration: write a number with its unit, such as 2s, 225ms or 1m30s`,
		},
		{
			"negative", "origin", "drain: 2s", "drain: -2s", "",
			`drain: -2s is negative: write a duration such as 2s`,
		},
		{
			"bytes without unit", "relay", "dvr_bytes: 10GB", "dvr_bytes: 10", "",
			`dvr_bytes: "10" is no amount of data: write a number with MB, GB or TB, such as 10GB`,
		},
		{
			"few bytes", "relay", "dvr_bytes: 10GB", "dvr_bytes: 10MB", "",
			`dvr_bytes: 10000000 bytes are too few to look back on: write at least 100MB`,
		},
		{
			"sound elsewhere", "origin", "    audio: muxed ", "    audio: mono ", "",
			`streams[0].audio: "mono" is neither: write muxed or separate`,
		},
		{
			"no language", "origin", "    languages: [] ", "    languages: [de, \"deutsch und englisch\"] ", "",
			`streams[0].languages[1]: "deutsch und englisch" is no language: write de, en or pt-BR`,
		},
		{
			"too long to look back", "origin", "    dvr: 0s ", "    dvr: 48h ", "",
			`streams[0].dvr: 48h0m0s is out of bounds: write 1m to 24h, or 0s to turn it off`,
		},
		{
			"bit rate without unit", "relay", "capacity: 0bit/s", "capacity: 100", "",
			`capacity: 100 has no unit: write 100Mbit/s or 100Gbit/s (100 bit/s if bits were meant)`,
		},
		{
			"bit rate in bytes", "relay", "capacity: 0bit/s", "capacity: 100MB/s", "",
			`capacity: "100MB/s" is in bytes: write bits per second, such as 100Mbit/s`,
		},
		{
			"bit rate of nonsense", "relay", "capacity: 0bit/s", "capacity: fast", "",
			`capacity: "fast" is no bit rate: write a number with kbit/s, Mbit/s or Gbit/s, such as 100Mbit/s`,
		},
		{
			"address by name", "relay", "address: auto", "address: relay-1", "",
			`address: "relay-1" is no IP address: write one such as 192.0.2.10 or 2001:db8::10, or auto`,
		},
		{
			"every address", "relay", "address: auto", "address: 0.0.0.0", "",
			`address: 0.0.0.0 stands for every address and can't be told to others: write the one that they reach, or auto`,
		},
		{
			"seed without port", "relay", `"127.0.0.1:7946"`, "192.0.2.1", "",
			`seeds[0]: 192.0.2.1 has no port: write 192.0.2.1:7946`,
		},
		{
			"seed by name", "relay", `"127.0.0.1:7946"`, "origin:7946", "",
			`seeds[0]: "origin:7946" is no IP address with a port: write one such as 192.0.2.10:7946`,
		},
		{
			"no seeds", "relay", `["127.0.0.1:7946"]`, "[]", "",
			`seeds is empty: write the gossip address of the origin, such as [192.0.2.10:7946]`,
		},
		{
			"seeds no list", "relay", `["127.0.0.1:7946"]`, "127.0.0.1:7946", "",
			`seeds is a list: write [a, b], or each entry on its own line after "- "`,
		},
		{
			"port too large", "origin", "viewers: 8080", "viewers: 80800", "",
			`ports.viewers: "80800" is no port: write a number from 1 to 65535, or 0 to turn this off`,
		},
		{
			"port off", "origin", "viewers: 8080", "viewers: 0", "",
			`ports.viewers can't be turned off: write 8080`,
		},
		{
			"group as a value", "origin", "log:", "log: loud\nlogs:", "log: loud",
			`log holds keys of its own (format, level), each on a line: this is none`,
		},
		{
			"value as a group", "origin", "window: 60s", "window: {a: 1}", "",
			`window is one value, not a list or a group of keys`,
		},
		{
			"no value", "origin", "window: 60s", "window:", "",
			`window has no value: write one, or remove the line to get the default`,
		},
		{
			"window out of bounds", "origin", "window: 60s", "window: 2s", "",
			`window: 2s is out of bounds: write 12s to 1h`,
		},
		{
			"answer not on the list", "origin", "serve_viewers: when_pool_empty", "serve_viewers: yes", "",
			`serve_viewers: "yes" is not one of the answers: write when_pool_empty, always or never`,
		},
		{
			"level not on the list", "relay", "level: info", "level: loud", "",
			`log.level: "loud" is no level: write debug, info, warn or error`,
		},
		{
			"reserved stream", "origin", "name: theatre", "name: pool", "",
			`streams[0].name: stream name "pool" is reserved: choose another`,
		},
		{
			"target duration", "origin", "target_duration: 2s", "target_duration: 2500ms", "- name: theatre",
			`streams[0]: target duration 2.5s: want whole seconds, at least 1s`,
		},
		{
			"odd RTP port", "origin", "rtp_port: 8000", "rtp_port: 8002", "",
			`rtsp.rtp_port must be even and rtsp.rtcp_port the next one: write 8000 and 8001`,
		},
		{
			"RTMPS without a certificate", "origin", "tls_port: 0 # 1936", "tls_port: 1936 # 1936", "",
			`rtmp.tls_port needs a certificate: set encoder_tls.cert_file or that of tls, or write 0`,
		},
		{
			"no time for SRT to repair", "origin", "latency: 200ms", "latency: 1ms", "",
			`srt.latency: 1ms is out of bounds: write 20ms to 8s`,
		},
		{
			"MPEG-TS from everyone", "origin", "      port: 0                     # 5000", "      port: 5000                  # 5000", "      from: []                    # the IP",
			`streams[0].udp.from is empty: write the IP addresses that may send, for MPEG-TS has no key`,
		},
		{
			"another way to steer", "origin", "steering: addresses", "steering: dns", "",
			`steering: "dns" is neither: write names or addresses`,
		},
		{
			"zone with a dot", "origin", "zone: live.surgecast.test", "zone: live.surgecast.test.", "",
			`zone: write live.surgecast.test without the dot at its end`,
		},
		{
			"not YAML", "origin", "seeds: []", "seeds: [", "",
			`this is not YAML: sequence end token ']' not found`,
		},
		{
			"no secret file", "relay", "pool_secret_file: pool.secret", "pool_secret_file: pool.sekret", "",
			`pool_secret_file: there is no DIR/pool.sekret: put the pool's secret there, or write the path where it is`,
		},
		{
			"secret not named", "relay", "pool_secret_file: pool.secret", "", "# surgecast relay",
			`pool_secret_file is missing: it names the file with the pool's secret ("surgecast init" makes one)`,
		},
		{
			"publish key not named", "origin", "    publish_key_file: theatre.key", "", "- name: theatre",
			`streams[0].publish_key_file is missing: it names the file with the key that the encoder gives ("surgecast init" makes one)`,
		},
		{
			"a broadcaster without a key", "origin", "    broadcasters: []  ", "    broadcasters: [{name: van}]", "",
			`streams[0].broadcasters[0].key_file is missing: it names the file with the key of broadcaster van ("surgecast init" makes one)`,
		},
		{
			"a broadcaster with the stream's key", "origin", "    broadcasters: []  ", "    broadcasters: [{name: van, key_file: theatre.key}]", "",
			`streams[0].broadcasters[0].key_file: van has the same key as the stream itself: give each its own`,
		},
		{
			"a broadcaster with a shout", "origin", "    broadcasters: []  ", "    broadcasters: [{name: VAN, key_file: pool.secret}]", "",
			`streams[0].broadcasters[0].name: write 1 to 64 of a-z, 0-9 and "-", for each another one`,
		},
		{
			"a camera with its password in the URL", "origin", `      url: ""  `, `      url: rtsp://viewer:word@192.0.2.30/live`, "",
			`streams[0].pull: url: write it without user and password, which have keys of their own`,
		},
		{
			"a user without a camera", "origin", `      user: ""  `, `      user: viewer`, `      url: ""`,
			`streams[0].pull.url is missing: it names the camera, such as rtsp://192.0.2.30/stream1`,
		},
		{
			"half a certificate for encoders", "origin", "encoder_tls:\n  cert_file: \"\"", "encoder_tls:\n  cert_file: live.crt", "  cert_file: live.crt",
			`encoder_tls.key_file is missing beside encoder_tls.cert_file: it names the file with the certificate's key`,
		},
		{
			"the oldest wins", "origin", "    same_key: newest_wins", "    same_key: oldest_wins", "",
			`streams[0].same_key: "oldest_wins" is neither: write newest_wins or refuse`,
		},
		{
			"a ladder without rungs", "origin", "    ladder: none", "    ladder: ffmpeg", "",
			`streams[0].ladder: there is no rung to be made: write rungs, the first for the encoder, the others with height and bitrate`,
		},
		{
			"a ladder without a height", "origin", rungs, "    ladder: ffmpeg\n    rungs: [{name: 1080}, {name: 720, bitrate: 2Mbit/s}]\n", "    rungs: [{name: 1080}",
			`streams[0].rungs[1].height: the ladder needs one: write an even number from 90 to 4320`,
		},
		{
			"a ladder without a bit rate", "origin", rungs, "    ladder: ffmpeg\n    rungs: [{name: 1080}, {name: 720, height: 720}]\n", "    rungs: [{name: 1080}",
			`streams[0].rungs[1].bitrate: the ladder needs one: write 50kbit/s to 200Mbit/s`,
		},
		{
			"a rung twice", "origin", "    rungs: [] ", "    rungs: [{name: 1080}, {name: 1080}] #", "",
			`streams[0].rungs: "1080" is there twice: give each its own name`,
		},
		{
			"a first rung with a port", "origin", "    rungs: [] ", "    rungs: [{name: 1080, udp: {port: 5001, from: [192.0.2.7]}}] #", "",
			`streams[0].rungs[0].udp: the first rung comes by the stream's own udp: write it there`,
		},
		{
			"a first rung from a camera", "origin", "    rungs: [] ", "    rungs: [{name: 1080, pull: {url: rtsp://192.0.2.30/stream1}}] #", "",
			`streams[0].rungs[0].pull: the first rung comes by the stream's own pull: write it there`,
		},
		{
			"a rung by UDP from anybody", "origin", "    rungs: [] ", "    rungs: [{name: 1080}, {name: 720, udp: {port: 5001}}] #", "",
			`streams[0].rungs[1].udp.from is empty: write the IP addresses that may send, for MPEG-TS has no key`,
		},
		{
			"a rung from a web page", "origin", "    rungs: [] ", "    rungs: [{name: 1080}, {name: 720, pull: {url: 'http://192.0.2.30'}}] #", "",
			`streams[0].rungs[1].pull: url: write rtsp://HOST/PATH, or srt://HOST:PORT`,
		},
		{
			"a rung from a ladder and a camera", "origin", rungs, "    ladder: ffmpeg\n    rungs: [{name: 1080}, {name: 720, height: 720, bitrate: 2Mbit/s, pull: {url: rtsp://192.0.2.30/stream2}}]\n", "    rungs: [{name: 1080}",
			`streams[0].rungs[1].pull: the ladder makes this rung: remove one of both`,
		},
		{
			"a rung called backup", "origin", "    rungs: [] ", "    rungs: [{name: top}, {name: backup}] #", "",
			`streams[0].rungs: "backup" is taken: write another name`,
		},
		{
			"a ladder by nobody", "origin", "    ladder: none", "    ladder: gstreamer", "",
			`streams[0].ladder: "gstreamer" is neither: write none or ffmpeg`,
		},
		{
			"ffmpeg too nice", "origin", "  nice: 10", "  nice: 20", "",
			`ffmpeg.nice: 20 is out of bounds: write 1 to 19`,
		},
		{
			"secret is a folder", "relay", "pool_secret_file: pool.secret", "pool_secret_file: .", "",
			`pool_secret_file: DIR is no file: write the path of the file with the pool's secret`,
		},
		{
			"a parent without a port", "relay", "parents: []", "parents: [192.0.2.10]", "",
			`parents[0]: "192.0.2.10" is no address of a node: write one such as 192.0.2.10:8080 or http://192.0.2.10:8080`,
		},
		{
			"a parent with a path", "relay", "parents: []", "parents: [http://192.0.2.10/theatre]", "",
			`parents[0]: "http://192.0.2.10/theatre" is no address of a node: write one such as 192.0.2.10:8080 or http://192.0.2.10:8080`,
		},
		{
			"another file as authority key", "origin", "authority_key_file: authority.key", "authority_key_file: pool.secret", "",
			`authority_key_file: DIR/pool.secret is no private key in PEM: take the authority.key that "surgecast init" made`,
		},
		{
			"the sample's public key", "relay", "@authority", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "",
			`authority_public_key is still the sample's: take it from the relay.yaml that "surgecast init" made`,
		},
		{
			"media on a name server", "nameserver", "pool: surgecast", "capacity: 1Gbit/s", "",
			`there is no key "capacity" here: the keys are address, dir, dns, log, on_forecast, pool, pool_secret_file, ports, second_address, seeds, serve_viewers, zone`,
		},
		{
			"a name server without a zone", "nameserver", "zone: live.surgecast.test", "", "# surgecast nameserver",
			`zone is missing: write the name that is answered for, such as live.example.org`,
		},
		{
			"a name server that answers nothing", "nameserver", "  port: 53 ", "  port: 0 ", "",
			`dns.port can't be turned off on a name server: write 53`,
		},
		{
			"a name server without an address", "nameserver", "  name_servers: [] ", "  name_servers: [{name: ns1}] ", "",
			`dns.name_servers: name server ns1.live.surgecast.test. is within the zone and has no address`,
		},
		{
			"a hook of a name server", "nameserver", "  under: 300s", "  under: 2h", "",
			`on_forecast.under: 2h0m0s is out of bounds: write 1s to 1h`,
		},
		{
			"a name server anywhere", "nameserver", "  addresses: [] ", "  addresses: [auto] ", "",
			`dns.addresses[0] is no address: write one such as 192.0.2.53, or leave the list empty`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := newPoolDir(t, poolSettings{})
			file := filepath.Join(dir, test.role+".yaml")
			text := replaceIn(t, file, test.old, test.new)
			before, _, found := strings.Cut(text, cmp.Or(test.at, strings.TrimSpace(test.new)))
			if !found {
				t.Fatal("the line that is to be named is not in the file")
			}
			err := load(test.role, file)
			want := fmt.Sprintf("%s:%d: %s", file, 1+strings.Count(before, "\n"), strings.ReplaceAll(test.want, "DIR", dir))
			if err == nil || err.Error() != want {
				t.Errorf("\n got: %v\nwant: %s", err, want)
			}
			if configuration := (*configError)(nil); !errors.As(err, &configuration) {
				t.Error("the error names no place in the file")
			}
		})
	}
}

func load(role, file string) (err error) {
	switch role {
	case "origin":
		_, err = loadOriginConfig(file)
	case "nameserver":
		_, err = loadNameserverConfig(file)
	default:
		_, err = loadRelayConfig(file)
	}
	return err
}

// replaceIn changes a configuration; "@authority" stands for the public key in it.
func TestNamesNeedAZone(t *testing.T) {
	file := filepath.Join(newPoolDir(t, poolSettings{Zone: "live.example.org"}), "relay.yaml")
	replaceIn(t, file, "steering: addresses", "steering: names")
	if _, err := loadRelayConfig(file); err != nil {
		t.Error(err)
	}
	replaceIn(t, file, "zone: live.example.org", `zone: ""`)
	const want = "steering: names are names in the zone, and zone is empty: write the zone, or addresses here"
	if _, err := loadRelayConfig(file); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

func replaceIn(t testing.TB, file, old, new string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	if old == "@authority" {
		_, rest, _ := strings.Cut(text, "\nauthority_public_key: ")
		old, _, _ = strings.Cut(rest, "\n")
	}
	if strings.Count(text, old) == 0 {
		t.Fatalf("%q does not stand in %s", old, file)
	}
	text = strings.Replace(text, old, new, 1)
	writeFile(t, file, text, 0o600)
	return text
}

func TestNoConfig(t *testing.T) {
	err := load("relay", "nowhere.yaml")
	want := `there is no nowhere.yaml: make one with "surgecast init DIR", or name yours with --config`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// TestExitStatus holds that a configuration that is not there is as wrong as
// one that can't be read.
func TestExitStatus(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "wrong.yaml"), "wibble: 1\n", 0o600)
	for _, test := range []struct {
		arguments string
		want      int
	}{
		{"origin --config DIR/nowhere.yaml", exitUsage},
		{"relay --config DIR/nowhere.yaml", exitUsage},
		{"relay --config DIR", exitUsage},
		{"relay --config DIR/wrong.yaml/relay.yaml", exitUsage},
		{"origin --config DIR/wrong.yaml", exitUsage},
		{"origin --wibble", exitUsage},
		{"status --dir DIR", exitFailed},
		{"version", 0},
	} {
		if got := run(strings.Fields(strings.ReplaceAll(test.arguments, "DIR", dir))); got != test.want {
			t.Errorf("%s: exit status %d, want %d", test.arguments, got, test.want)
		}
	}
}

// FuzzConfig holds that no text panics and that each error names a line.
func FuzzConfig(f *testing.F) {
	f.Add(configs.Origin)
	f.Add(configs.Relay)
	f.Add(configs.Nameserver)
	f.Add("a: &x [*x]\n")
	f.Add("ports: !!binary |\n  x\n---\n")
	f.Add("<<: {a: b}\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDocument("x.yaml", []byte(text))
		if err == nil {
			c := defaultOriginConfig()
			err = d.decode(&c)
		}
		if configuration := (*configError)(nil); err != nil && (!errors.As(err, &configuration) || configuration.Line < 1) {
			t.Errorf("%q: error without a place: %v", text, err)
		}
	})
}
