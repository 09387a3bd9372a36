"""Splits that hold whole groups: channels of lessons (02), participants of takes (04).

Guarantee: every clip of a channel, and so of a video, is in one split, and so are all channels that
share pictures; the same channels always give the same splits. Channels that share pictures form a
group, named after the first of their ids. For each sport in alphabetical order: its groups with
clips are ordered by the SHA-256 of their names; of ``n`` groups ``round(test_fraction * n)`` are
for test and ``max(1, round(val_fraction * n))`` for val. Groups that an earlier sport placed count
towards these, the others fill up first test, then val, then train: so a sport keeps its shares even
where its channels teach several sports. A sport with fewer than three groups cannot be split and
goes to test, unless another sport has placed its group already.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping

import polars as pl

MIN_CHANNELS = 3


def join_groups(pairs: Iterable[tuple[str, str]], names: Iterable[str]) -> dict[str, str]:
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
    split. ``groups`` names the group of each channel; by default every channel is one of its own.
    """
    group_of = dict(groups) if groups else {name: name for name in clips["channel"].unique()}
    grouped = clips.select(
        "sport", "channel", group=pl.col("channel").replace_strict(group_of, return_dtype=pl.String)
    )
    splits: dict[str, str] = {}
    small = []
    by_sport = grouped.group_by("sport").agg(pl.col("group").unique()).sort("sport")
    for sport, names in by_sport.iter_rows():
        ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        tests = round(test_fraction * len(ordered))
        vals = max(1, round(val_fraction * len(ordered)))
        if len(ordered) < MIN_CHANNELS:
            small.append(sport)
            tests, vals = len(ordered), 0
        placed = Counter(splits[name] for name in ordered if name in splits)
        tests, vals = max(0, tests - placed["test"]), max(0, vals - placed["val"])
        for place, name in enumerate(name for name in ordered if name not in splits):
            splits[name] = "test" if place < tests else "val" if place < tests + vals else "train"
    channels = grouped["channel"].unique().sort()
    return {channel: splits[group_of[channel]] for channel in channels}, small


def channel_groups(clips: pl.DataFrame, links: pl.DataFrame) -> dict[str, str]:
    """The group of each channel of the kept ``clips`` (clip_id, channel).

    Clips belong together along ``links`` (clip_id, other_id, verdict) that are not *different*,
    also by way of a copy that was dropped.
    """
    group = pl.col("clip_id").replace(_picture_groups(links))
    together = clips.select("channel", first=pl.col("channel").first().over(group))
    return join_groups(together.rows(), clips["channel"].unique().to_list())


def check_no_copies_across(clips: pl.DataFrame, links: pl.DataFrame) -> None:
    """No two kept clips with the same pictures are in two splits; else ValueError that names the
    first two.

    ``clips``: clip_id, split; ``links``: clip_id, other_id, verdict. Clips belong together also by
    way of a copy that was dropped.
    """
    group = pl.col("clip_id").replace(_picture_groups(links))
    torn = (
        clips.select("clip_id", pl.col("split").cast(pl.String))
        .sort("clip_id")
        .with_columns(pl.all().first().over(group).name.prefix("first_"))
        .filter(pl.col("split") != pl.col("first_split"))
    )
    for clip, split, other, other_split in torn.iter_rows():
        raise ValueError(
            f"clips {other} ({other_split}) and {clip} ({split}) show the same pictures: a split "
            "must hold all copies; rerun 02_pairing"
        )


def _picture_groups(links: pl.DataFrame) -> dict[str, str]:
    """The group of each linked clip; clips of one group show the same pictures."""
    pairs = links.filter(pl.col("verdict") != "different").select("clip_id", "other_id").rows()
    return join_groups(pairs, {name for pair in pairs for name in pair})
