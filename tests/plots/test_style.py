"""A figure says where it is from: run, stage, commit and config are read back from PNG, SVG and
PDF.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sportskills_lib.plots import style
from sportskills_lib.runs import provenance

FACTS = provenance.figure_facts(
    "demo", "05_evaluation", "0123abcd", {"commit": "f" * 40, "dirty": True}
)


def facts_of(path: Path) -> dict[str, str]:
    """What the file says of itself, read as a stranger would: with Pillow, an XML parser, and the
    PDF's info.
    """
    if path.suffix == ".png":
        from PIL import Image

        with Image.open(path) as picture:
            return json.loads(picture.text["Description"])
    if path.suffix == ".svg":
        found = ElementTree.parse(path).iter("{http://purl.org/dc/elements/1.1/}description")
        return json.loads(next(found).text or "")
    subject = re.search(rb"/Subject \((.*?[^\\])\)", path.read_bytes(), re.DOTALL)
    assert subject
    return json.loads(re.sub(rb"\\(.)", rb"\1", subject[1]))


def draw():
    figure, axes = style.figure()
    axes.plot([0, 1], [1, 0])
    axes.set_title("$\\frac{1}{ (a) <b>")
    return figure


@pytest.mark.parametrize("suffix", style.SUFFIXES)
def test_a_figure_carries_run_commit_and_config(tmp_path: Path, suffix: str) -> None:
    path = style.save(draw(), tmp_path / f"figure.{suffix}", FACTS)
    assert facts_of(path) == {
        "run": "demo",
        "stage": "05_evaluation",
        "commit": "f" * 40 + " + changes",
        "config": "0123abcd",
    }
    first = path.read_bytes()
    assert style.save(draw(), path, FACTS).read_bytes() == first


def test_a_png_has_a_text_for_each_fact(tmp_path: Path) -> None:
    from PIL import Image

    path = style.save(draw(), tmp_path / "figure.png", FACTS)
    with Image.open(path) as picture:
        assert {"Run", "Stage", "Commit", "Config", "Title", "Software", "Description"} <= set(
            picture.text
        )
        assert picture.text["Run"] == "demo"


def test_other_kinds_of_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"figure.gif: a figure is saved as png, svg, pdf"):
        style.save(draw(), tmp_path / "figure.gif")


def test_long_names_of_runs_stay_apart_in_few_letters():
    assert style.told_apart(("demo", "real")) == ["demo", "real"]
    one, two = "retrieval-stages.2-frames-c8af.s0", "retrieval-stages.4-frames-772a.s0"
    assert style.told_apart((one, two)) == ["…2-frames-c8af.s0", "…4-frames-772a.s0"]
    for pair in (
        ("a" * 60 + "x" + "b" * 60, "a" * 60 + "y" + "b" * 60),
        ("study", "study" + "-again" * 10),
        (one, one),
    ):
        shown = style.told_apart(pair, limit=18)
        assert max(map(len, shown)) <= 18 and len(set(shown)) == len(set(pair))


def test_a_figure_of_the_generated_world_says_so_in_print(tmp_path: Path) -> None:
    """Once, however often it is saved, below all that is drawn; a figure of anybody's lessons says
    nothing.
    """
    from PIL import Image

    made = draw()
    plain = style.save(made, tmp_path / "plain.png", FACTS)
    facts = provenance.figure_facts("demo", "02_pairing", "0", {}, lessons="data/raw/demo/lessons")
    assert facts["data"] == provenance.GENERATED
    assert "data" not in provenance.figure_facts(
        "mine", "02_pairing", "0", {}, lessons="/films/lessons"
    )
    for suffix in style.SUFFIXES:
        path = style.save(made, tmp_path / f"figure.{suffix}", facts)
        assert facts_of(path) == facts
    assert (tmp_path / "figure.svg").read_text(encoding="utf-8").count(
        f">{provenance.GENERATED}<"
    ) == 1
    with Image.open(plain) as one, Image.open(tmp_path / "figure.png") as two:
        assert one.width == two.width and one.height < two.height < one.height + 40
