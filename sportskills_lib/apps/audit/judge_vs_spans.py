"""Precision and recall of the demonstration judge, against spans whose truth is known.

Guarantee: every true span is counted once. The judge's answer for a span is that of the window that
covers most of it, if it covers at least half; else "none", since no clip was made of it.

:func:`by_evidence` asks a judge about the same windows by their words, by their pictures and by
both, and again with the words of other lessons. Answers by pictures must not change then, and a
judge that uses the words must get worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from sportskills_lib.pairing.judge_protocol import MODES, Judge
from sportskills_lib.pairing.judging import answers_by_mode
from sportskills_lib.tables import DEMONSTRATIONS

MIN_COVER = 0.5  # of the true span
CLOSE_S = 0.5  # an edge this near counts as right
FRAME_S = 0.05  # an edge further outside shows the shot before or after
SHUFFLE_SEED = 7
STEPS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # of stated probability


@dataclass(frozen=True)
class SpanMatches:
    """``matched`` has one row a true span: truth, answer, and the errors of the window's start and
    end in seconds.
    """

    matched: pl.DataFrame

    def confusion(self) -> pl.DataFrame:
        """Counts by truth (rows) and answer (columns)."""
        answers = [(pl.col("answer") == name).sum().alias(name) for name in DEMONSTRATIONS]
        counts = self.matched.group_by("truth").agg(*answers)
        truths = pl.DataFrame({"truth": list(DEMONSTRATIONS)})
        table = truths.join(counts, on="truth", how="left", maintain_order="left")
        return table.with_columns(pl.col(DEMONSTRATIONS).fill_null(0))

    def scores(self) -> pl.DataFrame:
        """Precision, recall and F1 with their counts: demonstration or not; correct or incorrect,
        of those found.
        """
        truth, answer = self.matched["truth"], self.matched["answer"]
        rows = [_scores("demonstration", truth != "none", answer != "none")]
        both = (truth != "none") & (answer != "none")
        for name in ("correct", "incorrect"):
            rows.append(
                _scores(
                    f"{name}, of demonstrations found",
                    truth.filter(both) == name,
                    answer.filter(both) == name,
                )
            )
        for name in DEMONSTRATIONS:
            rows.append(_scores(f"{name}, of all", truth == name, answer == name))
        return pl.DataFrame(rows)

    def macro_f1(self) -> float | None:
        """Mean F1 over those of correct, incorrect and none that some span truly is; None without
        spans.
        """
        scores = self.scores().tail(len(DEMONSTRATIONS)).filter(pl.col("true") > 0)
        return float(scores["f1"].mean()) if scores.height else None  # type: ignore[arg-type]

    def boundaries(self) -> pl.DataFrame:
        """Errors of starts and of ends, of the demonstrations found: median and 90th percentile
        in seconds, the shares near and outside.

        ``outside`` is the share of edges that lie in the neighbouring shot: a start too early, an
        end too late.
        """
        found = self.matched.filter((pl.col("truth") != "none") & (pl.col("answer") != "none"))
        rows = []
        for edge, sign in (("start", -1), ("end", 1)):
            error = found[f"{edge}_error_s"]
            rows.append(
                {
                    "edge": edge,
                    "clips": found.height,
                    "median_s": error.abs().median(),
                    "p90_s": error.abs().quantile(0.9),
                    "near": (error.abs() <= CLOSE_S).mean(),
                    "outside": (sign * error > FRAME_S).mean(),
                }
            )
        return pl.DataFrame(
            rows, schema_overrides={name: pl.Float64 for name in ("median_s", "p90_s", "near")}
        )


def _scores(question: str, truth: pl.Series, answer: pl.Series) -> dict[str, object]:
    hits, said, there = int((truth & answer).sum()), int(answer.sum()), int(truth.sum())
    precision, recall = hits / said if said else None, hits / there if there else None
    f1 = 2 * hits / (said + there) if said + there else None
    return {
        "question": question,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "hits": hits,
        "answered": said,
        "true": there,
    }


def audit_demonstrations(
    judged: pl.DataFrame, truth: pl.DataFrame, *, forced: bool = False
) -> SpanMatches:
    """Compare ``judged`` (02's table of windows) with ``truth`` (video_id, start_s, end_s,
    demonstration).

    An undecided window makes no clip, so it counts as none; ``forced`` counts its likeliest answer
    instead.
    """
    answer = pl.col("demonstration").cast(pl.String)
    if "undecided" in judged.columns and not forced:
        answer = pl.when(pl.col("undecided")).then(pl.lit("none")).otherwise(answer)
    judged = judged.with_columns(answer=answer)
    span = ["video_id", "start_s", "end_s"]
    spans = truth.select(*span, truth=pl.col("demonstration").cast(pl.String)).with_row_index(
        "span"
    )
    windows = judged.filter(pl.col("answer") != "none").select(*span, "answer")
    cover = pl.min_horizontal("end_s", "end_s_window") - pl.max_horizontal(
        "start_s", "start_s_window"
    )
    best = (
        spans.join(windows, on="video_id", suffix="_window")
        .with_columns(cover=cover / (pl.col("end_s") - pl.col("start_s")))
        .filter(pl.col("cover") >= MIN_COVER)
        .sort("span", "cover", "start_s_window", descending=[False, True, False])
        .unique("span", keep="first", maintain_order=True)
        .select(
            "span",
            "answer",
            start_error_s=pl.col("start_s_window") - pl.col("start_s"),
            end_error_s=pl.col("end_s_window") - pl.col("end_s"),
        )
    )
    matched = spans.join(best, on="span", how="left", maintain_order="left").with_columns(
        pl.col("answer").fill_null("none")
    )
    return SpanMatches(matched.drop("span"))


def by_evidence(
    judged: pl.DataFrame,
    truth: pl.DataFrame,
    judge: Judge,
    *,
    min_confidence: float,
    frames: np.ndarray | None = None,
) -> pl.DataFrame:
    """A row for each mode with the lesson's own words and with another lesson's: macro F1, and F1
    of each answer.

    ``frames`` [N, T, S, S, 3] belong to the rows of ``judged``; models need them. F1 counts the
    likeliest answers;
    ``decided`` is the share of windows whose answer the judge is sure enough of, ``changed`` the
    share of windows whose probabilities differ from those under the lesson's own words.
    """
    rows = []
    names = [f"p_{name}" for name in DEMONSTRATIONS]
    for mode in MODES:
        own = np.zeros((judged.height, len(names)))
        for words, windows in (("own", judged), ("shuffled", shuffle_words(judged))):
            answers = answers_by_mode(
                windows, judge, mode, frames=frames, min_confidence=min_confidence
            )
            audit = audit_demonstrations(answers, truth, forced=True)
            stated = answers.select(names).to_numpy()
            own = stated if words == "own" else own
            each = dict(
                zip(DEMONSTRATIONS, audit.scores()["f1"][-len(DEMONSTRATIONS) :], strict=True)
            )
            rows.append(
                {
                    "judge": judge.name,
                    "evidence": mode,
                    "words": words,
                    "macro_f1": audit.macro_f1(),
                    **{f"f1_{name}": value for name, value in each.items()},
                    "decided": 1 - float(answers["undecided"].mean() or 0),  # type: ignore[arg-type]
                    "changed": float((~np.isclose(own, stated, equal_nan=True)).any(axis=1).mean()),
                }
            )
    return pl.DataFrame(rows, infer_schema_length=None)


def shuffle_words(windows: pl.DataFrame) -> pl.DataFrame:
    """The same windows with the words of another lesson (text, and whether and how it teaches);
    pictures stay.

    Sorted by lesson, in random order within each, every window takes the words of the one that is
    as many places before it as the largest lesson has windows, so that none keeps words of its own
    lesson. The same for the same windows. ValueError where one lesson has more than half of them.
    """
    lessons = windows["video_id"]
    mixed = np.random.default_rng(SHUFFLE_SEED).permutation(windows.height)
    order = mixed[np.argsort(lessons.to_numpy()[mixed], kind="stable")]
    largest = int(lessons.value_counts()["count"].max() or 0)  # type: ignore[arg-type]
    if 2 * largest > windows.height:
        raise ValueError(
            "one lesson has more than half of the windows, so its words cannot be swapped with "
            "other lessons' words: audit more lessons"
        )
    donors = np.empty_like(order)
    donors[order] = np.roll(order, largest)
    return windows.with_columns(windows.select("text", "said")[donors])


def reliability(judged: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Stated probability of the answer against how often it is right: windows, stated, right; a row
    for each step.

    The truth of a window is that of the span that covers at least half of it, else none. Windows
    without an answer are left out.
    """
    span = ["video_id", "start_s", "end_s"]
    cover = pl.min_horizontal("end_s", "end_s_true") - pl.max_horizontal("start_s", "start_s_true")
    spans = truth.select(*span, truth=pl.col("demonstration").cast(pl.String))
    true = (
        judged.join(spans, on="video_id", suffix="_true")
        .filter(cover >= MIN_COVER * (pl.col("end_s") - pl.col("start_s")))
        .select("clip_id", "truth")
        .unique("clip_id")
    )
    stated = judged.filter(pl.col("score").is_not_null()).join(true, on="clip_id", how="left")
    right = pl.col("demonstration").cast(pl.String) == pl.col("truth").fill_null("none")
    return (
        stated.with_columns(
            right=right, step=pl.sum_horizontal(pl.col("score") >= step for step in STEPS)
        )
        .group_by("step")
        .agg(
            windows=pl.len(),
            stated=pl.col("score").mean().round(3),
            right=pl.col("right").mean().round(3),
        )
        .sort("stated")
        .drop("step")
    )
