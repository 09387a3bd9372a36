"""The figures of feedback retrieval: systems by their scores, and the depth of the shortlist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from sportskills_lib import metrics
from sportskills_lib.evaluation import feedback
from sportskills_lib.evaluation.library_retrieval import ORDERED
from sportskills_lib.plots import style
from sportskills_lib.report.save import Page, optional

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def feedback_bar_pages(
    table: pl.DataFrame, scores: pl.DataFrame, *, simulated: bool
) -> dict[str, Page]:
    """The figure ``feedback`` and its rows, each with its metric's chance level; nothing where the
    table is empty.
    """
    chance = scores.group_by("metric").agg(pl.col("chance").mean())
    data = table.join(chance, on="metric", how="left", maintain_order="left")
    return optional("feedback", feedback_bars, data, simulated=simulated)


def feedback_bars(table: pl.DataFrame, *, simulated: bool) -> Figure:
    """Each system's nDCG@k and recall of helpful clips with intervals, best on top, and the chance
    level.
    """
    shown = [
        name
        for name in (feedback.NDCG, feedback.RECALL)
        if name in table["metric"].unique().to_list()
    ]
    order = table.filter(pl.col("metric") == shown[0]).sort("value", "system")["system"].to_list()
    figure, axes = style.figure(
        style.COLUMN_IN, 0.75 + 0.19 * len(order), ncols=len(shown), squeeze=False, sharey=True
    )
    for panel, metric in zip(axes[0], shown, strict=True):
        part = table.filter(pl.col("metric") == metric)
        for row in part.iter_rows(named=True):
            place, colour = (
                order.index(row["system"]),
                style.BLUE if row["system"].startswith("vlm") else style.SKY,
            )
            panel.barh(place, row["value"], 0.7, color=colour)
            if row["low"] is not None:
                error = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
                panel.errorbar(row["value"], place, xerr=error, color="black", elinewidth=0.8)
        panel.axvline(part["chance"][0], color="black", linestyle=":", linewidth=0.8)
        panel.set_xlim(0, 1)
        panel.set_xlabel(f"{metric} (n = {part['n'][0]})")
    axes[0][0].set_yticks(
        range(len(order)), [style.plain(name, limit=30).replace("_", " ") for name in order]
    )
    who = "simulated raters" if simulated else "coaches' grades"
    figure.suptitle(f"Feedback retrieval, {who}; dotted: chance", fontsize=7)
    return figure


def shortlist_depth(table: pl.DataFrame) -> Figure:
    """nDCG@k against seconds over the depth of the shortlist, and over the weight of the relevance
    model.
    """
    drawn, (left, right) = style.figure(style.PAGE_IN, 2.4, ncols=2, sharey=True)
    looks = [
        ("depth", left, "seconds_a_learner", style.BLUE),
        ("alone", left, "seconds_a_learner", style.VERMILION),
    ]
    for name, panel, column, colour in (*looks, ("weight", right, "value", style.BLUE)):
        rows = table.filter(pl.col("varied") == name).sort("value")
        panel.plot(rows[column], rows[feedback.NDCG], ".-", color=colour, label=ORDERED.get(name))
        panel.fill_between(
            rows[column], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0
        )
    for row in table.filter(pl.col("varied") == "alone").iter_rows(named=True):
        place = (row["seconds_a_learner"], row[feedback.NDCG])
        left.annotate(f"{row['value']:g}", place, xytext=(2, 3), textcoords="offset points")
    left.legend(title="the shortlist is ordered", loc="lower left")
    left.set(xlabel="seconds a learner (numbers: clips reranked)", ylabel=metrics.at_k("nDCG"))
    right.set(xlabel="weight of the relevance model in the fused score")
    return drawn
