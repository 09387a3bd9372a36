"""Text→video and video→text recall of every arm, one number per query, by the definitions of fair
play.

*Query*: one narration of a test clip; a text that several narrations share counts once, and its own
clips are the test clips of any of them. *Gallery*: all test clips of the sport (within_sport) or of
all sports (across_sports), correct and incorrect. *recall@k_single*, k of RECALL_AT: the share of a
query's own clips that stand in the top k, which is 1 or 0 for the usual query with one clip; chance
is k/N for any number of own clips. *rank*: of the first own clip (by clip_id); chance (N + 1) / 2.
Ties: score, then clip_id. Video→text turns it round: queries are clips, the gallery the distinct
texts. *recall@k_multi* and *hit@k* count all that is relevant, where the caller knows it.

*within_sport_fixed*: galleries of one size N in every sport, so that sports can be compared: the
query's own item (for multi: all that is relevant) and others of the sport drawn at random. The
expectation over draws has a closed form (hypergeometric in the full rank), so that is what is
reported. A sport with fewer than N items has no value there.

A sport whose gallery is smaller than ``min_gallery`` is not evaluable at k: its recall rows keep
the chance level and have no value (ranks exist all the same). The gallery across sports is no
sport: it only has to be larger than k, and its chance level says how little a small one is worth.
Nothing here knows the demo's truth; :mod:`.demo_truth` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sportskills_lib import metrics, tables
from sportskills_lib.evaluation import recall_arrays
from sportskills_lib.evaluation.recall_arrays import (
    ACROSS,
    FIXED,
    RANK,
    WITHIN,
    Layout,
)

SINGLE = recall_arrays.SINGLE


@dataclass(frozen=True)
class Task:
    """What is asked and of whom, for one direction.

    ``queries``: query_id, item_id (of its embedding), text, sport, cluster, own (ids of gallery
    rows). ``gallery``: gallery_id, item_id, sport; in order of gallery_id, which breaks ties.
    """

    direction: str
    queries: pl.DataFrame
    gallery: pl.DataFrame


def system_name(encoder: str, training: str, direction: str, scope: str) -> str:
    """The name under which scores of this arm, direction and scope are kept."""
    return f"{encoder}/{training}/{direction}/{scope}"


def split_system(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns encoder, training, direction and scope, out of ``system``."""
    parts = (
        pl.col("system")
        .str.split_exact("/", 3)
        .struct.rename_fields(["encoder", "training", "direction", "scope"])
    )
    return frame.with_columns(parts.alias("parts")).unnest("parts")


def normalised(text: pl.Expr) -> pl.Expr:
    """What makes two texts equal: letters and digits, in lower case, one space between words."""
    return text.str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars()


def test_queries(
    clips: pl.DataFrame, pairs: pl.DataFrame, narrations: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The distinct narrations of test clips, and what is left out with the reason.

    Returns query_id (the first narration with this text, by id), text, sport, skill, cluster (the
    source video of the first own clip), own (clip ids, sorted). Left out: texts that training clips
    have too (``text_seen_in_training``), and narrations folded into an equal text of their sport
    (``equal_text``).
    """
    paired = (
        pairs.join(clips.select("clip_id", "video_id", "sport", "skill", "split"), on="clip_id")
        .join(narrations.select("narration_id", "text"), on="narration_id")
        .with_columns(pl.col("split").cast(pl.String), wording=normalised(pl.col("text")))
    )
    seen = paired.filter(pl.col("split") == "train")["wording"].unique()
    test = paired.filter(pl.col("split") == "test").sort(
        "sport", "wording", "narration_id", "clip_id"
    )
    fresh = test.filter(~pl.col("wording").is_in(seen.implode()))
    queries = (
        fresh.group_by("sport", "wording", maintain_order=True)
        .agg(
            query_id=pl.col("narration_id").first(),
            text=pl.col("text").first(),
            own=pl.col("clip_id").unique().sort(),
            first=pl.struct("clip_id", "video_id", "skill").sort_by(pl.col("clip_id")).first(),
            narrations=pl.col("narration_id").unique().sort(),
        )
        .with_columns(
            skill=pl.col("first").struct.field("skill"),
            cluster=pl.col("first").struct.field("video_id"),
        )
        .select("query_id", "text", "sport", "skill", "cluster", "own", "narrations")
    )
    return queries.drop("narrations").sort("query_id"), _left_out(test, fresh, queries)


def _left_out(test: pl.DataFrame, fresh: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
    stale = test.join(fresh.select("narration_id").unique(), on="narration_id", how="anti").unique(
        "narration_id"
    )
    folded = queries.explode("narrations").filter(pl.col("narrations") != pl.col("query_id"))
    rows = [
        ("narration", row[0], "text_seen_in_training", row[1])
        for row in stale.select("narration_id", "text").rows()
    ]
    rows += [
        ("narration", row[0], "equal_text", f"counts once, as {row[1]}")
        for row in folded.select("narrations", "query_id").rows()
    ]
    return tables.dropped_rows(sorted(rows))


def text_to_video(queries: pl.DataFrame, clips: pl.DataFrame) -> Task:
    """Narrations against test clips."""
    gallery = _test(clips).select(gallery_id="clip_id", item_id="clip_id", sport="sport")
    return Task("text_to_video", queries.with_columns(item_id=pl.col("query_id")), gallery)


def video_to_text(queries: pl.DataFrame, clips: pl.DataFrame) -> Task:
    """Test clips against the distinct texts; a clip without a fresh narration asks nothing."""
    own = (
        queries.explode("own")
        .group_by("own")
        .agg(texts=pl.col("query_id").sort())
        .rename({"own": "clip_id"})
    )
    asked = (
        _test(clips)
        .join(own, on="clip_id")
        .sort("clip_id")
        .select(
            query_id="clip_id",
            item_id="clip_id",
            text=pl.lit(""),
            sport="sport",
            skill="skill",
            cluster="video_id",
            own="texts",
        )
    )
    gallery = queries.sort("query_id").select(
        gallery_id="query_id", item_id="query_id", sport="sport"
    )
    return Task("video_to_text", asked, gallery)


def _test(clips: pl.DataFrame) -> pl.DataFrame:
    return clips.filter(pl.col("split").cast(pl.String) == "test").sort("clip_id")


def arms(embeddings: pl.DataFrame) -> list[tuple[str, str, str, int]]:
    """(model_id, encoder, training, seed) of every embedded model; a model id is
    ``encoder:training[:seed<n>]``.
    """
    found = []
    for model in sorted(embeddings["model_id"].unique()):
        encoder, training, *rest = [*model.split(":"), ""][:3]
        found.append((model, encoder, training, int(rest[0].removeprefix("seed") or 0)))
    return found


def score_all(
    embeddings: pl.DataFrame,
    queries: pl.DataFrame,
    clips: pl.DataFrame,
    *,
    min_gallery: int,
    gallery_size: int = 100,
    relevant: Mapping[str, pl.DataFrame] | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Scores of every arm, direction and scope, and the first k of every text→video query
    (Rankings).

    Every arm answers the same queries against the same galleries. ``relevant``: by direction, all
    that is right for a query (query_id, gallery_id), where somebody knows it; without it there are
    no rows of recall_multi and hit.
    """
    scores, rankings = [], [_NO_RANKINGS]
    found = arms(embeddings)
    layouts = [
        (task, lay_out(task, (relevant or {}).get(task.direction)))
        for task in (text_to_video(queries, clips), video_to_text(queries, clips))
    ]
    for model, encoder, training, seed in found:
        vectors = embeddings.filter(pl.col("model_id") == model)
        for task, layout in layouts:
            part, top = score_task(
                task, vectors, layout, min_gallery=min_gallery, size=gallery_size
            )
            name = pl.concat_str(pl.lit(f"{encoder}/{training}/{task.direction}/"), "scope")
            scores.append(part.with_columns(system=name, seed=pl.lit(seed, dtype=pl.Int64)))
            if task.direction == "text_to_video" and seed == min(row[3] for row in found):
                rankings.append(top.with_columns(system=name).select(_NO_RANKINGS.columns))
    if not scores:
        raise ValueError("03_encoder saved no embeddings: rerun 03_encoder")
    return pl.concat(scores).select(tables.Scores.column_names()), pl.concat(rankings)


def lay_out(task: Task, relevant: pl.DataFrame | None = None) -> Layout:
    """The task as rows and columns; ValueError names an own item that is not in the gallery."""
    column = pl.DataFrame(
        {"gallery_id": task.gallery["gallery_id"], "column": np.arange(task.gallery.height)}
    )
    rows = task.queries.select("query_id", "own").with_row_index("query")
    own = (
        rows.explode("own").rename({"own": "gallery_id"}).join(column, on="gallery_id", how="left")
    )
    if own["column"].null_count():
        raise ValueError(
            f"{own.filter(pl.col('column').is_null())['gallery_id'][0]} is a query's own item "
            "but not in the gallery"
        )
    known = (
        own.head(0)
        if relevant is None
        else rows.join(relevant, on="query_id").join(column, on="gallery_id")
    )
    names = {
        sport: code
        for code, sport in enumerate(sorted({*task.queries["sport"], *task.gallery["sport"]}))
    }
    return Layout(
        *(
            frame["sport"].replace_strict(names, return_dtype=pl.Int64).to_numpy()
            for frame in (task.queries, task.gallery)
        ),
        *(
            frame.select(pl.col("query", "column").cast(pl.Int64))
            .sort("query", "column")
            .to_numpy()
            for frame in (own, known)
        ),
    )


def score_task(
    task: Task, vectors: pl.DataFrame, layout: Layout, *, min_gallery: int, size: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One arm on one task: rows of Scores and of Rankings with their scope, less the system and
    seed.
    """
    if not task.queries.height:
        return _NO_SCORES, _NO_RANKINGS.drop("system").with_columns(scope=pl.lit(""))
    kinds = ("narration", "clip") if task.direction == "text_to_video" else ("clip", "narration")
    asked, offered = (
        matrix(vectors, kinds[0], task.queries),
        matrix(vectors, kinds[1], task.gallery),
    )
    scored = recall_arrays.score(asked, offered, layout, size)
    parts, asks = [_NO_SCORES], task.queries.select("query_id", "sport", "cluster")
    size_Q = np.bincount(layout.relevant_P2[:, 0], minlength=task.queries.height)
    of_relevant = recall_arrays.relevant_metrics()
    every = {RANK: recall_arrays.RANKS} | recall_arrays.own_metrics() | of_relevant
    for (scope, metric), value in sorted(scored.values.items()):
        gallery, enough = {
            WITHIN: (layout.gallery_Q, layout.gallery_Q >= min_gallery),
            FIXED: (np.full(len(value), size), layout.gallery_Q >= size),
            ACROSS: (np.full(len(value), len(offered)),
                     np.full(len(value), len(offered) > metrics.HEADLINE_K)),
        }[scope]  # fmt: skip
        # a rank says something in a small gallery, too
        shown = value if metric == RANK and scope != FIXED else np.where(enough, value, np.nan)
        rows = asks.with_columns(
            scope=pl.lit(scope), metric=pl.lit(metric), value=pl.Series(shown).fill_nan(None),
            chance=pl.Series(every[metric].chance(size_Q, gallery)).fill_nan(None),
        )  # fmt: skip
        parts.append(rows.filter(pl.Series(size_Q > 0)) if metric in of_relevant else rows)
    return pl.concat([part.select(_NO_SCORES.columns) for part in parts]), _top_rows(task, scored)


_NO_SCORES = pl.DataFrame(
    schema={
        "scope": pl.String,
        "query_id": pl.String,
        "sport": pl.String,
        "cluster": pl.String,
        "metric": pl.String,
        "value": pl.Float64,
        "chance": pl.Float64,
    }
)
_NO_RANKINGS = pl.DataFrame(
    schema={
        "system": pl.String,
        "query_id": pl.String,
        "rank": pl.Int64,
        "clip_id": pl.String,
        "score": pl.Float64,
    }
)


def matrix(vectors: pl.DataFrame, kind: str, items: pl.DataFrame) -> NDArray[np.float64]:
    """Vectors of the items' rows (by item_id), in order, at unit length; ValueError names an item
    without one.
    """
    kept = vectors.filter(pl.col("item_kind").cast(pl.String) == kind).select("item_id", "vector")
    joined = items.select("item_id").join(kept, on="item_id", how="left", maintain_order="left")
    missing = joined.filter(pl.col("vector").is_null())
    if missing.height:
        raise ValueError(
            f"03_encoder has no vector for {missing.height} {kind}s, first "
            f"{missing['item_id'][0]!r}: rerun 03_encoder"
        )
    if not joined.height:
        return np.zeros((0, 1))
    found = joined["vector"].explode().to_numpy().reshape(joined.height, -1).astype(np.float64)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def _top_rows(task: Task, scored: recall_arrays.Scored) -> pl.DataFrame:
    parts = []
    for scope, top in scored.tops.items():
        rows, places = np.nonzero(top >= 0)
        parts.append(
            pl.DataFrame(
                {
                    "scope": np.full(len(rows), scope),
                    "query_id": task.queries["query_id"].to_numpy()[rows],
                    "rank": places + 1,
                    "clip_id": task.gallery["gallery_id"].to_numpy()[top[rows, places]],
                    "score": scored.best[scope][rows, places],
                },
                schema={"scope": pl.String} | dict(list(_NO_RANKINGS.schema.items())[1:]),
            )
        )
    return pl.concat(parts)


def galleries(clips: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
    """How large each sport is: sport, gallery (test clips), videos (their sources), queries."""
    counted = (
        _test(clips).group_by("sport").agg(gallery=pl.len(), videos=pl.col("video_id").n_unique())
    )
    asked = queries.group_by("sport").agg(queries=pl.len())
    return (
        counted.join(asked, on="sport", how="left")
        .with_columns(pl.col("queries").fill_null(0))
        .sort("sport")
    )


def skill_oracle(
    queries: pl.DataFrame, clips: pl.DataFrame, *, size: int | None = None
) -> pl.DataFrame:
    """The expected recall@k_single of one who knows the skill and nothing else: min(1, k / clips
    of that skill).

    Returns query_id, sport, value; in galleries of ``size`` where it is given. Needs no truth:
    clips carry their skill.
    """
    test = _test(clips).with_columns(
        alike=pl.len().over("sport", "skill"), n=pl.len().over("sport")
    )
    own = queries.select("query_id", clip_id="own").explode("clip_id")
    return group_oracle(
        own.join(test.select("clip_id", "sport", "alike", "n"), on="clip_id"), size=size
    )


def group_oracle(own: pl.DataFrame, *, size: int | None = None) -> pl.DataFrame:
    """query_id, sport, value: the mean over own clips of guessing among the ``alike`` clips that
    look right.

    ``n`` is the sport's gallery; a gallery below ``size`` has no value.
    """
    guess = (
        metrics.fixed_gallery_guess(own["alike"], own["n"], size=size, k=metrics.HEADLINE_K)
        if size
        else metrics.HEADLINE_K / own["alike"].to_numpy()
    )
    return (
        own.with_columns(value=pl.Series(np.minimum(guess, 1.0)))
        .group_by("query_id", "sport")
        .agg(pl.col("value").mean().fill_nan(None))
        .sort("query_id")
    )
