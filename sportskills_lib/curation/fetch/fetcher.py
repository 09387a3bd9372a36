"""Fetch lessons, captions first: search, metadata, captions, sentences, verdicts, and only then
pictures.

Most videos that a search finds teach nothing, and a caption file is a thousandth of a video. So a
video is asked for only when its captions hold instruction, and where yt-dlp can cut, only the spans
around it. Guarantee: each item ends in one record, on disk before the next begins; a fetch that is
killed and started again ends with the table and the files of one that was not, as long as the
servers answer the same.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dataframely as dy

from sportskills_lib import tables
from sportskills_lib.curation.captions.caption_reader import read_captions, same_language
from sportskills_lib.curation.fetch.fetch_ledger import (
    ASKED_TOO_MUCH,
    FINAL,
    TRANSIENT,
    FetchLedger,
    FetchTable,
    Record,
    write_json,
)
from sportskills_lib.curation.fetch.instruction_spans import (
    Span,
    cut_webvtt,
    find_instruction_spans,
)
from sportskills_lib.curation.fetch.youtube import (
    WATCH,
    YOUTUBE_ID,
    Asker,
    FetchSettings,
    Refused,
)
from sportskills_lib.curation.rules_judge import judge_sentence
from sportskills_lib.curation.sentences import build_sentences
from sportskills_lib.curation.taxonomy import SearchTerm
from sportskills_lib.formats.files import write_whole
from sportskills_lib.formats.untrusted_json import seconds, text
from sportskills_lib.runs.errors import RunError
from sportskills_lib.video import SUFFIXES, UnreadableVideo, probe

LONGEST_ID = 100
LONGEST_PAUSE_S = 600.0
MAX_GAP_S = 1.0  # as in 01
WHOLE = "the whole video, since no ffmpeg is installed to cut its wanted spans out"
LIVE = ("is_live", "is_upcoming")
# What the sidecar keeps of yt-dlp's metadata: addresses in the rest expire, and name whoever asked.
KEPT = (
    *("id", "title", "channel", "channel_id", "uploader_id", "duration", "language", "license"),
    *("upload_date", "tags", "categories", "ext", "webpage_url", "extractor_key", "live_status"),
    "view_count",
)
_YOUTUBE = re.compile(
    r"(?:https?://)?(?:\w+\.)?(?:youtube|youtube-nocookie|youtu)\.(?:com|be)/", re.IGNORECASE
)


@dataclass(frozen=True)
class FetchItem:
    """One video to fetch. ``name`` is safe as a file name; what a search said of it may save a
    request.
    """

    name: str
    url: str
    sport: str | None = None
    skill: str | None = None
    search_term: str | None = None
    duration_s: float | None = None
    live: bool = False


def named_item(address: str, *, sport: str | None = None, skill: str | None = None) -> FetchItem:
    """An item from a YouTube id or an address. ValueError when it is neither, or an address of many
    videos.
    """
    from yt_dlp.extractor.youtube import YoutubeIE

    address = address.strip()
    found = YoutubeIE.get_temp_id(address) or YoutubeIE.get_temp_id(f"https://{address}")
    # yt-dlp takes the first eleven of more characters, which is another video's id
    if found and re.search(rf"{found}(?![\w-])", address):
        return FetchItem(f"yt_{found}", f"{WATCH}{found}", sport, skill)
    if found or _YOUTUBE.match(address):
        raise ValueError(
            f"{address!r} does not name one YouTube video: its address looks like {WATCH}<11 "
            "letters and digits>; of a list, write the ids with `yt-dlp --flat-playlist --print id "
            f"{address} > ids.txt`, then give --from-file ids.txt"
        )
    if not re.fullmatch(r"https?://[^\s/]+/\S*", address):
        raise ValueError(f"{address!r} is neither a YouTube id nor an http address: correct it")
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(urlsplit(address).path).stem)[:40] or "page"
    return FetchItem(f"{stem}_{sha256(address.encode()).hexdigest()[:10]}", address, sport, skill)


def searched_items(
    terms: Iterable[SearchTerm], store: FetchLedger, asker: Asker, *, each: int
) -> tuple[list[FetchItem], dict[str, str]]:
    """Items that the searches find, each video once, for the first search that finds it; and why
    searches failed.

    What is found is kept, so that the same command asks only what failed. After ``most_refusals``
    in a row of the kind "asked too much" no more is asked.
    """
    items: dict[str, FetchItem] = {}
    lost: dict[str, str] = {}
    refusals = 0
    for term in terms:
        found = store.search(term.term)
        if found is None and refusals >= asker.settings.most_refusals:
            lost[term.term] = "not asked, since those before were refused"
            continue
        if found is None:
            try:
                found = _tried(partial(asker.search, term.term, each), asker.settings)
            except Refused as refused:
                lost[term.term] = str(refused)
                refusals = refusals + 1 if refused.status in ASKED_TOO_MUCH else 0
                continue
            refusals = 0
            store.keep_search(term.term, found)
        for entry in found[:each]:
            video_id = text(entry.get("id")) or ""
            if YOUTUBE_ID.fullmatch(video_id):
                item = FetchItem(
                    name=f"yt_{video_id}",
                    url=f"{WATCH}{video_id}",
                    sport=term.sport,
                    skill=term.skill,
                    search_term=term.term,
                    duration_s=seconds(entry.get("duration")),
                    live=entry.get("live_status") in LIVE,
                )
                items.setdefault(video_id, item)
    return list(items.values()), lost


def fetch(
    items: Sequence[FetchItem],
    store: FetchLedger,
    asker: Asker,
    *,
    retry: bool = False,
    report: Callable[[str], None] = print,
) -> dy.DataFrame[FetchTable]:
    """Fetch what has no record yet (``retry``: what ended for a passing reason, too), and make the
    table again.

    Call it within ``store.opened()``. RunError after ``most_refusals`` items in a row that
    servers refused because we ask too much; OSError when the disk is full. The table is written in
    either case.
    """
    owners = {each["video_id"]: each["item"] for each in store.records() if each["status"] == "ok"}
    refusals = 0
    try:
        for number, item in enumerate(items, start=1):
            before = store.record(item.name)
            if before and not (retry and before["status"] not in FINAL):
                continue
            record = _record(item)
            try:
                _tried(partial(_steps, item, record, store, asker, owners), asker.settings)
            except Refused as refused:
                record |= {"status": refused.status, "detail": refused.detail}
            store.finish(record)
            status, detail = record["status"], record["detail"]
            report(f"{number}/{len(items)} {item.name}: {status} {detail}".rstrip())
            refusals = refusals + 1 if status in ASKED_TOO_MUCH else 0
            if refusals >= asker.settings.most_refusals:
                raise RunError(
                    f"{refusals} items in a row were refused ({detail}): wait some "
                    "hours or pass cookies, then "
                    "run the same command with --retry"
                )
    finally:
        table = store.write_table()
    return table


def _record(item: FetchItem) -> Record:
    """The item's record before anything is known of its video."""
    record: Record = dict.fromkeys(FetchTable.column_names())
    record |= {"item": item.name, "url": item.url, "status": "failed", "detail": "", "files": []}
    return record | {"sport": item.sport, "skill": item.skill, "search_term": item.search_term}


def _tried(ask: Callable[[], Any], settings: FetchSettings) -> Any:
    """What ``ask`` returns; asked again, after longer and longer pauses, when it is refused for a
    passing reason.
    """
    for attempt in range(settings.attempts):
        try:
            return ask()
        except Refused as refused:
            if refused.status not in TRANSIENT or attempt + 1 >= settings.attempts:
                raise
            pause_s = max(settings.back_off_s * 2**attempt, refused.wait_s)
            time.sleep(min(pause_s, LONGEST_PAUSE_S))
    raise AssertionError("attempts must be at least 1")


def _steps(
    item: FetchItem,
    record: Record,
    store: FetchLedger,
    asker: Asker,
    owners: dict[str, str],
) -> None:
    """Fill the record and the folder. Refused at the first step that shows that the video is not
    wanted.
    """
    settings = asker.settings
    record["files"] = []
    _check_length(item.duration_s, item.live, settings)
    info = asker.metadata(item.url)
    name = _checked_id(info, record, owners)
    spoken = text(info.get("language"))
    if spoken and not same_language(spoken, settings.language):
        raise Refused("foreign_language", f"spoken in {spoken!r}; {settings.language!r} is wanted")
    _check_length(record["duration_s"], info.get("live_status") in LIVE, settings)
    said, manual = asker.captions(info, name)
    record["captions"] = "manual" if manual else "automatic"
    spans = _judged(said, record, item)
    sidecar = _sidecar(info, item, said, manual)
    if record["actionable"] < settings.min_actionable:
        write_json(store.hidden / "said" / f"{name}.info.json", sidecar)
        said.replace(store.hidden / "said" / said.name)
        detail = (
            f"{record['actionable']} of {record['sentences']} sentences instruct; "
            f"{settings.min_actionable} are wanted"
        )
        raise Refused("not_likely", detail)
    short = record["wanted_s"] < settings.spans_below * (record["duration_s"] or 0)
    files = asker.video(info, spans if short and asker.cuts else ())
    installed = {_installed(path, span, name, said, sidecar, store.folder) for path, span in files}
    asker.archive(info)
    record |= {"files": sorted(installed), "status": "ok"}
    record["detail"] = WHOLE if short and not asker.cuts else ""
    owners[name] = item.name


def _check_length(duration_s: float | None, live: bool, settings: FetchSettings) -> None:
    if live:
        raise Refused("live", "a live stream, or one that is still to come")
    if duration_s and duration_s > settings.max_duration_s:
        raise Refused(
            "too_long",
            f"lasts {duration_s:.0f} s; at most {settings.max_duration_s:.0f} s are wanted",
        )


def _checked_id(info: dict[str, Any], record: Record, owners: dict[str, str]) -> str:
    """The video's id, safe as a file name, after what the metadata says is in the record."""
    name = info["id"] if isinstance(info.get("id"), str) else ""
    if len(name) > LONGEST_ID or not re.fullmatch(tables.ID_PATTERN, name):
        raise Refused("bad_id", f"{str(info.get('id'))[:80]!r} is not safe as a file name")
    channel = text(info.get("channel_id")) or text(info.get("uploader_id"))
    record |= {"video_id": name, "title": text(info.get("title")), "channel": channel}
    record["duration_s"] = seconds(info.get("duration")) or None
    if owners.get(name, record["item"]) != record["item"]:
        raise Refused("duplicate_id", f"{name} came with {owners[name]}")
    return name


def _judged(said: Path, record: Record, item: FetchItem) -> list[Span]:
    """Spans around instruction; how much of it there is goes into the record."""
    read = read_captions(said, duration_s=record["duration_s"])
    sentences = build_sentences(read.words, max_gap_s=MAX_GAP_S)
    named = item.sport and item.skill
    topic = f"{item.sport} {item.skill}" if named else record["title"] or ""
    verdicts = [judge_sentence(each.text, topic=topic).actionable for each in sentences]
    last_s = record["duration_s"] or (sentences[-1].end_s if sentences else 0.0)
    spans = find_instruction_spans(sentences, verdicts, duration_s=last_s)
    record |= {"sentences": len(sentences), "actionable": sum(each is True for each in verdicts)}
    record["wanted_s"] = round(sum(end_s - start_s for start_s, end_s in spans), 3)
    return spans


def _sidecar(info: dict[str, Any], item: FetchItem, said: Path, manual: bool) -> dict[str, Any]:
    """What 01 reads beside a video: part of yt-dlp's metadata, and for what it was fetched."""
    track = {said.with_suffix("").suffix.removeprefix("."): [{"ext": "vtt"}]}
    own_channel = f"channel of {info['id']}"
    return {key: info[key] for key in KEPT if info.get(key) is not None} | {
        "channel_id": info.get("channel_id") or info.get("uploader_id") or own_channel,
        "playlist_title": item.search_term,
        "subtitles": track if manual else {},
        "automatic_captions": {} if manual else track,
        "sportskills": {name: getattr(item, name) for name in ("sport", "skill", "search_term")},
    }


def _installed(
    path: Path, span: Span | None, name: str, said: Path, sidecar: dict[str, Any], folder: Path
) -> str:
    """Move one file into the folder, its sidecar and captions first; the video's name there,
    relative to the folder.

    A span's file is a lesson of its own: its captions are cut to the clock of its pictures, whose
    zero is its first frame (as all who read it take it), and the sidecar says where on the video's
    clock that is.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise Refused(
            "no_format", f"the file ends in {path.suffix!r}: no kind of video that is read here"
        )
    captions, stem = said.read_text(encoding="utf-8", errors="replace"), name
    if span:
        stem = f"{name}_{round(span[0] * 1000):06d}-{round(span[1] * 1000):06d}"
        start_s = round(span[0] + _begins_s(path), 3)
        captions = cut_webvtt(captions, start_s, span[1])
        noted = sidecar["sportskills"] | {"source_id": name, "start_s": start_s, "end_s": span[1]}
        sidecar = sidecar | {
            "id": stem,
            "duration": round(span[1] - start_s, 3),
            "sportskills": noted,
        }
    write_json(folder / f"{stem}.info.json", sidecar)
    track = said.with_suffix("").suffix
    write_whole(folder / f"{stem}{track}.vtt", captions)
    path.replace(folder / f"{stem}{path.suffix.lower()}")
    return f"{stem}{path.suffix.lower()}"


def _begins_s(path: Path) -> float:
    """When a cut file's first frame is shown by the file's own clock: where no frame begins at the
    cut, after 0.
    """
    try:
        return max(0.0, probe(path, reader="pyav").start_s)
    except UnreadableVideo as error:
        raise Refused("truncated", f"what ffmpeg cut out cannot be read: {error}") from error
