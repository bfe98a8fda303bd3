package cluster

import (
	"crypto/rand"
	"encoding/hex"
)

// newName makes the identity of this start of the process. It is never stored,
// so a copied disk can't bring a second node of the same name.
func newName() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
