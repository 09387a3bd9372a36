"""Clips in workers: a crash and a hang cost one clip each, and what was read once is not decoded
again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from films import grey_steps, write_film
from worker_functions import DeadlyTimes

from sportskills_lib import video
from sportskills_lib.runs.content_store import ContentStore
from sportskills_lib.video import Clip, clips


def _no_workers(_: object, items: object, *__: object, **___: object) -> Iterator[object]:
    assert not items, "decoded again"
    return iter(())


def test_a_crash_and_a_hang_cost_one_clip_each(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", grey_steps(30))
    os.mkfifo(tmp_path / "hangs.mp4")  # opening it waits for a writer that never comes
    (tmp_path / "text.mp4").write_text("no video")
    asked = [
        Clip("first", film, (0.5, 1.5), 32),
        Clip("dies", film, DeadlyTimes((0.5,)), 32),
        Clip("hangs", tmp_path / "hangs.mp4", (0.5,), 32),
        Clip("text", tmp_path / "text.mp4", (0.5,), 32),
        Clip("gone", tmp_path / "gone.mp4", (0.5,), 32),
        Clip("too late", film, (9.5,), 32),
        Clip("last", film, (2.5,), 32),
    ]
    read = list(video.read_clips(asked, workers=2, timeout_s=4))
    assert [clip.name for clip in read] == [clip.name for clip in asked]
    assert [clip.reason for clip in read] == [
        "",
        "crashed",
        "timeout",
        "unreadable",
        "unreadable",
        "outside",
        "",
    ]
    assert [None if clip.frames is None else clip.frames.shape[0] for clip in read] == [
        2,
        *[None] * 5,
        1,
    ]
    assert "gone.mp4" in read[4].detail
    np.testing.assert_array_equal(read[0].frames, video.read_frames(film, [0.5, 1.5], 32))


def test_clips_of_one_film_are_read_together_and_get_their_own_pictures(tmp_path: Path) -> None:
    one, two = (write_film(tmp_path / f"{name}.mp4", grey_steps(60)) for name in ("one", "two"))
    times = [(first / 10, first / 10 + 1.03, first / 10 + 0.5) for first in range(20)]
    asked = [Clip(f"{film.stem}{at[0]}", film, at, 32) for film in (one, two) for at in times]
    assert [len(part.clips) for part in clips._passes(asked, None, 1)] == [16, 4, 16, 4]
    assert [len(part.clips) for part in clips._passes(asked[:20], None, 4)] == [5, 5, 5, 5]
    for clip, read in zip(asked, video.read_clips(asked, workers=2), strict=True):
        assert read.name == clip.name
        np.testing.assert_array_equal(read.frames, video.read_frames(clip.path, clip.times_s, 32))


def test_clips_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film, cache = (
        write_film(tmp_path / "film.mp4", grey_steps(30)),
        ContentStore(tmp_path / "cache", limit_bytes=10**7),
    )
    asked = [Clip("a", film, (0.5,), 32), Clip("b", film, (0.5, 1.0), 32)]
    first = list(video.read_clips(asked, workers=1, cache=cache))
    other = write_film(tmp_path / "copy.mp4", grey_steps(30))
    other.write_bytes(film.read_bytes())  # the same content under another name
    monkeypatch.setattr(clips, "map_shards", _no_workers)
    again = list(video.read_clips([*asked, Clip("c", other, (0.5,), 32)], workers=1, cache=cache))
    for clip, expected in zip(again, [*first, first[0]], strict=True):
        np.testing.assert_array_equal(clip.frames, expected.frames)
    with pytest.raises(AssertionError, match="decoded again"):  # another size is another entry
        list(video.read_clips([Clip("a", film, (0.5,), 16)], workers=1, cache=cache))


def test_a_film_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = video.probe(write_film(tmp_path / "film.mp4", grey_steps(100)))
    cache = ContentStore(tmp_path / "cache", limit_bytes=10**7)
    plain = np.concatenate(list(video.stream_frames(info, 10, 32)))
    batches = list(video.cached_film(info, 10, 32, cache))
    assert [len(batch) for batch in batches] == [64, 36]
    monkeypatch.setattr("sportskills_lib.video.frame_reader.stream_frames", _no_workers)
    np.testing.assert_array_equal(
        np.concatenate(list(video.cached_film(info, 10, 32, cache))), plain
    )
    with pytest.raises(AssertionError, match="decoded again"):
        list(video.cached_film(info, 5, 32, cache))
