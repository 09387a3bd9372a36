"""Labelling a sample in a notebook: the CSV, its film strips and the widget put together."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sportskills_lib.apps.audit import gold_sample, judge_scores, questions, sheets, strips
from sportskills_lib.runs import artifacts
from sportskills_lib.viewing import labelling_view, retrieved_queries
from sportskills_lib.viewing.keyboard import is_interactive
from sportskills_lib.viewing.labelling_widget import ItemFilms, LabellingWidget
from sportskills_lib.viewing.markup import style_tag, text
from sportskills_lib.viewing.previews import Preview, Span, make_previews, preview_cache

if TYPE_CHECKING:
    from IPython.display import HTML

SHOWN = 4  # items of the sample in a headless run
AHEAD = 12  # items whose films are made before they are asked for


def labeller(path: Path, *, pictures: bool = True) -> LabellingWidget:
    """The pair auditor over a sample's CSV; every answer is in the file before the next item is
    shown.

    Films are cut as their items come, in a process of its own, and kept: a sample of thousands
    opens at once.
    """
    sheet = sheets.read(path)
    question = sheet.question

    def save(item_id: str, label: str, note: str) -> None:
        sheets.write(path, sheets.read(path).labelled(item_id, label, note))

    films: ItemFilms = (
        SampleFilms(sheet.run, sheet.frame.to_dicts()).films if pictures else lambda row: ()
    )
    return LabellingWidget(
        sheet.frame, ask=question.ask, keys=question.keys, films=films, save=save
    )


class SampleFilms:
    """Films of a sample's items; those of the next items are made in the background while somebody
    looks at one.
    """

    def __init__(self, run: str, rows: Sequence[Mapping[str, Any]]):
        self.rows, self.places = rows, {row["item_id"]: place for place, row in enumerate(rows)}
        self.paths, self.cache = retrieved_queries.video_files(run), preview_cache()
        self.made = 0  # films of all items before this place were made, or are being made
        self.thread = threading.Thread()

    def films(self, row: Mapping[str, Any]) -> list[tuple[str, Preview]]:
        """The films of an item, with their titles; waits for them if they are being made."""
        place = self.places[row["item_id"]]
        if self.thread.is_alive() and place >= self.made - AHEAD:
            self.thread.join()
        spans = self._spans(row)
        found = make_previews([*spans.values()], cache=self.cache, workers=1)
        if not self.thread.is_alive() and self.made < place + AHEAD // 2:
            first, self.made = max(place + 1, self.made), place + 1 + AHEAD
            self.thread = threading.Thread(
                target=self._work, args=(first, self.made), daemon=True, name="films ahead"
            )
            self.thread.start()
        return [(title, found[span.name]) for title, span in spans.items()]

    def _work(self, first: int, last: int) -> None:
        spans = {
            span.name: span for row in self.rows[first:last] for span in self._spans(row).values()
        }
        make_previews([*spans.values()], cache=self.cache, workers=1)

    def _spans(self, row: Mapping[str, Any]) -> dict[str, Span]:
        found = {}
        for prefix, title in (("", "The clip"), ("other_", "The other clip")):
            video_id, start_s, end_s = (
                row[f"{prefix}{name}"] for name in ("video_id", "start_s", "end_s")
            )
            if video_id in self.paths:
                found[title] = Span(
                    f"{video_id} {start_s} {end_s} {title}", self.paths[video_id], start_s, end_s
                )
        return found


def gold_path(run: str, filter_: str) -> Path:
    """Where a notebook keeps the sample: ``data/gold/<run>/<filter>.csv``, outside the stages,
    which are made again.
    """
    return artifacts.run_folder(run).parents[1] / "gold" / run / f"{filter_}.csv"


def label_here(run: str, filter_: str, *, n: int = 40, seed: int = 0, pictures: bool = True) -> Any:
    """A gold sample of a complete stage: in JupyterLab the widget that labels it, headless the same
    as a page.

    A sample that somebody began to label is kept, whatever the run became since, and its scores are
    shown; another is drawn anew. A headless run shows a few items and writes nothing. Pictures are
    read in this process: only windows that stage 02 could read have any, so leave them out for
    stage 01.
    """
    path, live = gold_path(run, filter_), is_interactive()
    try:
        sheet = sheets.read(path) if path.is_file() else None
    except (
        ValueError
    ) as error:  # somebody's work: said, never drawn over, and no reason for the stage to fail
        return _page(f"<p>{text(str(error))}</p>")
    if sheet is None or not (sheet.frame["label"] != "").any():
        try:
            sheet = gold_sample.draw(run, filter_, n=n, seed=seed)
        except gold_sample.NothingDrawn as error:
            return _page(f"<p>{text(str(error))}</p>")
        if live:
            path.parent.mkdir(parents=True, exist_ok=True)
            sheets.write(path, sheet)
    if not live:
        return static(sheet, path, pictures=pictures)
    import ipywidgets

    below = ipywidgets.HTML(labelling_view.view(_standing(sheet, path)))
    return ipywidgets.VBox([labeller(path, pictures=pictures).widget, below])


def static(sheet: sheets.Sheet, path: Path, *, pictures: bool) -> HTML:
    """What the widget shows, without keys: the question, the first items, how far the labels are
    and what they say.
    """
    few = sheet.frame.head(SHOWN)
    shown = strips.film_strips(few, sheet.run, workers=0) if pictures else {}
    items = "".join(labelling_view.item(row, shown) for row in few.iter_rows(named=True))
    labels = ", ".join((*sheet.question.labels, questions.UNSURE))
    question = f"<p>{text(sheet.question.ask)} ({text(labels)})</p>"
    done = f"<p>{int((sheet.frame['label'] != '').sum())} of {sheet.frame.height} labelled.</p>"
    return _page(f"{question}{items}{done}{_standing(sheet, path)}")


def _standing(sheet: sheets.Sheet, path: Path) -> str:
    """The command that scores, and the scores if anything is labelled."""
    where = text(str(path.relative_to(artifacts.workspace())))
    told = f"<p>When you have labelled: <code>sportskills audit score {where}</code></p>"
    counted = (sheet.frame["label"] != "") & (sheet.frame["label"] != questions.UNSURE)
    return told + (labelling_view.scores(judge_scores.score(sheet).scores) if counted.any() else "")


def _page(body: str) -> HTML:
    from IPython.display import HTML

    return HTML(style_tag() + labelling_view.view(body))
