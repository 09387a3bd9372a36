"""Sentences of the golf transcripts, cut by a small reader of their own, and the drawing of those
labelled by hand.

The reader is apart from the library's on purpose: the labels must keep their meaning when the
library's caption readers change. A sentence is known by its file, its number in the file and the
time of the line in which it starts; a digest of its words tells whether file and reader are still
those that were labelled.

The labels (``golf_labels.csv``) were set by one person before any judge saw the sentences, by this
rule. *Actionable*: the sentence itself names a movement, a position (of body, club, ball, eyes or
attention) or a step of a drill, as something to do, as something shown or as a fault, in any person
and mood ("I want my toes straight", "he was oversliding"), so that a learner could do it, check it
or avoid it. *Not*: greetings, promotion, announcements ("tip four, ball position"), what will be
shown, stories, praise, questions, where the ball flies, choice or purchase of equipment, benefits
alone, and sentences whose only content is a pronoun ("you don't want to do that"). Neighbouring
sentences resolve pronouns and add nothing.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SEED_NAME = "golf sentences 2026"
STAMP = re.compile(r"^\[([\d:.]+)s?(?:\s*-\s*[\d:.]+s?)?\]\s*(.*)$")
END = re.compile(r"[.?!…]+[\"'”’)\]]*$")
LONGEST_UNPUNCTUATED = 20  # words


@dataclass(frozen=True)
class Said:
    """One sentence of a transcript."""

    file: str
    number: int
    start_s: float
    text: str

    @property
    def digest(self) -> str:
        """Twelve hex digits that stand for the words."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    @property
    def half(self) -> str:
        """ "tuned" or "held": whole files, by a digest of the name. Rules are changed by looking at
        "tuned" only.
        """
        return ("tuned", "held")[
            hashlib.sha256(f"{SEED_NAME} {self.file}".encode()).digest()[0] % 2
        ]


def seconds(stamp: str) -> float:
    """``0:01:02.5`` or ``62.5`` as seconds."""
    total = 0.0
    for part in stamp.split(":"):
        total = 60 * total + float(part)
    return total


def sentences(path: Path) -> list[Said]:
    """All sentences of one transcript, in order. A change of speaker (``>>``) ends one."""
    words: list[tuple[float, str]] = []
    time_s: float | None = None
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(("#", "---", "**")):
            time_s = None
            continue
        if found := STAMP.match(line):
            time_s, line = seconds(found[1]), found[2]
        if time_s is not None:
            text = line.replace("&#39;", "'").replace("&quot;", '"').replace("&gt;", ">")
            words += [(time_s, word) for word in text.split()]
    punctuated = 40 * sum(bool(END.search(word)) for _, word in words) >= len(words)
    found_all: list[list[tuple[float, str]]] = [[]]
    for start_s, word in words:
        if word == ">>":
            found_all.append([])
            continue
        found_all[-1].append((start_s, word))
        if END.search(word) if punctuated else len(found_all[-1]) >= LONGEST_UNPUNCTUATED:
            found_all.append([])
    return [
        Said(path.name, number, said[0][0], " ".join(word for _, word in said))
        for number, said in enumerate([said for said in found_all if said])
    ]


def drawn(folder: Path, count: int) -> list[Said]:
    """``count`` sentences of at least three words, each as likely as any other, by the named
    seed.
    """
    every = [
        said
        for path in sorted(folder.glob("*.md"))
        for said in sentences(path)
        if len(said.text.split()) >= 3
    ]
    seed = int.from_bytes(hashlib.sha256(SEED_NAME.encode()).digest()[:8], "big")
    places = np.random.default_rng(seed).choice(len(every), size=count, replace=False)
    return [every[place] for place in sorted(places)]
