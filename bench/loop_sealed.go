package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// sealed is the TLS of a line. Deciphering costs a load what ciphering costs the
// server, and a load that is as busy as the server must ask over so few
// connections that it is the waking for each single request that is measured.
// So a record of a body that nobody wants is counted by its length and left as
// it is; what stands in front of bodies is read.
type sealed struct {
	in, out direction
	begun   []byte // a record that has not come whole, when it is to be read
	skip    int    // bytes still to come of a record that is not
	skipped int    // and what it has of the body
}

// direction is one of the two streams of records of a connection.
type direction struct {
	aead   cipher.AEAD
	iv     [12]byte
	number uint64 // of the next record
	record []byte // made last
}

// What a record has beside what it carries: TLS 1.3, no padding.
const (
	recordHead = 5
	recordTail = 1 + 16 // the kind, AES-GCM's tag
	recordMost = recordHead + 16<<10 + 256
)

// Kinds of records.
const (
	recordHandshake = 22
	recordData      = 23
)

var errRecord = errors.New("not a record of TLS 1.3")

// handshakePatience bounds each wait of a handshake.
const handshakePatience = 5 * time.Second

// secure agrees on TLS 1.3 with AES-128-GCM and X25519, which every server has:
// one that offered more would pay for it. No request may have been made.
func (c *line) secure() error {
	var secrets strings.Builder
	patience := unix.NsecToTimeval(int64(handshakePatience))
	err := errors.Join(unix.SetNonblock(c.fd, false), unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience))
	if err != nil {
		return fmt.Errorf("prepare a handshake: %w", err)
	}
	conn := tls.Client(blockingConn{fd: c.fd}, &tls.Config{
		MinVersion:         tls.VersionTLS13,
		CurvePreferences:   []tls.CurveID{tls.X25519},
		InsecureSkipVerify: true, // it is ours, made a moment ago
		KeyLogWriter:       &secrets,
	})
	if err := conn.Handshake(); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	if suite := conn.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		return fmt.Errorf("the server chose %s", tls.CipherSuiteName(suite))
	}
	var s sealed
	err = errors.Join(
		s.out.open("CLIENT_TRAFFIC_SECRET_0", secrets.String()),
		s.in.open("SERVER_TRAFFIC_SECRET_0", secrets.String()),
		unix.SetNonblock(c.fd, true))
	c.sealed = &s
	return err
}

// open takes the key of a direction out of what the handshake has logged.
func (d *direction) open(label, log string) error {
	_, rest, _ := strings.Cut(log, label+" ")
	line, _, _ := strings.Cut(rest, "\n")
	_, text, _ := strings.Cut(line, " ")
	secret, err := hex.DecodeString(text)
	if err != nil || len(secret) != sha256.Size {
		return fmt.Errorf("read %s of the handshake: %w", label, errRecord)
	}
	key, err := expand(secret, "key", 16)
	if err != nil {
		return err
	}
	iv, err := expand(secret, "iv", len(d.iv))
	if err != nil {
		return err
	}
	copy(d.iv[:], iv)
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	d.aead, err = cipher.NewGCM(block)
	return err
}

// expand is HKDF-Expand-Label of RFC 8446 7.1 with an empty context.
func expand(secret []byte, label string, size int) ([]byte, error) {
	label = "tls13 " + label
	info := string([]byte{byte(size >> 8), byte(size), byte(len(label))}) + label + "\x00"
	return hkdf.Expand(sha256.New, secret, info, size)
}

// nonce is that of the next record.
func (d *direction) nonce() (nonce [12]byte) {
	nonce = d.iv
	number := binary.BigEndian.Uint64(nonce[4:]) ^ d.number
	binary.BigEndian.PutUint64(nonce[4:], number)
	d.number++
	return nonce
}

// seal makes a record of data, which is valid until the next one is made.
func (d *direction) seal(data []byte) []byte {
	nonce := d.nonce()
	data = append(data, recordData)
	size := len(data) + recordTail - 1
	d.record = append(d.record[:0], recordData, 3, 3, byte(size>>8), byte(size))
	d.record = d.aead.Seal(d.record, nonce[:], data, d.record[:recordHead])
	return d.record
}

// unseal reads a whole record in its place.
func (d *direction) unseal(record []byte) (data []byte, kind byte, err error) {
	nonce := d.nonce()
	data, err = d.aead.Open(record[recordHead:recordHead], nonce[:], record[recordHead:], record[:recordHead])
	if err != nil || len(data) == 0 {
		return nil, 0, errRecord
	}
	last := len(data) - 1
	return data[:last], data[last], nil
}

// readSealed takes what has come.
func (c *line) readSealed() error {
	for {
		buffer := c.loop.buffer
		begun := copy(buffer, c.sealed.begun)
		n, err := unix.Read(c.fd, buffer[begun:])
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
			return nil
		case err != nil:
			return fmt.Errorf("read an answer: %w", err)
		case n == 0:
			return errClosed
		}
		c.sealed.begun = c.sealed.begun[:0]
		if err := c.takeSealed(buffer[:begun+n]); err != nil {
			return err
		}
		if c.fd < 0 || c.left == 0 {
			return nil // a new answer comes with a new event
		}
	}
}

// takeSealed goes on with an answer.
func (c *line) takeSealed(b []byte) error {
	s := c.sealed
	if s.skip > 0 {
		n := min(s.skip, len(b))
		if b, s.skip = b[n:], s.skip-n; s.skip > 0 {
			return nil
		}
		c.count(s.skipped)
	}
	for len(b) >= recordHead && c.fd >= 0 {
		size := recordHead + int(b[3])<<8 + int(b[4])
		if size < recordHead+recordTail || size > recordMost {
			return errRecord
		}
		switch {
		case b[0] == recordData && c.left > 0 && !c.keep:
			carried := size - recordHead - recordTail
			if carried > c.left {
				return errLonger
			}
			s.in.number++
			if size > len(b) {
				s.skip, s.skipped = size-len(b), carried
				return nil
			}
			c.count(carried)
		case size > len(b):
			s.begun = append(s.begun, b...)
			return nil
		default:
			data, kind, err := s.in.unseal(b[:size])
			switch {
			case err != nil:
				return err
			case kind == recordHandshake: // tickets for another session
			case kind != recordData:
				return errClosed
			default:
				if err := c.take(data); err != nil {
					return err
				}
			}
		}
		b = b[size:]
	}
	s.begun = append(s.begun, b...)
	return nil
}

// blockingConn is a descriptor that blocks, as much of a net.Conn as a handshake
// needs.
type blockingConn struct {
	net.Conn
	fd int
}

// Read implements net.Conn.
func (c blockingConn) Read(b []byte) (int, error) {
	n, err := unix.Read(c.fd, b)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return max(n, 0), err
}

// Write implements net.Conn.
func (c blockingConn) Write(b []byte) (int, error) {
	n, err := unix.Write(c.fd, b)
	return max(n, 0), err
}
