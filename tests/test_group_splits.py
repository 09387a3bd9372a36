"""Splits by channel: the rule by hand, and no channel in two splits."""

from __future__ import annotations

import hashlib

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sportskills_lib.group_splits import assign_splits, channel_groups, check_no_copies_across


def clips(sports: dict[str, list[str]]) -> pl.DataFrame:
    rows = [
        (sport, channel)
        for sport, channels in sports.items()
        for channel in channels
        for _ in range(2)
    ]
    return pl.DataFrame(rows, schema={"sport": pl.String, "channel": pl.String}, orient="row")


def test_nine_channels_give_four_one_four() -> None:
    channels = [f"UC{i}" for i in range(9)]
    splits, small = assign_splits(clips({"golf": channels}), test_fraction=0.44, val_fraction=0.11)
    ordered = sorted(channels, key=lambda channel: hashlib.sha256(channel.encode()).hexdigest())
    assert [splits[channel] for channel in ordered] == ["test"] * 4 + ["val"] + ["train"] * 4
    assert small == []


def test_a_sport_of_two_channels_is_for_testing_only() -> None:
    splits, small = assign_splits(clips({"judo": ["a", "b"]}), test_fraction=0.4, val_fraction=0.1)
    assert (splits, small) == ({"a": "test", "b": "test"}, ["judo"])


@given(
    sports=st.dictionaries(
        st.sampled_from(["golf", "judo", "tennis"]),
        st.lists(st.sampled_from("abcdefghij"), min_size=1, unique=True),
    ),
    test=st.floats(0.1, 0.5),
    val=st.floats(0.05, 0.3),
)
def test_every_channel_has_one_split_whatever_the_order_of_rows(
    sports: dict[str, list[str]], test: float, val: float
) -> None:
    table = clips(sports) if sports else clips({"golf": ["a"]})
    splits, small = assign_splits(table, test_fraction=test, val_fraction=val)
    assert set(splits) == set(table["channel"])
    assert assign_splits(table.reverse(), test_fraction=test, val_fraction=val) == (splits, small)


def links(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["clip_id", "other_id", "verdict"], orient="row")


def test_channels_that_share_pictures_go_together_even_by_way_of_a_dropped_copy() -> None:
    kept = pl.DataFrame({"clip_id": ["a1", "b1", "c1", "d1"], "channel": ["A", "B", "C", "D"]})
    linked = links(
        ("b1", "gone", "same_pictures"), ("gone", "a1", "copy"), ("d1", "c1", "different")
    )
    groups = channel_groups(kept, linked)
    assert groups == {"A": "A", "B": "A", "C": "C", "D": "D"}
    table = clips({"golf": list("ABCD")})
    splits, _ = assign_splits(table, test_fraction=0.4, val_fraction=0.2, groups=groups)
    assert splits["A"] == splits["B"]
    assert set(splits.values()) == {"train", "val", "test"}


def test_channels_that_an_earlier_sport_placed_count_for_the_next() -> None:
    shared = [f"UC{i}" for i in range(6)]
    splits, _ = assign_splits(
        clips({"golf": shared, "judo": [*shared[:3], "X", "Y", "Z"]}),
        test_fraction=0.34,
        val_fraction=0.17,
    )
    for sport in (shared, [*shared[:3], "X", "Y", "Z"]):
        counts = [
            sum(splits[channel] == name for channel in sport) for name in ("test", "val", "train")
        ]
        assert counts[0] >= 2 and counts[1] >= 1, (sport, counts)


def test_a_copy_across_two_splits_is_caught() -> None:
    kept = pl.DataFrame({"clip_id": ["a1", "b1", "c1"], "split": ["train", "test", "test"]})
    with pytest.raises(
        ValueError, match=r"clips a1 \(train\) and b1 \(test\) show the same pictures"
    ):
        check_no_copies_across(kept, links(("b1", "a1", "same_pictures")))
    with pytest.raises(ValueError, match="same pictures"):  # by way of a clip that was dropped
        check_no_copies_across(kept, links(("gone", "a1", "copy"), ("c1", "gone", "same_pictures")))
    check_no_copies_across(kept, links(("b1", "a1", "different"), ("c1", "b1", "same_pictures")))
