"""From experts' remarks to learners: doubled and contradictory ones, and splits that hold whole
participants.

Every reader gives :class:`Remark`s; what makes a learner of them is the same for all formats.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import polars as pl

from sportskills_lib import group_splits, tables
from sportskills_lib.learner_data.exact_questions import TEST_SHARE, VAL_SHARE
from sportskills_lib.tables import DroppedRow

HELD_OUT = ("test", "val", "train")  # whoever stands in two splits stays in the first of these


@dataclass(frozen=True)
class Remark:
    """What an expert said of one span of one video. ``item_id`` is how a dropped row calls it."""

    item_id: str
    owner: str  # learner_id is this and the span
    take_id: str
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
        """The id from the owner and the span."""
        return tables.span_id(self.owner, self.start_s, self.end_s)


class Sports:
    """The library's sports, by any spelling that differs in case, hyphens or spaces only; all
    sports when None.
    """

    def __init__(self, sports: Iterable[str] | None):
        self._known = None if sports is None else {_plain(sport): sport for sport in sports}

    def choose(self, *names: str | None) -> str | None:
        """The first name that is a sport of the library, as the library spells it; else None."""
        given = [name.lower() for name in names if name]
        if self._known is None:
            return given[0] if given else None
        return next(
            (self._known[_plain(name)] for name in given if _plain(name) in self._known), None
        )

    def refusal(self, *names: str | None) -> str:
        """Why none of the names is a sport of the library."""
        known = sorted((self._known or {}).values())
        first = next((name for name in names if name), "")
        near = difflib.get_close_matches(first.lower(), known, n=1)
        meant = f"; is {near[0]!r} meant?" if near else ""
        return (
            f"the library has no sport {first!r} (it has "
            f"{', '.join(known[:5])}{' …' if known[5:] else ''}){meant}"
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


def learners_of(remarks: list[Remark], drops: list[DroppedRow]) -> pl.DataFrame:
    """tables.Learners in order of id; doubled, contradictory and leaking remarks go to
    ``drops``.
    """
    kept = _whole_groups(_with_splits(_distinct(remarks, drops)), drops)
    kinds = {"start_s": pl.Float64, "end_s": pl.Float64, "is_mistake": pl.Boolean}
    schema = {name: kinds.get(name, pl.String) for name in tables.Learners.column_names()}
    rows = [
        {
            **{name: getattr(remark, name) for name in schema if hasattr(remark, name)},
            "comment": remark.text,
            "is_mistake": not remark.is_good,
        }
        for remark in kept
    ]
    return tables.Learners.validate(
        pl.DataFrame(rows, schema=schema, orient="row").sort("learner_id"), cast=True
    )


# --------------------------------------------------------------------------------- doubled and torn


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
    for field in ("participant", "path", "sport", "skill"):
        said = getattr(one, field), getattr(other, field)
        if said[0] != said[1]:
            return (
                f"{one.learner_id} has the {field} {said[0]!r} ({one.item_id}) and "
                f"{said[1]!r} ({other.item_id})"
            )
    if one.split and other.split and one.split != other.split:
        return (
            f"{one.learner_id} is in {one.split} ({one.item_id}) and {other.split} "
            f"({other.item_id})"
        )
    return ""


# ------------------------------------------------------------------------------------------- splits


def _with_splits(remarks: list[Remark]) -> list[Remark]:
    """The same remarks, each with a split.

    Remarks that share a participant or a video belong together, also by way of a third. Where some
    of a group say a split, the others follow (the most held out, if they say several); other groups
    are dealt out by sport.
    """
    if all(remark.split for remark in remarks):
        return remarks
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


def _whole_groups(remarks: list[Remark], drops: list[DroppedRow]) -> list[Remark]:
    """The remarks without a leak: of a participant, take or video in two splits the most held-out
    part stays.

    Dropping training rows costs a model little; a test that was trained on is worth nothing.
    """
    for field, called in (("participant", "participant"), ("take_id", "take"), ("path", "video")):
        splits: dict[str, set[str | None]] = {}
        for remark in remarks:
            splits.setdefault(getattr(remark, field), set()).add(remark.split)
        stays = {
            name: next(each for each in HELD_OUT if each in found) for name, found in splits.items()
        }
        kept = []
        for remark in remarks:
            name = getattr(remark, field)
            if remark.split == stays[name]:
                kept.append(remark)
            else:
                detail = (
                    f"{called} {name!r} is in {remark.split} and {stays[name]}; only "
                    f"{stays[name]} is kept"
                )
                drops.append(("learner", remark.item_id, f"{called}_in_two_splits", detail))
        remarks = kept
    return remarks
