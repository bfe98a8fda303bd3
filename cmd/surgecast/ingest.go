package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"surgecast/origin"
	"surgecast/relay"
)

// originIngest is how streams come to an origin: pushed to a listener for each
// protocol, or pulled from cameras. All pass one gate.
type originIngest struct {
	encoders   *origin.Gate
	encoderTLS *relay.TLS // that of viewers or its own; nil without a certificate
	ownTLS     bool       // it has to be run here
	listeners  []ingest   // those that are turned on
	pulls      []*origin.Pull
	makers     []*origin.Ladder // of lower rungs
}

// ingest is a listener for encoders.
type ingest struct {
	name string
	ingestListener
}

type ingestListener interface {
	Addr() net.Addr
	Run(ctx context.Context) error
}

// openIngest makes what takes streams in; nothing is taken before runIngest.
func (o *originNode) openIngest() error {
	o.encoders = origin.NewGate(origin.GateConfig{Origin: o.origin, Logger: o.log})
	o.node.feeds, o.node.shown, o.node.rungs = o.encoders.Feeds, o.origin.Shown, o.origin.Rungs
	o.node.inputs = &inputMetrics{o.encoders.Feeds, o.origin.Switches}
	if err := o.openEncoderTLS(); err != nil {
		return err
	}
	if err := o.listenIngest(); err != nil {
		return err
	}
	if err := o.openLadders(); err != nil {
		return err
	}
	for _, s := range o.config.Streams {
		if err := o.openPull(s.Pull.origin(s.Name, "")); err != nil {
			return err
		}
		if err := o.openPull(s.Backup.origin(s.Name, string(origin.Backup))); err != nil {
			return err
		}
		for _, r := range s.Rungs {
			if err := o.openPull(r.Pull.origin(s.Name, r.Name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// openPull makes what fetches a stream or a branch of one, where there is a URL.
func (o *originNode) openPull(config origin.PullConfig) error {
	if config.URL == "" {
		return nil
	}
	config.Gate, config.Logger, config.CallSRT = o.encoders, o.log, callSRT
	pull, err := origin.NewPull(config)
	if err != nil {
		return fmt.Errorf("pull %s: %w", branchName(config.Stream, config.Branch), err)
	}
	o.pulls = append(o.pulls, pull)
	return nil
}

// openEncoderTLS takes the encoders' certificate, which is that of viewers
// unless they have their own.
func (o *originNode) openEncoderTLS() (err error) {
	own := o.config.EncoderTLS
	if own.CertFile == "" {
		o.encoderTLS = o.tls
		return nil
	}
	o.ownTLS = true
	o.encoderTLS, err = relay.NewTLS(relay.TLSConfig{CertFile: own.CertFile, KeyFile: own.KeyFile, Secret: o.config.PoolSecret, Logger: o.log})
	return err
}

// runIngest runs all of it in the group until ctx ends.
func (o *originNode) runIngest(ctx context.Context, group *errgroup.Group) {
	if o.ownTLS {
		group.Go(func() error { return o.encoderTLS.Run(ctx, nil) }) // looks at its files by itself
	}
	for _, one := range o.listeners {
		group.Go(func() error { return one.Run(ctx) })
	}
	for _, pull := range o.pulls {
		group.Go(func() error { return pull.Run(ctx) })
	}
	for _, ladder := range o.makers {
		group.Go(func() error { return ladder.Run(ctx) })
	}
}

// openLadders makes what makes rungs.
func (o *originNode) openLadders() error {
	for i := range o.config.Streams {
		s := &o.config.Streams[i]
		if s.Ladder != LadderFFmpeg {
			continue
		}
		config := s.ladder(o.config.FFmpeg)
		config.Origin, config.Gate, config.Logger = o.origin, o.encoders, o.log
		ladder, err := origin.NewLadder(config)
		if err != nil {
			return fmt.Errorf("ladder of %s: %w", s.Name, err)
		}
		o.makers = append(o.makers, ladder)
	}
	o.node.ladders = func() (all []origin.LadderStatus) {
		for _, l := range o.makers {
			all = append(all, l.Status())
		}
		return all
	}
	return nil
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
		o.listeners = append(o.listeners, ingest{name, one})
		return nil
	}
	rtmp := func(secure *tls.Config) func(string) (ingestListener, error) {
		return func(address string) (ingestListener, error) {
			return origin.NewRTMP(origin.RTMPConfig{Listen: address, TLS: secure, Gate: o.encoders, Logger: o.log})
		}
	}
	err := add("rtsp", c.RTSP.Port, func(address string) (ingestListener, error) {
		return origin.NewRTSP(origin.RTSPConfig{
			Listen: address, UDPRTP: o.at(c.RTSP.RTPPort), UDPRTCP: o.at(c.RTSP.RTCPPort), Gate: o.encoders, Logger: o.log,
		})
	})
	if err != nil {
		return err
	}
	if err := add("rtmp", c.RTMP.Port, rtmp(nil)); err != nil {
		return err
	}
	if o.encoderTLS != nil {
		// Encoders speak neither of the viewers' protocols, and get no tickets.
		secure := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: o.encoderTLS.Config().GetCertificate}
		err := add("rtsps", c.RTSP.TLSPort, func(address string) (ingestListener, error) {
			return origin.NewRTSP(origin.RTSPConfig{Listen: address, TLS: secure, Gate: o.encoders, Logger: o.log})
		})
		if err != nil {
			return err
		}
		if err := add("rtmps", c.RTMP.TLSPort, rtmp(secure)); err != nil {
			return err
		}
	}
	err = add("srt", c.SRT.Port, func(address string) (ingestListener, error) {
		return origin.NewSRT(origin.SRTConfig{
			Listen: address, Passphrase: c.SRT.Passphrase, Latency: time.Duration(c.SRT.Latency), Gate: o.encoders, Logger: o.log,
		})
	})
	if err != nil {
		return err
	}
	udp := func(s *StreamConfig, branch string, from *UDPConfig) error {
		return add("udp "+branchName(s.Name, branch), from.Port, func(address string) (ingestListener, error) {
			return origin.NewUDP(origin.UDPConfig{
				Listen: address, From: from.from(), Stream: s.Name, Branch: branch, Key: s.PublishKey, Gate: o.encoders, Logger: o.log,
			})
		})
	}
	for i := range c.Streams {
		s := &c.Streams[i]
		if err := udp(s, "", &s.UDP); err != nil {
			return err
		}
		for n := range s.Rungs {
			if err := udp(s, s.Rungs[n].Name, &s.Rungs[n].UDP); err != nil {
				return err
			}
		}
	}
	return nil
}

// branchName is what people call a stream, or a branch of one.
func branchName(stream, branch string) string {
	if branch == "" {
		return stream
	}
	return stream + "/" + branch
}
