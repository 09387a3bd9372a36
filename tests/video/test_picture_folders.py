"""A folder of numbered pictures is a film: times by number, gaps, and what is no picture."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from films import write_pictures

from sportskills_lib import video
from sportskills_lib.runs.content_store import ContentStore
from sportskills_lib.video import UnreadableVideo
from sportskills_lib.viewing import previews


def shades(frames: np.ndarray) -> list[int]:
    """Which picture each frame is: their grey is twice their number."""
    return [round(float(frame[12:20].mean()) / 2) for frame in frames]


def test_a_picture_is_on_screen_from_its_number_on(tmp_path: Path) -> None:
    info = video.probe(write_pictures(tmp_path / "exo_m", range(1, 91)))
    assert (info.fps, info.width_px, info.height_px, info.reader) == (30, 32, 24, "pyav")
    assert info.duration_s == pytest.approx(91 / 30) and len(info.times_s) == 90
    assert shades(video.read_frames(info, [2.0, 0.0, 0.5, 3.0], 32)) == [60, 1, 15, 90]
    streamed = np.concatenate(list(video.stream_frames(info, 10, 32)))
    assert shades(streamed) == [1, *range(3, 91, 3)]


def test_missing_pictures_move_no_other_and_a_gap_is_not_filled(tmp_path: Path) -> None:
    numbers = [n for n in range(31, 151) if n != 60 and not 90 < n < 120]
    info = video.probe(write_pictures(tmp_path / "exo_m", numbers))
    assert shades(video.read_frames(info, [2.0, 61 / 30, 3.2, 4.1], 32)) == [59, 61, 90, 123]
    for missing in (0.0, 3.8):  # before the first, and in the gap of a second
        with pytest.raises(UnreadableVideo, match="no picture"):
            video.read_frames(info, [2.5, missing], 32)
    with pytest.raises(video.OutsideVideo):
        video.read_frames(info, [5.2], 32)


def test_other_files_of_the_folder_are_no_pictures(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "exo_m", range(1, 31))
    (folder / "._frame_0000000001.jpg").write_bytes(b"left by an archiver")
    (folder / "cover.jpg").write_bytes(b"no number")
    (folder / "frame_7.txt").write_text("no picture")
    (folder / "frame_0000000009.jpg").rename(folder / "frame_0000000009.JPEG")
    assert len(video.probe(folder).times_s) == 30


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: [path.unlink() for path in folder.iterdir()], "without numbered"),
        (lambda folder: shutil.copy(folder / "frame_0000000005.jpg", folder / "5.jpg"), "two pict"),
        (lambda folder: (folder / "frame_0000000001.jpg").write_bytes(b""), "cannot be read"),
        (
            lambda folder: (folder / "frame_0000000030.jpg").rename(folder / "999999999.jpg"),
            "time stamps are broken",
        ),
    ],
)
def test_a_folder_that_is_no_film_says_why(tmp_path: Path, change, said: str) -> None:
    folder = write_pictures(tmp_path / "exo_m", range(1, 31))
    change(folder)
    with pytest.raises(UnreadableVideo, match=said):
        video.probe(folder)


def test_a_broken_picture_costs_the_times_that_need_it(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "exo_m", range(1, 61))
    (folder / "frame_0000000030.jpg").write_bytes(b"\xff\xd8 cut short")
    info = video.probe(folder)
    assert shades(video.read_frames(info, [0.5, 1.5], 32)) == [15, 45]
    with pytest.raises(UnreadableVideo):
        video.read_frames(info, [0.5, 1.0], 32)


def test_a_preview_shows_a_folder(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "exo_m", range(1, 61))
    span = previews.Span("tried", folder, 0.5, 1.5)
    cache = ContentStore(tmp_path / "cache", limit_bytes=10**8)
    (made,) = previews.make_previews([span], cache=cache, workers=0).values()
    assert made.film and made.strip and not made.reason
    (again,) = previews.make_previews([span], cache=cache, workers=0).values()
    assert again == made
