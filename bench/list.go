package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// list is what is read out of a media playlist here and there; the viewers of
// the swarm have a parser of their own.
type list struct{ text string }

var (
	partURI    = regexp.MustCompile(`#EXT-X-PART:[^\n]*URI="([^"]+)"`)
	hintURI    = regexp.MustCompile(`#EXT-X-PRELOAD-HINT:TYPE=PART,URI="([^"]+)"`)
	segmentURI = regexp.MustCompile(`(?m)^[^#\n].*$`)
)

// newestParts returns the URIs of the last n parts that are listed.
func (l list) newestParts(n int) []string {
	all := partURI.FindAllStringSubmatch(l.text, -1)
	var uris []string
	for _, match := range all[max(0, len(all)-n):] {
		uris = append(uris, match[1])
	}
	return uris
}

// newestSegment returns the URI of the last whole segment, "" without one.
func (l list) newestSegment() string {
	all := segmentURI.FindAllString(l.text, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// hint returns the URI of the part that comes next.
func (l list) hint() string {
	if m := hintURI.FindStringSubmatch(l.text); m != nil {
		return m[1]
	}
	return ""
}

// directives asks for the list that has the part of this URI.
func directives(part string) string {
	_, file, _ := strings.Cut(part, "/")
	msn, rest, _ := strings.Cut(file, ".")
	number, _, _ := strings.Cut(rest, ".")
	return "?_HLS_msn=" + msn + "&_HLS_part=" + number
}

// client asks for many things at once on few hosts.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}, Timeout: 15 * time.Second}

// fetch gets a URL whole and returns when its last byte came.
func fetch(ctx context.Context, url, bearer string) (body []byte, last time.Time, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, last, err
	}
	if bearer != "" {
		request.Header.Set("Authorization", bearer)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, last, err
	}
	defer response.Body.Close()
	if body, err = io.ReadAll(response.Body); err != nil {
		return nil, last, err
	}
	last = time.Now()
	if response.StatusCode != http.StatusOK {
		return nil, last, fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return body, last, nil
}

// fetchList gets the media playlist that stands in a folder.
func fetchList(ctx context.Context, base, folder, query, bearer string) (list, error) {
	body, _, err := fetch(ctx, base+folder+"live.m3u8"+query, bearer)
	return list{string(body)}, err
}
