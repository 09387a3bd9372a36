"""The study: the list as it is, what is refused in it, what is left out loudly, what is copied when
it has run.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import sweep_stand_in
from toys import toy_settings

from sportskills_lib.apps.sweep import members, results, study_file
from sportskills_lib.apps.sweep.grid import Sweep
from sportskills_lib.runs import pipeline
from sportskills_lib.runs.artifacts import STAGES
from sportskills_lib.runs.errors import RunError

LIST = Path(__file__).parents[3] / "notebooks" / "study.toml"
TOML = """
base = "demo"
jobs = 2

[[sweep]]
name = "study-seeds"
title = "Seeds | of everything"
seeds = [0, 1]

[[sweep]]
name = "study-parts"
set = { "03.steps" = 5 }
[sweep.points]
"as it is" = {}
"sigmoid loss" = { "03.loss" = "siglip" }
"""


@pytest.fixture
def file(toy_workspace: Path) -> Path:
    path = toy_workspace / "notebooks" / "study.toml"
    path.write_text(TOML)
    return path


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members, stand-ins, run one after the other in this process; the page is what the notebook
    would keep.
    """

    def run_all(sweep: Sweep, pending: list, jobs: int, known: dict, say: object) -> None:
        for member in pending:
            pipeline.reproduce(member.run, say=lambda text: None)
            known[member.run] = {"state": "done", "error": "", "log": ""}
        sweep_stand_in.artifacts.write_json(sweep.folder / "states.json", known)

    def make_page(sweep: Sweep) -> Path:
        found = results.open_sweep(sweep.name)
        measured = results.recalls(found)
        results.keep_tables(found, members=results.member_table(found, measured))
        results.keep_figure(found, "sweep", results.points_figure(found, measured))
        return pipeline.report_folder(sweep.name) / "index.html"

    monkeypatch.setattr(members, "_run_all", run_all)
    monkeypatch.setattr(members, "make_page", make_page)
    monkeypatch.setattr(pipeline, "run_stage", sweep_stand_in.run_stage)


def test_the_list_of_the_house_can_be_read() -> None:
    found = study_file.read(LIST)
    assert [entry.name for entry in found.sweep] == [
        "study-seeds", "study-ablations", "study-activity-data", "study-groups",
    ]  # fmt: skip
    assert found.sweep[0].seeds == [0, 1, 2]
    names = [name for entry in found.sweep for name in (entry.settings, *entry.points.values())]
    assert all(set(settings) <= set(STAGES) for settings in names)


def test_groups_of_sports_hold_every_sport_of_the_demo_once() -> None:
    import tomllib

    from sportskills_lib.demo.skills import SPORTS

    groups = next(
        each for each in tomllib.loads(LIST.read_text())["sweep"] if each["name"] == "study-groups"
    )
    sports = [
        sport for values in groups["points"].values() for sport in values.get("03.train_sports", [])
    ]
    assert sorted(sports) == sorted(sport.name for sport in SPORTS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("jobs =", "limit_hours ="), "study.toml: limit_hours: Extra inputs are not"),
        (("seeds = [0, 1]", "seed = 0"), "study.toml: sweep.0.seed: Extra inputs are not"),
        (
            ("03.loss", "03.lose"),
            r"sweep.1.points.sigmoid loss: 03_encoder has no parameter lose: did",
        ),
        (("base =", "base"), "study.toml: "),
        (('"03.loss"', '"30.loss"'), "unknown stage '30'"),
    ],
)
def test_a_wrong_list_is_refused_by_name(file: Path, change: tuple[str, str], words: str) -> None:
    file.write_text(TOML.replace(*change))
    with pytest.raises(ValueError, match=words):
        study_file.read(file)


def test_a_part_of_the_list_is_chosen_by_name(file: Path) -> None:
    assert [entry.name for entry in study_file.read(file, only=["parts"]).sweep] == ["study-parts"]
    with pytest.raises(ValueError, match="the study has no sweep nothing: use one of seeds, parts"):
        study_file.read(file, only=["nothing"])
    with pytest.raises(ValueError, match="there is no list of sweeps"):
        study_file.read(file.with_name("other.toml"))


def test_a_base_that_does_not_exist_is_named_in_the_plan(file: Path) -> None:
    with pytest.raises(
        ValueError, match="there is no run 'demo': `sportskills reproduce --run demo"
    ):
        study_file.plan_lines(study_file.read(file), toy_settings())


def test_the_study_runs_copies_and_stands_the_second_time(
    file: Path, toy_workspace: Path, in_process: None
) -> None:
    found, said = study_file.read(file), list[str]()
    pipeline.save_settings("demo", "demo", toy_settings())
    folder = study_file.run(found, {}, say=said.append)
    assert folder == toy_workspace / "docs" / "study"
    assert any(line.startswith("4 members, 0 complete, 4 to run") for line in said)
    page = (folder / "README.md").read_text()
    assert "0.708 ± 0.059 (n = 2)" in page and "![sweep](study-seeds/sweep.png)" in page
    assert "What a sweep\nvaries is in `study.toml`" in page
    assert str(toy_workspace) not in page
    assert page.count("| difference | image | narrations | activity_skill | 0.250 |") == 1
    copied = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    assert copied >= {
        f"study-{name}/{file}"
        for name in ("seeds", "parts")
        for file in ("members.csv", "sweep.png")
    }
    assert pl.read_csv(folder / "study-parts" / "members.csv")["commit"].null_count() == 0
    again: list[str] = []
    study_file.run(found, {}, say=again.append)
    assert any(line.startswith("4 members, 4 complete, 0 to run: about 0.0 s") for line in again)
    assert "4 members, 4 complete" in study_file.plan_lines(found, {})[-1]


def test_a_failed_sweep_does_not_stop_the_study(
    file: Path, toy_workspace: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = members.run

    def fails(sweep: Sweep, **options: object) -> Path:
        run(sweep, **options)  # type: ignore[arg-type]
        if sweep.name == "study-seeds":
            raise RunError("1 of 2 members failed")
        return Path()

    monkeypatch.setattr(members, "run", fails)
    pipeline.save_settings("demo", "demo", toy_settings())
    with pytest.raises(
        RunError, match="1 of 2 sweeps have failed members; first: 1 of 2 members failed"
    ):
        study_file.run(study_file.read(file), {}, say=lambda text: None)
    assert (toy_workspace / "docs/study/study-parts/members.csv").is_file()


def test_markdown_holds_what_strangers_wrote() -> None:
    frame = pl.DataFrame({"a|b": ["x|y", None], "n": [0.12345, 2.0]})
    assert (
        study_file.markdown(frame)
        == "| a\\|b | n |\n| --- | --- |\n| x\\|y | 0.123 |\n|  | 2.000 |"
    )


RETRIEVAL = """
base = "demo"

[[sweep]]
name = "retrieval-loss"
stage = "04"
seeds = [0, 1]
[sweep.points]
"listwise" = {}
"pointwise" = { "04.loss" = "pointwise" }
"""


def test_the_list_of_04_can_be_read() -> None:
    found = study_file.read(LIST.with_name("study_retrieval.toml"))
    assert {entry.stage for entry in found.sweep} == {STAGES[3]}
    assert (found.before, found.name) == (STAGES[2], "study_retrieval")


def test_a_sweep_of_04_is_compared_by_coaches_grades(toy_workspace: Path, in_process: None) -> None:
    """Members read 01 to 03 of the base; what is shown are the systems, paired over learners, with
    p.
    """
    file = toy_workspace / "notebooks" / "study_retrieval.toml"
    file.write_text(RETRIEVAL)
    pipeline.save_settings("demo", "demo", toy_settings())
    folder = study_file.run(study_file.read(file), {}, say=lambda text: None)
    assert folder.name == "study_retrieval"
    found = results.open_sweep("retrieval-loss")
    assert found.judged and found.stages == list(STAGES[3:])
    over = results.spoken(results.over_seeds(results.recalls(found)))
    assert over.row(0, named=True)["judged:vlm_yes_no"] == "0.781 ± 0.044 (n = 2)"
    arms = (
        results.arm_differences(found, draws=50)
        .filter(pl.col("label") == "listwise")
        .row(0, named=True)
    )
    assert (arms["system"], arms["baseline"]) == ("vlm_yes_no", "encoder_narrations")
    assert arms["difference"] == pytest.approx(0.28125) and arms["p"] == pytest.approx(
        1 / 8, abs=0.02
    )
    points = (
        results.point_differences(found, draws=50)
        .filter(pl.col("training") == "vlm_yes_no")
        .row(0, named=True)
    )
    assert points["difference"] == pytest.approx(-0.125) and points["seeds"] == 2
    assert "Mean of ndcg@5 over the test learners" in (folder / "README.md").read_text()
