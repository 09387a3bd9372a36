"""Takes of Ego-Exo4D: who does what, and the file of an exocentric view (``takes.json``); and the
official splits (``splits.json``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sportskills_lib import tables
from sportskills_lib.formats import untrusted_json
from sportskills_lib.formats.untrusted_json import UnusableRow
from sportskills_lib.learner_data.remarks import Remark, Sports, dropping, require
from sportskills_lib.tables import DroppedRow

EXO_CAMERA = re.compile(r"(cam|gp|exo)\d*", re.IGNORECASE)
SMALL_COPIES = "downscaled/448"  # beside the full view; Ego-Exo4D's copies of 448 pixels' height
SPLIT_FILES = ("splits.json", "annotations/splits.json")


def list_takes(folder: Path) -> list[Any]:
    """The entries of ``takes.json``; ValueError where it is no list."""
    entries: list[Any] = untrusted_json.load_json(folder / "takes.json", list)
    return entries


def read_takes(
    folder: Path, sports: Sports, drops: list[DroppedRow]
) -> tuple[dict[str, Remark], dict[str, str]]:
    """Usable takes by take_uid, each as one long remark without words; and of the others, which go
    to ``drops``, the reason by take_uid.
    """
    listed: dict[str, list[Remark | None]] = {}
    takes: dict[str, Remark] = {}
    lost: dict[str, str] = {}
    for number, entry in enumerate(list_takes(folder), start=1):
        named = _object(entry)
        name = named.get("take_uid") or named.get("take_name") or f"entry{number}"
        key = untrusted_json.identity(name) or untrusted_json.preview(name)
        known = listed.setdefault(key, [])
        known.append(None)
        with dropping(drops, "take", key):
            known[-1] = _take(folder, entry, sports)
        if known[-1] is None:
            lost[key] = drops[-1][2]
    for key, (first, *others) in listed.items():
        if first and all(other == first for other in others):
            takes[key] = first
            drops.extend(("take", key, "doubled", "takes.json repeats it") for _ in others)
        elif any((first, *others)):
            lost[key] = "contradictory"
            detail = f"takes.json has {1 + len(others)} entries that differ: none is taken"
            drops.append(("take", key, "contradictory", detail))
    return takes, lost


def _take(folder: Path, entry: Any, sports: Sports) -> Remark:
    """UnusableRow with the reason where the entry gives no take."""
    show = untrusted_json.preview
    if not isinstance(entry, dict):
        raise UnusableRow("bad_row", f"takes.json: {show(entry)} is not a take")
    uid = untrusted_json.identity(entry.get("take_uid"))
    uid = require(uid, "bad_id", f"take_uid {show(entry.get('take_uid'))} is not a usable id")
    untrusted_json.require_distinct_keys(entry)
    if untrusted_json.flag(entry.get("is_dropped")):
        raise UnusableRow("dropped_take", "Ego-Exo4D has withdrawn it (is_dropped)")
    root = entry.get("root_dir")
    if not isinstance(root, str):
        root = f"takes/{untrusted_json.text(entry.get('take_name'))}"
    view = exo_view(folder, root, entry)
    lasts_s = untrusted_json.seconds(entry.get("duration_sec"))
    if lasts_s is None or lasts_s <= 0:
        shown = show(entry.get("duration_sec"))
        raise UnusableRow("no_duration", f"duration_sec {shown} is not a length in seconds")
    parent = untrusted_json.text(entry.get("parent_task_name"))
    first, skill = sport_and_skill(untrusted_json.text(entry.get("task_name")) or "", parent)
    person = untrusted_json.name(entry.get("participant_uid"))
    return Remark(
        item_id=uid,
        take_id=uid,
        participant=person.lower() if person else f"take {uid}",
        path=view,
        sport=sports.find(first, parent),
        skill=skill,
        start_s=0.0,
        end_s=lasts_s,
        text="",
        is_good=None,
        split=None,
    )


def exo_view(folder: Path, root: str, take: dict[str, Any]) -> str:
    """The file of an exocentric view relative to ``folder``; UnusableRow where there is none.

    The camera that the take calls best comes first, then the others by name; of each the full size,
    else the downscaled copy. A camera that the capture calls egocentric is none. A path that leaves
    the folder is not followed.
    """
    reason, remedy = "no_exo_view", ""
    for relative in _views(take):
        found, why = untrusted_json.find_inside(folder, f"{root}/{relative}")
        if found is not None:
            return found
        if why == "outside":
            reason = "view_outside_folder"
            remedy = "; one is outside the learners' folder: link the whole folder"
    shown = untrusted_json.preview(root)
    raise UnusableRow(reason, f"no exocentric video below {shown}{remedy}")


def _views(take: dict[str, Any]) -> Iterator[str]:
    """Relative paths of exocentric views, the best first."""
    cameras, listed = _object(take.get("frame_aligned_videos")), _object(take.get("capture"))
    known = listed.get("cameras")
    parts = [_object(one) for one in known] if isinstance(known, list) else []
    worn = {str(one.get("cam_id")) for one in parts if one.get("is_ego")}
    names = [name for name in cameras if EXO_CAMERA.fullmatch(name) and name not in worn]
    for name in sorted(names, key=lambda name: (name != take.get("best_exo"), name)):
        for stream in _object(cameras[name]).values():
            relative = _object(stream).get("relative_path")
            if isinstance(relative, str) and relative:
                yield relative
                above, _, file = relative.rpartition("/")
                yield "/".join(filter(None, (above, SMALL_COPIES, file)))
            yield f"frame_aligned_videos/{SMALL_COPIES}/{name}.mp4"


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


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


def read_splits(folder: Path) -> dict[str, str]:
    """Split by take of Ego-Exo4D's ``splits.json``, in the folder or in ``annotations``; empty
    without the file.
    """
    path = next((folder / name for name in SPLIT_FILES if (folder / name).is_file()), None)
    if path is None:
        return {}
    said = untrusted_json.load_json(path)
    by_take = said.get("take_uid_to_split", said) if isinstance(said, dict) else None
    if not isinstance(by_take, dict):
        raise ValueError(
            f"{path} has no take_uid_to_split: give Ego-Exo4D's splits.json, or remove it"
        )
    found = {take: str(split).lower() for take, split in by_take.items() if isinstance(split, str)}
    known = {take: split for take, split in found.items() if split in tables.SPLITS}
    if not known:
        raise ValueError(
            f"{path} names no take of {', '.join(tables.SPLITS)}: give Ego-Exo4D's splits.json"
        )
    return known
