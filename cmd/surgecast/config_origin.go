package main

import (
	"crypto/ed25519"
	"regexp"
	"time"

	"surgecast/origin"
	"surgecast/relay"
)

// OriginConfig is origin.yaml. configs/origin.yaml is the sample with all keys.
type OriginConfig struct {
	NodeConfig

	// AuthorityKeyFile names the file with the private key that signs the
	// catalogue. Required; on the origin only, never on a relay's image.
	AuthorityKeyFile string `yaml:"authority_key_file"`

	// ServeViewers says when the origin serves viewers itself instead of
	// sending them to a relay: when_pool_empty, always or never. Default
	// when_pool_empty.
	ServeViewers ServeViewers `yaml:"serve_viewers"`

	// Window is how far back viewers can go in the live playlist. Default 60s.
	Window Duration `yaml:"window"`

	// RTSP is where encoders push.
	RTSP RTSPConfig `yaml:"rtsp"`

	// RTMP is where encoders push that know no RTSP, such as OBS.
	RTMP RTMPConfig `yaml:"rtmp"`

	// SRT is where encoders push over lines that lose packets.
	SRT SRTConfig `yaml:"srt"`

	// EncoderTLS is the certificate for encoders that come by TLS. Default that
	// of tls, so that none of both turns TLS for encoders off.
	EncoderTLS EncoderTLSConfig `yaml:"encoder_tls"`

	// DNS answers for the zone. Default off: name servers belong on hosts of
	// their own, so that a flood of questions does not take the ingest's link.
	DNS DNSConfig `yaml:"dns"`

	// OnForecast is what is run when the pool will soon be full. Default off.
	OnForecast HookConfig `yaml:"on_forecast"`

	// FFmpeg makes the ladders of the streams that ask for it.
	FFmpeg FFmpegConfig `yaml:"ffmpeg"`

	// Streams are what encoders may publish. At least one.
	Streams []StreamConfig `yaml:"streams"`

	// AuthorityKey is read from AuthorityKeyFile.
	AuthorityKey ed25519.PrivateKey
}

// StreamConfig is one stream.
type StreamConfig struct {
	// Name is the first element of the stream's URLs, and of the RTSP URL that
	// its encoder pushes to: 1 to 64 of a-z, 0-9 and "-". Required.
	Name string `yaml:"name"`

	// PublishKeyFile names the file with the key that its encoder must give.
	// Required.
	PublishKeyFile string `yaml:"publish_key_file"`

	// Broadcasters have keys of their own to the stream, so that one can be
	// taken back and the log says who came. Default none.
	Broadcasters []BroadcasterConfig `yaml:"broadcasters"`

	// Pull is a camera or recorder that the stream is fetched from. Default none.
	Pull PullConfig `yaml:"pull"`

	// Backup is a camera or recorder that the stream's backup input is fetched
	// from. Default none: it is pushed to NAME/backup, or there is none.
	Backup PullConfig `yaml:"backup"`

	// SameKey says which of two encoders publishes that come to the stream with
	// its key, or with those of two broadcasters: newest_wins, or refuse, which
	// refuses the newer one while the older one sends. Default newest_wins.
	SameKey SameKey `yaml:"same_key"`

	// OnLoss says what viewers get while nobody publishes, once somebody has: gap;
	// slate, a picture that says so, else gap; or stand, where nothing is added and
	// players wait. Default gap.
	OnLoss OnLoss `yaml:"on_loss"`

	// UDP takes the stream by MPEG-TS over UDP, which knows no key. Default off.
	UDP UDPConfig `yaml:"udp"`

	// TargetDuration is the length that no segment exceeds, in whole seconds.
	// It can't be changed while a stream runs. Default 2s.
	TargetDuration Duration `yaml:"target_duration"`

	// Part is the length of a part, which viewers are about three of behind.
	// Default 225ms: it has a whole number of frames at each usual frame rate.
	Part Duration `yaml:"part"`

	// DVR is how long viewers can look back beside the live window: up to 24h.
	// Media are kept on disk for it, within dvr_bytes. Default 0s: not at all.
	DVR Duration `yaml:"dvr"`

	// Audio says where a single audio track goes: muxed, into the rendition of
	// the pictures, which halves each viewer's requests; or separate, into one of
	// its own. Several always get one each. Default muxed.
	Audio AudioMode `yaml:"audio"`

	// Languages are those of the audio tracks in the encoder's order, such as
	// [de, en]. Default none: they are called audio-0, audio-1, …
	Languages []string `yaml:"languages"`

	// Rungs are the renditions of the picture, the best one, which has the sound,
	// first. Default none: there is one, main.
	Rungs []RungConfig `yaml:"rungs"`

	// Ladder says what makes the rungs below the first: none, so that encoders
	// push them, or ffmpeg. Default none.
	Ladder LadderBy `yaml:"ladder"`

	// PublishKey is read from PublishKeyFile.
	PublishKey string
}

// BroadcasterConfig is a broadcaster with a key to a stream.
type BroadcasterConfig struct {
	// Name is what the log calls it: a-z, 0-9 and "-". Required.
	Name string `yaml:"name"`

	// KeyFile names the file with its key. Required. No two keys to a stream may
	// be the same; a broadcaster may have one to several streams.
	KeyFile string `yaml:"key_file"`

	// Key is read from KeyFile.
	Key string
}

func defaultOriginConfig() OriginConfig {
	shared := defaultNodeConfig()
	shared.Drain = Duration(2 * time.Second) // for the relays to hear of it
	return OriginConfig{
		NodeConfig:   shared,
		ServeViewers: ServeWhenPoolEmpty,
		OnForecast:   defaultHookConfig(),
		FFmpeg:       FFmpegConfig{Path: "ffmpeg", Nice: origin.DefaultNice},
		Window:       Duration(relay.DefaultWindow),
		RTSP:         RTSPConfig{Port: defaultRTSPPort, RTPPort: defaultRTPPort, RTCPPort: defaultRTCPPort, TLSPort: defaultRTSPSPort},
		SRT:          SRTConfig{Latency: Duration(origin.DefaultSRTLatency)},
		DNS:          defaultDNSConfig(),
	}
}

// loadOriginConfig reads file, fills in defaults and secrets, and checks all.
func loadOriginConfig(file string) (*OriginConfig, error) {
	d, err := readDocument(file)
	if err != nil {
		return nil, err
	}
	c := defaultOriginConfig()
	if err := d.decode(&c); err != nil {
		return nil, err
	}
	return &c, c.complete(d)
}

func (c *OriginConfig) complete(d *document) error {
	if err := c.NodeConfig.complete(d); err != nil {
		return err
	}
	var err error
	if c.AuthorityKey, err = d.authorityKey(place("authority_key_file"), c.AuthorityKeyFile); err != nil {
		return err
	}
	if w := time.Duration(c.Window); w < 12*time.Second || w > time.Hour {
		return d.at(place("window"), "window: %v is out of bounds: write 12s to 1h", w)
	}
	if err := c.EncoderTLS.complete(d); err != nil {
		return err
	}
	if err := c.completeIngest(d); err != nil {
		return err
	}
	if err := c.OnForecast.complete(d); err != nil {
		return err
	}
	if err := c.FFmpeg.complete(d); err != nil {
		return err
	}
	if err := c.DNS.complete(d, c.Zone); err != nil {
		return err
	}
	return c.completeStreams(d)
}

func (c *OriginConfig) completeStreams(d *document) error {
	if len(c.Streams) == 0 {
		return d.at(place("streams"), "streams is empty: write at least one \"- name: theatre\" with its publish_key_file")
	}
	defaults := relay.DefaultConstants()
	seen := make(map[string]bool)
	for i := range c.Streams {
		s := &c.Streams[i]
		if err := relay.ValidStream(s.Name); err != nil {
			return d.at(place("streams", i, "name"), "streams[%d].name: %v", i, err)
		}
		if seen[s.Name] {
			return d.at(place("streams", i, "name"), "streams[%d].name: there is a stream %s already: choose another name", i, s.Name)
		}
		seen[s.Name] = true
		if s.TargetDuration == 0 {
			s.TargetDuration = Duration(defaults.TargetDuration)
		}
		if s.Part == 0 {
			s.Part = Duration(defaults.PartTarget)
		}
		if err := s.constants().Validate(); err != nil {
			return d.at(place("streams", i), "streams[%d]: %v", i, err)
		}
		if dvr := time.Duration(s.DVR); dvr != 0 && (dvr < leastDVR || dvr > relay.MaxDVR) {
			return d.at(place("streams", i, "dvr"), "streams[%d].dvr: %v is out of bounds: write 1m to 24h, or 0s to turn it off", i, dvr)
		}
		for n, language := range s.Languages {
			if !languageForm.MatchString(language) {
				return d.at(place("streams", i, "languages", n), "streams[%d].languages[%d]: %q is no language: write de, en or pt-BR", i, n, language)
			}
		}
		key, err := d.secret(place("streams", i, "publish_key_file"), s.PublishKeyFile, "the key that the encoder gives")
		if err != nil {
			return err
		}
		s.PublishKey = string(key)
		if err := s.completeBroadcasters(d, i); err != nil {
			return err
		}
		if err := s.completeRungs(d, i); err != nil {
			return err
		}
		if err := s.UDP.complete(d, place("streams", i, "udp")); err != nil {
			return err
		}
		if err := s.Pull.complete(d, place("streams", i, "pull")); err != nil {
			return err
		}
		if err := s.Backup.complete(d, place("streams", i, "backup")); err != nil {
			return err
		}
	}
	return nil
}

// completeBroadcasters reads the keys of the stream number i.
func (s *StreamConfig) completeBroadcasters(d *document, i int) error {
	whose := map[string]string{s.PublishKey: "the stream itself"}
	names := map[string]bool{}
	for n := range s.Broadcasters {
		b := &s.Broadcasters[n]
		at := func(key string) []any { return place("streams", i, "broadcasters", n, key) }
		if !broadcasterForm.MatchString(b.Name) || names[b.Name] {
			return d.at(at("name"), "streams[%d].broadcasters[%d].name: write 1 to 64 of a-z, 0-9 and \"-\", for each another one", i, n)
		}
		names[b.Name] = true
		key, err := d.secret(at("key_file"), b.KeyFile, "the key of broadcaster "+b.Name)
		if err != nil {
			return err
		}
		b.Key = string(key)
		if other := whose[b.Key]; other != "" {
			return d.at(at("key_file"), "streams[%d].broadcasters[%d].key_file: %s has the same key as %s: give each its own", i, n, b.Name, other)
		}
		whose[b.Key] = b.Name
	}
	return nil
}

// broadcasterForm is that of a name in the log and in status.
var broadcasterForm = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// broadcasterKeys are the keys of the broadcasters by their names.
func (s StreamConfig) broadcasterKeys() map[string]string {
	keys := make(map[string]string, len(s.Broadcasters))
	for _, b := range s.Broadcasters {
		keys[b.Name] = b.Key
	}
	return keys
}

// leastDVR is the shortest long list that is worth a file.
const leastDVR = time.Minute

// languageForm is that of RFC 5646, as far as a playlist needs it.
var languageForm = regexp.MustCompile(`^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$`)

func (s StreamConfig) constants() relay.Constants {
	return relay.ConstantsFor(time.Duration(s.TargetDuration), time.Duration(s.Part))
}
