"""A chat model proposes more skills for the taxonomy; a person sees a diff, and accepts just that
or nothing.

What the model says is data: each proposal is checked by the taxonomy's own rules, and one that
breaks them is refused with the reason. The file's comments and order stay.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sportskills_lib.curation.taxonomy import Sport, TaxonomyError, parse_taxonomy, taxonomy_text
from sportskills_lib.formats.files import write_whole
from sportskills_lib.language.client import ChatClient
from sportskills_lib.language.prompts import AnswerShape, Prompt

PROMPT_VERSION = "taxonomy-1"
SYSTEM = "You help to list the physical skills of sports. Answer in JSON of the given schema only."
MOST_SPELLINGS = 4


class ProposedSkill(AnswerShape):
    """A skill and how else people call it."""

    name: str
    synonyms: list[str]


class ProposedSkills(AnswerShape):
    """What the model is to answer."""

    skills: list[ProposedSkill]


@dataclass(frozen=True)
class Proposal:
    """``difference`` is a unified diff of the taxonomy, empty when nothing is ``added`` (sport,
    skill); ``refused`` holds (sport, skill or empty, why).
    """

    difference: str
    added: tuple[tuple[str, str], ...]
    refused: tuple[tuple[str, str, str], ...]


def prompt_for(sport: Sport, count: int) -> Prompt:
    """The question for one sport; our words, since the paper's prompt is not public."""
    known = "\n".join(
        f"- {name} (also: {', '.join(others)})" for name, others in sport.skills.items()
    )
    user = (
        f"Sport: {sport.name}. We collect videos that teach its physical skills: movements of "
        "the body that a coach "
        f"can show and correct. Known skills:\n{known}\n\nName up to {count} more that people "
        "search lessons for. No "
        "tactics, rules, equipment or fitness in general. Lower-case English names of one to "
        "four words, each with one "
        f"to {MOST_SPELLINGS} other spellings that people use; none may be a known skill or "
        "its spelling."
    )
    return Prompt(PROMPT_VERSION, SYSTEM, user)


def propose(path: Path, sports: Sequence[Sport], client: ChatClient, *, count: int = 5) -> Proposal:
    """Ask about each sport, and keep the taxonomy with what passes its rules beside ``path``, to be
    accepted or not, with the digest of what it was made from.
    """
    before = longer = taxonomy_text(path)
    added: list[tuple[str, str]] = []
    refused: list[tuple[str, str, str]] = []
    answers = client.ask_many([prompt_for(sport, count) for sport in sports], ProposedSkills)
    for sport, answer in zip(sports, answers, strict=True):
        if answer.value is None:
            refused.append((sport.name, "", "the model gave no usable answer"))
            continue
        for skill in answer.value.skills[:count]:
            spellings = skill.name, *skill.synonyms[:MOST_SPELLINGS]
            name, *others = (" ".join(each.lower().split()) for each in spellings)
            try:
                text = add_skill(longer, sport.name, name, list(dict.fromkeys(others)))
                parse_taxonomy(text, name="the proposal")
            except TaxonomyError as error:
                refused.append((sport.name, name[:60], str(error)[:300]))
            else:
                longer = text
                added.append((sport.name, name))
    if added:
        _proposal_file(path).write_text(f"{_made_from(before)}\n{longer}", encoding="utf-8")
    return Proposal(_difference(before, longer, path.name), tuple(added), tuple(refused))


def add_skill(text: str, sport: str, skill: str, synonyms: Sequence[str]) -> str:
    """The file's text with one more line at the end of the sport's skills. TaxonomyError where the
    file spells the sport otherwise.
    """
    lines = text.split("\n")
    named = re.compile(rf'name\s*=\s*"{re.escape(sport)}"\s*(#|$)')
    at = next((i for i, line in enumerate(lines) if named.match(line)), None)
    if at is None:
        raise TaxonomyError(
            f'no line name = "{sport}": the file spells it otherwise; add the skill by hand'
        )
    end = next((i for i in range(at, len(lines)) if lines[i].startswith("[[")), len(lines))
    while not lines[end - 1].strip() or lines[end - 1].startswith("#"):
        end -= 1
    own, others = json.dumps(skill), json.dumps(list(synonyms))  # TOML quotes texts as JSON does
    return "\n".join([*lines[:end], f"{own} = {others}", *lines[end:]])


def accept(path: Path) -> str:
    """Write the kept proposal into the taxonomy and return the diff. ValueError when there is none,
    or an old one.
    """
    kept = _proposal_file(path)
    if not kept.is_file():
        raise ValueError(
            f"there is no proposal beside {path.name}: make one with `sportskills taxonomy "
            "propose` first"
        )
    first, _, text = kept.read_text(encoding="utf-8").partition("\n")
    before = taxonomy_text(path)
    if first != _made_from(before):
        raise ValueError(f"{path.name} has changed since the proposal was made: make it again")
    parse_taxonomy(text, name=kept.name)
    write_whole(path, text)
    kept.unlink()
    return _difference(before, text, path.name)


def _proposal_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.proposed")


def _made_from(text: str) -> str:
    return f"# made from {hashlib.sha256(text.encode()).hexdigest()}"


def _difference(before: str, after: str, name: str) -> str:
    lines = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return "".join(difflib.unified_diff(*lines, f"a/{name}", f"b/{name}", n=2))
