"""What was asked of a run's systems and what they found, read from its tables: the inspector's
data.

There are two kinds of questions: narrations that ask for their clip (03, 05) and learners who need
a clip that helps (04, 05). Both become the same four tables, so that one view serves both. Nothing
is ranked or scored here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from sportskills_lib import metrics, tables
from sportskills_lib.evaluation import demo_truth, feedback, recall
from sportskills_lib.report import cases
from sportskills_lib.runs import artifacts
from sportskills_lib.viewing.previews import Span

DIRECTION = "text_to_video"
UNJUDGED = "nobody graded it"


@dataclass(frozen=True)
class ItemSources:
    """All that can be shown, by id: clips and learners.

    ``rows``: item_id → video_id, title, channel, sport, skill, start_s, end_s, demonstration, said.
    ``frames``: item_id → (array uint8 [N, T, H, W, 3], row), arrays that stay on disk. ``files``:
    video_id → its file.
    """

    rows: dict[str, dict]
    frames: dict[str, tuple[np.ndarray, int]]
    files: dict[str, Path]

    def pictures(self, item_id: str) -> np.ndarray | None:
        """The kept frames of an item, uint8 [T, H, W, 3]."""
        array, row = self.frames.get(item_id, (None, 0))
        return None if array is None else array[row]

    def span(self, item_id: str) -> Span | None:
        """Where the item's film lies; None for an item of an unknown video."""
        row = self.rows.get(item_id)
        path = self.files.get(row["video_id"]) if row else None
        return (
            None
            if row is None or path is None
            else Span(item_id, path, row["start_s"], row["end_s"])
        )


@dataclass(frozen=True)
class QueryResults:
    """Questions of one kind, and every system's answers.

    ``queries``: query_id, sport, skill, text, shown (the item that stands for the query), own
    (relevant item ids). ``hits``: system → query_id, rank, clip_id, score, the first ranks of each
    query. ``places``: system → query_id, place (rank of the first relevant clip in the whole
    gallery; null where none was ranked). ``near``: a place up to it is a hit, up to twice as far a
    near miss. ``grades``: query_id → clip_id → mean grade (learners only). ``groups``: clip_id →
    what the demo's truth says that it shows.
    """

    kind: str  # narrations, learners
    queries: pl.DataFrame
    hits: dict[str, pl.DataFrame]
    places: dict[str, pl.DataFrame]
    items: ItemSources
    near: int
    goal: str  # what a relevant clip is, in words
    groups: dict[str, str]
    grades: dict[str, dict[str, float]]
    simulated: bool = False  # whether grades are of simulated raters

    def systems(self) -> list[str]:
        """The systems that answered, in order of name."""
        return sorted(self.hits)

    def mark(self, query: dict, clip_id: str) -> str:
        """How right a clip is for a query: one of cases.MARKS, or its mean grade."""
        if self.kind == "learners":
            grade = self.grades.get(query["query_id"], {}).get(clip_id)
            return UNJUDGED if grade is None else f"grade {grade:.1f}"
        row = self.items.rows.get(clip_id, {})
        if clip_id in query["own"]:
            return cases.OWN
        wanted = {self.groups[own] for own in query["own"] if own in self.groups}
        if self.groups.get(clip_id) in wanted:
            return cases.SAME_CUE
        same = (row.get("sport"), row.get("skill")) == (query["sport"], query["skill"])
        return cases.SAME_SKILL if same else cases.OTHER

    def is_relevant(self, query: dict, clip_id: str) -> bool:
        """Whether the clip is what was asked for: one's own or, where known, one that shows the
        same.
        """
        if self.kind == "learners":
            return self.grades.get(query["query_id"], {}).get(clip_id, 0.0) >= feedback.HELPFUL
        return self.mark(query, clip_id) in (cases.OWN, cases.SAME_CUE)


def read(*runs: str) -> list[QueryResults]:
    """The questions of complete runs, by kind; a kind that nobody asked is left out.

    Of several runs the systems stand side by side as ``run: system``; a query is what all asked,
    since ids come from content. ValueError where they asked nothing in common.
    """
    parts = [part for run in runs for part in _of_run(run, f"{run}: " if len(runs) > 1 else "")]
    kinds = [[part for part in parts if part.kind == kind] for kind in ("narrations", "learners")]
    found = [
        joined
        for same in kinds
        if len(same) == len(runs) and (joined := _joined(same)).queries.height
    ]
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
    evaluation = artifacts.open_stage(run, "05_evaluation")
    pairing, retrieval = (
        artifacts.open_stage(run, "02_pairing"),
        artifacts.open_stage(run, "04_retrieval"),
    )
    clips, learners = (
        pairing.table("clips", tables.Clips),
        retrieval.table("learners", tables.Learners),
    )
    narrations = artifacts.open_stage(run, "01_curation").table("narrations", tables.Narrations)
    queries, _ = recall.test_queries(clips, pairing.table("pairs", tables.Pairs), narrations)
    groups = demo_truth.true_groups(
        demo_truth.folder_named_by(evaluation.manifest["config"]), clips
    )
    return of_tables(
        queries, evaluation.table("retrievals"), evaluation.table("recall"), groups, learners,
        retrieval.table("rankings"), evaluation.table("judgements"), read_items(run), prefix,
    )  # fmt: skip


def of_tables(
    queries: pl.DataFrame,
    retrieved: pl.DataFrame,
    scores: pl.DataFrame,
    groups: pl.DataFrame,
    learners: pl.DataFrame,
    rankings: pl.DataFrame,
    judged: pl.DataFrame,
    items: ItemSources,
    prefix: str = "",
) -> list[QueryResults]:
    """The questions of each kind that was asked, from 05's tables as they are made."""
    found = [
        from_narrations(queries, retrieved, scores, groups, items, prefix),
        from_learners(learners, rankings, judged, items, prefix),
    ]
    return [asked for asked in found if asked.queries.height and asked.hits]


def read_items(run: str) -> ItemSources:
    """Clips of 02 and learners of 04, with their frames and files."""
    curation, pairing = (
        artifacts.open_stage(run, "01_curation"),
        artifacts.open_stage(run, "02_pairing"),
    )
    retrieval = artifacts.open_stage(run, "04_retrieval")
    narrations, videos = curation.table("narrations"), curation.table("videos")
    clips, learners = (
        pairing.table("clips", tables.Clips),
        retrieval.table("learners", tables.Learners),
    )
    shown = clip_rows(clips, pairing.table("pairs"), narrations, videos)
    frames = _frames(clips["clip_id"].to_list(), pairing.path("frames.npy"))
    frames |= _frames(learners["learner_id"].to_list(), retrieval.path("learner_frames.npy"))
    return ItemSources(shown | learner_rows(learners), frames, video_files(run))


def _frames(ids: list[str], path: Path) -> dict[str, tuple[np.ndarray, int]]:
    array = np.load(path, mmap_mode="r")
    if len(array) != len(ids):
        raise ValueError(
            f"{path} has {len(array)} items, its table {len(ids)}: rerun {path.parent.name}"
        )
    return {item: (array, row) for row, item in enumerate(ids)}


def clip_rows(
    clips: pl.DataFrame, pairs: pl.DataFrame, narrations: pl.DataFrame, videos: pl.DataFrame
) -> dict:
    """What ItemSources.rows needs of clips."""
    words = pairs.join(narrations.select("narration_id", "text"), on="narration_id").sort(
        "clip_id", "narration_id"
    )
    said = words.group_by("clip_id").agg(said=pl.col("text").str.join(" / "))
    full = clips.join(said, on="clip_id", how="left").join(
        videos.select("video_id", "title"), on="video_id", how="left"
    )
    columns = (
        "video_id",
        "title",
        "channel",
        "sport",
        "skill",
        "start_s",
        "end_s",
        "demonstration",
        "said",
    )
    return {row.pop("clip_id"): row for row in full.select("clip_id", *columns).to_dicts()}


def learner_rows(learners: pl.DataFrame) -> dict:
    """What ItemSources.rows needs of learners: the video is the take, the expert's comment what is
    said.
    """
    chosen = learners.select(
        "learner_id",
        "sport",
        "skill",
        "start_s",
        "end_s",
        video_id="take_id",
        title=pl.lit(""),
        channel=pl.format("participant {}", "participant"),
        demonstration=pl.lit("learner"),
        said="comment",
    )
    return {row.pop("learner_id"): row for row in chosen.to_dicts()}


def video_files(run: str) -> dict[str, Path]:
    """Where the run's videos lie, by video_id, and its learners' by take_id where 04 is complete.

    A path that leaves its folder is left out: it comes from a table that strangers may have made.
    """
    curation = artifacts.open_stage(run, "01_curation")
    found = below(
        curation.manifest["config"]["source"], curation.table("videos").select("video_id", "path")
    )
    if artifacts.is_complete(artifacts.holder(run, "04_retrieval"), "04_retrieval"):
        retrieval = artifacts.open_stage(run, "04_retrieval")
        learners = retrieval.manifest["config"]["learners"]
        found |= below(learners, retrieval.table("learners").select("take_id", "path"))
    return found


def below(source: str, paths: pl.DataFrame) -> dict[str, Path]:
    """Where files lie, by id: ``paths`` has an id and a path below ``source``, a folder or a table
    beside them.
    """
    folder = artifacts.workspace() / source
    listed = (
        folder.is_file()
    )  # a table names its files: videos by their whole paths, learners beside it
    folder = folder.parent if listed else folder
    safe = (pair for pair in paths.unique().iter_rows() if listed or _stays(pair[1]))
    return {name: folder / path for name, path in safe}


def _stays(path: str) -> bool:
    return not Path(path).is_absolute() and ".." not in Path(path).parts


def from_narrations(
    queries: pl.DataFrame,
    rankings: pl.DataFrame,
    scores: pl.DataFrame,
    groups: pl.DataFrame,
    items: ItemSources,
    prefix: str,
) -> QueryResults:
    """Narrations that ask for their own clip, as 05 asked them (recall.test_queries, its rankings
    and scores).
    """
    ranks = scores.filter((pl.col("metric") == recall.RANK) & pl.col("value").is_not_null())
    places = ranks.group_by("system", "query_id").agg(place=pl.col("value").mean())
    return QueryResults(
        kind="narrations",
        queries=queries.with_columns(shown=pl.col("own").list.first()).drop("cluster"),
        hits=_by_system(rankings, prefix),
        places=_by_system(places, prefix),
        items=items,
        near=metrics.HEADLINE_K,
        goal="its own clip",
        groups=dict(groups.select("clip_id", "group").rows()),
        grades={},
    )


def from_learners(
    learners: pl.DataFrame,
    rankings: pl.DataFrame,
    judged: pl.DataFrame,
    items: ItemSources,
    prefix: str,
) -> QueryResults:
    """Test learners whom coaches' grades exist for: a clip is relevant from a mean grade of 2 (it
    helps).
    """
    gains = feedback.gains(judged)
    grades: dict[str, dict[str, float]] = {}
    for learner, clip, gain in gains.select("learner_id", "clip_id", "gain").iter_rows():
        grades.setdefault(learner, {})[clip] = gain
    asked = learners.filter(
        (pl.col("split").cast(pl.String) == "test") & pl.col("learner_id").is_in(list(grades))
    )
    helpful = gains.filter(pl.col("gain") >= feedback.HELPFUL).rename({"learner_id": "query_id"})
    own = helpful.group_by("query_id").agg(own=pl.col("clip_id").sort())
    queries = asked.select(
        "sport", "skill", query_id="learner_id", text="comment", shown="learner_id"
    )
    ranked = rankings.filter(pl.col("query_id").is_in(queries["query_id"].implode()))
    first = ranked.join(helpful, on=["query_id", "clip_id"], how="semi").group_by(
        "system", "query_id"
    )
    every = ranked.select("system", "query_id").unique()
    places = every.join(
        first.agg(place=pl.col("rank").min().cast(pl.Float64)),
        on=["system", "query_id"],
        how="left",
    )
    return QueryResults(
        kind="learners",
        queries=queries.join(own, on="query_id", how="left").with_columns(
            pl.col("own").fill_null([])
        ),
        hits=_by_system(ranked.filter(pl.col("rank") <= metrics.HEADLINE_K), prefix),
        places=_by_system(places, prefix),
        items=items,
        near=5,
        goal="the first clip that helps",
        groups={},
        grades=grades,
        simulated=bool(judged["simulated"].any()),
    )


def _by_system(frame: pl.DataFrame, prefix: str) -> dict[str, pl.DataFrame]:
    """system → its rows; of narrations only those from text to video."""
    names = [
        name for name in frame["system"].unique() if "/" not in name or f"/{DIRECTION}/" in name
    ]
    kept = frame.filter(pl.col("system").is_in(names))
    return {
        f"{prefix}{key[0]}": part.drop("system")
        for key, part in kept.partition_by("system", as_dict=True).items()
    }


def _joined(parts: Sequence[QueryResults]) -> QueryResults:
    """Several runs as one: what all of them asked, systems side by side.

    A clip is right if it is in any of the runs: cut otherwise, a sentence has another own clip. Of
    two mean grades of one pair the first run's is shown.
    """
    first, queries = parts[0], parts[0].queries
    for part in parts[1:]:
        theirs = part.queries.select("query_id", theirs="own")
        queries = queries.join(theirs, on="query_id", maintain_order="left")
        queries = queries.with_columns(own=pl.col("own").list.set_union("theirs")).drop("theirs")
    items = ItemSources(
        {item: row for part in reversed(parts) for item, row in part.items.rows.items()},
        {item: found for part in reversed(parts) for item, found in part.items.frames.items()},
        {video: path for part in reversed(parts) for video, path in part.items.files.items()},
    )
    hits = {name: found for part in parts for name, found in part.hits.items()}
    places = {name: found for part in parts for name, found in part.places.items()}
    groups = {clip: group for part in reversed(parts) for clip, group in part.groups.items()}
    grades: dict[str, dict[str, float]] = {}
    for part in reversed(parts):
        for learner, known in part.grades.items():
            grades[learner] = grades.get(learner, {}) | known
    return QueryResults(
        first.kind,
        queries,
        hits,
        places,
        items,
        first.near,
        first.goal,
        groups,
        grades,
        any(part.simulated for part in parts),
    )
