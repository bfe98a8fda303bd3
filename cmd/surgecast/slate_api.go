package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"surgecast/origin"
)

// slateOrder is what POST /streams/{stream}/slate of the private API takes.
type slateOrder struct {
	Kind origin.SlateKind `json:"kind"`
}

// slateUpload is what POST /slates takes.
type slateUpload struct {
	Kind   origin.SlateKind `json:"kind"`
	Stream string           `json:"stream,omitempty"` // "": for all
	File   []byte           `json:"file"`             // in base64
}

// slateList is what GET /slates answers.
type slateList struct {
	Slates []origin.Slate `json:"slates"`
	// Shown are the streams that show a slate, or gaps, at the moment.
	Shown []origin.Shown `json:"shown"`
}

// showSlate answers with an empty object.
func (c apiConfig) showSlate(w http.ResponseWriter, r *http.Request) {
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10))
	body.DisallowUnknownFields()
	var order slateOrder
	if err := body.Decode(&order); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("the order can't be read: %v", err))
		return
	}
	if !slices.Contains(origin.SlateKinds, order.Kind) {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("kind %q: write one of %v", order.Kind, origin.SlateKinds))
		return
	}
	c.answer(w, r, struct{}{}, c.Streams.ShowSlate(r.PathValue("stream"), order.Kind))
}

// hideSlate answers with an empty object.
func (c apiConfig) hideSlate(w http.ResponseWriter, r *http.Request) {
	c.answer(w, r, struct{}{}, c.Streams.HideSlate(r.PathValue("stream")))
}

func (c apiConfig) listSlates(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, slateList{Slates: c.Streams.Slates(), Shown: c.Streams.Shown()})
}

// addSlate answers with the origin.Slate.
func (c apiConfig) addSlate(w http.ResponseWriter, r *http.Request) {
	limit := int64(base64.StdEncoding.EncodedLen(origin.MaxSlateBytes) + 1<<10)
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	body.DisallowUnknownFields()
	var u slateUpload
	if err := body.Decode(&u); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("the slate can't be read: %v", err))
		return
	}
	slate, err := c.Streams.AddSlate(u.Kind, u.Stream, u.File)
	if errors.Is(err, origin.ErrUnknownStream) {
		refuse(w, http.StatusNotFound, fmt.Sprintf("this origin has no stream %q: its configuration names those that it has", u.Stream))
		return
	}
	c.answer(w, r, slate, err)
}

// removeSlate answers with an empty object.
func (c apiConfig) removeSlate(w http.ResponseWriter, r *http.Request) {
	c.answer(w, r, struct{}{}, c.Streams.RemoveSlate(r.PathValue("id")))
}
