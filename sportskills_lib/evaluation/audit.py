"""What can be said only by looking at the demo's truth: recall@10_multi, hit@10 and the oracles that know the cue.

The truth tables may be deleted: then everything here is empty, and the rest of 05 is unchanged, since no ranking and no
recall@10_single depends on it. P, the relevant clips of a query: all test clips of the same sport, skill, execution and
cue as one of its own clips, which are among them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from sportskills_lib import artifacts, metrics, spans, tables
from sportskills_lib.evaluation import recall

MULTI, HIT = "recall@10_multi", "hit@10"
GROUP = ("sport", "skill", "execution", "cue")
_NO_GROUPS = {"clip_id": pl.String, "execution": pl.String, "cue": pl.String, "group": pl.String, "look": pl.String}


def true_groups(truth: str | Path, clips: pl.DataFrame) -> pl.DataFrame:
    """What each test clip truly shows: clip_id, execution, cue, group (what P is), look (the execution alone).

    Empty where ``truth`` (a folder, relative to the workspace) is "" or has no segments.parquet. A clip that overlaps
    no demonstration by half (IoU) has no row, and queries of such clips alone have no recall@10_multi.
    """
    path = artifacts.workspace() / truth / "segments.parquet"
    if not truth or not path.is_file():
        return pl.DataFrame(schema=_NO_GROUPS)
    shown = pl.read_parquet(path).filter(pl.col("execution").is_not_null())
    test = clips.filter(pl.col("split").cast(pl.String) == "test")
    matched = spans.match_spans(test, shown.with_columns(clip_id=pl.int_range(pl.len()).cast(pl.String)))
    named = shown.with_row_index("segment_row").with_columns(pl.col("segment_row").cast(pl.String))
    found = (
        test.select(tables_key := ["video_id", "start_s", "end_s"], test_clip="clip_id")
        .join(matched.rename({"clip_id": "segment_row"}), on=tables_key)
        .join(named.select("segment_row", *GROUP), on="segment_row")
    )
    name = pl.concat_str([pl.col(column).fill_null("-") for column in GROUP], separator="|")
    look = pl.concat_str([pl.col(column).fill_null("-") for column in GROUP[:3]], separator="|")
    return found.select(clip_id="test_clip", execution="execution", cue="cue", group=name, look=look).sort("clip_id")


def relevant_clips(queries: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """P of each query: query_id, clip_id."""
    own = queries.select("query_id", clip_id="own").explode("clip_id")
    wanted = own.join(groups.select("clip_id", "group"), on="clip_id").select("query_id", "group").unique()
    return wanted.join(groups.select("clip_id", "group"), on="group").select("query_id", "clip_id").unique()


def audit_scores(
    queries: pl.DataFrame, clips: pl.DataFrame, rankings: pl.DataFrame, groups: pl.DataFrame, *, min_gallery: int
) -> pl.DataFrame:
    """Scores (recall@10_multi and hit@10) of every system in ``rankings``, the top 10 of text→video queries."""
    if groups.is_empty():
        return tables.Scores.create_empty()
    relevant = relevant_clips(queries, groups).with_columns(relevant=pl.lit(True))
    sizes = relevant.group_by("query_id").agg(n_relevant=pl.len())
    marked = rankings.join(relevant, on=["query_id", "clip_id"], how="left").with_columns(
        pl.col("relevant").fill_null(False)
    )
    rows = (
        marked.filter(pl.col("rank") <= recall.K)
        .sort("system", "query_id", "rank")
        .group_by("system", "query_id", maintain_order=True)
        .agg(pl.col("relevant"))
        .join(sizes, on="query_id")
        .join(queries.select("query_id", "sport", "cluster"), on="query_id")
    )
    return _scored(recall.split_system(rows), clips, min_gallery=min_gallery)


def _scored(rows: pl.DataFrame, clips: pl.DataFrame, *, min_gallery: int) -> pl.DataFrame:
    test = clips.filter(pl.col("split").cast(pl.String) == "test")
    rows = rows.join(test.group_by("sport").agg(n_sport=pl.len()), on="sport").with_columns(
        n_gallery=pl.when(pl.col("scope") == "across_sports").then(test.height).otherwise(pl.col("n_sport"))
    )
    ranked = np.array([[*flags, *[False] * (recall.K - len(flags))] for flags in rows["relevant"].to_list()])
    ranked = ranked.reshape(rows.height, recall.K)
    size, n_gallery = rows["n_relevant"].to_numpy(), rows["n_gallery"].to_numpy()
    values = {
        MULTI: (metrics.recall_multi_at_k(ranked, size), metrics.chance_recall_multi(size, n_gallery)),
        HIT: (metrics.hit_at_k(ranked, size), metrics.chance_hit(size, n_gallery)),
    }
    needed = pl.when(pl.col("scope") == "within_sport").then(min_gallery).otherwise(recall.K + 1)
    evaluable = pl.col("n_gallery") >= needed
    parts = [
        rows.with_columns(
            metric=pl.lit(metric),
            seed=pl.lit(0, dtype=pl.Int64),
            value=pl.when(evaluable).then(pl.Series(value)),
            chance=pl.Series(chance),
        ).select(tables.Scores.column_names())
        for metric, (value, chance) in values.items()
    ]
    return tables.Scores.validate(pl.concat(parts), cast=True)


def oracles(queries: pl.DataFrame, clips: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """The expected recall@10_single of one who knows some of the truth: oracle, query_id, sport, value.

    ``skill`` needs no truth. ``cue`` knows sport, skill, execution and cue; ``look`` knows all but the cue, which is
    what pixels alone can tell: correct demonstrations taught with different cues look alike.
    """
    parts = [recall.skill_oracle(queries, clips).with_columns(oracle=pl.lit("skill"))]
    own = queries.select("query_id", "sport", clip_id="own").explode("clip_id")
    for oracle, column in (("look", "look"), ("cue", "group")):
        sizes = groups.with_columns(size=pl.len().over(column)).select("clip_id", "size")
        parts.append(recall.group_oracle(own.join(sizes, on="clip_id")).with_columns(oracle=pl.lit(oracle)))
    return pl.concat(parts).select("oracle", "query_id", "sport", "value")
