"""A CSV or Parquet list of files, as videos with sport, skill and captions.

Columns: ``path``, ``sport`` and ``skill`` are needed. Others may be missing or empty: ``video_id`` (the file's name),
``captions`` (``<name>.<language>.vtt`` beside the video), ``manual`` (true: a person made the captions), ``channel`` (a
channel of its own), ``title``, ``search_term``, ``language``, ``licence``, ``upload_date`` (YYYYMMDD), ``duration_s``
(seconds). Paths are absolute, or relative to the list's folder. A list that cannot be read is a ValueError; a row
that cannot be used is dropped, and its detail names row, value and remedy. Rows count from 1, the header apart.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib import tables
from sportskills_lib.curation.caption_files import by_video, choose_captions, same_language
from sportskills_lib.curation.sources import DroppedRow, Lesson, find_lessons
from sportskills_lib.curation.taxonomy import shipped
from sportskills_lib.video import SUFFIXES

NEEDED = ("path", "sport", "skill")
OPTIONAL = (
    *("video_id", "captions", "manual", "channel", "title", "search_term", "language", "licence", "upload_date"),
    "duration_s",
)
LISTS = (".csv", ".parquet")


def find_sources(source: Path, *, language: str = "en", silent: bool = False) -> tuple[list[Lesson], list[DroppedRow]]:
    """Lessons of a folder in yt-dlp's layout, or of a list of files; and what was not usable.

    ``silent``: videos without captions are lessons too, to be listened to.
    """
    return (read_list if source.is_file() else find_lessons)(source, language=language, silent=silent)


def read_list(path: Path, *, language: str = "en", silent: bool = False) -> tuple[list[Lesson], list[DroppedRow]]:
    """Lessons sorted by id, and a dropped row for every row that cannot be used. ValueError for an unusable list."""
    lessons: dict[str, Lesson] = {}
    rows: dict[str, int] = {}
    dropped: list[DroppedRow] = []
    for number, row in enumerate(_rows(path), start=1):
        found = _lesson(path.parent, row, number, language, silent)
        if isinstance(found, Lesson) and found.video_id in lessons:
            detail = (
                f"row {number}: {found.video_id!r} is the id of row {rows[found.video_id]} too: give one another id"
            )
            found = ("video", f"row{number}", "duplicate_id", detail)
        if isinstance(found, Lesson):
            lessons[found.video_id], rows[found.video_id] = found, number
        else:
            dropped.append(found)
    if not lessons and not dropped:
        raise ValueError(f"list {path} has no rows: add one a video, with {', '.join(NEEDED)}")
    return [lessons[key] for key in sorted(lessons)], sorted(dropped)


def _rows(path: Path) -> list[dict[str, str]]:
    """The list's rows as texts, stripped; ValueError when it cannot be read or lacks a column."""
    if path.suffix.lower() not in LISTS:
        raise ValueError(f"list {path} ends in {path.suffix!r}: name a {' or '.join(LISTS)} file")
    try:
        if path.suffix.lower() == ".csv":
            frame = pl.read_csv(path, infer_schema=False, encoding="utf8", truncate_ragged_lines=False)
        else:
            frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"list {path} cannot be read ({reason}): mend it, or save it again as UTF-8 CSV") from None
    names = [name.lstrip("\ufeff").strip() for name in frame.columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"list {path} has the column {twice[0]!r} twice: take one out")
    frame = frame.rename(dict(zip(frame.columns, names, strict=True)))
    if missing := [name for name in NEEDED if name not in frame.columns]:
        have = ", ".join(frame.columns)
        raise ValueError(f"list {path} has no column {', '.join(missing)} (it has {have}): add it")
    if nested := [name for name, kind in frame.schema.items() if kind.is_nested() and name in (*NEEDED, *OPTIONAL)]:
        raise ValueError(f"list {path}: column {nested[0]} holds {frame.schema[nested[0]]}: it must hold plain values")
    kept = [name for name in (*NEEDED, *OPTIONAL) if name in frame.columns]
    texts = frame.select(pl.col(kept).cast(pl.String).str.strip_chars().fill_null(""))
    return texts.to_dicts()


def _lesson(folder: Path, row: dict[str, str], number: int, language: str, silent: bool) -> Lesson | DroppedRow:
    def refused(reason: str, detail: str) -> DroppedRow:
        return "video", row.get("video_id") or f"row{number}", reason, f"row {number}: {detail}"

    for name in NEEDED:
        if not row[name]:
            return refused(f"missing_{name}", f"{name} is empty: fill it in")
    path = (folder / row["path"]).resolve()
    if path.suffix.lower() not in SUFFIXES:
        return refused(
            "unknown_format", f"path {row['path']!r} is no video: it must end in {', '.join(sorted(SUFFIXES))}"
        )
    if not path.is_file():
        return refused("missing_video", f"path {row['path']!r} does not exist: mend it (relative to the list's folder)")
    video_id = row.get("video_id") or path.stem
    if not re.fullmatch(tables.ID_PATTERN, video_id):
        return "video", f"row{number}", "bad_id", f"row {number}: id {video_id[:80]!r} is not safe as a file name"
    spoken = row.get("language") or None
    if spoken and not same_language(spoken, language):
        return refused("foreign_language", f"spoken in {spoken!r}; {language!r} is wanted")
    captions = _captions(folder, path, row, language)
    if isinstance(captions, str) and (row.get("captions") or not silent):
        return refused("no_captions", captions)
    try:
        duration_s, manual = _duration_s(row.get("duration_s", "")), _flag(row.get("manual", ""))
    except ValueError as error:
        return refused("bad_value", str(error))
    sport, skill = shipped().canonical(*(" ".join(row[name].lower().split()) for name in ("sport", "skill")))
    others: dict[str, Any] = {
        name: row.get(name) or None for name in ("title", "search_term", "licence", "upload_date")
    }
    return Lesson(
        video_id=video_id,
        path=path,
        channel=row.get("channel") or f"channel of {video_id}",
        sport=sport,
        skill=skill,
        language=spoken,
        duration_s=duration_s,
        captions=None if isinstance(captions, str) else captions,
        manual=manual,
        **others,
    )


def _captions(folder: Path, video: Path, row: dict[str, str], language: str) -> Path | str:
    """The captions' file, or why there is none."""
    if named := row.get("captions"):
        path = (folder / named).resolve()
        return path if path.is_file() else f"captions {named!r} do not exist: mend the path, or leave it empty"
    stem = video.with_suffix("").as_posix()
    beside = by_video(sorted(video.parent.iterdir()), [stem]).get(stem, [])
    found = choose_captions(beside, {}, language)
    return found[0] if found else f"no captions of {video.stem} in {language} beside it: name the file under captions"


def _duration_s(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ValueError(f"duration_s {text!r} is no number of seconds above 0: mend it or leave it empty")
    return value


def _flag(text: str) -> bool:
    known = {"": True, "true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in known:
        raise ValueError(f"manual {text!r} is neither true nor false: mend it or leave it empty")
    return known[text.lower()]
