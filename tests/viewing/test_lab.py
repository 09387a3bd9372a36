"""Every widget in a real JupyterLab: keys, mouse, errors, hostile texts, a lost kernel.

Slow: see tests/browsing.py for what it needs. One notebook is opened once; the tests go through it
from top to bottom.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import polars as pl
import pytest
import stage_outputs
from browsing import Browsers, Server, free_port, needs_browser

from sportskills_lib.apps.audit import gold_sample
from sportskills_lib.apps.rate import candidate_draw
from sportskills_lib.apps.rate.page import open_study
from sportskills_lib.apps.rate.store import Study
from sportskills_lib.runs import notebooks, process_guard

pytestmark = needs_browser

THEME = os.environ.get("SPORTSKILLS_THEME", "")  # e.g. "JupyterLab Dark", for pictures of it
RUN, TOKEN = stage_outputs.RUN, "t" * 24
EVIL = (
    '"\'><img class="sk-evil" src="x" '
    'onerror="window.skHit=1"><script>window.skHit=2;alert(3)</script>'
    '<b class="sk-evil">bold</b> ../../etc/passwd \u202egnp.exe\u2066\u200f ' + "long " * 2000
)
EVIL_NAME = ' <img class="sk-evil" src="x" onerror="window.skHit=4">'
CELLS = {
    "open": f"""
from pathlib import Path
from sportskills_lib.apps.audit import labels
from sportskills_lib.apps.rate import page
from sportskills_lib.viewing import funnel_view, inspection_widgets, retrieved_queries
kinds, lost = retrieved_queries.read("{RUN}"), funnel_view.read("{RUN}")""",
    "inspector": "inspection_widgets.inspect_here(kinds, keep=Path('inspector.html'))",
    "funnel": "inspection_widgets.explore_here(lost, keep=Path('funnel.html'))",
    "auditor": f"labels.label_here('{RUN}', 'demonstration', n=12)",
    "rater": "page.rate_here('coaches', 'ann')",
    "break": """
hits, losses = dict(kinds[0].hits), lost.losses
kinds[0].hits.update({name: frame.drop("rank") for name, frame in hits.items()})
object.__setattr__(lost, "losses", losses.drop("item_id"))""",
    "mend": """
kinds[0].hits.update(hits)
object.__setattr__(lost, "losses", losses)""",
}
SPORT = " .widget-dropdown:has(label:text-is('sport')) select"
NUMBERS = {name: number for number, name in enumerate(CELLS)}
BOXES = {
    "inspector": ".sk-box:has(.inspector)",
    "funnel": ".sk-box:has(.funnel)",
    "auditor": ".sk-box:has(.gold)",
    "rater": ".sk-box.sk-rater",
}
SHOWN = {  # where each says what is looked at
    "inspector": f"{BOXES['inspector']} .inspector > p",
    "funnel": f"{BOXES['funnel']} .funnel :is(.two p b, p:first-child)",
    "auditor": f"{BOXES['auditor']} .state",
    "rater": f"{BOXES['rater']} .state",
}


class Lab(Server):
    """JupyterLab as anybody starts it, in a folder of its own, with the settings of nobody; ended
    with this process.
    """

    def __init__(self, home: Path, own: Path):
        port = free_port()
        names = (
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
            "IPYTHONDIR",
        )
        places = {name: str(own / name.lower()) for name in (*names, "JUPYTERLAB_SETTINGS_DIR")}
        quiet = (
            own
            / "jupyterlab_settings_dir/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
        )
        quiet.parent.mkdir(parents=True)
        quiet.write_text(
            '{"checkForUpdates": false, "fetchNews": "false"}'
        )  # else it asks, and looks outside
        if THEME:
            theme = quiet.with_name("themes.jupyterlab-settings")
            theme.write_text(json.dumps({"theme": THEME}))
        command = [
            "-m",
            "sportskills_lib.runs.process_guard",
            "jupyterlab",
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
        ]
        command += [
            f"--port={port}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={TOKEN}",
        ]
        command.append(f"--ServerApp.root_dir={home}")
        # The kernels' parent is this server, and they print where it prints.
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in (process_guard.PARENT_VARIABLE, process_guard.LOG_VARIABLE)
        }
        with (own / "lab.log").open("w") as log:
            super().__init__(
                command, port, path=f"/api?token={TOKEN}", env=kept | places, stdout=log, stderr=log
            )


def hostile(patch: pytest.MonkeyPatch) -> None:
    """Sentences, channels, comments and skills of the made-up stages get what an attacker would
    write.
    """
    clips, learners, said = (
        stage_outputs.clip_rows,
        stage_outputs.learner_rows,
        stage_outputs.narration_rows,
    )
    skill = pl.col("skill") + EVIL_NAME
    patch.setattr(
        stage_outputs, "clip_rows",
        lambda *args: clips(*args).with_columns(skill, channel=pl.col("channel") + " " + EVIL),
    )  # fmt: skip
    patch.setattr(
        stage_outputs,
        "learner_rows",
        lambda *args: learners(*args).with_columns(skill, comment=pl.lit("knees " + EVIL)),
    )
    patch.setattr(
        stage_outputs,
        "narration_rows",
        lambda rows: said(rows).with_columns(
            text=pl.format("mind {} {}", "narration_id", pl.lit(EVIL))
        ),
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace with a whole run, films, a study, and a notebook that opens every widget."""
    folder = tmp_path_factory.mktemp("lab") / "home"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPORTSKILLS_HOME", str(folder))
        hostile(patch)
        stage_outputs.write_stages(folder, sports=("golf", "judo"), judged=True)
        stage_outputs.write_evaluation()
        stage_outputs.write_films(folder)
        candidate_draw.draw(
            Study("coaches", RUN, "pools", (), 3, "test", ("ann",), 1, 0.0, 0), learners=4
        )
        book = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(code.strip()) for code in CELLS.values()]
        )
        book.metadata = {
            "kernelspec": {"name": notebooks.KERNEL, "display_name": "x", "language": "python"}
        }
        nbformat.write(book, folder / "look.ipynb")
        yield folder


@pytest.fixture(scope="module")
def lab(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    own = tmp_path_factory.mktemp("jupyter")
    with notebooks.guarded_kernel(home, own / "kernel.log"):
        made = Lab(home, own)
        yield made
        made.end()


@pytest.fixture(scope="module")
def browsers(lab: Lab) -> Iterator[Browsers]:
    url = f"http://127.0.0.1:{lab.port}/lab/tree/look.ipynb?token={TOKEN}&reset"
    made = Browsers(Path(__file__).with_name("lab_pages.py"), {"lab": url})
    try:
        made.do("run all", page="lab")
        yield made
    finally:
        made.close()


class Widget:
    """One widget of the page, by name; every step's seconds and bytes are kept."""

    def __init__(self, browsers: Browsers, name: str):
        self.browsers, self.name, self.box = browsers, name, BOXES[name]
        self.script = f"document.querySelector({SHOWN[name]!r}).textContent"
        self.steps: list[dict[str, Any]] = []

    def do(self, what: str, **asked: Any) -> Any:
        return self.browsers.do(what, page="lab", **asked)

    def shown(self) -> str:
        return self.evaluate(self.script)

    def evaluate(self, script: str) -> Any:
        return self.do("evaluate", script=script)

    def count(self, what: str) -> int:
        return self.evaluate(f"document.querySelectorAll({f'{self.box} {what}'!r}).length")

    def focus(self) -> None:
        """Give the keys to the widget, and show it from its top."""
        self.evaluate(
            f"(b => {{b.scrollIntoView(); b.focus()}})(document.querySelector({self.box!r}))"
        )

    def step(self, do: str = "press", **asked: Any) -> str:
        """Do something, wait until the view changed; what it shows then."""
        told = self.do("step", shown=self.script, by={"do": do, **asked})
        self.steps.append(told)
        return told["shown"]

    def key(self, key: str) -> str:
        return self.step(keys=[key])

    def button(self, label: str) -> str:
        """Click the button whose label holds these words."""
        return self.step("click", at=f'{self.box} .sk-keys button:has-text("{label}")')

    def wait(self, script: str, seconds: float = 30) -> None:
        self.do("wait", script=script, seconds=seconds)

    def error(self) -> str:
        """The line in red."""
        found = f"document.querySelector({f'{self.box} .sk-error'!r})"
        self.wait(f"!{found}.hidden && getComputedStyle({found}).color === 'rgb(255, 255, 255)'")
        return self.evaluate(f"{found}.textContent")

    def lost(self) -> str:
        """What is said of a kernel that does not answer; "" when nothing is."""
        line = f"document.querySelector({f'{self.box} .sk-lost'!r})"
        return self.evaluate(f"{line}.hidden ? '' : {line}.textContent")

    def picture(self, name: str) -> None:
        self.evaluate(f"document.querySelector({self.box!r}).scrollIntoView()")
        time.sleep(0.8)
        self.browsers.picture(name, "lab")

    def told(self) -> None:
        """Print what the steps took; the goals are a second and 2 MB."""
        seconds, sizes = (
            sorted(step[name] for step in self.steps) for name in ("seconds", "bytes")
        )
        middle = len(seconds) // 2
        print(
            f"\n{self.name}: {len(seconds)} steps, median {seconds[middle]:.2f} s, slowest "
            f"{seconds[-1]:.2f} s; "
            f"bytes: median {sizes[middle]:,}, most {sizes[-1]:,}"
        )
        assert seconds[middle] < 1.0 and sizes[-1] < 2e6


def test_the_inspector(browsers: Browsers) -> None:
    widget = Widget(browsers, "inspector")
    widget.focus()
    first = widget.shown()
    assert first.startswith("1 of ") and "all sports" in first
    assert widget.key("j").startswith("2 of ") and widget.key("k") == first
    widget.wait(
        f"[...document.querySelectorAll({widget.box + ' video'!r})].some(v => !v.paused && "
        "v.currentTime > 0)"
    )
    assert "failures" in widget.key("f") and "near misses" in widget.button("next filter")
    while "all, worst first" not in widget.shown():
        widget.button("next filter")
    chosen = widget.step("choose", at=widget.box + SPORT, label="golf")
    assert "golf" in chosen and widget.key("j").startswith(
        "2 of "
    )  # the focus came back from the list
    widget.step("click", at=f"{widget.box} button:has-text('first query')")
    before = widget.shown()
    widget.do("press", keys=["j"] * 8)
    widget.wait(f"{widget.script}.startsWith('9 of ')")  # none lost, none double
    assert before.startswith("1 of ")
    systems = f"document.querySelectorAll({widget.box + ' .system > p b'!r})"
    one, two = widget.evaluate(f"[...{systems}].map(b => b.innerText)")
    widget.do("press", keys=["x"])
    widget.wait(f"{systems}[0].innerText === {two!r} && {systems}[1].innerText === {one!r}")
    widget.picture("inspector")
    assert "learner" not in before and widget.key("m") != before
    widget.wait(
        f"[...document.querySelectorAll({widget.box + ' video'!r})].some(v => !v.paused && "
        "v.currentTime > 0)"
    )
    widget.picture("inspector_learners")
    widget.key("m")
    widget.told()


def test_the_funnel(browsers: Browsers) -> None:
    widget = Widget(browsers, "funnel")
    widget.focus()
    first = widget.shown()
    assert "1 to " in first
    assert widget.key("j") != first and widget.button("previous reason") == first
    second = widget.key("j")
    assert widget.key("k") == first and widget.key("j") == second
    field = f"{widget.box} input[type=text]"
    widget.do("click", at=field)
    widget.do("type", text="golf40-vid")
    path = widget.step(keys=["Enter"])
    assert "golf40-vid" in path
    strip = f"{widget.box} img[alt='film strip']"
    widget.wait(f"document.querySelector({strip!r}) !== null")  # made in the background
    widget.picture("funnel_video")
    # Letters that are keys elsewhere are text in a field, and no cell is added or cut by
    # JupyterLab.
    widget.do("click", at=field)
    widget.do("press", keys=["Control+a"])
    widget.do("type", text="nobxjkdd")
    assert (
        widget.evaluate(f"document.querySelector({field!r}).value") == "nobxjkdd"
        and widget.shown() == path
    )
    assert "nobxjkdd" in widget.step(keys=["Enter"])
    assert widget.evaluate("document.querySelectorAll('.jp-Notebook .jp-Cell').length") == len(
        CELLS
    )
    widget.do("press", keys=["Escape"])  # leaves the field
    time.sleep(0.3)
    assert widget.key("Escape") == second  # goes back
    widget.picture("funnel")
    widget.told()


def sheet(home: Path) -> pl.DataFrame:
    return gold_sample.read(home / f"data/gold/{RUN}/demonstration.csv").frame


def test_the_auditor(home: Path, browsers: Browsers) -> None:
    widget = Widget(browsers, "auditor")
    widget.focus()
    assert widget.shown().startswith("1 of 12, 0 labelled") and (sheet(home)["label"] == "").all()
    widget.wait(
        f"[...document.querySelectorAll({widget.box + ' video'!r})].some(v => !v.paused && "
        "v.currentTime > 0)"
    )
    assert "label it first" in widget.key("v")
    assert "1 labelled" in widget.key("c") and "2 labelled" in widget.button("unsure")
    assert sheet(home)["label"].to_list()[:3] == ["correct", "unsure", ""]
    assert widget.key("z").startswith("2 of 12, 2 labelled, labelled unsure")
    widget.do("press", keys=["v"])
    widget.wait(f"document.querySelector({widget.box!r}).innerText.includes('judge: ')")
    assert "verdict seen after unsure" in sheet(home)["note"][1]
    widget.do("press", keys=[" "])
    widget.wait(f"document.querySelector({widget.box + ' video'!r}).paused")
    widget.picture("auditor")
    assert widget.key("x").startswith("3 of 12")
    widget.told()


def test_the_rater(browsers: Browsers) -> None:
    widget, store = Widget(browsers, "rater"), open_study("coaches")
    widget.focus()
    assert "0 of " in widget.shown()
    films = f"[...document.querySelectorAll({widget.box + ' video'!r})]"
    widget.wait(f"{films}.length === 2 && {films}.every(v => !v.paused && v.currentTime > 0)")
    assert "Saved: 3" in widget.key("3")
    time.sleep(0.5)
    assert "Saved: 1" in widget.button("same skill")
    given = [row["grade"] for row in store.queue("ann")]
    assert given[:3] == [3, 1, None]
    widget.do("press", keys=["c"])
    widget.wait("document.activeElement.tagName === 'TEXTAREA'")
    widget.do("type", text="0123 bn <b>hips</b>")  # no grade, no step
    time.sleep(1)
    widget.do("press", keys=["Escape"])
    time.sleep(0.3)
    assert [row["grade"] for row in store.queue("ann")] == given
    assert "Saved: 2" in widget.key("2")
    assert store.queue("ann")[2]["comment"] == "0123 bn <b>hips</b>"
    assert "pair 3, graded 2" in widget.key("b")
    widget.key("n")
    time.sleep(0.5)
    widget.do("press", keys=["c"])
    widget.wait("document.activeElement.tagName === 'TEXTAREA'")
    widget.do("type", text="all of it, to the last letter")
    widget.do(
        "press", keys=["Escape", "0"]
    )  # at once: no letter is lost to the next pair, no grade becomes a letter
    widget.wait(f"{widget.script}.includes('Saved: 0')")
    fast = store.queue("ann")
    assert (fast[3]["grade"], fast[3]["comment"]) == (0, "all of it, to the last letter")
    assert (fast[4]["grade"], fast[4]["comment"]) == (None, "")
    widget.do("press", keys=["r", "ArrowRight"])
    widget.wait(f"{films}.every(v => v.paused && !v.seeking)")
    time.sleep(0.5)
    before = widget.evaluate(f"{films}.map(v => v.currentTime)")
    widget.do("press", keys=["ArrowRight"])
    time.sleep(0.5)
    after = widget.evaluate(f"{films}.map(v => v.currentTime)")
    assert [round(b - a, 2) for a, b in zip(before, after, strict=True)] == [
        0.1,
        0.1,
    ]  # 10 frames a second
    widget.do("press", keys=["s"])
    widget.wait(f"{films}.every(v => v.playbackRate === 0.5)")
    widget.picture("rater")
    widget.told()


def test_a_key_goes_to_one_widget_only(browsers: Browsers) -> None:
    every = {name: Widget(browsers, name) for name in BOXES}
    for name, key in {"inspector": "j", "funnel": "k", "auditor": "x", "rater": "n"}.items():
        before = {other: widget.shown() for other, widget in every.items()}
        every[name].focus()
        every[name].key(key)
        time.sleep(0.5)
        changed = {other for other, widget in every.items() if widget.shown() != before[other]}
        assert changed == {name}


def test_an_error_in_a_callback_is_seen_and_the_widget_lives_on(
    home: Path, browsers: Browsers
) -> None:
    inspector, funnel = Widget(browsers, "inspector"), Widget(browsers, "funnel")
    inspector.do("run cell", number=NUMBERS["break"])
    for widget, told in ((inspector, "KeyError: 'rank'"), (funnel, "item_id")):
        widget.focus()
        widget.do("press", keys=["j", "k"])
        assert told in (error := widget.error()) and "Error: " in error
        widget.picture(f"{widget.name}_error")
    inspector.do("run cell", number=NUMBERS["mend"])
    for widget in (inspector, funnel):
        widget.focus()
        widget.do("press", keys=["j"])
        widget.wait(f"document.querySelector({widget.box + ' .sk-error'!r}).hidden")
    files = {
        "auditor": (
            home / f"data/gold/{RUN}/demonstration.csv",
            "u",
            "ValueError: there is no file",
        ),
        "rater": (home / "data/ratings/coaches/ratings.sqlite", "1", "Error: "),
    }
    for name, (path, key, told) in files.items():
        widget = Widget(browsers, name)
        widget.focus()
        before, away = path.read_bytes(), path.with_suffix(".away")
        path.rename(away)
        widget.do("press", keys=[key])
        assert told in widget.error()
        widget.picture(f"{name}_error")
        assert not path.exists() and away.read_bytes() == before
        away.rename(path)
        time.sleep(0.5)
        assert "saved" in widget.key(key).lower()
        widget.wait(f"document.querySelector({widget.box + ' .sk-error'!r}).hidden")


def test_hostile_texts_are_text(browsers: Browsers) -> None:
    page = {"page": "lab"}
    assert (
        browsers.do(
            "evaluate", script="document.querySelectorAll('.jp-OutputArea .sk-evil').length", **page
        )
        == 0
    )
    assert browsers.do("evaluate", script="window.skHit === undefined", **page) is True
    assert browsers.do("dialogs", **page) == []
    funnel = Widget(browsers, "funnel")
    funnel.do("click", at=f"{funnel.box} input[type=text]")
    funnel.do("type", text="golf40-vid")
    funnel.step(keys=["Enter"])
    for name, box in BOXES.items():
        shown = browsers.do(
            "evaluate", script=f"document.querySelector({box!r}).textContent", **page
        )
        assert "sk-evil" in shown and "long " * 400 not in shown, name
        assert not set(shown) & set("\u202e\u2066\u200f"), name
    outside = [
        url
        for url in browsers.do("requests", **page)
        if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))
    ]
    assert outside == []


def test_a_lost_kernel_is_said(lab: Lab, browsers: Browsers) -> None:
    widgets = {name: Widget(browsers, name) for name in BOXES}
    assert not any(widget.lost() for widget in widgets.values())
    lab.kernels()[0].kill()
    widgets["inspector"].wait("document.querySelector('.jp-Dialog')")
    widgets["inspector"].do("accept")  # JupyterLab says that it restarts the kernel
    for name, key in {"inspector": "j", "funnel": "j", "auditor": "u", "rater": "1"}.items():
        widgets[name].focus()
        widgets[name].do("press", keys=[key])
    for widget in widgets.values():
        widget.wait(f"!document.querySelector({widget.box + ' .sk-lost'!r}).hidden")
        assert "run this cell again" in widget.lost().lower()
    widgets["inspector"].picture("inspector_lost")
    widgets["rater"].picture("rater_lost_lab")
    browsers.do("run all", page="lab")
    for name, key in {"inspector": "j", "funnel": "j", "auditor": "x", "rater": "n"}.items():
        widgets[name].focus()
        widgets[name].key(key)
        assert widgets[name].lost() == ""
    assert "2 labelled" in widgets["auditor"].shown() or "3 labelled" in widgets["auditor"].shown()
    widgets["inspector"].do("menu", name="Kernel", entry="Restart Kernel…")
    widgets["inspector"].do("accept")
    for widget in widgets.values():
        widget.wait(f"!document.querySelector({widget.box + ' .sk-lost'!r}).hidden")
        assert "was restarted" in widget.lost()
    widgets["rater"].wait(
        "document.querySelector('.jp-Notebook-ExecutionIndicator').dataset.status === 'idle'", 60
    )
