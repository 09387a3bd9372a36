"""Which channel goes to which split.

Guarantee: every clip of a channel, and so of a video, stands in one split; the same channels always give the same
splits. The rule, for each sport in alphabetical order: its channels with clips are ordered by the SHA-256 of their
ids; the first ``round(test_fraction * n)`` go to test, the next ``max(1, round(val_fraction * n))`` to val and the
rest to train. A channel that serves several sports keeps the split that the first of them gave it. A sport with fewer
than three channels cannot be split and goes to test, unless another sport has placed its channel already.
"""

from __future__ import annotations

import hashlib

import polars as pl

MIN_CHANNELS = 3


def assign_splits(
    clips: pl.DataFrame, *, test_fraction: float, val_fraction: float
) -> tuple[dict[str, str], list[str]]:
    """The split of each channel of ``clips`` (columns sport, channel), and the sports too small to split."""
    splits: dict[str, str] = {}
    small = []
    by_sport = clips.group_by("sport").agg(pl.col("channel").unique()).sort("sport")
    for sport, channels in by_sport.iter_rows():
        ordered = sorted(channels, key=lambda channel: hashlib.sha256(channel.encode()).hexdigest())
        tests, vals = round(test_fraction * len(ordered)), max(1, round(val_fraction * len(ordered)))
        if len(ordered) < MIN_CHANNELS:
            small.append(sport)
            tests, vals = len(ordered), 0
        for place, channel in enumerate(ordered):
            name = "test" if place < tests else "val" if place < tests + vals else "train"
            splits.setdefault(channel, name)
    return splits, small
