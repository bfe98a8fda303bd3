package main

import (
	"go/build"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// arrows are the imports among our packages, all downward: DESIGN.md section
// 1. What a package is not allowed here, it can be understood without.
var arrows = map[string][]string{
	"cmd/surgecast":     {"cluster", "configs", "origin", "relay", "relay/player"},
	"origin":            {"relay"},
	"relay":             {},
	"relay/player":      {},
	"relay/hlscheck":    {},
	"origin/origintest": {"origin", "relay"},
	"cluster":           {},
	"configs":           {},
	"simnet":            {},
	"bench":             {}, // speaks only HTTP, DNS and RTSP
}

// testOnly may be imported by tests alone, and by nothing that ships.
var testOnly = []string{"simnet", "origin/origintest", "relay/hlscheck"}

const module = "surgecast/"

func TestImports(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := 0
	for _, dir := range packageDirs(t, root) {
		p, err := build.ImportDir(filepath.Join(root, dir), 0)
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		seen++
		allowed, known := arrows[dir]
		if !known {
			t.Logf("%s: a package that the arrows do not name", dir)
			allowed = belowOf(dir)
		}
		for _, imported := range ours(p.Imports) {
			if !slices.Contains(allowed, imported) && !(slices.Contains(testOnly, dir) && imported != "cmd/surgecast") {
				t.Errorf("%s imports %s: the arrows allow %v", dir, imported, allowed)
			}
		}
		// A test may look at anything but the binary, and at what is for tests.
		for _, imported := range ours(append(p.TestImports, p.XTestImports...)) {
			if imported == "cmd/surgecast" {
				t.Errorf("the tests of %s import the command", dir)
			}
		}
		for _, imported := range ours(p.Imports) {
			if slices.Contains(testOnly, imported) && !slices.Contains(testOnly, dir) {
				t.Errorf("%s imports %s, which is for tests", dir, imported)
			}
		}
	}
	if seen < 4 {
		t.Errorf("saw only %d packages below %s", seen, root)
	}
}

// belowOf lets a package that is new in a family import what the family may.
func belowOf(dir string) []string {
	return arrows[strings.SplitN(dir, "/", 2)[0]]
}

// packageDirs lists the folders with Go files, relative to root.
func packageDirs(t *testing.T, root string) []string {
	t.Helper()
	var dirs []string
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		if dir = filepath.ToSlash(dir); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// ours returns those imports that are packages of this module.
func ours(imports []string) []string {
	var found []string
	for _, path := range imports {
		if rest, ok := strings.CutPrefix(path, module); ok {
			found = append(found, rest)
		}
	}
	return found
}
