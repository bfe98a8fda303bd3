package main

import (
	"encoding"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxConfigBytes bounds a configuration file; a longer one is refused, since
// it is most likely not one at all.
const maxConfigBytes = 1 << 20

// configError is what stops a start: the place, and a sentence that says what
// to write there instead. Of a file that can't be read there is no place: the
// sentence then names the file, and Line is 0.
type configError struct {
	File string
	Line int
	Text string
}

func (e *configError) Error() string {
	if e.Line == 0 {
		return e.Text
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text)
}

// document is a parsed configuration file. It is read in one strict walk
// along the types of the Config structs: a key that no field has is an error,
// a value that a field can't take is one, and each knows its line.
type document struct {
	file string
	root ast.Node // nil when the file holds no key
}

// readDocument parses the YAML in file.
func readDocument(file string) (*document, error) {
	d := &document{file: file}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, d.errorf(0, "there is no %s: make one with \"surgecast init DIR\", or name yours with --config", file)
	case err != nil:
		return nil, d.errorf(0, "read configuration: %v", err)
	case info.IsDir():
		return nil, d.errorf(0, "%s is a folder: name the configuration in it with --config", file)
	case info.Size() > maxConfigBytes:
		return nil, d.errorf(0, "%s is larger than 1 MiB: this is no configuration", file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, d.errorf(0, "read configuration: %v", err)
	}
	return parseDocument(file, text)
}

func parseDocument(file string, text []byte) (*document, error) {
	d := &document{file: file}
	parsed, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			return nil, d.errorf(syntax.GetToken().Position.Line, "this is not YAML: %s", syntax.GetMessage())
		}
		return nil, d.errorf(1, "this is not YAML: %v", err)
	}
	if len(parsed.Docs) > 1 && parsed.Docs[1].Body != nil {
		return nil, d.errorf(parsed.Docs[1].Body.GetToken().Position.Line, "a second document begins here: keep one and remove the \"---\"")
	}
	if len(parsed.Docs) > 0 {
		d.root = parsed.Docs[0].Body
	}
	return d, nil
}

func (d *document) errorf(line int, format string, args ...any) error {
	return &configError{File: d.file, Line: line, Text: fmt.Sprintf(format, args...)}
}

// decode fills the struct that into points to. What the file does not name
// keeps the value that it had, so defaults are put in before.
func (d *document) decode(into any) error {
	if d.root == nil || d.root.Type() == ast.CommentType {
		return nil
	}
	return d.decodeStruct(d.root, reflect.ValueOf(into).Elem(), "")
}

// decodeNode fills one value. path is its name for the reader, such as
// "streams[0].part".
func (d *document) decodeNode(node ast.Node, into reflect.Value, path string) error {
	if node.Type() == ast.NullType {
		return d.errorf(line(node), "%s has no value: write one, or remove the line to get the default", path)
	}
	if leaf, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok {
		text, err := d.scalar(node, path)
		if err != nil {
			return err
		}
		if err := leaf.UnmarshalText([]byte(text)); err != nil {
			return d.errorf(line(node), "%s: %v", path, err)
		}
		return nil
	}
	switch into.Kind() {
	case reflect.Struct:
		return d.decodeStruct(node, into, path)
	case reflect.Slice:
		return d.decodeSlice(node, into, path)
	default: // strings; all other values are types with UnmarshalText
		text, err := d.scalar(node, path)
		into.SetString(text)
		return err
	}
}

func (d *document) decodeStruct(node ast.Node, into reflect.Value, path string) error {
	fields := fieldsOf(into)
	mapping, ok := node.(ast.MapNode)
	if !ok {
		where := path
		if where == "" {
			where = "the file"
		}
		return d.errorf(line(node), "%s holds keys of its own (%s), each on a line: this is none", where, strings.Join(keysOf(fields), ", "))
	}
	seen := make(map[string]bool)
	for entries := mapping.MapRange(); entries.Next(); {
		key := entries.Key().GetToken().Value
		field, ok := fields[key]
		if !ok {
			return d.unknownKey(entries.Key(), key, path, keysOf(fields))
		}
		if seen[key] {
			return d.errorf(line(entries.Key()), "%s stands here for the second time: remove one", join(path, key))
		}
		seen[key] = true
		if err := d.decodeNode(entries.Value(), field, join(path, key)); err != nil {
			return err
		}
	}
	return nil
}

func (d *document) decodeSlice(node ast.Node, into reflect.Value, path string) error {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		return d.errorf(line(node), "%s is a list: write [a, b], or each entry on its own line after \"- \"", path)
	}
	into.SetZero() // a list in the file replaces the default, it does not add to it
	for i, entry := range list.Values {
		value := reflect.New(into.Type().Elem()).Elem()
		if err := d.decodeNode(entry, value, fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
		into.Set(reflect.Append(into, value))
	}
	return nil
}

// scalar returns the text of one plain or quoted value.
func (d *document) scalar(node ast.Node, path string) (string, error) {
	switch n := node.(type) {
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.AnchorNode, *ast.AliasNode:
		return "", d.errorf(line(node), "%s: anchors and aliases are not understood here: write the value itself", path)
	case ast.ScalarNode:
		return n.GetToken().Value, nil
	}
	return "", d.errorf(line(node), "%s is one value, not a list or a group of keys", path)
}

func (d *document) unknownKey(node ast.Node, key, path string, known []string) error {
	where := "here"
	if path != "" {
		where = "under " + path
	}
	if near := nearest(key, known); near != "" {
		return d.errorf(line(node), "there is no key %q %s: did you mean %q?", key, where, near)
	}
	return d.errorf(line(node), "there is no key %q %s: the keys are %s", key, where, strings.Join(known, ", "))
}

// at returns an error about the value at path, such as "streams", 0, "name".
// A key that is not in the file is complained about at what should hold it.
func (d *document) at(path []any, format string, args ...any) error {
	node, at := d.root, 1
	for _, step := range path {
		child := childOf(node, step)
		if child == nil {
			break
		}
		node, at = child, line(child)
	}
	return d.errorf(at, format, args...)
}

func childOf(node ast.Node, step any) ast.Node {
	switch n := node.(type) {
	case ast.MapNode:
		for entries := n.MapRange(); entries.Next(); {
			if entries.Key().GetToken().Value == step {
				return entries.Value()
			}
		}
	case *ast.SequenceNode:
		if i, ok := step.(int); ok && i < len(n.Values) {
			return n.Values[i]
		}
	}
	return nil
}

func line(node ast.Node) int {
	if token := node.GetToken(); token != nil && token.Position != nil {
		return token.Position.Line
	}
	return 1
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// fieldsOf returns the fields of a struct by their yaml key; those of an
// embedded struct count as its own, unless its tag "keys" names others alone.
func fieldsOf(v reflect.Value) map[string]reflect.Value {
	fields := make(map[string]reflect.Value)
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Anonymous {
			only := strings.Fields(field.Tag.Get("keys"))
			for key, value := range fieldsOf(v.Field(i)) {
				if len(only) == 0 || slices.Contains(only, key) {
					fields[key] = value
				}
			}
		} else if key := field.Tag.Get("yaml"); key != "" {
			fields[key] = v.Field(i)
		}
	}
	return fields
}

func keysOf(fields map[string]reflect.Value) []string {
	keys := make([]string, 0, len(fields))
	for key := range fields {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// beside returns a file that the configuration names: paths are relative to
// the configuration's own folder, so that a folder can be moved as it is.
func (d *document) beside(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(d.file), name)
}
