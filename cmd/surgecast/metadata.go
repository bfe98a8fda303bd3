package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// A cloud tells a machine who it is at an address that only the machine itself
// reaches. It is asked while the node boots; what is not known when the time is
// up is taken as not to be known.
const (
	metadataBase  = "http://169.254.169.254"
	metadataBound = 300 * time.Millisecond // for all questions together
	// maxMetadataBytes bounds one answer; what is longer is cut, and then
	// mostly can't be read.
	maxMetadataBytes = 256 << 10
	maxInstanceBytes = 128
)

// cloud is what the metadata service says of this machine. What it does not
// say is empty.
type cloud struct {
	Instance string     // provider and id: "ec2/i-0abc"
	Private  netip.Addr // on an interface of the machine
	Public   netip.Addr // where the Internet reaches it
	Type     string     // as the cloud sells it: "m5.large"
}

// cloudQuery is a question that is under way. Nil is one with no answer.
type cloudQuery struct {
	done   chan struct{} // closed when answer is there
	answer cloud
}

// Wait returns the answer: at the latest when the bound has passed since the
// question.
func (q *cloudQuery) Wait() cloud {
	if q == nil {
		return cloud{}
	}
	<-q.done
	return q.answer
}

// askMetadata asks all providers' ways at once. It never goes through a proxy:
// that would be told its own name.
func askMetadata(ctx context.Context, base string, client *http.Client) *cloudQuery {
	q := &cloudQuery{done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(ctx, metadataBound)
	answers := make([]chan cloud, len(providers))
	for i, p := range providers {
		answers[i] = make(chan cloud, 1)
		go func() { answers[i] <- p.ask(ctx, metadataClient{base, client}).of(p.name) }()
	}
	go func() {
		defer close(q.done)
		for _, answer := range answers { // by turns: the same one wins at each start
			if c := <-answer; q.answer.Instance == "" && c.Instance != "" {
				q.answer = c
				cancel() // the others end, and are still waited for
			}
		}
		cancel()
	}()
	return q
}

// askCloud asks the metadata service that the configuration names; nil where
// none is to be asked. A node on a loopback address is nobody's instance.
func (e environment) askCloud(ctx context.Context, flag netip.Addr, c *NodeConfig) *cloudQuery {
	if c.Metadata == "" || flag.IsLoopback() || c.Address.IsLoopback() && !flag.IsValid() {
		return nil
	}
	return askMetadata(ctx, string(c.Metadata), e.client())
}

// of marks the id with its provider, for ids of two may be equal.
func (c cloud) of(provider string) cloud {
	if c.Instance == "" {
		return cloud{}
	}
	c.Instance = provider + "/" + c.Instance
	return c
}

// metadataClient asks one service.
type metadataClient struct {
	base   string
	client *http.Client
}

// get returns the text at a path; headers are key and value by turns.
func (m metadataClient) get(ctx context.Context, path string, headers ...string) (string, error) {
	return m.do(ctx, http.MethodGet, path, headers...)
}

func (m metadataClient) do(ctx context.Context, method, path string, headers ...string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, m.base+path, nil)
	if err != nil {
		return "", err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := m.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: answered %s", path, response.Status)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxMetadataBytes))
	if err != nil {
		return "", err // half an id is another machine's
	}
	return strings.TrimSpace(string(text)), nil
}

// instanceID accepts an id as clouds write them; "" for anything else, such as
// the page of a captive portal.
func instanceID(s string) string {
	if len(s) > maxInstanceBytes || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
		return ""
	}
	return s
}

// metadataAddr reads an address; invalid for anything else.
func metadataAddr(s string) netip.Addr {
	addr, err := netip.ParseAddr(strings.TrimSpace(s))
	if err != nil || !addr.IsGlobalUnicast() {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}
