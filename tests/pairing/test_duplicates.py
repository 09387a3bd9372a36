"""Copies across videos: found when mirrored, re-encoded or darker; not when only the studio or the words agree."""

from __future__ import annotations

import numpy as np
import polars as pl
from films import shot

from sportskills_lib.pairing.duplicates import describe_clip, find_copies, mirrored

RNG = np.random.default_rng(0)


def frames(seed: int, *, studio: int | None = None) -> np.ndarray:
    clip = shot(seed, 8, moves=True, size_px=64)
    if studio is not None:  # another scene behind the same movement
        clip = np.where(clip < 45, clip, shot(studio, 8, moves=False, size_px=64))
    return clip


def worse(clip: np.ndarray) -> np.ndarray:
    """Darker, with less contrast and noise, as a re-encoded copy."""
    return np.clip(clip * 0.8 + 10 + RNG.normal(0, 6, clip.shape), 0, 255).astype(np.uint8)


def copies(rows: list[tuple[str, str, str, str, np.ndarray]]) -> dict[str, tuple[str, bool | None]]:
    """rows: video, date, text, sport, frames; clips are named video:number."""
    seen: dict[str, int] = {}
    names = []
    for video, *_ in rows:
        seen[video] = seen.get(video, -1) + 1
        names.append(f"{video}:{seen[video]}")
    clips = pl.DataFrame(
        {
            "clip_id": names,
            "video_id": [row[0] for row in rows],
            "upload_date": [row[1] or None for row in rows],
            "text": [row[2] for row in rows],
            "sport": [row[3] for row in rows],
        },
        schema_overrides={"upload_date": pl.String},
    )
    found = find_copies(clips, np.stack([describe_clip(row[4]) for row in rows]), similarity=0.9)
    return {clip: (original, turned) for clip, original, _, turned in found.iter_rows()}


def test_the_earlier_upload_is_kept() -> None:
    one, two = frames(1), frames(2)
    assert copies(
        [
            ("late", "20240202", "bend your knees", "golf", worse(one)),
            ("early", "20240101", "bend your knees", "golf", one),
            ("turned", "20240303", "bend your knees", "golf", worse(one[:, :, ::-1])),
            ("other", "20230101", "bend your knees", "golf", two),
            ("undated", "", "Bend your knees!", "golf", one),
        ]
    ) == {"late:0": ("early:0", False), "turned:0": ("early:0", True), "undated:0": ("early:0", False)}


def test_pictures_and_words_must_both_agree() -> None:
    one = frames(1)
    assert not copies(
        [
            ("a", "1", "bend your knees and sit", "golf", one),
            ("b", "2", "keep the chin over a front shoulder", "golf", worse(one)),
            ("c", "3", "bend your knees and sit", "golf", frames(5)),
            ("d", "4", "bend your knees and sit", "tennis", worse(one)),
            ("a", "1", "bend your knees and sit", "golf", worse(one)),
        ]
    )


def test_a_shared_studio_is_no_copy() -> None:
    assert not copies(
        [
            ("a", "1", "bend your knees", "golf", frames(1, studio=9)),
            ("b", "2", "bend your knees", "golf", frames(4, studio=9)),
        ]
    )


def test_a_reupload_loses_all_of_its_clips() -> None:
    clips = [frames(seed) for seed in (1, 2, 3)]
    texts = ["bend your knees", "turn the hips", "hold the finish high"]
    rows = [("old", "1", text, "golf", clip) for text, clip in zip(texts, clips, strict=True)]
    new = [("new", "2", text, "golf", worse(clip)) for text, clip in zip(texts, clips, strict=True)]
    new[2] = ("new", "2", "words that were not understood", "golf", new[2][4])
    assert copies(rows + new) == {"new:0": ("old:0", False), "new:1": ("old:1", False), "new:2": ("old", None)}


def test_a_mirror_of_a_mirror_is_the_same() -> None:
    described = np.stack([describe_clip(frames(3))])
    np.testing.assert_array_equal(mirrored(mirrored(described)), described)
    np.testing.assert_allclose(mirrored(described)[0], describe_clip(frames(3)[:, :, ::-1]), atol=2e-3)
