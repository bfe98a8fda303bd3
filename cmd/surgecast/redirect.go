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
// each has left; "" when there is none.
func (d *director) Redirect() string {
	serving := servingRelays(d.members())
	if len(serving) == 0 {
		return ""
	}
	weights, sum := headroom(serving)
	draw := rand.Float64() * sum
	for i, weight := range weights {
		if draw -= weight; draw < 0 {
			return "http://" + serving[i].State.Media
		}
	}
	return "http://" + serving[len(serving)-1].State.Media // draw was rounded up to sum
}

func servingRelays(members []cluster.Member) []cluster.Member {
	var serving []cluster.Member
	for _, m := range members {
		if m.State.Role == cluster.RoleRelay && m.State.Status == cluster.StatusServing {
			serving = append(serving, m)
		}
	}
	return serving
}

// headroom returns what each relay has left, and the sum. While one capacity
// is unknown all count as equal: a guess would drown a small box or starve a
// large one. A full relay keeps a hundredth, so that a pool of full relays
// still shares.
func headroom(relays []cluster.Member) (weights []float64, sum float64) {
	known := true
	for _, m := range relays {
		known = known && m.State.Capacity > 0
	}
	for _, m := range relays {
		weight := float64(max(1, 100-m.State.Load))
		if known {
			weight *= float64(m.State.Capacity)
		}
		weights = append(weights, weight)
		sum += weight
	}
	return weights, sum
}

// neverServe keeps viewers from an origin that is not to serve any, also when
// there is no relay to send them to. Other nodes are let through.
func (d *director) neverServe(credential *relay.Credential, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/index.m3u8") && !credential.Valid(r) && len(servingRelays(d.members())) == 0 {
			w.Header().Set("Access-Control-Allow-Origin", "*")
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Retry-After", "3")
			http.Error(w, "there is no relay yet, try again", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}
