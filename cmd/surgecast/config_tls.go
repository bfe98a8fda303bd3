package main

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"surgecast/relay"
)

const defaultTLSPort = 8443

// TLSConfig is where a node serves viewers by HTTPS, HTTP/2 and HTTP/1.1.
type TLSConfig struct {
	// Port takes players by HTTPS, beside ports.viewers. 0 turns it off, and so
	// does an empty cert_file. Default 8443.
	Port Port `yaml:"port"`

	// CertFile names the file with the certificate in PEM, followed by those
	// between it and the root. It may change while the node runs. Default none.
	CertFile string `yaml:"cert_file"`

	// KeyFile names the file with the certificate's key in PEM.
	KeyFile string `yaml:"key_file"`
}

// On tells whether there is a secure listener.
func (c TLSConfig) On() bool { return c.Port != 0 && c.CertFile != "" }

func (c *TLSConfig) complete(d *document, ports PortsConfig) error {
	if !c.On() {
		if c.Port != 0 && c.KeyFile != "" {
			return d.at(place("tls", "key_file"), "tls.cert_file is missing beside tls.key_file: it names the file with the certificate")
		}
		return nil
	}
	for key, port := range map[string]Port{"viewers": ports.Viewers, "gossip": ports.Gossip, "api": ports.API} {
		if port == c.Port {
			return d.at(place("tls", "port"), "tls.port: %d is ports.%s already: choose another", c.Port, key)
		}
	}
	return d.certificate("tls", &c.CertFile, &c.KeyFile)
}

// EncoderTLSConfig is the certificate that encoders get to see.
type EncoderTLSConfig struct {
	// CertFile and KeyFile are as those of tls, whose are used when both are
	// empty. Default none.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

func (c *EncoderTLSConfig) complete(d *document) error {
	switch {
	case c.CertFile != "":
		return d.certificate("encoder_tls", &c.CertFile, &c.KeyFile)
	case c.KeyFile != "":
		return d.at(place("encoder_tls", "key_file"), "encoder_tls.cert_file is missing beside encoder_tls.key_file: it names the file with the certificate")
	}
	return nil
}

// certificate checks the two files that a section names, and makes their paths
// whole.
func (d *document) certificate(section string, certFile, keyFile *string) error {
	cert, key := place(section, "cert_file"), place(section, "key_file")
	if *keyFile == "" {
		return d.at(cert, "%[1]s.key_file is missing beside %[1]s.cert_file: it names the file with the certificate's key", section)
	}
	var err error
	if *certFile, err = d.readable(cert, *certFile, "the certificate"); err != nil {
		return err
	}
	if *keyFile, err = d.readable(key, *keyFile, "the certificate's key"); err != nil {
		return err
	}
	// A group that may read keys is usual; everyone is not.
	if info, err := os.Stat(*keyFile); err == nil && info.Mode().Perm()&0o007 != 0 {
		return d.at(key, "%s.key_file: %s can be read by everyone (mode %04o): run \"chmod o-rwx %s\"", section, *keyFile, info.Mode().Perm(), *keyFile)
	}
	if _, err := relay.ReadCertificate(*certFile, *keyFile); err != nil {
		return d.at(cert, "%s.cert_file: %v: take the certificate in PEM, and the key that it was made with", section, err)
	}
	return nil
}

// readable returns the path of a file that the key at p names, when it is there
// and may be read. what says in words what it holds.
func (d *document) readable(p []any, name, what string) (string, error) {
	key, path := pathText(p), d.beside(name)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", d.at(p, "%s: there is no %s: put %s there, or write the path where it is", key, path, what)
	case err != nil:
		return "", d.at(p, "%s: %v", key, err)
	case !info.Mode().IsRegular():
		return "", d.at(p, "%s: %s is no file: write the path of the file with %s", key, path, what)
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return "", d.at(p, "%s: this user may not read %s: give it the right to", key, path)
	}
	if err != nil {
		return "", d.at(p, "%s: %v", key, err)
	}
	return path, file.Close()
}

// LimitsConfig bounds the connections of viewers and relays, on both listeners
// together. What the limit of file descriptors leaves bounds them too.
type LimitsConfig struct {
	// Connections is how many there can be. At the limit the newest gets 503,
	// and the longest idle ones are closed. Default 50000.
	Connections Count `yaml:"connections"`

	// PerAddress is how many there can be from one IPv4 address or one IPv6 /64
	// network; a proxy on this machine (loopback) has no such limit. Thousands
	// of people are behind one address of a mobile network. Default 4096.
	PerAddress Count `yaml:"per_address"`
}

// Count is a number of things.
type Count int

// maxCount is more than one machine can have of anything.
const maxCount = 10_000_000

// UnmarshalText reads a count.
func (c *Count) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(strings.ReplaceAll(string(text), "_", ""))
	if err != nil || n < 1 || n > maxCount {
		return errors.New(strconv.Quote(string(text)) + " is no count: write a number from 1 to " + strconv.Itoa(maxCount))
	}
	*c = Count(n)
	return nil
}
