package relay

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"time"
)

// ticketKeys seal what a viewer keeps of a TLS session, so that its next
// connection, to whichever relay, costs no full handshake. Each relay derives
// the same keys from the pool's secret and the day: nothing is told around. A
// ticket of yesterday is still taken, and one of tomorrow from a relay whose
// clock runs ahead; older ones mean a full handshake.
type ticketKeys struct {
	secret []byte
	day    string // that the configuration has the keys of
}

// turn gives the configuration the keys of the day, if it has not got them.
// The first one seals, all of them open.
func (k *ticketKeys) turn(config *tls.Config, now time.Time) {
	day := now.UTC().Format(time.DateOnly)
	if k.day == day {
		return
	}
	config.SetSessionTicketKeys([][32]byte{
		k.key(now), k.key(now.AddDate(0, 0, -1)), k.key(now.AddDate(0, 0, 1)),
	})
	k.day = day
}

func (k *ticketKeys) key(day time.Time) [32]byte {
	key, err := hkdf.Key(sha256.New, k.secret, nil, "surgecast session ticket "+day.UTC().Format(time.DateOnly), 32)
	if err != nil {
		panic(err) // only lengths beyond the hash's limit are an error
	}
	return [32]byte(key)
}
