package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"surgecast/cluster"
	"surgecast/relay"
)

func member(role cluster.Role, status cluster.Status, media string, load int, capacity int64) cluster.Member {
	return cluster.Member{Name: media, State: cluster.State{Role: role, Status: status, Media: media, Load: load, Capacity: capacity}}
}

func TestRedirectNamesOnlyServingRelays(t *testing.T) {
	members := []cluster.Member{
		member(cluster.RoleOrigin, cluster.StatusServing, "127.0.0.1:8080", 0, 0),
		member(cluster.RoleRelay, cluster.StatusWarming, "127.0.0.2:8080", 0, 0),
		member(cluster.RoleRelay, cluster.StatusDraining, "127.0.0.3:8080", 0, 0),
	}
	d := &director{members: func() []cluster.Member { return members }}
	if got := d.Redirect(); got != "" {
		t.Errorf("sent on to %s", got)
	}
	members = append(members, member(cluster.RoleRelay, cluster.StatusServing, "127.0.0.4:8080", 100, 0))
	for range 100 {
		if got := d.Redirect(); got != "http://127.0.0.4:8080" {
			t.Fatalf("sent on to %q", got)
		}
	}
}

// TestRedirectSharesByHeadroom draws often and looks at the shares: 100 Mbit/s
// half full has half the headroom of 100 Mbit/s, and 1 Gbit/s ten times that.
func TestRedirectSharesByHeadroom(t *testing.T) {
	members := []cluster.Member{
		member(cluster.RoleRelay, cluster.StatusServing, "a", 50, 100e6),
		member(cluster.RoleRelay, cluster.StatusServing, "b", 0, 100e6),
		member(cluster.RoleRelay, cluster.StatusServing, "c", 0, 1000e6),
	}
	d := &director{members: func() []cluster.Member { return members }}
	const draws = 23000
	got := map[string]float64{}
	for range draws {
		got[d.Redirect()]++
	}
	for name, share := range map[string]float64{"http://a": 1. / 23, "http://b": 2. / 23, "http://c": 20. / 23} {
		if ratio := got[name] / draws / share; ratio < 0.8 || ratio > 1.2 {
			t.Errorf("%s got %.0f of %d", name, got[name], draws)
		}
	}
}

func TestNeverServe(t *testing.T) {
	d := &director{members: func() []cluster.Member { return nil }}
	credential := relay.NewCredential([]byte("sixteen letters!"))
	handler := d.neverServe(credential, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	viewer := httptest.NewRequest(http.MethodGet, "/theatre/index.m3u8", nil)
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, viewer)
	if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" || answer.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("a viewer gets %d %v", answer.Code, answer.Header())
	}
	node := viewer.Clone(t.Context())
	credential.Authorize(node)
	answer = httptest.NewRecorder()
	handler.ServeHTTP(answer, node)
	if answer.Code != http.StatusOK {
		t.Errorf("another node gets %d", answer.Code)
	}
}
