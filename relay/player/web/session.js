'use strict';

// A session keeps one stream playing in one <video>: it opens the stream, follows it, and opens it again whatever
// happens, for ever. It knows nothing of the page and tells it through `report` what changed.

// The distance to the live edge that we aim at: room for a few parts of 225 ms, so that one late part is not seen.
const TARGET_LATENCY_S = 1.5;
// Farther behind than this the player jumps instead of playing faster.
const MAX_LATENCY_S = 8;
// A server that accepts and stays silent is left after this; the longest hold of a running stream is shorter.
const FIRST_BYTE_MS = 2500;
// Failures in a row wait 0, then this long, doubling up to the cap; with half of it left to chance, so that a
// thousand viewers of one lost server do not come back in the same moment.
const FIRST_RETRY_MS = 300;
const LAST_RETRY_MS = 6000;
// How often a stream that has not started, is interrupted, or has ended is asked for.
const ABSENT_MS = 4000;
const INTERRUPTED_MS = 3000;
const ENDED_MS = 15_000;
const UNPLAYABLE_MS = 30_000;
// Relays that are remembered beside the page's own; a playlist names half as many.
const MAX_SOURCES = 8;
// No new picture for this long, without any error told, and the stream is opened anew.
const STUCK_MS = 8000;
// This long without trouble, and the next failure counts as the first.
const CALM_MS = 10_000;

// Trouble says why there is no picture: '' | 'absent' | 'busy' | 'connection' | 'interrupted' | 'ended' | 'format'.
class Session {
  constructor(video, source, report) {
    this.video = video;
    this.source = source;
    this.report = report;
    this.trouble = '';
    this.flowing = false; // pictures are moving
    this.played = false; // pictures have moved at least once
    this.paused = false; // by the viewer
    this.blocked = false; // the browser wants a click first
    this.gap = false; // the list ends in a gap: the source is away
    this.stalls = 0; // flow that broke, not by the viewer's doing
    this.failures = 0;
    this.timer = 0;
    this.movedAt = performance.now();
    this.movedTo = 0;
    this.troubleAt = 0;
    this.#listen();
  }

  #listen() {
    const on = (event, handler) => this.video.addEventListener(event, handler);
    on('playing', () => this.#flow());
    on('waiting', () => this.#halt());
    on('emptied', () => this.#halt());
    on('ended', () => this.#end());
    addEventListener('online', () => this.timer && this.reopen());
    setInterval(() => this.#watch(), 500);
  }

  #flow() {
    this.flowing = this.played = true;
    this.blocked = false;
    this.trouble = '';
    this.report();
  }

  #halt() {
    if (this.flowing && !this.video.seeking && !this.paused) this.stalls++;
    this.flowing = false;
    this.report();
  }

  #end() {
    this.flowing = false;
    this.failed('ended');
  }

  // The one watch over everything that no event tells.
  #watch() {
    const now = performance.now();
    // A seek to where there is nothing moves the time and no picture: hls.js does it again and again at times.
    const moved = this.video.currentTime !== this.movedTo && !this.video.seeking;
    if (moved || this.paused || this.blocked || this.timer) this.movedAt = now;
    this.movedTo = this.video.currentTime;
    if (now - this.movedAt > STUCK_MS) {
      this.movedAt = now;
      this.failed(this.trouble || 'interrupted');
    }
    if (this.flowing && now - this.troubleAt > CALM_MS) this.failures = 0;
    this.seen();
    this.report();
  }

  // failed is told every failure that playing did not survive by itself.
  failed(trouble) {
    this.trouble = trouble;
    this.troubleAt = performance.now();
    if (!this.timer) {
      this.timer = setTimeout(() => this.reopen(), this.#wait(trouble));
    }
    this.report();
  }

  #wait(trouble) {
    const pauses = { absent: ABSENT_MS, interrupted: INTERRUPTED_MS, ended: ENDED_MS, format: UNPLAYABLE_MS };
    const failures = this.failures++;
    if (pauses[trouble]) return pauses[trouble] * (0.75 + Math.random() / 2);
    if (failures === 0) return 0;
    return Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1)) * (0.5 + Math.random());
  }

  // Who watched says so when coming again: a full relay takes those before the new ones.
  address(source = this.source) {
    return this.played ? `${source}?_sc_again=1` : source;
  }

  reopen() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.movedAt = performance.now();
    this.open();
  }

  play() {
    this.paused = false;
    this.video.play().catch((error) => {
      // AbortError only says that another load came in between.
      this.blocked = error.name === 'NotAllowedError';
      this.report();
    });
  }

  pause() {
    this.paused = true;
    this.flowing = false;
    this.video.pause();
    this.report();
  }
}

// LibrarySession plays through hls.js.
class LibrarySession extends Session {
  constructor(video, source, report) {
    super(video, source, report);
    this.sources = [source]; // multivariant playlists: the page's own, then those of the relays that it names
    this.from = source; // which of them is asked next
    this.current = null; // plays, or played until its connection failed
    this.next = null; // is being opened; takes the picture over at its first list with something new
    this.shown = 0; // wall time of the newest picture shown, ms
    this.clock = new ServerClock();
    this.beforeSwap = () => {};
    this.silent = false; // the stream has no sound
    this.rest = new RestWatch();
    this.lookedAt = performance.now();
    setInterval(() => this.#look(), LOOK_MS);
  }

  open() {
    this.next?.destroy();
    const requests = new Requests();
    const hls = (this.next = new Hls(hlsConfig(requests)));
    hls.requests = requests;
    hls.on(Hls.Events.MANIFEST_LOADED, (_, { levels }) => this.#learn(levels));
    hls.on(Hls.Events.LEVEL_LOADED, (_, data) => this.#loaded(hls, data));
    hls.on(Hls.Events.BUFFER_CODECS, (_, tracks) => (this.silent = isSilent(tracks)));
    hls.on(Hls.Events.ERROR, (_, data) => data.fatal && this.#broken(hls, data));
    hls.loadSource(this.address(this.from));
  }

  // The relay that the page came from may be the one that is lost.
  #learn(levels) {
    const named = levels.map(({ url }) => sourceOf(url));
    const [own, ...before] = this.sources;
    const others = new Set([...named, ...before]);
    others.delete(new URL(own, location).href);
    this.sources = [own, ...[...others].slice(0, MAX_SOURCES)];
  }

  failed(trouble) {
    if (trouble === 'connection' || trouble === 'busy') {
      const next = this.sources.indexOf(this.from) + 1;
      this.from = this.sources[next % this.sources.length];
    }
    super.failed(trouble);
  }

  #loaded(hls, { details, networkDetails }) {
    aim(hls, details);
    this.clock.note(networkDetails?.getResponseHeader?.('Date'));
    this.#heed(details);
    if (hls !== this.next) return;
    if (!details.live) return this.#give('ended');
    // The same list again, after a restart, would show the last second once more at each try.
    const edge = edgeDate(details);
    if (this.shown && edge && edge < this.shown + 1000) return this.#give('interrupted');
    this.#takeOver(hls);
  }

  // #heed looks whether the source is away. The library goes on by itself behind a gap; to open the stream anew meanwhile
  // would bring nothing but requests, all viewers' at a time. So there is nothing stuck while lists come.
  #heed(details) {
    const before = this.gap;
    this.gap = endsInGap(details);
    if (this.gap) {
      this.movedAt = performance.now();
      this.trouble = ''; // what it was, lists come again
    }
    if (this.gap || before) this.report();
  }

  #give(trouble) {
    this.next.destroy();
    this.next = null;
    this.failed(trouble);
  }

  #takeOver(hls) {
    this.beforeSwap();
    this.current?.destroy();
    this.current = hls;
    this.next = null;
    hls.attachMedia(this.video);
    if (!this.paused) this.play();
  }

  #broken(hls, data) {
    if (hls === this.next) return this.#give(this.#cause(data));
    if (hls !== this.current || this.next) return;
    // A decoder's hiccup is mended in place once; if it comes again at once, the stream is opened anew.
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && performance.now() - this.troubleAt > CALM_MS) {
      this.troubleAt = performance.now();
      return hls.recoverMediaError();
    }
    this.failed(this.#cause(data));
  }

  // #look has the watch over a library at rest. If nothing at all is under way it is told to load on, on the pathway that
  // it has chosen; if that does not help, or lists do come, the stream is opened anew at the same relay, beside what
  // still plays.
  #look() {
    const now = performance.now();
    const ms = now - this.lookedAt;
    this.lookedAt = now;
    const { current: hls, video } = this;
    const list = hls?.latestLevelDetails;
    const running = hls && !this.next && !this.timer && !this.paused && !this.blocked;
    // A seek ends when its media are here; until then they must be under way as well.
    const due = running && !video.paused && !video.ended && isHeld(list);
    const aheadS = due ? aheadOf(video) : 0;
    const named = due && isNamed(list, video.currentTime + aheadS);
    const busy = due && hls.requests.busy(named, Boolean(hls.audioTracks[hls.audioTrack]?.url));
    const what = this.rest.look(ms, { due, busy, aheadS });
    if (!what) return;
    console.warn(`at rest with ${aheadS.toFixed(2)} s to play, ${named ? 'media are' : 'nothing is'} named: ${what}`);
    if (what === 'reopen' || named) {
      const serving = sourceOf(list.url);
      if (this.sources.includes(serving)) this.from = serving;
      return this.reopen();
    }
    hls.stopLoad();
    hls.startLoad();
  }

  #cause({ type, details, response }) {
    if (details === Hls.ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR) return 'format';
    if (details === Hls.ErrorDetails.LEVEL_EMPTY_ERROR) return 'absent';
    if (type !== Hls.ErrorTypes.NETWORK_ERROR) return 'interrupted';
    const ofList = details === Hls.ErrorDetails.MANIFEST_LOAD_ERROR || details === Hls.ErrorDetails.LEVEL_LOAD_ERROR;
    if (ofList && (response?.code === 404 || response?.code === 410)) return 'absent';
    if (details === Hls.ErrorDetails.MANIFEST_LOAD_ERROR && response?.code === 503) return 'busy';
    return 'connection';
  }

  seen() {
    const date = this.current?.playingDate;
    if (date && this.flowing) this.shown = Math.max(this.shown, date.getTime());
  }

  // latency is the time from a picture's moment at the source to now, in seconds; null where it is unknown.
  latency() {
    if (!this.current || !this.played) return null;
    const date = this.current.playingDate;
    return date ? (this.clock.now() - date.getTime()) / 1000 : this.current.latency || null;
  }

  // behind is the distance to where a live viewer would be, in seconds.
  behind() {
    const position = this.current?.liveSyncPosition;
    return position ? position - this.video.currentTime : 0;
  }

  // A paused viewer takes nothing from the servers.
  pause() {
    super.pause();
    this.current?.stopLoad();
  }

  play() {
    if (this.paused) this.current?.startLoad();
    super.play();
  }

  toLive() {
    this.play();
    const position = this.current?.liveSyncPosition;
    if (position) this.video.currentTime = position;
  }
}

// NativeSession plays where the browser itself knows HLS: without the library, or without media source extensions.
class NativeSession extends Session {
  constructor(video, source, report) {
    super(video, source, report);
    this.silent = false;
    video.addEventListener('error', () => this.#ask());
  }

  open() {
    this.video.src = this.address();
    if (!this.paused) this.play();
  }

  // The element only says that it failed, so the list is asked for the reason.
  async #ask() {
    try {
      const { status } = await fetch(this.address(), { cache: 'no-store' });
      this.failed({ 200: 'interrupted', 404: 'absent', 410: 'absent', 503: 'busy' }[status] ?? 'connection');
    } catch {
      this.failed('connection');
    }
  }

  seen() {}

  latency() {
    const start = this.video.getStartDate?.().getTime();
    if (!this.played) return null;
    return start ? (Date.now() - start) / 1000 - this.video.currentTime : null;
  }

  behind() {
    const { seekable, currentTime } = this.video;
    return seekable.length ? Math.max(0, seekable.end(seekable.length - 1) - currentTime - 3 * TARGET_LATENCY_S) : 0;
  }

  toLive() {
    const { seekable } = this.video;
    if (seekable.length) this.video.currentTime = seekable.end(seekable.length - 1) - 2 * TARGET_LATENCY_S;
    this.play();
  }
}

// ServerClock is now by the servers, for viewers whose own clock is wrong. A Date header has whole seconds, so the
// largest difference ever seen is the nearest from below; a small one is left to the viewer's own finer clock.
class ServerClock {
  #ahead = -Infinity;

  note(date) {
    const ahead = Date.parse(date ?? '') - Date.now();
    if (ahead > this.#ahead) this.#ahead = ahead;
  }

  now() {
    const trusted = Number.isFinite(this.#ahead) && Math.abs(this.#ahead + 500) > 2000;
    return Date.now() + (trusted ? this.#ahead : 0);
  }
}

function hlsConfig(requests) {
  const policy = (firstByteMs, retries) => ({
    default: {
      maxTimeToFirstByteMs: firstByteMs,
      maxLoadTimeMs: 10_000,
      timeoutRetry: { maxNumRetry: 0, retryDelayMs: 0, maxRetryDelayMs: 0 },
      errorRetry: { maxNumRetry: retries, retryDelayMs: 200, maxRetryDelayMs: 200 },
    },
  });
  return {
    lowLatencyMode: true,
    xhrSetup: requests.setUp,
    liveSyncDuration: TARGET_LATENCY_S,
    liveMaxLatencyDuration: MAX_LATENCY_S,
    maxLiveSyncPlaybackRate: 1.5,
    backBufferLength: 10,
    capLevelToPlayerSize: true,
    manifestLoadPolicy: policy(2 * FIRST_BYTE_MS, 0), // a redirect and a new connection are in it
    playlistLoadPolicy: policy(FIRST_BYTE_MS, 1),
    fragLoadPolicy: policy(FIRST_BYTE_MS, 1),
  };
}

// aim fits the distance to the live edge to the stream: one without parts needs whole segments of room.
function aim(hls, details) {
  if (details.partTarget || hls.aimed) return;
  hls.aimed = true;
  hls.targetLatency = details.holdBack || 3 * details.targetduration;
  hls.config.liveMaxLatencyDuration = hls.targetLatency + MAX_LATENCY_S;
  hls.config.playlistLoadPolicy.default.maxTimeToFirstByteMs = Math.max(FIRST_BYTE_MS, 1500 * details.targetduration + 500);
}

// isHeld: while this list is followed, a request for the next one is always held.
function isHeld(details) {
  return Boolean(details?.live && details.canBlockReload && details.partTarget);
}

// endsInGap: the newest that a live list names is a gap.
function endsInGap({ live, partList, fragments }) {
  return live && Boolean((partList?.at(-1) ?? fragments.at(-1))?.gap);
}

// sourceOf is the multivariant playlist of the relay that this list is from.
function sourceOf(list) {
  return new URL('../index.m3u8', new URL(list, location)).href;
}

// edgeDate is the wall time of the newest picture in a list, in ms; 0 where the list does not say.
function edgeDate(details) {
  const last = details.fragments.at(-1);
  return last?.programDateTime ? last.programDateTime + (details.edge - last.start) * 1000 : 0;
}

function isSilent(tracks) {
  return Boolean(tracks.video) && !tracks.audio && !tracks.audiovideo;
}

// openSession picks the way to play; null where there is none.
function openSession(video, source, report) {
  const library = typeof Hls === 'function' && Hls.isSupported();
  if (!library && !video.canPlayType('application/vnd.apple.mpegurl')) return null;
  const session = library ? new LibrarySession(video, source, report) : new NativeSession(video, source, report);
  session.reopen();
  return session;
}
