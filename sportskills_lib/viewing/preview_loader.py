"""PreviewLoader and strips for a widget, made in the background: a step never waits for a decoder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from sportskills_lib.runs.content_store import ContentStore
from sportskills_lib.viewing.previews import Span, make_previews

SIDE_PX = 192  # what a card shows, sharp on a dense screen
KEPT_BYTES = 64_000_000
AT_ONCE = 12  # films of one go: what one step shows


class PreviewLoader:
    """PreviewLoader by item, or with ``strips`` film strips.

    :meth:`want` asks for some and returns at once; ``ready`` is called when new ones are there.
    Only the latest wish counts: who steps fast asks for the films of the step where the stepping
    ends. They are made in worker processes (previews.make_previews) and kept there by content. What
    cannot be made is left out. ``failed`` is called with what the thread raised, ``ready``
    included.
    """

    def __init__(
        self,
        span: Callable[[str], Span | None],
        *,
        cache: ContentStore | None,
        ready: Callable[[], None],
        failed: Callable[[Exception], None],
        strips: bool = False,
        workers: int = 2,
    ):
        self._span, self._cache, self._ready, self._failed, self._workers = (
            span,
            cache,
            ready,
            failed,
            workers,
        )
        self._strips = strips
        self._films: dict[str, bytes] = {}  # in order of arrival; b"" for one that cannot be made
        self._wanted: list[str] = []
        self._lock, self._thread, self._working = threading.Lock(), threading.Thread(), False

    def have(self) -> Mapping[str, bytes]:
        """The films that are there."""
        with self._lock:
            return {item: film for item, film in self._films.items() if film}

    def want(self, items: Sequence[str]) -> None:
        """Make films of these, in this order, instead of those that were wanted before."""
        with self._lock:
            self._wanted = [item for item in dict.fromkeys(items) if item not in self._films]
            if (
                not self._wanted or self._working
            ):  # a thread that is alive may have looked for wishes for the last time
                return
            self._working = True
            self._thread = threading.Thread(target=self._work, daemon=True, name="films")
            self._thread.start()

    def wait(self, timeout_s: float = 60.0) -> None:
        """Wait until nothing is wanted: for tests, and for pages that are made once."""
        self._thread.join(timeout_s) if self._thread.is_alive() else None

    def _work(self) -> None:
        try:
            while items := self._next():
                spans = [span for item in items if (span := self._span(item))]
                films = not self._strips
                made = make_previews(
                    spans, cache=self._cache, films=films, side_px=SIDE_PX, workers=self._workers
                )
                found = {
                    name: preview.film if films else preview.strip for name, preview in made.items()
                }
                with self._lock:
                    self._films |= dict.fromkeys(items, b"") | found
                    while sum(map(len, self._films.values())) > KEPT_BYTES:
                        del self._films[next(iter(self._films))]
                self._ready()
        except Exception as error:
            with self._lock:
                self._working = False
            self._failed(error)

    def _next(self) -> list[str]:
        with self._lock:
            items = [item for item in self._wanted if item not in self._films][:AT_ONCE]
            self._wanted = self._wanted[len(items) :]
            self._working = bool(items)
            return items
