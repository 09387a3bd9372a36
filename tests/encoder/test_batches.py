"""Batches by count: every sport as often as every other, every clip once a round, any step asked
for at once.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sportskills_lib.encoder.batch_sampler import ClipSimilarity, SportBatches, hands_in


def _clips(videos: dict[str, list[int]]) -> pl.DataFrame:
    """A table with so many clips of each video of each sport."""
    counted = [
        (sport, f"{sport}{v}", n) for sport, counts in videos.items() for v, n in enumerate(counts)
    ]
    rows = [(sport, video) for sport, video, n in counted for _ in range(n)]
    return pl.DataFrame(rows, schema=["sport", "video_id"], orient="row")


WORLDS = st.dictionaries(
    st.sampled_from(["golf", "judo", "luge", "rugby", "tennis"]),
    st.lists(st.integers(1, 6), min_size=1, max_size=5),
    min_size=1,
)


@settings(deadline=None, max_examples=60)
@given(WORLDS, st.integers(1, 6), st.integers(1, 7), st.booleans(), st.integers(0, 3))
def test_batches_are_balanced_and_hold_what_they_promise(
    videos: dict[str, list[int]], sports: int, size: int, apart: bool, seed: int
) -> None:
    clips = _clips(videos)
    batches = SportBatches(clips, sports, size, seed=seed, one_clip_per_video=apart)
    came: Counter[str] = Counter()
    for step in range(12):
        rows = batches.at(step)
        held = clips[rows]
        assert len(set(rows)) == len(rows)
        each = Counter(held["sport"])
        assert len(each) == min(sports, len(videos))
        for sport, n in each.items():
            assert n == min(size, len(videos[sport]) if apart else sum(videos[sport]))
        if apart:
            assert held["video_id"].n_unique() == held.height
        came.update(each.keys())
        counts = [came[sport] for sport in videos]
        assert max(counts) - min(counts) <= 1


@settings(deadline=None, max_examples=30)
@given(WORLDS, st.integers(1, 4), st.integers(1, 5), st.booleans())
def test_any_step_can_be_asked_for_at_once(
    videos: dict[str, list[int]], sports: int, size: int, apart: bool
) -> None:
    clips = _clips(videos)
    walked = SportBatches(clips, sports, size, seed=4, one_clip_per_video=apart)
    want = [walked.at(step) for step in range(20)]
    for step in (19, 3, 11, 0, 12):
        fresh = SportBatches(clips, sports, size, seed=4, one_clip_per_video=apart)
        assert np.array_equal(fresh.at(step), want[step])
    other = [
        SportBatches(clips, sports, size, seed=5, one_clip_per_video=apart).at(step)
        for step in range(20)
    ]
    if clips.height > 6:
        assert any(not np.array_equal(a, b) for a, b in zip(want, other, strict=True))


def test_a_round_holds_every_clip_once_before_any_comes_again() -> None:
    clips = _clips({"golf": [4, 4, 4], "judo": [4, 4, 4], "luge": [4, 4, 4]})
    for apart, size in ((False, 4), (True, 3)):
        batches = SportBatches(clips, 3, size, seed=1, one_clip_per_video=apart)
        for first in (0, 12 // size):
            rows = np.concatenate([batches.at(first + step) for step in range(12 // size)])
            assert sorted(rows) == list(range(36))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(1, 5))
def test_as_many_hands_are_dealt_as_can_be(counts: list[int], size: int) -> None:
    """The oracle takes the longest video first, which is known to give the most hands."""
    size = min(size, len(counts))
    left, hands = sorted(counts, reverse=True), 0
    while sum(n > 0 for n in left) >= size:
        left = sorted([n - 1 if i < size else n for i, n in enumerate(left)], reverse=True)
        hands += 1
    owners = np.repeat(np.arange(len(counts)), counts)
    assert hands_in(owners, size) == hands
    clips = _clips({"golf": counts})
    batches = SportBatches(clips, 1, size, seed=0, one_clip_per_video=True)
    rows = np.concatenate([batches.at(step) for step in range(hands)])
    assert len(set(rows)) == hands * size


def test_a_sport_with_fewer_clips_or_videos_gives_what_it_has() -> None:
    clips = _clips({"golf": [5, 7]})
    assert sorted(SportBatches(clips, 4, 99, seed=0).at(0)) == list(range(12))
    assert len(SportBatches(clips, 4, 99, seed=0, one_clip_per_video=True).at(0)) == 2
    with pytest.raises(ValueError, match="there is no training clip"):
        SportBatches(clips.head(0), 4, 4, seed=0).at(0)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("apart", [False, True])
def test_hard_negatives_are_the_nearest_that_are_not_doubtful(apart: bool) -> None:
    rng = np.random.default_rng(0)
    clips = _clips({"golf": [10] * 6, "judo": [10] * 6})
    kinds = rng.integers(4, size=clips.height)
    look_ND = _unit(np.eye(4)[kinds] + 0.1 * rng.normal(size=(clips.height, 4)))
    said_ND = np.eye(40)[
        rng.integers(40, size=clips.height)
    ]  # equal words: probably false negatives
    likeness = ClipSimilarity(look_ND, said_ND, ceiling=0.9, share=1.0)
    hard = SportBatches(clips, 2, 4, seed=0, one_clip_per_video=apart, likeness=likeness)
    plain = SportBatches(clips, 2, 4, seed=0, one_clip_per_video=apart)
    closeness = []
    for batches in (hard, plain):
        alike, same_words = [], 0
        for step in range(8):
            rows = batches.at(step)
            for sport in np.split(rows, 2):
                near = look_ND[sport] @ look_ND[sport].T
                alike.append(near[~np.eye(len(sport), dtype=bool)].mean())
                same_words += len(sport) - len({said_ND[i].argmax() for i in sport})
                assert not apart or clips[sport]["video_id"].n_unique() == len(sport)
        closeness.append(np.mean(alike))
        if batches is hard:
            assert same_words <= 1  # the last cards of a round may leave no choice
    assert closeness[0] > closeness[1] + 0.3
    rows = np.concatenate([hard.at(step) for step in range(15)])
    assert sorted(rows) == list(range(clips.height))  # a whole round, still without a second time


def test_the_first_hand_is_the_naive_choice() -> None:
    rng = np.random.default_rng(1)
    clips = _clips({"golf": [1] * 12})
    look_ND, said_ND = _unit(rng.normal(size=(12, 5))), _unit(rng.normal(size=(12, 3)))
    likeness = ClipSimilarity(look_ND, said_ND, ceiling=0.6, share=1.0)
    batches = SportBatches(clips, 1, 4, seed=0, likeness=likeness)
    hand = batches._round(0, 5)
    order = np.random.default_rng([0, 33, 0, 5]).permutation(12)
    wanted = [int(order[0])]
    for card in sorted(
        set(range(12)) - set(wanted), key=lambda i: -look_ND[i] @ look_ND[wanted[0]]
    ):
        if len(wanted) < 4 and all(said_ND[card] @ said_ND[j] <= 0.6 for j in wanted):
            wanted.append(card)
    assert any(set(wanted) == set(cards) for cards in hand)
