"""YouTube, or any site that yt-dlp knows, through yt-dlp's Python interface: search, metadata,
captions, video.

yt-dlp is asked for one thing at a time, and every way in which it fails becomes :class:`Refused`
with a status. The defaults are polite: seconds between requests, more before captions and before
files, and a limit on the rate.
"""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sportskills_lib.curation.captions.caption_reader import same_language
from sportskills_lib.curation.fetch.instruction_spans import Span
from sportskills_lib.runs.errors import is_full_disk

_yt_dlp_logger = logging.getLogger("sportskills.yt_dlp")
_yt_dlp_logger.setLevel(logging.CRITICAL)  # what matters of it stands in the records

YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
WATCH = "https://www.youtube.com/watch?v="
LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")
# of a second track in one language YouTube adds an id of its own: en-eEY6OEpapPo
TRACK = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9_-]{2,20})?")


@dataclass(frozen=True, kw_only=True)
class FetchSettings:
    """What is asked for, and how politely. All values are ours."""

    language: str = "en"
    height_px: int = 480  # of the tallest file that is wanted
    max_duration_s: float = 1800.0
    min_actionable: int = 3  # sentences of instruction below which a video is not asked for
    spans_below: float = (
        0.6  # wanted spans are cut out where they are a smaller share of the video; 0: never
    )
    rate_bytes_s: float = 2_000_000.0
    sleep_s: float = 5.0  # before a file; up to three times as long, drawn at random
    sleep_requests_s: float = 1.0
    sleep_subtitles_s: float = 15.0
    timeout_s: float = 30.0
    attempts: int = 4
    back_off_s: float = 10.0  # before the second attempt; doubled for each one after
    most_refusals: int = 5  # in a row, of the kind "asked too much": then the run stops
    cookies: Path | None = None
    cookies_from_browser: str = ""
    archive: Path | None = None
    extractors: tuple[str, ...] = ("default",)

    def __post_init__(self) -> None:
        """ValueError for what yt-dlp would take without a word, or with a traceback later."""
        if not LANGUAGE.fullmatch(self.language):
            raise ValueError(
                f"--language {self.language!r} is not a language code: name one such as en, "
                "pt-BR or zh-Hans"
            )
        if self.cookies and not self.cookies.is_file():
            raise ValueError(
                f"--cookies {self.cookies} is not a file: name one in Netscape's format"
            )
        if self.archive and (self.archive.is_dir() or not self.archive.absolute().parent.is_dir()):
            raise ValueError(
                f"--archive {self.archive} can be no file: name one in a folder that is there"
            )


class Refused(Exception):
    """No answer: ``status`` is one of :data:`fetch_ledger.STATUSES`; ``wait_s`` is what the server
    asked for, or 0.
    """

    def __init__(self, status: str, detail: str, wait_s: float = 0.0):
        super().__init__(f"{status}: {detail}")
        self.status, self.detail, self.wait_s = status, detail, wait_s


# In order: the first pattern that is found decides.
_PATTERNS = (
    ("bot_check", r"not a bot|captcha|unusual traffic|po token"),
    ("rate_limited", r"HTTP Error 429|too many requests|rate-limited by YouTube|try again later"),
    ("age_restricted", r"confirm your age|age[- ]restricted|inappropriate for some users"),
    (
        "members_only",
        (
            r"members[- ]only|join this channel|available to this channel's members|requires "
            r"payment|rental"
        ),
    ),
    (
        "private",
        (
            r"private video|video is private|is private\b|granted access|only available for "
            r"registered users"
        ),
    ),
    (
        "geo_blocked",
        r"in your country|geo.?restrict|from your location|not available in your (?:region|area)",
    ),
    (
        "live",
        (
            r"premieres? in|live event will begin|live event has ended|is_upcoming|is not "
            r"currently live"
        ),
    ),
    ("drm", r"\bDRM\b"),
    ("blocked", r"HTTP Error (?:401|403|451)|blocked it|copyright|sign in\b|login required"),
    (
        "gone",
        r"HTTP Error (?:404|410)|video unavailable|is unavailable|not available|no longer "
        r"(?:available|exists?)"
        r"|has been (?:removed|deleted|terminated)|(?:was|been) removed|does not exist|account "
        r".*(?:terminated|closed)"
        r"|incomplete youtube id|truncated.{0,20} id",
    ),
    (
        "unsupported",
        r"unsupported url|is not a valid url|no suitable extractor|unable to find a suitable",
    ),
    ("no_format", r"no video formats|no formats found|only images are available"),
    ("timed_out", r"timed? ?out\b"),
    (
        "truncated",
        (
            r"bytes read|more expected|incompleteread|did not get any data blocks|downloaded "
            r"file "
            r"is empty"
        ),
    ),
)
_NO_FORMAT = re.compile(r"requested format is not available", re.IGNORECASE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LONGEST_DETAIL = 300


def status_of(text: str) -> tuple[str, str]:
    """(status, detail) of an error's text. The detail is one line, without colours and without
    counts that vary.
    """
    line = " ".join(_COLOUR.sub("", text).removeprefix("ERROR: ").split())
    if _NO_FORMAT.search(line):
        return "no_format", line[:LONGEST_DETAIL]
    status = next(
        (name for name, pattern in _PATTERNS if re.search(pattern, line, re.IGNORECASE)), "failed"
    )
    if status in ("truncated", "timed_out"):
        line = re.sub(r"\d+(?:\.\d+)?", "N", line)
    return status, line[:LONGEST_DETAIL]


@contextmanager
def _asking() -> Iterator[None]:
    """Whatever yt-dlp raises becomes Refused; a full disk, which is no video's fault, an
    OSError.
    """
    try:
        yield
    except Refused:
        raise
    except Exception as error:
        if is_full_disk(error):
            raise OSError(errno.ENOSPC, "No space left on device") from error
        status, detail = status_of(str(error) or type(error).__name__)
        raise Refused(status, detail, _wait_s(error)) from error


def _wait_s(error: BaseException) -> float:
    """Seconds that the server asks for (Retry-After), in the answer that yt-dlp's errors hold; 0
    where it asks for none.
    """
    each: Any = error
    for _ in range(8):  # a DownloadError holds an ExtractorError, which holds an HTTPError
        response = getattr(each, "response", None)
        if response is not None:
            asked = str(response.headers.get("Retry-After", "")).strip()
            return float(asked) if asked.isdigit() else 0.0
        inner = (getattr(each, "exc_info", None) or (None, None))[1]
        each = inner or getattr(each, "cause", None) or getattr(each, "__cause__", None)
    return 0.0


class Asker(AbstractContextManager["Asker"]):
    """One yt-dlp with our settings, writing below ``work``. Close it, or use it in ``with``.

    ValueError where yt-dlp cannot use the cookies, the archive or the names of extractors.
    """

    def __init__(self, settings: FetchSettings, work: Path):
        from yt_dlp import YoutubeDL
        from yt_dlp.downloader.external import FFmpegFD
        from yt_dlp.utils import YoutubeDLError

        self.settings, self.work = settings, work
        try:
            self._ydl = YoutubeDL(_options(settings, work))  # type: ignore[arg-type]
            _ = self._ydl.cookiejar  # read now, not within the first item
        except (YoutubeDLError, OSError, ValueError) as error:
            said = " ".join(str(error).removeprefix("ERROR: ").split())
            raise ValueError(
                f"{said}: correct --cookies, --cookies-from-browser, --archive or --extractor"
            ) from error
        self.cuts = bool(FFmpegFD.available())

    def __exit__(self, *_: object) -> None:
        self._ydl.close()

    def search(self, term: str, most: int) -> list[dict[str, Any]]:
        """At most ``most`` videos that YouTube finds: id, url, title, channel_id, duration (s), as
        far as known.
        """
        with _asking():
            found = (
                self._ydl.extract_info(f"ytsearch{most}:{term}", download=False, process=False)
                or {}
            )
            entries = list(found.get("entries") or [])
        kept = ("id", "url", "title", "channel_id", "duration", "live_status")
        return [
            {name: entry.get(name) for name in kept} for entry in entries if isinstance(entry, dict)
        ]

    def metadata(self, url: str) -> dict[str, Any]:
        """What yt-dlp knows of one video. Refused where the archive file names it."""
        with _asking():
            info: Any = self._ydl.extract_info(url, download=False)
        if self.settings.archive and (info is None or self._ydl.in_download_archive(info)):
            raise Refused("archived", f"named in {self.settings.archive.name}")
        if not isinstance(info, dict) or info.get("entries") is not None:
            raise Refused("unsupported", f"{url} is a list of videos: name the videos, or search")
        return info

    def captions(self, info: dict[str, Any], name: str) -> tuple[Path, bool]:
        """The captions' file ``<name>.<language>.vtt``, and whether a person made it. Refused:
        no_captions.
        """
        language, entry, manual = choose_track(info, self.settings.language)
        path = self.work / f"{name}.{language}.vtt"
        path.unlink(missing_ok=True)
        with _asking():
            if isinstance(entry.get("data"), str):
                path.write_text(entry["data"], encoding="utf-8")
            else:
                asked = {"http_headers": info.get("http_headers") or {}} | entry
                self._ydl.dl(str(path), asked, subtitle=True)
        if not path.is_file():
            raise Refused("truncated", "captions came empty")
        return path, manual

    def video(
        self, info: dict[str, Any], spans: Sequence[Span] = ()
    ) -> list[tuple[Path, Span | None]]:
        """The video's file; or of ``spans`` (seconds) one file each, where :attr:`cuts` says that
        yt-dlp can.

        A span's file begins with the first frame at or after the span's start, by its own clock
        near 0. ffmpeg cuts it and encodes it anew; it takes no notice of ``rate_bytes_s``.
        """
        from yt_dlp.utils import download_range_func

        # yt-dlp would name the video in the archive before it is installed: see archive()
        params: Any = {**self._ydl.params, "download_archive": None}
        if spans:
            for left in self.work.glob("*.part"):  # an ffmpeg that outlived a kill may still write
                left.unlink()
            params["download_ranges"] = download_range_func(None, [list(span) for span in spans])
        usual, self._ydl.params = self._ydl.params, params
        try:
            with _asking():
                known = self._ydl.sanitize_info(info, remove_private_keys=True)
                done = self._ydl.process_ie_result(known, download=True)
        finally:
            self._ydl.params = usual
        parts: list[Span | None] = [*spans] or [None]
        paths = [
            Path(each.get("filepath") or ".")
            for each in (done or {}).get("requested_downloads") or []
        ]
        if not all(path.is_file() and path.stat().st_size for path in paths):
            raise Refused("truncated", "yt-dlp ended without a file")
        if len(paths) != len(parts):
            came = f"{len(paths)} of {len(parts)} files came"
            raise Refused("no_format", f"{came}: none of the kind that is wanted")
        return list(zip(paths, parts, strict=True))

    def archive(self, info: dict[str, Any]) -> None:
        """Name the video in the archive file, where there is one."""
        self._ydl.record_download_archive(info)


def _options(settings: FetchSettings, work: Path) -> dict[str, Any]:
    """yt-dlp's options. Pictures without sound are enough, and need no other program to be
    merged.
    """
    small = f"[height<=?{settings.height_px}]"
    h264 = "[vcodec~=?'^(avc|h264)']"
    return {
        "format": f"bv*{small}{h264}/b{small}{h264}/bv*{small}/b{small}",
        "format_sort": ["vcodec:h264"],
        "outtmpl": {"default": "%(id)s.%(section_start|whole)s.%(ext)s"},
        "paths": {"home": str(work.resolve())},
        "retries": settings.attempts,
        "fragment_retries": settings.attempts,
        "extractor_retries": settings.attempts,
        "file_access_retries": 1,
        "retry_sleep_functions": {"http": lambda n: settings.back_off_s * 2 ** min(n, 6) / 10},
        "socket_timeout": settings.timeout_s,
        "ratelimit": settings.rate_bytes_s or None,
        "sleep_interval": settings.sleep_s,
        "max_sleep_interval": 3 * settings.sleep_s,
        "sleep_interval_requests": settings.sleep_requests_s,
        "sleep_interval_subtitles": settings.sleep_subtitles_s,
        "download_archive": str(settings.archive) if settings.archive else None,
        "cookiefile": str(settings.cookies) if settings.cookies else None,
        "cookiesfrombrowser": (browser,) if (browser := settings.cookies_from_browser) else None,
        "allowed_extractors": list(settings.extractors),
        "force_keyframes_at_cuts": True,
        "external_downloader_args": {
            "ffmpeg_i": ["-rw_timeout", str(round(settings.timeout_s * 1e6))]
        },  # else: never
        "noplaylist": True,
        "updatetime": False,
        "fixup": "never",
        "quiet": True,
        "noprogress": True,
        "no_color": True,
        "logger": _yt_dlp_logger,
    }


def choose_track(info: dict[str, Any], language: str) -> tuple[str, dict[str, Any], bool]:
    """Language code, yt-dlp's entry and whether a person made it, of the captions to read. Refused:
    no_captions.

    A person's captions come before recognised ones, the exact language before its variants.
    Recognised captions of a video that is spoken in another language are machine translations, and
    are not taken.
    """
    tracks = []
    for kind, manual in (("subtitles", True), ("automatic_captions", False)):
        offered = info.get(kind) or {}
        heard = [code for code in offered if code.endswith("-orig")]
        if not manual and heard and not any(same_language(code, language) for code in heard):
            continue
        for code, entries in offered.items():
            vtt = [entry for entry in entries or [] if entry.get("ext") == "vtt"]
            if vtt and TRACK.fullmatch(code) and same_language(code, language):
                tracks.append((not manual, code != language, code, vtt[-1]))
    if not tracks:
        codes = {*(info.get("subtitles") or {}), *(info.get("automatic_captions") or {})}
        shown = ", ".join(sorted(codes - {"live_chat"})[:8]) or "none"
        raise Refused("no_captions", f"no WebVTT in {language!r}; offered: {shown}")
    recognised, _, code, entry = min(tracks, key=lambda track: track[:3])
    return code, entry, not recognised
