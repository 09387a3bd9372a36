"""Takes of Ego-Exo4D's ``takes.json``: who does what, and the file of an exocentric view."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sportskills_lib.formats import untrusted_json
from sportskills_lib.formats.untrusted_json import UnusableRow
from sportskills_lib.learner_data.remarks import Sports
from sportskills_lib.tables import DroppedRow

EXO_CAMERA = re.compile(r"(cam|gp|exo)\d*", re.IGNORECASE)
OUTSIDE = "view_outside_folder"
SMALL_COPIES = "downscaled/448"  # beside the full view; Ego-Exo4D's copies of 448 pixels' height


@dataclass(frozen=True)
class EgoExoTake:
    """One take of the learners' folder, as its files describe it."""

    take_id: str
    participant: str
    sport: str
    skill: str | None
    path: str  # of the exocentric view, relative to the folder
    duration_s: float


def read_takes(
    folder: Path, sports: Sports, drops: list[DroppedRow]
) -> tuple[dict[str, EgoExoTake], dict[str, str]]:
    """Usable takes by take_uid; and of the others, which go to ``drops``, the reason by
    take_uid.
    """
    path = folder / "takes.json"
    entries = untrusted_json.load_json(path)
    if not isinstance(entries, list):
        raise ValueError(
            f"{path} holds {untrusted_json.preview(entries)}, not a list of takes: fetch it again"
        )
    takes: dict[str, EgoExoTake] = {}
    lost: dict[str, str] = {}
    for number, entry in enumerate(entries, start=1):
        key = _label(entry) or f"entry{number}"
        try:
            take = _take(folder, entry, sports)
        except UnusableRow as why:
            lost.setdefault(key, why.reason)
            drops.append(("take", key, why.reason, why.detail))
            if takes.pop(key, None):
                detail = (
                    f"entry {number} of takes.json is unusable ({why.reason}), an earlier is not"
                )
                drops.append(("take", key, "contradictory", detail))
            continue
        if key not in takes and key not in lost:
            takes[key] = take
        elif takes.get(key) == take:
            drops.append(("take", key, "doubled", f"entry {number} of takes.json repeats it"))
        else:
            takes.pop(key, None)
            lost[key] = "contradictory"
            detail = f"entry {number} of takes.json differs from an earlier one: none is taken"
            drops.append(("take", key, "contradictory", detail))
    return takes, lost


def _label(entry: Any) -> str:
    """What a dropped row calls the take: its uid, else its name; "" where it has neither."""
    names = (entry.get("take_uid"), entry.get("take_name")) if isinstance(entry, dict) else ()
    name = next(filter(None, names), "")
    return untrusted_json.identity(name) or (untrusted_json.preview(name) if name else "")


def _take(folder: Path, entry: Any, sports: Sports) -> EgoExoTake:
    """UnusableRow with the reason where the entry gives no take."""
    show = untrusted_json.preview
    if not isinstance(entry, dict):
        raise UnusableRow("bad_row", f"takes.json: {show(entry)} is not a take")
    uid = untrusted_json.identity(entry.get("take_uid"))
    if uid is None:
        raise UnusableRow("bad_id", f"take_uid {show(entry.get('take_uid'))} is not a usable id")
    untrusted_json.require_distinct_keys(entry)
    if untrusted_json.flag(entry.get("is_dropped")):
        raise UnusableRow("dropped_take", "Ego-Exo4D has withdrawn it (is_dropped)")
    root = entry.get("root_dir")
    if not isinstance(root, str):
        root = f"takes/{untrusted_json.text(entry.get('take_name'))}"
    view, reason = exo_view(folder, root, entry)
    if view is None:
        remedy = "; one is outside the learners' folder: link the whole folder"
        raise UnusableRow(
            reason, f"no exocentric video below {show(root)}{remedy if reason == OUTSIDE else ''}"
        )
    lasts_s = untrusted_json.seconds(entry.get("duration_sec"))
    if lasts_s is None or lasts_s <= 0:
        shown = show(entry.get("duration_sec"))
        raise UnusableRow("no_duration", f"duration_sec {shown} is not a length in seconds")
    parent = untrusted_json.text(entry.get("parent_task_name"))
    first, skill = sport_and_skill(untrusted_json.text(entry.get("task_name")) or "", parent)
    sport = sports.choose(first, parent)
    if sport is None:
        raise UnusableRow("unknown_sport", sports.refusal(first, parent))
    person = untrusted_json.name(entry.get("participant_uid"))
    return EgoExoTake(uid, person.lower() if person else f"take {uid}", sport, skill, view, lasts_s)


def exo_view(folder: Path, root: str, take: dict[str, Any]) -> tuple[str | None, str]:
    """The file of an exocentric view relative to ``folder``, or None and the reason.

    The camera that the take calls best comes first, then the others by name; of each the full size,
    else the downscaled copy. A camera that the capture calls egocentric is none. A path that leaves
    the folder is not followed.
    """
    reason = "no_exo_view"
    for relative in _views(take):
        found, why = untrusted_json.find_inside(folder, f"{root}/{relative}")
        if found is not None:
            return found, ""
        reason = OUTSIDE if why == "outside" else reason
    return None, reason


def _views(take: dict[str, Any]) -> Iterator[str]:
    """Relative paths of exocentric views, the best first."""
    cameras, capture = take.get("frame_aligned_videos"), take.get("capture")
    listed = capture.get("cameras") if isinstance(capture, dict) else None
    worn = (
        {
            str(one.get("cam_id"))
            for one in listed or ()
            if isinstance(one, dict) and one.get("is_ego")
        }
        if isinstance(listed, list)
        else set[str]()
    )
    names = [name for name in cameras if EXO_CAMERA.fullmatch(name) and name not in worn] \
        if isinstance(cameras, dict) else []  # fmt: skip
    for name in sorted(names, key=lambda name: (name != take.get("best_exo"), name)):
        streams = cameras[name] if isinstance(cameras, dict) else None
        for stream in streams.values() if isinstance(streams, dict) else ():
            relative = stream.get("relative_path") if isinstance(stream, dict) else None
            if isinstance(relative, str) and relative:
                yield relative
                above, _, file = relative.rpartition("/")
                yield "/".join(filter(None, (above, SMALL_COPIES, file)))
            yield f"frame_aligned_videos/{SMALL_COPIES}/{name}.mp4"


def sport_and_skill(task: str, parent: str | None) -> tuple[str, str | None]:
    """``"Tennis - serve"`` is (tennis, serve); a task without a dash has its parent's name as
    sport, and no skill.
    """
    sport, dash, skill = task.partition(" - ")
    if not dash:
        return (parent or task or "unknown").strip().lower(), None
    return sport.strip().lower() or (
        parent or "unknown"
    ).strip().lower(), skill.strip().lower() or None
