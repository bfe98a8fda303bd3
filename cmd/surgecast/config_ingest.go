package main

import (
	"net/netip"
	"time"

	"surgecast/origin"
)

// How encoders reach an origin.

// RTSPConfig is the RTSP listener of an origin.
type RTSPConfig struct {
	// Port takes ANNOUNCE and RECORD, and the media when it comes by TCP.
	// 0 turns RTSP off. Default 8554.
	Port Port `yaml:"port"`

	// RTPPort and RTCPPort take media by UDP: an even port and the next one.
	// Default 8000 and 8001.
	RTPPort  Port `yaml:"rtp_port"`
	RTCPPort Port `yaml:"rtcp_port"`

	// TLSPort takes RTSPS, with the media in the same connection. 0 turns it
	// off, and so does the lack of a certificate. Default 8322.
	TLSPort Port `yaml:"tls_port"`
}

// RTMPConfig are the RTMP listeners of an origin.
type RTMPConfig struct {
	// Port takes streams by RTMP, which sends keys and media in the clear. 0
	// turns it off. Default 0; 1935 is usual.
	Port Port `yaml:"port"`

	// TLSPort takes them by RTMPS, with the encoders' certificate. 0 turns it
	// off. Default 0; 1936 is usual.
	TLSPort Port `yaml:"tls_port"`
}

// SRTConfig is the SRT listener of an origin.
type SRTConfig struct {
	// Port takes streams by SRT (UDP), with the stream id publish:STREAM:KEY
	// or publish:STREAM/BRANCH:KEY. 0 turns it off. Default 0; 8890 is usual.
	Port Port `yaml:"port"`

	// PassphraseFile names the file with the passphrase that encrypts all that
	// comes. Default none: nothing is encrypted, and who does so is refused.
	PassphraseFile string `yaml:"passphrase_file"`

	// Latency is how long lost packets may take to come again: 20ms to 8s.
	// Default 200ms.
	Latency Duration `yaml:"latency"`

	// Passphrase is read from PassphraseFile.
	Passphrase string
}

// UDPConfig is where one stream, or one rung of it, comes by MPEG-TS over UDP.
type UDPConfig struct {
	// Port takes the datagrams. 0 turns it off. Default 0; 5000 is usual, and
	// each stream needs its own.
	Port Port `yaml:"port"`

	// From are the IP addresses that are heard, since there is no key. At least
	// one where there is a port.
	From []Address `yaml:"from"`
}

// completeIngest reads the secrets of the listeners and checks all.
func (c *OriginConfig) completeIngest(d *document) error {
	if rtsp := c.RTSP; rtsp.Port != 0 && (rtsp.RTPPort%2 != 0 || rtsp.RTCPPort != rtsp.RTPPort+1) {
		return d.at(place("rtsp", "rtp_port"), "rtsp.rtp_port must be even and rtsp.rtcp_port the next one: write 8000 and 8001")
	}
	if c.RTMP.TLSPort != 0 && !c.TLS.On() && c.EncoderTLS.CertFile == "" {
		return d.at(place("rtmp", "tls_port"), "rtmp.tls_port needs a certificate: set encoder_tls.cert_file or that of tls, or write 0")
	}
	if latency := time.Duration(c.SRT.Latency); latency < 20*time.Millisecond || latency > 8*time.Second {
		return d.at(place("srt", "latency"), "srt.latency: %v is out of bounds: write 20ms to 8s", latency)
	}
	if c.SRT.PassphraseFile == "" {
		return nil
	}
	passphrase, err := d.secret(place("srt", "passphrase_file"), c.SRT.PassphraseFile, "SRT's passphrase")
	if err != nil {
		return err
	}
	if len(passphrase) > origin.MaxSRTPassphrase {
		return d.at(place("srt", "passphrase_file"), "srt.passphrase_file: it holds %d letters: SRT takes %d at most", len(passphrase), origin.MaxSRTPassphrase)
	}
	c.SRT.Passphrase = string(passphrase)
	return nil
}

// complete checks the keys; here is where they stand.
func (c *UDPConfig) complete(d *document, here []any) error {
	if c.Port != 0 && len(c.From) == 0 {
		at := under(here, "from")
		return d.at(at, "%s is empty: write the IP addresses that may send, for MPEG-TS has no key", pathText(at))
	}
	return nil
}

// from are the addresses that are heard.
func (c *UDPConfig) from() (all []netip.Addr) {
	for _, address := range c.From {
		all = append(all, address.Unmap())
	}
	return all
}
