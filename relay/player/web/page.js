'use strict';

// The page around the session: what a viewer sees, hears and presses. All that the page knows stands in
// <html data-state data-latency data-stalls>, where tests, and scripts of the same site, read it too.
(() => {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;
  const video = $('video');
  const player = $('player');

  // At the edge within this, a viewer is live; farther back we offer the jump.
  const LIVE_WITHIN_S = 4;
  // Overlaid controls leave the picture after this long without a move.
  const HIDE_AFTER_MS = 3000;
  // A wait shorter than this is not worth covering the picture for.
  const TELL_AFTER_MS = 400;

  const TEXTS = {
    connecting: ['Connecting…', ''],
    buffering: ['One moment…', ''],
    absent: ['The operation has not started yet.', 'This page will begin by itself.'],
    gone: ['The operation is not on air at the moment.', 'This page will go on by itself.'],
    busy: ['The stream is not available at the moment.', 'This page tries again by itself.'],
    connection: ['Connection lost – trying another server…', ''],
    unreachable: ['The server cannot be reached.', 'This page keeps trying. Is your connection all right?'],
    interrupted: ['The picture is interrupted.', 'It will continue by itself.'],
    gap: ['The broadcast is interrupted at the moment.', 'This page will go on by itself.'],
    ended: ['The operation has ended.', 'Thank you for watching.'],
    format: ['This browser cannot play the video.', 'Please try another browser, or update this one.'],
    unable: ['This browser cannot play live video.', 'Please try another browser, or update this one.'],
    missing: ['The player library is missing on this server.', 'Please try Safari, or ask whoever runs the stream.'],
  };

  const stream = decodeURIComponent(location.pathname.split('/').filter(Boolean).at(-1) ?? '');
  const title = stream.charAt(0).toUpperCase() + stream.slice(1).replaceAll('-', ' ');
  document.title = `${title} – live`;
  $('title').textContent = title;

  video.muted = true;
  let soundChosen = false;
  const session = openSession(video, 'index.m3u8', render);
  if (session instanceof LibrarySession) session.beforeSwap = holdPicture;

  // situation is the state of the page and the text that goes with it; no text while the picture moves.
  function situation() {
    if (!session) return ['error', root.dataset.library ? 'missing' : 'unable'];
    const { trouble, flowing, played, paused, blocked, gap } = session;
    if (trouble === 'format') return ['error', 'format'];
    if (trouble === 'ended') return ['ended', 'ended'];
    if (flowing || paused || blocked) return [played ? 'playing' : 'loading', ''];
    if (gap && (!trouble || trouble === 'interrupted')) return [played ? 'stalled' : 'waiting', 'gap'];
    if (trouble === 'absent') return ['waiting', played ? 'gone' : 'absent'];
    if (!played && trouble === 'connection') return ['error', 'unreachable'];
    if (trouble === 'busy') return [played ? 'stalled' : 'waiting', 'busy'];
    if (!played) return ['loading', trouble || 'connecting'];
    return ['stalled', trouble || 'buffering'];
  }

  let shownText = 'connecting';
  let shownState = 'loading';
  let tellTimer = 0;

  function render() {
    const [state, text] = situation();
    if (text !== shownText) {
      shownText = text;
      clearTimeout(tellTimer);
      tellTimer = setTimeout(() => tell(text), state === 'stalled' ? TELL_AFTER_MS : 0);
    }
    if (state !== shownState) {
      if (state === 'playing') announce('The live picture is playing.');
      shownState = state;
    }
    root.dataset.state = state;
    root.dataset.stalls = session?.stalls ?? 0;
    root.dataset.wakes = session?.rest?.wakes ?? 0;
    root.dataset.paused = Boolean(session?.paused);
    if (session?.flowing) $('still').hidden = true;
    renderControls(state);
    renderLatency(state);
  }

  function tell(text) {
    const [headline, detail] = TEXTS[text] ?? ['', ''];
    $('status').dataset.text = text;
    if (!text) return;
    $('headline').textContent = headline;
    $('detail').textContent = detail;
    announce(`${headline} ${detail}`);
  }

  function announce(text) {
    $('announcer').textContent = text;
  }

  function renderControls(state) {
    $('badge').hidden = state !== 'playing' && state !== 'stalled';
    const able = session && state !== 'ended' && (session.played || session.blocked);
    const playing = able && !session.paused && !session.blocked;
    label($('play'), playing ? 'Pause' : 'Play', 'K', playing ? 'icon-pause' : 'icon-play');
    $('play').disabled = !able;
    $('big-play').hidden = !(session?.blocked || (session?.paused && session.played));
    label($('sound'), video.muted ? 'Turn sound on' : 'Turn sound off', 'M', video.muted ? 'icon-muted' : 'icon-sound');
    $('sound').hidden = Boolean(session?.silent);
    $('unmute').hidden = state !== 'playing' || !video.muted || soundChosen || session.silent || !$('big-play').hidden;
  }

  function renderLatency(state) {
    const seconds = session?.latency() ?? null;
    const known = seconds !== null && seconds >= 0 && seconds < 3600;
    if (known) root.dataset.latency = seconds.toFixed(2);
    const moving = state === 'playing' && session.flowing;
    const live = moving && session.behind() < LIVE_WITHIN_S;
    root.dataset.live = live;
    $('latency').hidden = !known || !moving;
    if (known) setText($('latency'), seconds < 100 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds / 60)} min`);
    hideButton($('live'), live || state !== 'playing' || session.blocked);
  }

  // A button that leaves hands its focus on, or the keyboard's place on the page is lost.
  function hideButton(button, hidden) {
    if (hidden && document.activeElement === button) $('play').focus();
    button.hidden = hidden;
  }

  function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function label(button, text, key, icon) {
    if (button.getAttribute('aria-label') === text) return;
    button.setAttribute('aria-label', text);
    button.title = `${text} (${key})`;
    button.querySelector('use').setAttribute('href', `#${icon}`);
  }

  // holdPicture keeps the last picture in view while another connection takes over.
  function holdPicture() {
    const still = $('still');
    if (video.readyState < 2 || !video.videoWidth) return;
    still.width = video.videoWidth;
    still.height = video.videoHeight;
    still.getContext('2d').drawImage(video, 0, 0);
    still.hidden = false;
  }

  function setSound(on) {
    soundChosen = true;
    if (document.activeElement === $('unmute')) $('sound').focus();
    video.muted = !on;
    announce(on ? 'Sound is on.' : 'Sound is off.');
    render();
  }

  function togglePlay() {
    if (!session || $('play').disabled) return;
    if (document.activeElement === $('big-play')) $('play').focus();
    if (session.paused || session.blocked) session.play();
    else session.pause();
    if (session.paused) announce('Paused.');
    render();
  }

  function toggleFull() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (player.requestFullscreen) player.requestFullscreen().catch(() => {});
    else video.webkitEnterFullscreen?.();
  }

  const canFill = document.fullscreenEnabled || Boolean(video.webkitEnterFullscreen);
  $('full').hidden = !canFill;
  $('play').onclick = $('big-play').onclick = togglePlay;
  $('sound').onclick = () => setSound(video.muted);
  $('unmute').onclick = () => setSound(true);
  $('live').onclick = () => session.toLive();
  $('full').onclick = toggleFull;
  $('about').onclick = openAbout;
  $('picture').ondblclick = (event) => canFill && !event.target.closest('button') && toggleFull();

  async function openAbout() {
    // In full screen only the player's own subtree is drawn.
    if (document.fullscreenElement) await document.exitFullscreen();
    $('about-dialog').showModal();
    const link = $('licences').querySelector('a');
    if (!link) return;
    const answer = await fetch(link.href).catch(() => null);
    if (answer?.ok) $('licences').textContent = await answer.text();
  }

  $('about-dialog').addEventListener('click', (event) => event.target === event.currentTarget && event.target.close());

  const KEYS = { k: togglePlay, ' ': togglePlay, m: () => setSound(video.muted), l: () => session?.toLive(), f: () => canFill && toggleFull() };
  addEventListener('keydown', (event) => {
    wake();
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || $('about-dialog').open) return;
    if (event.key === ' ' && event.target.closest?.('button, a')) return; // it presses the button
    const action = KEYS[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });

  // Embedded, on a low screen and in full screen the picture is all there is, and the controls lie over it.
  function layOut() {
    const full = Boolean(document.fullscreenElement);
    const overlay = full || window !== window.parent || innerHeight < 420;
    root.dataset.layout = overlay ? 'overlay' : 'page';
    label($('full'), full ? 'Leave full screen' : 'Full screen', 'F', full ? 'icon-window' : 'icon-full');
  }
  addEventListener('resize', layOut);
  document.addEventListener('fullscreenchange', layOut);

  let idleTimer = 0;
  function wake() {
    root.dataset.idle = false;
    clearTimeout(idleTimer);
    idleTimer = setTimeout(() => (root.dataset.idle = true), HIDE_AFTER_MS);
  }
  for (const event of ['pointermove', 'pointerdown', 'focusin']) addEventListener(event, wake);

  layOut();
  wake();
  render();
  tell(shownText);
})();
