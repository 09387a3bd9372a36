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

from sportskills_lib import span_matching, tables
from sportskills_lib.evaluation import feedback, recall
from sportskills_lib.runs import artifacts

GROUP = ("sport", "skill", "execution", "cue")
KIND = "cue_kind"  # pose, timing or order: what one has to see of a movement to tell this cue
SEEN = "seen_wording"  # whether training texts use the image that is said, too
_OPTIONAL = {KIND: pl.String, SEEN: pl.Boolean}  # null in a truth that does not tell it
_NO_GROUPS = dict.fromkeys(("clip_id", "execution", "cue", "group", "look"), pl.String) | _OPTIONAL


def true_groups(
    truth: str | Path, clips: pl.DataFrame, *, splits: Iterable[str] = ("test",)
) -> pl.DataFrame:
    """What each clip truly shows: clip_id, execution, cue, its kind, group (what P is), look (the
    execution alone).

    Empty where ``truth`` (a folder, relative to the workspace) is "" or has no segments.parquet. A
    clip that overlaps no demonstration by half (IoU) has no row, and queries of such clips alone
    have no recall_multi.
    """
    path = artifacts.workspace() / truth / "segments.parquet"
    if not truth or not path.is_file():
        return pl.DataFrame(schema=_NO_GROUPS)
    shown = pl.read_parquet(path).filter(pl.col("execution").is_not_null())
    unknown = {name: kind for name, kind in _OPTIONAL.items() if name not in shown.columns}
    shown = shown.with_columns(pl.lit(None, kind).alias(name) for name, kind in unknown.items())
    asked = clips.filter(pl.col("split").cast(pl.String).is_in(list(splits)))
    matched = span_matching.match_spans(
        asked, shown.with_columns(clip_id=pl.int_range(pl.len()).cast(pl.String))
    )
    named = shown.with_row_index("segment_row").with_columns(pl.col("segment_row").cast(pl.String))
    found = (
        asked.select(tables_key := ["video_id", "start_s", "end_s"], asked_clip="clip_id")
        .join(matched.rename({"clip_id": "segment_row"}), on=tables_key)
        .join(named.select("segment_row", *GROUP, *_OPTIONAL), on="segment_row")
    )
    name = pl.concat_str([pl.col(column).fill_null("-") for column in GROUP], separator="|")
    look = pl.concat_str([pl.col(column).fill_null("-") for column in GROUP[:3]], separator="|")
    return (
        found.select("execution", "cue", *_OPTIONAL, clip_id="asked_clip", group=name, look=look)
        .select(*_NO_GROUPS)
        .sort("clip_id")
    )


def of_test_clips(groups: pl.DataFrame, clips: pl.DataFrame) -> pl.DataFrame:
    """The rows of test clips alone."""
    test = clips.filter(pl.col("split").cast(pl.String) == "test")
    return groups.join(test.select("clip_id"), on="clip_id", how="semi", maintain_order="left")


def true_faults(truth: str | Path, learners: pl.DataFrame) -> pl.DataFrame:
    """What each learner truly does wrong: learner_id, fault; empty without a truth."""
    path = artifacts.workspace() / truth / "learners.parquet"
    if not truth or not path.is_file():
        return pl.DataFrame(schema={"learner_id": pl.String, "fault": pl.String})
    tried = pl.read_parquet(path).select("video_time", take_id="take_uid", fault="execution")
    far = (pl.col("video_time") - (pl.col("start_s") + pl.col("end_s")) / 2).abs()
    return (
        learners.join(tried, on="take_id")
        .sort("learner_id", far)
        .unique("learner_id", keep="first", maintain_order=True)
        .select("learner_id", "fault")
    )


def name_scores(
    truth: str | Path, named: pl.DataFrame, learners: pl.DataFrame, clips: pl.DataFrame
) -> pl.DataFrame:
    """tables.Scores of what 04 says is wrong with each test learner (``named``): with which
    probability (``probability``), whether the mistake that is named is its fault (``right``), and
    the share of the sport's training mistakes that are (``right_by_chance``); empty without a
    truth.
    """
    shown = true_groups(truth, clips, splits=("train",)).select("clip_id", fault="execution")
    faults = true_faults(truth, learners)
    every = pl.concat([faults, shown.rename({"clip_id": "learner_id"})])
    test = learners.filter(pl.col("split").cast(pl.String) == "test")
    taught = pl.concat(
        [
            part.filter(pl.col("split").cast(pl.String) == "train", shows)
            .select(name, "sport")
            .rename({name: "learner_id"})
            for part, name, shows in (
                (learners, "learner_id", pl.col("is_mistake")),
                (clips, "clip_id", pl.col("demonstration").cast(pl.String) == "incorrect"),
            )
        ]
    ).join(every, on="learner_id")
    chance = (
        taught.group_by("sport", "fault")
        .agg(pl.len())
        .select("sport", "fault", right_by_chance=pl.col("len") / pl.col("len").sum().over("sport"))
    )
    known = (
        named.filter(pl.col("rank") == 1)
        .join(test.select("learner_id", "sport", cluster="participant"), on="learner_id")
        .join(faults, on="learner_id")
        .join(every.rename({"fault": "named"}), left_on="mistake_id", right_on="learner_id")
        .join(chance, on=["sport", "fault"], how="left")
        .with_columns(
            pl.col("right_by_chance").fill_null(0.0),
            right=(pl.col("fault") == pl.col("named")).cast(pl.Float64),
        )
        .unpivot(
            ["probability", "right", "right_by_chance"],
            index=["learner_id", "sport", "cluster"],
            variable_name="metric",
        )
    )
    scores = known.rename({"learner_id": "query_id"}).with_columns(
        system=pl.lit("first name"), seed=pl.lit(0), chance=pl.lit(None, pl.Float64)
    )
    return tables.Scores.validate(scores.select(tables.Scores.column_names()), cast=True)


def with_oracles(
    truth: str | Path,
    pools: Mapping[str, pl.DataFrame],
    clips: pl.DataFrame,
    learners: pl.DataFrame,
) -> dict[str, pl.DataFrame]:
    """Each pool's rankings and, over the clips of the system ``random``, which also orders what
    they hold for equal, those of three who know some of the truth; as they are without a truth.

    ``grade_oracle`` knows the true grade (what it lacks to 1 is the raters' noise),
    ``same_fault_oracle`` which clips show this very mistake, and ``all_but_words_oracle`` all that
    pictures and 02's label tell: a correct demonstration is worth to it what they are worth on
    average, since the coach's words alone say which mistake it mends.
    """
    path = artifacts.workspace() / truth / "relevance.parquet"
    if not truth or not path.is_file():
        return dict(pools)
    said = pl.read_parquet(path).with_columns(rater=pl.lit("truth"), simulated=pl.lit(True))
    true, _ = feedback.judgements(said, clips, learners)
    grades = true.select("clip_id", "grade", query_id="learner_id")
    return {
        name: pl.concat([rankings, _oracle_rankings(rankings, grades)])
        for name, rankings in pools.items()
    }


def _oracle_rankings(rankings: pl.DataFrame, grades: pl.DataFrame) -> pl.DataFrame:
    known = rankings.filter(system="random").join(grades, on=["query_id", "clip_id"])
    grade, correct = pl.col("grade"), pl.col("grade").is_in([1, 3])
    worth = grade.filter(correct).mean().over("query_id")
    scores = {
        "same_fault_oracle": grade == 2,
        "all_but_words_oracle": pl.when(correct).then(worth).otherwise(grade),
        "grade_oracle": grade,
    }
    parts = [
        known.with_columns(
            system=pl.lit(name), score=score.cast(pl.Float64) + pl.col("score") / 1000
        ).sort("query_id", "score", "clip_id", descending=[False, True, False])
        for name, score in scores.items()
    ]
    place = pl.int_range(1, pl.len() + 1).over("system", "query_id")
    return pl.concat(parts).with_columns(rank=place).select(rankings.columns)


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
