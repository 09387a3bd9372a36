"""Reading video: frames by presentation time from both readers, and files that break readers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from films import REAL, grey_steps, needs_real, write_film

from sportskills_lib import video
from sportskills_lib.runs.worker_pool import map_shards
from sportskills_lib.video import UnreadableVideo


def numbers(frames: np.ndarray) -> list[int]:
    """Which of :func:`films.grey_steps` each frame is."""
    return [round((float(frame.mean()) - 20) / 5) for frame in frames]


def shown_at(times_s: list[float], wanted_s: np.ndarray) -> list[int]:
    """The oracle: the last frame presented at or before each time."""
    return [
        max([i for i, time in enumerate(times_s) if time <= t + 1e-4], default=0) for t in wanted_s
    ]


@pytest.mark.parametrize("reader", ["decord", "pyav"])
@pytest.mark.parametrize(
    ("name", "times_s", "options"),
    [
        ("even", [i / 10 for i in range(40)], {}),
        ("b-frames, one key frame", [i / 10 for i in range(40)], {"bf": "3", "g": "250"}),
        ("variable rate", list(np.cumsum([0.04, 0.3, 0.04, 0.9] * 10) - 0.04), {}),
        ("long gap", [i / 10 for i in range(20)] + [12 + i / 10 for i in range(20)], {}),
    ],
)
def test_frames_are_those_on_screen(
    tmp_path: Path, reader: str, name: str, times_s: list[float], options: dict
) -> None:
    film = write_film(tmp_path / "film.mp4", grey_steps(40), times_s=times_s, options=options)
    info = replace(video.probe(film), reader=reader)
    wanted = np.concatenate([np.linspace(0, times_s[-1], 57), [0.0, times_s[-1]]])[::-1]
    frames = video.read_frames(info, wanted, 32, reader=reader)
    assert frames.shape == (59, 32, 32, 3)
    assert frames.dtype == np.uint8
    assert numbers(frames) == shown_at(times_s, wanted)


def test_streaming_equals_reading(tmp_path: Path) -> None:
    info = video.probe(write_film(tmp_path / "film.mp4", grey_steps(40), fps=10))
    streamed = np.concatenate(list(video.stream_frames(info, 25, 32)))
    read = video.read_frames(info, video.grid_times(info, 25), 32)
    assert np.abs(streamed.astype(int) - read).max() <= 1  # decord streams, PyAV reads
    by_pyav = np.concatenate(list(video.stream_frames(replace(info, reader="pyav"), 25, 32)))
    np.testing.assert_array_equal(by_pyav, read)


def test_probe_says_what_the_file_is(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", np.zeros((50, 48, 96, 3), np.uint8), fps=25)
    info = video.probe(film)
    assert (info.width_px, info.height_px, info.codec, info.rotation_deg) == (96, 48, "h264", 0)
    assert (info.duration_s, info.fps, len(info.times_s)) == (
        pytest.approx(2.0),
        pytest.approx(25),
        50,
    )
    assert info.reader == "decord"


def test_pictures_are_letterboxed(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", np.full((10, 48, 96, 3), 200, np.uint8))
    frame = video.read_frames(video.probe(film), [0.5], 64)[0]
    assert frame[16:48].min() > 180
    assert frame[:15].max() == frame[49:].max() == 0


def test_a_time_outside_the_video_is_an_error(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", grey_steps(10))
    with pytest.raises(ValueError, match=r"lasts 1\.00 s"):
        video.read_frames(video.probe(film), [0.5, 7.0], 32)


def test_damaged_files_are_unreadable_with_a_reason(tmp_path: Path) -> None:
    whole = write_film(tmp_path / "whole.mp4", grey_steps(30)).read_bytes()
    for name, content in {
        "empty": b"",
        "text": b"not a video at all\n" * 50,
        "cut": whole[: len(whole) // 2],
    }.items():
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(content)
        with pytest.raises(UnreadableVideo, match=rf"{name}\.mp4 cannot be read as video"):
            video.probe(path)


@pytest.mark.parametrize(
    ("times_s", "said"),
    [
        ([0.0, 0.1, 0.2, 100_000.0], r"no frame from 0 to 100000 s"),
        ([50_000 + i / 10 for i in range(5)], None),  # it starts there: playback does, too
        ([500.0 * i for i in range(40)], r"40 frames in 19500 s"),
        ([20.0 * i for i in range(30)], None),  # slides
    ],
)
def test_stamps_that_cannot_be_true_are_refused(
    tmp_path: Path, times_s: list[float], said: str | None
) -> None:
    film = write_film(tmp_path / "film.mkv", grey_steps(len(times_s)), times_s=times_s)
    started = time.monotonic()
    if said:
        with pytest.raises(
            UnreadableVideo, match=rf"film\.mkv has {said}.*stamps are broken; download it again"
        ):
            video.probe(film)
    else:
        assert video.probe(film).duration_s < 700
    assert time.monotonic() - started < 5


# ----------------------------------------------------------------------------- files from elsewhere

UNREADABLE = {"corrupted.mp4", "nasa_13013.mp4.audio.mp3"}
BY_PYAV = {  # edit lists, rotation, GIF, 10 bits: where decord is wrong or blind
    "Kickflip0.mov",
    "Kickflip1.mov",
    "Kickflip110.mov",
    "Ollie0.mov",
    "Ollie104.mov",
    "Ollie3.mov",
    "video_90.mov",
    "video_180.mov",
    "video_270.mov",
    "nasa_13013_rotated.mp4",
    "animated.gif",
    "frame_exceeds_screen.gif",
    "discard_first_keyframe.mp4",
    "h264_10bits.mp4",
    "nasa_13013_hdr.mp4",
    "testsrc2_odd_height_and_width_444_10bit.mp4",
}


def read_whole(path: Path) -> dict[str, np.ndarray]:
    """The worker function: every frame at 10 Hz, or no row when the file is unreadable."""
    try:
        info = video.probe(path)
        frames = np.concatenate(list(video.stream_frames(info, 10, 48)))
    except UnreadableVideo:
        return {"count": np.zeros(0, np.int64)}
    assert len(frames) == len(video.grid_times(info, 10))
    return {"count": np.array([len(frames)]), "pyav": np.array([info.reader == "pyav"])}


@needs_real
@pytest.mark.real
def test_no_hard_video_stops_a_run() -> None:
    files = sorted(
        p for p in (REAL / "hard_video").rglob("*") if p.is_file() and p.suffix != ".json"
    )
    results = list(
        map_shards(read_whole, files, workers=2, timeout_s=60, describe=lambda path: path.name)
    )
    assert len(results) == len(files) == 31
    assert not [result for result in results if result.reason]
    assert {result.name for result in results if not len(result.array("count"))} == UNREADABLE
    assert {r.name for r in results if "pyav" in (r.value or {}) and r.array("pyav")[0]} == BY_PYAV


@needs_real
@pytest.mark.real
@pytest.mark.parametrize(
    "name",
    ["nasa_13013_rotated.mp4.stream0", "test_non_zero_start.mp4.stream0", "nasa_13013.mp4.stream3"],
)
def test_frame_times_equal_the_truth_beside_the_file(name: str) -> None:
    truth = json.loads(
        (REAL / "hard_video" / "torchcodec" / f"{name}.all_frames_info.json").read_text()
    )
    times = np.array([float(row["pts_time"]) for row in truth])
    info = video.probe(REAL / "hard_video" / "torchcodec" / name.rsplit(".", 1)[0])
    np.testing.assert_allclose(info.times_s, times - times[0], atol=1e-3)


@needs_real
@pytest.mark.real
@pytest.mark.parametrize(
    ("turn", "size"), [(0, (568, 320)), (90, (320, 568)), (180, (568, 320)), (270, (320, 568))]
)
def test_rotated_films_stand_upright(turn: int, size: tuple[int, int]) -> None:
    info = video.probe(REAL / "hard_video" / "decord" / f"video_{turn}.mov")
    assert (info.width_px, info.height_px) == size


@needs_real
@pytest.mark.real
def test_both_readers_see_the_same_pictures() -> None:
    info = video.probe(REAL / "lessons" / "golfDriver0.mp4")
    times = np.arange(0, info.duration_s, 1.7)
    one, other = (
        video.read_frames(info, times, 64, reader=reader).astype(int)
        for reader in ("decord", "pyav")
    )
    assert np.abs(one - other).mean() < 1  # one filter, two versions of its library


def test_decord_leaves_the_blas_of_the_process_alone() -> None:
    """decord2 opens all of CUDA's libraries, NVBLAS among them, after which torch crashes."""
    script = (
        "from sportskills_lib.video.probe import load_decoders\nload_decoders()\n"
        "import sys, torch\nprint('decord' in sys.modules, 'nvidia' in sys.modules)\n"
        "print(torch.nn.Linear(512, 512)(torch.ones(64, 512)).shape)\n"
        "print([line for line in open('/proc/self/maps') if 'nvblas' in line])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("True")
    assert done.stdout.splitlines()[-1] == "[]"
