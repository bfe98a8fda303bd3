package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"surgecast/origin"
)

// ingest is a listener for encoders.
type ingest struct {
	name string
	ingestListener
}

type ingestListener interface {
	Addr() net.Addr
	Run(ctx context.Context) error
}

// listenIngest opens the listeners that are turned on, so that a port in use is
// said before anything runs.
func (o *originNode) listenIngest() error {
	c := o.config
	add := func(name string, port Port, open func(address string) (ingestListener, error)) error {
		if port == 0 {
			return nil
		}
		one, err := open(o.at(port))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		o.ingest = append(o.ingest, ingest{name, one})
		return nil
	}
	rtmp := func(secure *tls.Config) func(string) (ingestListener, error) {
		return func(address string) (ingestListener, error) {
			return origin.NewRTMP(origin.RTMPConfig{Listen: address, TLS: secure, Gate: o.gate, Logger: o.log})
		}
	}
	err := add("rtsp", c.RTSP.Port, func(address string) (ingestListener, error) {
		return origin.NewRTSP(origin.RTSPConfig{
			Listen: address, UDPRTP: o.at(c.RTSP.RTPPort), UDPRTCP: o.at(c.RTSP.RTCPPort), Gate: o.gate, Logger: o.log,
		})
	})
	if err != nil {
		return err
	}
	if err := add("rtmp", c.RTMP.Port, rtmp(nil)); err != nil {
		return err
	}
	if o.tls != nil {
		// Encoders speak neither of the viewers' protocols, and get no tickets.
		secure := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: o.tls.Config().GetCertificate}
		if err := add("rtmps", c.RTMP.TLSPort, rtmp(secure)); err != nil {
			return err
		}
	}
	err = add("srt", c.SRT.Port, func(address string) (ingestListener, error) {
		return origin.NewSRT(origin.SRTConfig{
			Listen: address, Passphrase: c.SRT.Passphrase, Latency: time.Duration(c.SRT.Latency), Gate: o.gate, Logger: o.log,
		})
	})
	if err != nil {
		return err
	}
	for _, s := range c.Streams {
		err := add("udp "+s.Name, s.UDP.Port, func(address string) (ingestListener, error) {
			return origin.NewUDP(origin.UDPConfig{
				Listen: address, From: s.UDP.from(), Stream: s.Name, Key: s.PublishKey, Gate: o.gate, Logger: o.log,
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}
