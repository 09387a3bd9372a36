"""Figures draw what their tables hold, bear hostile names, and raise no warning of matplotlib's."""

from __future__ import annotations

import io
import itertools
import re
import warnings

import numpy as np
import polars as pl
import pytest
from PIL import Image

from sportskills_lib.evaluation import recall, summary
from sportskills_lib.plots import style
from sportskills_lib.plots.notebook_tables import interval
from sportskills_lib.report import figures, interval_figures, rank_changes, save

HOSTILE = ("$\\frac{1}{", "<b>judo</b> & more", "名前 \u202egnp", "x" * 10_000)


ARMS = ("zero_shot", "activity_sport", "activity_skill", "narrations_shuffled", "narrations")


def table(sports: list[str], *, arms=ARMS, encoder="image", scope="within_sport") -> pl.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for sport in [*sports, summary.MEAN]:
        for arm in arms:
            value = float(rng.uniform(0.1, 0.8))
            key = {
                "encoder": encoder,
                "training": arm,
                "direction": "text_to_video",
                "scope": scope,
            }
            interval = {
                "value": value,
                "low": value - 0.05,
                "high": value + 0.05,
                "n": 90,
                "chance": 0.1,
            }
            rows.append({"sport": sport} | key | {"metric": "recall@10_single"} | interval)
    return pl.DataFrame(rows)


def sizes(sports: list[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "sport": sports,
            "gallery": list(range(200, 200 - len(sports), -1)),
            "videos": 12,
            "queries": 90,
        }
    )


def oracles(sports: list[str], *names: str) -> pl.DataFrame:
    rows = [(oracle, f"q{i}", sport, 0.3) for oracle in names for i, sport in enumerate(sports)]
    return pl.DataFrame(rows, schema=["oracle", "query_id", "sport", "value"], orient="row")


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def draw(
    rows: pl.DataFrame, sports: list[str], levels: pl.DataFrame
) -> dict[str, interval_figures.Page]:
    return interval_figures.recall_pages(rows, sizes(sports), {"full": levels}, size=100)


def texts(figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="svg")
    return " ".join(re.findall(r">([^<>]+)<", file.getvalue().decode()))


def test_twenty_largest_sports_and_the_rest_in_an_appendix():
    sports = [f"sport{index:02d}" for index in range(24)]
    both = pl.concat(
        [table(sports), table(sports, encoder="video"), table(sports, scope="within_sport_fixed")]
    )
    drawn = draw(both, sports, oracles(sports, "skill", "cue"))
    names = ["per_sport_recall", "per_sport_recall_appendix", "macro_means"]
    assert list(drawn) == [
        *names,
        *(f"{name}_fixed" for name in names),
        "encoders",
        "encoders_appendix",
    ]
    assert drawn["encoders"].data["scope"].unique().to_list() == ["within_sport_fixed"]
    assert drawn["encoders"].data.height == 2 * 21  # two arms, one encoder, 20 sports and the mean
    assert set(drawn["encoders"].data["training"]) == {"activity_sport", "narrations"}
    pages = {name: page.figure for name, page in drawn.items()}
    assert "among 100" in texts(pages["macro_means_fixed"])
    main, rest = texts(pages["per_sport_recall"]), texts(pages["per_sport_recall_appendix"])
    assert all(sport in main for sport in sports[:20])
    assert all(sport in rest and sport not in main for sport in sports[20:])
    assert (
        "macro mean" in main
        and "skill oracle" in main
        and "cue oracle" in main
        and "chance" in main
    )
    assert pages["per_sport_recall"].get_figwidth() == style.PAGE_IN
    assert "24 sports" in texts(pages["macro_means"])
    levels = drawn["per_sport_recall"].data.select(
        "test_clips", "skill_oracle", "cue_oracle"
    )  # drawn, so in the rows
    assert levels.row(0) == (200, 0.3, 0.3) and levels.row(-1)[0] is None
    assert "cue_oracle" in drawn["macro_means"].data.columns


def test_bars_are_the_values_of_the_table():
    rows = table(["golf", "judo"])
    page = draw(rows, ["golf", "judo"], oracles([]))["per_sport_recall"]
    figure = page.figure
    bars = figure.axes[0].containers
    for arm in ARMS:
        container = next(one for one in bars if one.get_label() == interval_figures.NAMES[arm])
        heights = [bar.get_height() for bar in container]
        wanted = rows.filter(pl.col("training") == arm)["value"].to_list()
        np.testing.assert_allclose(heights, wanted)


def test_no_evaluable_sport_gives_no_figure_and_unknown_oracles_no_line():
    empty = table(["golf"]).with_columns(value=pl.lit(None, dtype=pl.Float64))
    assert draw(empty, ["golf"], oracles([])) == {}
    pages = draw(table(["golf"]), ["golf"], oracles(["golf"], "skill"))
    assert "cue oracle" not in texts(pages["per_sport_recall"].figure)
    assert "skill oracle" in texts(pages["macro_means"].figure)


def test_two_encoders_get_a_panel_each_and_arms_of_any_name_a_bar():
    arms = ("my_own arm", "another", *ARMS)
    both = pl.concat(
        [table(["golf"], arms=arms), table(["golf"], arms=arms[1:], encoder="somebody's")]
    )
    pages = draw(both, ["golf"], oracles([]))
    figure = pages["per_sport_recall"].figure
    assert len(figure.axes) == 2
    assert [len(panel.containers) for panel in figure.axes] == [7, 7]
    said = texts(figure)
    assert "my own arm" in said and "another" in said and "somebody's encoder" in said
    assert summary.ordered([*arms, "both"]) == [*ARMS, "both", "another", "my_own arm"]
    gaps = pl.DataFrame(
        {
            "sport": "golf",
            "encoder": ["image", "video"],
            "difference": 0.1,
            "low": None,
            "high": None,
            "n": 9,
            "ci_excludes_zero": None,
        },
        schema_overrides={"low": pl.Float64},
    )
    assert "video" in texts(interval_figures.sport_differences(gaps, title="x"))


def test_hostile_names_are_drawn_as_they_stand():
    sports = list(HOSTILE)
    pages = draw(table(sports), sports, oracles([]))
    assert "$\\frac{1}{" in texts(pages["per_sport_recall"].figure)
    gaps = pl.DataFrame(
        {
            "sport": sports,
            "encoder": "image",
            "difference": 0.1,
            "low": 0.05,
            "high": 0.2,
            "n": 90,
            "ci_excludes_zero": [True, False, True, True],
        }
    )
    interval_figures.sport_differences(gaps, title="x").savefig(io.BytesIO())
    clips = pl.DataFrame({"clip_id": ["a", "b"]})
    frames = np.zeros((2, 4, 16, 16, 3), dtype=np.uint8)
    shown = pl.DataFrame(
        {
            "kind": "good",
            "query_id": "q",
            "sport": HOSTILE[0],
            "text": HOSTILE[3],
            "own_rank": 3.0,
            "baseline_rank": None,
            "rank": [0, 1],
            "clip_id": ["a", "b"],
            "mark": ["own clip", "other skill"],
        }
    )
    assert "✗ other skill" in texts(figures.filmstrips(shown, clips, frames))
    offered = pl.DataFrame(
        {
            "kind": "failure",
            "learner_id": "L",
            "sport": HOSTILE[2],
            "comment": HOSTILE[1] * 50,
            "named": HOSTILE[1] * 50,
            "probability": 0.5,
            "system": ["vlm_yes_no", "x" * 300],
            "value": None,
            "rank": 1,
            "clip_id": "a",
            "grade": [None, 2.6],
        }
    )
    people = pl.DataFrame({"learner_id": ["L"]})
    page = figures.feedback_pages(offered, clips, frames, people, frames[:1])["feedback_filmstrips"]
    assert "not graded" in texts(page.figure) and "grade 2.6" in texts(page.figure)
    assert figures.feedback_pages(offered.clear(), clips, frames, people, frames) == {}


def test_names_of_sixty_letters_meet_no_other_and_fit_a_column():
    scores = ranked({"activity_skill": [1, 12, 40, 5, 2], "narrations": [1, 3, 10, 20, 1]})
    moves = rank_changes.between_arms(scores, pl.DataFrame({"query_id": ["q0"], "text": "x"}))
    table = rank_changes.bands(pl.concat([moves, moves.with_columns(encoder=pl.lit("video"))]))
    names = {
        "before": "a-study-with-a-long-name.first-" + "x" * 29,
        "after": "a-study-with-a-long-name.second-" + "y" * 28,
    }
    figure = rank_changes.figure(table, **names)
    figure.savefig(file := io.BytesIO(), dpi=100)
    assert Image.open(file).width <= 100 * (style.COLUMN_IN + 0.1)
    boxes = [
        label.get_window_extent() for panel in figure.axes for label in panel.get_xticklabels()
    ]
    boxes.sort(key=lambda box: box.x0)
    assert all(one.x1 <= two.x0 for one, two in itertools.pairwise(boxes))


def test_an_arm_that_the_first_encoder_lacks_has_a_line_of_its_own():
    rows = [("narrations", "image", 0.3), ("narrations", "video", 0.4), ("both", "video", -0.2)]
    gaps = pl.DataFrame(rows, schema=["sport", "encoder", "difference"], orient="row").with_columns(
        low=None, high=None, n=9, ci_excludes_zero=None
    )
    (axes,) = interval_figures.sport_differences(gaps, title="x").axes
    heights = {
        round(line.get_ydata()[0]) for line in axes.get_lines() if list(line.get_xdata()) == [-0.2]
    }
    assert [axes.get_yticklabels()[place].get_text() for place in heights] == ["both (9)"]


def test_arms_differ_in_lightness_or_hatch():
    """So that a black-and-white print can be read."""

    def lightness(colour: str) -> float:
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    arms = [arm for arm in summary.TRAININGS if arm not in style.ARM_HATCHES]
    levels = sorted(lightness(style.ARM_COLOURS[arm]) for arm in arms)
    assert min(np.diff(levels)) > 0.05


def test_latex_escapes_and_says_not_evaluable():
    frame = pl.DataFrame({"sport": ["a_b & 50% $x$ #1 {~^\\}"], "value": ["not evaluable"]})
    text = summary.latex(frame, caption="100 %")
    assert (
        r"a\_b \& 50\% \$x\$ \#1 \{\textasciitilde{}\textasciicircum{}\textbackslash{}\} & not "
        r"evaluable" in text
    )
    hostile = pl.DataFrame({"sport": ["[Music] bend", "*x", "a\n\nb\u202e\x00c", "<|>"]})
    cells = [
        line.removesuffix(r" \\") for line in summary.latex(hostile, caption="").splitlines()[6:10]
    ]
    assert cells == ["{[}Music] bend", "{*}x", "a b c", r"\textless{}\textbar{}\textgreater{}"]
    assert summary.NOT_EVALUABLE == "not evaluable"
    assert interval(0.5, None, None) == "0.50"
    assert interval(0.1, 0.05, 0.2) == "0.10 [0.05, 0.20]"


def ranked(ranks: dict[str, list[float]]) -> pl.DataFrame:
    """Scores that hold the rank of each query's own clip, by encoder and arm."""
    rows = [
        (f"image/{arm}/text_to_video/within_sport", f"q{i}", "own_rank", 0, rank, 0.1, "golf", "v")
        for arm, each in ranks.items()
        for i, rank in enumerate(each)
    ]
    names = ["system", "query_id", "metric", "seed", "value", "chance", "sport", "cluster"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(metric=pl.lit(recall.RANK))


def test_which_queries_moved_and_from_which_band_to_which():
    scores = ranked({"activity_skill": [1, 12, 40, 5, 2], "narrations": [1, 3, 10, 20, 1]})
    asked = pl.DataFrame({"query_id": [f"q{i}" for i in range(5)], "text": HOSTILE[1]})
    moves = rank_changes.between_arms(scores, asked)
    assert dict(moves.select("query_id", "way").rows()) == {
        "q0": "same", "q1": "better", "q2": "better", "q3": "worse", "q4": "better",
    }  # fmt: skip
    assert dict(moves.select("query_id", "factor").rows())["q3"] == 0.25
    assert moves["factor"].log().abs().is_sorted(descending=True)
    table = rank_changes.bands(moves)
    assert sorted(table.select("before", "after", "queries", "way").rows()) == [
        ("1", "1", 1, "same"), ("11–30", "2–3", 1, "better"), ("2–3", "1", 1, "better"),
        ("31 +", "4–10", 1, "better"), ("4–10", "11–30", 1, "worse"),
    ]  # fmt: skip
    assert table["share"].sum() == pytest.approx(1)
    page = save.optional("rank_changes", rank_changes.figure, table)["rank_changes"]
    assert (
        "up 60%, down 20%" in texts(page.figure) and page.figure.get_figwidth() == style.COLUMN_IN
    )
    assert page.data.equals(table)
    assert rank_changes.bands(moves.clear()).is_empty()
    assert rank_changes.between_arms(ranked({"narrations": [1.0]}), asked).is_empty()
