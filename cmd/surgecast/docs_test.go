package main

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const repository = "../.."

// documents are the repository's own Markdown files, by path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(repository, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && (name == ".git" || name == "node_modules" || name == "testdata") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			text, err := os.ReadFile(path)
			found[path] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading      = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInAnchor  = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)
)

func TestDocumentLinksResolve(t *testing.T) {
	all := documents(t)
	for path, text := range all {
		for _, match := range markdownLink.FindAllStringSubmatch(text, -1) {
			link, err := url.Parse(match[1])
			if err != nil || link.Scheme != "" {
				if err != nil {
					t.Errorf("%s: link %q: %v", path, match[1], err)
				}
				continue
			}
			target := path
			if link.Path != "" {
				target = filepath.Join(filepath.Dir(path), link.Path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", path, match[1], err)
			} else if link.Fragment != "" && !hasAnchor(all[target], link.Fragment) {
				t.Errorf("%s links to %s, which has no such heading", path, match[1])
			}
		}
	}
}

func hasAnchor(text, fragment string) bool {
	for _, match := range heading.FindAllStringSubmatch(text, -1) {
		anchor := notInAnchor.ReplaceAllString(strings.ToLower(match[1]), "")
		if strings.ReplaceAll(anchor, " ", "-") == fragment {
			return true
		}
	}
	return false
}

func TestReadmeIsShort(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(text), "\n"); lines >= 80 {
		t.Errorf("README.md has %d lines; what goes beyond 80 belongs into docs", lines)
	}
}

// What the README tells a newcomer to run is there.
func TestReadmeNamesMakeTargets(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(filepath.Join(repository, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("(?m)(?:^|`)make ([a-z]+)").FindAllStringSubmatch(string(readme), -1)
	if len(named) == 0 {
		t.Fatal("README.md names no make target")
	}
	for _, match := range named {
		if !strings.Contains(string(makefile), "\n"+match[1]+":") {
			t.Errorf("README.md names make %s, which is no target", match[1])
		}
	}
}
