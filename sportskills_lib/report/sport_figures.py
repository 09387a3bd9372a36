"""The figures of recall by sport: grouped bars for every arm and encoder, macro means, differences,
single choices.

Each figure is drawn from rows that are saved beside it (``data`` of a :class:`Page`), and draws
nothing else. Colours tell trainings apart, hatches those of like lightness; encoders have a panel
each, or lighter and full colours. Sports are strangers' words and drawn as plain text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sportskills_lib import metrics
from sportskills_lib.evaluation import comparisons, summary
from sportskills_lib.plots import style
from sportskills_lib.report.save import Page, optional

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {
    "zero_shot": "zero-shot",
    "activity_dataset": "activity data set",
    "activity_sport": "sport labels",
    "activity_skill": "skill labels",
    "narrations_shuffled": "narrations, shuffled",
    "narrations": "narrations",
    "both": "both",
}
SHOWN = 20  # sports in the main figure; the rest go to the appendix
FOUR = (
    ("activity_dataset", "activity_sport"),
    ("narrations",),
)  # what the paper's figure compares; the first that exists
SUFFIX = {"full": "", "fixed": "_fixed"}
ORACLES = ("skill", "cue")


def name_of(arm: str) -> str:
    """The arm as a legend names it."""
    return NAMES.get(arm, style.plain(arm, limit=24).replace("_", " "))


def pages(
    table: pl.DataFrame, sizes: pl.DataFrame, oracles: Mapping[str, pl.DataFrame], *, size: int
) -> dict[str, Page]:
    """All figures of recall by sport, by name; empty when no sport is evaluable: there is no mean
    to draw then either.

    For the whole gallery and for galleries of ``size``: the 20 largest sports, an appendix with the
    rest, macro means; and the paper's figure, image and video with and without narrations.
    ``oracles``: by gallery (full, fixed).
    """
    found: dict[str, Page] = {}
    four: dict[str, tuple[pl.DataFrame, list[str], int | None]] = {}
    for gallery, scope in comparisons.GALLERIES.items():
        rows = summary.of_figure(table, scope=scope).filter(pl.col("value").is_not_null())
        sports = summary.shown_sports(table, sizes, scope=scope)
        if not sports:
            continue
        known, end = oracles.get(gallery, _NO_ORACLES), SUFFIX[gallery]
        n = size if gallery == "fixed" else None
        for name, shown in (
            ("per_sport_recall", sports[:SHOWN]),
            ("per_sport_recall_appendix", sports[SHOWN:]),
        ):
            if shown:
                data = _with_levels(rows, known, sizes).filter(
                    pl.col("sport").is_in([*shown, summary.MEAN])
                )
                found[name + end] = Page(
                    per_sport_recall(rows, sizes, known, sports=shown, size=n), data
                )
        means = _with_levels(rows, known, sizes).filter(pl.col("sport") == summary.MEAN)
        found["macro_means" + end] = Page(macro_means(rows, known, size=n), means)
        for name, shown in (("encoders", sports[:SHOWN]), ("encoders_appendix", sports[SHOWN:])):
            data = _four(rows).filter(pl.col("sport").is_in([*shown, summary.MEAN]))
            if (
                shown and data.height
            ):  # drawn once: in galleries of one size, if a sport is large enough for them
                four[name] = (data, shown, n)
    return found | {
        name: Page(encoders(data, sports=s, size=n), data) for name, (data, s, n) in four.items()
    }


def _with_levels(rows: pl.DataFrame, oracles: pl.DataFrame, sizes: pl.DataFrame) -> pl.DataFrame:
    """The rows with all else that is drawn: test_clips, and what the oracles reach where that is
    known.
    """
    evaluable = sorted(set(rows["sport"]) - {summary.MEAN})
    told = rows.join(
        sizes.select("sport", test_clips="gallery"), on="sport", how="left", maintain_order="left"
    )
    for oracle in ORACLES:
        level = oracle_levels(oracles, oracle, evaluable).rename(
            {"value": f"{oracle}_oracle"}, strict=False
        )
        told = (
            told.join(level, on="sport", how="left", maintain_order="left")
            if level.height
            else told
        )
    return told


_NO_ORACLES = pl.DataFrame(
    schema={"oracle": pl.String, "query_id": pl.String, "sport": pl.String, "value": pl.Float64}
)


def _axis_label(size: int | None) -> str:
    name = metrics.at_k("recall")
    return f"{name}, text → video" if size is None else f"{name} among {size}"


# ------------------------------------------------------------------------------------ bars by sport


def per_sport_recall(
    rows: pl.DataFrame,
    sizes: pl.DataFrame,
    oracles: pl.DataFrame,
    *,
    sports: list[str],
    size: int | None = None,
) -> Figure:
    """Grouped bars: recall@k_single of every arm in each of ``sports``, then the macro mean over
    *all* evaluable ones.

    A panel for each encoder. Bars carry 95 % intervals; lines show chance, the skill oracle and,
    where the truth is known, the cue oracle.
    """
    arms = summary.ordered(rows["training"].unique())
    shown = summary.ordered(rows["encoder"].unique(), summary.ENCODERS)
    groups = [*sports, summary.MEAN]
    width_in = style.PAGE_IN * min(
        1.0, (len(groups) + 5) / (SHOWN + 6)
    )  # bars keep their width where sports are few
    width_in = max(width_in, style.COLUMN_IN)
    figure, axes = style.figure(
        width_in, 1.05 + 1.6 * len(shown), nrows=len(shown), squeeze=False, sharex=True
    )
    x = _places(groups)
    for panel, encoder in zip(axes[:, 0], shown, strict=True):
        own = rows.filter(pl.col("encoder") == encoder)
        width = 0.84 / max(len(arms), 1)
        for index, arm in enumerate(arms):
            look = style.arm_look(arm, [name for name in arms if name not in NAMES]) | {
                "label": name_of(arm)
            }
            _draw_bars(
                panel,
                x - 0.42 + width * (index + 0.5),
                own.filter(pl.col("training") == arm),
                groups,
                width,
                look,
            )
        _levels(panel, x, groups, own, oracles)
        panel.tick_params(axis="x", length=0)
        panel.set_ylim(0, 1.0)
        panel.set_ylabel(_axis_label(size) if len(shown) < 3 else metrics.at_k("recall"))
        if len(shown) > 1:
            panel.set_title(
                f"{style.plain(encoder, limit=20)} encoder", loc="left", fontsize=7, pad=3
            )
    _name_sports(axes[-1, 0], x, sports, rows, sizes)
    columns = 5 if width_in > 6.5 else 4 if width_in > 4.5 else 3
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=columns,
        columnspacing=1.0,
        handlelength=1.3,
    )
    return figure


def encoders(rows: pl.DataFrame, *, sports: list[str], size: int | None = None) -> Figure:
    """The paper's figure: every encoder with and without narrations, in orange and blue, lighter
    for the first.
    """
    shown = summary.ordered(rows["encoder"].unique(), summary.ENCODERS)
    arms = summary.ordered(rows["training"].unique())
    groups = [*sports, summary.MEAN]
    width_in = max(style.PAGE_IN * min(1.0, (len(groups) + 5) / (SHOWN + 6)), style.COLUMN_IN)
    figure, axes = style.figure(width_in, 2.5)
    x, bars = _places(groups), [(arm, encoder) for arm in arms for encoder in shown]
    width = 0.84 / len(bars)
    for index, (arm, encoder) in enumerate(bars):
        base = style.BLUE if arm == "narrations" else style.ORANGE
        share = 0.0 if len(shown) == 1 else 0.6 * (1 - shown.index(encoder) / (len(shown) - 1))
        look = {
            "color": style.lighter(base, share),
            "label": f"{style.plain(encoder, limit=16)}, {name_of(arm)}",
        }
        own = rows.filter((pl.col("training") == arm) & (pl.col("encoder") == encoder))
        _draw_bars(axes, x - 0.42 + width * (index + 0.5), own, groups, width, look)
    _levels(axes, x, groups, rows, _NO_ORACLES)
    _name_sports(axes, x, sports, rows, None)
    axes.set_xlabel("sport (queries n)", labelpad=0)
    axes.set_ylim(0, 1.0)
    axes.set_ylabel(_axis_label(size))
    figure.legend(
        loc="outside upper left",
        ncols=5 if width_in > 6.5 else 2,
        columnspacing=1.0,
        handlelength=1.3,
    )
    return figure


def _four(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the paper's figure: an activity arm and narrations, of every encoder; empty
    without both.
    """
    known = rows["training"].unique().to_list()
    arms = [next((name for name in choice if name in known), None) for choice in FOUR]
    return rows.head(0) if None in arms else rows.filter(pl.col("training").is_in(arms))


def _places(groups: list[str]) -> np.ndarray:
    """Where the groups stand; the mean, which is last, a little apart."""
    return np.arange(len(groups)) + 0.5 * (np.arange(len(groups)) == len(groups) - 1)


def _draw_bars(
    axes: Axes,
    at: np.ndarray,
    rows: pl.DataFrame,
    groups: list[str],
    width: float,
    look: dict[str, Any],
) -> None:
    known = {row[0]: row[1:] for row in rows.select("sport", "value", "low", "high").rows()}
    triples = [known.get(name, (np.nan, None, None)) for name in groups]
    value = np.array([triple[0] for triple in triples], dtype=float)
    low, high = (
        np.array([np.nan if t[i] is None else t[i] for t in triples], dtype=float) for i in (1, 2)
    )
    axes.bar(at, value, width, edgecolor="white", linewidth=0.3, **look)
    axes.vlines(at, low, high, colors="black", linewidth=0.5)


def _name_sports(
    axes: Axes, x: np.ndarray, sports: list[str], rows: pl.DataFrame, sizes: pl.DataFrame | None
) -> None:
    counts = {sport: n for sport, n in rows.select("sport", "n").unique().rows()}
    galleries = dict(sizes.select("sport", "gallery").rows()) if sizes is not None else {}
    sized = {
        sport: f"{galleries[sport]}, {counts.get(sport, 0)}"
        for sport in sports
        if sport in galleries
    }
    labels = [
        f"{style.plain(sport, limit=22)} ({sized.get(sport, counts.get(sport, 0))})"
        for sport in sports
    ]
    axes.set_xticks(
        x,
        [*labels, f"macro mean\n(n = {counts.get(summary.MEAN, 0)})"],
        rotation=50,
        ha="right",
        rotation_mode="anchor",
    )
    axes.set_xlim(-0.6, x[-1] + 0.6)
    axes.tick_params(axis="x", length=0, pad=2)
    if galleries:
        axes.set_xlabel("sport (test clips N, queries n)", labelpad=0)


def _levels(
    axes: Axes, x: np.ndarray, groups: list[str], rows: pl.DataFrame, oracles: pl.DataFrame
) -> None:
    """A short line over each group: chance, and what oracles reach."""
    chance = dict(rows.select("sport", "chance").unique("sport").rows())
    looks: dict[str, tuple[dict, str, Any]] = {"chance": (chance, "black", ":")}
    evaluable = sorted(chance.keys() - {summary.MEAN})
    for oracle, colour in zip(ORACLES, ("black", style.GREEN), strict=True):
        values = dict(oracle_levels(oracles, oracle, evaluable).rows())
        if values:
            looks[f"{oracle} oracle"] = (values, colour, "-")
    for label, (known, colour, dash) in looks.items():
        at = [index for index, name in enumerate(groups) if known.get(name) is not None]
        heights = [known[groups[index]] for index in at]
        left, right = x[at] - 0.46, x[at] + 0.46
        axes.hlines(
            heights,
            left,
            right,
            colors=colour,
            linestyles=dash,
            linewidth=0.9,
            label=label,
            clip_on=False,
        )


def oracle_levels(oracles: pl.DataFrame, oracle: str, sports: list[str]) -> pl.DataFrame:
    """sport, value: what the oracle reaches in each sport, and the macro mean; empty where it is
    not known.
    """
    part = oracles.filter(
        (pl.col("oracle") == oracle) & pl.col("sport").is_in(sports) & pl.col("value").is_not_null()
    )
    by_sport = part.group_by("sport").agg(pl.col("value").mean()).sort("sport")
    if by_sport.is_empty():
        return by_sport
    return pl.concat(
        [by_sport, pl.DataFrame({"sport": [summary.MEAN], "value": [by_sport["value"].mean()]})]
    )


# -------------------------------------------------------------------------------------- macro means


def macro_means(rows: pl.DataFrame, oracles: pl.DataFrame, *, size: int | None = None) -> Figure:
    """The macro mean of each arm with its interval, against chance and the oracles; a panel for
    each encoder.
    """
    sports = sorted(set(rows["sport"].unique().to_list()) - {summary.MEAN})
    mean = rows.filter(pl.col("sport") == summary.MEAN)
    shown = summary.ordered(mean["encoder"].unique(), summary.ENCODERS)
    arms = summary.ordered(mean["training"].unique())
    width_in = style.COLUMN_IN if len(shown) == 1 else style.PAGE_IN
    figure, axes = style.figure(
        width_in, 0.65 + 0.22 * len(arms), ncols=len(shown), squeeze=False, sharey=True
    )
    for panel, encoder in zip(axes[0], shown, strict=True):
        known = {row[0]: row[1:] for row in mean.filter(pl.col("encoder") == encoder)
                 .select("training", "value", "low", "high").rows()}  # fmt: skip
        for place, arm in enumerate(reversed(arms)):
            if arm in known:
                _lying(
                    panel,
                    place,
                    known[arm],
                    style.arm_look(arm, [name for name in arms if name not in NAMES]),
                )
        _upright(panel, "chance", mean["chance"][0], ":", "center")
        for oracle, side in zip(ORACLES, ("left", "right"), strict=True):
            level = dict(oracle_levels(oracles, oracle, sports).rows()).get(summary.MEAN)
            _upright(panel, f"{oracle} oracle", level, "-", side)
        panel.set_xlim(0, 1.04)
        if len(shown) > 1:
            panel.set_title(f"{style.plain(encoder, limit=16)} encoder", fontsize=7, pad=11)
    axes[0][0].set_yticks(range(len(arms)), [name_of(arm) for arm in reversed(arms)])
    gallery = "" if size is None else f" among {size}"
    figure.supxlabel(
        f"{metrics.at_k('recall')}{gallery}, macro mean of {len(sports)} sports "
        f"(n = {mean['n'][0]})",
        fontsize=7,
    )
    return figure


def _lying(
    axes: Axes, place: float, triple: tuple, look: dict[str, Any], *, height: float = 0.7
) -> None:
    """A lying bar with its interval and its number."""
    value, low, high = triple
    axes.barh(place, value, height, edgecolor="white", linewidth=0.3, **look)
    if low is not None:
        axes.hlines(place, low, high, color="black", linewidth=0.8)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.4}
    axes.text((high or value) + 0.02, place, f"{value:.2f}", va="center", fontsize=6, bbox=box)


def _upright(axes: Axes, label: str, at: float | None, dash: str, side: Any) -> None:
    if at is None:
        return
    axes.axvline(at, color="black", linestyle=dash, linewidth=0.8)
    axes.annotate(
        label, (at, 1.0), xycoords=("data", "axes fraction"), ha=side, va="bottom", fontsize=6
    )


# ----------------------------------------------------------------------------- differences by sport


def sport_differences(
    gaps: pl.DataFrame, *, title: str, called: Callable[[str], str] | None = None
) -> Figure:
    """A paired difference and its interval for each sport, largest on top; hollow where the
    interval includes 0.

    Encoders side by side in each sport, in their own colour and sign; in order of the first one's
    difference, and below what that one lacks. ``called`` names a line that is no sport.
    """
    shown = summary.ordered(gaps["encoder"].unique(), summary.ENCODERS)
    first = gaps.filter(pl.col("encoder") == shown[0]).sort("difference", "sport")
    lacking = sorted(set(gaps["sport"]) - set(first["sport"]), reverse=True)
    order = {sport: place for place, sport in enumerate([*lacking, *first["sport"]])}
    height_in = 0.7 + (0.135 if len(shown) == 1 else 0.17) * max(len(order), 1)
    figure, axes = style.figure(style.COLUMN_IN, height_in)
    looks = ((style.BLUE, "o"), (style.VERMILION, "s"), (style.GREEN, "^"))
    for index, encoder in enumerate(shown):
        colour, sign = looks[index % len(looks)]
        shift = 0.36 * (0.5 - (index + 0.5) / len(shown))
        for row in gaps.filter(pl.col("encoder") == encoder).iter_rows(named=True):
            place = order[row["sport"]] + shift
            if row["low"] is not None:
                axes.hlines(place, row["low"], row["high"], color=colour, linewidth=0.9)
            face = colour if row["ci_excludes_zero"] else "white"
            axes.plot(
                row["difference"], place, sign, color=colour, markersize=3.0, mfc=face, mew=0.8
            )
        if len(shown) > 1:
            axes.plot(
                [], [], sign, color=colour, markersize=3.0, label=style.plain(encoder, limit=16)
            )
    axes.axvline(0, color="black", linewidth=0.6, linestyle=":")
    counts = dict(
        gaps.select("sport", "n").unique("sport", keep="first", maintain_order=True).rows()
    )
    called = called or partial(style.plain, limit=20)
    axes.set_yticks(range(len(order)), [f"{called(line)} ({counts[line]})" for line in order])
    axes.set_ylim(-0.7, len(order) - 0.3)
    axes.set_xlabel(title)
    if len(shown) > 1:
        figure.legend(loc="outside upper right", ncols=len(shown))
    return figure


def difference_pages(gaps: pl.DataFrame) -> dict[str, Page]:
    """:func:`sport_differences` of narrations and skill labels, and its rows; nothing without."""
    title = f"{metrics.at_k('recall')}: narrations − skill labels"
    return optional("differences", sport_differences, gaps, title=title)
