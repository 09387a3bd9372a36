"""Takes of Ego-Exo4D's ``takes.json``: who does what, and the file of an exocentric view."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sportskills_lib.formats import untrusted_json
from sportskills_lib.formats.untrusted_json import Drop
from sportskills_lib.learner_data.remarks import Sports

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
    folder: Path, sports: Sports, drops: list[Drop]
) -> tuple[dict[str, EgoExoTake], dict[str, str]]:
    """Usable takes by take_uid; and of the others, which go to ``drops``, the reason by
    take_uid.
    """
    path = folder / "takes.json"
    entries = untrusted_json.load_json(path)
    if not isinstance(entries, list):
        raise ValueError(
            f"{path} holds {untrusted_json.shown(entries)}, not a list of takes: fetch it again"
        )
    takes: dict[str, EgoExoTake] = {}
    lost: dict[str, str] = {}
    for number, entry in enumerate(entries, start=1):
        found = _take(folder, entry, number, sports)
        key = found.take_id if isinstance(found, EgoExoTake) else found[1]
        if isinstance(found, EgoExoTake) and key not in takes and key not in lost:
            takes[key] = found
        elif isinstance(found, EgoExoTake) and takes.get(key) == found:
            drops.append(
                ("take", key, "doubled", f"entry {number} of takes.json says the same again")
            )
        elif isinstance(found, EgoExoTake):
            takes.pop(key, None)
            lost[key] = "contradictory"
            drops.append(
                (
                    "take",
                    key,
                    "contradictory",
                    f"entry {number} of takes.json differs from an earlier one: none is taken",
                )
            )
        else:
            lost.setdefault(key, found[2])
            drops.append(found)
            if takes.pop(key, None):
                detail = (
                    f"entry {number} of takes.json cannot be used ({found[2]}), an "
                    "earlier one could"
                )
                drops.append(("take", key, "contradictory", detail))
    return takes, lost


def _take(folder: Path, entry: Any, number: int, sports: Sports) -> EgoExoTake | Drop:
    if not isinstance(entry, dict):
        return (
            "take",
            f"entry{number}",
            "bad_row",
            f"takes.json: {untrusted_json.shown(entry)} is no take",
        )
    uid, called = (
        untrusted_json.identity(entry.get("take_uid")),
        untrusted_json.text(entry.get("take_name")),
    )
    label = uid or untrusted_json.shown(entry.get("take_uid") or called or f"entry{number}")

    def refused(reason: str, detail: str) -> Drop:
        return "take", label, reason, detail

    if uid is None:
        return refused(
            "bad_id", f"take_uid {untrusted_json.shown(entry.get('take_uid'))} is no usable id"
        )
    if isinstance(entry, untrusted_json.RepeatedKeys):
        return refused("contradictory", f"names {untrusted_json.shown(entry.others[0][0])} twice")
    if untrusted_json.flag(entry.get("is_dropped")):
        return refused("dropped_take", "Ego-Exo4D has withdrawn it (is_dropped)")
    root = entry.get("root_dir") if isinstance(entry.get("root_dir"), str) else f"takes/{called}"
    view, reason = exo_view(folder, str(root), entry)
    if view is None:
        outside = (
            "; one lies outside the learners' folder: link the whole folder"
            if reason == OUTSIDE
            else ""
        )
        return refused(reason, f"no exocentric video below {untrusted_json.shown(root)}{outside}")
    lasts_s = untrusted_json.seconds(entry.get("duration_sec"))
    if lasts_s is None or lasts_s <= 0:
        return refused(
            "no_duration",
            (
                f"duration_sec {untrusted_json.shown(entry.get('duration_sec'))} is no length in "
                "seconds"
            ),
        )
    task, parent = (
        untrusted_json.text(entry.get("task_name")) or "",
        untrusted_json.text(entry.get("parent_task_name")),
    )
    first, skill = sport_and_skill(task, parent)
    sport = sports.choose(first, parent)
    if sport is None:
        return refused("unknown_sport", sports.refusal(first, parent))
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
