"""Every command in README.md and docs/ is run here, planned, or at least read by the command line's
own parser.

Commands are found in fenced and indented blocks and in inline code. Each must fall under one of the
rules below, which say how it is tried and, where it is not run, why; a command that falls under
none fails, so that none is skipped silently. What is run is run on a small library of generated
lessons, as the run ``mine``.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from sportskills_lib import Run, cli
from sportskills_lib.config import CONFIGS
from sportskills_lib.runs import artifacts

sys.path.insert(0, str(Path(__file__).parent / "apps" / "advise"))
sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))

import make_tables
from advice_runs import make_library

ROOT = Path(cli.__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
STARTS = r"(?:sportskills|make|papermill|torchrun|accelerate|python|mamba|jupyter|voila) "
TARGETS = "help|reproduce|study|demo|test|lint|format|lab|gpu|lock|clean|setup"

# How a command is tried, the first rule that fits: run it, plan it (--plan is added), read it (the
# command line parses
# it, and runs nothing), dry (make -n), or leave it (a reason, and nothing is tried but that what it
# names exists).
RULES: list[tuple[str, str, str]] = [
    (r".*(…|<\w+>).*", "leave", "a pattern for the reader to fill in, not a command"),
    (
        r"make (" + TARGETS + r")\b.*",
        "dry",
        "make says what it would do: these take minutes to hours, or a browser",
    ),
    (r"papermill .*", "leave", "runs a whole notebook; its name and parameters are checked"),
    (
        r"(torchrun|accelerate launch) .*",
        "leave",
        "needs several processes; tests/encoder/test_processes.py starts them",
    ),
    (
        r"python -m sportskills_lib\.\S+.*",
        "leave",
        "the module is looked up; the page of tables is compared below",
    ),
    (r"python docs/\S+.*", "leave", "writes a page that a test compares; the file is looked up"),
    (r"python benchmarks/\S+.*", "leave", "a measurement of minutes; the file is looked up"),
    (r"mamba env create .*", "leave", "installs packages; the file is looked up"),
    (r"sportskills (status|probe|doctor|taxonomy|export|advise|report)\b.*", "run", ""),
    (
        r"sportskills audit sample --filter supervision\b.*",
        "read",
        "needs 04; tests/auditing runs it",
    ),
    (
        r"sportskills audit score .*--against\b.*",
        "read",
        "needs a second run's judge; tests/auditing runs it",
    ),
    (r"sportskills audit (sample|score|spans)\b.*", "run", ""),
    (
        r"sportskills reproduce --preset paper\b.*",
        "read",
        "trains a large model; tests/apps/sweep/test_plans.py plans it",
    ),
    (
        r"sportskills (reproduce|sweep|study)\b.*",
        "plan",
        "trains models; what it would do is computed",
    ),
    (r"sportskills plan\b.*", "run", ""),
    (
        r"sportskills compare\b.*",
        "read",
        "needs two evaluated runs; tests/evaluation/test_run_pairs.py runs it",
    ),
    (
        r"sportskills fetch\b.*",
        "read",
        "asks the network; tests/curation/test_fetch_command.py runs it on a stand-in",
    ),
    (r"sportskills demo\b.*", "read", "renders films for minutes; tests/demo makes a small world"),
    (
        r"sportskills rate (draw|status|export)\b.*",
        "read",
        "needs an evaluated run and raters; its own tests run it",
    ),
    (r"sportskills rate import\b.*", "read", "needs a table of grades; tests/apps/rate makes one"),
    (
        r"sportskills (rate serve|inspect|audit label)\b.*",
        "read",
        "serves a page until stopped; its own tests start it",
    ),
]
# Inline code that names a command without what it needs, or files that only the reader has.
BARE = {
    "sportskills advise",
    "sportskills probe",
    "sportskills plan",
    "sportskills compare",
    "sportskills rate serve",
}


def commands(text: str) -> list[str]:
    """The commands of a page: lines of blocks and inline code that begin with one, comments off."""
    found = []
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"^ {4}(?=" + STARTS + r")(.+)$", prose, flags=re.MULTILINE)
    lines += re.findall(r"`(" + STARTS + r"[^`]+)`", prose)
    for line in lines:
        if re.match(STARTS, line.strip()):
            found.append(re.sub(r"\s+", " ", line.split("  #")[0].split(" # ")[0]).strip())
    return found


def every_command() -> dict[str, str]:
    """Command → the page that has it first."""
    found: dict[str, str] = {}
    for page in PAGES:
        for command in commands(page.read_text(encoding="utf-8")):
            found.setdefault(command, page.relative_to(ROOT).as_posix())
    return found


COMMANDS = every_command()


def rule(command: str) -> tuple[str, str] | None:
    """How the command is tried and why so; None where no rule fits."""
    return next(((how, why) for pattern, how, why in RULES if re.fullmatch(pattern, command)), None)


def chosen(how: str) -> list[str]:
    """The commands that are tried so."""
    return [command for command in COMMANDS if (found := rule(command)) and found[0] == how]


def test_commands_are_found_in_every_form() -> None:
    text = (
        "```sh\nmake test   # the tests\nls\n```\nso `sportskills status --run "
        "x`:\n\n    sportskills doctor\n"
    )
    assert commands(text) == ["make test", "sportskills doctor", "sportskills status --run x"]
    assert len(COMMANDS) > 50 and COMMANDS["make reproduce"] == "README.md"


def test_no_command_is_skipped_silently() -> None:
    assert [
        f"{page}: {command}" for command, page in COMMANDS.items() if rule(command) is None
    ] == []
    assert all(why for _, how, why in RULES if how != "run")
    assert rule("sportskills abracadabra") is None and rule("sudo make me") is None


# ---------------------------------------------------------------------------------------------- run


@pytest.fixture(scope="module")
def _library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the run ``mine`` up to 03, and the files that the commands name."""
    home = make_library(tmp_path_factory.mktemp("docs") / "ws")
    for run in ("mine", "demo"):
        shutil.copytree(home / "data/runs/t", home / "data/runs" / run)
        source = {stage: {"source": "data/raw/mine"} for stage in artifacts.STAGES[:2]}
        (home / "data/runs" / run / "run.json").write_text(
            json.dumps({"preset": "local", "settings": source})
        )
    for name in ("film.mp4", "my_serve.mp4"):
        shutil.copyfile(home / "data/raw/mine/lesson1.mp4", home / name)
    for name in ("lessons", "learners"):
        shutil.copytree(home / "data/raw/mine", home / name)
    (home / "films.csv").write_text("path,sport,skill\ndata/raw/mine/lesson1.mp4,tennis,serve\n")
    clips = artifacts.StageReader(home / "data/runs/mine/02_pairing").table("clips")
    spans = clips.select("video_id", "start_s", "end_s", "demonstration")
    spans.write_csv(home / "spans.csv")
    for name in ("demo", "mine"):
        (home / "reports" / name).mkdir(parents=True, exist_ok=True)
        (home / "reports" / name / "index.html").write_text("<p>a report</p>")
    for path in ("study.toml", "study_retrieval.toml"):
        shutil.copyfile(ROOT / "notebooks" / path, home / "notebooks" / path)
    return home


@pytest.fixture
def call(
    _library: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable:
    """Call the command line in the small workspace; its exit code and what it said."""
    monkeypatch.setenv("SPORTSKILLS_HOME", str(_library))
    monkeypatch.setenv("HOME", str(_library))
    monkeypatch.chdir(_library)

    def run(command: str, *more: str) -> tuple[int, str]:
        words = [
            word.replace("~", str(_library), 1) if word.startswith("~/") else word
            for word in shlex.split(command)
        ]
        monkeypatch.setattr(sys, "argv", [*words, *more])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out + captured.err

    return run


def sample(call: Callable, home: Path) -> None:
    """gold.csv, drawn and labelled, for the commands that read one."""
    for old in home.glob("gold.*"):
        old.unlink()
    assert call("sportskills audit sample --run mine --filter actionability --to gold.csv")[0] == 0
    sheet = pl.read_csv(home / "gold.csv", infer_schema=False)
    sheet.with_columns(label=pl.lit("yes")).write_csv(home / "gold.csv")


@pytest.mark.parametrize("command", [command for command in chosen("run") if command not in BARE])
def test_quick_commands_run(command: str, call: Callable, _library: Path) -> None:
    if " audit score" in command:
        sample(call, _library)
    elif " audit sample" in command:
        for old in _library.glob("gold.*"):
            old.unlink()
    shutil.rmtree(_library / "shards", ignore_errors=True)
    code, said = call(command)
    assert code == 0 or (command == "sportskills doctor" and code == 1), said


@pytest.mark.parametrize("command", [command for command in chosen("plan") if command not in BARE])
def test_long_commands_are_planned(command: str, call: Callable) -> None:
    more = [] if "--plan" in command else ["--plan"]
    code, said = call(command, *more)
    assert code == 0 and said.strip(), said


@pytest.mark.parametrize("command", [*chosen("read"), *sorted(BARE & set(COMMANDS))])
def test_the_rest_is_read_by_the_command_line(command: str) -> None:
    """Options, arguments and values are parsed; nothing is run. A bare command is only looked
    up.
    """
    import typer

    words = shlex.split(command)[1:]
    group = typer.main.get_command(cli.app)
    while words and (step := getattr(group, "commands", {}).get(words[0])) is not None:
        group, words = step, words[1:]
    assert group.name != "cli" and not hasattr(group, "commands"), f"no such command: {command}"
    if command not in BARE:
        group.make_context(command, words)


# ----------------------------------------------------------------------------------- not run at all


@pytest.mark.parametrize("command", chosen("dry"))
def test_make_knows_what_it_would_do(command: str) -> None:
    done = subprocess.run(
        ["make", "-n", *shlex.split(command)[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and done.stdout.strip(), done.stderr


@pytest.mark.parametrize("command", chosen("leave"))
def test_what_is_left_names_what_there_is(command: str) -> None:
    words = command.split()
    if words[0] == "papermill":
        notebook, known = ROOT / words[1], CONFIGS[Path(words[1]).stem].model_fields
        assert notebook.is_file()
        given = [words[at + 1] for at, word in enumerate(words) if word == "-p"]
        assert all(name == "run" or name in known for name in given)
    modules = [
        words[at + 1]
        for at, word in enumerate(words)
        if word == "-m" and "sportskills_lib" in words[at + 1]
    ]
    for module in modules:
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file()
    if words[0] == "python" and words[1] != "-m":
        assert (ROOT / words[1]).is_file()
    if words[0] == "sportskills":
        group = cli.app.registered_commands + cli.app.registered_groups
        assert words[1] in {each.name or each.callback.__name__ for each in group}  # type: ignore[union-attr]


# -------------------------------------------------------------------------------------------- pages


def test_the_page_of_tables_is_up_to_date() -> None:
    page = (ROOT / "docs/tables.md").read_text(encoding="utf-8")
    assert page == make_tables.markdown(), "run `python docs/make_tables.py > docs/tables.md`"
    assert all(f"## {name.lower()}" in page for name in make_tables.FILES)


def test_the_examples_of_the_api_run(
    toy_workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = artifacts.begin("demo", "02_pairing", CONFIGS["02_pairing"](source="data/raw/mine"))
    stage.save("clips", pl.DataFrame({"clip_id": ["a", "b"], "sport": ["judo", "judo"]}))
    stage.save("pairs", pl.DataFrame({"clip_id": ["a"], "narration_id": ["n"]}))
    stage.finish(clips=2)
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    for example in examples:
        exec(compile(example, "docs/api.md", "exec"), names)
    run = names["run"]
    assert isinstance(run, Run) and len(examples) == 4
    assert run.stages() == ["02_pairing"] and run.tables("02_pairing") == ["clips", "pairs"]
    assert run.table("pairing", "clips").height == 2
    assert run.config("02").source == "data/raw/mine"
    assert "no table of 02_pairing named 'clip'; there are clips, pairs" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"no run named 'nobody'; there are demo"):
        Run("nobody")
    with pytest.raises(ValueError, match=r"no file of 02_pairing named 'x'; there are clips"):
        run.path("pairing", "x")


def test_importing_the_package_loads_no_polars() -> None:
    script = "import sys, sportskills_lib\nprint('polars' in sys.modules, sportskills_lib.Run)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith("False <class"), done.stderr


def test_every_page_is_reached_from_the_index() -> None:
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert [name for name in sorted(pages) if f"({name})" not in index] == []
    assert "docs/index.md" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_committed_study_holds_what_the_study_copies() -> None:
    files = [path for path in (ROOT / "docs").rglob("study*/*/*") if path.is_file()]
    assert files and {path.suffix for path in files} <= {".png", ".csv", ".tex"}
    assert [
        path.name for path in files if path.stem.endswith("_all") or path.stat().st_size > 400_000
    ] == []


def test_the_figures_told_of_the_study_stand_in_its_tables() -> None:
    told = (
        (ROOT / "docs/retrieval.md").read_text(encoding="utf-8").partition("## The study of 04")[2]
    )
    quoted = {float(figure.replace("−", "-")) for figure in re.findall(r"[+−]?\d\.\d{3,}", told)}
    known: set[float] = set()
    for path in (ROOT / "docs/study_retrieval").rglob("*.csv"):
        for column in (
            pl.read_csv(path, infer_schema_length=None).select(pl.selectors.float()).iter_columns()
        ):
            known |= {round(value, places) for value in column.drop_nulls() for places in (3, 4)}
    assert len(quoted) > 20 and quoted <= known, quoted - known
