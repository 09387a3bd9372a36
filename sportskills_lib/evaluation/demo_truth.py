"""What can be said only by looking at the demo's truth: what else is relevant, and the oracles that
know the cue.

The truth tables may be deleted: then everything here is empty, and the rest of 05 is unchanged,
since no ranking and no recall_single depends on it. P, the relevant clips of a query: all test
clips of the same sport, skill, execution and cue as one of its own clips, which are among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib import span_matching
from sportskills_lib.evaluation import recall
from sportskills_lib.runs import artifacts

GROUP = ("sport", "skill", "execution", "cue")
KIND = "cue_kind"  # pose, timing or order: what one has to see of a movement to tell this cue
_NO_GROUPS = dict.fromkeys(("clip_id", "execution", "cue", KIND, "group", "look"), pl.String)


def true_groups(
    truth: str | Path, clips: pl.DataFrame, *, splits: Iterable[str] = ("test",)
) -> pl.DataFrame:
    """What each clip truly shows: clip_id, execution, cue, its kind, group (what P is), look (the
    execution alone).

    Empty where ``truth`` (a folder, relative to the workspace) is "" or has no segments.parquet. A
    clip that overlaps no demonstration by half (IoU) has no row, and queries of such clips alone
    have no recall_multi. The kind of cue is null in a truth that does not name it.
    """
    path = artifacts.workspace() / truth / "segments.parquet"
    if not truth or not path.is_file():
        return pl.DataFrame(schema=_NO_GROUPS)
    shown = pl.read_parquet(path).filter(pl.col("execution").is_not_null())
    if KIND not in shown.columns:
        shown = shown.with_columns(pl.lit(None, dtype=pl.String).alias(KIND))
    asked = clips.filter(pl.col("split").cast(pl.String).is_in(list(splits)))
    matched = span_matching.match_spans(
        asked, shown.with_columns(clip_id=pl.int_range(pl.len()).cast(pl.String))
    )
    named = shown.with_row_index("segment_row").with_columns(pl.col("segment_row").cast(pl.String))
    found = (
        asked.select(tables_key := ["video_id", "start_s", "end_s"], asked_clip="clip_id")
        .join(matched.rename({"clip_id": "segment_row"}), on=tables_key)
        .join(named.select("segment_row", *GROUP, KIND), on="segment_row")
    )
    name = pl.concat_str([pl.col(column).fill_null("-") for column in GROUP], separator="|")
    look = pl.concat_str([pl.col(column).fill_null("-") for column in GROUP[:3]], separator="|")
    return (
        found.select("execution", "cue", KIND, clip_id="asked_clip", group=name, look=look)
        .select(*_NO_GROUPS)
        .sort("clip_id")
    )


def of_test_clips(groups: pl.DataFrame, clips: pl.DataFrame) -> pl.DataFrame:
    """The rows of test clips alone."""
    test = clips.filter(pl.col("split").cast(pl.String) == "test")
    return groups.join(test.select("clip_id"), on="clip_id", how="semi", maintain_order="left")


def folder_named_by(settings: Mapping[str, Any]) -> str:
    """The truth that 05 was told of, from its settings in the manifest; "" for none."""
    return str(settings["truth"])


def relevant_clips(queries: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """P of each query: query_id, clip_id."""
    return (
        _groups_of(queries, groups)
        .join(groups.select("clip_id", "group"), on="group")
        .select("query_id", "clip_id")
        .unique()
    )


def relevant(queries: pl.DataFrame, groups: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """What is right for each query, by direction, as recall.score_all takes it; empty without a
    truth.

    A clip's relevant texts are those that were said over a clip of its group.
    """
    if groups.is_empty():
        return {}
    said = _groups_of(queries, groups).rename({"query_id": "gallery_id"})
    asked = groups.select("group", query_id="clip_id")
    return {
        "text_to_video": relevant_clips(queries, groups).rename({"clip_id": "gallery_id"}),
        "video_to_text": asked.join(said, on="group").select("query_id", "gallery_id").unique(),
    }


def _groups_of(queries: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    return (
        queries.select("query_id", clip_id="own")
        .explode("clip_id")
        .join(groups.select("clip_id", "group"), on="clip_id")
        .select("query_id", "group")
        .unique()
    )


def oracles(
    queries: pl.DataFrame, clips: pl.DataFrame, groups: pl.DataFrame, *, size: int | None = None
) -> pl.DataFrame:
    """The expected recall@k_single of one who knows some of the truth: oracle, query_id, sport,
    value.

    ``skill`` needs no truth. ``cue`` knows sport, skill, execution and cue; ``look`` knows all but
    the cue, which is what pixels alone can tell: correct demonstrations taught with different cues
    look alike. ``size``: in galleries of one size instead of the sport's whole gallery.
    """
    parts = [recall.skill_oracle(queries, clips, size=size).with_columns(oracle=pl.lit("skill"))]
    own = queries.select("query_id", "sport", clip_id="own").explode("clip_id")
    n = recall.galleries(clips, queries).select("sport", n="gallery")
    for oracle, column in (("look", "look"), ("cue", "group")):
        alike = groups.with_columns(alike=pl.len().over(column)).select("clip_id", "alike")
        known = own.join(alike, on="clip_id").join(n, on="sport")
        parts.append(recall.group_oracle(known, size=size).with_columns(oracle=pl.lit(oracle)))
    return pl.concat(parts).select("oracle", "query_id", "sport", "value")


def all_oracles(
    queries: pl.DataFrame, clips: pl.DataFrame, groups: pl.DataFrame, *, size: int
) -> pl.DataFrame:
    """The oracles in the sport's whole gallery (``full``) and in galleries of ``size`` (``fixed``),
    by ``gallery``.
    """
    sizes = {"full": None, "fixed": size}
    return pl.concat(
        [
            oracles(queries, clips, groups, size=n).with_columns(gallery=pl.lit(name))
            for name, n in sizes.items()
        ]
    )


def oracles_by_gallery(oracles: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The saved table of oracles (with a column ``gallery``) as comparisons and figures take it."""
    return {
        str(key[0]): part.drop("gallery")
        for key, part in oracles.partition_by("gallery", as_dict=True).items()
    }
