"""One video, read once: cuts, lag, windows, what moves in each, and the frames kept. Runs in a
worker process.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import tables, video
from sportskills_lib.config import PairingConfig
from sportskills_lib.pairing import camera_motion, duplicates, rules_judge, windows
from sportskills_lib.runs.content_store import ContentStore
from sportskills_lib.runs.worker_pool import Value
from sportskills_lib.video.frame_reader import clip_times, inset_span

BUFFER_BYTES = (
    256 * 2**20
)  # a longer video is decoded again for its windows, rather than held in memory
CUT_HZ = 30.0  # a cut is placed at one of the video's own frames, up to this rate

WINDOWS: dict[str, Any] = {
    "clip_id": pl.String,
    "video_id": pl.String,
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "narration_ids": pl.List(pl.String),
    "text": pl.String,
    "said": pl.String,  # correct, incorrect, none: what the words speak of
    "moved": pl.Float64,
    "energy": pl.Float64,
    "camera": pl.Float64,
    "lag_s": pl.Float64,
}


@dataclass(frozen=True)
class VideoTask:
    """A video and what is said in it."""

    video_id: str
    path: Path
    sentences: tuple[
        tuple[str, float, float, str, bool], ...
    ]  # narration_id, start_s, end_s, text, actionable
    config: PairingConfig
    reader: video.Reader = "auto"
    cache: ContentStore | None = None  # of decoded films, for reruns with other judges


def load_libraries() -> None:
    """In a new worker: import what :func:`read_video` needs, so that no video's time limit pays for
    it.
    """
    from scenedetect import common, detectors  # noqa: F401

    video.load_decoders()


def read_video(task: VideoTask) -> Value:
    """Every window of the video; of the n windows under words that teach frames [n, T, S, S, 3],
    signatures (one after another, with their lengths) and outlines [n, 128].
    """
    config, size = task.config, task.config.size_px
    try:
        info = video.probe(task.path, reader=task.reader)
        film = _Film(
            info, min(config.signal_hz, info.fps), max(size, camera_motion.SIDE_PX), task.cache
        )
        scenes = windows.make_shots(film.cuts_s(), info.duration_s)
        said = [
            windows.TimedSentence(
                name, start, end, rules_judge.what_is_said(text) if actionable else "none"
            )
            for name, start, end, text, actionable in task.sentences
        ]
        lag_s = windows.estimate_lag(said, scenes, max_lag_s=config.max_lag_s)
        found, lost = windows.make_windows(
            said, scenes, lag_s=lag_s, min_clip_s=config.min_clip_s, max_clip_s=config.max_clip_s
        )
        texts = {name: text for name, _, _, text, _ in task.sentences}
        rows, kept, signed = list[dict[str, Any]](), list[np.ndarray](), list[np.ndarray]()
        for window in found:
            row = _measure(task, film, window, texts, lag_s)
            if any(row["clip_id"] == other["clip_id"] for other in rows):
                continue
            rows.append(row)
            if row["said"] != "none":
                kept.append(film.sample(window.start_s, window.end_s, config.frames, size))
                span = inset_span(window.start_s, window.end_s)
                signed.append(duplicates.make_signature(film.between(*span)))
    except video.UnreadableVideo as error:
        return _value([], [], [], [("video", task.video_id, "unreadable", str(error))], config)
    dropped = [
        ("narration", item.narration_id, reason, f"no clip of its own ({item.kind})")
        for item, reason in lost
        if texts[item.narration_id] and item.kind != "none"
    ]
    return _value(rows, kept, signed, dropped, config)


class _Film:
    """A video at an even rate: its changes, and its frames from memory, or from the file where they
    are too many.

    All frames (up to ``CUT_HZ``) are looked at for where exactly a cut lies; those at ``rate_hz``
    are kept.
    """

    def __init__(
        self, info: video.VideoInfo, rate_hz: float, size_px: int, cache: ContentStore | None = None
    ):
        self.info, self.rate_hz, self.size_px = info, rate_hz, size_px
        fine_hz = max(rate_hz, min(info.fps, CUT_HZ))
        self.fine_s = video.grid_times(info, fine_hz)
        on_grid = (
            np.searchsorted(self.fine_s, video.grid_times(info, rate_hz) + 1e-6, side="right") - 1
        )
        self.grid, self.times_s = on_grid, self.fine_s[on_grid]
        keep = len(on_grid) * size_px * size_px * 3 <= BUFFER_BYTES
        small = len(self.fine_s) * size_px * size_px * 3 <= BUFFER_BYTES
        fine, batches, first = [], [], 0
        before: np.ndarray | None = None
        self._finder = camera_motion.ShotFinder(rate_hz, info.width_px, info.height_px)
        for batch in video.cached_film(info, fine_hz, size_px, cache if small else None):
            fine.append(camera_motion.changes(batch, before))
            before = batch[-1]
            low, high = np.searchsorted(on_grid, [first, first + len(batch)])
            part = batch[on_grid[low:high] - first]
            first += len(batch)
            self._finder.look(part, fine[-1] if fine_hz == rate_hz else None)
            if keep:
                batches.append(part)
        self._change = np.concatenate(fine)
        self.frames = np.concatenate(batches) if keep else None

    def cuts_s(self) -> list[tuple[float, float]]:
        """End of the shot before and start of the shot after each boundary, at the frames that
        change most.
        """
        changed = [map(self._changed_frame, edges) for edges in self._finder.boundaries()]
        return [
            (float(self.fine_s[out]), float(self.fine_s[max(out, into)])) for out, into in changed
        ]

    def _changed_frame(self, index: int) -> int:
        """Of the video's frames after the grid's frame ``index - 1``, up to ``index``: the one that
        changes most.
        """
        low, high = self.grid[index - 1] + 1, self.grid[index] + 1
        return int(low + np.argmax(self._change[low:high]))

    def between(self, start_s: float, end_s: float) -> np.ndarray:
        """All frames of the grid from ``start_s`` until before ``end_s``: uint8 [n, S, S, 3]."""
        first, last = np.searchsorted(self.times_s, [start_s - 1e-6, end_s - 1e-6])
        return self._at(np.arange(first, max(last, first + 1)).clip(0, len(self.times_s) - 1))

    def sample(self, start_s: float, end_s: float, count: int, size_px: int) -> np.ndarray:
        """``count`` frames spread evenly over the span, each from the middle of its share: uint8
        [count, S, S, 3].
        """
        times = clip_times(*inset_span(start_s, end_s), count)
        index = np.searchsorted(self.times_s, times + 1e-6, side="right") - 1
        frames = self._at(index.clip(0, len(self.times_s) - 1))
        if size_px == self.size_px:
            return frames
        import cv2

        return np.stack(
            [
                cv2.resize(frame, (size_px, size_px), interpolation=cv2.INTER_AREA)
                for frame in frames
            ]
        )

    def _at(self, index: np.ndarray) -> np.ndarray:
        if self.frames is not None:
            return self.frames[index]
        return video.read_frames(
            self.info, self.times_s[index], self.size_px, reader=self.info.reader
        )


def _measure(
    task: VideoTask, film: _Film, window: windows.Window, texts: dict[str, str], lag_s: float
) -> dict[str, Any]:
    seen = camera_motion.measure(film.between(*inset_span(window.start_s, window.end_s)))
    start_s, end_s = round(window.start_s, 3), round(min(window.end_s, film.info.duration_s), 3)
    return {
        "clip_id": tables.span_id(task.video_id, start_s, end_s),
        "video_id": task.video_id,
        "start_s": start_s,
        "end_s": end_s,
        "narration_ids": list(window.narration_ids),
        "text": " ".join(texts[name] for name in window.narration_ids),
        "said": window.kind,
        "moved": seen.moved,
        "energy": seen.energy,
        "camera": seen.camera,
        "lag_s": round(lag_s, 3),
    }


def _value(
    rows: list[dict[str, Any]],
    kept: list[np.ndarray],
    signed: list[np.ndarray],
    dropped: list[tuple[str, str, str, str]],
    config: PairingConfig,
) -> Value:
    size = config.size_px
    frames = np.stack(kept) if kept else np.empty((0, config.frames, size, size, 3), np.uint8)
    outlines = [duplicates.outline(one) for one in signed]
    side = duplicates.SIDE
    return {
        "windows": pl.DataFrame(rows, schema=WINDOWS, orient="row"),
        "frames": frames,
        "signatures": np.concatenate([np.empty((0, side, side), np.uint8), *signed]),
        "lengths": np.array([len(one) for one in signed], np.int64),
        "outlines": np.stack(outlines)
        if outlines
        else np.empty((0, duplicates.OUTLINE), np.float16),
        "dropped": tables.dropped_rows(dropped),
    }
