"""Which channel goes to which split.

Guarantee: every clip of a channel, and so of a video, stands in one split, and so do all channels
that share pictures; the same channels always give the same splits. Channels that share pictures
form a group, called by the first of their ids. For each sport in alphabetical order: its groups
with clips are ordered by the SHA-256 of their names; of ``n`` groups ``round(test_fraction * n)``
are for test and ``max(1, round(val_fraction * n))`` for val. Groups that an earlier sport placed
count towards these, the others fill up first test, then val, then train: so a sport keeps its
shares even where its channels teach several sports. A sport with fewer than three groups cannot be
split and goes to test, unless another sport has placed its group already.
"""

from __future__ import annotations

import polars as pl

from sportskills_lib.group_splits import assign_splits, groups

__all__ = ["assign_splits", "channel_groups", "check_no_copies_across"]


def channel_groups(clips: pl.DataFrame, links: pl.DataFrame) -> dict[str, str]:
    """The group of each channel of the kept ``clips`` (clip_id, channel).

    Clips belong together along ``links`` (clip_id, other_id, verdict) that are not *different*,
    also by way of a copy that was dropped.
    """
    linked = links.filter(pl.col("verdict") != "different").select("clip_id", "other_id").rows()
    clip_group = groups(linked, {name for pair in linked for name in pair})
    channels: dict[str, list[str]] = {}
    for clip, channel in clips.select("clip_id", "channel").iter_rows():
        if clip in clip_group:
            channels.setdefault(clip_group[clip], []).append(channel)
    together = [(members[0], other) for members in channels.values() for other in members[1:]]
    return groups(together, clips["channel"].unique().to_list())


def check_no_copies_across(clips: pl.DataFrame, links: pl.DataFrame) -> None:
    """No two kept clips with the same pictures stand in two splits; else ValueError that names the
    first two.

    ``clips``: clip_id, split; ``links``: clip_id, other_id, verdict. Clips belong together also by
    way of a copy that was dropped.
    """
    linked = links.filter(pl.col("verdict") != "different").select("clip_id", "other_id").rows()
    group = groups(linked, {name for pair in linked for name in pair})
    seen: dict[str, tuple[str, str]] = {}
    kept = clips.select("clip_id", pl.col("split").cast(pl.String)).sort("clip_id")
    for clip, split in kept.iter_rows():
        if clip not in group:
            continue
        other, other_split = seen.setdefault(group[clip], (clip, split))
        if split != other_split:
            raise ValueError(
                f"clips {other} ({other_split}) and {clip} ({split}) show the same pictures: a "
                "split must hold all "
                "copies; rerun 02_pairing"
            )
