"""Caption files as timed words: WebVTT, SRT, SBV, json3, segment JSON, timestamped text.

``read_captions(path)`` is the door. Of the modules, ``cues`` holds what all formats share,
``timed_blocks``, ``json_captions`` and
``transcripts`` each parse a family of formats into cues, ``words`` turns cues into words, and
``caption_reader`` joins them.
"""

from sportskills_lib.curation.captions.caption_reader import (
    SUFFIXES,
    Captions,
    parse_captions,
    read_captions,
    read_cues,
)
from sportskills_lib.curation.captions.cues import Cue
from sportskills_lib.curation.captions.words import CaptionWord, without_tags

__all__ = [
    "SUFFIXES",
    "CaptionWord",
    "Captions",
    "Cue",
    "parse_captions",
    "read_captions",
    "read_cues",
    "without_tags",
]
