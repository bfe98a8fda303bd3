package relay

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// catalogueVersion is the form of Catalogue. A reader skips fields that it does
// not know, so it changes only when an old reader would do harm.
const catalogueVersion = 1

// Bounds of a catalogue that is taken from outside.
const (
	maxCatalogueBytes = 256 << 10
	maxStreams        = 256
)

// Catalogue is what the authority says of its streams. Whoever holds the pool
// secret can ask for it; only the authority's key can make one.
type Catalogue struct {
	Version int               `json:"version"`
	Serial  uint64            `json:"serial"` // grows with each change within an epoch
	Epoch   Epoch             `json:"epoch"`
	Issued  time.Time         `json:"issued"`
	Streams []CatalogueStream `json:"streams"`
}

// CatalogueStream is one stream of a catalogue.
type CatalogueStream struct {
	Name       string    `json:"name"`
	Renditions []string  `json:"renditions"`
	Constants  Constants `json:"constants"`
	Audience   string    `json:"audience,omitempty"`
	// Live tells that there is a multivariant playlist and a list for each
	// rendition, whether or not a feed comes in at this moment.
	Live bool `json:"live"`
	// Revision grows when the multivariant playlist changes.
	Revision uint64 `json:"revision"`
	// Window is how long the live list is, and so for how long caches may keep
	// media; 0, of an origin that does not tell: DefaultWindow.
	Window time.Duration `json:"window,omitempty"`
	// DVR is how long viewers can look back beside the live window; 0: not.
	DVR time.Duration `json:"dvr,omitempty"`
}

// Why a catalogue is not taken.
var (
	ErrCatalogue = errors.New("bad catalogue")
	ErrSignature = errors.New("the catalogue is not signed by this pool's authority key")
)

// signed is a message of the control channel, one line of JSON.
type signed struct {
	Version   int    `json:"v"`
	Payload   []byte `json:"payload"`
	Signature []byte `json:"sig"`
}

// signingContext stands before what is signed, so that a signature can't be
// taken for one of another kind of message.
const signingContext = "surgecast catalogue 1\n"

// Sign returns the catalogue as a line of the control channel, with its "\n".
func (c Catalogue) Sign(key ed25519.PrivateKey) ([]byte, error) {
	c.Version = catalogueVersion
	payload, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode catalogue: %w", err)
	}
	line, err := json.Marshal(signed{
		Version:   catalogueVersion,
		Payload:   payload,
		Signature: ed25519.Sign(key, append([]byte(signingContext), payload...)),
	})
	if err != nil {
		return nil, fmt.Errorf("encode catalogue: %w", err)
	}
	return append(line, '\n'), nil
}

// OpenCatalogue verifies a line of the control channel and returns what it
// says. Errors: ErrSignature; ErrCatalogue.
func OpenCatalogue(line []byte, key ed25519.PublicKey) (Catalogue, error) {
	if len(line) > maxCatalogueBytes {
		return Catalogue{}, fmt.Errorf("%w: longer than %d bytes", ErrCatalogue, maxCatalogueBytes)
	}
	var m signed
	if err := json.Unmarshal(bytes.TrimSpace(line), &m); err != nil {
		return Catalogue{}, fmt.Errorf("%w: %w", ErrCatalogue, err)
	}
	if !ed25519.Verify(key, append([]byte(signingContext), m.Payload...), m.Signature) {
		return Catalogue{}, ErrSignature
	}
	var c Catalogue
	if err := json.Unmarshal(m.Payload, &c); err != nil {
		return Catalogue{}, fmt.Errorf("%w: %w", ErrCatalogue, err)
	}
	return c, c.validate()
}

// validate guards against an authority of another version, not a hostile one.
func (c Catalogue) validate() error {
	if len(c.Streams) > maxStreams {
		return fmt.Errorf("%w: %d streams, want at most %d", ErrCatalogue, len(c.Streams), maxStreams)
	}
	for i := range c.Streams {
		s := &c.Streams[i]
		err := ValidStream(s.Name)
		if err == nil {
			err = s.Constants.Validate()
		}
		if err == nil {
			err = validateDVR(s.DVR)
		}
		if err == nil && s.Window < 0 {
			err = fmt.Errorf("window of %v: want 0 or more", s.Window)
		}
		if err == nil && len(s.Renditions) > maxVariants {
			err = fmt.Errorf("%d renditions, want at most %d", len(s.Renditions), maxVariants)
		}
		for _, r := range s.Renditions {
			if err == nil && !validLabel(r) {
				err = fmt.Errorf("rendition name %q", clip(r))
			}
		}
		if err != nil {
			return fmt.Errorf("%w: stream %q: %w", ErrCatalogue, clip(s.Name), err)
		}
	}
	return nil
}

// newer tells whether c replaces d.
func (c Catalogue) newer(d Catalogue) bool {
	return c.Epoch > d.Epoch || c.Epoch == d.Epoch && c.Serial > d.Serial
}
