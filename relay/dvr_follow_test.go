package relay

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A relay looks back as long as the catalogue says, and forgets what it no
// longer says.
func TestTheCatalogueSaysHowFarBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		dvr, err := OpenDVR(DVRConfig{Dir: dir, Bytes: lookBytes, Logger: discard(), Upstreams: func() []string { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		f := NewFollower(FollowerConfig{
			Store: NewStore(), Credential: NewCredential([]byte("secret")), Logger: discard(),
			Origins: func() []string { return nil }, DVR: dvr,
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer f.wait.Wait()
		defer cancel()
		old := filepath.Join(dir, "lobby/main/0000000a/7.m4s")
		if err := os.MkdirAll(filepath.Dir(old), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(old, []byte("seven"), 0o600); err != nil {
			t.Fatal(err)
		}
		dvr.disk.folder("lobby", "main")

		serial := uint64(0)
		say := func(length time.Duration) {
			serial++
			f.take(ctx, Catalogue{Version: 1, Serial: serial, Epoch: 10, Streams: []CatalogueStream{{
				Name: "theatre", Renditions: []string{"main"}, Constants: DefaultConstants(), Live: true, DVR: length,
			}}}, nil)
			synctest.Wait()
		}
		say(time.Hour)
		if _, err := os.Stat(old); err == nil {
			t.Error("what a stream had that is no more is still here")
		}
		st := f.Store.Stream("theatre")
		if r := st.recording("main"); r == nil || r.length != time.Hour {
			t.Fatalf("not recorded: %+v", r)
		}
		newFeed(t, st.Window("main")).parts(3 * feedParts)
		synctest.Wait()
		if n := dvr.Usage().Files; n != 4 {
			t.Errorf("%d files are kept of three segments", n)
		}
		say(2 * time.Hour)
		if r := st.recording("main"); r == nil || r.length != 2*time.Hour || dvr.Usage().Files != 4 {
			t.Errorf("a longer time: %+v", r)
		}
		say(0)
		if st.recording("main") != nil || dvr.Usage().Files != 0 {
			t.Error("a stream that is not to be looked back on is")
		}
		if _, err := os.Stat(filepath.Join(dir, "theatre")); err == nil {
			t.Error("its folder is still here")
		}
	})
}

// A list that has ended says so, on a relay and after a restart too.
func TestTheLongListEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := startLook(t, t.TempDir(), time.Hour, lookBytes, nil)
		o.segments(12)
		o.feed.list.Ended, o.feed.list.Hint = true, MediaName{}
		if err := o.window.Publish(o.feed.list.AppendText(nil)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r := startLook(t, t.TempDir(), time.Hour, lookBytes, o)
		r.see(o)
		list := o.list()
		if list[len(list)-len(endList):] != endList || r.list() != list {
			t.Errorf("no end:\n%s", list)
		}
		again := reborn(t, o, 1020)
		if again.list() != list {
			t.Errorf("after a restart:\n%s", again.list())
		}
		again.segments(1)
		if l, err := parseLongList([]byte(again.list())); err != nil || l.ended || l.end() != 1021 {
			t.Errorf("it goes on: %+v, %v", l, err)
		}
	})
}
