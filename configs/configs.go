// Package configs carries the sample configurations inside the binary, so that
// `surgecast init` writes the very files that are documented here.
package configs

import _ "embed"

// Origin is origin.yaml: complete, commented.
//
//go:embed origin.yaml
var Origin string

// Relay is relay.yaml: complete, commented, the same on every clone.
//
//go:embed relay.yaml
var Relay string

// Nameserver is nameserver.yaml: complete, commented, the same on each.
//
//go:embed nameserver.yaml
var Nameserver string
