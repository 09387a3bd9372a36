"""A CSV or Parquet list of files, as videos with sport, skill and captions.

Columns: ``path``, ``sport`` and ``skill`` are needed. Others may be missing or empty: ``video_id``
(made of the file's name), ``captions`` (``<name>.<language>.vtt`` beside the video), ``manual``
(true: a person made the captions),
``channel`` (a channel of its own), ``title``, ``search_term``, ``language``, ``licence``,
``upload_date`` (YYYYMMDD),
``duration_s`` (seconds). Paths are absolute, or relative to the list's folder; names of columns may
be in capitals. Cells of a CSV may be parted by commas, semicolons or tabs, in any encoding that
spreadsheets save. A list that cannot be read is a ValueError; a row that cannot be used is dropped,
and its detail names row, value and remedy. Rows count from 1, the header apart.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from sportskills_lib import tables
from sportskills_lib.curation.captions.choose_file import by_video, choose_captions, same_language
from sportskills_lib.curation.sources import Lesson, day, find_lessons, made_id
from sportskills_lib.curation.taxonomy import shipped_taxonomy
from sportskills_lib.formats import untrusted_json
from sportskills_lib.formats.files import read_delimited
from sportskills_lib.formats.untrusted_json import UnusableRow
from sportskills_lib.tables import DroppedRow
from sportskills_lib.video import SUFFIXES

NEEDED = ("path", "sport", "skill")
OPTIONAL = (
    *(
        "video_id",
        "captions",
        "manual",
        "channel",
        "title",
        "search_term",
        "language",
        "licence",
        "upload_date",
    ),
    "duration_s",
)
LISTS = (".csv", ".tsv", ".parquet")


def find_sources(
    source: Path, *, language: str = "en", silent: bool = False
) -> tuple[list[Lesson], list[DroppedRow]]:
    """Lessons of a folder in yt-dlp's layout, or of a list of files; and what was not usable.

    ``silent``: videos without captions are lessons too, to be listened to.
    """
    return (read_list if source.is_file() else find_lessons)(
        source, language=language, silent=silent
    )


def read_list(
    path: Path, *, language: str = "en", silent: bool = False
) -> tuple[list[Lesson], list[DroppedRow]]:
    """Lessons sorted by id, and a dropped row for every row that cannot be used. ValueError for an
    unusable list.
    """
    lessons: dict[str, Lesson] = {}
    rows: dict[str, int] = {}
    dropped: list[DroppedRow] = []
    for number, row in enumerate(_rows(path), start=1):
        if not any(row.values()):
            continue  # a spreadsheet's empty row
        stated = row.get("video_id", "")
        item = stated if re.fullmatch(tables.ID_PATTERN, stated) else f"row{number}"
        try:
            lesson = _lesson(path.parent, row, language, silent)
        except UnusableRow as why:
            dropped.append(("video", item, why.reason, f"row {number}: {why.detail}"))
            continue
        name = lesson.video_id
        if name in lessons:
            detail = (
                f"row {number}: {name!r} is the id of row {rows[name]} too: give one another id"
            )
            dropped.append(("video", f"row{number}", "duplicate_id", detail))
        else:
            lessons[name], rows[name] = lesson, number
    if not lessons and not dropped:
        raise ValueError(f"list {path} has no rows: add one a video, with {', '.join(NEEDED)}")
    return [lessons[key] for key in sorted(lessons)], sorted(dropped)


def _rows(path: Path) -> list[dict[str, str]]:
    """The list's rows as texts, stripped; ValueError when it cannot be read or lacks a column."""
    if path.suffix.lower() not in LISTS:
        raise ValueError(f"list {path} ends in {path.suffix!r}: name a {', '.join(LISTS)} file")
    try:
        frame = pl.read_parquet(path) if path.suffix.lower() == ".parquet" else read_delimited(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(
            f"list {path} cannot be read ({reason}): correct it, or save it again as CSV"
        ) from None
    names = [name.strip().lower() for name in frame.columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"list {path} has the column {twice[0]!r} twice: remove one")
    frame = frame.rename(dict(zip(frame.columns, names, strict=True)))
    if missing := [name for name in NEEDED if name not in frame.columns]:
        have = ", ".join(frame.columns) or "none"
        raise ValueError(
            f"list {path} has no column {', '.join(missing)} (it has {have}): add it to the "
            "first line"
        )
    if nested := [
        name
        for name, kind in frame.schema.items()
        if kind.is_nested() and name in (*NEEDED, *OPTIONAL)
    ]:
        raise ValueError(
            f"list {path}: column {nested[0]} holds {frame.schema[nested[0]]}: it must hold "
            "plain values"
        )
    kept = [name for name in (*NEEDED, *OPTIONAL) if name in frame.columns]
    texts = frame.select(pl.col(kept).cast(pl.String).str.strip_chars().fill_null(""))
    return texts.to_dicts()


def _lesson(folder: Path, row: dict[str, str], language: str, silent: bool) -> Lesson:
    """The row's lesson. UnusableRow with the reason where it is none."""
    for name in NEEDED:
        if not row[name]:
            raise UnusableRow(f"missing_{name}", f"{name} is empty: fill it in")
    if Path(row["path"]).suffix.lower() not in SUFFIXES:
        raise UnusableRow(
            "unknown_format",
            f"path {row['path']!r} is not a video: it must end in {', '.join(sorted(SUFFIXES))}",
        )
    path = _file(folder, row["path"])
    if path is None:
        raise UnusableRow(
            "missing_video",
            f"path {row['path']!r} does not exist: it is relative to the list's folder",
        )
    video_id = row.get("video_id") or made_id(folder / row["path"], folder)
    if not re.fullmatch(tables.ID_PATTERN, video_id):
        remedy = "write another, of letters, digits, _ and -, or leave it empty"
        raise UnusableRow("bad_id", f"id {video_id[:80]!r} is not safe as a file name: {remedy}")
    spoken = row.get("language") or None
    if spoken and not same_language(spoken, language):
        raise UnusableRow("foreign_language", f"spoken in {spoken!r}, not in {language!r}")
    captions = _captions(folder, path, row, language, silent)
    sport, skill = (" ".join(row[name].lower().split()) for name in ("sport", "skill"))
    sport, skill = shipped_taxonomy().canonical(sport, skill)
    return Lesson(
        video_id=video_id,
        path=path,
        title=row.get("title") or None,
        channel=row.get("channel") or f"channel of {video_id}",
        sport=sport,
        skill=skill,
        search_term=row.get("search_term") or None,
        language=spoken,
        licence=row.get("licence") or None,
        upload_date=_date(row.get("upload_date", "")),
        duration_s=_duration_s(row.get("duration_s", "")),
        captions=captions,
        manual=_flag(row.get("manual", "")),
    )


def _file(folder: Path, named: str) -> Path | None:
    """The file, or None where there is none, or no file can have such a name."""
    try:
        path = (folder / named).resolve()
        return path if path.is_file() else None
    except (OSError, ValueError):
        return None


def _captions(
    folder: Path, video: Path, row: dict[str, str], language: str, silent: bool
) -> Path | None:
    """The captions' file. UnusableRow where there is none, unless the row names none and ``silent``
    videos are lessons.
    """
    if named := row.get("captions"):
        path = _file(folder, named)
        if path is None:
            raise UnusableRow(
                "no_captions",
                f"captions {named!r} do not exist: correct the path, or leave it empty",
            )
        return path
    stem = video.with_suffix("").as_posix()
    beside = by_video(sorted(video.parent.iterdir()), [stem]).get(stem, [])
    choice = choose_captions(beside, {}, language)
    if choice is None and not silent:
        remedy = "name the file under captions"
        raise UnusableRow(
            "no_captions", f"no captions of {video.stem} in {language} beside it: {remedy}"
        )
    return choice[0] if choice else None


def _duration_s(text: str) -> float | None:
    value = untrusted_json.seconds(text)
    if text and (value is None or value <= 0):
        raise UnusableRow(
            "bad_value", f"duration_s {text!r} is not a number of seconds above 0: correct it"
        )
    return value


def _date(text: str) -> str | None:
    """The day as YYYYMMDD, which a spreadsheet may have written as YYYY-MM-DD."""
    date = day(re.sub(r"^(\d{4})-(\d\d)-(\d\d)(?:[T ].*)?$", r"\1\2\3", text))
    if text and not date:
        raise UnusableRow(
            "bad_value",
            f"upload_date {text!r} is not a date as YYYYMMDD: correct it or leave it empty",
        )
    return date


def _flag(text: str) -> bool:
    manual = untrusted_json.flag(text or "true")
    if manual is None:
        raise UnusableRow(
            "bad_value", f"manual {text!r} is neither true nor false: correct it or leave it empty"
        )
    return manual
