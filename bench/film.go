package main

import (
	"bytes"
	"errors"
	"os"
)

// film is a clip of H.264 as pictures of NAL units.
type film struct {
	sps, pps []byte
	pictures [][][]byte
}

// readFilm reads a file with start codes, in which each picture is one slice.
func readFilm(file string) (*film, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	f := &film{}
	for _, nalu := range splitNALUs(text) {
		switch nalu[0] & 0x1f {
		case 7:
			f.sps = nalu
		case 8:
			f.pps = nalu
		case 1:
			f.pictures = append(f.pictures, [][]byte{nalu})
		case 5:
			f.pictures = append(f.pictures, [][]byte{f.sps, f.pps, nalu})
		}
	}
	if len(f.pictures) == 0 || f.sps == nil || f.pps == nil {
		return nil, errors.New("no H.264 in " + file)
	}
	return f, nil
}

// splitNALUs takes the start codes away.
func splitNALUs(text []byte) (nalus [][]byte) {
	code := []byte{0, 0, 1}
	for at := bytes.Index(text, code); at >= 0; {
		text = text[at+len(code):]
		at = bytes.Index(text, code)
		nalu := text
		if at >= 0 {
			nalu = text[:at]
		}
		if nalu = bytes.TrimRight(nalu, "\x00"); len(nalu) > 0 {
			nalus = append(nalus, nalu)
		}
	}
	return nalus
}
