'use strict';

// A player that is at rest has no media under way although its list names more, or nothing under way at all, and plays
// what it has until the picture stands. hls.js comes to rest at times when its pathway changes: where the next segment
// begins behind a discontinuity it looks for one that it has already, and goes on asking for lists alone; nothing that it
// tells shows it. Here that is found out; whoever asks acts on it.

// How often to look, and for how long rest must have been seen: longer than hls.js waits before it asks again (200 ms).
const LOOK_MS = 100;
const REST_MS = 500;
// With more than this ahead there is time for the library to go on by itself.
const REST_AHEAD_S = 0.8;
// Each time in a row waits twice as long as the one before; after the last the session's slow watch has the matter.
const MAX_WAKES = 3;
// So much playing without rest, and the next time is the first again.
const RESTED_MS = 10_000;

class RestWatch {
  wakes = 0; // in all
  #inRow = 0;
  #restMs = 0;
  #calmMs = 0;

  // look says what to do, after ms since the look before: '' | 'wake' | 'reopen'. `due`: the picture should move, and
  // media should come by held requests; `busy`: one is under way; `aheadS`: seconds that are still there to be played.
  look(ms, { due, busy, aheadS }) {
    // A hidden page is asked late, and so are the library's own timers: what counts is how often it was seen at rest.
    const seenMs = Math.min(ms, 2 * LOOK_MS);
    if (!due || busy) {
      this.#restMs = 0;
      if (due && (this.#calmMs += seenMs) >= RESTED_MS) this.#inRow = 0;
      return '';
    }
    this.#restMs += seenMs;
    if (this.#inRow >= MAX_WAKES || aheadS > REST_AHEAD_S || this.#restMs < REST_MS * 2 ** this.#inRow) return '';
    this.wakes++;
    this.#restMs = this.#calmMs = 0;
    return this.#inRow++ === 0 ? 'wake' : 'reopen';
  }
}

// Requests knows which of a library's requests for lists and media are under way: those for the picture, which bring
// its sound too in most streams, and those for sound of its own.
class Requests {
  #lists = new Set();
  #soundLists = new Set();
  #media = new Set();

  // setUp is hls.js's xhrSetup. A request that is ended in any way has a loadend, one that was never sent no loadstart.
  setUp = (xhr, _, { type, frag }) => {
    const kind = { level: this.#lists, audioTrack: this.#soundLists }[type] ?? (frag ? this.#media : null);
    if (!kind) return;
    xhr.addEventListener('loadstart', () => kind.add(xhr));
    xhr.addEventListener('loadend', () => kind.delete(xhr));
  };

  // busy: what must come has been asked for: media, or, where the list names none that are not here, the next list.
  busy(named, soundApart) {
    return this.#media.size > 0 || (!named && this.#lists.size > 0 && (!soundApart || this.#soundLists.size > 0));
  }
}

// aheadOf is how much there is to play without a hole, in seconds.
function aheadOf({ buffered, currentTime }) {
  for (let i = 0; i < buffered.length; i++) {
    if (buffered.start(i) <= currentTime + 0.1 && currentTime < buffered.end(i)) return buffered.end(i) - currentTime;
  }
  return 0;
}

// isNamed: the list names media behind what is here, more than a last short part, and they are no gap.
function isNamed({ edge, partTarget, partList, fragments }, end) {
  return edge - end > partTarget + 0.1 && !(partList?.at(-1)?.gap || fragments.at(-1)?.gap);
}
