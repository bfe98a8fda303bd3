package main

import (
	"math/rand/v2"
	"net/http"
	"strings"

	"surgecast/cluster"
	"surgecast/relay"
)

// director sends new sessions from the origin to the pool.
type director struct {
	members func() []cluster.Member
}

// Redirect returns the base URL of a serving relay, drawn at random by what
// each has left, as the DNS draws; "" when there is none.
func (d *director) Redirect() string {
	drawn := cluster.Pick(rand.New(shared{}), cluster.Serving(d.members()))
	if len(drawn) == 0 {
		return ""
	}
	return "http://" + drawn[0].State.Media
}

// shared is the process's own source of chance, safe for many goroutines.
type shared struct{}

// Uint64 implements rand.Source.
func (shared) Uint64() uint64 { return rand.Uint64() }

// neverServe keeps viewers from an origin that is not to serve any, also when
// there is no relay to send them to. Other nodes are let through.
func (d *director) neverServe(credential *relay.Credential, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/index.m3u8") && !credential.Valid(r) && len(cluster.Serving(d.members())) == 0 {
			w.Header().Set("Access-Control-Allow-Origin", "*")
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Retry-After", "3")
			http.Error(w, "there is no relay yet, try again", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}
