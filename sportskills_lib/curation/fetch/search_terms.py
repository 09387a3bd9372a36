"""From the taxonomy to what is searched for: each skill with connecting words, each search once.

The connecting words are our choice, since the paper gives only examples of its own ("tutorial",
"drills").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sportskills_lib.curation.taxonomy import Sport, plain

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
