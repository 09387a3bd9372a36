"""A rerun of 02 with another judge takes the films from the cache, and gives the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from films import write_lesson

from sportskills_lib import video
from sportskills_lib.config import PairingConfig
from sportskills_lib.pairing import video_pass
from sportskills_lib.runs.content_store import ContentStore


def test_a_second_reading_decodes_no_film_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_lesson(tmp_path, "v1", [("bend your knees", True), ("keep the elbow high", True)])
    sentences = (
        ("n1", 0.3, 2.6, "bend your knees", True),
        ("n2", 3.3, 5.6, "keep the elbow high", True),
    )
    task = video_pass.VideoTask("v1", path, sentences, PairingConfig())
    plain = video_pass.read_video(task)
    cached = replace(task, cache=ContentStore(tmp_path / "cache", limit_bytes=10**8))
    video_pass.read_video(cached)

    def refuse(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(video.frame_reader, "stream_frames", refuse)
    again = video_pass.read_video(replace(cached, config=PairingConfig(min_confidence=0.4)))
    assert len(plain["frames"]) > 0
    np.testing.assert_array_equal(again["frames"], plain["frames"])
