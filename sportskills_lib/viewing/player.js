// Two films as one: they start together, stay together, and step together. Controls are buttons with data-play in the
// same box; keys reach them as clicks. One clock rules: a film that lies off it is put right, and the clock waits for a
// film that is not ready, so that a slow computer slows both. "shift": seconds by which the second film runs ahead.
(function (start) {
  const SLOWER = {1: 0.5, 0.5: 0.25, 0.25: 1};
  const LATE_S = 0.045, HOLD_S = 0.5;
  function run(box) {
    if (box.skPlays) return;
    box.skPlays = true;
    let clock = 0, rate = 1, playing = true, shift = 0, last = 0, seen = '', away = 0;
    const films = () => [...box.querySelectorAll('video')];
    const lead = (film, place) => (place ? shift : 0);
    const frame = () => 1 / Math.max(1, ...films().map((film) => Number(film.dataset.fps) || 25));
    const restart = () => { clock = Math.min(0, -shift); };
    const say = () => {
      const line = box.querySelector('.sk-play-state');
      const moved = Math.round(shift / frame());
      const text = `${playing ? 'playing' : 'standing'} · ${rate}× · ${Math.max(0, clock).toFixed(2)} s` +
        (moved ? ` · clip ${moved > 0 ? '+' : ''}${moved} frames` : '');
      if (line && line.textContent !== text) line.textContent = text;
    };
    const actions = {
      toggle: () => { playing = !playing; },
      slower: () => { rate = SLOWER[rate]; },
      restart: () => { restart(); playing = true; },
      back: () => { playing = false; clock = (Math.round(clock / frame() - 0.5) - 0.5) * frame(); },
      forward: () => { playing = false; clock = (Math.round(clock / frame() - 0.5) + 1.5) * frame(); },
      earlier: () => { shift -= frame(); },
      later: () => { shift += frame(); },
      // Later than the keys give the focus back to the box.
      comment: () => setTimeout(() => { const field = box.querySelector('textarea'); if (field) field.focus(); }, 20),
    };
    function tick(now) {
      if (!box.isConnected) {  // JupyterLab takes a cell out of the page and puts it back; ten minutes, then it is gone
        if ((away += 1) < 1200) setTimeout(requestAnimationFrame, 500, tick);
        return;
      }
      away = 0;
      const passed = Math.min(0.1, Math.max(0, (now - last) / 1000));
      last = now;
      const all = films(), key = all.map((film) => film.dataset.name).join(' ');
      if (key !== seen) { seen = key; shift = 0; restart(); playing = true; }
      const able = all.filter((film) => !film.error && film.duration > 0);
      const ready = able.length === all.filter((film) => !film.error).length &&
        able.every((film) => film.readyState >= 2 && !film.seeking);
      if (able.length) {
        const end = Math.max(...able.map((film) => film.duration - lead(film, all.indexOf(film))));
        if (playing && ready) clock += passed * rate;
        if (clock > end + (playing ? HOLD_S * rate : 0)) { if (playing) restart(); else clock = end; }
        if (clock < Math.min(0, -shift)) clock = Math.min(0, -shift);
        for (const film of able) {
          const aim = clock + lead(film, all.indexOf(film)), held = Math.min(Math.max(aim, 0), film.duration - 0.001);
          const moves = playing && ready && aim === held;
          if (film.playbackRate !== rate) film.playbackRate = rate;
          if (moves && film.paused) film.play().catch(() => {});
          if (!moves && !film.paused) film.pause();
          if (!film.seeking && Math.abs(film.currentTime - held) > (moves ? LATE_S * Math.max(rate, 0.5) : 0.004)) {
            film.currentTime = held;
          }
        }
      }
      say();
      requestAnimationFrame(tick);
    }
    box.addEventListener('click', (event) => {
      const button = event.target.closest('button'), action = button && actions[button.dataset.play];
      if (action) action();
    });
    // On a page of its own the keys work wherever the focus is.
    if (document.body.dataset.voila) {
      const take = () => { if (document.activeElement === document.body) box.focus({preventScroll: true}); };
      document.addEventListener('click', () => setTimeout(take, 0));
      setTimeout(take, 300);
    }
    requestAnimationFrame(tick);
  }
  (function wait(left) {
    const box = start.closest('.sk-box');
    if (box) run(box); else if (left) setTimeout(wait, 50, left - 1);
  })(200);
})(this)
