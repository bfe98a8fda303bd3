package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"time"
)

// apiConfig is what the private API of a node shows.
type apiConfig struct {
	Token   string
	Status  func(ctx context.Context) *poolStatus
	Metrics http.Handler
	Streams streamControl    // nil on a relay
	Drain   http.HandlerFunc // takes a drainRequest; nil: there is nothing to drain
}

// newAPIToken makes the key of a private API, anew at each start.
func newAPIToken() string {
	token := make([]byte, 32)
	rand.Read(token) // never fails: see crypto/rand
	return hex.EncodeToString(token)
}

// newAPI returns the private API: for operators, never for viewers.
func newAPI(c apiConfig) http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /status", c.status)
	routes.Handle("GET /metrics", c.Metrics)
	if c.Streams != nil {
		routes.HandleFunc("POST /streams/{stream}/end", c.endStream)
		routes.HandleFunc("POST /streams/{stream}/marks", c.markStream)
		routes.HandleFunc("POST /streams/{stream}/input", c.switchStream)
		routes.HandleFunc("POST /streams/{stream}/slate", c.showSlate)
		routes.HandleFunc("DELETE /streams/{stream}/slate", c.hideSlate)
		routes.HandleFunc("GET /slates", c.listSlates)
		routes.HandleFunc("POST /slates", c.addSlate)
		routes.HandleFunc("DELETE /slates/{id}", c.removeSlate)
	} else {
		routes.HandleFunc("/streams/", elsewhere)
		routes.HandleFunc("/slates", elsewhere)
		routes.HandleFunc("/slates/", elsewhere)
	}
	if c.Drain != nil {
		routes.HandleFunc("POST /drain", c.Drain)
	}
	routes.HandleFunc("GET /debug/pprof/", pprof.Index)
	routes.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	routes.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	routes.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	routes.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return c.guard(routes)
}

// guard lets in who has the token. Digests of equal length are compared, so
// that the time taken tells nothing about the token.
func (c apiConfig) guard(next http.Handler) http.Handler {
	want := sha256.Sum256([]byte("Bearer " + c.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// What an earlier request on this connection set does not bind this one:
		// a profile takes its time.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
		got := sha256.Sum256([]byte(r.Header.Get("Authorization")))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "give the token of this node's api.json as \"Authorization: Bearer TOKEN\"", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (c apiConfig) status(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, c.Status(r.Context()))
}

// writeBound is how long a small answer may take to leave.
const writeBound = 5 * time.Second

// refuse says why not, as an apiRefusal.
func refuse(w http.ResponseWriter, status int, text string) {
	writeStatus(w, status, apiRefusal{Text: text})
}

func writeJSON(w http.ResponseWriter, value any) { writeStatus(w, http.StatusOK, value) }

func writeStatus(w http.ResponseWriter, status int, value any) {
	// A recorder in a test has no deadline to set; every server has.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeBound))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the asker has gone: nobody is left to tell
}
