"""EgoExo-Fitness: executions of fitness actions as learners, each judged by several annotators.

``interpretable_action_judgement.json`` (beside the frames, or in ``raw_annotations``) says of each
``<record>_action_<n>`` its first and last frame and, by annotator, which key points of the action
were kept. A key point that most annotators call False is a mistake with a name; an execution
without one is correct. Frames are folders of JPEGs, read as films. :func:`ratings` makes graded
relevance of the same verdicts, one row a rater, with no model.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib.formats import untrusted_json
from sportskills_lib.formats.untrusted_json import UnusableRow
from sportskills_lib.learner_data.remarks import (
    SHORTEST_S,
    ReaderSettings,
    Remark,
    dropping,
    video_inside,
    within_videos,
)
from sportskills_lib.tables import DroppedRow
from sportskills_lib.video.probe import PICTURES_HZ

JUDGED, RECORDS = "interpretable_action_judgement.json", "meta_records.json"
VIEW = "exo_m"  # pictures of the other two exocentric cameras lie on their sides
SPORTS = ("fitness", "calisthenics")  # what a library may call it
Verdict = tuple[str, str, bool]  # annotator, key point, whether it was kept


def annotations_in(source: Path) -> Path | None:
    """The folder of EgoExo-Fitness's annotations in ``source``; None where it is something else."""
    folders = (source, source / "raw_annotations")
    return next((folder for folder in folders if (folder / JUDGED).is_file()), None)


def read(
    folder: Path, annotations: Path, settings: ReaderSettings, drops: list[DroppedRow]
) -> list[Remark]:
    """Every execution that may become a learner; the others, and verdicts that are none, go to
    ``drops``. Paths are relative to ``folder``.
    """
    people, remarks = _participants(annotations / RECORDS), list[Remark]()
    for take_id, entry in _entries(annotations):
        with dropping(drops, "learner", untrusted_json.preview(take_id)):
            if not untrusted_json.identity(take_id) or not re.search(r"._action_\d+$", take_id):
                raise UnusableRow("bad_id", "an action is called <record>_action_<number>")
            entry = untrusted_json.require_object(entry)
            start_s, end_s = _span(entry.get("st_ed_frame"))
            verdicts = _verdicts(take_id, entry, drops)
            if not verdicts:
                raise UnusableRow("empty_comment", "no annotator says which key points were kept")
            votes: Counter[str] = Counter()
            for _, point, kept in verdicts:
                votes[point] += 1 if kept else -1
            failed = [point for point, vote in votes.items() if vote < 0]
            record = take_id.rpartition("_action_")[0]
            remark = Remark(
                item_id=take_id,
                take_id=take_id,
                participant=people.get(record, f"record {record}").lower(),
                path=video_inside(folder, f"{entry.get('frame_root')}/{VIEW}", "frame_root"),
                sport=settings.sports.find(*SPORTS),
                skill=_action(entry),
                start_s=start_s,
                end_s=end_s,
                text=" ".join(failed or votes),
                is_good=not failed,
                split=None,
            )
            remarks.append(remark)
    return within_videos(folder, remarks, settings.workers, drops)


def ratings(source: Path, learners: pl.DataFrame) -> pl.DataFrame:
    """The ratings that 04 and 05 read (docs/rating.md): of each val or test learner with mistakes,
    every execution of the action by another participant of the split. 3: all that the learner does
    wrong is done right there, 2: some of it, 1: none. Ours.

    ``learners``: as read from ``source``. Raters are the execution's annotators; one who leaves out
    a mistake gives no grade. The video of an execution is called by its take_id.
    """
    said = pl.DataFrame(
        [
            (take_id, *verdict)
            for take_id, entry in _entries(annotations_in(source) or source)
            for verdict in _verdicts(take_id, entry, [])
        ],
        schema={"take": pl.String, "rater": pl.String, "point": pl.String, "kept": pl.Boolean},
        orient="row",
    )
    failed = (
        said.group_by(take_id="take", point="point")
        .agg(pl.col("kept").mean())
        .filter(pl.col("kept") < 0.5)
        .select("take_id", "point", mistakes=pl.len().over("take_id"))
    )
    held = learners.filter(pl.col("split") != "train")
    pairs = held.filter("is_mistake").join(held, on=["skill", "split"], suffix="_shown")
    return (
        pairs.filter(pl.col("participant") != pl.col("participant_shown"))
        .join(failed, on="take_id")
        .join(said, left_on=["take_id_shown", "point"], right_on=["take", "point"])
        .group_by("learner_id", "learner_id_shown", "rater")
        .agg(
            pl.col("take_id", "mistakes").first(),
            video_time=(pl.col("start_s") + pl.col("end_s")).first() / 2,
            video_id=pl.col("take_id_shown").first(),
            start_s=pl.col("start_s_shown").first(),
            end_s=pl.col("end_s_shown").first(),
            grade=1 + pl.col("kept").any().cast(pl.Int64) + pl.col("kept").all().cast(pl.Int64),
            said=pl.len(),
        )
        .filter(pl.col("said") == pl.col("mistakes"))
        .rename({"take_id": "take_uid"})
        .with_columns(simulated=False)
        .drop("said", "mistakes", "learner_id_shown")
        .sort("learner_id", "video_id", "rater")
    )


# ---------------------------------------------------------------------------------------- the files


def _entries(annotations: Path) -> list[tuple[str, Any]]:
    """(take id, judgement) as the file has them."""
    judged = untrusted_json.load_json(annotations / JUDGED, dict)
    return [*judged.items(), *getattr(judged, "others", ())]


def _span(frames: Any) -> tuple[float, float]:
    """The seconds of a first and a last frame."""
    ends = [untrusted_json.seconds(frame) for frame in untrusted_json.rows(frames)]
    first, last = ends if len(ends) == 2 else (None, None)
    if first is None or last is None or not 0 <= first <= last - SHORTEST_S * PICTURES_HZ:
        shown = untrusted_json.preview(frames)
        raise UnusableRow("bad_span", f"st_ed_frame {shown} is no first and last frame")
    return first / PICTURES_HZ, last / PICTURES_HZ


def _annotations(entry: Any) -> list[Any]:
    return untrusted_json.rows(entry.get("annotations") if isinstance(entry, dict) else entry)


def _action(entry: dict[str, Any]) -> str:
    """The one action that the annotators name."""
    rows = [row for row in _annotations(entry) if isinstance(row, dict)]
    named = {(untrusted_json.text(row.get("action_name")) or "").lower() for row in rows} - {""}
    if len(named) != 1:
        called = untrusted_json.preview(" and ".join(sorted(named)) or "no action")
        raise UnusableRow("contradictory" if named else "missing_field", f"is called {called}")
    return named.pop()


def _verdicts(take_id: str, entry: Any, drops: list[DroppedRow]) -> list[Verdict]:
    """What each annotator says of each key point, in one spelling; what is no verdict goes to
    ``drops``, and both sides of a contradiction.
    """
    found: dict[tuple[str, str], bool] = {}
    for place, row in enumerate(_annotations(entry)):
        label = f"{untrusted_json.preview(take_id)}:{place}"
        with dropping(drops, "verdict", label):
            row = untrusted_json.require_object(row)
            rater = untrusted_json.name(row.get("annotator")) or f"annotator {place}"
            for pair in untrusted_json.rows(row.get("key_point_verification")):
                with dropping(drops, "verdict", label):
                    point, kept = _key_point(pair)
                    if found.setdefault((rater, point), kept) != kept:
                        del found[rater, point]
                        shown = untrusted_json.preview(point)
                        raise UnusableRow("contradictory", f"{shown!r} is True and False")
    return [(rater, point, kept) for (rater, point), kept in found.items()]


def _key_point(pair: Any) -> tuple[str, bool]:
    """A key point, and whether it was kept."""
    said = pair if isinstance(pair, list) and len(pair) == 2 else (None, None)
    words, kept = untrusted_json.text(said[0]), untrusted_json.flag(said[1])
    if words is None or kept is None:
        shown = untrusted_json.preview(pair)
        raise UnusableRow("bad_value", f"{shown} is no key point with True or False")
    return f"{words.rstrip('. ').capitalize()}.", kept


def _participants(path: Path) -> dict[str, str]:
    """Who is filmed in each record: "0925-Jianan" and "1019-Jianan" are one person on two days.
    Empty without the file.
    """
    told = untrusted_json.load_json(path, dict) if path.is_file() else {}
    index = told.get("record_index")
    names = {str(at): name for name, at in index.items()} if isinstance(index, dict) else {}
    people = {}
    for place, record in enumerate(untrusted_json.rows(told.get("records"))):
        if isinstance(record, dict) and (
            actor := untrusted_json.name(record.get("original_actor"))
        ):
            name = untrusted_json.name(record.get("record_id")) or names.get(str(place), "")
            people[name] = re.sub(r"^\d+[-_ ]+", "", actor)
    return people
