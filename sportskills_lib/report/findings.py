"""What came out, in sentences: each with its interval and the number of queries or learners."""

from __future__ import annotations

from typing import Any

import polars as pl

from sportskills_lib import metrics
from sportskills_lib.evaluation import feedback, summary
from sportskills_lib.plots.notebook_tables import interval

Rows = dict[tuple[str, str, str], dict[str, Any]]  # of the headline, by kind, training, baseline


def verdict(excludes_zero: bool | None, *, few: str = "videos of some sport") -> str:
    """What may be said of a difference by its 95 % interval; None: there is no interval."""
    if excludes_zero is None:
        return f"no interval: too few {few}"
    return f"the 95 % interval {'excludes' if excludes_zero else 'includes'} 0"


def against(one: str, two: str, value: float, low: float | None, high: float | None) -> str:
    """``a scores 0.08 [0.02, 0.14] below b``."""
    if value < 0:
        value, low, high = -value, None if high is None else -high, None if low is None else -low
        return f"{one} scores {interval(value, low, high)} below {two}"
    return f"{one} scores {interval(value, low, high)} above {two}"


def summary_sentences(
    headline: pl.DataFrame, gaps: pl.DataFrame, raters: pl.DataFrame
) -> list[str]:
    """The headline with its interval and n, the ratio, the control, and the feedback finding."""
    sentences: list[str] = []
    encoders = headline["encoder"].unique().to_list() if headline.height else []
    for encoder in summary.ordered(encoders, summary.ENCODERS):
        own = headline.filter(pl.col("encoder") == encoder)
        full, fixed = (
            {
                (row["kind"], row["training"], row["baseline"]): row
                for row in own.filter(pl.col("gallery") == gallery).iter_rows(named=True)
            }
            for gallery in ("full", "fixed")
        )
        parts = (_main(full, fixed, encoder), _control(full), _against_first(full, encoder))
        sentences += filter(None, parts)
    if not sentences:
        sentences.append(
            f"No sport of this run is evaluable at {metrics.HEADLINE_K}, so there is no "
            "headline difference."
        )
    return sentences + _feedback_sentences(gaps, raters)


def _main(full: Rows, fixed: Rows, encoder: str) -> str:
    row = full.get(("difference", "narrations", "activity_skill"))
    if row is None:
        return ""
    gain = interval(row["value"], row["low"], row["high"], sign=True)
    text = (
        f"Training on narrations instead of skill labels changes {metrics.at_k('recall')} "
        f"({encoder} encoder, text to video, within sport, macro mean of {row['sports']} sports, "
        f"n = {row['n']} queries) by {gain}; {verdict(row['ci_excludes_zero'])}."
    )
    key = ("ratio", "narrations", "activity_sport")
    ratio = fixed.get(key) or full.get(key)
    where = " in equal-sized galleries" if key in fixed else ""
    if ratio is not None and ratio["value"] is not None:
        value = interval(ratio["value"], ratio["low"], ratio["high"])
        text += f" The ratio of macro means over sport labels{where} is {value}."
    gap = full.get(("gap_closed", "narrations", "skill to cue oracle"))
    if gap is not None and gap["value"] is not None:
        low, high = gap["low"], gap["high"]
        share = f"{gap['value']:.0%}" + ("" if low is None else f" [{low:.0%}, {high:.0%}]")
        text += f" Narrations close {share} of the gap between the skill oracle and the cue oracle."
    return text


def _against_first(full: Rows, encoder: str) -> str:
    rows = [row for key, row in full.items() if key[:2] == ("encoders", "narrations")]
    if not rows:
        return ""
    row = rows[0]
    names = (f"the {encoder} encoder", f"the {row['baseline']} encoder")
    gap = against(*names, row["value"], row["low"], row["high"])
    return f"With narration training, {gap}; {verdict(row['ci_excludes_zero'])}."


def _control(full: Rows) -> str:
    row = full.get(("difference", "narrations_shuffled", "activity_skill"))
    if row is None:
        return ""
    meaning = ""
    if row["ci_excludes_zero"] is not None:
        meaning = ", as expected"
        if row["ci_excludes_zero"]:
            above = row["value"] > 0
            meaning = ": more than the cue is learnt" if above else ": below the skill labels"
    gap = against(
        "narrations shuffled within skill", "skill labels", row["value"], row["low"], row["high"]
    )
    return f"Control: {gap}; {verdict(row['ci_excludes_zero'])}{meaning}."


def _feedback_sentences(gaps: pl.DataFrame, raters: pl.DataFrame) -> list[str]:
    if gaps.is_empty():
        return []
    own = gaps.filter((pl.col("metric") == feedback.NDCG) & (pl.col("system") == "vlm_lora"))
    parts = []
    for row in own.iter_rows(named=True):
        gap = against("vlm_lora", row["baseline"], row["difference"], row["low"], row["high"])
        note = verdict(row["ci_excludes_zero"], few="participants")
        parts.append(f"{gap} ({note}, n = {row['n']} learners)")
    metric = metrics.at_k("nDCG")
    text = f"Feedback retrieval, {metric} from grades by {summary.graders(raters)}: "
    return [text + "; ".join(parts) + "."] if parts else []
