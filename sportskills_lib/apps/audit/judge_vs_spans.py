"""The demonstration judge against spans whose truth is known: precision, recall, edges, and which
evidence it uses.

Guarantee: every true span is counted once. The judge's answer for a span is that of the window that
covers most of it, if it covers at least half; else "none", since no clip was made of it.

:func:`by_evidence` asks a judge about the same windows by their words, by their pictures and by
both, and again with the words of other lessons. Answers by pictures must not change then, and a
judge that uses the words must get worse. The judge is the run's own, or another one that has not
run yet. The truth is a table of spans (video_id, start_s, end_s, demonstration), or a labelled
sample of the filter demonstration.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib.apps.audit import gold_sample
from sportskills_lib.config import PairingConfig
from sportskills_lib.formats.files import read_delimited
from sportskills_lib.learner_data import read_learner_frames
from sportskills_lib.pairing.judge_protocol import MODES, Judge
from sportskills_lib.pairing.judging import answers_by_mode, load_judge
from sportskills_lib.runs import artifacts
from sportskills_lib.tables import DEMONSTRATIONS
from sportskills_lib.viewing import retrieved_queries

SPAN = [*gold_sample.SPAN, "demonstration"]
MIN_COVER = 0.5  # of the true span
CLOSE_S = 0.5  # an edge this near counts as right
FRAME_S = 0.05  # an edge further outside shows the shot before or after
SHUFFLE_SEED = 7
STEPS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # of stated probability


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
    windows = judged.select(*gold_sample.SPAN, answer=answer).filter(pl.col("answer") != "none")
    spans = _true_spans(truth).with_row_index("span")
    best = (
        spans.join(windows, on="video_id", suffix="_window")
        .with_columns(cover=_overlap("_window") / (pl.col("end_s") - pl.col("start_s")))
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


def _true_spans(truth: pl.DataFrame) -> pl.DataFrame:
    return truth.select(*gold_sample.SPAN, truth=pl.col("demonstration").cast(pl.String))


def _overlap(suffix: str) -> pl.Expr:
    """Seconds that a span has in common with the span of the suffix; negative if they are apart."""
    start_s, end_s = f"start_s{suffix}", f"end_s{suffix}"
    return pl.min_horizontal("end_s", end_s) - pl.max_horizontal("start_s", start_s)


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


# -------------------------------------------------------------------------------------- evidence


def audit_evidence(
    run: str,
    truth: pl.DataFrame,
    *,
    model: str | None = None,
    lessons: int = 0,
    **changes: Any,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Scores of the judge by words, pictures and both, with the lessons' own words and with
    others'; and reliability.

    ``lessons`` draws so many of the lessons with a known truth (0: all); ``changes`` are settings
    of stage 02 (judge, device, chat_url …) in place of the run's, ``model`` the one that judge vlm
    or chat asks. A model sees as many frames as stage 02 would
    show it; a window whose video cannot be read is left out.
    """
    pairing = artifacts.open_stage(run, "02_pairing")
    config = PairingConfig.model_validate(pairing.manifest["config"] | changes)
    if model:
        setting = "chat_model" if config.judge == "chat" else "judge_model"
        config = config.model_copy(update={setting: model})
    windows = pairing.table("judged").join(truth, on="video_id", how="semi", maintain_order="left")
    if windows.is_empty():
        raise ValueError(
            f"run {run!r} has no window in the videos of the table of spans: name another --run"
        )
    if lessons:
        names = windows["video_id"].unique().sort()
        drawn = names[np.random.default_rng(0).permutation(len(names))[:lessons]]
        windows = windows.filter(pl.col("video_id").is_in(drawn.implode()))
    frames = None
    if config.judge != "rules":
        files = {name: str(path) for name, path in retrieved_queries.video_files(run).items()}
        path = pl.col("video_id").replace_strict(files, default=None, return_dtype=pl.String)
        spans = windows.with_columns(learner_id="clip_id", take_id="video_id", path=path)
        windows, frames, _ = read_learner_frames(
            Path(), spans.drop_nulls("path"), frames=config.frames, size_px=config.size_px,
            workers=config.workers, timeout_s=config.timeout_s,
        )  # fmt: skip
    mine = truth.join(windows, on="video_id", how="semi")
    judge = load_judge(config, account=run)
    options: dict[str, Any] = {"frames": frames, "min_confidence": config.min_confidence}
    both = answers_by_mode(windows, judge, "both", **options)
    return by_evidence(windows, mine, judge, **options), reliability(both, mine)


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
    for mode in MODES:
        stated = dict[str, np.ndarray]()
        for words, windows in (("own", judged), ("shuffled", shuffle_words(judged))):
            answers = answers_by_mode(
                windows, judge, mode, frames=frames, min_confidence=min_confidence
            )
            audit = audit_demonstrations(answers, truth, forced=True)
            stated[words] = answers.select(f"p_{name}" for name in DEMONSTRATIONS).to_numpy()
            differs = ~np.isclose(stated["own"], stated[words], equal_nan=True)
            each = audit.scores()["f1"].tail(len(DEMONSTRATIONS))
            rows.append(
                {
                    "judge": judge.name,
                    "evidence": mode,
                    "words": words,
                    "macro_f1": audit.macro_f1(),
                    **{f"f1_{name}": f1 for name, f1 in zip(DEMONSTRATIONS, each, strict=True)},
                    "decided": 1 - float(answers["undecided"].mean() or 0),  # type: ignore[arg-type]
                    "changed": float(differs.any(axis=1).mean()),
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
    true = (
        judged.join(_true_spans(truth), on="video_id", suffix="_true")
        .filter(_overlap("_true") >= MIN_COVER * (pl.col("end_s") - pl.col("start_s")))
        .select("clip_id", "truth")
        .unique("clip_id")
    )
    stated = judged.filter(pl.col("score").is_not_null()).join(true, on="clip_id", how="left")
    right = pl.col("demonstration").cast(pl.String) == pl.col("truth").fill_null("none")
    step = pl.sum_horizontal(pl.col("score") >= step for step in STEPS)
    return (
        stated.with_columns(right=right, step=step)
        .group_by("step")
        .agg(pl.len().alias("windows"), pl.col("score", "right").mean().round(3))
        .rename({"score": "stated"})
        .select("windows", "stated", "right")
        .sort("stated")
    )
