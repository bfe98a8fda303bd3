package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// apiFlags say whose private API a command asks.
type apiFlags struct {
	Dir     string `help:"Data folder of a node on this machine, or a folder above several: one that answers is asked. Default: here." placeholder:"DIR" default:"."`
	Node    string `help:"URL of a node's private API, such as http://192.0.2.10:9090." placeholder:"URL"`
	KeyFile string `help:"File with the API's key: a copy of the api.json in the node's data folder, or the bare token." placeholder:"FILE"`
}

// apiRequest is what a private API is asked.
type apiRequest struct {
	Method, Path string
	Body         any // sent as JSON; nil for none
}

// apiRefusal is a private API's word on why it does not do what it was asked.
type apiRefusal struct {
	Status int    `json:"-"`
	Text   string `json:"error"`
}

func (e *apiRefusal) Error() string { return e.Text }

const (
	// askBound is longer than a node's own bound for asking the others.
	askBound = 5 * time.Second
	// maxAnswerBytes bounds an answer: some thousands of nodes fit in.
	maxAnswerBytes = 4 << 20
)

// ask asks the node that the flags name, and reads its answer into a value.
//
// Errors: *apiRefusal; others say what to do.
func (f apiFlags) ask(ctx context.Context, q apiRequest, into any) error {
	ctx, cancel := context.WithTimeout(ctx, askBound)
	defer cancel()
	if f.Node == "" {
		found, err := findAPIs(f.Dir)
		if err != nil {
			return err
		}
		return askFirst(ctx, f.Dir, found, q, into)
	}
	if f.KeyFile == "" {
		return errors.New("--node needs --key-file: a copy of the api.json in that node's data folder")
	}
	token, err := readToken(f.KeyFile)
	if err != nil {
		return err
	}
	at := f.Node
	if !strings.Contains(at, "://") {
		at = "http://" + at
	}
	return apiFile{URL: at, Token: token}.ask(ctx, q, into)
}

// askFirst asks the nodes in turn until one answers: of those whose folder is
// there, some may have been killed, and some have no say in what is asked.
func askFirst(ctx context.Context, dir string, found []apiFile, q apiRequest, into any) error {
	var silent, elsewhere error
	for _, api := range found {
		err := api.ask(ctx, q, into)
		var refusal *apiRefusal
		switch {
		case err == nil:
			return nil
		case !errors.As(err, &refusal):
			silent = err
		case refusal.Status == http.StatusMisdirectedRequest:
			elsewhere = err
		default:
			return err
		}
	}
	switch {
	case elsewhere == nil:
		return fmt.Errorf("no node that keeps its data in %s is running: %w", dir, silent)
	case silent == nil:
		return elsewhere
	}
	return fmt.Errorf("of the nodes that keep their data in %s, those that have a say in this are not running: %w", dir, silent)
}

// findAPIs looks for api.json in dir and two folders below it: dir may be a
// node's own folder, the state folder, or that of a whole demo.
func findAPIs(dir string) ([]apiFile, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("there is no folder %s: --dir names a node's data folder or one above it", dir)
	}
	var found []apiFile
	var denied error
	for _, pattern := range []string{"", "*", "*/*"} {
		names, _ := filepath.Glob(filepath.Join(dir, pattern, apiFileName)) // the patterns are well-formed
		for _, name := range names {
			api, err := readAPIFile(name)
			if errors.Is(err, fs.ErrPermission) {
				denied = fmt.Errorf("this user may not read %s: ask as the user that runs the node", name)
			}
			if err == nil {
				found = append(found, api)
			}
		}
	}
	if len(found) == 0 && denied != nil {
		return nil, denied
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no node is running that keeps its data in %s (no %s in it): start one, or name its folder with --dir", dir, apiFileName)
	}
	return found, nil
}

func readAPIFile(name string) (apiFile, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return apiFile{}, err
	}
	var api apiFile
	if err := json.Unmarshal(text, &api); err != nil {
		return apiFile{}, fmt.Errorf("read %s: %w", name, err)
	}
	return api, nil
}

// readToken reads a key file: an api.json, or the token alone.
func readToken(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("--key-file: %w", err)
	}
	var api apiFile
	if err := json.Unmarshal(text, &api); err == nil && api.Token != "" {
		return api.Token, nil
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, " \n{") {
		return "", fmt.Errorf("--key-file: %s holds no key: take a copy of the api.json in the node's data folder", name)
	}
	return token, nil
}

// ask asks this private API.
func (a apiFile) ask(ctx context.Context, q apiRequest, into any) error {
	var body io.Reader
	if q.Body != nil {
		text, err := json.Marshal(q.Body)
		if err != nil {
			return fmt.Errorf("encode question: %w", err)
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, q.Method, strings.TrimSuffix(a.URL, "/")+q.Path, body)
	if err != nil {
		return fmt.Errorf("--node: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+a.Token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		var failed *url.Error // which tells the whole question again
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return fmt.Errorf("no node answers at %s: %w (is it up, and is this its ports.api?)", a.URL, err)
	}
	defer response.Body.Close()
	answer := json.NewDecoder(io.LimitReader(response.Body, maxAnswerBytes))
	switch response.StatusCode {
	case http.StatusOK:
		if err := answer.Decode(into); err != nil {
			return fmt.Errorf("read answer of %s: %w", a.URL, err)
		}
		return nil
	case http.StatusUnauthorized:
		return fmt.Errorf("%s does not take this key: it is made anew at each start of the node, copy its api.json again", a.URL)
	}
	refusal := &apiRefusal{Status: response.StatusCode}
	if answer.Decode(refusal) != nil || refusal.Text == "" {
		return fmt.Errorf("%s answers %s: is this a node's private API?", a.URL, response.Status)
	}
	return refusal
}
