package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Bounds of one run.
const (
	hookBound    = 30 * time.Second // then its whole process group is killed
	hookPipes    = time.Second      // for what it left behind to let go of its output
	maxHookBytes = 4 << 10          // of its output, or of an answer, are logged; the rest is dropped
)

// hook runs what the configuration names, one run at a time, not more often than
// it says, whether a run succeeds or not.
type hook struct {
	HookConfig
	client *http.Client
	log    *slog.Logger
	bound  time.Duration // of one run

	last    time.Time // when the last run began
	running sync.WaitGroup
}

func newHook(c HookConfig, log *slog.Logger) *hook {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &hook{HookConfig: c, client: client, log: log.With("hook", "on_forecast"), bound: hookBound}
}

// offer runs the hook if it is time to, and does not wait for it. It is called by
// one goroutine.
func (h *hook) offer(ctx context.Context, now time.Time, p *poolOutlook, pool string) {
	if !h.On() || p.FullIn >= time.Duration(h.Under).Seconds() {
		return
	}
	if !h.last.IsZero() && now.Sub(h.last) < max(time.Duration(h.Every), h.bound+hookPipes) {
		return
	}
	h.last = now
	report := p.report(pool)
	if h.DryRun {
		h.log.Info("would run, but dry_run is set", "command", strings.Join(h.Command[:min(1, len(h.Command))], ""), "webhook", h.Webhook != "", "report", report)
		return
	}
	h.running.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, h.bound)
		defer cancel()
		h.run(ctx, report)
	})
}

func (h *hook) run(ctx context.Context, report forecastReport) {
	began := time.Now()
	var errs []error
	var said []byte
	if len(h.Command) > 0 {
		output, err := h.runCommand(ctx, report)
		said, errs = output, append(errs, err)
	}
	if h.Webhook != "" {
		errs = append(errs, h.post(ctx, report))
	}
	log := h.log.With("after", time.Since(began).Round(time.Millisecond), "relays_wanted", report.RelaysWanted, "said", string(said))
	if err := errors.Join(errs...); err != nil {
		log.Error("hook failed", "err", err)
		return
	}
	log.Info("hook ran")
}

// runCommand runs the command, in a process group of its own, and returns the
// beginning of what it said.
func (h *hook) runCommand(ctx context.Context, report forecastReport) ([]byte, error) {
	cmd := exec.CommandContext(ctx, h.Command[0], h.Command[1:]...)
	cmd.Env = append(os.Environ(), report.environment()...)
	output := &beginning{}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = hookPipes
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("killed after %v: %w", h.bound, ctx.Err())
	}
	if err != nil {
		err = fmt.Errorf("run %s: %w", h.Command[0], err)
	}
	return output.kept, err
}

// post sends the report. The URL may hold a secret: it is in no error and no log.
func (h *hook) post(ctx context.Context, report forecastReport) error {
	body, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.Webhook, bytes.NewReader(body))
	if err != nil {
		return errors.New("post to webhook: bad URL")
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := h.client.Do(request)
	var inner *url.Error
	switch {
	case errors.As(err, &inner):
		return fmt.Errorf("post to webhook: %w", inner.Err)
	case err != nil:
		return fmt.Errorf("post to webhook: %w", err)
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(response.Body, maxHookBytes)) // what came of it is enough
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("webhook answers %s: %s", response.Status, strings.TrimSpace(string(answer)))
	}
	return nil
}

// beginning keeps so much of what is written, at most maxHookBytes.
type beginning struct{ kept []byte }

// Write takes all and keeps what there is room for.
func (b *beginning) Write(p []byte) (int, error) {
	b.kept = append(b.kept, p[:min(len(p), maxHookBytes-len(b.kept))]...)
	return len(p), nil
}

// runHook offers the pool's outlook to the hook each second, while this node
// speaks for the pool. It ends with ctx, and with it what it started.
func (n *node) runHook(ctx context.Context, c HookConfig) error {
	h := newHook(c, n.log)
	defer h.running.Wait()
	return each(ctx, loadTick, func(now time.Time) {
		if _, pool := n.headroom.outlooks(); leads(n.cluster.Members()) {
			h.offer(ctx, now, &pool, n.config.Pool)
		}
	})
}
