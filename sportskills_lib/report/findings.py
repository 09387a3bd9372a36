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


def _gap(one: str, two: str, row: dict[str, Any], value: float) -> str:
    """``a scores 0.08 [0.02, 0.14] below b``."""
    if value >= 0:
        return f"{one} scores {interval(value, row['low'], row['high'])} above {two}"
    low, high = (None if row[end] is None else -row[end] for end in ("high", "low"))
    return f"{one} scores {interval(-value, low, high)} below {two}"


def summary_sentences(
    headline: pl.DataFrame, gaps: pl.DataFrame, raters: pl.DataFrame
) -> list[str]:
    """The headline with its interval and n, the ratio, the control, and the feedback finding."""
    sentences: list[str] = []
    for encoder in summary.ordered(
        headline["encoder"] if headline.height else (), summary.ENCODERS
    ):
        full, fixed = (
            {
                (row["kind"], row["training"], row["baseline"]): row
                for row in headline.filter(encoder=encoder, gallery=gallery).to_dicts()
            }
            for gallery in ("full", "fixed")
        )
        sentences += filter(
            None, (_main(full, fixed, encoder), _control(full), _against_first(full, encoder))
        )
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
    row = next((full[key] for key in full if key[:2] == ("encoders", "narrations")), None)
    if row is None:
        return ""
    gap = _gap(f"the {encoder} encoder", f"the {row['baseline']} encoder", row, row["value"])
    return f"With narration training, {gap}; {verdict(row['ci_excludes_zero'])}."


def _control(full: Rows) -> str:
    row = full.get(("difference", "narrations_shuffled", "activity_skill"))
    if row is None:
        return ""
    meaning = "" if row["ci_excludes_zero"] is None else ", as expected"
    if row["ci_excludes_zero"]:
        above = row["value"] > 0
        meaning = ": more than the cue is learnt" if above else ": below the skill labels"
    gap = _gap("narrations shuffled within skill", "skill labels", row, row["value"])
    return f"Control: {gap}; {verdict(row['ci_excludes_zero'])}{meaning}."


def _feedback_sentences(gaps: pl.DataFrame, raters: pl.DataFrame) -> list[str]:
    """How the relevance model stands to each of its rivals among clips of the learner's skill."""
    sentences: list[str] = []
    if "pool" not in gaps.columns:  # of a run before 0.2
        return sentences
    for metric in (feedback.PRIMARY, feedback.MENDS_FIRST):
        parts = []
        rows = gaps.filter(pool="same_skill", system="relevance", metric=metric).to_dicts()
        for row in (row for row in rows if row["baseline"] in feedback.RIVALS):
            gap = _gap("relevance", row["baseline"], row, row["difference"])
            note = verdict(row["ci_excludes_zero"], few="participants")
            parts.append(f"{gap} ({note}, p_holm {row['p_holm']:.3f}, n = {row['n']} learners)")
        head = f"Feedback retrieval among clips of the learner's skill, {metric} from grades by"
        if parts:
            sentences.append(f"{head} {summary.graders(raters)}: {'; '.join(parts)}.")
    return sentences
