"""Labelling a sample in a notebook: the CSV, its film strips and the widget put together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sportskills_lib import artifacts
from sportskills_lib.auditing import questions, sampling, scoring, sheets, strips
from sportskills_lib.viewing import gold, widgets
from sportskills_lib.viewing.labelling import Labeller

if TYPE_CHECKING:
    from IPython.display import HTML

SHOWN = 4  # items of the sample in a headless run


def labeller(path: Path, *, pictures: bool = True, workers: int = 2) -> Labeller:
    """The labelling widget over a sample's CSV; every answer is in the file before the next item is shown."""
    sheet = sheets.read(path)
    question = sheet.question

    def save(item_id: str, label: str) -> None:
        sheets.write(path, sheets.read(path).labelled(item_id, label))

    return Labeller(
        sheet.frame,
        ask=question.ask,
        keys=question.keys,
        strips=strips.film_strips(sheet.frame, sheet.run, workers=workers) if pictures else {},
        save=save,
    )


def gold_path(run: str, filter_: str) -> Path:
    """Where a notebook keeps the sample: ``data/gold/<run>/<filter>.csv``, outside the stages, which are made again."""
    return artifacts.run_folder(run).parents[1] / "gold" / run / f"{filter_}.csv"


def label_here(run: str, filter_: str, *, n: int = 40, seed: int = 0, pictures: bool = True) -> Any:
    """A gold sample of a complete stage: in JupyterLab the widget that labels it, headless the same as a page.

    A sample that somebody began to label is kept, whatever the run became since, and its scores are shown; another is
    drawn anew. A headless run shows a few items and writes nothing. Pictures are read in this process: only windows
    that stage 02 could read have any, so leave them out for stage 01.
    """
    path, live = gold_path(run, filter_), widgets.interactive()
    try:
        sheet = sheets.read(path) if path.is_file() else None
    except ValueError as error:  # somebody's work: said, never drawn over, and no reason for the stage to fail
        return _page(f"<p>{gold.text(str(error))}</p>")
    if sheet is None or not (sheet.frame["label"] != "").any():
        try:
            sheet = sampling.draw(run, filter_, n=n, seed=seed)
        except sampling.NothingDrawn as error:
            return _page(f"<p>{gold.text(str(error))}</p>")
        if live:
            path.parent.mkdir(parents=True, exist_ok=True)
            sheets.write(path, sheet)
    if not live:
        return static(sheet, path, pictures=pictures)
    import ipywidgets

    below = ipywidgets.HTML(f'<div class="gold">{_standing(sheet, path)}</div>')
    return ipywidgets.VBox([labeller(path, pictures=pictures, workers=0).widget, below])


def static(sheet: sheets.Sheet, path: Path, *, pictures: bool) -> HTML:
    """What the widget shows, without keys: the question, the first items, how far the labels are and what they say."""
    few = sheet.frame.head(SHOWN)
    shown = strips.film_strips(few, sheet.run, workers=0) if pictures else {}
    items = "".join(gold.item(row, shown) for row in few.iter_rows(named=True))
    labels = ", ".join((*sheet.question.labels, questions.UNSURE))
    asked = f"<p>{gold.text(sheet.question.ask)} ({gold.text(labels)})</p>"
    done = f"<p>{int((sheet.frame['label'] != '').sum())} of {sheet.frame.height} labelled.</p>"
    return _page(f"{asked}{items}{done}{_standing(sheet, path)}")


def _standing(sheet: sheets.Sheet, path: Path) -> str:
    """The command that scores, and the scores if anything is labelled."""
    where = gold.text(str(path.relative_to(artifacts.workspace())))
    told = f"<p>When you have labelled: <code>sportskills audit score {where}</code></p>"
    counted = (sheet.frame["label"] != "") & (sheet.frame["label"] != questions.UNSURE)
    return told + (gold.scores(scoring.score(sheet).scores) if counted.any() else "")


def _page(body: str) -> HTML:
    from IPython.display import HTML

    return HTML(f'<style>{gold.CSS}</style><div class="gold">{body}</div>')
