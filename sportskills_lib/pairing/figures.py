"""The figures and views of notebook 02."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sportskills_lib import tables
from sportskills_lib.pairing import dataset_card
from sportskills_lib.pairing.rules_judge import HALF_MOVED
from sportskills_lib.pairing.stage import IS_DEMONSTRATED, PairingTables
from sportskills_lib.plots import style
from sportskills_lib.plots.charts import Step, draw_funnel

COLOURS = {"correct": style.GREEN, "incorrect": style.VERMILION, "none": style.GREY}


def finding(paired: PairingTables) -> str:
    """What came out, in a sentence or two with counts."""
    told = paired.headline()
    splits = ", ".join(f"{told[f'{name}_clips']:,} for {name}" for name in tables.SPLITS)
    small = ", ".join(style.plain(sport) for sport in paired.unsplit_sports) or "none"
    return (
        f"**{told['clips']:,} clips in {told['pairs']:,} pairs: {told['correct']:,} said to be "
        "correct, "
        f"{told['incorrect']:,} incorrect.** Splits: {splits}. Sports too small to split: "
        f"{small}."
    )


def funnel(paired: PairingTables) -> Figure:
    """Windows, those under actionable words, those that show something, those that are no copies;
    and the reasons.
    """
    judged = paired.judged
    taught = judged.filter(pl.col("said") != "none")
    steps: list[Step] = [
        ("windows", judged.height, "windows"),
        ("words teach", taught.height, "windows"),
        ("and pictures show it", taught.filter(IS_DEMONSTRATED).height, "windows"),
        ("and it is no copy", paired.clips.height, "windows"),
        ("correct", paired.clips.filter(pl.col("demonstration") == "correct").height, "windows"),
        (
            "incorrect",
            paired.clips.filter(pl.col("demonstration") == "incorrect").height,
            "windows",
        ),
    ]
    idle = judged.filter(pl.col("said") == "none").with_columns(
        item_kind=pl.lit("window"), reason=pl.lit("words_do_not_teach")
    )
    dropped = paired.dropped.select("item_kind", "reason")
    return draw_funnel(steps, pl.concat([dropped, idle.select("item_kind", "reason")]))


def motion(judged: pl.DataFrame) -> Figure:
    """How much of the picture moves, under words that teach and under other words; the line is
    where rules say so.
    """
    figure, axes = style.figure(style.COLUMN_IN, 1.9)
    edges = np.linspace(-3, 0, 31)
    for kind in ("none", "correct", "incorrect"):
        moved = judged.filter(pl.col("said") == kind)["moved"].to_numpy()
        label = {"none": "other words"}.get(kind, f"said to be {kind}")
        axes.hist(
            np.log10(np.clip(moved, 1e-3, 1)),
            edges,
            label=f"{label} ({len(moved):,})",
            histtype="step",
            color=COLOURS[kind],
            linewidth=1.2,
            linestyle="--" if kind == "none" else "-",
        )
    axes.axvline(np.log10(HALF_MOVED), color=style.BLACK, linewidth=0.8)
    axes.annotate(
        "shows something →",
        (np.log10(HALF_MOVED), 1),
        xycoords=("data", ("axes fraction")),
        xytext=(3, -8),
        textcoords="offset points",
        fontsize=6,
    )
    axes.set_xticks([-3, -2, -1, 0], ["≤ 0.1 %", "1 %", "10 %", "100 %"])
    axes.set(xlabel="share of the picture that something moves across", ylabel="windows")
    figure.legend(
        loc="outside upper left", ncols=3, columnspacing=0.8, handlelength=1, handletextpad=0.4
    )
    return figure


def contact_sheet(
    clips: pl.DataFrame,
    pairs: pl.DataFrame,
    narrations: pl.DataFrame,
    frames: np.ndarray,
    *,
    count: int = 12,
) -> Figure:
    """Filmstrips of ``count`` clips, half correct and half incorrect, over as many sports as there
    are.

    ``frames`` uint8 [N, T, S, S, 3], row i of clips row i; only the drawn ones are read. Captions
    are drawn as plain text.
    """
    said = (
        pairs.join(narrations.select("narration_id", "text"), on="narration_id")
        .group_by("clip_id")
        .agg(pl.col("text"))
    )
    rows = choose(clips.with_row_index("row"), count).join(
        said, on="clip_id", how="left", maintain_order="left"
    )
    lines = max(1, (rows.height + 1) // 2)
    figure, grid = style.figure(
        style.PAGE_IN, 0.15 + 0.78 * lines, nrows=lines, ncols=2, squeeze=False
    )
    for place, axes in enumerate(grid.T.flat):
        axes.set_axis_off()
        if place < rows.height:
            _strip(axes, rows.row(place, named=True), frames)
    return figure


def choose(clips: pl.DataFrame, count: int) -> pl.DataFrame:
    """Up to ``count`` clips, correct ones first, then incorrect, one sport after another; the same
    in every run.
    """
    ranked = clips.sort(pl.col("clip_id").hash(seed=1)).with_columns(
        turn=pl.int_range(pl.len()).over("sport", "demonstration")
    )
    ranked = ranked.sort("turn", pl.col("sport").hash(seed=2))
    parts = [ranked.filter(pl.col("demonstration") == name) for name in ("correct", "incorrect")]
    short = min(part.height for part in parts)
    half = count // 2
    return pl.concat(
        [part.head(max(half, count - short) if short < half else half) for part in parts]
    ).drop("turn")


def _strip(axes: Axes, row: dict[str, Any], frames: np.ndarray) -> None:
    axes.imshow(np.hstack(frames[row["row"]]), interpolation="nearest", aspect="equal")
    text = " ".join(row["text"]) if isinstance(row["text"], list) else ""
    label = style.plain(f"{row['sport']}, {row['skill']}: {row['demonstration']}", limit=60)
    axes.set_title(label, fontsize=6.5, loc="left", pad=2, color=COLOURS[str(row["demonstration"])])
    caption = "\n".join(textwrap.wrap(style.plain(text, limit=150), 70)[:2])
    axes.annotate(
        caption,
        (0, 0),
        xycoords="axes fraction",
        xytext=(0, -2),
        textcoords=("offset points"),
        va="top",
        fontsize=6,
    )


def per_sport(clips: pl.DataFrame) -> pl.DataFrame:
    """Clips of each sport by split and by what they show."""
    columns = ("sport", "channels", "clips", "correct", "incorrect", *tables.SPLITS)
    return dataset_card.per_sport(clips).select(columns)
