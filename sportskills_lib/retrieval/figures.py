"""What notebook 04 shows: small tables and the training curve. Empty input gives empty tables."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from sportskills_lib import metrics
from sportskills_lib.config import RetrievalConfig
from sportskills_lib.plots import style
from sportskills_lib.retrieval.ranking.systems import DUAL
from sportskills_lib.retrieval.ranking.two_stage import RELEVANCE
from sportskills_lib.retrieval.relevance.calibration import Calibration
from sportskills_lib.retrieval.relevance.candidate_lists import VALIDATION_NDCG


def notice(learners: pl.DataFrame, config: RetrievalConfig) -> str:
    """One line that says what there is; without learners, that the stage has nothing to do and
    why.
    """
    if learners.height:
        return f"{learners.height} learners from {config.learners}"
    named = (
        f"{config.learners!r} is not there or holds none"
        if config.learners
        else "the setting is empty"
    )
    return (
        f"There are no learners ({named}): this stage writes empty tables, and 05 reports "
        "no feedback retrieval."
    )


def learner_summary(learners: pl.DataFrame) -> pl.DataFrame:
    """Learners by split: how many, how many with a mistake, of how many participants and sports."""
    return (
        learners.group_by("split")
        .agg(
            learners=pl.len(),
            mistakes=pl.col("is_mistake").sum(),
            participants=pl.col("participant").n_unique(),
            sports=pl.col("sport").n_unique(),
        )
        .sort("split")
    )


def dropped_summary(dropped: pl.DataFrame) -> pl.DataFrame:
    """What did not become a learner: rows by kind and reason, the most frequent first, and what the
    first one says.
    """
    return (
        dropped.group_by("reason", "item_kind", maintain_order=True)
        .agg(rows=pl.len(), first=pl.format("{}: {}", "item_id", "detail").first())
        .sort("rows", "reason", "item_kind", descending=[True, False, False])
    )


def pool_summary(pools: pl.DataFrame, learners: pl.DataFrame) -> pl.DataFrame:
    """By split: learners with judged candidates, and how many candidates each has."""
    return (
        pools.group_by("learner_id")
        .len(name="candidates")
        .join(learners, on="learner_id")
        .group_by("split")
        .agg(
            learners=pl.len(),
            fewest=pl.col("candidates").min(),
            median=pl.col("candidates").median(),
            most=pl.col("candidates").max(),
        )
        .sort("split")
    )


def supervision_summary(supervision: pl.DataFrame, learners: pl.DataFrame) -> pl.DataFrame:
    """Rows and learners by split, label and reason."""
    return (
        supervision.join(learners.select("learner_id", "split"), on="learner_id", how="left")
        .group_by("split", "label", "reason")
        .agg(rows=pl.len(), learners=pl.col("learner_id").n_unique())
        .sort("split", "label", "reason", descending=[False, True, False])
    )


def positives_figure(table: pl.DataFrame) -> Figure:
    """Rows per learner as a histogram for each kind: positives, negatives and masked rows."""
    kinds = table["kind"].unique(maintain_order=True).to_list()
    lines = max(1, -(-len(kinds) // 3))
    figure, axes = style.figure(
        style.PAGE_IN, 0.3 + 1.25 * lines, nrows=lines, ncols=3, squeeze=False, sharey=True
    )
    for panel in axes.ravel()[len(kinds) :]:
        panel.set_axis_off()
    for panel, kind in zip(axes.ravel(), kinds, strict=False):
        part = table.filter(pl.col("kind") == kind)
        label, most = part["label"][0], int(part["rows"].max() or 0)  # type: ignore[arg-type]
        colour = style.GREY if label is None else style.BLUE if label > 0 else style.ORANGE
        step = max(1, -(-(most + 1) // 30))
        panel.hist(part["rows"], bins=np.arange(-0.5, most + step, step), color=colour)
        panel.set_title(style.plain(str(kind)), fontsize=6.5, loc="left", pad=3)
        middle = float(np.median(part["rows"].to_numpy())) if part.height else 0.0
        panel.axvline(middle, color="black", linewidth=0.8, linestyle=":")
    figure.supxlabel(
        "rows of a learner (blue: positives, orange: negatives, grey: masked; dotted: median)",
        fontsize=7,
    )
    figure.supylabel("learners", fontsize=7)
    return figure


def supervision_examples(
    supervision: pl.DataFrame,
    learners: pl.DataFrame,
    texts: dict[str, str],
    *,
    seed: int,
    rows: int = 8,
) -> pl.DataFrame:
    """Random rows of supervision with both texts, as many of each reason as possible."""
    chosen = (
        supervision.sample(fraction=1.0, shuffle=True, seed=seed)
        .with_columns(place=pl.int_range(pl.len()).over("reason"))
        .sort("place", "reason")
        .head(rows)
    )
    said = [texts[clip_id] for clip_id in chosen["clip_id"]]
    return (
        chosen.with_columns(coach=pl.Series(said, dtype=pl.String))
        .join(
            learners.select("learner_id", expert="comment"),
            on="learner_id",
            how="left",
            maintain_order="left",
        )
        .select("expert", "coach", "label", "reason")
    )


def finding(choices: pl.DataFrame, curves: pl.DataFrame) -> str:
    """What training did on the validation learners' weak labels, and what the search takes of 02's
    label and of yes/no.
    """
    told = (
        curves.drop_nans(VALIDATION_NDCG).drop_nulls(VALIDATION_NDCG) if curves.height else curves
    )
    if not told.height or not choices.height:
        return "Nothing was ranked."
    reached = told.group_by("arm", maintain_order=True).agg(pl.max(VALIDATION_NDCG)).rows()
    picked = choices.filter("chosen")
    weights = {name.partition(":")[0]: row for name, *row in picked.rows()}
    best = ", ".join(f"`{arm}` {value:.2f}" for arm, value in reached)
    shares = ", ".join(
        f"`{name}` {weights[name][0]:g} of {what}"
        for name, what in ((DUAL, "02's label"), (RELEVANCE, "yes/no"))
        if name in weights
    )
    return (
        f"**By the validation learners' weak labels, the best {metrics.at_k('nDCG')} of each step "
        f"of training: {best}.** Weights: {shares}."
    )


def named_examples(
    named: pl.DataFrame, learners: pl.DataFrame, *, seed: int, rows: int = 6
) -> pl.DataFrame:
    """Some test learners: what the expert said, what the model says is wrong, and how likely that
    is right.
    """
    test = learners.filter(pl.col("split").cast(pl.String) == "test")
    first = named.filter(pl.col("rank") == 1).join(
        test.select("learner_id", "skill", expert="comment"), on="learner_id"
    )
    return (
        first.sample(min(rows, first.height), seed=seed)
        .sort("learner_id")
        .select("skill", "expert", model="comment", probability=pl.col("probability").round(2))
    )


def top_overlap(rankings: pl.DataFrame) -> pl.DataFrame:
    """How many of their first k clips two systems share on average: how different they are,
    without any grade.
    """
    top = rankings.filter(pl.col("rank") <= metrics.HEADLINE_K).select(
        "system", "query_id", "clip_id"
    )
    queries = max(1, top["query_id"].n_unique())
    return (
        top.join(top, on=["query_id", "clip_id"], suffix="_other")
        .group_by("system", "system_other")
        .len()
        .with_columns(shared=(pl.col("len") / queries).round(1))
        .sort("system", "system_other")
        .pivot("system_other", index="system", values="shared")
    )


def reliability(calibration: Calibration | None) -> Figure:
    """What was said against what helped, before and after calibration; below, how many pairs said
    it. A sentence where there was nothing to calibrate on.
    """
    if calibration is None:
        figure, panel = style.figure(style.COLUMN_IN, 0.6)
        panel.set_axis_off()
        panel.text(0, 0.5, "No validation pairs of both kinds: scores stay without a probability.")
        return figure
    figure, axes = style.figure(style.COLUMN_IN, 2.9, nrows=2, sharex=True, height_ratios=[3, 1])
    curve, counts = axes
    curve.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.6, linestyle="--")
    whose = "other learners" if calibration.groups else "the fit's own pairs"
    looks = (
        ("before", "before calibration", style.VERMILION, "s", calibration.ece_before),
        ("after", f"after, by {whose}", style.BLUE, "o", calibration.ece_after),
    )
    for place, (when, name, colour, marker, error) in enumerate(looks):
        rows = calibration.bins.filter(pl.col("when") == when)
        label = f"{name}, ECE {error:.3f}"
        curve.plot(
            rows["said"], rows["helped"], color=colour, marker=marker, markersize=3, label=label
        )
        width = (rows["high"] - rows["low"]) * 0.4
        counts.bar(
            rows["low"] + width * (0.25 + place), rows["pairs"], width, align="edge", color=colour
        )
    curve.set(ylim=(-0.02, 1.02), ylabel="share labelled helpful")
    figure.legend(loc="outside upper left")  # within the axes it would lie on a point
    counts.set(xlim=(-0.02, 1.02), xlabel="probability that the clip helps", ylabel="pairs")
    return figure
