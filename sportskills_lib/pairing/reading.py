"""One video, read once: cuts, lag, windows, what each shows, and the frames kept. Runs in a worker process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import tables, video
from sportskills_lib.compute import Value
from sportskills_lib.config import PairingConfig
from sportskills_lib.pairing import demonstrations, motion, signatures, windows

BUFFER_BYTES = 256 * 2**20  # a longer video is decoded again for its windows, rather than held in memory
INSET_S = 0.1  # frames at a clip's very edges may belong to the next shot

JUDGED: dict[str, Any] = {
    "clip_id": pl.String,
    "video_id": pl.String,
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "narration_ids": pl.List(pl.String),
    "text": pl.String,
    "said": pl.String,  # correct, incorrect, none: what the words speak of
    "demonstration": pl.String,  # correct, incorrect, none: the judge's answer
    "score": pl.Float64,  # of the pictures alone
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
    sentences: tuple[tuple[str, float, float, str, bool], ...]  # narration_id, start_s, end_s, text, actionable
    config: PairingConfig
    reader: video.Reader = "auto"


def read_video(task: VideoTask) -> Value:
    """Every window of the video, judged; of the windows that show something frames [n, T, S, S, 3], signatures (one
    after another, with their lengths) and outlines [n, 128]."""
    config, size = task.config, task.config.size_px
    try:
        info = video.probe(task.path, reader=task.reader)
        film = _Film(info, min(config.signal_hz, info.fps), max(size, motion.SIDE_PX))
        shots = windows.make_shots(film.cuts_s(), info.duration_s)
        said = [windows.Said(name, start, end, _kind(text, on)) for name, start, end, text, on in task.sentences]
        lag_s = windows.estimate_lag(said, shots, max_lag_s=config.max_lag_s)
        found, lost = windows.make_windows(
            said, shots, lag_s=lag_s, min_clip_s=config.min_clip_s, max_clip_s=config.max_clip_s
        )
        texts = {name: text for name, _, _, text, _ in task.sentences}
        rows, kept, signed = list[dict[str, Any]](), list[np.ndarray](), list[np.ndarray]()
        for window in found:
            row = _judge(task, film, window, texts, lag_s)
            if any(row["clip_id"] == other["clip_id"] for other in rows):
                continue
            rows.append(row)
            if row["demonstration"] != "none":
                kept.append(film.sample(window.start_s, window.end_s, config.frames, size))
                signed.append(signatures.sign(film.between(*_inside(window))))
    except video.UnreadableVideo as error:
        return _value([], [], [], [("video", task.video_id, "unreadable", str(error))], config)
    dropped = [("narration", item.narration_id, reason, f"no clip of its own ({item.kind})") for item, reason in lost]
    lost_rows = [row for row in dropped if texts[row[1]] and row[3] != "no clip of its own (none)"]
    return _value(rows, kept, signed, lost_rows, config)


def _kind(text: str, actionable: bool) -> str:
    return demonstrations.what_is_said(text) if actionable else "none"


class _Film:
    """A video at an even rate: its changes, and its frames from memory, or from the file where they are too many."""

    def __init__(self, info: video.VideoInfo, rate_hz: float, size_px: int):
        self.info, self.rate_hz, self.size_px = info, rate_hz, size_px
        self.times_s = video.grid_times(info, rate_hz)
        keep = len(self.times_s) * size_px * size_px * 3 <= BUFFER_BYTES
        changes, batches, before = [], [], None
        for batch in video.stream_frames(info, rate_hz, size_px):
            changes.append(motion.changes(batch, before))
            before = batch[-1]
            if keep:
                batches.append(batch)
        self.change = np.concatenate(changes)
        self.frames = np.concatenate(batches) if keep else None

    def cuts_s(self) -> np.ndarray:
        """Shot boundaries: the middle one of the frames that can be the first of the new shot."""
        cuts = []
        for index in motion.find_cuts(self.change, self.rate_hz):
            first, last = np.searchsorted(self.info.times_s, self.times_s[[index - 1, index]] + video.EPSILON_S)
            cuts.append(
                self.info.times_s[min((first + last) // 2, len(self.info.times_s) - 1)]
                if last > first
                else self.times_s[index]
            )
        return np.asarray(cuts)

    def between(self, start_s: float, end_s: float) -> np.ndarray:
        """All frames of the grid from ``start_s`` until before ``end_s``: uint8 [n, S, S, 3]."""
        first, last = np.searchsorted(self.times_s, [start_s - 1e-6, end_s - 1e-6])
        return self._at(np.arange(first, max(last, first + 1)).clip(0, len(self.times_s) - 1))

    def sample(self, start_s: float, end_s: float, count: int, size_px: int) -> np.ndarray:
        """``count`` frames spread evenly over the span, each from the middle of its share: uint8 [count, S, S, 3]."""
        inset = min(INSET_S, (end_s - start_s) / 8)
        length = (end_s - start_s - 2 * inset) / count
        times = start_s + inset + length * (np.arange(count) + 0.5)
        index = np.searchsorted(self.times_s, times + 1e-6, side="right") - 1
        frames = self._at(index.clip(0, len(self.times_s) - 1))
        if size_px == self.size_px:
            return frames
        import cv2

        return np.stack([cv2.resize(frame, (size_px, size_px), interpolation=cv2.INTER_AREA) for frame in frames])

    def _at(self, index: np.ndarray) -> np.ndarray:
        if self.frames is not None:
            return self.frames[index]
        return video.read_frames(self.info, self.times_s[index], self.size_px)


def _inside(window: windows.Window) -> tuple[float, float]:
    """The window without its very edges, in seconds."""
    inset = min(INSET_S, (window.end_s - window.start_s) / 8)
    return window.start_s + inset, window.end_s - inset


def _judge(task: VideoTask, film: _Film, window: windows.Window, texts: dict[str, str], lag_s: float) -> dict[str, Any]:
    seen = motion.measure(film.between(*_inside(window)))
    score = demonstrations.motion_score(seen)
    start_s, end_s = round(window.start_s, 3), round(min(window.end_s, film.info.duration_s), 3)
    return {
        "clip_id": tables.span_id(task.video_id, start_s, end_s),
        "video_id": task.video_id,
        "start_s": start_s,
        "end_s": end_s,
        "narration_ids": list(window.narration_ids),
        "text": " ".join(texts[name] for name in window.narration_ids),
        "said": window.kind,
        "demonstration": window.kind if score >= task.config.min_score else "none",
        "score": score,
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
    outlines = [signatures.outline(one) for one in signed]
    side = signatures.SIDE
    return {
        "judged": pl.DataFrame(rows, schema=JUDGED, orient="row"),
        "frames": frames,
        "signatures": np.concatenate([np.empty((0, side, side), np.uint8), *signed]),
        "lengths": np.array([len(one) for one in signed], np.int64),
        "outlines": np.stack(outlines) if outlines else np.empty((0, signatures.OUTLINE), np.float16),
        "dropped": tables.dropped_rows(dropped),
    }
