"""Small stage outputs with a known structure, made of random vectors: what 05 reads, without 01–04.

A clip's vector is the sum of parts for its sport, its skill, its execution and itself; an arm knows
some of the parts. Nothing here is a result about anything.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
from films import shot, write_film

from sportskills_lib import config, tables
from sportskills_lib.evaluation import feedback, recall
from sportskills_lib.retrieval.ranked_systems import NAMED_MISTAKES
from sportskills_lib.runs import artifacts

RUN = "synthetic"
SPORTS = (
    "archery",
    "badminton",
    "baseball",
    "bowling",
    "boxing",
    "climbing",
    "cricket",
    "cycling",
    "diving",
    "fencing",
    "golf",
    "handball",
    "hockey",
    "hurdles",
    "javelin",
    "judo",
    "rowing",
    "skating",
    "skiing",
    "sprinting",
    "squash",
    "tennis",
    "volleyball",
    "weightlifting",
)
EXECUTIONS = ("correct", "fault one", "fault two", "fault three")
# How much an arm knows of the sport, the skill, the execution and the single clip.
ARMS = {
    "zero_shot": (0.3, 0.1, 0.0, 0.0),
    "activity_sport": (1.0, 0.0, 0.0, 0.0),
    "activity_skill": (1.0, 0.8, 0.0, 0.0),
    "narrations": (1.0, 0.8, 0.9, 0.1),
    "narrations_shuffled": (1.0, 0.8, 0.0, 0.0),
}
# The other encoder knows a little more of the execution after narrations.
VIDEO_ARMS = {name: ARMS[name] for name in ("zero_shot", "activity_sport", "activity_skill")}
VIDEO_ARMS["narrations"] = (1.0, 0.8, 1.1, 0.1)
SYSTEMS = {
    "random": 0.0,
    "same_skill_random": 0.3,
    "encoder_zero_shot": 0.2,
    "encoder_narrations": 0.8,
    "vlm_yes_no": 1.2,
    "relevance": 1.6,
}


def vectors(names: list[str], width: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: rng.normal(size=width) / np.sqrt(width) for name in sorted(set(names))}


def clip_rows(sports: tuple[str, ...], small: tuple[str, ...]) -> pl.DataFrame:
    """27 clips a channel, 9 channels a sport (4 train, 1 val, 4 test); a small sport has one test
    channel.
    """
    rows = []
    for sport in sports:
        for channel in range(6 if sport in small else 9):
            split = "train" if channel < 4 else "val" if channel < 5 else "test"
            for skill in range(3):
                video = f"{sport[:4]}{channel}{skill}-vid"
                for index in range(9):
                    execution = EXECUTIONS[0] if index < 3 else EXECUTIONS[1 + (index - 3) // 2]
                    cue = index % 3 if index < 3 else (index - 3) // 2
                    start = 10.0 + 5 * index
                    rows.append(
                        {
                            "clip_id": tables.span_id(video, start, start + 3),
                            "video_id": video,
                            "start_s": start,
                            "end_s": start + 3,
                            "channel": f"{sport[:4]}{channel}",
                            "sport": sport,
                            "skill": f"{sport} skill {skill}",
                            "demonstration": "correct" if execution == "correct" else "incorrect",
                            "verifier": "motion+rules",
                            "score": 0.9,
                            "split": split,
                            "execution": execution,
                            "cue": f"cue {cue}",
                        }
                    )
    return pl.DataFrame(rows).sort("clip_id")


def narration_rows(clips: pl.DataFrame) -> pl.DataFrame:
    """One sentence a clip, said just before it; the two takes of a fault share a wording in one
    channel of four.
    """
    texts = []
    for row in clips.iter_rows(named=True):
        take = "" if row["channel"].endswith("5") else f", take {row['clip_id'][-13:-7]}"
        texts.append(
            f"{row['channel']} says: mind {row['cue']} of {row['execution']} in "
            f"{row['skill']}{take} <b>$5</b>"
        )
    return clips.select(
        narration_id=pl.concat_str("clip_id", pl.lit("n")),
        video_id="video_id",
        start_s=pl.col("start_s") - 1,
        end_s=pl.col("end_s") - 1,
        text=pl.Series(texts),
        transcription=pl.lit("manual"),
        actionable=pl.lit(True),
        judge=pl.lit("rules"),
        reason=pl.lit("imperative"),
    )


def embedding_rows(clips: pl.DataFrame, rng: np.random.Generator, width: int = 32) -> pl.DataFrame:
    parts = clips.select(
        "sport",
        "skill",
        group=pl.concat_str("skill", pl.lit("/"), "execution", pl.lit("/"), "cue"),
        single="clip_id",
    )
    known = [vectors(parts[name].to_list(), width, rng) for name in parts.columns]
    frames = []
    models = {f"image:{arm}": weights for arm, weights in ARMS.items()}
    models |= {f"video:{arm}": weights for arm, weights in VIDEO_ARMS.items()}
    for model, weights in models.items():
        clean = sum(
            weight * np.array([vector[name] for name in parts[column]])
            for weight, vector, column in zip(weights, known, parts.columns, strict=True)
        )
        for kind, ids in (("clip", clips["clip_id"]), ("narration", clips["clip_id"] + "n")):
            noisy = clean + 0.8 * rng.normal(size=clean.shape) / np.sqrt(width)
            noisy = noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
            frames.append(
                pl.DataFrame(
                    {"item_id": ids, "vector": noisy.astype(np.float32).tolist()},
                    schema={"item_id": pl.String, "vector": pl.List(pl.Float32)},
                ).with_columns(model_id=pl.lit(model), item_kind=pl.lit(kind))
            )
    return pl.concat(frames).select("model_id", "item_kind", "item_id", "vector")


def frames_of(clips: pl.DataFrame, *, frames: int = 4, size_px: int = 32) -> np.ndarray:
    """A block that moves along a path of its execution on a backdrop of its own: something to look
    at.
    """
    film = np.zeros((clips.height, frames, size_px, size_px, 3), dtype=np.uint8)
    for row, (clip, execution) in enumerate(clips.select("clip_id", "execution").rows()):
        rng = np.random.default_rng(list(clip.encode()))
        film[row] = rng.integers(40, 160, 3)
        slope = 1 + EXECUTIONS.index(execution)
        for t in range(frames):
            x, y = 2 + t * 5, size_px - 8 - t * 2 * slope
            film[row, t, y : y + 6, x : x + 6] = rng.integers(180, 255, 3)
    return film


def learner_rows(sports: tuple[str, ...]) -> pl.DataFrame:
    rows = []
    for sport in sports:
        for skill in range(3):
            for fault in range(3):
                take = f"{sport[:4]}-take-{skill}{fault}"
                rows.append(
                    {
                        "learner_id": tables.span_id(take, 2.0, 5.0),
                        "take_id": take,
                        "participant": f"{sport[:4]}-p{skill}",
                        "path": f"takes/{take}/cam01.mp4",
                        "sport": sport,
                        "skill": f"{sport} skill {skill}",
                        "comment": "expert text",
                        "is_mistake": True,
                        "split": "test",
                        "start_s": 2.0,
                        "end_s": 5.0,
                        "fault": EXECUTIONS[1 + fault],
                        "cue": f"cue {fault}",
                    }
                )
    return pl.DataFrame(rows)


def ratings_and_rankings(
    learners: pl.DataFrame, clips: pl.DataFrame, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Three raters' grades of 24 candidates a learner, and systems that see the grade more or less
    dimly.
    """
    ratings, rankings = [], []
    test = clips.filter(pl.col("split") == "test")
    for learner in learners.iter_rows(named=True):
        pool = test.filter(pl.col("sport") == learner["sport"]).sample(
            24, seed=int(rng.integers(2**31))
        )
        grades = []
        for clip in pool.iter_rows(named=True):
            same = clip["skill"] == learner["skill"]
            cue, correct = clip["cue"] == learner["cue"], clip["execution"] == "correct"
            grades.append(
                3
                if same and correct and cue
                else 2
                if same and cue
                else 1
                if same and correct
                else 0
            )
        for rater in ("sim-a", "sim-b", "sim-c"):
            for clip, grade in zip(pool.iter_rows(named=True), grades, strict=True):
                ratings.append(
                    {
                        "take_uid": learner["take_id"],
                        "video_time": 3.5,
                        "video_id": clip["video_id"],
                        "start_s": clip["start_s"] + 0.3,
                        "end_s": clip["end_s"] + 0.2,
                        "rater": rater,
                        "grade": int(np.clip(grade + rng.choice([0, 0, 0, 0, -1, 1]), 0, 3)),
                        "simulated": True,
                    }
                )
        for system, sight in SYSTEMS.items():
            scores = np.round(sight * np.array(grades) + rng.normal(size=24), 6)
            order = np.lexsort((pool["clip_id"].to_numpy().astype(str), -scores))
            rankings.extend(
                {
                    "system": system,
                    "query_id": learner["learner_id"],
                    "rank": rank + 1,
                    "clip_id": pool["clip_id"][int(row)],
                    "score": scores[row],
                }
                for rank, row in enumerate(order)
            )
    return pl.DataFrame(ratings), pl.DataFrame(rankings)


def _stage(name: str, *after: str) -> artifacts.Stage:
    return artifacts.begin(RUN, name, config.CONFIGS[name](), after=after)


def write_stages(
    workspace: Path,
    *,
    sports: tuple[str, ...] = SPORTS,
    small: tuple[str, ...] = (),
    learners: bool = True,
    only_train: bool = False,
    judged: bool = False,
    seed: int = 0,
) -> None:
    """Stages 01–04 of the run ``synthetic`` below ``workspace`` (= $SPORTSKILLS_HOME), with ratings
    and truth.
    """
    rng = np.random.default_rng(seed)
    raw = workspace / "data" / "raw" / "demo"
    (raw / "truth").mkdir(parents=True)
    (workspace / "notebooks").mkdir()
    for name in artifacts.NOTEBOOKS:
        (workspace / "notebooks" / f"{name}.ipynb").write_text('{"cells": []}')
    full = clip_rows(sports, small)
    full = full.filter(pl.col("split") == "train") if only_train else full
    narrations, clips = narration_rows(full), full.drop("execution", "cue")
    _write_01(full, narrations)
    stage = _stage("02_pairing", "01_curation")
    stage.save("clips", clips, tables.Clips)
    stage.save("pairs", clips.select("clip_id", narration_id=pl.col("clip_id") + "n"), tables.Pairs)
    if judged:
        stage.save("judged", judged_rows(clips, narrations))
    np.save(stage.path("frames.npy"), frames_of(full))
    stage.finish(
        dropped=tables.dropped_rows([("clip", "x:1-2", "too_little_motion", "0.1 < 0.4")] * 5),
        clips=clips.height,
    )
    stage = _stage("03_encoder", "02_pairing")
    stage.save("embeddings", embedding_rows(full, rng), tables.Embeddings)
    stage.save("curves", curve_rows(rng))
    stage.finish(seed=0)
    _write_04(full, sports if learners else (), raw, rng)
    truth = full.select(
        "video_id",
        "start_s",
        "end_s",
        "sport",
        "skill",
        "execution",
        "cue",
        kind=pl.lit("demonstration"),
        cue_kind=pl.when(pl.col("cue") == "cue 0").then(pl.lit("timing")).otherwise(pl.lit("pose")),
    )
    truth.write_parquet(raw / "truth" / "segments.parquet")


def _write_01(clips: pl.DataFrame, narrations: pl.DataFrame) -> None:
    stage = _stage("01_curation")
    videos = (
        clips.group_by("video_id").agg(pl.col("channel", "sport", "skill").first()).sort("video_id")
    )
    blanks = videos.with_columns(
        path=pl.lit("a.mp4"),
        title=pl.lit("<script>alert(1)</script> & more"),
        search_term=pl.lit("x"),
        language=pl.lit("en"),
        licence=pl.lit("CC BY"),
        duration_s=pl.lit(90.0),
        fps=pl.lit(10.0),
        width_px=pl.lit(128),
        height_px=pl.lit(128),
        sha256=pl.concat_str(pl.lit("0123"), "video_id"),
    )
    others = [
        pl.lit(None).alias(name)
        for name in tables.Videos.column_names()
        if name not in blanks.columns
    ]
    stage.save(
        "videos", blanks.with_columns(others).select(tables.Videos.column_names()), tables.Videos
    )
    stage.save("narrations", narrations, tables.Narrations)
    stage.finish(
        dropped=tables.dropped_rows([("video", "v", "unreadable", "moov <atom> missing")] * 3),
        narrations=9,
    )


def judged_rows(clips: pl.DataFrame, narrations: pl.DataFrame) -> pl.DataFrame:
    """02's windows: those of the clips, each under its one sentence."""
    said = narrations.select("text", clip_id=pl.col("narration_id").str.strip_suffix("n"))
    shown = clips.select("clip_id", "video_id", "start_s", "end_s", "demonstration", "score")
    return shown.join(said, on="clip_id").with_columns(
        narration_ids=pl.concat_list(pl.col("clip_id") + "n"),
        said="demonstration",
        moved=pl.lit(0.2),
    )


def write_evaluation() -> None:
    """Stage 05 of the run that :func:`write_stages` wrote, as far as views read it: scores,
    rankings, judgements.
    """
    pairing, retrieval = (
        artifacts.open_stage(RUN, "02_pairing"),
        artifacts.open_stage(RUN, "04_retrieval"),
    )
    clips, narrations = (
        pairing.table("clips"),
        artifacts.open_stage(RUN, "01_curation").table("narrations"),
    )
    queries, _ = recall.test_queries(clips, pairing.table("pairs"), narrations)
    vectors = artifacts.open_stage(RUN, "03_encoder").table("embeddings")
    scores, rankings = recall.score_all(vectors, queries, clips, min_gallery=50)
    settings = config.EvaluationConfig()
    judged, _ = feedback.judgements(
        feedback.read_ratings(settings.ratings), clips, retrieval.table("learners")
    )
    stage = artifacts.begin(RUN, "05_evaluation", settings)
    stage.save("recall", scores)
    stage.save("retrievals", rankings)
    stage.save("judgements", judged)
    stage.finish(dropped=tables.dropped_rows([]))


def write_films(home: Path) -> None:
    """One lesson that all videos name, and a film of every learner."""
    lessons, learners = home / "data/raw/demo/lessons", home / "data/raw/demo/learners"
    lessons.mkdir(parents=True)
    write_film(lessons / "a.mp4", shot(1, 900, moves=True))
    table = artifacts.open_stage(RUN, "04_retrieval").table("learners")
    for place, path in enumerate(table["path"]):
        (learners / path).parent.mkdir(parents=True)
        write_film(learners / path, shot(place, 80, moves=True))


def curve_rows(rng: np.random.Generator) -> pl.DataFrame:
    rows = []
    for arm in ARMS:
        for step in range(0, 401, 50):
            rows.append(
                {
                    "arm": arm,
                    "step": step,
                    "loss": float(4 * np.exp(-step / 200) + 0.1 * rng.normal()),
                    "learning_rate": 1e-3,
                    "val_recall": float(0.1 + 0.3 * step / 400),
                }
            )
    return pl.DataFrame(rows)


def _write_04(
    clips: pl.DataFrame, sports: tuple[str, ...], raw: Path, rng: np.random.Generator
) -> None:
    stage = _stage("04_retrieval", "02_pairing", "03_encoder")
    learners = learner_rows(sports)
    if learners.height:
        ratings, rankings = ratings_and_rankings(learners, clips, rng)
        learners = learners.drop("fault", "cue")
        film = frames_of(learners.select(clip_id="learner_id", execution=pl.lit("correct")))
    else:
        ratings = pl.DataFrame(schema=RATING_COLUMNS)
        rankings, learners = tables.Rankings.create_empty(), tables.Learners.create_empty()
        film = np.zeros((0, 4, 32, 32, 3), dtype=np.uint8)
    stage.save("learners", learners, tables.Learners)
    stage.save("rankings", rankings, tables.Rankings)
    stage.save("rankings_same_skill", of_own_skill(rankings, learners, clips), tables.Rankings)
    library, variants = two_stage_rankings(rankings)
    stage.save("library_rankings", library, tables.Rankings)
    stage.save("variants", variants, tables.Rankings)
    stage.save(
        "timings", pl.DataFrame({"part": ["vlm_yes_no: scores"], "seconds": [1.0], "items": [10]})
    )
    stage.save("named_mistakes", pl.DataFrame(schema=NAMED_MISTAKES))
    stage.save(
        "pools",
        rankings.select(learner_id="query_id", clip_id="clip_id").unique(maintain_order=True),
    )
    np.save(stage.path("learner_frames.npy"), film)
    ratings.write_csv(raw / "ratings.csv")
    stage.finish(seed=0, dropped=tables.dropped_rows([]))
    (raw / "world.json").write_text(json.dumps({"synthetic": True}))


def of_own_skill(
    rankings: pl.DataFrame, learners: pl.DataFrame, clips: pl.DataFrame
) -> pl.DataFrame:
    """The rankings of clips of the learner's skill."""
    people = learners.select("sport", "skill", query_id="learner_id")
    kept = rankings.join(people, on="query_id", maintain_order="left").join(
        clips.select("clip_id", "sport", "skill"), on=["clip_id", "sport", "skill"], how="semi"
    )
    place = pl.int_range(1, pl.len() + 1).over("system", "query_id")
    kept = kept.sort("system", "query_id", "rank")
    return kept.with_columns(rank=place).select(rankings.columns)


def two_stage_rankings(rankings: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What 04 writes of the library (half of it unjudged) and of other depths and weights."""
    wanted = ("encoder_narrations", "vlm_yes_no", "fused")
    library = rankings.filter(pl.col("system").is_in(wanted) & (pl.col("rank") <= 20)).with_columns(
        clip_id=pl.when(pl.col("rank") % 2 == 0).then(pl.col("clip_id") + "x").otherwise("clip_id")
    )
    vlm = rankings.filter(pl.col("system") == "vlm_yes_no")
    names = (
        "depth 0",
        "depth 6",
        "depth 24",
        "alone 0",
        "alone 6",
        "alone 24",
        "weight 0",
        "weight 0.5",
        "weight 1",
    )
    return library, pl.concat([vlm.with_columns(system=pl.lit(name)) for name in names])


RATING_COLUMNS = {
    "take_uid": pl.String, "video_time": pl.Float64, "video_id": pl.String, "start_s": pl.Float64,
    "end_s": pl.Float64, "rater": pl.String, "grade": pl.Int64, "simulated": pl.Boolean,
}  # fmt: skip
