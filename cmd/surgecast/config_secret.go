package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// Bounds of a secret: fewer bytes can be guessed, more are no secret of ours.
const (
	minSecretBytes = 16
	maxSecretBytes = 16 << 10
)

// secret reads the file that the key at p names, and refuses one that others
// on this machine can read. what says in words which secret it is.
func (d *document) secret(p []any, name, what string) ([]byte, error) {
	text, err := d.password(p, name, what)
	if err == nil && len(text) < minSecretBytes {
		return nil, d.at(p, "%s: %s holds %d letters: a secret has at least %d (\"surgecast init\" makes one)", pathText(p), d.beside(name), len(text), minSecretBytes)
	}
	return text, err
}

// password is as secret, of any length: others have chosen it.
func (d *document) password(p []any, name, what string) ([]byte, error) {
	key := pathText(p)
	if name == "" {
		return nil, d.at(p, "%s is missing: it names the file with %s (\"surgecast init\" makes one)", key, what)
	}
	file := d.beside(name)
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, d.at(p, "%s: there is no %s: put %s there, or write the path where it is", key, file, what)
	case err != nil:
		return nil, d.at(p, "%s: %v", key, err)
	case !info.Mode().IsRegular():
		return nil, d.at(p, "%s: %s is no file: write the path of the file with %s", key, file, what)
	case info.Mode().Perm()&0o077 != 0:
		return nil, d.at(p, "%s: %s can be read by others (mode %04o): run \"chmod 600 %s\"", key, file, info.Mode().Perm(), file)
	case info.Size() > maxSecretBytes:
		return nil, d.at(p, "%s: %s is too large to be %s", key, file, what)
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrPermission) {
		return nil, d.at(p, "%s: this user may not read %s: start surgecast as the file's owner", key, file)
	}
	if err != nil {
		return nil, d.at(p, "%s: %v", key, err)
	}
	return bytes.TrimSpace(text), nil
}

// authorityKey reads the private key that signs what changes the programme.
func (d *document) authorityKey(p []any, name string) (ed25519.PrivateKey, error) {
	text, err := d.secret(p, name, "the authority's private key")
	if err != nil {
		return nil, err
	}
	key, err := parseAuthorityKey(text)
	if err != nil {
		return nil, d.at(p, "%s: %s %v", pathText(p), d.beside(name), err)
	}
	return key, nil
}

func parseAuthorityKey(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("is no private key in PEM: take the authority.key that \"surgecast init\" made")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("holds a damaged private key: take the authority.key that \"surgecast init\" made")
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("holds a key of another kind: the authority's is Ed25519, as \"surgecast init\" makes it")
	}
	return key, nil
}

// authorityPEM is what parseAuthorityKey reads.
func authorityPEM(key ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode authority key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// pathText writes a place as a reader knows it: streams[0].name.
func pathText(p []any) string {
	text := ""
	for _, step := range p {
		if i, ok := step.(int); ok {
			text += fmt.Sprintf("[%d]", i)
		} else {
			text = join(text, fmt.Sprint(step))
		}
	}
	return text
}
