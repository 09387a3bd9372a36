"""Understanding beyond retrieval, on frozen embeddings: linear probes, minimal pairs and the choice
among five.

| task | asked | chance |
|---|---|---|
| ``execution_probe`` | is this test clip a correct demonstration or a mistake? a linear probe for
each skill | 1/2 |
| ``cue_probe`` | which of the skill's mistakes does it show? (needs the truth) | 1/mistakes |
| ``cue_pairs`` | a clip shows a mistake: its narration, or one of each other of the skill's? and
back | 1/mistakes |
| ``execution_pairs`` | same skill, same cue, shown well or badly: which of the two is said here?
and back | 1/2 |
| ``five_way`` | a clip: its own narration, or one of four others of the same sport (ExAct's format)
| 1/5 |

Pairs and five_way are exact expectations over all ways to draw the wrong answers, since drawing one
set for each question adds noise that is no part of the model: the chance that the right answer
scores highest needs only the share of wrong answers below it and level with it; ties are decided by
lot. Legend: I items, J groups of wrong answers.
Probes are weighted so that every class of a skill counts alike. The cue of a correct demonstration
is in its words only, which is why cue tasks ask about mistakes. Where the truth is missing there
are execution_probe and five_way (whose wrong answers may then say the same as the right one).

Rows are those of Scores: system ``encoder/training/direction/task``, metric ``accuracy``, one row
for each clip or narration, clustered by source video, so that everything in :mod:`.significance`
applies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from sportskills_lib import tables
from sportskills_lib.evaluation import probes, recall, recall_arrays, summary
from sportskills_lib.evaluation.comparisons import sampled_differences
from sportskills_lib.statistics import bootstrap

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ACCURACY = "accuracy"
TASKS = ("execution_probe", "cue_probe", "execution_pairs", "cue_pairs", "five_way")
WRONG = 4
_ROWS = ("query_id", "sport", "cluster", "value", "chance")
# exact up to degree 15: for up to 15 wrong answers
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def score_all(
    embeddings: pl.DataFrame, queries: pl.DataFrame, clips: pl.DataFrame, groups: pl.DataFrame
) -> pl.DataFrame:
    """Scores of every arm on every task. ``groups``: audit.true_groups over all splits; empty
    without the truth.
    """
    known = clips.join(
        groups.select("clip_id", "execution", "cue"),
        on="clip_id",
        how="left",
        maintain_order="left",
    )
    test = known.filter(pl.col("split").cast(pl.String) == "test").sort("clip_id")
    texts = queries.sort("query_id").with_columns(
        clip_id=pl.col("own").list.first(), item_id=pl.col("query_id")
    )
    texts = texts.join(
        test.select("clip_id", "execution", "cue"), on="clip_id", how="left", maintain_order="left"
    )
    parts: list[pl.DataFrame] = [tables.Scores.create_empty()]
    for model, encoder, training, seed in recall.arms(embeddings):
        vectors = embeddings.filter(pl.col("model_id") == model)
        all_clips = recall.matrix(vectors, "clip", known.select(item_id="clip_id"))
        said = recall.matrix(vectors, "narration", texts)
        shown = recall.matrix(vectors, "clip", test.select(item_id="clip_id"))
        rows = [
            *_probes(all_clips, known),
            *_pairs(said, shown, texts, test),
            *_five_way(said, shown, texts, test),
        ]
        parts += [
            frame.with_columns(
                system=pl.lit(recall.system_name(encoder, training, direction, task)),
                metric=pl.lit(ACCURACY),
                seed=pl.lit(seed, dtype=pl.Int64),
                chance=pl.col("chance").cast(pl.Float64),
            ).select(tables.Scores.column_names())
            for direction, task, frame in rows
        ]
    return pl.concat(parts)


def _rows(items: pl.DataFrame, key: str, values: Floats, chance: Floats) -> pl.DataFrame:
    """The items that were asked (those with a value), with their source video."""
    video = "video_id" if "video_id" in items.columns else "cluster"
    return (
        items.select(query_id=key, sport="sport", cluster=video)
        .with_columns(value=pl.Series(values), chance=pl.Series(chance))
        .filter(pl.col("value").is_not_nan())
        .select(_ROWS)
    )


# --------------------------------------------------------------------------------------- the probes


def _probes(vectors: Floats, known: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
    shown = known["demonstration"].cast(pl.String)
    mistakes = known.with_columns(mistake=_mistake()).select("sport", "skill", "mistake")
    codes = (
        mistakes.filter(pl.col("mistake").is_not_null())
        .unique()
        .sort("sport", "skill", "mistake")
        .with_columns(code=pl.int_range(pl.len()).over("sport", "skill"))
    )
    cue = mistakes.join(codes, on=["sport", "skill", "mistake"], how="left", maintain_order="left")[
        "code"
    ]
    labels = {
        "execution_probe": shown.replace_strict(
            {"correct": 0, "incorrect": 1}, default=-1, return_dtype=pl.Int64
        ),
        "cue_probe": cue.cast(pl.Int64).fill_null(-1),
    }
    skills = (
        known.select(pl.struct("sport", "skill").rank("dense"))
        .to_series()
        .to_numpy()
        .astype(np.int64)
    )
    split = known["split"].cast(pl.String).to_numpy().astype(str)
    for task, label in labels.items():
        label_N = label.to_numpy().astype(np.int64)
        right, _ = probes.probe(vectors, label_N, skills, split)
        asked = ~np.isnan(right)
        taught = (split == "train") & (label_N >= 0)
        classes = {
            group: len(np.unique(label_N[taught & (skills == group)]))
            for group in np.unique(skills[asked])
        }
        chance = np.array([1 / classes.get(group, 1) for group in skills])
        yield (
            "video",
            task,
            _rows(known, "clip_id", right * probes.balance(label_N, skills, asked), chance),
        )


def _mistake() -> pl.Expr:
    """The cue where a mistake is shown, else null."""
    return pl.when(pl.col("execution") != "correct").then(pl.col("cue"))


# ------------------------------------------------------------------------------------ minimal pairs


def _pairs(
    said_TD: Floats, shown_CD: Floats, texts: pl.DataFrame, test: pl.DataFrame
) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """Both kinds of minimal pairs, in both directions. Within a block (a skill, or a skill's cue)
    classes compete.
    """
    right = (
        pl.when(pl.col("execution") == "correct").then(pl.lit("well")).otherwise(pl.lit("badly"))
    )
    skill = pl.concat_str("sport", pl.lit("|"), "skill")
    kinds = {
        "cue_pairs": (pl.when(_mistake().is_not_null()).then(skill), _mistake()),
        "execution_pairs": (
            pl.when(pl.col("cue").is_not_null()).then(pl.concat_str(skill, pl.lit("|"), "cue")),
            pl.when(pl.col("execution").is_not_null()).then(right),
        ),
    }
    own_C = _own_text(texts, test)
    own_T = test["clip_id"].search_sorted(texts["clip_id"]).to_numpy().astype(np.int64)
    for task, (block, kind) in kinds.items():
        of_texts, of_clips = (frame.select(block=block, kind=kind) for frame in (texts, test))
        to_text = _compete(shown_CD, said_TD, own_C, of_clips, of_texts)
        yield "video_to_text", task, _rows(test, "clip_id", *to_text)
        to_clip = _compete(said_TD, shown_CD, own_T, of_texts, of_clips)
        yield "text_to_video", task, _rows(texts, "query_id", *to_clip)


def _own_text(texts: pl.DataFrame, test: pl.DataFrame) -> Ints:
    """The row of each clip's own text (the first by id), −1 where it has none."""
    own = (
        texts.with_row_index("row")
        .select("row", "own")
        .explode("own")
        .group_by("own")
        .agg(pl.col("row").min())
    )
    return (
        test.select(own="clip_id")
        .join(own, on="own", how="left", maintain_order="left")["row"]
        .cast(pl.Int64)
        .fill_null(-1)
        .to_numpy()
    )


def _compete(
    asked_AD: Floats, offered_OD: Floats, own_A: Ints, asked: pl.DataFrame, offered: pl.DataFrame
) -> tuple[Floats, Floats]:
    """For each asker: P(its own item beats one of each other class of its block), and chance; NaN:
    not asked.
    """
    value_A, chance_A = np.full(len(own_A), np.nan), np.full(len(own_A), np.nan)
    block_A, block_O = (
        frame["block"].fill_null("").to_numpy().astype(str) for frame in (asked, offered)
    )
    kind_A, kind_O = (
        frame["kind"].fill_null("").to_numpy().astype(str) for frame in (asked, offered)
    )
    for block in np.unique(block_A[(block_A != "") & (own_A >= 0)]):
        at = np.flatnonzero((block_A == block) & (kind_A != "") & (own_A >= 0))
        offers = np.flatnonzero((block_O == block) & (kind_O != ""))
        kinds = np.unique(kind_O[offers])
        if len(kinds) < 2 or not len(at):
            continue
        member_OK = (kind_O[offers][:, None] == kinds).astype(np.float64)
        member_OK /= member_OK.sum(axis=0)
        scores = recall_arrays.similarity(asked_AD[at], offered_OD[offers])
        own = np.round((asked_AD[at] * offered_OD[own_A[at]]).sum(axis=1, keepdims=True), 9)
        below, level = (scores < own) @ member_OK, (scores == own) @ member_OK
        mine = kind_A[at][:, None] == kinds
        value_A[at] = one_of_each(np.where(mine, 1.0, below), np.where(mine, 0.0, level))
        chance_A[at] = 1 / len(kinds)
    return value_A, chance_A


# -------------------------------------------------------------------------------------- one of five


def _five_way(
    said_TD: Floats, shown_CD: Floats, texts: pl.DataFrame, test: pl.DataFrame
) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """1 right narration and 4 others of the same sport, none of the clip's own nor, where known, of
    its group.
    """
    own_C = _own_text(texts, test)
    group = pl.when(pl.col("cue").is_not_null()).then(
        pl.concat_str("skill", "execution", "cue", separator="|")
    )
    group_T, group_C = (
        f.select(group.fill_null("")).to_series().to_numpy().astype(str) for f in (texts, test)
    )
    sport_T, sport_C = (frame["sport"].to_numpy().astype(str) for frame in (texts, test))
    value_C = np.full(len(own_C), np.nan)
    clip_rows = test.select(own="clip_id").with_row_index("clip")
    mine = (
        texts.with_row_index("said").select("said", "own").explode("own").join(clip_rows, on="own")
    )
    text_P, clip_P = (mine[name].to_numpy().astype(np.int64) for name in ("said", "clip"))
    for sport in np.unique(sport_C):
        at, said = (
            np.flatnonzero((sport_C == sport) & (own_C >= 0)),
            np.flatnonzero(sport_T == sport),
        )
        wrong = (group_T[said][:, None] != group_C[at]) | (group_C[at] == "")
        here = np.isin(text_P, said) & np.isin(clip_P, at)
        wrong[np.searchsorted(said, text_P[here]), np.searchsorted(at, clip_P[here])] = False
        scores = recall_arrays.similarity(said_TD[said], shown_CD[at])
        own = np.round((said_TD[own_C[at]] * shown_CD[at]).sum(axis=1), 9)
        below, level = ((scores < own) & wrong).sum(axis=0), ((scores == own) & wrong).sum(axis=0)
        value_C[at] = some_of_all(below, level, wrong.sum(axis=0), wrong=WRONG)
    yield (
        "video_to_text",
        "five_way",
        _rows(test, "clip_id", value_C, np.full(len(own_C), 1 / (1 + WRONG))),
    )


# --------------------------------------------------------------------------------------- the tables


def table(scores: pl.DataFrame, *, draws: int, seed: int) -> pl.DataFrame:
    """Macro means over sports: task, direction, encoder, training, value, low, high, n, sports,
    chance.
    """
    rows = []
    for key, part in summary.slices(scores, (ACCURACY,)):
        sampled = bootstrap.resample(part, draws=draws, seed=seed)
        chance = part.group_by("sport").agg(pl.col("chance").mean())["chance"].mean()
        for system in summary.arms_in_order(sampled.systems) if sampled.strata else []:
            names = (key["scope"], key["direction"], *system.split("/"))
            size = (int(sampled.queries_S.sum()), len(sampled.strata), chance)
            rows.append((*names, *sampled.macro(system), *size))
    return _in_order(pl.DataFrame(rows, schema=_TABLE, orient="row"))


_TABLE: dict[str, Any] = {
    **dict.fromkeys(("task", "direction", "encoder", "training"), pl.String),
    **dict.fromkeys(("value", "low", "high"), pl.Float64),
    "n": pl.Int64, "sports": pl.Int64, "chance": pl.Float64,
}  # fmt: skip


def differences(scores: pl.DataFrame, *, draws: int, seed: int) -> pl.DataFrame:
    """Paired, of macro means: task, direction, then the columns of
    comparisons.sampled_differences.
    """
    parts = []
    for key, part in summary.slices(scores, (ACCURACY,)):
        sampled = bootstrap.resample(part, draws=draws, seed=seed)
        if sampled.strata:
            named = {"task": pl.lit(key["scope"]), "direction": pl.lit(key["direction"])}
            parts.append(
                sampled_differences(sampled)
                .select(**named, rest=pl.struct(pl.all()))
                .unnest("rest")
            )
    if not parts:
        return pl.DataFrame(schema={"task": pl.String, "direction": pl.String})
    return _in_order(pl.concat(parts))


def _in_order(frame: pl.DataFrame) -> pl.DataFrame:
    places = {task: place for place, task in enumerate(TASKS)}
    place = pl.col("task").replace_strict(places, default=len(TASKS), return_dtype=pl.Int64)
    return frame.sort(place, "direction", maintain_order=True)


# ------------------------------------------------------------------------------------------ choices


def one_of_each(below_IJ: ArrayLike, level_IJ: ArrayLike) -> Floats:
    """P(the right answer wins) when one wrong answer is drawn from each group, [I].

    ``below``: the share of a group that scores below the right answer, ``level``: as high. With T
    ties the lot decides, 1 / (1 + T); its mean is the integral of the product of (below + level x)
    over x from 0 to 1.
    """
    below, level = np.asarray(below_IJ, dtype=np.float64), np.asarray(level_IJ, dtype=np.float64)
    if below.shape[1] > 15:
        raise ValueError(
            f"{below.shape[1]} groups of wrong answers: the closed form is exact for up to 15"
        )
    x = (_NODES + 1) / 2
    return (below[:, :, None] + level[:, :, None] * x).prod(axis=1) @ (_WEIGHTS / 2)


def some_of_all(
    below_I: ArrayLike, level_I: ArrayLike, n_I: ArrayLike, *, wrong: int = 4
) -> Floats:
    """P(the right answer wins) when ``wrong`` answers are drawn from ``n`` without replacement,
    [I].

    ``below`` and ``level`` are counts here; NaN where there are fewer than ``wrong``.
    """
    below, level, n = (np.asarray(a, dtype=np.int64) for a in (below_I, level_I, n_I))
    found = np.zeros(below.shape)
    for ties in range(wrong + 1):
        ways = [
            math.comb(int(e), ties) * math.comb(int(b), wrong - ties)
            for b, e in zip(below, level, strict=True)
        ]
        found += np.array(ways, dtype=np.float64) / (1 + ties)
    all_ways = np.array([math.comb(int(size), wrong) for size in n], dtype=np.float64)
    return np.divide(found, all_ways, out=np.full(found.shape, np.nan), where=all_ways > 0)
