"""How right the demonstration judge is, against spans whose truth is known.

Guarantee: every true span is counted once. What the judge says of a span is the answer of the window that covers most
of it, if it covers at least half; else "none", since no clip was made of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from sportskills_lib.tables import DEMONSTRATIONS

MIN_COVER = 0.5  # of the true span


@dataclass(frozen=True)
class Audit:
    """``matched`` has one row a true span: truth, answer, and the errors of the window's start and end in seconds."""

    matched: pl.DataFrame

    def confusion(self) -> pl.DataFrame:
        """Counts by truth (rows) and answer (columns)."""
        grid = pl.DataFrame({"truth": list(DEMONSTRATIONS)})
        counts = self.matched.group_by("truth", "answer").len()
        for name in DEMONSTRATIONS:
            part = counts.filter(pl.col("answer") == name).select("truth", pl.col("len").alias(name))
            grid = grid.join(part, on="truth", how="left", maintain_order="left")
        return grid.with_columns(pl.col(DEMONSTRATIONS).fill_null(0))

    def scores(self) -> pl.DataFrame:
        """Precision, recall and F1 with their counts: demonstration or not; correct or incorrect, of those found."""
        truth, answer = self.matched["truth"], self.matched["answer"]
        rows = [_scores("demonstration", truth != "none", answer != "none")]
        both = (truth != "none") & (answer != "none")
        for name in ("correct", "incorrect"):
            rows.append(
                _scores(f"{name}, of demonstrations found", truth.filter(both) == name, answer.filter(both) == name)
            )
        for name in DEMONSTRATIONS:
            rows.append(_scores(f"{name}, of all", truth == name, answer == name))
        return pl.DataFrame(rows)

    def macro_f1(self) -> float | None:
        """Mean F1 of correct, incorrect and none over all spans; None where one of them has no F1."""
        values = self.scores()["f1"][-3:]
        return None if values.has_nulls() else float(values.mean())  # type: ignore[arg-type]

    def edge_errors(self) -> tuple[float | None, float | None]:
        """Median absolute errors of start and end, of the demonstrations found."""
        found = self.matched.filter((pl.col("truth") != "none") & (pl.col("answer") != "none"))
        start, end = found["start_error_s"].abs().median(), found["end_error_s"].abs().median()
        return start, end  # type: ignore[return-value]


def _scores(question: str, truth: pl.Series, answer: pl.Series) -> dict[str, object]:
    hits, said, there = int((truth & answer).sum()), int(answer.sum()), int(truth.sum())
    precision, recall = hits / said if said else None, hits / there if there else None
    f1 = 2 * hits / (said + there) if said + there else None
    return {
        "question": question, "precision": precision, "recall": recall, "f1": f1, "hits": hits, "answered": said,
        "true": there, }  # fmt: skip


def audit_demonstrations(judged: pl.DataFrame, truth: pl.DataFrame, *, answer: str = "demonstration") -> Audit:
    """Compare ``judged`` (02's table of windows) with ``truth`` (video_id, start_s, end_s, demonstration).

    ``answer`` names the column of ``judged`` to score: ``demonstration`` for both, ``said`` for the words alone.
    """
    span = ["video_id", "start_s", "end_s"]
    spans = truth.select(*span, truth=pl.col("demonstration").cast(pl.String)).with_row_index("span")
    shown = judged.filter(pl.col(answer).cast(pl.String) != "none")
    windows = shown.select(*span, answer=pl.col(answer).cast(pl.String))
    cover = pl.min_horizontal("end_s", "end_s_window") - pl.max_horizontal("start_s", "start_s_window")
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
    return Audit(matched.drop("span"))
