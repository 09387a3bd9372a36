"""Gold samples: drawn, labelled, scored by hand counts; spreadsheets' formulas kept out; two judges
compared.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smoke_runs import SOURCE, make_run

from sportskills_lib import tables
from sportskills_lib.apps.audit import gold_sample, judge_scores, labels
from sportskills_lib.config import RetrievalConfig
from sportskills_lib.formats import files
from sportskills_lib.retrieval.supervision.labelling import SCHEMA
from sportskills_lib.runs import artifacts
from sportskills_lib.statistics import proportions

HOSTILE = '=HYPERLINK("http://x","y")'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("audit") / "ws")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPORTSKILLS_HOME", str(folder))
        _supervised("t")
    return folder


def _supervised(run: str) -> None:
    """Stage 04 over the run: one learner, whose take is one of the lessons' films, and a row of
    each verdict.
    """
    clips = artifacts.open_stage(run, "02_pairing").table("clips")
    videos = artifacts.open_stage(run, "01_curation").table("videos")
    path = videos["path"].sort()[0]
    learner = {
        "learner_id": "take:000000-002000",
        "start_s": 0.0,
        "end_s": 2.0,
        "take_id": "take",
        "participant": "p",
        "path": path,
        "sport": clips["sport"][0],
        "skill": None,
        "comment": ("the knees are stiff"),
        "is_mistake": True,
        "split": "train",
    }
    rows = [
        (name, clip_id, label, "a reason", 0.5, None)
        for name, clip_id, label in (
            (learner["learner_id"], clips["clip_id"][0], 1.0),
            (learner["learner_id"], clips["clip_id"][1], 0.0),
            (clips["clip_id"][0], clips["clip_id"][1], 0.6),
            (learner["learner_id"], clips["clip_id"][2], None),
        )
    ]
    table = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    stage = artifacts.begin(run, "04_retrieval", RetrievalConfig(learners=SOURCE), source=SOURCE,
                            after=("01_curation", "02_pairing"))  # fmt: skip
    learners = pl.DataFrame([learner], schema_overrides={"skill": pl.String})
    stage.save("learners", learners, tables.Learners)
    stage.save(
        "supervision",
        table.filter(pl.col("label").is_not_null(), pl.col("learner_id") == "take:000000-002000"),
    )
    stage.save("lesson_supervision", table.filter(pl.col("learner_id") != "take:000000-002000"))
    stage.save("supervision_masked", table.filter(pl.col("label").is_null()))
    stage.finish()


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SPORTSKILLS_HOME", str(home))
    return "t"


def stratified(items: pl.DataFrame, *, n: int, seed: int) -> pl.DataFrame:
    return gold_sample.stratified(items.lazy(), n=n, seed=seed)


def population(counts: dict[tuple[str, str], int]) -> pl.DataFrame:
    """Items by (verdict, sport)."""
    rows = [
        (f"{verdict}-{sport}-{i}", verdict, sport, i / 100, "some words")
        for (verdict, sport), n in counts.items()
        for i in range(n)
    ]
    frame = pl.DataFrame(
        rows, schema=["item_id", "verdict", "sport", "confidence", "text"], orient="row"
    )
    missing = [
        pl.lit(None, dtype=kind).alias(name)
        for name, kind in gold_sample.ITEMS.items()
        if name not in frame
    ]
    return frame.with_columns(missing)


def labelled(
    items: pl.DataFrame, truth: dict[str, str], filter_: str = "actionability"
) -> gold_sample.Sheet:
    frame = items.with_columns(
        filter=pl.lit(filter_),
        run=pl.lit("t"),
        note=pl.lit(""),
        label=pl.col("item_id").replace_strict(truth, default="", return_dtype=pl.String),
        **(
            {}
            if "stratum" in items.columns
            else {"stratum": pl.concat_str("verdict", "sport", separator=", ")}
        ),
    )
    return gold_sample.Sheet(filter_, "t", frame.select(gold_sample.SAMPLE))


# ------------------------------------------------------------------------------------------ drawing


@pytest.mark.parametrize("filter_", list(gold_sample.QUESTIONS))
def test_a_sample_of_each_filter_is_drawn_written_and_read_back(
    run: str, filter_: str, tmp_path: Path
) -> None:
    drawn = gold_sample.draw(run, filter_, n=6, seed=1)
    assert drawn.frame.equals(gold_sample.draw(run, filter_, n=6, seed=1).frame)
    assert 1 <= drawn.frame.height <= 6
    assert drawn.frame["text"].null_count() == 0 and drawn.frame["start_s"].null_count() == 0
    gold_sample.write(tmp_path / "gold.csv", drawn)
    assert gold_sample.read(tmp_path / "gold.csv").frame.equals(drawn.frame)
    items = gold_sample.question(filter_).items(run).collect()
    assert drawn.frame["stratum_size"].max() <= items.height  # type: ignore[operator]


def test_supervision_is_asked_about_with_both_texts_and_both_strips(run: str) -> None:
    items = gold_sample.question("supervision").items(run).collect().sort("item_id")
    assert items["verdict"].sort().to_list() == ["helps", "helps", "other", "undecided"]
    row = items.filter(pl.col("verdict") == "other").row(0, named=True)
    clips = artifacts.open_stage(run, "02_pairing").table("clips")
    assert (row["video_id"], row["start_s"], row["end_s"]) == ("take", 0.0, 2.0)
    assert (row["other_video_id"], row["other_start_s"]) == clips.select("video_id", "start_s").row(
        1
    )
    comment, _, coach = row["text"].partition(" / ")
    assert comment == "the knees are stiff" and coach
    lesson = items.filter(pl.col("video_id") != "take").row(0, named=True)
    assert lesson["video_id"] == clips["video_id"][0] and lesson["verdict"] == "helps"
    shown = labels.film_strips(items, run, workers=0)
    assert set(shown) == {name + suffix for name in items["item_id"] for suffix in ("", " other")}
    sheet = gold_sample.draw(run, "supervision", n=4, seed=0)
    truth = dict.fromkeys(items["item_id"], "helps")
    scored = judge_scores.score(
        labelled(sheet.frame.drop("filter", "run", "label", "note"), truth, "supervision")
    )
    got = {measure: value for _, _, measure, value, *_ in scored.scores.filter(sport="all").rows()}
    assert got == {"precision": 1.0, "recall": 0.5}


def test_the_planted_copy_is_in_the_population_of_pairs(run: str) -> None:
    items = (
        gold_sample.question("duplicates").items(run).filter(pl.col("verdict") == "copy").collect()
    )
    assert {(row["video_id"], row["other_video_id"]) for row in items.iter_rows(named=True)} == {
        ("-copy", "lesson1")
    }


def test_rare_verdicts_and_sports_are_drawn_as_often_as_there_are(tmp_path: Path) -> None:
    items = population(
        {("yes", "golf"): 500, ("yes", "judo"): 5, ("no", "golf"): 20, ("undecided", "golf"): 3}
    )
    drawn = stratified(items, n=43, seed=0)
    counts = dict(
        drawn.group_by(pl.concat_str("verdict", "sport", separator=" ")).len().iter_rows()
    )
    assert counts == {"yes golf": 15, "yes judo": 5, "no golf": 20, "undecided golf": 3}
    assert dict(
        drawn.select("verdict", "stratum_size")
        .filter(pl.col("verdict") != "yes")
        .unique()
        .iter_rows()
    ) == {
        "no": 20,
        "undecided": 3,
    }
    assert not stratified(items, n=43, seed=1)["item_id"].equals(drawn["item_id"])
    assert stratified(items, n=10_000, seed=0).height == 528


def even_shares(sizes: dict[str, int], n: int) -> dict[str, int]:
    """How many of each to take so that ``n`` are taken in all: one of each in turn, by name."""
    given_ = dict.fromkeys(sizes, 0)
    while sum(given_.values()) < min(n, sum(sizes.values())):
        name = min(sizes, key=lambda name: (given_[name] == sizes[name], given_[name], name))
        given_[name] += 1
    return given_


SIZES = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 12), min_size=1)


@given(st.dictionaries(st.sampled_from("xyz"), SIZES, min_size=1), st.integers(1, 60))
def test_shares_are_even_as_far_as_there_are_items(
    sizes: dict[str, dict[str, int]], n: int
) -> None:
    counts = {(verdict, sport): m for verdict in sizes for sport, m in sizes[verdict].items()}
    drawn = stratified(population(counts), n=n, seed=3)
    shares = even_shares({name: sum(sports.values()) for name, sports in sizes.items()}, n)
    got = dict(drawn.group_by("verdict").len().iter_rows())
    assert got == {name: share for name, share in shares.items() if share}
    for verdict, sports in sizes.items():
        rows = drawn.filter(verdict=verdict)
        if shares[verdict] >= len(sports):  # else the verdict is one stratum
            want = even_shares(sports, shares[verdict])
            assert dict(rows.group_by("sport").len().iter_rows()) == want
            assert rows["stratum"].n_unique() == len(sports)
        elif rows.height:
            assert rows["stratum"].unique().to_list() == [verdict]
            assert rows["stratum_size"].unique().to_list() == [sum(sports.values())]


def test_wrong_use_is_named(run: str) -> None:
    for words, message in (
        ((run, "beauty"), "unknown --filter 'beauty': use one of"),
        (("none", "duplicates"), "no complete"),
    ):
        with pytest.raises(ValueError, match=message):
            gold_sample.draw(*words, n=3, seed=0)
    with pytest.raises(ValueError, match="--n must be at least 1, got 0"):
        gold_sample.draw(run, "duplicates", n=0, seed=0)


# ---------------------------------------------------------------------------------------- the sheet


@given(st.text(max_size=12))
def test_any_text_survives_and_none_begins_a_formula(text: str) -> None:
    cell = pl.DataFrame({"cell": [text]}, schema={"cell": pl.String}).select(
        files.guard_cells(pl.col("cell"))
    )
    assert cell["cell"].str.strip_prefix("'").to_list() == [text]
    assert not cell.item().startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_formulas_are_disarmed_in_the_file_and_come_back(tmp_path: Path) -> None:
    items = population({("yes", "golf"): 5}).with_columns(stratum_size=pl.lit(5, dtype=pl.Int64))
    texts = [HOSTILE, "-1+1", "@SUM(A1)", "'quoted", 'a "b", c\r\nd']
    sheet = labelled(
        items.with_columns(text=pl.Series(texts), item_id=pl.Series(["-a", "=b", "c", "d", "e"])),
        {},
    )
    gold_sample.write(tmp_path / "gold.csv", sheet)
    with (tmp_path / "gold.csv").open(newline="", encoding="utf-8-sig") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]
    assert gold_sample.read(tmp_path / "gold.csv").frame.equals(sheet.frame)


def test_a_sheet_saved_by_a_spreadsheet_is_read(tmp_path: Path) -> None:
    items = population({("yes", "golf"): 2}).with_columns(stratum_size=pl.lit(2, dtype=pl.Int64))
    path = tmp_path / "gold.csv"
    gold_sample.write(path, labelled(items, {"yes-golf-0": "yes"}))
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    rows[2][rows[0].index("label")] = " N "  # a key for a word
    with path.open("w", newline="", encoding="cp1252") as file:
        csv.writer(file, delimiter=";").writerows([*rows, [""] * len(rows[0])])
    assert gold_sample.read(path).frame["label"].to_list() == ["yes", "no"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('"yes-golf-1"', '"yes-golf-0"', 1), "item yes-golf-0 twice"),
        (lambda text: text.replace('"label"', '"lable"'), "no column label"),
        (
            lambda text: text.replace('"2","yes-golf-1"', '"two","yes-golf-1"'),
            "row 3, column stratum_size: 'two'",
        ),
        (
            lambda text: text.replace('"2","yes-golf-1"', '"0","yes-golf-1"'),
            "row 3, column stratum_size: '0'",
        ),
        (lambda text: text + '"perhaps",""\r\n', "row 4, column run: '' is not a valid value"),
        (
            lambda text: text.replace('"actionability","t","yes', '"duplicates","t","yes', 1),
            "2 values of filter: score each sample alone",
        ),
        (lambda text: text.replace("some words", "x" * 200_000), r"line 2: field larger"),
    ],
)
def test_a_broken_sheet_is_refused_by_its_line(tmp_path: Path, change, message: str) -> None:
    items = population({("yes", "golf"): 2}).with_columns(stratum_size=pl.lit(2, dtype=pl.Int64))
    path = tmp_path / "gold.csv"
    gold_sample.write(path, labelled(items, {}))
    text = path.read_text(encoding="utf-8-sig")
    path.write_text(change(text))
    with pytest.raises(ValueError, match=message):
        gold_sample.read(path)


@pytest.mark.parametrize("name", ["filter", "run", "stratum", "stratum_size", "verdict"])
def test_an_empty_cell_that_a_score_needs_is_refused(tmp_path: Path, name: str) -> None:
    items = population({("yes", "golf"): 2}).with_columns(stratum_size=pl.lit(7, dtype=pl.Int64))
    path = tmp_path / "gold.csv"
    gold_sample.write(path, labelled(items, {}))
    table = pl.read_csv(path, infer_schema=False)
    table.with_columns(pl.lit("").alias(name)).write_csv(path)
    with pytest.raises(ValueError, match=rf"row 2, column {name}: '' is not a valid value"):
        gold_sample.read(path)


def test_columns_of_older_sheets_and_of_people_are_ignored(tmp_path: Path) -> None:
    items = population({("yes", "golf"): 2}).with_columns(stratum_size=pl.lit(7, dtype=pl.Int64))
    path, sheet = tmp_path / "gold.csv", labelled(items, {"yes-golf-0": "no"})
    gold_sample.write(path, sheet)
    table = pl.read_csv(path, infer_schema=False)
    table.with_columns(drawn=pl.lit("0123abcd[2]"), mine=pl.lit("x")).write_csv(path)
    assert gold_sample.read(path).frame.equals(sheet.frame)


def test_items_that_differ_from_the_run_are_counted_and_named(run: str) -> None:
    sheet = gold_sample.draw(run, "actionability", n=3, seed=0)
    assert sheet.warnings() == []
    moved = sheet.frame.with_columns(verdict=pl.lit("undecided"))
    assert (
        "3 of 3 items are with another verdict in run 't', first"
        in (gold_sample.Sheet("actionability", run, moved).warnings()[0])
    )
    gone = sheet.frame.with_columns(item_id=pl.lit("x") + pl.col("item_id"))
    words = gold_sample.Sheet("actionability", run, gone).warnings()
    assert len(words) == 1 and "3 of 3 items are unknown to run 't', first x" in words[0]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]
)
@pytest.mark.parametrize(
    ("separator", "first"), [(";", ""), ("\t", ""), (",", ""), (";", "sep=;\r\n"), ("|", "sep=|\n")]
)
def test_sheets_of_european_spreadsheets_are_read(
    tmp_path: Path, encoding: str, separator: str, first: str
) -> None:
    """Decimal commas, another separator, other letters, quotes only where they must be."""
    items = population({("yes", "pétanque"): 2}).with_columns(
        stratum_size=pl.lit(1200, dtype=pl.Int64),
        start_s=pl.lit(1.512),
        end_s=pl.lit(12.5),
        text=pl.lit("a; b, »c«"),
    )
    sheet = labelled(items, {"yes-pétanque-1": "no"})
    path = tmp_path / "gold.csv"
    gold_sample.write(path, sheet)
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    decimal = [rows[0].index(name) for name in ("confidence", "start_s", "end_s")]
    for row in rows[1:]:
        for place in decimal:
            row[place] = row[place].replace(".", ",")
    with path.open("w", newline="", encoding=encoding) as file:
        file.write(first)
        csv.writer(file, delimiter=separator).writerows(rows)
    assert gold_sample.read(path).frame.equals(sheet.frame)


def test_an_unknown_label_is_named(tmp_path: Path) -> None:
    items = population({("yes", "golf"): 1}).with_columns(stratum_size=pl.lit(1, dtype=pl.Int64))
    sheet = labelled(items, {})
    with pytest.raises(
        ValueError, match="unknown label 'perhaps' for actionability: use yes, no, unsure"
    ):
        sheet.labelled("yes-golf-0", "perhaps")
    with pytest.raises(ValueError, match="unknown item 'x'"):
        sheet.labelled("x", "yes")
    gold_sample.write(
        tmp_path / "g.csv",
        gold_sample.Sheet(sheet.filter, "t", sheet.frame.with_columns(label=pl.lit("perhaps"))),
    )
    with pytest.raises(ValueError, match="unknown label 'perhaps' of item yes-golf-0"):
        gold_sample.read(tmp_path / "g.csv")


# ------------------------------------------------------------------------------------------ scoring


def test_wilson_is_the_published_interval() -> None:
    low, high = proportions.wilson(0.8, 10)  # 8 of 10: Newcombe (1998) and every table since
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert proportions.wilson(0.0, 20)[0] == 0.0 and proportions.wilson(1.0, 20)[1] == 1.0


def test_scores_by_hand_are_weighted_back_to_the_population() -> None:
    """100 kept (10 drawn, 9 right) and 300 turned down (10 drawn, 1 wrong): recall is not 9 of
    10.
    """
    items = population({("yes", "golf"): 100, ("no", "golf"): 300})
    drawn = stratified(items, n=20, seed=0)
    truth = dict(drawn.select("item_id", "verdict").iter_rows())
    kept = [name for name, verdict in truth.items() if verdict == "yes"]
    lost = [name for name, verdict in truth.items() if verdict == "no"]
    truth[kept[0]], truth[lost[0]] = "no", "yes"
    audit = judge_scores.score(labelled(drawn, truth))
    got = {
        (sport, measure): (value, low, high, n)
        for sport, _, measure, value, low, high, n in audit.scores.rows()
    }
    # 10 items, and 10 % of the stratum seen
    assert got["all", "precision"] == pytest.approx((0.9, *proportions.wilson(0.9, 10 / 0.9), 10))
    value, low, high, n = got["all", "recall"]
    assert (value, n) == (pytest.approx(90 / 120), 10)
    assert (
        0.40 < low < 0.47 and 0.95 < high < 0.99
    )  # one miss of ten drawn: 3 to 110 of the 300, see below
    assert got["golf", "precision"] == got["all", "precision"]
    assert audit.worst()["item_id"].to_list()[0] in (kept[0], lost[0])
    assert audit.worst().height == 2


def test_equal_weights_give_plain_wilson_and_a_run_labelled_whole_leaves_no_doubt() -> None:
    weight, stratum = np.full(40, 1e6), np.repeat([0, 1], 20)
    said, true = stratum == 0, np.arange(40) % 20 < 16
    for recall in (False, True):
        n = 32 if recall else 20
        got = proportions.of_ratio(weight, stratum, said, true, recall=recall)
        assert got == pytest.approx(proportions.wilson(16 / n, n), abs=1e-4)
        all_seen = proportions.of_ratio(np.ones(40), stratum, said, true, recall=recall)
        assert all_seen == pytest.approx((16 / n, 16 / n), abs=1e-3)


def test_recall_after_a_few_misses_of_a_large_stratum_agrees_with_a_posterior_drawn_otherwise() -> (
    None
):
    """All 20 kept are right, 1 of 20 turned down is a miss, and those stand for five times as
    many.
    """
    from scipy.stats import beta

    stratum, true = np.repeat([0, 1], 20), np.arange(40) <= 20
    low, high = proportions.of_ratio(
        1e6 * np.repeat([1.0, 5.0], 20), stratum, stratum == 0, true, recall=True
    )
    grid = (np.arange(400) + 0.5) / 400
    right, missed = np.meshgrid(beta.ppf(grid, 20.5, 0.5), 5 * beta.ppf(grid, 1.5, 19.5))
    assert (low, high) == pytest.approx(
        np.quantile(right / (right + missed), [0.025, 0.975]), abs=0.01
    )


CORPORA = {  # items by verdict and sport, and how often a label is yes
    "few misses in a large stratum": (
        {("yes", "golf"): 200, ("yes", "judo"): 50, ("no", "golf"): 900, ("undecided", "golf"): 50},
        {"yes": 0.9, "no": 0.05, "undecided": 0.4},
    ),
    "twenty sports of many sizes": (
        {(verdict, f"s{i:02}"): size * (1 + i % 7)
         for verdict, size in (("yes", 60), ("no", 40), ("undecided", 3)) for i in range(20)},
        {"yes": 0.92, "no": 0.06, "undecided": 0.5},
    ),
}  # fmt: skip


def sample_of(
    rng: np.random.Generator, labels_: dict[tuple[str, str], np.ndarray], n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weight, verdict and label of ``n`` items drawn as ``stratified`` does where sports are fewer
    than items.
    """
    verdicts = sorted({verdict for verdict, _ in labels_})
    shares = even_shares(
        {name: sum(len(x) for (v, _), x in labels_.items() if v == name) for name in verdicts}, n
    )
    parts = []
    for place, name in enumerate(verdicts):
        sports = {sport: x for (v, sport), x in labels_.items() if v == name}
        if len(sports) > shares[name]:
            sports = {"": np.concatenate(list(sports.values()))}
        for sport, count in even_shares(
            {sport: len(x) for sport, x in sports.items()}, shares[name]
        ).items():
            got = rng.choice(sports[sport], count, replace=False)
            parts.append(
                (np.full(count, len(sports[sport]) / max(count, 1)), np.full(count, place), got)
            )
    weight, verdict, label = (np.concatenate(column) for column in zip(*parts, strict=True))
    return weight, verdict, label


@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize(("n", "least", "most"), [(200, 0.93, 0.97), (40, 0.93, 0.99)])
@pytest.mark.parametrize("recall", [False, True])
def test_intervals_hold_the_truth_as_often_as_they_say(
    corpus: str, n: int, least: float, most: float, recall: bool
) -> None:
    counts, chance = CORPORA[corpus]
    rng, inside = np.random.default_rng(n), []
    kept = sorted(chance).index("yes")
    for draw in range(800):
        if draw % 8 == 0:  # another corpus, so that no single true value decides
            truth = {key: rng.random(size) < chance[key[0]] for key, size in counts.items()}
            right = sum(x.sum() for (verdict, _), x in truth.items() if verdict == "yes")
            whole = sum(
                x.sum() if recall else len(x) for (v, _), x in truth.items() if recall or v == "yes"
            )
        weight, verdict, label = sample_of(rng, truth, n)
        low, high = proportions.of_ratio(weight, verdict, verdict == kept, label, recall=recall)
        inside.append(low <= right / whole <= high)
    assert least <= np.mean(inside) <= most


def test_a_weighted_estimate_is_right_on_average() -> None:
    counts, chance = CORPORA["few misses in a large stratum"]
    items, rng = population(counts), np.random.default_rng(0)
    verdicts = dict(items.select("item_id", "verdict").rows())
    truth = {
        item: "yes" if rng.random() < chance[verdict] else "no"
        for item, verdict in verdicts.items()
    }
    true = {item for item, label in truth.items() if label == "yes"}
    found = len({item for item in true if verdicts[item] == "yes"}) / len(true)
    rows = [
        judge_scores.score(labelled(stratified(items, n=300, seed=seed), truth)).scores
        .filter(sport="all", measure="recall").select("value", "low", "high").row(0)
        for seed in range(60)
    ]  # fmt: skip
    assert np.mean([value for value, _, _ in rows]) == pytest.approx(found, abs=0.02)
    assert sum(low <= found <= high for _, low, high in rows) >= 54


def test_unsure_unlabelled_and_empty_strata_are_said() -> None:
    items = population({("yes", "golf"): 3, ("no", "judo"): 2}).with_columns(
        stratum_size=pl.lit(3, dtype=pl.Int64)
    )
    audit = judge_scores.score(labelled(items, {"yes-golf-0": "yes", "yes-golf-1": "unsure"}))
    assert (audit.unlabelled, audit.unsure, audit.empty_strata) == (3, 1, ["no, judo"])
    values = audit.scores.filter(sport="all")["value"].to_list()
    assert values == [1.0, 1.0]
    with pytest.raises(ValueError, match="the sample of actionability has no labelled item"):
        judge_scores.score(labelled(items, {}))


def test_three_way_scores() -> None:
    items = population({("correct", "golf"): 2, ("incorrect", "golf"): 1, ("none", "golf"): 1})
    items = items.with_columns(stratum_size=pl.len().over("verdict").cast(pl.Int64))
    truth = {
        "correct-golf-0": "correct",
        "correct-golf-1": "incorrect",
        "incorrect-golf-0": "none",
        "none-golf-0": "none",
    }
    scores = judge_scores.score(labelled(items, truth, "demonstration")).scores.filter(sport="all")
    got = {
        (kind, measure): value
        for kind, measure, value in scores.select("class", "measure", "value").rows()
    }
    assert got["demonstration", "precision"] == pytest.approx(2 / 3)
    assert got["demonstration", "recall"] == 1.0
    assert (got["correct", "precision"], got["correct", "recall"]) == (0.5, 1.0)
    assert (got["incorrect", "precision"], got["incorrect", "recall"]) == (0.0, 0.0)
    assert (got["none", "precision"], got["none", "recall"]) == (1.0, 0.5)


def test_two_judges_on_the_same_items() -> None:
    items = population({("yes", "golf"): 12}).with_columns(stratum_size=pl.lit(12, dtype=pl.Int64))
    names = items["item_id"].to_list()
    sheet = labelled(items, dict.fromkeys(names[:8], "yes") | dict.fromkeys(names[8:], "no"))
    other = pl.DataFrame(
        {"item_id": names, "verdict": ["yes"] * 7 + ["no"] * 5, "confidence": [None] * 12},
        schema_overrides={"confidence": pl.Float64},
    )
    one, two = judge_scores.score(sheet), judge_scores.score(sheet, verdicts=other, judge="b")
    all_, golf = judge_scores.compare(one, two).rows(named=True)
    assert (all_["both"], all_["only_one"], all_["only_other"], all_["neither"]) == (7, 1, 4, 0)
    assert all_["difference"] == pytest.approx(-3 / 12) and golf == {**all_, "sport": "golf"}
    assert all_["p_value"] == pytest.approx(2 * (1 + 5) / 32)
    back = judge_scores.compare(two, one).row(0, named=True)
    assert back["difference"] == -all_["difference"]
    assert two.scores.filter(sport="all")["value"].to_list() == [1.0, 7 / 8]
    clash = judge_scores.score(sheet.labelled(names[0], "no"))
    with pytest.raises(ValueError, match="agree on one label first"):
        judge_scores.compare(one, clash)
    assert judge_scores.mcnemar(0, 0) == 1.0


def test_the_difference_of_two_judges_is_weighted_and_its_interval_holds_it() -> None:
    """Kept items stand for 10 each, the others for 90 each: being right on those others counts nine
    times as much.
    """
    items = population({("yes", "golf"): 200, ("no", "golf"): 1800})
    drawn = stratified(items, n=40, seed=0)
    rows = drawn.select("item_id", "verdict").rows()
    truth = {
        item: "yes" if verdict == "yes" or place % 4 == 0 else "no"
        for place, (item, verdict) in enumerate(rows)
    }
    sheet = labelled(drawn, truth)
    lenient = drawn.select("item_id", "confidence", verdict=pl.lit("yes"))
    row = judge_scores.compare(
        judge_scores.score(sheet), judge_scores.score(sheet, verdicts=lenient, judge="b")
    ).row(0, named=True)
    misses = sum(truth[item] == "yes" for item, verdict in rows if verdict == "no")
    assert row["difference"] == pytest.approx((1800 * (20 - 2 * misses) / 20) / 2000)
    assert row["low"] < row["difference"] < row["high"] and row["high"] - row["low"] < 0.8


def test_more_sports_than_items_are_drawn_at_random_and_not_from_a_to_m() -> None:
    items = population({(verdict, f"s{i:02}"): 30 for verdict in ("yes", "no") for i in range(30)})
    drawn = stratified(items, n=40, seed=0)
    assert drawn["stratum"].unique().sort().to_list() == ["no", "yes"]
    assert drawn["stratum_size"].unique().to_list() == [900]
    assert drawn["sport"].n_unique() > 10 and drawn["sport"].max() > "s25"  # type: ignore[operator]
    assert stratified(items, n=80, seed=0)["stratum"].n_unique() == 60


def test_another_runs_judge_is_found_by_id_and_by_span(run: str) -> None:
    drawn = gold_sample.draw(run, "demonstration", n=20, seed=0)
    same = judge_scores.verdicts_of(drawn, run)
    assert same["verdict"].to_list() == drawn.frame["verdict"].to_list()
    moved = gold_sample.Sheet(
        drawn.filter,
        drawn.run,
        drawn.frame.with_columns(
            item_id=pl.lit("x") + pl.int_range(pl.len()).cast(pl.String),
            start_s=pl.col("start_s") + 0.4,
            end_s=pl.col("end_s") + 0.4,
        ),
    )
    assert (
        judge_scores.verdicts_of(moved, run)["verdict"].to_list()
        == drawn.frame["verdict"].to_list()
    )


def test_the_pair_auditor_saves_each_key(run: str, tmp_path: Path) -> None:
    path = tmp_path / "gold.csv"
    gold_sample.write(path, gold_sample.draw(run, "actionability", n=3, seed=0))
    made = labels.labeller(path)
    assert "data:video/mp4" in made.view.value
    made.keyboard.press("y")
    made.keyboard.press("n")
    assert gold_sample.read(path).frame["label"].to_list() == ["yes", "no", ""]
    assert "2 labelled" in made.state.value
    again = labels.labeller(path)  # goes on where it stopped
    again.keyboard.press("z")
    again.keyboard.press("u")
    assert gold_sample.read(path).frame["label"].to_list() == ["yes", "unsure", ""]
    again.keyboard.press("z")
    again.keyboard.press("v")  # the verdict, now that there is a label
    assert "judge: " in again.state.value
    again.keyboard.press("y")
    assert gold_sample.read(path).frame.select("label", "note").rows()[1] == (
        "yes",
        "verdict seen after unsure",
    )


def test_the_commands_draw_and_score(run: str, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from sportskills_lib.apps.audit.commands import app

    path = tmp_path / "gold.csv"
    words = [
        "sample",
        "--filter",
        "demonstration",
        "--run",
        run,
        "--to",
        str(path),
        "--n",
        "8",
        "--workers",
        "0",
    ]
    drawn = CliRunner().invoke(app, words, catch_exceptions=False)
    assert drawn.exit_code == 0 and "8 items" in drawn.output
    assert path.with_suffix(".html").read_text().count("<img") == 8
    with pytest.raises(ValueError, match="may contain labels"):
        CliRunner().invoke(app, words, catch_exceptions=False)
    (tmp_path / "file").touch()
    for place, said in (
        ("x.html", "is the name of the page"),
        ("file/x.csv", "its folder cannot be made"),
    ):
        with pytest.raises(ValueError, match=f"--to .*{place} *:?.*{said}|--to .*{place} {said}"):
            CliRunner().invoke(
                app, [*words[:5], "--to", str(tmp_path / place), *words[7:]], catch_exceptions=False
            )
    there = tmp_path / "new" / "folder" / "x.csv"
    CliRunner().invoke(app, [*words[:5], "--to", str(there), *words[7:]], catch_exceptions=False)
    assert there.is_file() and there.with_suffix(".html").is_file()
    for to in (path, tmp_path):
        with pytest.raises(ValueError, match="name a new file"):
            CliRunner().invoke(app, ["score", str(path), "--to", str(to)], catch_exceptions=False)
    sheet = gold_sample.read(path)
    for item in sheet.frame["item_id"]:
        sheet = sheet.labelled(item, "correct")
    gold_sample.write(path, sheet)
    words = [
        "score",
        str(path),
        "--against",
        run,
        "--to",
        str(tmp_path / "audit.html"),
        "--workers",
        "0",
    ]
    scored = CliRunner().invoke(app, words, catch_exceptions=False)
    assert "demonstration, gold.csv, run t: 8 labelled" in scored.output
    assert (
        "p_value" in scored.output
        and "wrong: verdict incorrect, label correct: A common mistake" in scored.output
    )
    assert "Most confident mistakes" in (tmp_path / "audit.html").read_text()


def test_one_command_compares_clips_with_known_spans(run: str, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from sportskills_lib.apps.audit.commands import app

    path = tmp_path / "gold.csv"
    sheet = gold_sample.draw(run, "demonstration", n=100, seed=0)
    for item, verdict in sheet.frame.select("item_id", "verdict").rows():
        sheet = sheet.labelled(item, verdict)
    gold_sample.write(path, sheet)
    told = sheet.frame.select("video_id", "start_s", "end_s", "label")
    european = tmp_path / "european.csv"
    lines = ["video_id;start_s;end_s;demonstration"]
    lines += [";".join(map(str, row)).replace(".", ",") for row in told.rows()]
    european.write_text("\r\n".join(lines), encoding="utf-16")
    for table in (path, european):
        said = (
            CliRunner()
            .invoke(app, ["spans", str(table), "--run", run], catch_exceptions=False)
            .output
        )
        assert "(correct, incorrect, none): 1.000" in said
    said = (
        CliRunner().invoke(app, ["spans", str(path), "--run", run], catch_exceptions=False).output
    )
    assert "macro F1 over the classes that occur (correct, incorrect, none): 1.000" in said
    for line in (
        "lesson1,9,3,incorrect",
        "lesson1,nan,4,none",
        "lesson1,0,inf,none",
        "lesson1;0;1;none;x",
    ):
        wrong = tmp_path / "wrong.csv"
        wrong.write_text(f"video_id,start_s,end_s,demonstration\nlesson1,0,1,none\n{line}\n")
        with pytest.raises(ValueError, match=r"row 2 below the header: .* is not a span"):
            CliRunner().invoke(app, ["spans", str(wrong), "--run", run], catch_exceptions=False)
    told.with_columns(video_id=pl.lit("x"), demonstration="label").write_csv(wrong)
    with pytest.raises(ValueError, match="name another --run"):
        CliRunner().invoke(app, ["spans", str(wrong), "--run", run], catch_exceptions=False)


def test_a_headless_notebook_shows_the_sample_and_writes_nothing(
    home: Path, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    for name in gold_sample.QUESTIONS:
        shown = labels.label_here(run, name, n=5, pictures=name != "actionability").data
        assert "sportskills audit score" in shown and "audit score <bdi>data/gold/t/" in shown
        assert ("<img" in shown) == (name != "actionability")
        assert "<html" not in shown and "sk-page" not in shown.partition("</style>")[2]
    assert not (home / "data/gold").exists()


def test_a_damaged_sheet_is_said_in_the_notebook_and_not_drawn_over(home: Path, run: str) -> None:
    path = labels.gold_path(run, "duplicates")
    path.parent.mkdir(parents=True)
    path.write_text("item_id,label\nx,copy\n")
    try:
        assert "has no column filter" in labels.label_here(run, "duplicates", n=5).data
        assert path.read_text() == "item_id,label\nx,copy\n"
    finally:
        shutil.rmtree(home / "data/gold")
