"""A chat model proposes more skills for the taxonomy; a person sees a diff, and accepts just that
or nothing.

What the model says is data: each proposal is checked by the taxonomy's own rules, and one that
breaks them is refused with the reason. The file's comments and order stay.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from sportskills_lib.curation.taxonomy import Sport, TaxonomyError, parse_taxonomy, taxonomy_text
from sportskills_lib.formats.files import write_whole

PROMPT_VERSION = "taxonomy-1"
MOST_SPELLINGS = 4


class ProposedSkill(BaseModel):
    """A skill and how else people call it."""

    model_config = ConfigDict(extra="forbid")
    name: str
    synonyms: list[str]


class ProposedSkills(BaseModel):
    """What the model is to answer."""

    model_config = ConfigDict(extra="forbid")
    skills: list[ProposedSkill]


class Ask(Protocol):
    """Put one prompt to a chat model; None where there is no usable answer."""

    def __call__(self, prompt: str, schema: type[ProposedSkills], /) -> ProposedSkills | None: ...


@dataclass(frozen=True)
class Proposal:
    """``text`` is the taxonomy with the additions; ``refused`` holds (sport, skill or empty,
    why).
    """

    text: str
    added: tuple[tuple[str, str], ...]
    refused: tuple[tuple[str, str, str], ...]


def prompt_for(sport: Sport, count: int) -> str:
    """The question for one sport; our words, since the paper's prompt is not public."""
    known = "\n".join(
        f"- {name} (also: {', '.join(others)})" for name, others in sport.skills.items()
    )
    return (
        f"Sport: {sport.name}. We collect videos that teach its physical skills: movements of "
        "the body that a coach "
        f"can show and correct. Known skills:\n{known}\n\nName up to {count} more that people "
        "search lessons for. No "
        "tactics, rules, equipment or fitness in general. Lower-case English names of one to "
        "four words, each with one "
        f"to {MOST_SPELLINGS} other spellings that people use; none may be a known skill or "
        "its spelling."
    )


def propose(text: str, sports: Sequence[Sport], ask: Ask, *, count: int = 5) -> Proposal:
    """Ask about each sport and add what passes the taxonomy's rules to ``text``."""
    added: list[tuple[str, str]] = []
    refused: list[tuple[str, str, str]] = []
    for sport in sports:
        answer = ask(prompt_for(sport, count), ProposedSkills)
        if answer is None:
            refused.append((sport.name, "", "the model gave no usable answer"))
            continue
        for skill in answer.skills[:count]:
            name, *others = (
                " ".join(each.lower().split())
                for each in (skill.name, *skill.synonyms[:MOST_SPELLINGS])
            )
            try:
                longer = add_skill(text, sport.name, name, list(dict.fromkeys(others)))
                parse_taxonomy(longer, name="the proposal")
            except TaxonomyError as error:
                refused.append((sport.name, name[:60], str(error)[:300]))
            else:
                text = longer
                added.append((sport.name, name))
    return Proposal(text, tuple(added), tuple(refused))


def add_skill(text: str, sport: str, skill: str, synonyms: Sequence[str]) -> str:
    """The file's text with one more line at the end of the sport's skills. TaxonomyError for what
    is no name.
    """
    for spelling in (skill, *synonyms):
        if not re.fullmatch(r"[a-z0-9][a-z0-9 '.-]{0,59}", spelling):
            raise TaxonomyError(
                f"{spelling[:60]!r} is not a valid name: use lower-case letters, "
                "digits, spaces and hyphens"
            )
    lines = text.split("\n")
    at = next(
        (
            i
            for i, line in enumerate(lines)
            if re.match(rf'name\s*=\s*"{re.escape(sport)}"\s*(#|$)', line)
        ),
        None,
    )
    if at is None:
        raise TaxonomyError(
            f'no line name = "{sport}": the file spells it otherwise; add the skill by hand'
        )
    end = next((i for i in range(at, len(lines)) if lines[i].startswith("[[")), len(lines))
    while not lines[end - 1].strip() or lines[end - 1].startswith("#"):
        end -= 1
    others = ", ".join(f'"{each}"' for each in synonyms)
    return "\n".join([*lines[:end], f'"{skill}" = [{others}]', *lines[end:]])


def difference(before: str, after: str, name: str) -> str:
    """A unified diff; empty when nothing is added."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        f"a/{name}",
        f"b/{name}",
        n=2,
    )
    return "".join(lines)


def keep(path: Path, before: str, proposal: Proposal) -> Path:
    """Keep the proposal beside the taxonomy, with the digest of what it was made from, to be
    accepted or not.
    """
    kept = path.with_name(f"{path.name}.proposed")
    kept.write_text(f"# made from {_digest(before)}\n{proposal.text}", encoding="utf-8")
    return kept


def accept(path: Path) -> str:
    """Write the kept proposal into the taxonomy and return the diff. ValueError when there is none,
    or an old one.
    """
    kept = path.with_name(f"{path.name}.proposed")
    if not kept.is_file():
        raise ValueError(
            f"there is no proposal beside {path.name}: make one with `sportskills taxonomy "
            "propose` first"
        )
    first, _, text = kept.read_text(encoding="utf-8").partition("\n")
    before = taxonomy_text(path)
    if first != f"# made from {_digest(before)}":
        raise ValueError(f"{path.name} has changed since the proposal was made: make it again")
    parse_taxonomy(text, name=kept.name)
    write_whole(path, text)
    kept.unlink()
    return difference(before, text, path.name)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
