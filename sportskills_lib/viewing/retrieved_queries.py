"""What was asked of a run's systems and what they found, read from its tables: the inspector's
data.

There are two kinds of questions: narrations that ask for their clip (03, 05) and learners who need
a clip that helps (04, 05). Both become the same four tables, so that one view serves both. Nothing
is ranked or scored here.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib import metrics, tables
from sportskills_lib.evaluation import demo_truth, feedback, recall
from sportskills_lib.report import cases, run_tables
from sportskills_lib.runs import artifacts
from sportskills_lib.viewing.previews import Span

UNJUDGED = "nobody graded it"
RELEVANT = (cases.OWN, cases.SAME_CUE)


@dataclass(frozen=True)
class ItemSources:
    """All that can be shown, by id: clips and learners.

    ``rows``: item_id → video_id, title, channel, sport, skill, start_s, end_s, demonstration, said
    (both "" of a learner, whose video is the take). ``frames``: item_id → (array uint8
    [N, T, H, W, 3], row), arrays that stay on disk. ``files``: video_id → its file.
    """

    rows: dict[str, dict[str, Any]]
    frames: dict[str, tuple[np.ndarray, int]]
    files: dict[str, Path]

    def span(self, item_id: str) -> Span | None:
        """Where the item's film lies; None for an item of an unknown video."""
        row = self.rows.get(item_id)
        if row is None or row["video_id"] not in self.files:
            return None
        return Span(item_id, self.files[row["video_id"]], row["start_s"], row["end_s"])


@dataclass(frozen=True)
class QueryResults:
    """Questions of one kind, and every system's answers.

    ``queries``: query_id, sport, skill, text, shown (the item that stands for the query), own
    (relevant item ids). ``hits``: system → query_id, rank, clip_id, score, the first ranks of each
    query. ``places``: system → query_id, place (rank of the first relevant clip in the whole
    gallery; null where none was ranked). ``near``: a place up to it is a hit, up to twice as far a
    near miss. ``groups``: clip_id → what the demo's truth says that it shows. ``grades``:
    (query_id, clip_id) → mean grade (learners only).
    """

    kind: str  # narrations, learners
    queries: pl.DataFrame
    hits: dict[str, pl.DataFrame]
    places: dict[str, pl.DataFrame]
    items: ItemSources
    near: int
    goal: str  # what a relevant clip is, in words
    groups: dict[str, str] = field(default_factory=dict)
    grades: dict[tuple[str, str], float] = field(default_factory=dict)
    simulated: bool = False  # whether grades are of simulated raters

    def mark(self, query: dict[str, Any], clip_id: str) -> str:
        """How right a clip is for a query: one of cases.MARKS (for a learner the own clip is one
        that helps, and the same skill one that shows it), or UNJUDGED.
        """
        if self.kind == "learners":
            grade = self.grades.get((query["query_id"], clip_id))
            if grade is None:
                return UNJUDGED
            known = (cases.OWN, feedback.HELPFUL), (cases.SAME_SKILL, 1), (cases.OTHER, 0)
            return next(mark for mark, least in known if grade >= least)
        if clip_id in query["own"]:
            return cases.OWN
        wanted = {self.groups[own] for own in query["own"] if own in self.groups}
        if self.groups.get(clip_id) in wanted:
            return cases.SAME_CUE
        row = self.items.rows.get(clip_id, {})
        same = all(row.get(name) == query[name] for name in ("sport", "skill"))
        return cases.SAME_SKILL if same else cases.OTHER


# ------------------------------------------------------------------------------------------ reading


def read(*runs: str) -> list[QueryResults]:
    """The questions of complete runs, by kind; a kind that nobody asked is left out.

    Of several runs the systems stand side by side as ``run: system``; a query is what all asked,
    since ids come from content. ValueError where they asked nothing in common.
    """
    parts = [part for run in runs for part in _of_run(run, f"{run}: " if len(runs) > 1 else "")]
    kinds = [[part for part in parts if part.kind == kind] for kind in ("narrations", "learners")]
    joined = [_joined(same) for same in kinds if len(same) == len(runs)]
    found = [both for both in joined if both.queries.height]
    if parts and not found:
        raise ValueError(
            f"runs {' and '.join(map(repr, runs))} asked nothing in common: name runs of the "
            "same lessons"
        )
    return found


def folder_of(run: str) -> Path | str:
    """The folder of a run's 05, for a notebook's inputs; "" without a run."""
    return artifacts.run_folder(run) / "05_evaluation" if run else ""


def _of_run(run: str, prefix: str) -> list[QueryResults]:
    items = read_items(run)
    found = [_of_narrations(run, items), _of_learners(run, items)]
    return [
        replace(
            asked,
            hits={prefix + system: rows for system, rows in asked.hits.items()},
            places={prefix + system: rows for system, rows in asked.places.items()},
        )
        for asked in found
        if asked.queries.height and asked.hits
    ]


def read_items(run: str) -> ItemSources:
    """Clips of 02 and learners of 04, with their frames and files."""
    curation, pairing, retrieval = (
        artifacts.open_stage(run, name) for name in ("01_curation", "02_pairing", "04_retrieval")
    )
    said = (
        pairing.table("pairs")
        .join(curation.table("narrations"), on="narration_id")
        .sort("clip_id", "narration_id")
        .group_by("clip_id")
    )
    clips = (
        pairing.table("clips", tables.Clips)
        .join(said.agg(said=pl.col("text").str.join(" / ")), on="clip_id", how="left")
        .join(curation.table("videos").select("video_id", "title"), on="video_id", how="left")
    )
    learners = retrieval.table("learners", tables.Learners).with_columns(
        *(pl.lit("").alias(name) for name in ("title", "demonstration", "said")),
        video_id="take_id",
        channel=pl.format("participant {}", "participant"),
    )
    rows, frames = dict[str, dict[str, Any]](), dict[str, tuple[np.ndarray, int]]()
    for table, key, path in (
        (clips, "clip_id", pairing.path("frames.npy")),
        (learners, "learner_id", retrieval.path("learner_frames.npy")),
    ):
        array = np.load(path, mmap_mode="r")
        frames |= {item: (array, row) for row, item in enumerate(table[key])}
        rows |= table.rows_by_key(key, named=True, unique=True)
    return ItemSources(rows, frames, video_files(run))


def video_files(run: str) -> dict[str, Path]:
    """Where the run's videos lie, by video_id, and its learners' by take_id where 04 is complete.

    A path that leaves its folder is left out: it comes from a table that strangers may have made.
    """
    curation = artifacts.open_stage(run, "01_curation")
    videos = curation.table("videos").select("video_id", "path")
    found = below(curation.manifest["config"]["source"], videos)
    if artifacts.is_complete(artifacts.holder(run, "04_retrieval"), "04_retrieval"):
        retrieval = artifacts.open_stage(run, "04_retrieval")
        takes = retrieval.table("learners").select("take_id", "path")
        found |= below(retrieval.manifest["config"]["learners"], takes)
    return found


def below(source: str, paths: pl.DataFrame) -> dict[str, Path]:
    """Where files lie, by id: ``paths`` has an id and a path below ``source``, a folder or a table
    beside them.
    """
    place, pairs = artifacts.workspace() / source, paths.unique().iter_rows()
    if place.is_file():  # it names its files: videos by their whole paths, learners beside it
        return {name: place.parent / path for name, path in pairs}
    return {
        name: place / path
        for name, path in pairs
        if not Path(path).is_absolute() and ".." not in Path(path).parts
    }


def _of_narrations(run: str, items: ItemSources) -> QueryResults:
    """Narrations that ask for their own clip, as 05 asked them."""
    evaluation = artifacts.open_stage(run, "05_evaluation")
    clips, queries = run_tables.clips_and_queries(run)
    truth = demo_truth.folder_named_by(evaluation.manifest["config"])
    places = (
        evaluation.table("recall")
        .filter((pl.col("metric") == recall.RANK) & pl.col("value").is_not_null())
        .group_by("system", "query_id")
        .agg(place=pl.col("value").mean())
    )
    asks_for_video = pl.col("system").str.contains("/text_to_video/", literal=True)
    return QueryResults(
        kind="narrations",
        queries=queries.with_columns(shown=pl.col("own").list.first()).drop("cluster"),
        hits=_by_system(evaluation.table("retrievals").filter(asks_for_video)),
        places=_by_system(places.filter(asks_for_video)),
        items=items,
        near=metrics.HEADLINE_K,
        goal="its own clip",
        groups=dict(demo_truth.true_groups(truth, clips).select("clip_id", "group").rows()),
    )


def _of_learners(run: str, items: ItemSources) -> QueryResults:
    """Test learners whom coaches' grades exist for: a clip is relevant from a mean grade of 2 (it
    helps).
    """
    retrieval = artifacts.open_stage(run, "04_retrieval")
    judged = artifacts.open_stage(run, "05_evaluation").table("judgements")
    gains = feedback.gains(judged).rename({"learner_id": "query_id"})
    asked = retrieval.table("learners", tables.Learners).filter(
        pl.col("split").cast(pl.String) == "test",
        pl.col("learner_id").is_in(gains["query_id"].implode()),
    )
    helps = pl.col("gain") >= feedback.HELPFUL
    own = gains.group_by("query_id").agg(own=pl.col("clip_id").filter(helps).sort())
    queries = asked.select(
        "sport", "skill", query_id="learner_id", text="comment", shown="learner_id"
    ).join(own, on="query_id", how="left", maintain_order="left")
    ranked = retrieval.table("rankings").filter(
        pl.col("query_id").is_in(queries["query_id"].implode())
    )
    first = pl.col("rank").filter(helps).min().cast(pl.Float64)
    graded = ranked.join(gains, on=["query_id", "clip_id"], how="left")
    return QueryResults(
        kind="learners",
        queries=queries,
        hits=_by_system(ranked.filter(pl.col("rank") <= metrics.HEADLINE_K)),
        places=_by_system(graded.group_by("system", "query_id").agg(place=first)),
        items=items,
        near=5,
        goal="the first clip that helps",
        grades={(learner, clip): gain for learner, clip, gain in gains.iter_rows()},
        simulated=bool(judged["simulated"].any()),
    )


def _by_system(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    parts = frame.partition_by("system", as_dict=True, include_key=False)
    return {str(system): rows for (system,), rows in parts.items()}


def _joined(parts: Sequence[QueryResults]) -> QueryResults:
    """Several runs as one: what all of them asked, systems side by side.

    A clip is right if it is in any of the runs: cut otherwise, a sentence has another own clip. Of
    two mean grades of one pair the first run's is shown.
    """
    queries = parts[0].queries
    for part in parts[1:]:
        theirs = part.queries.select("query_id", theirs="own")
        queries = queries.join(theirs, on="query_id", maintain_order="left")
        queries = queries.with_columns(own=pl.col("own").list.set_union("theirs")).drop("theirs")
    return replace(
        parts[0],
        queries=queries,
        hits=dict(ChainMap(*(part.hits for part in parts))),
        places=dict(ChainMap(*(part.places for part in parts))),
        items=ItemSources(
            dict(ChainMap(*(part.items.rows for part in parts))),
            dict(ChainMap(*(part.items.frames for part in parts))),
            dict(ChainMap(*(part.items.files for part in parts))),
        ),
        groups=dict(ChainMap(*(part.groups for part in parts))),
        grades=dict(ChainMap(*(part.grades for part in parts))),
        simulated=any(part.simulated for part in parts),
    )
