package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A look of the page's watch over a library at rest (relay/player/web/rest.js)
// is a letter: b something is under way, r at rest with 0.5 s to play, f at
// rest with 2 s, - the picture need not move. What is done is . nothing,
// w told to load on, o opened anew.
var restWatches = []struct{ name, looks, want string }{
	{"hls.js between two tries", strings.Repeat("rrrrb", 20), strings.Repeat(".....", 20)},
	{"half a second of rest", "brrrrr", ".....w"},
	{"paused", strings.Repeat("-", 50), strings.Repeat(".", 50)},
	{"sought in between", "rrrr-rrrr", "........."},
	{"enough to play", strings.Repeat("f", 20) + "r", strings.Repeat(".", 20) + "w"},
	{
		"woken in vain: with growing pauses, and three times",
		"rrrrr" + strings.Repeat("r", 10) + strings.Repeat("r", 20) + strings.Repeat("r", 600),
		"....w" + strings.Repeat(".", 9) + "o" + strings.Repeat(".", 19) + "o" + strings.Repeat(".", 600),
	},
	{"soon again", "rrrrr" + strings.Repeat("b", 99) + strings.Repeat("r", 10), "....w" + strings.Repeat(".", 99) + strings.Repeat(".", 9) + "o"},
	{"long after", "rrrrr" + strings.Repeat("b", 100) + "rrrrr", "....w" + strings.Repeat(".", 100) + "....w"},
	{"a pause is no playing", "rrrrr" + strings.Repeat("-", 200) + "rrrrr", "....w" + strings.Repeat(".", 200) + "....."},
}

// restScript runs the watch through those, and its parts through what a browser
// gives them.
const restScript = `
const states = {b: {due: true, busy: true, aheadS: 0.5}, r: {due: true, busy: false, aheadS: 0.5},
	f: {due: true, busy: false, aheadS: 2}, '-': {due: false, busy: false, aheadS: 0.5}};
const run = (looks, ms) => {
	const watch = new RestWatch();
	return [...looks].map((look) => ({'': '.', wake: 'w', reopen: 'o'})[watch.look(ms, states[look])]).join('') + ' ' + watch.wakes;
};
const asked = (kinds, named, soundApart) => { // the states of one request of each kind: not sent, under way, ended
	const requests = new Requests();
	const xhrs = kinds.map((kind) => {
		const xhr = new EventTarget();
		requests.setUp(xhr, '', kind);
		return xhr;
	});
	return [null, 'loadstart', 'loadend'].map((event) => {
		for (const xhr of xhrs) if (event) xhr.dispatchEvent(new Event(event));
		return requests.busy(named, soundApart);
	}).join();
};
const part = {type: 'media-fragment', frag: {type: 'main'}}, level = {type: 'level'}, track = {type: 'audioTrack'};
const list = {edge: 10, partTarget: 0.2, partList: [{gap: false}], fragments: [{gap: undefined}]};
const ranges = (...r) => ({length: r.length, start: (i) => r[i][0], end: (i) => r[i][1]});
`

func TestRestWatch(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	t.Parallel()
	script, err := os.ReadFile(filepath.Join(repository, "relay/player/web/rest.js"))
	if err != nil {
		t.Fatal(err)
	}
	view := openBrowser(t)
	eval := func(expression string) string {
		t.Helper()
		return view.evalAnywhere("(() => {" + string(script) + restScript + "return String(" + expression + ");})()")
	}
	for _, test := range restWatches {
		acts := strings.Count(test.want, "w") + strings.Count(test.want, "o")
		if got, want := eval("run('"+test.looks+"', 100)"), test.want+" "+string(rune('0'+acts)); got != want {
			t.Errorf("%s:\n%s\ngot\n%s\nwant\n%s", test.name, test.looks, got, want)
		}
	}
	for _, test := range []struct{ what, expression, want string }{
		{"a hidden page's looks, late like the library's own timers", "run('rrr', 1000)", "..w 1"},
		{"a list is under way", "asked([level], false, false)", "false,true,false"},
		{"media are under way", "asked([part], false, false)", "false,true,false"},
		{"steering is", "asked([{type: 'steering-manifest'}], false, false)", "false,false,false"},
		{"a list, where the one before names more", "asked([level], true, false)", "false,false,false"},
		{"media and a list then", "asked([level, part], true, false)", "false,true,false"},
		{"the picture's list alone, where sound has its own", "asked([level], false, true)", "false,false,false"},
		{"the sound's list alone", "asked([track], false, true)", "false,false,false"},
		{"both", "asked([level, track], false, true)", "false,true,false"},
		{"all that is named is here", "isNamed(list, 10)", "false"},
		{"all but a short last part", "isNamed(list, 9.75)", "false"},
		{"a part is named", "isNamed(list, 9.6)", "true"},
		{"a gap is named", "isNamed({...list, partList: [{gap: true}]}, 9)", "false"},
		{"nothing to play", "aheadOf({buffered: ranges(), currentTime: 3})", "0"},
		{"to play until the hole", "aheadOf({buffered: ranges([0, 2], [2.5, 5], [6, 9]), currentTime: 3})", "2"},
		{"in the hole", "aheadOf({buffered: ranges([0, 2], [2.5, 5]), currentTime: 2.1})", "0"},
	} {
		if got := eval(test.expression); got != test.want {
			t.Errorf("%s: %s is %s, want %s", test.what, test.expression, got, test.want)
		}
	}
}
