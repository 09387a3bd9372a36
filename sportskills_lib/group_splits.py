"""What belongs together, and in which split it stands: channels of lessons (02), participants of
takes (04).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping

import polars as pl

MIN_CHANNELS = 3


def groups(pairs: Iterable[tuple[str, str]], names: Iterable[str]) -> dict[str, str]:
    """The group of each name, called by its first member in order of name, when ``pairs`` belong
    together.
    """
    parent = {name: name for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for one, other in pairs:
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    return {name: root(name) for name in parent}


def assign_splits(
    clips: pl.DataFrame,
    *,
    test_fraction: float,
    val_fraction: float,
    groups: Mapping[str, str] | None = None,
) -> tuple[dict[str, str], list[str]]:
    """The split of each channel of ``clips`` (columns sport, channel), and the sports too small to
    split.
    """
    group_of = (
        dict(groups) if groups else {channel: channel for channel in clips["channel"].unique()}
    )
    grouped = clips.select(
        "sport", "channel", group=pl.col("channel").replace_strict(group_of, return_dtype=pl.String)
    )
    splits: dict[str, str] = {}
    small = []
    by_sport = grouped.group_by("sport").agg(pl.col("group").unique()).sort("sport")
    for sport, names in by_sport.iter_rows():
        ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        tests, vals = (
            round(test_fraction * len(ordered)),
            max(1, round(val_fraction * len(ordered))),
        )
        if len(ordered) < MIN_CHANNELS:
            small.append(sport)
            tests, vals = len(ordered), 0
        placed = Counter(splits[name] for name in ordered if name in splits)
        tests, vals = max(0, tests - placed["test"]), max(0, vals - placed["val"])
        for place, name in enumerate(name for name in ordered if name not in splits):
            splits[name] = "test" if place < tests else "val" if place < tests + vals else "train"
    return {
        channel: splits[group_of[channel]] for channel in grouped["channel"].unique().sort()
    }, small
