"""The sports and their physical skills, from a file that people edit; which of them a spelling
means; and the searches that are made of them: each skill with connecting words, each search once.

The shipped list (``taxonomy.toml``) is our choice, since the paper's is not public. Two spellings
are the same when they differ by case, hyphens, apostrophes or spaces only ("push-up", "Push up").
The connecting words are our choice, too: the paper gives only examples of its own ("tutorial",
"drills").
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SHIPPED = Path(__file__).with_name("taxonomy.toml")
FEWEST_SKILLS = 10
_REMEDY = (
    f'it needs [[sport]], name = "judo", [sport.skills] and at least {FEWEST_SKILLS} lines such as '
    '"hip throw" = ["hip toss"], in lower-case letters, digits, spaces and hyphens'
)
_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9 '.-]{0,59}$")]


class TaxonomyError(ValueError):
    """The file says something that cannot be meant; the message names file, sport, skill and
    remedy.
    """


def plain(spelling: str) -> str:
    """The spelling without case, hyphens and apostrophes: "O'Brien push-up" is "obrien push up"."""
    return " ".join(
        re.sub(r"[^\w]+", " ", spelling.lower().replace("'", "").replace("\u2019", "")).split()
    )


class Sport(BaseModel):
    """``skills`` maps each skill's name to its other spellings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Name
    synonyms: tuple[_Name, ...] = ()
    skills: dict[_Name, Annotated[tuple[_Name, ...], Field(min_length=1)]] = Field(
        min_length=FEWEST_SKILLS
    )

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

    @cached_property
    def by_spelling(self) -> dict[str, Sport]:
        """The sport for every plain spelling of it."""
        return {plain(each): sport for sport in self.sports for each in sport.spellings()}

    def sport(self, spelling: str) -> Sport | None:
        """The sport that the spelling means, or None."""
        return self.by_spelling.get(plain(spelling))

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
            if found := self.by_spelling.get(" ".join(said[:count])):
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
    return read_taxonomy()


def read_taxonomy(path: Path | None = None) -> Taxonomy:
    """The taxonomy in a file; default: the shipped one. TaxonomyError when it cannot be read or
    breaks a rule; ValueError when it is missing.
    """
    path = path or SHIPPED
    return parse_taxonomy(taxonomy_text(path), name=path.name)


def taxonomy_text(path: Path) -> str:
    """The file's text without a byte order mark; TaxonomyError where it is not UTF-8."""
    if not path.is_file():
        raise ValueError(
            f"taxonomy {path} is not an existing file: name an existing file with --taxonomy"
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaxonomyError(f"{path.name}: {error}: save the file as UTF-8") from None


def parse_taxonomy(text: str, *, name: str = "taxonomy.toml") -> Taxonomy:
    """The taxonomy that ``text`` (TOML) holds; TaxonomyError names all that is wrong with it, sport
    by sport.
    """
    try:
        entries = tomllib.loads(text).get("sport")
    except tomllib.TOMLDecodeError as error:
        raise TaxonomyError(f"{name} is not valid TOML: {error}: {_REMEDY}") from None
    if not isinstance(entries, list) or not entries:
        raise TaxonomyError(f"{name} contains no sport: {_REMEDY}")
    sports, wrong = list[Sport](), list[str]()
    for number, entry in enumerate(entries, start=1):
        try:
            sports.append(Sport.model_validate(entry))
        except ValidationError as error:
            label = entry.get("name", number) if isinstance(entry, dict) else number
            wrong += [
                f"sport {label!r}, {', '.join(map(str, each['loc']))}: {each['msg']}"
                for each in error.errors()
            ]
    wrong += _repeats(
        "sport {!r}", ((sport.name, name) for sport in sports for name in sport.spellings())
    )
    for sport in sports:
        skills = (
            (skill, each) for skill, others in sport.skills.items() for each in (skill, *others)
        )
        wrong += _repeats(f"sport {sport.name!r}, skill {{!r}}", skills)
    if wrong:
        raise TaxonomyError(f"{name}: {'; '.join(wrong)}: {_REMEDY}")
    return Taxonomy(tuple(sports))


def _repeats(label: str, spellings: Iterable[tuple[str, str]]) -> Iterator[str]:
    """What is wrong where a spelling of one name means another, too; ``label`` shows the name."""
    owners: dict[str, str] = {}
    for name, spelling in spellings:
        if owner := owners.get(plain(spelling)):
            yield (
                f"{label.format(name)}: {spelling!r} already means {owner!r}: keep it in one place"
            )
        owners.setdefault(plain(spelling), name)


# ------------------------------------------------------------------------------------- search terms

# "{skill}" stands for sport and skill; what has none follows them.
CONNECTORS = (
    "tutorial",
    "drills",
    "technique",
    "tips",
    "lesson",
    "basics",
    "for beginners",
    "common mistakes",
    "coaching",
    "how to {skill}",
    "improve your {skill}",
    "{skill} explained",
)


@dataclass(frozen=True)
class SearchTerm:
    """A search, and the sport and skill that it was made for."""

    term: str
    sport: str
    skill: str


def search_terms(
    sports: Iterable[Sport], *, connectors: Sequence[str] = CONNECTORS, synonyms: bool = True
) -> list[SearchTerm]:
    """Searches in order of sport, skill, spelling and connector, no two the same but for case and
    hyphens.

    ``synonyms``: search for a skill's other spellings too. The sport is named in every search,
    once: the same skill name means different things in different sports ("drive").
    """
    found: dict[str, SearchTerm] = {}
    for sport in sports:
        for skill, others in sport.skills.items():
            for spelling in (skill, *(others if synonyms else ())):
                topic = spelling if _names(spelling, sport) else f"{sport.name} {spelling}"
                for connector in connectors:
                    term = _joined(topic, connector)
                    if term:
                        found.setdefault(plain(term), SearchTerm(term, sport.name, skill))
    return list(found.values())


def counts_by_sport(sports: Iterable[Sport]) -> list[tuple[str, int, int, int]]:
    """(sport, skills, spellings of skills, searches) for each sport, in order. A search belongs to
    one sport only.
    """
    chosen = list(sports)
    made = Counter(each.sport for each in search_terms(chosen))
    return [
        (
            sport.name,
            len(sport.skills),
            sum(1 + len(others) for others in sport.skills.values()),
            made[sport.name],
        )
        for sport in chosen
    ]


def _names(spelling: str, sport: Sport) -> bool:
    """The skill's spelling names its sport already ("100m hurdles start")."""
    return any(f" {plain(name)} " in f" {plain(spelling)} " for name in sport.spellings())


def _joined(topic: str, connector: str) -> str:
    """Topic and connector; empty where the connector says the topic's last word again ("hip turn
    drill drills").
    """
    if "{skill}" in connector:
        return connector.replace("{skill}", topic)
    last, first = plain(topic).split()[-1], plain(connector).split()[0]
    return "" if last.removesuffix("s") == first.removesuffix("s") else f"{topic} {connector}"
