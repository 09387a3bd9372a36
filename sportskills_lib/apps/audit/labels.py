"""Labelling a sample in a notebook: the CSV, its films and the widget put together."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib.apps.audit import gold_sample, judge_scores
from sportskills_lib.plots import notebook_tables
from sportskills_lib.runs import artifacts
from sportskills_lib.viewing import pair_auditor, retrieved_queries
from sportskills_lib.viewing.keyboard import is_interactive
from sportskills_lib.viewing.markup import style_tag, text
from sportskills_lib.viewing.pair_auditor import ItemFilms, PairAuditor
from sportskills_lib.viewing.previews import Preview, Span, make_previews, preview_cache

SHOWN = 4  # items of the sample in a headless run
AT_ONCE = 6  # items whose films are made together, and ahead of those that are looked at


def labeller(path: Path, *, pictures: bool = True) -> PairAuditor:
    """The pair auditor over a sample's CSV; every answer is in the file before the next item is
    shown.

    Films are cut as their items come, in a process of its own, and kept: a sample of thousands
    opens at once.
    """
    sheet = gold_sample.read(path)

    def save(item_id: str, label: str, note: str) -> None:
        gold_sample.write(path, gold_sample.read(path).labelled(item_id, label, note))

    return PairAuditor(
        sheet.frame,
        ask=sheet.question.ask,
        keys=sheet.question.keys,
        films=_films(sheet) if pictures else lambda row: (),
        save=save,
    )


def _films(sheet: gold_sample.Sheet) -> ItemFilms:
    """The films of an item, with their titles; those of the next items are made in the background
    while somebody looks at one.
    """
    paths, thread = retrieved_queries.video_files(sheet.run), ThreadPoolExecutor(1)
    spans = {row["item_id"]: _spans(row, paths) for row in sheet.frame.iter_rows(named=True)}
    ids = list(spans)

    @lru_cache(maxsize=4)  # films of more items stay on disk alone
    def start(first: int) -> Future[dict[str, Preview]]:
        wanted = [span for item in ids[first : first + AT_ONCE] for span in spans[item].values()]
        return thread.submit(make_previews, wanted, cache=preview_cache(), workers=1)

    def films(row: Mapping[str, Any]) -> list[tuple[str, Preview]]:
        first = ids.index(row["item_id"]) // AT_ONCE * AT_ONCE
        made, _ = start(first), start(first + AT_ONCE)
        try:
            found = made.result()
        except Exception:
            start.cache_clear()  # so that the next look tries again
            raise
        return [(title, found[span.name]) for title, span in spans[row["item_id"]].items()]

    return films


def film_strips(frame: pl.DataFrame, run: str, *, workers: int = 2) -> dict[str, bytes]:
    """Film strips (WebP) of a sample's items by item_id, and by ``item_id`` + " other" of a pair's
    second clip; a span whose video cannot be read has none.
    """
    paths = retrieved_queries.video_files(run)
    spans = [span for row in frame.to_dicts() for span in _spans(row, paths).values()]
    made = make_previews(spans, cache=preview_cache(), films=False, workers=workers)
    return {name: preview.strip for name, preview in made.items() if preview.strip}


def _spans(row: Mapping[str, Any], paths: Mapping[str, Path]) -> dict[str, Span]:
    """The item's stretches of film whose video is known, by title."""
    found = {}
    for title, prefix, name in (
        ("The clip", "", row["item_id"]),
        ("The other clip", "other_", f"{row['item_id']} other"),
    ):
        video_id, start_s, end_s = (row[f"{prefix}{column}"] for column in gold_sample.SPAN)
        if video_id in paths:
            found[title] = Span(name, paths[video_id], start_s, end_s)
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
    shown; another is drawn anew. What keeps it from being read or drawn is shown in its place, and
    is no reason for the stage to fail. A headless run shows a few items and writes no sample.
    Pictures are read in this process then: only windows that stage 02 could read have any, so leave
    them out for stage 01.
    """
    path, live = gold_path(run, filter_), is_interactive()
    try:  # people edit the file
        sheet = gold_sample.read(path) if path.is_file() else None
    except ValueError as error:
        return _page(text(error))
    if sheet is None or not (sheet.frame["label"] != "").any():
        try:
            sheet = gold_sample.draw(run, filter_, n=n, seed=seed)
        except gold_sample.NothingDrawn as nothing:
            return _page(text(nothing))
        if live:
            path.parent.mkdir(parents=True, exist_ok=True)
            gold_sample.write(path, sheet)
    where = text(path.relative_to(artifacts.workspace()))
    standing = f"<p>When you have labelled: <code>sportskills audit score {where}</code></p>"
    if sheet.answers.height:
        standing += notebook_tables.html(judge_scores.score(sheet).scores) + judge_scores.READING
    if not live:
        return _page(_first_items(sheet, pictures=pictures) + standing)
    import ipywidgets

    below = ipywidgets.HTML(pair_auditor.view(standing))
    return ipywidgets.VBox([labeller(path, pictures=pictures).widget, below])


def _first_items(sheet: gold_sample.Sheet, *, pictures: bool) -> str:
    """What the widget shows, without keys: the question, the first items, and how far the labels
    are.
    """
    few, labels = sheet.frame.head(SHOWN), (*sheet.question.labels, gold_sample.UNSURE)
    strips = film_strips(few, sheet.run, workers=0) if pictures else {}
    done = (sheet.frame["label"] != "").sum()
    items = pair_auditor.sheet(sheet.question.ask, few, strips, labels=labels)
    return f"{items}<p>{done} of {sheet.frame.height} labelled.</p>"


def _page(body: str) -> Any:
    from IPython.display import HTML

    return HTML(style_tag() + pair_auditor.view(body))
