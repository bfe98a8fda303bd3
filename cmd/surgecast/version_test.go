package main

import (
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	settings := []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef0123"}, {Key: "vcs.modified", Value: "true"}}
	for _, test := range []struct {
		info debug.BuildInfo
		want string
	}{
		{debug.BuildInfo{}, "devel"},
		{debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "devel"},
		{debug.BuildInfo{Main: debug.Module{Version: "v0.3.1"}}, "v0.3.1"},
		{debug.BuildInfo{Settings: settings}, "devel-0123456789ab+changes"},
		{debug.BuildInfo{Settings: settings[:1]}, "devel-0123456789ab"},
	} {
		if got := versionOf(&test.info); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}
