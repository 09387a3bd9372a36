"""Splits by channel: the rule by hand, and no channel in two splits."""

from __future__ import annotations

import hashlib

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from sportskills_lib.pairing.splits import assign_splits


def clips(sports: dict[str, list[str]]) -> pl.DataFrame:
    rows = [(sport, channel) for sport, channels in sports.items() for channel in channels for _ in range(2)]
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
        st.sampled_from(["golf", "judo", "tennis"]), st.lists(st.sampled_from("abcdefghij"), min_size=1, unique=True)
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
