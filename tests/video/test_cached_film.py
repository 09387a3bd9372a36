"""What was read once is not decoded again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from films import grey_steps, write_film

from sportskills_lib import video
from sportskills_lib.runs.content_store import ContentStore


def _no_workers(_: object, items: object, *__: object, **___: object) -> Iterator[object]:
    assert not items, "decoded again"
    return iter(())


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
