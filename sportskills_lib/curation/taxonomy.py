"""The sports and their physical skills, from a file that people edit; and which of them a spelling
means.

The shipped list (``taxonomy.toml``) is our choice, since the paper's is not public. Two spellings
are the same when they differ by case, hyphens, apostrophes or spaces only ("push-up", "Push up").
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).with_name("taxonomy.toml")
FEWEST_SKILLS = 10
_REMEDY = (
    'it needs [[sport]], name = "judo", [sport.skills] and lines such as "hip throw" = ["hip toss"]'
)
_NAME = re.compile(r"[a-z0-9][a-z0-9 '.-]*")


class TaxonomyError(ValueError):
    """The file says something that cannot be meant; the message names file, sport, skill and
    remedy.
    """


def plain(spelling: str) -> str:
    """The spelling without case, hyphens and apostrophes: "O'Brien push-up" is "obrien push up"."""
    return " ".join(
        re.sub(r"[^\w]+", " ", spelling.lower().replace("'", "").replace("\u2019", "")).split()
    )


@dataclass(frozen=True)
class Sport:
    """``skills`` maps each skill's name to its other spellings."""

    name: str
    synonyms: tuple[str, ...]
    skills: dict[str, tuple[str, ...]]

    def spellings(self) -> tuple[str, ...]:
        """The sport's name, then its synonyms."""
        return (self.name, *self.synonyms)

    @cached_property
    def by_spelling(self) -> dict[str, str]:
        """The skill's name for every plain spelling of it."""
        return {
            plain(each): name for name, others in self.skills.items() for each in (name, *others)
        }

    def skill_within(self, text: str) -> str | None:
        """The skill that the most words in a row of ``text`` spell, or None."""
        said = plain(text).split()
        pieces = (
            (i, i + count)
            for count in range(len(said), 0, -1)
            for i in range(len(said) - count + 1)
        )
        return next(
            (
                self.by_spelling[name]
                for i, j in pieces
                if (name := " ".join(said[i:j])) in self.by_spelling
            ),
            None,
        )


@dataclass(frozen=True)
class Taxonomy:
    """All sports, in the file's order."""

    sports: tuple[Sport, ...]
    _known: dict[str, Sport] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._known.update(
            {plain(each): sport for sport in self.sports for each in sport.spellings()}
        )

    def sport(self, spelling: str) -> Sport | None:
        """The sport that the spelling means, or None."""
        return self._known.get(plain(spelling))

    def canonical(self, sport: str, skill: str) -> tuple[str, str]:
        """Our names for a sport and its skill; what is not in the taxonomy stays as it is spelt."""
        found = self.sport(sport)
        if found is None:
            return sport, skill
        return found.name, found.by_spelling.get(plain(skill), skill)

    def leading_sport(self, text: str) -> tuple[Sport, str] | None:
        """The sport whose spelling opens the text, the longest where several do, and the text after
        it.
        """
        said = plain(text).split()
        for count in range(len(said), 0, -1):
            if found := self._known.get(" ".join(said[:count])):
                return found, " ".join(said[count:])
        return None

    def select_sports(self, names: Iterable[str]) -> tuple[Sport, ...]:
        """The sports that are named, in the file's order; all of them where none is. ValueError for
        an unknown one.
        """
        wanted = list(names)
        for name in wanted:
            if self.sport(name) is None:
                known = ", ".join(sport.name for sport in self.sports)
                raise ValueError(f"the taxonomy has no sport {name!r}; it has {known}")
        kept = {sport.name for name in wanted if (sport := self.sport(name))}
        return tuple(sport for sport in self.sports if not wanted or sport.name in kept)


@cache
def shipped_taxonomy() -> Taxonomy:
    """The taxonomy that comes with the library."""
    return read_taxonomy(SHIPPED)


def read_taxonomy(path: Path) -> Taxonomy:
    """The taxonomy in a file. TaxonomyError when it cannot be read or breaks a rule; ValueError
    when it is missing.
    """
    return parse_taxonomy(taxonomy_text(path), name=path.name)


def taxonomy_text(path: Path) -> str:
    """The file's text without a byte order mark; TaxonomyError names the first line that is no
    UTF-8.
    """
    if not path.is_file():
        raise ValueError(
            f"taxonomy {path} is not an existing file: name an existing file with --taxonomy"
        )
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise TaxonomyError(
            f"{path.name}, line {line}: byte {raw[error.start]:#04x} is not UTF-8: save the "
            "file as UTF-8"
        ) from None


def parse_taxonomy(text: str, *, name: str = "taxonomy.toml") -> Taxonomy:
    """The taxonomy that ``text`` (TOML) holds; all that is wrong with it is in one TaxonomyError, a
    line each.
    """
    try:
        entries = tomllib.loads(text).get("sport")
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = text.split("\n")[int(found[1]) - 1].strip()[:60] if found else ""
        shown = f", which reads {line!r}" if line else ""
        raise TaxonomyError(f"{name} is not valid TOML: {error}{shown}: {_REMEDY}") from None
    if not isinstance(entries, list) or not entries:
        raise TaxonomyError(f"{name} contains no sport: it needs [[sport]] tables")
    sports, wrong = [], list[str]()
    for number, entry in enumerate(entries, start=1):
        problems = list(_shape(entry, number))
        wrong += problems
        if not problems:
            skills = {skill: tuple(others) for skill, others in entry["skills"].items()}
            sport = Sport(entry["name"], tuple(entry.get("synonyms", ())), skills)
            sports.append(sport)
            wrong += _sport_problems(sport)
    wrong += _repeats(
        "sport {!r}", [(sport.name, name) for sport in sports for name in sport.spellings()]
    )
    if wrong:
        raise TaxonomyError(f"{name}: " + "; ".join(wrong))
    return Taxonomy(tuple(sports))


def _shape(entry: Any, number: int) -> Iterator[str]:
    """What is missing or of the wrong type in one [[sport]] table."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        yield f'sport number {number} has no name: give it name = "…"'
        return
    label = f"sport {entry['name']!r}"
    if unknown := sorted(set(entry) - {"name", "synonyms", "skills"}):
        yield f"{label} has the unknown key {unknown[0]!r}: it may have name, synonyms, skills"
    if not _is_texts(entry.get("synonyms", [])):
        yield f"{label}: synonyms must be a list of texts"
    skills = entry.get("skills")
    if not isinstance(skills, dict):
        yield f"{label} has no skills: add a [sport.skills] table below it"
        return
    for skill, others in skills.items():
        if not _is_texts(others):
            yield (
                f"{label}, skill {skill!r}: its other spellings must be a list of texts, "
                'such as ["hip toss"]'
            )


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _sport_problems(sport: Sport) -> Iterator[str]:
    """Broken rules within one sport."""
    label = f"sport {sport.name!r}"
    for spelling in sport.spellings():
        if not _NAME.fullmatch(spelling):
            yield (
                f"{label}: {spelling!r} is not a valid name: use lower-case letters, digits, "
                "spaces and hyphens"
            )
    if len(sport.skills) < FEWEST_SKILLS:
        yield f"{label} has {len(sport.skills)} skills: it needs at least {FEWEST_SKILLS}"
    spellings = [
        (skill, name) for skill, others in sport.skills.items() for name in (skill, *others)
    ]
    for skill, name in spellings:
        if name == skill and not sport.skills[skill]:
            yield f"{label}, skill {skill!r} has no other spelling: add one"
        if not _NAME.fullmatch(name):
            yield (
                f"{label}, skill {skill!r}: {name!r} is not a valid name: use lower-case letters, "
                "digits and spaces"
            )
    yield from _repeats(f"{label}, skill {{!r}}", spellings)


def _repeats(label: str, spellings: Iterable[tuple[str, str]]) -> Iterator[str]:
    """What is wrong where a spelling of one name means another, too; ``label`` shows the name."""
    owners: dict[str, str] = {}
    for name, spelling in spellings:
        if owner := owners.get(plain(spelling)):
            yield (
                f"{label.format(name)}: {spelling!r} already means {owner!r}: keep it in one place"
            )
        owners.setdefault(plain(spelling), name)
