"""The taxonomy: the shipped file, what is refused, which spelling means what, searches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from films import REAL, needs_real

from sportskills_lib.curation.sources import CONNECTING_WORDS, sport_and_skill
from sportskills_lib.curation.taxonomy import (
    CONNECTORS,
    SHIPPED,
    TaxonomyError,
    counts_by_sport,
    parse_taxonomy,
    plain,
    read_taxonomy,
    search_terms,
    shipped_taxonomy,
)
from sportskills_lib.demo.skills import SPORTS

SMALL = '[[sport]]\nname = "judo"\nsynonyms = ["ju-do kwai"]\n[sport.skills]\n' + "".join(
    f'"throw {i}" = ["nage {i}"]\n' for i in range(10)
)


def test_the_shipped_file_has_55_sports_of_ten_skills_and_more() -> None:
    sports = shipped_taxonomy().sports
    assert len(sports) == 55
    assert {"judo", "sprinting", "tennis", "handball"} <= {sport.name for sport in sports}
    assert min(len(sport.skills) for sport in sports) >= 10
    assert "our choice" in SHIPPED.read_text()


def test_the_demo_worlds_names_are_the_taxonomys() -> None:
    for sport in SPORTS:
        known = shipped_taxonomy().sport(sport.name)
        assert known is not None and known.name == sport.name
        assert {skill.name for skill in sport.skills} <= set(known.skills)


@needs_real
def test_real_lessons_match() -> None:
    unknown = set()
    for path in sorted((REAL / "lessons").glob("*.info.json")):
        info = json.loads(path.read_text())
        sport, skill = sport_and_skill(info)
        untagged = sport_and_skill(info | {"tags": []})
        assert (sport, skill) == untagged or path.name.startswith("handWash")
        known = shipped_taxonomy().sport(str(sport))
        assert known is not None
        if skill not in known.skills:
            unknown.add((sport, skill))
    assert unknown == {("calisthenics", "hygiene")}  # washing hands is no skill


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (("Football", "Throw in"), ("soccer", "throw-in")),
        (("ping-pong", "Forehand Loop"), ("table tennis", "topspin loop")),
        (("judo", "O-Soto Gari"), ("judo", "osoto sweep")),
        (("judo", "unheard of"), ("judo", "unheard of")),
        (("chess", "opening"), ("chess", "opening")),
    ],
)
def test_spellings_mean_our_names(said: tuple[str, str], meant: tuple[str, str]) -> None:
    assert shipped_taxonomy().canonical(*said) == meant
    assert sport_and_skill({"tags": list(said)}) == (meant[0].lower(), meant[1].lower())


def test_a_term_of_many_words_names_the_longest_sport() -> None:
    assert sport_and_skill({"playlist_title": "Table tennis push stroke drills"}) == (
        "table tennis",
        "push stroke",
    )
    assert sport_and_skill({"playlist_title": "ice hockey slapshot tutorial"}) == (
        "ice hockey",
        "slap shot",
    )
    assert sport_and_skill(
        {"sportskills": {"sport": "judo", "skill": "hip throw"}, "tags": ["fun", "x"]}
    ) == (
        "judo",
        "hip throw",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ('"nage 3"', '"nage 4"'),
            "sport 'judo', skill 'throw 4': 'nage 4' already means 'throw 3'",
        ),
        (('["nage 3"]', "[]"), "sport 'judo', skills, throw 3: Tuple should have at least 1 item"),
        (
            ('["nage 3"]', '"nage 3"'),
            "sport 'judo', skills, throw 3: Input should be a valid tuple",
        ),
        (
            ('"throw 3" = ["nage 3"]\n', ""),
            "sport 'judo', skills: Dictionary should have at least 10 items",
        ),
        (
            ('"nage 3"', '"Nage 3"'),
            "skills, throw 3, 0: String should match pattern .*: it needs .*lower-case",
        ),
        (('name = "judo"', 'label = "judo"'), "sport 1, name: Field required"),
        (
            ("[sport.skills]", "[sport.moves]"),
            "sport 'judo', moves: Extra inputs are not permitted",
        ),
        (('"ju-do kwai"', '"judo"'), "'judo' already means 'judo'"),
        (('"throw 4"', '"throw 3"'), "is not valid TOML: .*line 9"),
        ((SMALL, ""), "contains no sport"),
        ((SMALL, SMALL * 2), "sport 'judo': 'judo' already means 'judo'"),
    ],
)
def test_a_mistake_is_named_with_sport_and_skill(change: tuple[str, str], message: str) -> None:
    assert len(parse_taxonomy(SMALL).sports) == 1
    with pytest.raises(TaxonomyError, match=message):
        parse_taxonomy(SMALL.replace(*change))


def test_a_file_that_an_editor_saved_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SMALL, encoding="utf-8-sig")
    assert read_taxonomy(path) == parse_taxonomy(SMALL)
    path.write_text(SMALL.replace("nage 3", "jeté"), encoding="latin-1")
    with pytest.raises(
        TaxonomyError,
        match=r"mine.toml: 'utf-8' codec can't decode byte 0xe9 .*: save the file as UTF-8",
    ):
        read_taxonomy(path)
    with pytest.raises(ValueError, match="is not an existing file"):
        read_taxonomy(tmp_path)
    path.write_text("sports:\n  - name: judo\n")
    with pytest.raises(
        TaxonomyError,
        match=r"is not valid TOML: .*line 1, .*: it needs \[\[sport\]\]",
    ):
        read_taxonomy(path)


# -------------------------------------------------------------------------------------------- terms


def test_searches_are_made_once_and_belong_to_a_sport() -> None:
    terms = search_terms(shipped_taxonomy().sports)
    assert len({plain(each.term) for each in terms}) == len(terms)
    assert sum(row[3] for row in counts_by_sport(shipped_taxonomy().sports)) == len(terms)
    golf = [each.term for each in terms if (each.sport, each.skill) == ("golf", "hip turn drill")]
    assert "golf hip turn drill tutorial" in golf and "golf hip turn drill drills" not in golf
    hurdles = [each.term for each in terms if each.sport == "hurdles"]
    assert "400 hurdles stride tips" in hurdles and "how to hurdles lead leg" in hurdles


def test_a_searchs_words_lead_back_to_its_skill() -> None:
    assert {
        word for each in CONNECTORS for word in each.split() if word != "{skill}"
    } <= CONNECTING_WORDS
    terms = search_terms(shipped_taxonomy().sports, connectors=CONNECTORS[:9])
    lost = [
        each
        for each in terms
        if sport_and_skill({"playlist_title": each.term}) != (each.sport, each.skill)
    ]
    assert len(lost) < 0.02 * len(terms), lost[:20]
