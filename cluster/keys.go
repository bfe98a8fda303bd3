package cluster

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	keyBytes = 32 // AES-256
	// keyCheck is how often the day is looked at. The clock is asked each time
	// and no timer set for midnight, since a machine may start with a wrong
	// date and be put right later.
	keyCheck = time.Minute
)

// keys holds the gossip's keys of yesterday, today and tomorrow (UTC), so that
// nodes understand each other over midnight and with clocks a day apart. The
// key of today encrypts.
type keys struct {
	secret []byte
	now    func() time.Time
	ring   *memberlist.Keyring

	mu  sync.Mutex
	day string // of the ring
}

func newKeys(secret []byte, now func() time.Time) (*keys, error) {
	ring, err := memberlist.NewKeyring(nil, dayKey(secret, now()))
	if err != nil {
		return nil, fmt.Errorf("make keyring: %w", err)
	}
	k := &keys{secret: secret, now: now, ring: ring}
	return k, k.turn(now())
}

// rotate keeps the ring at the current day until ctx ends.
func (k *keys) rotate(ctx context.Context) {
	ticker := time.NewTicker(keyCheck)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			// The keys have the right size and are in the ring, so no step of
			// it can fail.
			_ = k.turn(k.now())
		}
	}
}

// turn puts the ring into the order today, yesterday, tomorrow.
//
// Keyring.RemoveKey moves the keys behind the removed one in the very array
// that packets are being decrypted with. So only the last key is ever removed,
// where nothing moves: the two that stay are put in front first.
func (k *keys) turn(now time.Time) error {
	day := utcDay(now)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.day == day {
		return nil
	}
	today, yesterday := dayKey(k.secret, now), dayKey(k.secret, now.AddDate(0, 0, -1))
	for _, key := range [][]byte{yesterday, today} {
		if err := k.ring.AddKey(key); err != nil {
			return fmt.Errorf("add key: %w", err)
		}
		if err := k.ring.UseKey(key); err != nil {
			return fmt.Errorf("use key: %w", err)
		}
	}
	for all := k.ring.GetKeys(); len(all) > 2; all = k.ring.GetKeys() {
		if err := k.ring.RemoveKey(all[len(all)-1]); err != nil {
			return fmt.Errorf("remove key: %w", err)
		}
	}
	if err := k.ring.AddKey(dayKey(k.secret, now.AddDate(0, 0, 1))); err != nil {
		return fmt.Errorf("add key: %w", err)
	}
	k.day = day
	return nil
}

func dayKey(secret []byte, day time.Time) []byte {
	key, err := hkdf.Key(sha256.New, secret, nil, "surgecast gossip "+utcDay(day), keyBytes)
	if err != nil {
		panic(err) // only lengths beyond the hash's limit are an error
	}
	return key
}

func utcDay(t time.Time) string { return t.UTC().Format(time.DateOnly) }
