"""Previews: what a browser gets is small, plays, is upright and starts where it should; bad files
cost one preview.
"""

from __future__ import annotations

import io
import os
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
from films import REAL, grey_steps, needs_real, shot, write_film
from PIL import Image

from sportskills_lib import video
from sportskills_lib.runs.content_store import ContentStore
from sportskills_lib.viewing import previews
from sportskills_lib.viewing.previews import Span


def decoded(film: bytes) -> tuple[av.VideoStream, list[np.ndarray], list[float]]:
    with av.open(io.BytesIO(film)) as container:
        stream = container.streams.video[0]
        assert [kind.type for kind in container.streams] == ["video"]
        frames = list(container.decode(stream))
        return (
            stream,
            [frame.to_ndarray(format="rgb24") for frame in frames],
            [float(frame.time) for frame in frames],
        )


def make(
    spans: list[Span], cache: ContentStore | None = None, **options
) -> dict[str, previews.Preview]:
    return previews.make_previews(spans, cache=cache, workers=0, **options)


def test_a_film_plays_everywhere_and_shows_the_span(tmp_path: Path) -> None:
    path = write_film(
        tmp_path / "a.mp4", grey_steps(40)
    )  # 4 s at 10 a second, brighter with each frame
    found = make([Span("a", path, 1.0, 2.0)])["a"]
    stream, frames, times_s = decoded(found.film)
    assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert found.film.index(b"moov") < found.film.index(b"mdat")  # plays before all of it is there
    assert len(frames) == 10 and times_s == pytest.approx(np.arange(10) / 10, abs=1e-3)
    levels = [float(frame.mean()) for frame in frames]
    assert levels == pytest.approx([20 + 5 * i for i in range(10, 20)], abs=4)
    with Image.open(io.BytesIO(found.strip)) as picture:
        assert picture.size == (6 * 112, 112)


def test_frames_of_variable_rate_are_shown_when_they_were(tmp_path: Path) -> None:
    times_s = [0.0, 0.1, 0.2, 0.3, 1.3, 1.4, 1.5]  # a picture that stands for a second
    path = write_film(tmp_path / "v.mp4", grey_steps(7), times_s=times_s)
    _, frames, shown_s = decoded(make([Span("v", path, 0.0, 1.6)])["v"].film)
    for frame, second in zip(frames, shown_s, strict=True):
        last = max(i for i, at in enumerate(times_s) if at <= second + 1e-3)
        assert float(frame.mean()) == pytest.approx(20 + 5 * last, abs=4)


@pytest.mark.parametrize(
    ("height", "width"), [(97, 61), (61, 97), (480, 854), (2, 300), (1080, 20)]
)
def test_any_size_gives_even_sides_and_is_never_blown_up(
    tmp_path: Path, height: int, width: int
) -> None:
    frames = np.full((6, height // 2 * 2, width // 2 * 2, 3), 120, np.uint8)
    path = write_film(tmp_path / "s.mkv", frames)
    stream, shown, _ = decoded(make([Span("s", path, 0.0, 0.6)])["s"].film)
    assert stream.width % 2 == stream.height % 2 == 0
    assert max(stream.width, stream.height) <= min(320, max(height, width))
    assert float(np.median(shown[2])) == pytest.approx(120, abs=4)  # no black bars


def test_a_long_or_wild_span_stays_within_half_a_megabyte(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (20, 320, 320, 3), dtype=np.uint8)
    path = write_film(tmp_path / "n.mp4", np.concatenate([noise] * 6), options={"crf": "30"})
    found = make([Span("n", path, 0.0, 12.0)])["n"]
    assert len(found.film) < 600_000
    assert len(decoded(found.film)[1]) == 100  # of 12 s, the first ten


def test_bad_files_cost_their_own_preview_and_say_why(tmp_path: Path) -> None:
    good = write_film(tmp_path / "good.mp4", shot(1, 20, moves=True))
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "cut.mp4").write_bytes(good.read_bytes()[:900])
    (tmp_path / "empty.mp4").touch()
    spans = [
        Span(name, tmp_path / f"{name}.mp4", 0.0, 1.0)
        for name in ("good", "text", "cut", "empty", "gone")
    ]
    found = make(
        [*spans, Span("late", good, 50.0, 51.0)], ContentStore(tmp_path / "kept", limit_bytes=10**8)
    )
    assert {name: one.reason for name, one in found.items()} == {
        "good": "",
        "text": "unreadable",
        "cut": "unreadable",
        "empty": "unreadable",
        "gone": "missing",
        "late": "unreadable",
    }
    assert all(
        not one.film and not one.strip and one.detail for one in found.values() if one.reason
    )
    assert "text.mp4" in found["text"].detail and "2.00 s" in found["late"].detail


def test_previews_are_kept_by_content_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = (
        write_film(tmp_path / "a.mp4", shot(2, 20, moves=True)),
        ContentStore(tmp_path / "k", limit_bytes=10**8),
    )
    first = make([Span("a", path, 0.0, 1.0)], cache)
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(path.read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr(previews, "film", None)  # nothing is made again
        assert make([Span("b", copy, 0.0, 1.0)], cache)["b"] == first["a"]
        assert make([Span("b", copy, 0.0, 1.0)], cache, films=False)["b"] == previews.Preview(
            strip=first["a"].strip
        )
        with pytest.raises(TypeError):
            make([Span("a", path, 0.0, 1.1)], cache)  # another span
    for entry in (tmp_path / "k").rglob("*.npy"):
        entry.write_bytes(entry.read_bytes()[:-30])  # a disk that failed
    again = make([Span("a", path, 0.0, 1.0)], cache)["a"]
    assert again.strip == first["a"].strip and len(decoded(again.film)[1]) == 10
    write_film(path, shot(3, 20, moves=True))
    os.utime(path, (time.time() + 5,) * 2)
    assert make([Span("a", path, 0.0, 1.0)], cache)["a"] != first["a"]
    assert not list((tmp_path / "k").rglob("*.tmp"))


def test_names_must_differ(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names must differ"):
        make([Span("a", tmp_path, 0, 1), Span("a", tmp_path, 1, 2)])


@needs_real
@pytest.mark.real
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_real_films_are_upright(turn: int) -> None:
    """The four recordings hold one scene, held four ways: their previews look alike."""
    path, upright = (REAL / f"hard_video/decord/video_{each}.mov" for each in (turn, 0))
    info = video.probe(path)
    stream, frames, _ = decoded(make([Span("a", path, 0.0, 1.0)])["a"].film)
    assert (stream.width > stream.height) == (info.width_px > info.height_px)
    square = video.read_frames(video.probe(path), [0.0], 320)[0]
    lit = square[(320 - stream.height) // 2 :][: stream.height, (320 - stream.width) // 2 :][
        :, : stream.width
    ]
    assert float(np.abs(frames[0].astype(int) - lit).mean()) < 6
    assert video.probe(upright).duration_s > 0


@needs_real
@pytest.mark.real
def test_every_hard_file_gives_a_preview_or_a_reason() -> None:
    paths = sorted(
        path for path in (REAL / "hard_video").rglob("*") if path.suffix in video.SUFFIXES
    )
    found = make([Span(path.name, path, 0.0, 1.0) for path in paths])
    assert len(found) > 20
    for name, one in found.items():
        assert bool(one.film) != bool(one.reason), name
        if one.film:
            stream, frames, times_s = decoded(one.film)
            assert (
                stream.codec_context.pix_fmt == "yuv420p"
                and frames
                and times_s[0] == pytest.approx(0, abs=0.1)
            ), name
    assert {name for name, one in found.items() if one.reason} <= {"corrupted.mp4"}


def loader(monkeypatch: pytest.MonkeyPatch, make) -> previews.PreviewLoader:
    monkeypatch.setattr(previews, "make_previews", make)
    return previews.PreviewLoader(
        lambda item: previews.Span(item, Path("x"), 0, 1),
        cache=None,
        ready=lambda: None,
        failed=lambda error: None,
    )


def test_a_wish_counts_though_the_last_thread_has_not_ended_yet(monkeypatch) -> None:
    """Films that are being made come to their end, then the latest wish alone is fulfilled."""
    begun, ends, asked = threading.Event(), threading.Event(), []

    def make(spans, **_):
        asked.append([span.name for span in spans])
        begun.set()
        ends.wait(10)
        return {span.name: previews.Preview(b"f") for span in spans}

    films = loader(monkeypatch, make)
    first = [f"first {at}" for at in range(2 * previews.AT_ONCE)]
    films.want(first)
    assert begun.wait(10)
    films.want(["second"])
    films.want(["third", "first 0"])
    ends.set()
    films.thread.join(60)
    assert asked == [first[: previews.AT_ONCE], ["third"]]
    assert films.loaded == dict.fromkeys([*first[: previews.AT_ONCE], "third"], b"f")


def test_a_loader_keeps_the_latest_films_alone(monkeypatch) -> None:
    monkeypatch.setattr(previews, "KEPT_BYTES", 10)
    films = loader(
        monkeypatch, lambda spans, **_: {s.name: previews.Preview(b"1234") for s in spans}
    )
    for item in "abc":
        films.want([item])
        films.thread.join(60)
    assert list(films.loaded) == ["b", "c"]
