"""Copies across videos: found when mirrored, re-encoded, resized, with bars or re-cut; not
otherwise.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
from films import shot, write_film

from sportskills_lib import video
from sportskills_lib.demo.lessons import find_skill
from sportskills_lib.demo.render import Appearance, render_shot
from sportskills_lib.demo.settings import DemoConfig
from sportskills_lib.pairing import duplicates

RNG = np.random.default_rng(0)
WORDS = ["bend your knees", "turn the hips", "hold the finish high"]


def frames(seed: int, *, studio: int | None = None, upright: bool = False) -> np.ndarray:
    clip = shot(seed, 30, moves=True, size_px=64)
    clip = clip.transpose(0, 2, 1, 3) if upright else clip
    if studio is not None:  # another scene behind the same movement
        clip = np.where(clip < 45, clip, shot(studio, 30, moves=False, size_px=64))
    return clip


def worse(clip: np.ndarray) -> np.ndarray:
    """Darker, with less contrast and noise, as a re-encoded copy."""
    return np.clip(clip * 0.8 + 10 + RNG.normal(0, 6, clip.shape), 0, 255).astype(np.uint8)


Row = tuple[str, str, str, np.ndarray]  # video, date, text, frames


def compared(rows: list[Row]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Clips in order of upload, named video:number, three seconds each; and how they were
    linked.
    """
    seen: dict[str, int] = {}
    for name, *_ in rows:
        seen.setdefault(name, 0)
    numbers = []
    for name, *_ in rows:
        numbers.append(seen[name])
        seen[name] += 1
    clips = pl.DataFrame(
        {
            "clip_id": [f"{row[0]}:{number}" for row, number in zip(rows, numbers, strict=True)],
            "video_id": [row[0] for row in rows],
            "start_s": [3.0 * number for number in numbers],
            "upload_date": [row[1] or None for row in rows],
            "text": [row[2] for row in rows],
        },
        schema_overrides={"upload_date": pl.String},
    )
    ordered = duplicates.by_upload(clips.with_row_index("row"))
    signed = [duplicates.make_signature(rows[row][3]) for row in ordered["row"]]
    outlines = np.stack([duplicates.outline(one) for one in signed])
    pairs = duplicates.find_candidates(outlines, ordered["video_id"].rank("dense").to_numpy())
    return ordered, duplicates.compare_clips(
        ordered, pairs, lambda row: signed[row], similarity=0.9, rate_hz=10
    )


def copies(rows: list[Row]) -> dict[str, tuple[str, bool | None]]:
    found = duplicates.find_copies(*compared(rows))
    return {clip: (original, turned) for clip, original, _, turned in found.iter_rows()}


# ---------------------------------------------------------------------------- what one film becomes


def performance(take: int, *, look: int = 5, count: int = 150) -> np.ndarray:
    """A serve at 25 frames a second by an athlete, in clothes and a place given by ``look``."""
    rng = np.random.default_rng
    skill, appearance = find_skill("tennis", "serve"), Appearance.draw(rng(look))
    return render_shot("correct", skill, appearance, rng(take), count, DemoConfig(fps=25))


def resized(film: np.ndarray, size_px: int) -> np.ndarray:
    return np.stack(
        [cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_AREA) for image in film]
    )


def looked_at(path: Path, film: np.ndarray, *, fps: float = 25, crf: int = 23) -> np.ndarray:
    """The signature of a film that went through a file, as stage 02 makes it."""
    info = video.probe(write_film(path, film, fps=fps, options={"crf": str(crf)}))
    return duplicates.make_signature(np.concatenate(list(video.stream_frames(info, 10, 64))))


@pytest.mark.parametrize(
    ("kind", "change", "crf", "least"),
    [
        ("mirrored", lambda film: film[:, :, ::-1], 28, 0.95),
        ("re-encoded", lambda film: film, 34, 0.9),
        ("resized", lambda film: resized(film, 80), 30, 0.9),
        ("brighter", lambda film: np.clip(film * 1.15 + 8, 0, 255).astype(np.uint8), 28, 0.95),
        ("re-cut by 1.2 s", lambda film: film[30:], 28, 0.9),
        (
            "re-cut by 1.3 s, between two pictures",
            lambda film: film[33:],
            28,
            duplicates.MIN_SUPPORTED,
        ),
        ("with black bars", lambda film: np.pad(film, ((0, 0), (32, 32), (0, 0), (0, 0))), 28, 0.7),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_copy_is_alike_whatever_was_done_to_it(
    tmp_path: Path, kind: str, change, crf: int, least: float
) -> None:
    film = performance(1)
    one = looked_at(tmp_path / "one.mp4", film)
    other = looked_at(tmp_path / "other.mp4", change(film), crf=crf)
    like = duplicates.compare(one, other)
    assert like.similarity >= least
    assert like.mirrored == (kind == "mirrored")
    assert like.shift == {"re-cut by 1.2 s": -12, "re-cut by 1.3 s, between two pictures": -13}.get(
        kind, 0
    )
    assert duplicates.outline(one).astype(float) @ duplicates.outline(other).astype(float) >= (
        duplicates.MIN_OUTLINE if not like.mirrored else -1
    )


def test_another_take_another_athlete_and_another_skill_are_less_alike(tmp_path: Path) -> None:
    one = looked_at(tmp_path / "one.mp4", performance(1))
    for take in (2, 3, 4):  # the same athlete, place and skill
        assert (
            duplicates.compare(one, looked_at(tmp_path / "take.mp4", performance(take))).similarity
            < 0.9
        )
    for look in (6, 7):  # the same movement by somebody else
        assert (
            duplicates.compare(
                one, looked_at(tmp_path / "look.mp4", performance(1, look=look))
            ).similarity
            < 0.6
        )


def test_clips_that_hardly_overlap_are_not_compared() -> None:
    one = duplicates.make_signature(frames(1))
    assert duplicates.compare(one, one[:5]).similarity == 0
    assert duplicates.compare(one, one[12:]).shift == -12
    still = np.broadcast_to(one[:1], one.shape)
    assert duplicates.compare(still, one).similarity < 0.1  # what never moves tells nothing


def test_a_mirror_of_a_mirror_is_the_same() -> None:
    described = np.stack([duplicates.outline(duplicates.make_signature(frames(3)))])
    np.testing.assert_array_equal(
        duplicates.mirror_outlines(duplicates.mirror_outlines(described)), described
    )
    turned = duplicates.outline(duplicates.make_signature(frames(3)[:, :, ::-1]))
    np.testing.assert_allclose(duplicates.mirror_outlines(described)[0], turned, atol=2e-3)


def test_the_best_shift_is_that_of_a_plain_search() -> None:
    a, b = (
        duplicates.make_signature(frames(2))[:20],
        duplicates.make_signature(worse(frames(2)))[6:29],
    )

    def plain(shift: int) -> float:
        first, second = max(0, -shift), max(0, shift)
        length = min(len(a) - first, len(b) - second)
        x, y = (
            part[start : start + length].reshape(length, -1).astype(float)
            for part, start in ((a, first), (b, second))
        )
        x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
        still = (
            x.mean(axis=0)
            @ y.mean(axis=0)
            / np.linalg.norm(x.mean(axis=0))
            / np.linalg.norm(y.mean(axis=0))
        )
        u, v = (x - x.mean(axis=0)).ravel(), (y - y.mean(axis=0)).ravel()
        return min(still, u @ v / np.linalg.norm(u) / np.linalg.norm(v))

    scores = {shift: plain(shift) for shift in range(-10, 14)}
    similarity, shift = duplicates._best_shift(a, b)
    assert shift == max(scores, key=scores.__getitem__) == -6
    assert similarity == pytest.approx(scores[-6], abs=1e-6)


# --------------------------------------------------------------------------------------- candidates


def test_candidates_are_those_of_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    base = RNG.normal(size=(40, duplicates.OUTLINE))
    outlines = np.repeat(base, 3, axis=0) + RNG.normal(0, 0.1, (120, duplicates.OUTLINE))
    outlines[::3] = duplicates.mirror_outlines(outlines[::3])
    outlines = (outlines / np.linalg.norm(outlines, axis=1, keepdims=True)).astype(np.float16)
    videos = RNG.integers(0, 30, 120)
    monkeypatch.setattr(duplicates, "BLOCK", 7)
    monkeypatch.setattr(duplicates, "TILE", 11)
    found = {tuple(pair) for pair in duplicates.find_candidates(outlines, videos).tolist()}
    whole = outlines.astype(np.float32)
    alike = np.maximum(whole @ whole.T, duplicates.mirror_outlines(whole) @ whole.T)
    wanted = {
        (int(i), int(j))
        for i, j in np.argwhere(alike >= duplicates.MIN_OUTLINE)
        if i < j and videos[i] != videos[j]
    }
    assert found == wanted
    monkeypatch.setattr(duplicates, "NEIGHBOURS", 1)
    assert {i for pair in duplicates.find_candidates(outlines, videos).tolist() for i in pair} == {
        i for pair in wanted for i in pair
    }
    assert duplicates.find_candidates(outlines[:0], videos[:0]).shape == (0, 2)


# ----------------------------------------------------------------------------------------- verdicts


def test_the_earlier_upload_is_kept() -> None:
    one, two = frames(1), frames(2)
    assert copies(
        [
            ("late", "20240202", "bend your knees", worse(one)),
            ("early", "20240101", "bend your knees", one),
            ("turned", "20240303", "bend your knees", worse(one[:, :, ::-1])),
            ("other", "20230101", "bend your knees", two),
            ("undated", "", "Bend your knees!", one),
        ]
    ) == {
        "late:0": ("early:0", False),
        "turned:0": ("early:0", True),
        "undated:0": ("early:0", False),
    }


def test_pictures_and_words_must_both_agree() -> None:
    one = frames(1)
    rows = [
        ("a", "1", "bend your knees and sit", one),
        ("b", "2", "keep the chin over a front shoulder", worse(one)),
        ("c", "3", "bend your knees and sit", frames(5)),
        ("a", "1", "bend your knees and sit", worse(one)),
    ]
    assert not copies(rows)
    _, links = compared(rows)
    shown = {tuple(sorted((row[0], row[1]))): row[-1] for row in links.iter_rows()}
    assert shown["a:0", "b:0"] == shown["a:1", "b:0"] == "same_pictures"
    assert "copy" not in shown.values()


def test_a_shared_studio_is_no_copy() -> None:
    assert not copies(
        [
            ("a", "1", "bend your knees", frames(1, studio=9)),
            ("b", "2", "bend your knees", frames(1, studio=9, upright=True)),
        ]
    )


def test_a_reupload_loses_all_of_its_clips() -> None:
    clips = [frames(seed) for seed in (1, 2, 3)]
    rows = [("old", "1", text, clip) for text, clip in zip(WORDS, clips, strict=True)]
    new = [("new", "2", text, worse(clip)) for text, clip in zip(WORDS, clips, strict=True)]
    new[2] = ("new", "2", "what nobody has understood", new[2][3])
    assert copies(rows + new) == {
        "new:0": ("old:0", False),
        "new:1": ("old:1", False),
        "new:2": ("old", None),
    }


def test_a_copy_of_a_copy_is_a_copy_of_the_first() -> None:
    links = pl.DataFrame(
        [
            ("b:0", "a:0", 0.95, True, 0.0, 1.0, "copy"),
            ("c:0", "b:0", 0.97, True, 0.0, 1.0, "copy"),
        ],
        schema=duplicates.LINKS,
        orient="row",
    )
    clips = pl.DataFrame({"clip_id": ["a:0", "b:0", "c:0"], "video_id": ["a", "b", "c"]})
    assert duplicates.find_copies(clips, links).rows() == [
        ("b:0", "a:0", 0.95, True),
        ("c:0", "a:0", 0.97, False),
    ]


def test_less_alike_clips_are_copies_only_with_the_same_offset() -> None:
    """Cut to begin between two pictures: no clip is alike enough alone, all of them together
    are.
    """
    films = [performance(1, look=look, count=75) for look in (5, 6, 7)]
    whole = [resized(film, 64)[::2][:37] for film in films]  # looked at 12.5 times a second
    late = [resized(film, 64)[1::2][:37] for film in films]  # and half a step later
    rows = [("old", "1", text, film) for text, film in zip(WORDS, whole, strict=True)]
    _, links = compared(
        [*rows, *(("new", "2", text, film) for text, film in zip(WORDS, late, strict=True))]
    )
    true = links.filter(
        pl.col("clip_id").str.split(":").list[1] == pl.col("other_id").str.split(":").list[1]
    )
    assert true["verdict"].to_list() == ["copy"] * 3
    assert true["similarity"].min() < 0.9  # type: ignore[operator]
    _, alone = compared([rows[0], ("new", "2", WORDS[0], late[0])])
    assert alone["verdict"].to_list() == ["copy" if alone["similarity"][0] >= 0.9 else "different"]
