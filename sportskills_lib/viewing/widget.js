// The page's half of keyboard.Keyboard: buttons and their keys, a comment field, errors, a player of
// films. Texts arrive as traits and are shown with textContent, so they can never be markup.
const LOST = {
  gone: 'The kernel was restarted or has stopped: nothing is saved any more. Run this cell again.',
  late: 'No answer from the kernel for 5 s: it is busy, was restarted, or has stopped. Your last ' +
    'action may be lost. If this message stays, run this cell again.',
  served: 'No answer from the server: your last action was not saved. Check your connection, then ' +
    'reload this page; everything saved before is kept.',
};
const ANSWER_MS = 5000;
const COMMENT_MS = 300; // a draft is sent at most this often
const FIELDS = 'input:not([type=button]):not([type=checkbox]),textarea,select,[contenteditable=true]';
const isField = (node) => Boolean(node && node.matches && node.matches(FIELDS));
const isServed = () => Boolean(document.body.dataset.voila);

function element(tag, className, text = '') {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function keyButton(name, label) {
  const button = element('button', '');
  button.type = 'button';
  button.title = `key ${name}`;
  button.append(element('kbd', '', name), label ? ` ${label}` : '');
  return button;
}

export default {
  render({ model, el }) {
    const ended = new AbortController();
    const on = (target, name, run, capture = false) =>
      target.addEventListener(name, run, { capture, signal: ended.signal });
    const buttons = new Map(); // key → button
    const lost = element('p', 'sk-lost');
    const error = element('p', 'sk-error');
    lost.setAttribute('role', 'alert');
    error.setAttribute('role', 'alert');
    lost.hidden = true;

    // ---------------------------------------------------------------- messages and their answers
    // Every action is a message of its own: changes of a trait that follow each other fast would be
    // merged into one. The kernel counts its answers in the trait `answers`.
    let unanswered = null;
    let box = null;
    function showLost() {
      const gone = box && box.classList.contains('jupyter-widgets-disconnected');
      const late = unanswered === model.get('answers');
      lost.hidden = !gone && !late;
      lost.textContent = lost.hidden ? '' : LOST[isServed() ? 'served' : gone ? 'gone' : 'late'];
    }
    function expectAnswer() {
      const before = model.get('answers');
      setTimeout(() => {
        if (model.get('answers') !== before) return;
        unanswered = before;
        showLost();
        lost.scrollIntoView({ block: 'nearest' });
      }, ANSWER_MS);
    }
    function send(message) {
      expectAnswer();
      model.send(message);
    }
    function showError() {
      error.textContent = model.get('error');
      error.hidden = !error.textContent;
    }
    const focusBox = () => setTimeout(() => box && box.isConnected && box.focus({ preventScroll: true }), 0);

    // --------------------------------------------------------------------------------- comment
    // Letters go out before the key that follows them, and with the turn they were typed in, so
    // that they cannot end up at the next item.
    let field = null;
    let fieldTurn = null;
    let draftTimer = 0;
    function sendComment() {
      if (!draftTimer) return;
      clearTimeout(draftTimer);
      draftTimer = 0;
      send({ comment: field.value, turn: fieldTurn });
    }
    function showComment() {
      const { turn, text } = model.get('comment');
      if (turn === fieldTurn) return; // an echo of what this field holds
      clearTimeout(draftTimer);
      draftTimer = 0;
      fieldTurn = turn;
      field.value = text;
    }

    // ---------------------------------------------------------------------------------- layout
    const player = model.get('player') ? createPlayer(() => box) : null;
    if (player) {
      const bar = element('div', 'sk-keys sk-player');
      for (const [key, name, label, run] of player.actions) {
        const button = keyButton(name, label);
        on(button, 'click', run);
        buttons.set(key, button);
        bar.append(button);
      }
      el.append(bar, player.line);
    }
    if (model.get('comment_label')) {
      field = element('textarea', 'sk-comment');
      field.placeholder = `${model.get('comment_label')} (key c, esc ends it)`;
      on(field, 'input', () => { draftTimer = draftTimer || setTimeout(sendComment, COMMENT_MS); });
      on(field, 'blur', sendComment);
      el.append(field);
      showComment();
      model.on('change:comment', showComment);
    }
    const list = element('div', 'sk-keys');
    for (const { key, name, label } of model.get('buttons')) {
      const button = keyButton(name, label);
      on(button, 'click', () => { sendComment(); send({ key }); });
      buttons.set(key, button);
      list.append(button);
    }
    el.append(list, lost, error);
    showError();
    model.on('change:error', showError);
    model.on('change:answers', showLost);

    // ------------------------------------------------------------------------------------ keys
    // On a page with one widget and no notebook (Voila) keys work wherever the focus is.
    const isAlone = () => !document.querySelector('.jp-NotebookPanel') &&
      !isField(document.activeElement) && document.querySelectorAll('.sk-box').length === 1;
    function takeKey(event) {
      if (!box.isConnected || (!box.contains(event.target) && !isAlone())) return;
      // Many keyboards write [ and ] with AltGr (Windows reports Ctrl+Alt) or Option: keys, no shortcuts.
      const typed = event.getModifierState('AltGraph') ||
        (event.altKey && !event.ctrlKey && !event.metaKey && '[]'.includes(event.key));
      if (!typed && (event.ctrlKey || event.metaKey || event.altKey)) return;
      if (isField(event.target)) {
        event.stopPropagation(); // JupyterLab's shortcuts would cut cells
        if (event.key === 'Escape') box.focus({ preventScroll: true });
        return;
      }
      const isComment = field && event.key === 'c';
      const button = buttons.get(event.key) || buttons.get(event.key.toLowerCase());
      if (!button && !isComment) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      if (event.repeat) return;
      if (isComment) { field.focus(); return; }
      button.click();
      focusBox();
    }
    function attach() {
      box.tabIndex = 0;
      box.dataset.lmSuppressShortcuts = 'true';
      on(window, 'keydown', takeKey, true);
      on(box, 'click', (event) => !isField(event.target) && focusBox());
      on(box, 'change', (event) => { // a list or a text field that ipywidgets sends by itself
        if (event.target !== field && event.target.matches('select,input')) expectAnswer();
        if (event.target.matches('select')) focusBox();
      });
      const observer = new MutationObserver(showLost);
      observer.observe(box, { attributes: true, attributeFilter: ['class'] });
      ended.signal.addEventListener('abort', () => observer.disconnect());
      if (player) player.start(ended.signal);
      if (isServed()) {
        const takeFocus = () => document.activeElement === document.body && box.focus({ preventScroll: true });
        on(document, 'click', () => setTimeout(takeFocus, 0));
        setTimeout(takeFocus, 300);
      }
    }
    (function findBox(tries) { // render runs before the view is put into the page
      box = el.closest('.sk-box');
      if (box) attach();
      else if (tries && !ended.signal.aborted) setTimeout(findBox, 50, tries - 1);
    })(200);
    return () => {
      ended.abort();
      model.off('change:error', showError);
      model.off('change:answers', showLost);
      if (field) model.off('change:comment', showComment);
    };
  },
};

// Two films as one: they start, stay and step together. One clock rules: a film that is off it is
// put right, and the clock waits for a film that is not ready, so that a slow computer slows both.
// `shift`: seconds by which the second film runs ahead.
function createPlayer(findBox) {
  const SLOWER = { 1: 0.5, 0.5: 0.25, 0.25: 1 };
  const LATE_S = 0.045;
  const HOLD_S = 0.5;
  const line = element('p', 'sk-soft sk-play-state');
  let clock = 0, rate = 1, playing = true, shift = 0, last = 0, shownFilms = '';
  const films = () => [...findBox().querySelectorAll('video')];
  const lead = (place) => (place ? shift : 0);
  const frameS = () => 1 / Math.max(1, ...films().map((film) => Number(film.dataset.fps) || 25));
  const restart = () => { clock = Math.min(0, -shift); };
  const stepFrames = (by) => {
    playing = false;
    clock = (Math.round(clock / frameS() - 0.5) + 0.5 + by) * frameS();
  };
  const actions = [
    [' ', 'space', 'play or pause', () => { playing = !playing; }],
    ['ArrowLeft', '←', 'previous frame', () => stepFrames(-1)],
    ['ArrowRight', '→', 'next frame', () => stepFrames(1)],
    ['s', 's', '1×, ½×, ¼×', () => { rate = SLOWER[rate]; }],
    ['r', 'r', 'restart', () => { restart(); playing = true; }],
    ['[', '[', 'clip 1 frame earlier', () => { shift -= frameS(); }],
    [']', ']', 'clip 1 frame later', () => { shift += frameS(); }],
  ];
  function showState() {
    const frames = Math.round(shift / frameS());
    const text = `${playing ? 'playing' : 'paused'} · ${rate}× · ${Math.max(0, clock).toFixed(2)} s` +
      (frames ? ` · clip ${frames > 0 ? '+' : ''}${frames} frames` : '');
    if (line.textContent !== text) line.textContent = text;
  }
  function follow(film, place, ready) {
    const aim = clock + lead(place);
    const target = Math.min(Math.max(aim, 0), film.duration - 0.001);
    const moves = playing && ready && aim === target;
    if (film.playbackRate !== rate) film.playbackRate = rate;
    if (moves && film.paused) film.play().catch(() => {});
    if (!moves && !film.paused) film.pause();
    const slack = moves ? LATE_S * Math.max(rate, 0.5) : 0.004;
    if (!film.seeking && Math.abs(film.currentTime - target) > slack) film.currentTime = target;
  }
  function tick(now) {
    const passed = Math.min(0.1, Math.max(0, (now - last) / 1000));
    last = now;
    const all = films();
    const names = all.map((film) => film.dataset.name).join(' ');
    if (names !== shownFilms) { shownFilms = names; shift = 0; restart(); playing = true; }
    const sound = all.filter((film) => !film.error);
    const able = sound.filter((film) => film.duration > 0);
    const ready = able.length === sound.length && able.every((film) => film.readyState >= 2 && !film.seeking);
    if (able.length) {
      const end = Math.max(...able.map((film) => film.duration - lead(all.indexOf(film))));
      if (playing && ready) clock += passed * rate;
      if (clock > end + (playing ? HOLD_S * rate : 0)) { if (playing) restart(); else clock = end; }
      clock = Math.max(clock, Math.min(0, -shift));
      for (const film of able) follow(film, all.indexOf(film), ready);
    }
    showState();
  }
  function start(signal) {
    const loop = (now) => {
      if (signal.aborted) return;
      // JupyterLab takes a cell out of the page while it is scrolled away, and puts it back.
      if (!findBox().isConnected) { setTimeout(requestAnimationFrame, 500, loop); return; }
      tick(now);
      requestAnimationFrame(loop);
    };
    requestAnimationFrame(loop);
  }
  return { actions, line, start };
}
