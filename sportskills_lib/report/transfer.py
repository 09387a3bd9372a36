"""Which sports help which: models trained on one group of sports, tested on every group.

Reads several runs that share 01 and 02 and differ in 03's ``train_sports`` (empty: all sports). A
row of the heat map is a group that was trained on, a column one that was tested; runs with the same
group (seeds) are averaged. What counts is the gain over the common start (zero_shot): a model may
reach much in a sport because the start already did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from sportskills_lib import metrics, tables
from sportskills_lib.evaluation import recall
from sportskills_lib.plots import style
from sportskills_lib.report import run_tables, save, several_seeds
from sportskills_lib.runs import artifacts
from sportskills_lib.statistics import bootstrap

ALL_SPORTS, OTHERS, START = "all sports", "other sports", "zero_shot"
Groups = dict[str, tuple[str, ...]]  # name of a group, its sports; no sports: all of them


def trained_groups(
    runs: Sequence[str], names: Mapping[tuple[str, ...], str] | None = None
) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The group of each run, by run: its name and its sports (none: all).

    ``names`` may name groups (sorted sports), else they are named by their sports.
    """
    groups = {}
    for run in runs:
        config = artifacts.open_stage(run, "03_encoder").manifest["config"]
        sports = tuple(sorted(config.get("train_sports") or ()))
        rest = f" … ({len(sports)} sports)" if len(sports) > 2 else ""
        label = ", ".join(sports[:2]) + rest if sports else ALL_SPORTS
        groups[run] = ((names or {}).get(sports, label), sports)
    return groups


def read_scores(
    runs: Sequence[str], groups: Mapping[str, str], *, encoder: str, training: str
) -> pl.DataFrame:
    """Scores of ``encoder`` after ``training``, text→video within sport: system is the group
    (``groups``: by run), and ``zero_shot``; in galleries of one size where there are any.

    ValueError when a run has no such arm, or when runs answered different queries.
    """
    parts = []
    for number, (run, scores) in enumerate(several_seeds.read_runs(runs)):
        split = recall.split_system(scores.filter(metric=recall.SINGLE)).filter(
            pl.col("scope").is_in([recall.WITHIN, recall.FIXED]),
            encoder=encoder,
            direction="text_to_video",
        )
        own = split.filter(training=training)
        if own.is_empty():
            arms = ", ".join(sorted(split["training"].unique()))
            raise ValueError(
                f"run {run!r} has no {training} of the {encoder} encoder; it has {arms}"
            )
        parts.append(own.with_columns(system=pl.lit(groups[run]), seed=pl.lit(number, pl.Int64)))
        if run == runs[0]:
            parts.append(split.filter(training=START).with_columns(system=pl.lit(START)))
    whole = pl.concat(parts)
    fixed = whole.filter(pl.col("value").is_not_null(), scope=recall.FIXED)
    chosen = fixed if fixed.height else whole.filter(scope=recall.WITHIN)
    return chosen.select(tables.Scores.column_names())


def table(
    scores: pl.DataFrame,
    columns: Groups,
    trained: Groups,
    *,
    draws: int,
    seed: int,
) -> pl.DataFrame:
    """trained_on, tested_on, value, low, high, gain (over zero_shot), gain_low, gain_high,
    ci_excludes_zero, sports, n, inside.

    Macro means over the sports of a column. ``inside``: whether all tested sports were trained on.
    """
    rows: list[dict[str, Any]] = []
    for tested, sports in columns.items():
        asked = scores.filter(pl.col("sport").is_in(list(sports)))
        sampled = bootstrap.resample(asked, draws=draws, seed=seed)
        for group in trained if sampled.strata else ():
            mean = sampled.macro(group)
            gain = bootstrap.Interval(float("nan"), None, None)
            if START in sampled.systems:
                gain = sampled.difference(group, START)
            rows.append(
                {
                    "trained_on": group,
                    "tested_on": tested,
                    "value": mean.value,
                    "low": mean.low,
                    "high": mean.high,
                    "gain": gain.value,
                    "gain_low": gain.low,
                    "gain_high": gain.high,
                    "ci_excludes_zero": gain.excludes(0.0),
                    "sports": len(sampled.strata),
                    "n": int(sampled.queries_S.sum()),
                    "inside": not trained[group] or set(sports) <= set(trained[group]),
                }
            )
    return pl.DataFrame(rows, schema=_TABLE)


_TABLE = {
    **dict.fromkeys(("trained_on", "tested_on"), pl.String),
    **dict.fromkeys(("value", "low", "high", "gain", "gain_low", "gain_high"), pl.Float64),
    "ci_excludes_zero": pl.Boolean,
    "sports": pl.Int64,
    "n": pl.Int64,
    "inside": pl.Boolean,
}


def compare(
    runs: Sequence[str],
    *,
    encoder: str = "image",
    training: str = "narrations",
    names: Mapping[tuple[str, ...], str] | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The table over groups and the table over single sports, from finished runs (05 included)."""
    groups = trained_groups(runs, names)
    trained = dict(sorted(groups.values(), key=lambda group: not group[1]))  # all sports last
    labels = {run: name for run, (name, _) in groups.items()}
    scores = read_scores(runs, labels, encoder=encoder, training=training)
    tested = sorted(scores.filter(pl.col("value").is_not_null())["sport"].unique())
    by_group = {name: sports for name, sports in trained.items() if sports}
    covered = list(dict.fromkeys(sport for sports in by_group.values() for sport in sports))
    if rest := tuple(sport for sport in tested if sport not in covered):
        by_group[OTHERS if by_group else ALL_SPORTS] = rest
    single: dict[str, tuple[str, ...]] = {
        sport: (sport,) for sport in (*covered, *rest) if sport in tested
    }
    how: Any = {"draws": draws, "seed": seed}
    return table(scores, by_group, trained, **how), table(scores, single, trained, **how)


def heat_map(gains: pl.DataFrame) -> Figure:
    """Rows: trained on; columns: tested on; colour: gain over the start; number: recall, bold where
    trained on it.
    """
    rows, columns = (list(dict.fromkeys(gains[name])) for name in ("trained_on", "tested_on"))
    wide = len(columns) > 8
    width_in = min(style.PAGE_IN, max(style.COLUMN_IN, 1.9 + 0.75 * len(columns)))
    figure, axes = style.figure(width_in, 1.15 + 0.32 * len(rows))
    shades = np.full((len(rows), len(columns)), np.nan)
    for row in gains.iter_rows(named=True):
        shades[rows.index(row["trained_on"]), columns.index(row["tested_on"])] = row["gain"]
    limit = np.nanmax(np.abs(shades)) if np.isfinite(shades).any() else 1.0
    picture = axes.imshow(shades, cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="auto")
    for row in gains.iter_rows(named=True):
        y, x = rows.index(row["trained_on"]), columns.index(row["tested_on"])
        number = f"{row['value']:.2f}".removeprefix("0" if wide else "")
        look = {
            "fontsize": 5.2 if wide else 6.5,
            "fontweight": "bold" if row["inside"] else "normal",
            "color": "white" if abs(shades[y, x]) > 0.6 * limit else "black",
        }
        axes.text(x, y, number, ha="center", va="center", **look)
    axes.set_yticks(range(len(rows)), [style.plain(name, limit=34) for name in rows])
    names = [style.plain(name, limit=34) for name in columns]
    axes.set_xticks(
        range(len(columns)), names, rotation=50 if wide else 20, ha="right", rotation_mode="anchor"
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    told = f"tested on (number: {metrics.at_k('recall')}; bold: trained on it)"
    axes.set(ylabel="trained on", xlabel=told)
    figure.colorbar(picture, ax=axes, label="gain over zero-shot", fraction=0.05, pad=0.02)
    return figure


def write(
    runs: Sequence[str],
    folder: Path,
    *,
    encoder: str = "image",
    for_docs: bool = False,
    **options: Any,
) -> list[Path]:
    """``transfer`` and ``transfer_by_sport`` in ``folder`` as figure, CSV and LaTeX; returns what
    was written. ``for_docs``: figures as PNG alone.
    """
    facts = artifacts.open_stage(runs[0], run_tables.EVALUATION).facts | {"run": ", ".join(runs)}
    caption = (
        f"{metrics.at_k('recall')} on one group of sports after training on another, {encoder} "
        "encoder."
    )
    suffixes = ("png",) if for_docs else style.SUFFIXES
    how: Any = {"facts": facts, "caption": caption, "suffixes": suffixes}
    by_group, by_sport = compare(runs, encoder=encoder, **options)
    return [
        path
        for name, frame in (("transfer", by_group), ("transfer_by_sport", by_sport))
        for path in save.write_page(folder, name, save.Page(heat_map(frame), frame), **how)
    ]
