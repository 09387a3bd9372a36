"""The demonstration judge against spans whose truth is known: precision, recall, edges.

Guarantee: every true span is counted once. The judge's answer for a span is that of the window that
covers most of it, if it covers at least half; else "none", since no clip was made of it.

The truth is a table of spans (video_id, start_s, end_s, demonstration), or a labelled sample of the
filter demonstration.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sportskills_lib.apps.audit import gold_sample
from sportskills_lib.formats.files import read_delimited
from sportskills_lib.runs import artifacts
from sportskills_lib.tables import DEMONSTRATIONS

SPAN = [*gold_sample.SPAN, "demonstration"]
MIN_COVER = 0.5  # of the true span
CLOSE_S = 0.5  # an edge this near counts as right
FRAME_S = 0.05  # an edge further outside shows the shot before or after


# ------------------------------------------------------------------------------------ true spans


def read_truth(path: Path) -> pl.DataFrame:
    """The spans of a CSV, Parquet or JSONL table, or of a labelled sample, those without a
    demonstration left out; ValueError names the row or the column that is wrong.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}: name a table with {', '.join(SPAN)}")
    readers = {".parquet": pl.read_parquet, ".jsonl": pl.read_ndjson}
    try:
        table = readers.get(path.suffix, read_delimited)(path)  # type: ignore[operator]
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path} cannot be read ({str(error)[:120]}): save it again") from None
    if "stratum" in table.columns:
        sheet = gold_sample.read(path)
        if sheet.filter != "demonstration":
            raise ValueError(f"{path} is a sample of {sheet.filter}: label one of demonstration")
        return sheet.answers.select(*gold_sample.SPAN, demonstration="label")
    if missing := [name for name in SPAN if name not in table.columns]:
        raise ValueError(f"{path} has no column {missing[0]}: it needs {', '.join(SPAN)}")
    # as text first, so that a decimal comma is understood in every format
    times = pl.col("start_s", "end_s").cast(pl.String).str.replace(",", ".", literal=True)
    names = pl.col("video_id", "demonstration").cast(pl.String).replace("", None)
    spans = table.select(SPAN).with_columns(names, times.cast(pl.Float64, strict=False))
    start, end, known = pl.col("start_s"), pl.col("end_s"), pl.col("demonstration")
    valid = pl.col("video_id").is_not_null() & (start >= 0) & (end > start) & end.is_finite()
    valid = valid.fill_null(False) & (known.is_null() | known.is_in(DEMONSTRATIONS))
    for row in spans.with_row_index("row", offset=1).filter(~valid).iter_rows(named=True):
        raise ValueError(
            f"{path}, row {row['row']} below the header: video {row['video_id']!r} from "
            f"{row['start_s']} to {row['end_s']} s, demonstration {row['demonstration']!r}, is not "
            f"a span of one of {', '.join(DEMONSTRATIONS)}: correct the row"
        )
    return spans.drop_nulls()


@dataclass(frozen=True)
class SpanMatches:
    """``matched`` has one row a true span: truth, answer, and the errors of the window's start and
    end in seconds.
    """

    matched: pl.DataFrame

    def confusion(self) -> pl.DataFrame:
        """Counts by truth (rows) and answer (columns)."""
        counts = self.matched.group_by("truth").agg(
            (pl.col("answer") == name).sum().alias(name) for name in DEMONSTRATIONS
        )
        return (
            pl.DataFrame({"truth": list(DEMONSTRATIONS)})
            .join(counts, on="truth", how="left", maintain_order="left")
            .with_columns(pl.col(DEMONSTRATIONS).fill_null(0))
        )

    def scores(self) -> pl.DataFrame:
        """Precision, recall and F1 with their counts: demonstration or not; correct or incorrect,
        of those found; each answer, of all.
        """
        truth, answer = self.matched["truth"], self.matched["answer"]
        found = (truth != "none") & (answer != "none")
        cases = {"demonstration": (truth != "none", answer != "none")}
        cases |= {
            f"{name}, of demonstrations found": ((truth == name) & found, (answer == name) & found)
            for name in DEMONSTRATIONS[:2]
        }
        cases |= {f"{name}, of all": (truth == name, answer == name) for name in DEMONSTRATIONS}
        counts = [(name, (a & b).sum(), b.sum(), a.sum()) for name, (a, b) in cases.items()]
        table = pl.DataFrame(counts, schema=["question", "hits", "answered", "true"], orient="row")
        hits, said, there = pl.col("hits"), pl.col("answered"), pl.col("true")
        shares = {
            "precision": hits / said,
            "recall": hits / there,
            "f1": 2 * hits / (said + there),
        }
        return table.with_columns(
            value.fill_nan(None).alias(name) for name, value in shares.items()
        ).select("question", *shares, "hits", "answered", "true")

    def macro_f1(self) -> float | None:
        """Mean F1 over those of correct, incorrect and none that some span truly is; None without
        spans.
        """
        return self.scores().tail(len(DEMONSTRATIONS)).filter(pl.col("true") > 0)["f1"].mean()  # type: ignore[return-value]

    def boundaries(self) -> pl.DataFrame:
        """Errors of starts and of ends, of the demonstrations found: median and 90th percentile
        in seconds, the shares near and outside.

        ``outside`` is the share of edges that lie in the neighbouring shot: a start too early, an
        end too late.
        """
        found = self.matched.filter((pl.col("truth") != "none") & (pl.col("answer") != "none"))
        edges = []
        for edge, sign in (("start", -1), ("end", 1)):
            error = pl.col(f"{edge}_error_s")
            edges.append(found.select(
                edge=pl.lit(edge), clips=pl.len(), median_s=error.abs().median(),
                p90_s=error.abs().quantile(0.9), near=(error.abs() <= CLOSE_S).mean(),
                outside=(sign * error > FRAME_S).mean(),
            ))  # fmt: skip
        return pl.concat(edges)


def audit_demonstrations(judged: pl.DataFrame, truth: pl.DataFrame) -> SpanMatches:
    """Compare ``judged`` (02's table of windows) with ``truth`` (video_id, start_s, end_s,
    demonstration).

    An undecided window makes no clip, so it counts as none.
    """
    answer = pl.col("demonstration").cast(pl.String)
    if "undecided" in judged.columns:
        answer = pl.when(pl.col("undecided")).then(pl.lit("none")).otherwise(answer)
    windows = judged.select(*gold_sample.SPAN, answer=answer).filter(pl.col("answer") != "none")
    spans = truth.select(
        *gold_sample.SPAN, truth=pl.col("demonstration").cast(pl.String)
    ).with_row_index("span")
    covered_s = pl.min_horizontal("end_s", "end_s_window") - pl.max_horizontal(
        "start_s", "start_s_window"
    )
    best = (
        spans.join(windows, on="video_id", suffix="_window")
        .with_columns(cover=covered_s / (pl.col("end_s") - pl.col("start_s")))
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
    return SpanMatches(
        spans.join(best, on="span", how="left", maintain_order="left")
        .with_columns(pl.col("answer").fill_null("none"))
        .drop("span")
    )


def audit_run(run: str, truth: pl.DataFrame, *, videos: str = "*") -> SpanMatches:
    """How the run judged the spans of ``truth``, in its videos whose id matches the pattern
    ``videos``.
    """
    known = artifacts.open_stage(run, "01_curation").table("videos")["video_id"]
    chosen = pl.DataFrame(
        {"video_id": fnmatch.filter(known, videos)}, schema={"video_id": pl.String}
    )
    mine = truth.join(chosen, on="video_id", how="semi", maintain_order="left")
    if mine.is_empty():
        raise ValueError(
            f"no video of run {run!r} that matches --videos {videos!r} is in the table of spans: "
            "name another --run or other --videos"
        )
    return audit_demonstrations(
        artifacts.open_stage(run, "02_pairing")
        .table("judged")
        .join(chosen, on="video_id", how="semi"),
        mine,
    )
