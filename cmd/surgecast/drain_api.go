package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"surgecast/cluster"
)

// Where a node takes another's word that an operator ordered it to drain, or
// not to:
//
//	POST /pool/drain?node=NAME
//	POST /pool/undrain?node=NAME
const (
	poolDrainPath   = "/pool/drain"
	poolUndrainPath = "/pool/undrain"
)

// maxDrainBytes bounds an order, and the answer to one.
const maxDrainBytes = 4 << 10

// routeDrain adds what other nodes pass on.
func (n *node) routeDrain(pool *http.ServeMux) {
	pool.HandleFunc("POST "+poolDrainPath, func(w http.ResponseWriter, r *http.Request) { n.serveOrder(w, r, true) })
	pool.HandleFunc("POST "+poolUndrainPath, func(w http.ResponseWriter, r *http.Request) { n.serveOrder(w, r, false) })
}

// serveOrder takes an order that another node passes on; the server has checked
// that a node asks. It is for the process that had the address when it was
// given, and for none that has it now.
func (n *node) serveOrder(w http.ResponseWriter, r *http.Request, drain bool) {
	if name := r.URL.Query().Get("node"); name != n.cluster.Name() {
		refuse(w, http.StatusConflict, fmt.Sprintf("node %s is not here any more: another one has its address", short(name)))
		return
	}
	n.answerOrder(w, drain)
}

func (n *node) answerOrder(w http.ResponseWriter, drain bool) {
	switch a, err := n.order(drain); {
	case err == nil:
		writeJSON(w, a)
	case errors.Is(err, errNotDrained) || errors.Is(err, errEnding):
		refuse(w, http.StatusConflict, err.Error())
	default:
		refuse(w, http.StatusInternalServerError, err.Error())
	}
}

// serveDrain answers POST /drain of the private API: here, or by the node that
// is meant.
func (n *node) serveDrain(w http.ResponseWriter, r *http.Request) {
	var order drainRequest
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxDrainBytes))
	body.DisallowUnknownFields() // a misspelt field would drain another node
	if err := body.Decode(&order); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("the order can't be read: %v", err))
		return
	}
	target, err := meant(n.cluster.Members(), order.Target)
	switch {
	case err != nil:
		refuse(w, http.StatusNotFound, err.Error())
	case target.Self:
		n.answerOrder(w, order.Drain)
	case target.State.Role != cluster.RoleRelay: // others have no path for it
		refuse(w, http.StatusConflict, errNotDrained.Error())
	default:
		n.passOn(w, r, target, order.Drain)
	}
}

// meant finds the member that an operator means.
func meant(members []cluster.Member, target string) (cluster.Member, error) {
	var found []cluster.Member
	for _, m := range members {
		switch {
		case target == "" && m.Self, target != "" && isMeant(m, target):
			found = append(found, m)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return cluster.Member{}, fmt.Errorf("no node is called %q or has that address: \"surgecast status\" shows those that are there", target)
	}
	return cluster.Member{}, fmt.Errorf("%d nodes are meant by %q: write more of the name, or the address with its port", len(found), target)
}

// passOnBound is how long another node may take: an operator is waiting.
const passOnBound = 3 * time.Second

// passOn lets the node that is meant answer.
func (n *node) passOn(w http.ResponseWriter, r *http.Request, to cluster.Member, drain bool) {
	ctx, cancel := context.WithTimeout(r.Context(), passOnBound)
	defer cancel()
	path := poolUndrainPath
	if drain {
		path = poolDrainPath
	}
	address := "http://" + to.State.Media + path + "?node=" + url.QueryEscape(to.Name)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		refuse(w, http.StatusBadGateway, err.Error())
		return
	}
	n.credential.Authorize(request)
	response, err := n.client.Do(request)
	if err != nil {
		refuse(w, http.StatusBadGateway, fmt.Sprintf("node %s does not answer: %v", short(to.Name), err))
		return
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxDrainBytes))
	if err != nil || !json.Valid(text) {
		refuse(w, http.StatusBadGateway, fmt.Sprintf("node %s answers %s: is it of an older release?", short(to.Name), response.Status))
		return
	}
	status := response.StatusCode
	if status == http.StatusUnauthorized {
		status = http.StatusBadGateway // it is not the operator's key that is wrong
	}
	writeStatus(w, status, json.RawMessage(text))
}

// isMeant tells whether a member is called so, or is there.
func isMeant(m cluster.Member, target string) bool {
	if strings.HasPrefix(m.Name, strings.ToLower(target)) && len(target) >= leastNameBytes {
		return true
	}
	for _, at := range []string{m.State.Media, m.State.Public, m.SecondMedia()} {
		host, _, err := net.SplitHostPort(at)
		if err == nil && (target == at || target == host || target == "["+host+"]") {
			return true
		}
	}
	return false
}

// leastNameBytes keeps a slip of a finger from being a name.
const leastNameBytes = 3
