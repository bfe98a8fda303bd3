package main

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"surgecast/cluster"
)

// Two nodes that can't join yet may still have to speak: one asks from which
// address it is seen, and what time the pool has. Other requests from node to
// node prove themselves by the day, which is the very thing that may be wrong.
// So here both sides sign a number that is used once:
//
//	GET /pool/hello
//	Authorization: Hello NONCE MAC("ask " NONCE)
//
//	200, Hello-Mac: MAC("answer " NONCE "\n" body)
//
// Who repeats a question learns what it says again, and nothing else.
const (
	helloPath      = "/pool/hello"
	helloMACHeader = "Hello-Mac"

	helloBound    = time.Second // for one question
	maxHelloBytes = 4 << 10
)

// hello is what a node answers.
type hello struct {
	Name     string       `json:"name"`
	Role     cluster.Role `json:"role"`
	Isolated bool         `json:"isolated"`
	UnixMS   int64        `json:"unix_ms"` // the time by which its keys are chosen
	Address  netip.Addr   `json:"address"` // from which it sees the asker

	// offset is how far the asker's machine is ahead of the answerer.
	offset time.Duration
}

var errHelloMAC = errors.New("the answer is not signed with the pool's secret")

// helloKey signs questions and answers of a pool.
type helloKey []byte

func newHelloKey(secret []byte) helloKey {
	key, err := hkdf.Key(sha256.New, secret, nil, "surgecast hello", sha256.Size)
	if err != nil {
		panic(err) // only of a length that is a constant here
	}
	return key
}

func (k helloKey) mac(kind, text string) string {
	h := hmac.New(sha256.New, k)
	io.WriteString(h, kind+" "+text)
	return hex.EncodeToString(h.Sum(nil))
}

func (k helloKey) valid(mac, kind, text string) bool {
	return hmac.Equal([]byte(mac), []byte(k.mac(kind, text)))
}

// nonceOf reads a question; false when nobody of the pool asks.
func (k helloKey) nonceOf(r *http.Request) (string, bool) {
	words := strings.Fields(r.Header.Get("Authorization"))
	if len(words) != 3 || words[0] != "Hello" || len(words[1]) != 32 || !k.valid(words[2], "ask", words[1]) {
		return "", false
	}
	return words[1], true
}

// serveHello answers GET /pool/hello.
func (n *node) serveHello(w http.ResponseWriter, r *http.Request) {
	nonce, ok := n.hello.nonceOf(r)
	if !ok {
		http.Error(w, "this path is for the nodes of the pool", http.StatusUnauthorized)
		return
	}
	seen, _ := netip.ParseAddrPort(r.RemoteAddr) // in a test's network there may be none
	body, err := json.Marshal(hello{
		Name: n.cluster.Name(), Role: n.role, Isolated: n.cluster.Isolated(),
		UnixMS: n.clock.Now().UnixMilli(), Address: seen.Addr().Unmap().WithZone(""),
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set(helloMACHeader, n.hello.mac("answer", nonce+"\n"+string(body)))
	_, _ = w.Write(body)
}

// greeter asks other nodes.
type greeter struct {
	key    helloKey
	client *http.Client
	now    func() time.Time // of the machine
}

// all asks the nodes that serve at these host:ports, all at once, and returns
// the answers within the bound.
func (g greeter) all(ctx context.Context, at []string) []hello {
	ctx, cancel := context.WithTimeout(ctx, helloBound)
	defer cancel()
	answers := make([]*hello, len(at))
	var asking sync.WaitGroup
	for i, one := range at {
		asking.Go(func() {
			if answer, err := g.ask(ctx, one); err == nil {
				answers[i] = &answer
			}
		})
	}
	asking.Wait()
	var all []hello
	for _, answer := range answers {
		if answer != nil {
			all = append(all, *answer)
		}
	}
	return all
}

func (g greeter) ask(ctx context.Context, at string) (hello, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+helloPath, nil)
	if err != nil {
		return hello{}, err
	}
	var random [16]byte
	rand.Read(random[:]) // never fails
	nonce := hex.EncodeToString(random[:])
	request.Header.Set("Authorization", "Hello "+nonce+" "+g.key.mac("ask", nonce))
	sent := g.now()
	response, err := g.client.Do(request)
	if err != nil {
		return hello{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return hello{}, fmt.Errorf("%s: answered %s", at, response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxHelloBytes))
	if err != nil {
		return hello{}, err
	}
	received := g.now()
	answer, err := g.key.read(body, response.Header.Get(helloMACHeader), nonce)
	if err != nil {
		return hello{}, fmt.Errorf("%s: %w", at, err)
	}
	answer.offset = sent.Add(received.Sub(sent) / 2).Sub(time.UnixMilli(answer.UnixMS))
	return answer, nil
}

// read takes an answer that is signed.
func (k helloKey) read(body []byte, mac, nonce string) (hello, error) {
	if !k.valid(mac, "answer", nonce+"\n"+string(body)) {
		return hello{}, errHelloMAC
	}
	var answer hello
	if err := json.Unmarshal(body, &answer); err != nil {
		return hello{}, fmt.Errorf("read hello: %w", err)
	}
	return answer, nil
}
