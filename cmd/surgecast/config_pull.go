package main

import (
	"time"

	"surgecast/origin"
)

// PullConfig is a camera or recorder that is asked for a stream by RTSP, or called
// by SRT.
type PullConfig struct {
	// URL is rtsp:// or rtsps://, without user and password, or srt://HOST:PORT.
	// Default none: the stream is pushed.
	URL string `yaml:"url"`

	// User is who the camera knows. Default none: it asks for nobody.
	User string `yaml:"user"`

	// PasswordFile names the file with the user's password.
	PasswordFile string `yaml:"password_file"`

	// Transport is auto (UDP, and TCP when nothing comes that way), tcp or udp.
	// Default auto.
	Transport string `yaml:"transport"`

	// StreamID is what an SRT listener is asked for. Default none.
	StreamID string `yaml:"stream_id"`

	// PassphraseFile names the file with SRT's passphrase. Default none: nothing
	// is encrypted.
	PassphraseFile string `yaml:"passphrase_file"`

	// Latency is how long packets that were lost by SRT may take to come again:
	// 20ms to 8s. Default 200ms, for SRT.
	Latency Duration `yaml:"latency"`

	// Password is read from PasswordFile, Passphrase from PassphraseFile.
	Password, Passphrase string
}

// On tells whether there is something to pull.
func (c PullConfig) On() bool { return c.URL != "" }

// origin is the configuration of the pull of a stream, or of a branch of it.
func (c PullConfig) origin(stream, branch string) origin.PullConfig {
	return origin.PullConfig{
		Stream: stream, Branch: branch, URL: c.URL, User: c.User, Password: c.Password, Transport: origin.PullTransport(c.Transport),
		StreamID: c.StreamID, Passphrase: c.Passphrase, Latency: time.Duration(c.Latency),
	}
}

// complete reads the secrets; here is where the keys stand.
func (c *PullConfig) complete(d *document, here []any) error {
	at := func(key string) []any { return under(here, key) }
	switch {
	case !c.On() && (c.User != "" || c.PasswordFile != ""):
		return d.at(at("url"), "%s is missing: it names the camera, such as rtsp://192.0.2.30/stream1", pathText(at("url")))
	case !c.On():
		return nil
	case c.User == "" && c.PasswordFile != "":
		return d.at(at("password_file"), "%s is missing beside %s", pathText(at("user")), pathText(at("password_file")))
	}
	if c.User != "" {
		password, err := d.password(at("password_file"), c.PasswordFile, "the camera's password")
		if err != nil {
			return err
		}
		c.Password = string(password)
	}
	if c.PassphraseFile != "" {
		passphrase, err := d.password(at("passphrase_file"), c.PassphraseFile, "SRT's passphrase")
		if err != nil {
			return err
		}
		c.Passphrase = string(passphrase)
	}
	if err := c.origin("", "").Check(); err != nil {
		return d.at(at("url"), "%s: %v", pathText(here), err)
	}
	return nil
}
