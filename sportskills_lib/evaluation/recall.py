"""Text→video and video→text recall of every arm, one number per query, by the definitions of fair play.

*Query*: one narration of a test clip; a text that several narrations share counts once, and its own clips are the test
clips of any of them. *Gallery*: all test clips of the sport (within_sport) or of all sports (across_sports), correct
and incorrect. *recall@10_single*: the share of a query's own clips that stand in the top 10, which is 1 or 0 for the
usual query with one clip; chance is 10/N for any number of own clips. *rank*: of the first own clip (by clip_id);
chance (N + 1) / 2. Ties: score, then clip_id. Video→text turns it round: queries are clips, the gallery the distinct
texts.

A sport whose gallery is smaller than ``min_gallery`` is not evaluable at 10: its recall rows keep the chance level and
have no value (ranks exist all the same). The gallery across sports is no sport: it only has to be larger than 10, and
its chance level says how little a small one is worth. Nothing here knows the demo's truth; :mod:`.audit` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sportskills_lib import metrics, tables

K = 10
SINGLE, RANK = "recall@10_single", "rank"
DIRECTIONS, SCOPES = ("text_to_video", "video_to_text"), ("within_sport", "across_sports")
CHUNK = 1024  # queries scored at once


@dataclass(frozen=True)
class Task:
    """What is asked and of whom, for one direction.

    ``queries``: query_id, item_id (of its embedding), text, sport, cluster, own (ids of gallery rows).
    ``gallery``: gallery_id, item_id, sport; in order of gallery_id, which breaks ties.
    """

    direction: str
    queries: pl.DataFrame
    gallery: pl.DataFrame


def system_name(encoder: str, training: str, direction: str, scope: str) -> str:
    """The name under which scores of this arm, direction and scope are kept."""
    return f"{encoder}/{training}/{direction}/{scope}"


def split_system(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns encoder, training, direction and scope, out of ``system``."""
    parts = pl.col("system").str.split_exact("/", 3).struct.rename_fields(["encoder", "training", "direction", "scope"])
    return frame.with_columns(parts.alias("parts")).unnest("parts")


def normalised(text: pl.Expr) -> pl.Expr:
    """What makes two texts equal: letters and digits, in lower case, one space between words."""
    return text.str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars()


def test_queries(
    clips: pl.DataFrame, pairs: pl.DataFrame, narrations: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The distinct narrations of test clips, and what is left out with the reason.

    Returns query_id (the first narration with this text, by id), text, sport, skill, cluster (the source video of the
    first own clip), own (clip ids, sorted). Left out: texts that training clips have too (``text_seen_in_training``),
    and narrations folded into an equal text of their sport (``equal_text``).
    """
    paired = (
        pairs.join(clips.select("clip_id", "video_id", "sport", "skill", "split"), on="clip_id")
        .join(narrations.select("narration_id", "text"), on="narration_id")
        .with_columns(pl.col("split").cast(pl.String), wording=normalised(pl.col("text")))
    )
    seen = paired.filter(pl.col("split") == "train")["wording"].unique()
    test = paired.filter(pl.col("split") == "test").sort("sport", "wording", "narration_id", "clip_id")
    fresh = test.filter(~pl.col("wording").is_in(seen.implode()))
    grouped = fresh.group_by("sport", "wording", maintain_order=True).agg(
        query_id=pl.col("narration_id").first(),
        text=pl.col("text").first(),
        own=pl.col("clip_id").unique().sort(),
        first=pl.struct("clip_id", "video_id", "skill").sort_by(pl.col("clip_id")).first(),
        narrations=pl.col("narration_id").unique().sort(),
    )
    queries = grouped.with_columns(
        skill=pl.col("first").struct.field("skill"), cluster=pl.col("first").struct.field("video_id")
    ).select("query_id", "text", "sport", "skill", "cluster", "own", "narrations")
    return queries.drop("narrations").sort("query_id"), _left_out(test, fresh, queries)


def _left_out(test: pl.DataFrame, fresh: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
    stale = test.join(fresh.select("narration_id").unique(), on="narration_id", how="anti").unique("narration_id")
    folded = queries.explode("narrations").filter(pl.col("narrations") != pl.col("query_id"))
    rows = [
        ("narration", row[0], "text_seen_in_training", row[1]) for row in stale.select("narration_id", "text").rows()
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
    own = queries.explode("own").group_by("own").agg(texts=pl.col("query_id").sort()).rename({"own": "clip_id"})
    asked = _test(clips).join(own, on="clip_id").sort("clip_id")
    asked = asked.select(
        query_id="clip_id",
        item_id="clip_id",
        text=pl.lit(""),
        sport="sport",
        skill="skill",
        cluster="video_id",
        own="texts",
    )
    gallery = queries.sort("query_id").select(gallery_id="query_id", item_id="query_id", sport="sport")
    return Task("video_to_text", asked, gallery)


def _test(clips: pl.DataFrame) -> pl.DataFrame:
    return clips.filter(pl.col("split").cast(pl.String) == "test").sort("clip_id")


def arms(embeddings: pl.DataFrame) -> list[tuple[str, str, str, int]]:
    """(model_id, encoder, training, seed) of every embedded model; a model id is ``encoder:training[:seed<n>]``."""
    found = []
    for model in sorted(embeddings["model_id"].unique()):
        encoder, training, *rest = [*model.split(":"), ""][:3]
        found.append((model, encoder, training, int(rest[0].removeprefix("seed") or 0)))
    return found


def score_all(
    embeddings: pl.DataFrame, queries: pl.DataFrame, clips: pl.DataFrame, *, min_gallery: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Scores of every arm, direction and scope, and the top 10 of every text→video query (Rankings).

    Every arm answers the same queries against the same galleries.
    """
    scores, rankings = [], []
    for model, encoder, training, seed in arms(embeddings):
        vectors = embeddings.filter(pl.col("model_id") == model)
        for task in (text_to_video(queries, clips), video_to_text(queries, clips)):
            for scope in SCOPES:
                system = system_name(encoder, training, task.direction, scope)
                part, top = score_task(task, vectors, scope, min_gallery=min_gallery)
                scores.append(part.with_columns(system=pl.lit(system), seed=pl.lit(seed, dtype=pl.Int64)))
                if task.direction == "text_to_video" and seed == min(row[3] for row in arms(embeddings)):
                    rankings.append(top.with_columns(system=pl.lit(system)))
    if not scores:
        raise ValueError("03_encoder saved no embeddings: rerun 03_encoder")
    columns = tables.Scores.column_names()
    return pl.concat(scores).select(columns), pl.concat(rankings).select(tables.Rankings.column_names())


def score_task(task: Task, vectors: pl.DataFrame, scope: str, *, min_gallery: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One arm on one task and scope: rows of Scores and of Rankings, less the system and seed."""
    groups = [(None, task.queries, task.gallery)] if scope == "across_sports" else list(_by_sport(task))
    kinds = ("narration", "clip") if task.direction == "text_to_video" else ("clip", "narration")
    scores, rankings = [_NO_SCORES], [_NO_RANKINGS]
    for _, queries, gallery in groups:
        if not queries.height:
            continue
        evaluable = gallery.height >= (min_gallery if scope == "within_sport" else K + 1)
        ranks, top, best = _ranks(
            _matrix(vectors, kinds[0], queries), _matrix(vectors, kinds[1], gallery), queries, gallery
        )
        rows = ranks.group_by("query", maintain_order=True).agg(
            pl.col("found").mean().alias(SINGLE), pl.col("rank").first().cast(pl.Float64).alias(RANK)
        )
        chance = {SINGLE: metrics.chance_recall(gallery.height, k=K), RANK: metrics.chance_rank(gallery.height)}
        for metric in (SINGLE, RANK):
            scores.append(
                queries.select("query_id", "sport", "cluster")
                .with_columns(
                    metric=pl.lit(metric),
                    value=rows[metric] if evaluable or metric == RANK else pl.lit(None, dtype=pl.Float64),
                    chance=pl.lit(float(chance[metric])),
                )
                .select(_NO_SCORES.columns)
            )
        rankings.append(_top_rows(queries, gallery, top, best))
    return pl.concat(scores), pl.concat(rankings)


_NO_SCORES = pl.DataFrame(
    schema={
        "query_id": pl.String,
        "sport": pl.String,
        "cluster": pl.String,
        "metric": pl.String,
        "value": pl.Float64,
        "chance": pl.Float64,
    }
)
_NO_RANKINGS = pl.DataFrame(schema={"query_id": pl.String, "rank": pl.Int64, "clip_id": pl.String, "score": pl.Float64})


def _by_sport(task: Task) -> Iterator[tuple[str, pl.DataFrame, pl.DataFrame]]:
    for sport in sorted(task.queries["sport"].unique()):
        yield sport, task.queries.filter(pl.col("sport") == sport), task.gallery.filter(pl.col("sport") == sport)


def _matrix(vectors: pl.DataFrame, kind: str, items: pl.DataFrame) -> NDArray[np.float64]:
    """Vectors of the items' rows, in order, at unit length; ValueError names an item without one."""
    kept = vectors.filter(pl.col("item_kind").cast(pl.String) == kind).select("item_id", "vector")
    joined = items.select("item_id").join(kept, on="item_id", how="left", maintain_order="left")
    missing = joined.filter(pl.col("vector").is_null())
    if missing.height:
        raise ValueError(
            f"03_encoder has no vector for {missing.height} {kind}s, first {missing['item_id'][0]!r}: rerun 03_encoder"
        )
    matrix = np.array(joined["vector"].to_list(), dtype=np.float64)
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


def similarity(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosines, rounded to 1e-9: equal vectors then tie exactly, whatever order the processor adds in."""
    return np.round(one @ two.T, 9)


def _ranks(
    asked: NDArray[np.float64], offered: NDArray[np.float64], queries: pl.DataFrame, gallery: pl.DataFrame
) -> tuple[pl.DataFrame, NDArray[np.int64], NDArray[np.float64]]:
    """A row for each query and own item (query, rank, found), the top k columns and their scores, [Q, k]."""
    column = pl.DataFrame({"own": gallery["gallery_id"], "column": np.arange(gallery.height)})
    own = queries.select("own").with_row_index("query").explode("own")
    own = own.join(column, on="own", how="left", maintain_order="left")
    if own["column"].null_count():
        raise ValueError(
            f"{own.filter(pl.col('column').is_null())['own'][0]} is a query's own item but not in the gallery"
        )
    ranks, tops, bests = [], [], []
    for start in range(0, len(asked), CHUNK):
        scores = similarity(asked[start : start + CHUNK], offered)
        part = own.filter(pl.col("query").is_between(start, start + len(scores) - 1))
        rows = part["query"].to_numpy().astype(np.int64) - start
        rank = metrics.positive_ranks(scores[rows], part["column"].to_numpy())
        ranks.append(part.select("query", rank=pl.Series(rank), found=pl.Series(rank <= K)))
        tops.append(metrics.ranking(scores, k=K))
        bests.append(np.take_along_axis(scores, tops[-1], axis=1))
    return pl.concat(ranks), np.concatenate(tops), np.concatenate(bests)


def _top_rows(
    queries: pl.DataFrame, gallery: pl.DataFrame, top: NDArray[np.int64], best: NDArray[np.float64]
) -> pl.DataFrame:
    depth = top.shape[1]
    return pl.DataFrame(
        {
            "query_id": np.repeat(queries["query_id"].to_numpy(), depth),
            "rank": np.tile(np.arange(1, depth + 1), len(top)),
            "clip_id": gallery["gallery_id"].to_numpy()[top.ravel()],
            "score": best.ravel(),
        },
        schema=_NO_RANKINGS.schema,
    )


def galleries(clips: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
    """How large each sport is: sport, gallery (test clips), videos (their sources), queries."""
    counted = _test(clips).group_by("sport").agg(gallery=pl.len(), videos=pl.col("video_id").n_unique())
    asked = queries.group_by("sport").agg(queries=pl.len())
    return counted.join(asked, on="sport", how="left").with_columns(pl.col("queries").fill_null(0)).sort("sport")


def skill_oracle(queries: pl.DataFrame, clips: pl.DataFrame) -> pl.DataFrame:
    """The expected recall@10_single of one who knows the skill and nothing else: min(1, 10 / clips of that skill).

    Returns query_id, sport, value. Needs no truth, since clips carry their skill.
    """
    test = _test(clips)
    sizes = test.group_by("sport", "skill").agg(size=pl.len())
    own = (
        queries.select("query_id", "sport", clip_id="own")
        .explode("clip_id")
        .join(test.select("clip_id", "skill"), on="clip_id")
    )
    return group_oracle(own.join(sizes, on=["sport", "skill"]))


def group_oracle(own: pl.DataFrame) -> pl.DataFrame:
    """query_id, sport, value: the mean over own clips of min(1, 10 / ``size``), the size of the clip's group."""
    value = (K / pl.col("size")).clip(upper_bound=1.0)
    return own.group_by("query_id", "sport").agg(value=value.mean()).sort("query_id")
