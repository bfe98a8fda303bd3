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
//
// Two clouds have it at an address of IPv6 too, for machines that have no other:
// EC2 since 2020, where the instance's metadata options enable it, and Google
// Cloud. Azure, Hetzner and DigitalOcean have it at the IPv4 address alone, which
// is link-local, and there on machines without an IPv4 address of their own.
const (
	metadataBase    = "http://169.254.169.254"
	metadataBaseEC2 = "http://[fd00:ec2::254]"
	metadataBaseGCP = "http://[fd20:ce::254]"

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
	IPv6     netip.Addr // on an interface of the machine, and where the Internet reaches it
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

// askMetadata asks all providers' ways at once, where there is no other base at
// their own addresses of IPv6 as well. It never goes through a proxy: that would
// be told its own name.
func askMetadata(ctx context.Context, base string, client *http.Client) *cloudQuery {
	return askProviders(ctx, waysTo(base), client)
}

// way is a provider's way at one address.
type way struct {
	provider
	at string
}

func waysTo(base string) (ways []way) {
	for _, p := range providers {
		ways = append(ways, way{p, base})
		if base == metadataBase && p.ipv6 != "" {
			ways = append(ways, way{p, p.ipv6})
		}
	}
	return ways
}

func askProviders(ctx context.Context, ways []way, client *http.Client) *cloudQuery {
	q := &cloudQuery{done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(ctx, metadataBound)
	answers := make([]chan cloud, len(ways))
	for i, w := range ways {
		answers[i] = make(chan cloud, 1)
		go func() { answers[i] <- w.ask(ctx, metadataClient{w.at, client}).of(w.name) }()
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

// publicIPv6 reads the first of several addresses, if it is a public one of IPv6.
func publicIPv6(s string) netip.Addr {
	first, _, _ := strings.Cut(s, "\n")
	if addr := metadataAddr(first); addr.Is6() && isPublic(addr) {
		return addr
	}
	return netip.Addr{}
}
