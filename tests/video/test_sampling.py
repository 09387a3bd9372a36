"""Planned reading gives the pictures that reading everything gives, and decodes less for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from films import REAL, needs_real, shot, write_film

from sportskills_lib import video
from sportskills_lib.video import frame_sampling

UNPLANNED = {
    "animated.gif",
    "frame_exceeds_screen.gif",
    "testsrc2_mpeg4.avi",
}  # no index, or stamps missing
UNREADABLE = {"corrupted.mp4", "nasa_13013.mp4.audio.mp3"}


def moving(count: int, size_px: int = 48) -> np.ndarray:
    """Noise of its own in every frame, so that no two look alike."""
    coarse = np.random.default_rng(7).integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return coarse.repeat(size_px // 6, axis=1).repeat(size_px // 6, axis=2)


def planned(path: Path, wanted_s: np.ndarray) -> np.ndarray:
    info = video.probe(path, reader="pyav")
    return np.stack(list(frame_sampling._planned(info, wanted_s, 48)))


def thorough(path: Path, wanted_s: np.ndarray) -> np.ndarray:
    """The oracle: every frame decoded in order, none left out, no seeking."""
    return np.stack(list(frame_sampling._thorough(video.probe(path, reader="pyav"), wanted_s, 48)))


EVEN = [i / 25 for i in range(150)]
FILMS: dict[str, dict[str, Any]] = {
    "pyramid.mp4": {"options": {"sc_threshold": "0", "bf": "4", "b-pyramid": "normal", "g": "250"}},
    "short.mp4": {"options": {"g": "12", "bf": "2"}},
    "open.mp4": {"options": {"g": "15", "bf": "3", "x264-params": "open-gop=1"}},
    "keys.mp4": {"options": {"g": "1"}},
    "none.mp4": {"options": {"bf": "0", "g": "40"}},
    "pyramid.mkv": {"options": {"bf": "4", "b-pyramid": "normal", "g": "30"}},
    "variable.mp4": {
        "times_s": list(np.cumsum([0.02, 0.4, 0.04, 1.3, 0.1] * 30) - 0.02),
        "options": {"g": "30"},
    },
    "hole.mp4": {
        "times_s": [t + 40 * (t > 2) + 60 * (t > 4) for t in EVEN],
        "options": {"g": "50", "bf": "3"},
    },
    "hole.mkv": {
        "times_s": [t + 40 * (t > 2) + 60 * (t > 4) for t in EVEN],
        "options": {"g": "50", "bf": "3"},
    },
    "one key.mp4": {
        "times_s": [t + 40 * (t > 2) + 60 * (t > 4) for t in EVEN],
        "options": {"g": "999", "bf": "3", "sc_threshold": "0"},
    },
    "one key.mkv": {
        "times_s": [t + 40 * (t > 2) + 60 * (t > 4) for t in EVEN],
        "options": {"g": "999", "bf": "3", "sc_threshold": "0"},
    },
    "late.mp4": {"times_s": [t + 7.48 for t in EVEN], "options": {"g": "30", "bf": "2"}},
    # x265 writes beyond its memory when it encodes pictures this small with its assembler code
    "hevc.mp4": {
        "codec": "libx265",
        "options": {"x265-params": "log-level=none:keyint=40:bframes=4:asm=0"},
    },
    "vp9.webm": {
        "codec": "libvpx-vp9",
        "options": {"g": "40", "cpu-used": "8", "deadline": "realtime"},
    },
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"g": "30", "bf": "2"}},
    "transport.ts": {"options": {"g": "25", "bf": "2"}},
    "old.avi": {"codec": "mpeg4", "options": {"g": "30"}},
    "ten bits.mp4": {"pixels": "yuv420p10le", "options": {"g": "30"}},
}


@pytest.mark.parametrize("name", FILMS)
def test_planned_pictures_equal_those_of_reading_everything(tmp_path: Path, name: str) -> None:
    film = write_film(tmp_path / name, moving(150), fps=25, **FILMS[name])
    info = video.probe(film, reader="pyav")
    rng = np.random.default_rng(3)
    ends = float(info.times_s[-1])
    for wanted in (
        np.sort(rng.uniform(0, ends, 9)),
        np.linspace(0, ends, 40),
        np.sort(rng.choice(info.times_s, 25)),  # exactly at frames, some twice
        np.array([ends * 0.97]),
        np.array([0.0, ends]),
    ):
        oracle = thorough(film, wanted)
        np.testing.assert_array_equal(video.read_frames(info, wanted, 48), oracle)
        if film.suffix in (".mp4", ".mkv") and name != "mpeg4.mp4":
            np.testing.assert_array_equal(planned(film, wanted), oracle)


@pytest.mark.parametrize("read", ["_planned", "_thorough"])
def test_a_frame_that_serves_several_times_is_scaled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    film = write_film(tmp_path / "f.mp4", moving(10), fps=5)
    scaled, square = [], frame_sampling._Shaper.square
    monkeypatch.setattr(
        frame_sampling._Shaper,
        "square",
        lambda shaper, frame: scaled.append(frame.pts) or square(shaper, frame),
    )
    wanted_s = np.arange(0.4, 1.0, 0.05)
    assert len(list(getattr(frame_sampling, read)(video.probe(film), wanted_s, 48))) == 12
    assert len(scaled) == 3


def decoded(film: Path, wanted_s: list[float], monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """How many packets a plan decodes, and how many of them it may leave out."""
    fed: list[str] = []
    feed = frame_sampling._Plan._collect

    def counting(plan: Any, packet: Any) -> None:
        if packet is not None:
            fed.append(plan.codec.skip_frame)
        feed(plan, packet)

    monkeypatch.setattr(frame_sampling._Plan, "_collect", counting)
    planned(film, np.array(wanted_s))
    return len(fed), fed.count("NONREF")


def test_a_plan_decodes_from_the_nearest_key_frame_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = write_film(
        tmp_path / "f.mp4", moving(150), fps=25, options={"g": "50", "sc_threshold": "0", "bf": "0"}
    )
    assert decoded(film, [2.04], monkeypatch) == (2, 1)  # frame 51: after the key frame 50
    assert decoded(film, [0.0, 5.96], monkeypatch) == (1 + 50, 49)
    assert decoded(film, [1.0, 1.2], monkeypatch) == (31, 29)  # decoded through


def test_a_far_clip_does_not_read_what_lies_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [i / 5 for i in range(600)]
    film = write_film(
        tmp_path / "f.mp4", shot(1, 600, moves=True, size_px=48), times_s=times, options={"g": "25"}
    )
    plans: list[Any] = []
    frames = frame_sampling._Plan.frames
    monkeypatch.setattr(
        frame_sampling._Plan,
        "frames",
        lambda plan, ticks: plans.append(plan) or frames(plan, ticks),
    )
    planned(film, np.array([110.0, 111.0]))
    assert plans[0].read < 60  # of 600 packets


def test_a_time_outside_a_film_is_an_error(tmp_path: Path) -> None:
    film = write_film(tmp_path / "f.mp4", moving(50), fps=25)
    assert video.read_frames(video.probe(film), [1.99], 48).shape == (1, 48, 48, 3)
    with pytest.raises(video.OutsideVideo, match=r"lasts 2\.00 s"):
        video.read_frames(video.probe(film), [1.0, 2.3], 48)
    with pytest.raises(video.OutsideVideo, match="ask inside"):
        video.read_frames(video.probe(film), [-0.5], 48)


def test_damage_costs_only_the_clips_that_need_it(tmp_path: Path) -> None:
    film = write_film(
        tmp_path / "f.mp4", moving(150), fps=25, options={"g": "25", "sc_threshold": "0", "bf": "0"}
    )
    whole = video.read_frames(video.probe(film), [0.5, 5.5], 48)
    with av.open(str(film)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    content, hurt = bytearray(film.read_bytes()), packets[75]
    content[hurt.pos : hurt.pos + hurt.size] = b"\xff" * hurt.size
    film.write_bytes(bytes(content))
    np.testing.assert_array_equal(video.read_frames(video.probe(film), [0.5, 5.5], 48), whole)
    with pytest.raises(video.UnreadableVideo, match=r"f\.mp4"):
        video.read_frames(video.probe(film), [3.5], 48)


@pytest.mark.parametrize("size", [(48, 34), (33, 47), (321, 241)])
def test_odd_sizes_and_every_colour_agreement(tmp_path: Path, size: tuple[int, int]) -> None:
    colours = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8)
    picture = colours.repeat(size[0] // 3 + 1, axis=0)[None, : size[0]].repeat(size[1], axis=0)
    for space, span, pixels in (
        (1, 1, "yuv444p"),
        (1, 2, "yuv444p"),
        (6, 1, "yuv444p"),
        (6, 2, "yuv444p10le"),
    ):
        film = tmp_path / f"{space}{span}{pixels}.mp4"
        with av.open(str(film), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt, stream.options = (
                *size,
                pixels,
                {"crf": "1"},
            )
            stream.codec_context.colorspace, stream.codec_context.color_range = space, span
            for i in range(5):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                frame = frame.reformat(
                    format=pixels, dst_colorspace=space, dst_color_range=span, src_color_range=2
                )
                frame.pts, frame.colorspace, frame.color_range = i, space, span
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        shown = video.read_frames(video.probe(film), [0.2], 96)[0]
        third = 96 * min(1, size[0] / size[1]) / 3
        found = [shown[48, 48 + round(step * third)] for step in (-1, 0, 1)]
        assert np.abs(np.array(found).astype(int) - colours).max() <= 6, (space, span)


@needs_real
@pytest.mark.real
@pytest.mark.parametrize(
    "path", sorted((REAL / "hard_video").rglob("*.*")) or [Path("none")], ids=lambda path: path.name
)
def test_hard_videos_by_plan_and_by_reading_everything(path: Path) -> None:
    if path.suffix == ".json" or path.name in UNREADABLE:
        pytest.skip("no video")
    info = video.probe(path)
    wanted = np.sort(np.random.default_rng(0).uniform(0, info.times_s[-1], 8))
    oracle = thorough(path, wanted)
    np.testing.assert_array_equal(video.read_frames(video.probe(path), wanted, 48), oracle)
    if path.name in UNPLANNED:
        with pytest.raises((frame_sampling._Unplanned, av.FFmpegError)):
            planned(path, wanted)
    else:
        np.testing.assert_array_equal(planned(path, wanted), oracle)
    if info.reader == "decord":
        other = video.read_frames(info, wanted, 48, reader="decord").astype(int)
        assert np.abs(other - oracle).mean() < 1.5


@pytest.mark.parametrize(
    "name", ["pyramid.mp4", "open.mp4", "hole.mkv", "hevc.mp4", "vp9.webm", "ten bits.mp4"]
)
def test_threads_change_no_picture(tmp_path: Path, name: str) -> None:
    film = write_film(tmp_path / name, moving(150), fps=25, **FILMS[name])
    info = video.probe(film, reader="pyav")
    wanted = np.sort(np.random.default_rng(4).uniform(0, float(info.times_s[-1]), 20))
    for threads in (2, 5):
        read = (
            frame_sampling.sample if name == "open.mp4" else frame_sampling._planned
        )  # a late start there counts as damage
        many = list(read(info, wanted, 48, threads=threads))
        np.testing.assert_array_equal(np.stack(many), thorough(film, wanted))


def outcome(film: Path, threads: int) -> np.ndarray | str:
    try:
        info = video.probe(film, reader="pyav")
        wanted = np.linspace(0, info.times_s[-1], 12)
        return np.stack(list(frame_sampling.sample(info, wanted, 48, threads=threads)))
    except video.UnreadableVideo as error:
        return str(error)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_threads_change_no_picture_of_a_damaged_film(tmp_path: Path, codec: str) -> None:
    options = {"g": "40", "bf": "2"}
    film = write_film(tmp_path / "f.mp4", moving(150), fps=25, codec=codec, options=options)
    content, rng = film.read_bytes(), np.random.default_rng(5)
    start, end = content.index(b"mdat") + 8, content.rindex(b"moov") - 8
    for _ in range(12):
        hurt = bytearray(content)
        for at in rng.integers(start, end, 3):
            hurt[at : at + 6] = rng.bytes(6)
        film.write_bytes(bytes(hurt))
        np.testing.assert_array_equal(outcome(film, 1), outcome(film, 4))
