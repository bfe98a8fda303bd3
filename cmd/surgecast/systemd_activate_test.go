package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// systemd's own program for socket units without a running systemd: it has both of
// the viewers' ports open, and starts the relay when the first viewer comes, who
// waits meanwhile and is answered.
func TestSystemdSocketActivate(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	program, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("no systemd-socket-activate here")
	}
	beside(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cert, key := certificateFiles(t, "localhost")
	e := newEvening(t, setting{"tls.cert_file", cert}, setting{"tls.key_file", key})
	e.relayDrain(t, "1s")
	e.awaitSegments(t, 2)
	plain := netip.AddrPortFrom(e.address(1), defaultViewerPort)
	secure := netip.AddrPortFrom(e.address(1), defaultTLSPort)

	log, err := openLog(filepath.Join(e.logs, "activated.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	said := func() string {
		text, err := os.ReadFile(log.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	c := exec.Command(program, "--listen", plain.String(), "--listen", secure.String(), "--setenv", asMain+"=1",
		self, "relay", "--config", filepath.Join(e.dir, "relay.yaml"), "--address", e.address(1).String())
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.ProcessState == nil {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
		if t.Failed() {
			t.Logf("its log:\n%s", said())
		}
	})
	eventually(t, "both ports are open", func() error {
		if got := strings.Count(said(), "Listening on"); got < 2 {
			return fmt.Errorf("%d are", got)
		}
		return nil
	})
	if strings.Contains(said(), "node") {
		t.Error("the relay runs before anybody came")
	}

	viewer := &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, // the certificate is of another name
	}
	for _, base := range []string{"https://" + secure.String(), "http://" + plain.String()} {
		began := time.Now()
		response, err := viewer.Get(base + "/theatre/main/live.m3u8")
		if err != nil {
			t.Fatalf("%s: %v", base, err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", base, response.Status)
		}
		t.Logf("%s answered after %v", base, time.Since(began).Round(time.Millisecond))
	}
	eventually(t, "the relay is named", e.named(t, 1))
	if strings.Contains(said(), "no port of this node") {
		t.Error("a socket was not taken")
	}
	// It has become the relay: there is no process between.
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}
