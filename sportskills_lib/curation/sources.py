"""A folder in yt-dlp's layout, as videos with sport, skill and captions.

``<name>.<ext>`` is a video, ``<name>.info.json`` its sidecar, ``<name>.<language>.vtt`` its
captions (or another format that :mod:`.captions` reads). Guarantee: every video file, and every
sidecar, is either a :class:`Lesson` or a dropped row with its reason. Sidecars come from strangers:
their ids must be safe as file names, and nothing in them may raise.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from sportskills_lib import tables
from sportskills_lib.curation.captions.choose_file import by_video, choose_captions, same_language
from sportskills_lib.curation.taxonomy import shipped_taxonomy
from sportskills_lib.formats.files import escape_unprintable
from sportskills_lib.formats.untrusted_json import UnusableRow, seconds, text
from sportskills_lib.language.coaching_words import words
from sportskills_lib.tables import DroppedRow
from sportskills_lib.video import SUFFIXES

# Words that make a search term of a skill; ours, since the paper's list is not public.
CONNECTING_WORDS = words(
    """tutorial tutorials drill drills tip tips lesson lessons technique techniques basics guide course training
    coaching instruction explained beginner beginners advanced vlog mistakes common improve learn how to do the a an
    for your in of with and proper properly form exercises"""
)
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


def find_lessons(
    folder: Path, *, language: str = "en", silent: bool = False
) -> tuple[list[Lesson], list[DroppedRow]]:
    """Lessons sorted by id, and what was not usable. ValueError when the folder is missing or holds
    no video.

    ``silent``: videos without captions are lessons too, to be listened to.
    """
    if not folder.is_dir():
        raise ValueError(
            f"source folder {folder} does not exist: name an existing folder with --source"
        )
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not _hidden(path.relative_to(folder))
    )
    videos = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not videos:
        raise ValueError(
            f"source folder {folder} contains no video: it needs <id>.mp4 (or "
            f"{', '.join(sorted(SUFFIXES))}) beside "
            "<id>.info.json and <id>.<language>.vtt, as yt-dlp --write-info-json --write-subs "
            "saves them"
        )
    by_stem = {path.with_suffix("").as_posix(): path for path in videos}
    captions = by_video(files, by_stem)
    dropped = _files_without_video(files, by_stem)
    lessons: dict[str, Lesson] = {}
    for path in videos:
        item = escape_unprintable(path.stem)
        try:
            info = _info(path)
            item = _video_id(info, path, folder)
            own = captions.get(path.with_suffix("").as_posix(), [])
            lesson = _lesson(path, item, info, own, language, silent)
        except UnusableRow as why:
            dropped.append(("video", item, why.reason, why.detail))
            continue
        first = lessons.setdefault(lesson.video_id, lesson)
        if first is not lesson:
            detail = f"{path.name} has the id of {first.path.name}"
            dropped.append(("video", escape_unprintable(path.name), "duplicate_id", detail))
    return [lessons[key] for key in sorted(lessons)], sorted(dropped)


def _files_without_video(files: list[Path], by_stem: dict[str, Path]) -> list[DroppedRow]:
    """Dropped rows of downloads that did not finish, and of sidecars without their video."""
    dropped = list[DroppedRow]()
    for path in files:
        name = escape_unprintable(path.name)
        stem = path.as_posix().removesuffix(".info.json")
        if path.suffix.lower() in UNFINISHED:
            detail = "yt-dlp did not finish it: run the download again"
            dropped.append(("file", name, "unfinished_download", detail))
        elif path.name.endswith(".info.json") and stem not in by_stem and not _is_playlist(path):
            detail = "sidecar without a video"
            dropped.append(("video", name.removesuffix(".info.json"), "missing_video", detail))
    return dropped


def _hidden(path: Path) -> bool:
    """In a folder whose name begins with a dot, such as the one in which a fetch works."""
    return any(part.startswith(".") for part in path.parts[:-1])


def _is_playlist(sidecar: Path) -> bool:
    info = read_sidecar(sidecar)
    return isinstance(info, dict) and info.get("_type") == "playlist"


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


def _info(path: Path) -> dict[str, Any]:
    """The sidecar of a video. UnusableRow where it, or the video's name, cannot be used."""
    stem = escape_unprintable(path.stem)
    if not _storable(path):
        raise UnusableRow(
            "bad_name", f"{escape_unprintable(path.name)} is not named in UTF-8: rename the file"
        )
    info = read_sidecar(path.with_name(f"{path.stem}.info.json"))
    if info == "missing_sidecar":
        raise UnusableRow(info, f"no {stem}.info.json beside it: {WITHOUT_SIDECAR}")
    if isinstance(info, str):
        raise UnusableRow(info, f"{stem}.info.json: download it again with --write-info-json")
    return info


def _video_id(info: dict[str, Any], path: Path, folder: Path) -> str:
    video_id = text(info.get("id")) or made_id(path, folder)
    if not re.fullmatch(tables.ID_PATTERN, video_id):
        remedy = f"set another `id` in {escape_unprintable(path.stem)}.info.json"
        raise UnusableRow("bad_id", f"{video_id[:80]!r} is not safe as a file name: {remedy}")
    return video_id


def _lesson(
    path: Path, video_id: str, info: dict[str, Any], own: list[Path], language: str, silent: bool
) -> Lesson:
    """The lesson, with one of its ``own`` caption files. UnusableRow with the reason where it is
    none.
    """
    spoken = text(info.get("language"))
    if spoken and not same_language(spoken, language):
        raise UnusableRow("foreign_language", f"spoken in {spoken!r}, not in {language!r}")
    captions = choose_captions(own, info, language)
    if captions is None and not silent:
        name = f"{escape_unprintable(path.stem)}.{language}.vtt"
        raise UnusableRow("no_captions", f"no {name}, .srt or the like beside the video")
    sport, skill = sport_and_skill(info)
    if not sport or not skill:
        name = "sport" if not sport else "skill"
        raise UnusableRow(f"missing_{name}", f"neither tags nor the search term name a {name}")
    duration_s = seconds(info.get("duration"))
    channel = text(info.get("channel_id")) or text(info.get("uploader_id"))
    return Lesson(
        video_id=video_id,
        path=path,
        title=text(info.get("title")),
        channel=channel or f"channel of {video_id}",
        sport=sport,
        skill=skill,
        search_term=text(info.get("playlist_title")),
        language=spoken,
        licence=text(info.get("license")),
        upload_date=day(text(info.get("upload_date"))),
        duration_s=duration_s if duration_s and duration_s > 0 else None,
        captions=captions[0] if captions else None,
        manual=bool(captions and captions[1]),
    )


def _storable(path: Path) -> bool:
    """Whether the path can stand in a table: a name in another encoding than UTF-8 cannot."""
    try:
        path.as_posix().encode()
    except UnicodeEncodeError:
        return False
    return True


def day(value: str | None) -> str | None:
    """The text where it is a day of the calendar as YYYYMMDD, else None: of two copies the earlier
    one is kept.
    """
    try:
        return (
            value
            if value and re.fullmatch(r"\d{8}", value, re.ASCII) and date.fromisoformat(value)
            else None
        )
    except ValueError:
        return None


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
