"""What the corpus holds, as the paper's first figure tells it: sports, clips, durations, words."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sportskills_lib import tables
from sportskills_lib.plots import style
from sportskills_lib.report.save import Page, optional
from sportskills_lib.runs import artifacts

ALL = "all"


WIDTHS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)  # of a histogram's bars, seconds or words


def of_run(run: str) -> tuple[pl.DataFrame, dict[str, Page]]:
    """The table of a run's corpus, and its figure under the name ``corpus``; none without clips."""
    pairing, curation = (artifacts.open_stage(run, name) for name in ("02_pairing", "01_curation"))
    videos, narrations = curation.table("videos"), curation.table("narrations")
    clips, pairs = pairing.table("clips", tables.Clips), pairing.table("pairs", tables.Pairs)
    counted = statistics(videos, clips, pairs, narrations)
    return counted, optional("corpus", figure, counted, clips, pairs, narrations)


def statistics(
    videos: pl.DataFrame, clips: pl.DataFrame, pairs: pl.DataFrame, narrations: pl.DataFrame
) -> pl.DataFrame:
    """One row a sport, most clips first, and a last row of ``all``.

    sport, skills, videos (with a clip), clips, pairs, hours of clips, clip_s_median, clip_s_mean,
    words_median, words_mean (of a narration that has a clip), sentences (different ones).
    """
    told = _narrated_pairs(clips, pairs, narrations)
    length = pl.col("end_s") - pl.col("start_s")
    parts = []
    for sport in (pl.col("sport"), pl.lit(ALL)):
        counted = clips.group_by(sport=sport).agg(
            skills=pl.struct("sport", "skill").n_unique(),
            videos=pl.col("video_id").n_unique(),
            clips=pl.len(),
            hours=(length.sum() / 3600).round(4),
            clip_s_median=length.median().round(2),
            clip_s_mean=length.mean().round(2),
        )
        words = told.group_by(sport=sport).agg(
            pairs=pl.len(),
            words_median=pl.col("words").median().round(2),
            words_mean=pl.col("words").mean().round(2),
            sentences=pl.col("text").str.to_lowercase().n_unique(),
        )
        parts.append(
            counted.join(words, on="sport", how="left").sort(
                "clips", "sport", descending=[True, False]
            )
        )
    return pl.concat(parts).filter(pl.col("clips") > 0)


def _narrated_pairs(
    clips: pl.DataFrame, pairs: pl.DataFrame, narrations: pl.DataFrame
) -> pl.DataFrame:
    """A row for each pair: sport, text, words."""
    return (
        pairs.join(narrations.select("narration_id", "text"), on="narration_id")
        .join(clips.select("clip_id", "sport"), on="clip_id")
        .select("sport", "text", words=pl.col("text").str.count_matches(r"\S+"))
    )


def figure(
    table: pl.DataFrame, clips: pl.DataFrame, pairs: pl.DataFrame, narrations: pl.DataFrame
) -> Figure:
    """Clips by sport, on top; below, how long clips last, how many words a narration has, and the
    counts.
    """
    sports = table.filter(pl.col("sport") != ALL)
    made, panels = style.figure(
        style.PAGE_IN, 3.6, nrows=2, ncols=3, gridspec_kw={"height_ratios": [1.25, 1]}
    )
    grid = panels[0][0].get_gridspec()
    for panel in panels[0]:
        panel.remove()
    top = made.add_subplot(grid[0, :])
    x = np.arange(sports.height)
    top.bar(x, sports["clips"], 0.75, color=style.BLUE)
    names = [style.plain(name, limit=20) for name in sports["sport"]]
    top.set_xticks(
        x,
        names,
        rotation=50 if sports.height > 8 else 0,
        ha="right" if sports.height > 8 else "center",
    )
    top.tick_params(axis="x", length=0, pad=1)
    top.set(xlim=(-0.7, max(sports.height, 1) - 0.3), ylabel="clips")
    length_s = (clips["end_s"] - clips["start_s"]).to_numpy()
    words = _narrated_pairs(clips, pairs, narrations)["words"].to_numpy()
    _histogram(panels[1][0], length_s, "duration of a clip (s)", "clips")
    _histogram(panels[1][1], words, "words of a narration", "pairs")
    _counts(panels[1][2], table)
    return made


def _histogram(axes: Axes, values: np.ndarray, label: str, counted: str) -> None:
    if len(values):
        width = next((step for step in WIDTHS if np.ptp(values) / step <= 40), np.ptp(values) / 40)
        width = width if values.dtype.kind == "f" else max(1, round(width))
        # round values stand in mid-bar
        edges = np.arange(values.min() - width / 2, values.max() + width, width)
        axes.hist(values, list(edges), color=style.SKY, edgecolor="white", linewidth=0.3)
        middle = float(np.median(values))
        axes.axvline(middle, color=style.BLACK, linewidth=0.8, linestyle="--")
        axes.annotate(
            f"median {middle:.3g}",
            (middle, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -2),
            textcoords="offset points",
            fontsize=6,
            va="top",
        )
    axes.set(xlabel=label, ylabel=counted)


def _counts(axes: Axes, table: pl.DataFrame) -> None:
    axes.set_axis_off()
    for row in table.filter(sport=ALL).iter_rows(named=True):
        lines = {
            "sports": f"{table.height - 1:,}",
            "skills": f"{row['skills']:,}",
            "videos": f"{row['videos']:,}",
            "clips": f"{row['clips']:,}",
            "pairs": f"{row['pairs'] or 0:,}",
            "hours of clips": f"{row['hours']:,.1f}",
        }
        for place, (what, number) in enumerate(lines.items()):
            height = 0.93 - place * 0.165
            axes.text(0.5, height, number, ha="right", va="center", fontsize=8, fontweight="bold")
            axes.text(0.54, height, what, ha="left", va="center", fontsize=7)
