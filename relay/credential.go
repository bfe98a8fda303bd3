package relay

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Credential lets the nodes of a pool know each other's requests. It changes
// with the UTC day; the neighbour days are taken too, so that a node with a
// wrong clock is not shut out. It is safe for concurrent use.
type Credential struct {
	// Now tells the day; nil means the machine's clock. It is set before use.
	Now func() time.Time

	secret []byte

	mu     sync.Mutex
	tokens map[string]string // by day, derived once; at most maxTokens
}

// maxTokens days are remembered; with one more, all are derived anew.
const maxTokens = 8

// NewCredential returns the credential of a pool secret.
func NewCredential(secret []byte) *Credential {
	return &Credential{secret: secret, tokens: map[string]string{}}
}

// credentialInfo and the day, as 2006-01-02, are the info of the derivation:
// hex(HKDF-SHA256(secret, no salt, info, 32 bytes)).
const credentialInfo = "surgecast node to node "

func (c *Credential) token(t time.Time) string {
	day := t.UTC().Format(time.DateOnly)
	c.mu.Lock()
	defer c.mu.Unlock()
	if token, ok := c.tokens[day]; ok {
		return token
	}
	key, err := hkdf.Key(sha256.New, c.secret, nil, credentialInfo+day, 32)
	if err != nil {
		panic(err) // only of a length that is a constant here
	}
	if len(c.tokens) >= maxTokens {
		clear(c.tokens)
	}
	c.tokens[day] = hex.EncodeToString(key)
	return c.tokens[day]
}

func (c *Credential) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

const bearer = "Bearer "

// Authorize marks a request as one from node to node.
func (c *Credential) Authorize(r *http.Request) {
	r.Header.Set("Authorization", bearer+c.token(c.now()))
}

// Valid tells whether a request is from a node of the pool.
func (c *Credential) Valid(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), bearer)
	if !ok || len(c.secret) == 0 {
		return false
	}
	now, valid := c.now(), 0
	for _, days := range []int{0, -1, 1} {
		valid |= subtle.ConstantTimeCompare([]byte(token), []byte(c.token(now.AddDate(0, 0, days))))
	}
	return valid == 1
}
