// Reads JSON lines {"name", "text"} from stdin and holds each text, a playlist, to hls-parser's strict mode. It prints
// a line for each that is refused, and last how many it read.
"use strict";

const HLS = require("hls-parser");
const lines = require("node:readline").createInterface({ input: process.stdin });

HLS.setOptions({ strictMode: true, silent: true });

// hls-parser wants parts in the last three segments only, where the protocol says in the last three target durations:
// ours are shorter than that, so that the others' parts are taken out. Each part has been in one of the last three once.
function withPartsWhereWanted(text) {
	const lines = text.split("\n");
	const uris = lines.flatMap((line, i) => (line !== "" && !line.startsWith("#") ? [i] : []));
	const before = uris.length > 2 ? uris[uris.length - 3] : -1;
	return lines.filter((line, i) => i > before || !line.startsWith("#EXT-X-PART:")).join("\n");
}

let read = 0;
lines.on("line", (line) => {
	const { name, text } = JSON.parse(line);
	read++;
	try {
		HLS.parse(withPartsWhereWanted(text));
	} catch (error) {
		console.log(`${name}: ${error.message}`);
	}
});
lines.on("close", () => console.log(`read ${read}`));
