"""What the readers of all formats share, and from experts' remarks to learners: doubled and
contradictory ones, and splits that hold whole participants.

Every reader gives :class:`Remark`s; what makes a learner of them is the same for all formats.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from sportskills_lib import group_splits, tables
from sportskills_lib.formats import untrusted_json
from sportskills_lib.formats.untrusted_json import UnusableRow
from sportskills_lib.learner_data.frames import lengths_of
from sportskills_lib.tables import DroppedRow

Value = TypeVar("Value")
TEST_SHARE, VAL_SHARE = 0.3, 0.1  # of a sport's participants, where no file says the split; ours
SHORTEST_S = 0.1  # of a learner's span
# a span may end so much after its video, and ends with it: people round, and so do containers
SLACK_S = 0.5
SAME_MOMENT_S = 0.1  # nearer than this, a tip and a good execution speak of the same; ours

HELD_OUT = ("test", "val", "train")  # whoever stands in two splits stays in the first of these


@dataclass(frozen=True)
class Remark:
    """What an expert said of one span of one video. ``item_id`` is how a dropped row calls it."""

    item_id: str
    take_id: str  # learner_id is this and the span
    participant: str
    path: str  # relative to the source's folder
    sport: str
    skill: str | None
    start_s: float
    end_s: float
    text: str
    is_good: bool | None  # None: nobody said; it counts as something to learn from
    split: str | None  # None: no file says it

    @property
    def learner_id(self) -> str:
        """The id from the take and the span."""
        return tables.span_id(self.take_id, self.start_s, self.end_s)


class Sports:
    """The library's sports, by any spelling that differs in case, hyphens or spaces only; all
    sports when None.
    """

    def __init__(self, sports: Iterable[str] | None):
        self._known = None if sports is None else {_plain(sport): sport for sport in sports}

    def find(self, *names: str | None) -> str:
        """The first name that is a sport of the library, as the library spells it; UnusableRow
        where none is.
        """
        given = [name.lower() for name in names if name]
        if not given:
            raise UnusableRow("unknown_sport", "the sport is empty: fill it in")
        if self._known is None:
            return given[0]
        for name in given:
            if _plain(name) in self._known:
                return self._known[_plain(name)]
        known = sorted(self._known.values())
        near = difflib.get_close_matches(given[0], known, n=1)
        meant = f"; is {near[0]!r} meant?" if near else ""
        raise UnusableRow(
            "unknown_sport",
            f"the library has no sport {given[0]!r} (it has {', '.join(known[:5])}"
            f"{' …' if known[5:] else ''}){meant}",
        )


def _plain(spelling: str) -> str:
    return " ".join(re.sub(r"[\W_]+", " ", spelling.lower()).split())


@dataclass(frozen=True)
class ReaderSettings:
    """What all readers are told; see read_learners."""

    span_s: float
    tip_gap_s: float
    sports: Sports
    workers: int


# ------------------------------------------------------------------------- what the readers share


@contextmanager
def dropping(drops: list[DroppedRow], kind: str, item_id: str, where: str = "") -> Iterator[None]:
    """Add the row to ``drops`` where the block finds it unusable."""
    try:
        yield
    except UnusableRow as why:
        drops.append((kind, item_id, why.reason, where + why.detail))


def require(value: Value | None, reason: str, detail: str) -> Value:
    """The value; UnusableRow where there is none."""
    if value is None:
        raise UnusableRow(reason, detail)
    return value


def video_inside(folder: Path, name: Any, field: str) -> str:
    """The path of a video, or of a folder of pictures, relative to the folder; UnusableRow where it
    is not there, or outside.
    """
    path, why = untrusted_json.find_inside(folder, name, folders=True)
    if why == "outside":
        detail = f"{field} {untrusted_json.preview(name)} leaves its folder: link the whole folder"
        raise UnusableRow("view_outside_folder", detail)
    return require(path, "missing_video", f"{field} {untrusted_json.preview(name)} does not exist")


def within_videos(
    folder: Path, remarks: list[Remark], workers: int, drops: list[DroppedRow]
) -> list[Remark]:
    """The remarks whose spans their videos have; a span ends with its video at the latest."""
    lengths = lengths_of(folder, [remark.path for remark in remarks], workers=workers)
    kept = []
    for remark in remarks:
        lasts, ends = lengths[remark.path], remark.end_s
        with dropping(drops, "learner", remark.item_id):
            if isinstance(lasts, str):
                raise UnusableRow("unreadable", lasts)
            if remark.start_s > lasts - SHORTEST_S or lasts + SLACK_S < ends < math.inf:
                detail = f"{remark.start_s:g} to {ends:g} s; the video lasts {lasts:.2f} s"
                raise UnusableRow("outside_video", detail)
            kept.append(replace(remark, end_s=min(ends, lasts)))
    return kept


@dataclass(frozen=True)
class Moment:
    """A usable annotation. ``is_good``: a good execution (True), a tip (False), a remark (None)."""

    item_id: str
    take_id: str
    time_s: float
    text: str
    is_good: bool | None


def undisputed(kind: str, moments: Sequence[Moment], drops: list[DroppedRow]) -> list[Moment]:
    """The moments that nobody calls good and bad at once, each of them once."""
    by_take: dict[str, list[Moment]] = {}
    for moment in moments:
        by_take.setdefault(moment.take_id, []).append(moment)
    kept: dict[tuple[str, float, str], Moment] = {}
    for moment in moments:
        against = [
            other.item_id
            for other in by_take[moment.take_id]
            if other.is_good != moment.is_good
            and abs(other.time_s - moment.time_s) <= SAME_MOMENT_S
        ]
        said = (moment.take_id, moment.time_s, moment.text)
        with dropping(drops, kind, moment.item_id):
            if against:
                good, bad = "a good execution", "a tip"
                here, there = (good, bad) if moment.is_good else (bad, good)
                detail = f"{here} here, {there} in {against[0]}: the same moment"
                raise UnusableRow("contradictory", detail)
            if said in kept:
                detail = f"says the same of the same moment as {kept[said].item_id}"
                raise UnusableRow("doubled", detail)
            kept[said] = moment
    return list(kept.values())


# ---------------------------------------------------------------------------------------- learners


def learners_of(remarks: list[Remark], drops: list[DroppedRow]) -> pl.DataFrame:
    """tables.Learners in order of id; doubled, contradictory and leaking remarks go to
    ``drops``.
    """
    kinds = {"start_s": pl.Float64, "end_s": pl.Float64, "is_mistake": pl.Boolean}
    names = ("item_id", *tables.Learners.column_names())
    schema = {name: kinds.get(name, pl.String) for name in names}
    rows = [
        {
            **{name: getattr(remark, name) for name in schema if hasattr(remark, name)},
            "comment": remark.text,
            "is_mistake": not remark.is_good,
        }
        for remark in _with_splits(_distinct(remarks, drops))
    ]
    table = _whole_groups(pl.DataFrame(rows, schema=schema, orient="row"), drops)
    return tables.Learners.validate(table.drop("item_id").sort("learner_id"), cast=True)


def _distinct(remarks: list[Remark], drops: list[DroppedRow]) -> list[Remark]:
    """One remark a learner: what others add to the first's words is added; if they contradict it,
    all go.
    """
    groups: dict[str, list[Remark]] = {}
    for remark in remarks:
        groups.setdefault(remark.learner_id, []).append(remark)
    kept = []
    for learner_id, (first, *others) in groups.items():
        if clash := next((told for other in others if (told := _contradiction(first, other))), ""):
            drops.extend(
                ("learner", remark.item_id, "contradictory", clash) for remark in (first, *others)
            )
            continue
        words = first.text
        for other in others:
            drops.append(("learner", other.item_id, "doubled", f"same moment as {learner_id}"))
            if other.text not in words:
                words += " " + other.text
        label = next((each.is_good for each in (first, *others) if each.is_good is not None), None)
        kept.append(replace(first, text=words, is_good=label))
    return kept


def _contradiction(one: Remark, other: Remark) -> str:
    """In what two remarks on the same span cannot both be right; empty when they can."""
    if None not in (one.is_good, other.is_good) and one.is_good != other.is_good:
        good, bad = (one, other) if one.is_good else (other, one)
        return (
            f"{one.learner_id} is called well done ({good.item_id}) and a mistake ({bad.item_id})"
        )
    for field in ("participant", "path", "sport", "skill", "split"):
        said = getattr(one, field), getattr(other, field)
        if said[0] != said[1] and (field != "split" or None not in said):
            return (
                f"{one.learner_id} has the {field} {said[0]!r} ({one.item_id}) and "
                f"{said[1]!r} ({other.item_id})"
            )
    return ""


# ------------------------------------------------------------------------------------------- splits


def _with_splits(remarks: list[Remark]) -> list[Remark]:
    """The same remarks, each with a split.

    Remarks that share a participant or a video belong together, also by way of a third. Where some
    of a group say a split, the others follow (the most held out, if they say several); other groups
    are dealt out by sport.
    """
    people, videos = (
        [f"p {remark.participant}" for remark in remarks],
        [f"v {remark.path}" for remark in remarks],
    )
    group_of = group_splits.join_groups(zip(people, videos, strict=True), {*people, *videos})
    said: dict[str, set[str]] = {}
    for person, remark in zip(people, remarks, strict=True):
        said.setdefault(group_of[person], set()).update({remark.split} if remark.split else ())
    chosen = {
        group: next(split for split in HELD_OUT if split in splits)
        for group, splits in said.items()
        if splits
    }
    rows = [(remark.sport, group_of[person]) for person, remark in zip(people, remarks, strict=True)
            if group_of[person] not in chosen]  # fmt: skip
    frame = pl.DataFrame(rows, schema={"sport": pl.String, "channel": pl.String}, orient="row")
    dealt, _ = group_splits.assign_splits(frame, test_fraction=TEST_SHARE, val_fraction=VAL_SHARE)
    chosen |= dealt
    return [
        replace(remark, split=remark.split or chosen[group_of[person]])
        for person, remark in zip(people, remarks, strict=True)
    ]


def _whole_groups(table: pl.DataFrame, drops: list[DroppedRow]) -> pl.DataFrame:
    """The rows without a leak: of a participant, take or video in two splits the most held-out part
    stays.

    Dropping training rows costs a model little; a test that was trained on is worth nothing.
    """
    place = pl.col("split").replace_strict(HELD_OUT, range(len(HELD_OUT)), return_dtype=pl.Int64)
    for field, called in (("participant", "participant"), ("take_id", "take"), ("path", "video")):
        marked = table.with_columns(stays=pl.col("split").sort_by(place).first().over(field))
        lost = marked.filter(pl.col("split") != pl.col("stays"))
        for item_id, name, split, kept in lost.select("item_id", field, "split", "stays").rows():
            detail = f"{called} {name!r} is in {split} and {kept}; only {kept} is kept"
            drops.append(("learner", item_id, f"{called}_in_two_splits", detail))
        table = marked.filter(pl.col("split") == pl.col("stays")).drop("stays")
    return table
