"""Which caption file of a video is read, where it has several.

The order: what a person made comes before what a machine heard; then the very language that is
asked for before its relatives (``en`` before ``en-GB``), and a file that names no language last;
then the format, those with times of words or sound ends first (:data:`captions.SUFFIXES`); then the
name. One file is read, never a mixture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sportskills_lib.curation.captions import SUFFIXES

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9-]+)?")


def same_language(one: str, other: str) -> bool:
    """Whether two codes name the same language, whatever their regions."""
    return re.split("[-_]", one.lower())[0] == re.split("[-_]", other.lower())[0]


def _language(path: Path) -> str | None:
    """The language in ``<name>.<language>.<suffix>``; None where the name tells none."""
    code = path.with_suffix("").suffix.removeprefix(".")
    return code if _LANGUAGE.fullmatch(code) else None


def by_video(files: Iterable[Path], stems: Iterable[str]) -> dict[str, list[Path]]:
    """Caption files by the path of the video, without its suffix, that they belong to."""
    known, said = set(stems), dict[str, list[Path]]()
    for path in files:
        if path.suffix.lower() in SUFFIXES and not path.name.endswith(
            (".info.json", ".live_chat.json")
        ):
            bare = path.with_suffix("")
            stem = next(
                (
                    name
                    for name in (bare.with_suffix("").as_posix(), bare.as_posix())
                    if name in known
                ),
                None,
            )
            if stem is not None and (stem == bare.as_posix() or _language(path)):
                said.setdefault(stem, []).append(path)
    return said


def choose_captions(
    files: list[Path], info: dict[str, Any], language: str
) -> tuple[Path, bool] | None:
    """The file to read and whether a person made it; None when none is in ``language``."""
    made = info.get("subtitles") if isinstance(info.get("subtitles"), dict) else {}
    heard = (
        info.get("automatic_captions") if isinstance(info.get("automatic_captions"), dict) else {}
    )
    found = []
    for path in files:
        code = _language(path)
        if code is None or same_language(code, language):
            manual = code in (made or {}) or code not in (heard or {})
            order = (
                not manual,
                code is None,
                code != language,
                SUFFIXES.index(path.suffix.lower()),
                path.name,
            )
            found.append((order, path, manual))
    return min(found)[1:] if found else None
