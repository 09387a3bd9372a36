"""The videos of a source, with sport, skill and captions: a folder in yt-dlp's layout, or a list of
files.

In a folder ``<name>.<ext>`` is a video, ``<name>.info.json`` its sidecar, ``<name>.<language>.vtt``
its captions (or another format that :mod:`.captions` reads).

A list is a CSV or Parquet file whose columns ``path``, ``sport`` and ``skill`` are needed. Others
may be missing or empty: ``video_id`` (made of the file's name), ``captions``
(``<name>.<language>.vtt`` beside the video), ``manual`` (true: a person made the captions),
``channel`` (a channel of its own), ``title``, ``search_term``, ``language``, ``licence``,
``upload_date`` (YYYYMMDD), ``duration_s`` (seconds). Paths are absolute, or relative to the list's
folder; names of columns may be in capitals. Cells of a CSV may be parted by commas, semicolons or
tabs, in any encoding that spreadsheets save. Rows count from 1, the header apart.

Guarantee: every video file, every sidecar and every row is either a :class:`Lesson` or a dropped
row with its reason. Sidecars and lists come from strangers: ids must be safe as file names, and
nothing in them may raise.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from datetime import date
from functools import cache, partial
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib import tables
from sportskills_lib.curation.captions.caption_reader import (
    captions_by_video,
    choose_captions,
    same_language,
)
from sportskills_lib.curation.taxonomy import shipped_taxonomy
from sportskills_lib.formats import untrusted_json
from sportskills_lib.formats.files import escape_unprintable, read_delimited
from sportskills_lib.formats.untrusted_json import UnusableRow, text
from sportskills_lib.language.coaching_words import words
from sportskills_lib.tables import DroppedRow
from sportskills_lib.video import SUFFIXES

# Words that make a search term of a skill; ours, since the paper's list is not public.
CONNECTING_WORDS = words(
    """tutorial tutorials drill drills tip tips lesson lessons technique techniques basics guide course training
    coaching instruction explained beginner beginners advanced vlog mistakes common improve learn how to do the a an
    for your in of with and proper properly form exercises"""
)
NEEDED = ("path", "sport", "skill")  # columns of a list; the others of Lesson may follow
LISTS = (".csv", ".tsv", ".parquet")
UNFINISHED = (".part", ".ytdl", ".temp")
WITHOUT_SIDECAR = (
    "films of your own are named in a CSV list with the columns path, sport, skill (captions, "
    "channel and others may "
    "follow), given as --source; a download gets one with yt-dlp --write-info-json"
)


@dataclass(frozen=True)
class Lesson:
    """A video with what its sidecar says. ``captions``: the file to read, if any; ``manual``: made
    by a person.
    """

    video_id: str
    path: Path
    title: str | None
    channel: str
    sport: str
    skill: str
    search_term: str | None
    language: str | None
    licence: str | None
    upload_date: str | None
    duration_s: float | None
    captions: Path | None
    manual: bool


_Captions = Callable[[Path], dict[str, list[Path]]]  # a folder's caption files by video
# where it stands, the id that is stated, what a detail begins with, its reader
_Candidate = tuple[str, str, str, Callable[[], Lesson]]


def find_lessons(
    source: Path, *, language: str = "en", silent: bool = False
) -> tuple[list[Lesson], list[DroppedRow]]:
    """Lessons sorted by id, and what was not usable. ValueError when the source is missing, holds
    no video, or is a list that cannot be read.

    ``silent``: videos without captions are lessons too, to be listened to.
    """
    candidates, dropped = (_in_list if source.is_file() else _in_folder)(source, language)
    lessons: dict[str, Lesson] = {}
    for place, item, begin, read in candidates:
        try:
            lesson = read()
            item = lesson.video_id
            lesson = _checked(lesson, language, silent)
            first = lessons.setdefault(lesson.video_id, lesson)
            if first is not lesson:
                raise UnusableRow(
                    "duplicate_id",
                    f"{lesson.video_id!r} is the id of {escape_unprintable(first.path.name)} too: "
                    "give one another id",
                )
        except UnusableRow as why:
            # an unsafe id names nothing, and the id of another video names that one
            named = "" if why.reason in ("bad_id", "duplicate_id") else item
            dropped.append(("video", named or place, why.reason, begin + why.detail))
    return [lessons[key] for key in sorted(lessons)], sorted(dropped)


def _checked(lesson: Lesson, language: str, silent: bool) -> Lesson:
    """The lesson, with a channel. UnusableRow with the reason where it is none."""
    if not re.fullmatch(tables.ID_PATTERN, lesson.video_id):
        raise UnusableRow(
            "bad_id",
            f"id {lesson.video_id[:80]!r} is not safe as a file name: it must be of letters, "
            "digits, _ and -",
        )
    if lesson.language and not same_language(lesson.language, language):
        raise UnusableRow("foreign_language", f"spoken in {lesson.language!r}, not in {language!r}")
    if lesson.captions is None and not silent:
        raise UnusableRow(
            "no_captions",
            f"no {escape_unprintable(lesson.path.stem)}.{language}.vtt, .srt or the like beside "
            "the video",
        )
    for name in ("sport", "skill"):
        if not getattr(lesson, name):
            raise UnusableRow(
                f"missing_{name}", f"{name} is empty: no column, tag or search term names one"
            )
    return replace(lesson, channel=lesson.channel or f"channel of {lesson.video_id}")


# ----------------------------------------------------------------------------------------- a folder


def _in_folder(folder: Path, language: str) -> tuple[list[_Candidate], list[DroppedRow]]:
    """The folder's videos, and what has none; folders whose name begins with a dot (a fetch works in
    one) are left out.
    """
    if not folder.is_dir():
        raise ValueError(
            f"source folder {folder} does not exist: name an existing folder with --source"
        )
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts[:-1])
    )
    videos = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not videos:
        raise ValueError(
            f"source folder {folder} contains no video: it needs <id>.mp4 (or "
            f"{', '.join(sorted(SUFFIXES))}) beside "
            "<id>.info.json and <id>.<language>.vtt, as yt-dlp --write-info-json --write-subs "
            "saves them"
        )
    captions = cache(captions_by_video)
    candidates: list[_Candidate] = [
        (
            escape_unprintable(path.relative_to(folder).with_suffix("").as_posix()),
            "",
            "",
            partial(_from_sidecar, path, folder, language, captions),
        )
        for path in videos
    ]
    return candidates, _without_video(files, {path.with_suffix("") for path in videos})


def _without_video(files: Iterable[Path], videos: set[Path]) -> list[DroppedRow]:
    """Dropped rows of downloads that did not finish, and of sidecars without their video."""
    dropped = list[DroppedRow]()
    for path in files:
        name = escape_unprintable(path.name)
        stem = name.removesuffix(".info.json")
        if path.suffix.lower() in UNFINISHED:
            detail = "yt-dlp did not finish it: run the download again"
            dropped.append(("file", name, "unfinished_download", detail))
        elif stem != name and path.with_suffix("").with_suffix("") not in videos:
            info = read_sidecar(path)
            if isinstance(info, str) or info.get("_type") != "playlist":
                dropped.append(("video", stem, "missing_video", "sidecar without a video"))
    return dropped


def read_sidecar(path: Path) -> dict[str, Any] | str:
    """The sidecar's object, or why it cannot be used."""
    try:
        info = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return "missing_sidecar"
    except (OSError, ValueError, RecursionError):
        return "unreadable_sidecar"
    return info if isinstance(info, dict) else "unreadable_sidecar"


def made_id(path: Path, folder: Path) -> str:
    """The file's name as an id where it is safe as one, else a safe one that begins like it.

    It is the same wherever ``folder`` lies, and whichever way the system writes an accent; files of
    one name in two folders below it have two. What somebody *states* as an id is never mended: it
    is refused.
    """
    if re.fullmatch(tables.ID_PATTERN, path.stem):
        return path.stem
    named = path.relative_to(folder) if path.is_relative_to(folder) else path
    whole = unicodedata.normalize("NFC", named.as_posix()).encode("utf-8", "surrogateescape")
    plain = unicodedata.normalize("NFKD", path.stem).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9]+", "_", plain)[:40].strip("_") or "video"
    return f"{slug}-{hashlib.sha256(whole).hexdigest()[:8]}"


def _from_sidecar(path: Path, folder: Path, language: str, captions: _Captions) -> Lesson:
    """What a sidecar says of its video. UnusableRow where it, or the video's name, cannot be
    used.
    """
    stem = escape_unprintable(path.stem)
    try:
        path.as_posix().encode()  # what is not UTF-8 cannot stand in a table
    except UnicodeEncodeError:
        detail = f"{escape_unprintable(path.name)} is not named in UTF-8: rename the file"
        raise UnusableRow("bad_name", detail) from None
    info = read_sidecar(path.with_name(f"{path.stem}.info.json"))
    if info == "missing_sidecar":
        raise UnusableRow(info, f"no {stem}.info.json beside it: {WITHOUT_SIDECAR}")
    if isinstance(info, str):
        raise UnusableRow(info, f"{stem}.info.json: download it again with --write-info-json")
    sport, skill = sport_and_skill(info)
    said, manual = choose_captions(captions(path.parent).get(path.stem, []), info, language)
    return Lesson(
        video_id=text(info.get("id")) or made_id(path, folder),
        path=path,
        title=text(info.get("title")),
        channel=text(info.get("channel_id")) or text(info.get("uploader_id")) or "",
        sport=sport or "",
        skill=skill or "",
        search_term=text(info.get("playlist_title")),
        language=text(info.get("language")),
        licence=text(info.get("license")),
        upload_date=_day(text(info.get("upload_date"))),
        duration_s=_length_s(info.get("duration")),
        captions=said,
        manual=manual,
    )


def _day(value: str | None) -> str | None:
    """The text where it is a day of the calendar as YYYYMMDD or YYYY-MM-DD (a spreadsheet may add a
    time), as YYYYMMDD; else None.
    """
    try:
        return date.fromisoformat(re.split("[T ]", value or "")[0]).isoformat().replace("-", "")
    except ValueError:
        return None


def _length_s(value: Any) -> float | None:
    found = untrusted_json.seconds(value)
    return found if found and found > 0 else None


def sport_and_skill(info: dict[str, Any]) -> tuple[str | None, str | None]:
    """Sport and skill, lower case, by the taxonomy's names where it knows them.

    They come from what a fetch noted, else from two tags [sport, skill], else from the search term
    without connecting words. A search term names the sport first: one that the tags begin with too,
    or one of the taxonomy ("table tennis"), or else its first word.
    """
    noted = info.get("sportskills") if isinstance(info.get("sportskills"), dict) else {}
    tags = info.get("tags") if isinstance(info.get("tags"), list) else []
    names = [" ".join(name.lower().split()) for tag in tags or [] if (name := text(tag))]
    if (sport := text((noted or {}).get("sport"))) and (skill := text((noted or {}).get("skill"))):
        names = [sport, skill]
    if len(names) == 2:
        return shipped_taxonomy().canonical(names[0], names[1])
    term = (text(info.get("playlist_title")) or "").lower()
    tagged = next((name for name in names if f"{term} ".startswith(f"{name} ")), None)
    known = None if tagged else shipped_taxonomy().leading_sport(term)
    if known and (skill := known[0].skill_within(known[1])):
        return known[0].name, skill
    rest = term.removeprefix(tagged) if tagged else known[1] if known else term
    named = [word for word in rest.split() if word not in CONNECTING_WORDS]
    sport = tagged or (known[0].name if known else named.pop(0) if named else None)
    skill = " ".join(named)
    return shipped_taxonomy().canonical(sport, skill) if sport and skill else (sport, skill or None)


# ------------------------------------------------------------------------------------------- a list


def _in_list(path: Path, language: str) -> tuple[list[_Candidate], list[DroppedRow]]:
    """The list's rows; what a spreadsheet saves as an empty row is left out."""
    captions = cache(captions_by_video)
    candidates: list[_Candidate] = [
        (
            f"row{number}",
            row.get("video_id", ""),
            f"row {number}: ",
            partial(_from_row, row, path.parent, language, captions),
        )
        for number, row in enumerate(_rows(path), start=1)
        if any(row.values())
    ]
    if not candidates:
        raise ValueError(f"list {path} has no rows: add one a video, with {', '.join(NEEDED)}")
    return candidates, []


def _rows(path: Path) -> list[dict[str, str]]:
    """The list's rows as texts, stripped; ValueError when it cannot be read or lacks a column."""
    kind = path.suffix.lower()
    if kind not in LISTS:
        raise ValueError(f"list {path} ends in {path.suffix!r}: name a {', '.join(LISTS)} file")
    try:
        frame = pl.read_parquet(path) if kind == ".parquet" else read_delimited(path)
        frame = frame.rename(lambda name: name.strip().lower())
        known = [each.name for each in fields(Lesson) if each.name in frame.columns]
        texts = frame.select(pl.col(known).cast(pl.String).str.strip_chars().fill_null(""))
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(
            f"list {path} cannot be read ({reason}): correct it, or save it again as CSV"
        ) from None
    if missing := [name for name in NEEDED if name not in known]:
        have = ", ".join(frame.columns) or "none"
        raise ValueError(
            f"list {path} has no column {', '.join(missing)} (it has {have}): add it to the "
            "first line"
        )
    return texts.to_dicts()


def _from_row(row: dict[str, str], folder: Path, language: str, captions: _Captions) -> Lesson:
    """What a row says of its video. UnusableRow with the reason where it cannot be used."""
    if not row["path"]:
        raise UnusableRow("missing_path", "path is empty: fill it in")
    if Path(row["path"]).suffix.lower() not in SUFFIXES:
        raise UnusableRow(
            "unknown_format",
            f"path {row['path']!r} is not a video: it must end in {', '.join(sorted(SUFFIXES))}",
        )
    path = _file(row, "path", folder, "missing_video")
    if row.get("captions"):
        said: Path | None = _file(row, "captions", folder, "no_captions")
    else:
        said, _ = choose_captions(captions(path.parent).get(path.stem, []), {}, language)
    sport, skill = (" ".join(row[name].lower().split()) for name in ("sport", "skill"))
    sport, skill = shipped_taxonomy().canonical(sport, skill)
    return Lesson(
        video_id=row.get("video_id") or made_id(folder / row["path"], folder),
        path=path,
        title=row.get("title") or None,
        channel=row.get("channel") or "",
        sport=sport,
        skill=skill,
        search_term=row.get("search_term") or None,
        language=row.get("language") or None,
        licence=row.get("licence") or None,
        upload_date=_cell(row, "upload_date", _day, "a date as YYYYMMDD"),
        duration_s=_cell(row, "duration_s", _length_s, "a number of seconds above 0"),
        captions=said,
        manual=_cell(row, "manual", untrusted_json.flag, "true or false") is not False,
    )


def _file(row: dict[str, str], name: str, folder: Path, reason: str) -> Path:
    """The file that a cell names. UnusableRow where there is none, or none can have such a name."""
    with contextlib.suppress(OSError, ValueError):
        path = (folder / row[name]).resolve()
        if path.is_file():
            return path
    raise UnusableRow(
        reason, f"{name} {row[name]!r} does not exist: it is relative to the list's folder"
    )


def _cell(row: dict[str, str], name: str, read: Callable[[str], Any], kind: str) -> Any:
    """A cell's value, None where it is empty. UnusableRow for what ``read`` knows no value of."""
    given = row.get(name)
    value = read(given) if given else None
    if given and value is None:
        raise UnusableRow(
            "bad_value", f"{name} {given!r} is not {kind}: correct it or leave it empty"
        )
    return value
