"""Which sports help which: models trained on one group of sports, tested on every group.

Reads several runs that share 01 and 02 and differ in 03's ``train_sports`` (empty: all sports). A
row of the heat map is a group that was trained on, a column one that was tested; runs with the same
group (seeds) are averaged. What counts is the gain over the common start (zero_shot): a model may
reach much in a sport because the start already did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sportskills_lib import metrics
from sportskills_lib.evaluation import recall
from sportskills_lib.evaluation.recall import FIXED, SINGLE, WITHIN
from sportskills_lib.plots import style
from sportskills_lib.report import run_tables, save, several_seeds
from sportskills_lib.report.save import Page
from sportskills_lib.runs import artifacts
from sportskills_lib.statistics import bootstrap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALL_SPORTS, OTHERS, START = "all sports", "other sports", "zero_shot"
Groups = dict[str, tuple[str, ...]]  # name of a group, its sports; no sports: all of them


def trained_groups(
    runs: Sequence[str], names: Mapping[tuple[str, ...], str] | None = None
) -> dict[str, str]:
    """The group of each run, by run; ``names`` may name groups (sorted sports), else they are named
    by their sports.
    """
    found = {}
    for run in runs:
        config = artifacts.open_stage(run, "03_encoder").manifest["config"]
        found[run] = _label(tuple(sorted(config.get("train_sports") or ())), names or {})
    return found


def _label(sports: tuple[str, ...], names: Mapping[tuple[str, ...], str]) -> str:
    if sports in names:
        return names[sports]
    if not sports:
        return ALL_SPORTS
    return ", ".join(sports[:2]) + (f" … ({len(sports)} sports)" if len(sports) > 2 else "")


def read_scores(
    runs: Sequence[str], groups: Mapping[str, str], *, encoder: str, training: str
) -> pl.DataFrame:
    """Scores of ``encoder`` after ``training``, text→video within sport: system is the group, and
    ``zero_shot``.

    ValueError when a run has no such arm, or when runs answered different queries.
    """
    place: dict[str, int] = {}
    parts = []
    for run, scores in several_seeds.read_runs(runs):
        split = recall.split_system(scores.filter(pl.col("metric") == SINGLE)).filter(
            (pl.col("encoder") == encoder) & (pl.col("direction") == "text_to_video")
            & pl.col("scope").is_in([WITHIN, FIXED])
        )  # fmt: skip
        if split.filter(pl.col("training") == training).is_empty():
            arms = sorted(split["training"].unique())
            raise ValueError(
                f"run {run!r} has no {training} of the {encoder} encoder; it has {', '.join(arms)}"
            )
        number = place[groups[run]] = place.get(groups[run], -1) + 1
        own = split.filter(pl.col("training") == training)
        parts.append(
            own.with_columns(system=pl.lit(groups[run]), seed=pl.lit(number, dtype=pl.Int64))
        )
        if run == runs[0]:
            parts.append(
                split.filter(pl.col("training") == START).with_columns(system=pl.lit(START))
            )
    columns = [
        "system",
        "query_id",
        "metric",
        "seed",
        "value",
        "chance",
        "sport",
        "cluster",
        "scope",
    ]
    whole = pl.concat([part.select(columns) for part in parts])
    fixed = whole.filter((pl.col("scope") == FIXED) & pl.col("value").is_not_null())
    return whole.filter(pl.col("scope") == (FIXED if fixed.height else WITHIN))


def table(
    scores: pl.DataFrame,
    columns: Groups,
    trained: Mapping[str, Sequence[str]],
    *,
    draws: int,
    seed: int,
) -> pl.DataFrame:
    """trained_on, tested_on, value, low, high, gain (over zero_shot), gain_low, gain_high,
    ci_excludes_zero,
    sports, n, inside.

    Macro means over the sports of a column. ``inside``: whether all tested sports were trained on.
    """
    rows = []
    for tested, sports in columns.items():
        asked = scores.filter(pl.col("sport").is_in(list(sports)))
        sampled = bootstrap.resample(asked, draws=draws, seed=seed) if asked.height else None
        if sampled is None or not sampled.strata:
            continue
        size = (len(sampled.strata), int(sampled.queries_S.sum()))
        for group in trained:
            mean = sampled.macro(group)
            start = START in sampled.systems
            gain = (
                sampled.difference(group, START)
                if start
                else bootstrap.Interval(float("nan"), None, None)
            )
            inside = not trained[group] or set(sports) <= set(trained[group])
            means = (
                mean.value,
                mean.low,
                mean.high,
                gain.value,
                gain.low,
                gain.high,
                gain.excludes(0.0),
            )
            rows.append((group, tested, *means, *size, inside))
    names = (
        "trained_on",
        "tested_on",
        "value",
        "low",
        "high",
        "gain",
        "gain_low",
        "gain_high",
        "ci_excludes_zero",
        "sports",
        "n",
        "inside",
    )
    kinds = [pl.String] * 2 + [pl.Float64] * 6 + [pl.Boolean, pl.Int64, pl.Int64, pl.Boolean]
    return pl.DataFrame(rows, schema=dict(zip(names, kinds, strict=True)), orient="row")


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
    trained: dict[str, tuple[str, ...]] = {}
    for run in runs:
        sports = (
            artifacts.open_stage(run, "03_encoder").manifest["config"].get("train_sports") or ()
        )
        trained.setdefault(groups[run], tuple(sorted(sports)))
    trained = dict(sorted(trained.items(), key=lambda group: not group[1]))  # all sports last
    scores = read_scores(runs, groups, encoder=encoder, training=training)
    tested = sorted(scores.filter(pl.col("value").is_not_null())["sport"].unique())
    covered = {sport for sports in trained.values() for sport in sports}
    by_group: Groups = {name: sports for name, sports in trained.items() if sports}
    if rest := tuple(sport for sport in tested if sport not in covered):
        by_group[OTHERS if by_group else ALL_SPORTS] = rest
    whole = table(scores, by_group, trained, draws=draws, seed=seed)
    order = sorted(
        tested,
        key=lambda sport: (
            next((i for i, g in enumerate(by_group.values()) if sport in g), 99),
            sport,
        ),
    )
    return whole, table(
        scores, {sport: (sport,) for sport in order}, trained, draws=draws, seed=seed
    )


def heat_map(gains: pl.DataFrame) -> Figure:
    """Rows: trained on; columns: tested on; colour: gain over the start; number: recall, bold where
    trained on it.
    """
    rows, columns = (list(dict.fromkeys(gains[name])) for name in ("trained_on", "tested_on"))
    wide = len(columns) > 8
    width_in = (
        style.PAGE_IN
        if wide
        else min(style.PAGE_IN, max(style.COLUMN_IN, 1.9 + 0.75 * len(columns)))
    )
    figure, axes = style.figure(width_in, 1.15 + 0.32 * len(rows))
    shades = np.full((len(rows), len(columns)), np.nan)
    for row in gains.iter_rows(named=True):
        at = rows.index(row["trained_on"]), columns.index(row["tested_on"])
        shades[at] = row["gain"]
        number = f"{row['value']:.2f}".removeprefix("0" if wide else "")
        weight = "bold" if row["inside"] else "normal"
        strong = (
            abs(row["gain"]) > 0.6 * np.nanmax(np.abs(gains["gain"].to_numpy()))
            if row["gain"] is not None
            else False
        )
        axes.text(at[1], at[0], number, ha="center", va="center", fontsize=5.2 if wide else 6.5,
                  fontweight=weight, color="white" if strong else "black")  # fmt: skip
    limit = np.nanmax(np.abs(shades)) if np.isfinite(shades).any() else 1.0
    picture = axes.imshow(shades, cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_yticks(range(len(rows)), [style.plain(name, limit=34) for name in rows])
    names = [style.plain(name, limit=34) for name in columns]
    axes.set_xticks(
        range(len(columns)), names, rotation=50 if wide else 20, ha="right", rotation_mode="anchor"
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("trained on")
    axes.set_xlabel(f"tested on (number: {metrics.at_k('recall')}; bold: trained on it)")
    figure.colorbar(picture, ax=axes, label="gain over zero-shot", fraction=0.05, pad=0.02)
    return figure


def write(
    runs: Sequence[str],
    folder: Path,
    *,
    encoders: Sequence[str] = ("image",),
    for_docs: bool = False,
    **options: Any,
) -> list[Path]:
    """``transfer`` and ``transfer_by_sport`` in ``folder`` as figure, CSV and LaTeX; returns what
    was written.

    Further encoders have their name behind. ``for_docs``: figures as PNG alone.
    """
    written = []
    suffixes = ("png",) if for_docs else style.SUFFIXES
    facts = artifacts.open_stage(runs[0], run_tables.EVALUATION).facts | {"run": ", ".join(runs)}
    for encoder in encoders:
        end = "" if encoder == encoders[0] else f"_{encoder}"
        for name, frame in zip(
            ("transfer", "transfer_by_sport"),
            compare(runs, encoder=encoder, **options),
            strict=True,
        ):
            caption = (
                f"{metrics.at_k('recall')} on one group of sports after training on another, "
                f"{encoder} encoder."
            )
            page = Page(heat_map(frame), frame)
            written += save.write_page(
                folder, name + end, page, facts=facts, caption=caption, suffixes=suffixes
            )
    return written
