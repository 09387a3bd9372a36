"""How the fetching of one id ended: a status of a few words, read from what yt-dlp says when it
fails.
"""

from __future__ import annotations

import errno
import re

# Ended for good. What a chat of strangers, an uploader or a country decides is not asked for again.
FINAL = {
    "ok": "the video and its captions are in the folder",
    "not_likely": (
        "captions hold too little instruction, so the video was not asked for; they are kept"
    ),
    "no_captions": "no captions in the language that is wanted",
    "foreign_language": "spoken in another language",
    "too_long": "longer than wanted",
    "live": "a live stream, or one that is still to come",
    "archived": "the archive file names it",
    "duplicate_id": "another item of this fetch had this id",
    "bad_id": "its id is not safe as a file name",
    "gone": "deleted, made unavailable, or never there",
    "private": "only its owner's guests may see it",
    "members_only": "only paying members may see it",
    "age_restricted": "wants a login that proves an age",
    "geo_blocked": "not shown in this country",
    "drm": "encrypted",
    "no_format": "offers no file of the size and kind that is wanted",
    "unsupported": "no page that yt-dlp can read, or a whole list of videos",
}
# Perhaps otherwise at another time: tried again in the run, and by `sportskills fetch --retry`.
TRANSIENT = {
    "rate_limited": "the server says: too many requests",
    "timed_out": "the server was too slow",
    "truncated": "the server sent less than it announced",
    "failed": "anything else; the detail has yt-dlp's words",
}
# Wants a person: cookies, another address, or a day's wait. Not tried again in the run, but by
# --retry.
BLOCKED = {
    "blocked": "the server forbids it (403)",
    "bot_check": "the server wants proof that no robot asks",
}
STATUSES = tuple(FINAL | TRANSIENT | BLOCKED)
ASKED_TOO_MUCH = ("rate_limited", "bot_check")

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
_FULL_DISK = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
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


class FullDisk(OSError):
    """There is no room left to write."""

    exit_code = 4


def raise_if_disk_is_full(error: BaseException) -> None:
    """A full disk is no id's fault: FullDisk, so that the run stops instead of failing id after
    id.
    """
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or _FULL_DISK.search(
        str(error)
    ):
        remedy = "make room and run the same command again; what was fetched is kept"
        raise FullDisk(errno.ENOSPC, f"No space left on device: {remedy}") from error
