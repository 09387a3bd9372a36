"""Which evidence the demonstration judge uses, measured on windows of a run whose truth is known:
words, pictures or both.

The truth is a table of spans (video_id, start_s, end_s, demonstration), or a labelled sample of the
filter demonstration. The judge is the run's own, or another one that has not run yet.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib.apps.audit import judge_vs_spans, questions, sheets, strips
from sportskills_lib.config import PairingConfig
from sportskills_lib.formats.files import read_delimited
from sportskills_lib.pairing import judging
from sportskills_lib.runs import artifacts
from sportskills_lib.tables import DEMONSTRATIONS
from sportskills_lib.viewing import retrieved_queries
from sportskills_lib.viewing.previews import Span

SPAN = ("video_id", "start_s", "end_s", "demonstration")


def read_truth(path: Path) -> pl.DataFrame:
    """The spans of a Parquet, CSV or JSONL table, or of a labelled sample, those without a
    demonstration left out; ValueError names the row or the column that is wrong.
    """
    readers: dict[str, Callable[..., pl.DataFrame]] = {
        ".csv": read_delimited,
        ".jsonl": pl.read_ndjson,
        ".parquet": pl.read_parquet,
    }
    if not path.is_file() or path.suffix not in readers:
        raise ValueError(
            f"{path} is not a .parquet, .csv or .jsonl file: name a table with the columns "
            f"{', '.join(SPAN)}"
        )
    try:
        table = readers[path.suffix](path)
    except pl.exceptions.PolarsError as error:
        raise ValueError(
            f"{path} cannot be read ({' '.join(str(error).split())[:120]}): save it again"
        ) from None
    if "stratum" in table.columns:
        return _labelled_spans(path)
    if missing := [name for name in SPAN if name not in table.columns]:
        raise ValueError(f"{path} has no column {missing[0]}: it needs {', '.join(SPAN)}")
    # as text first, so that a decimal comma is understood in every format
    times = pl.col("start_s", "end_s").cast(pl.String).str.replace(",", ".", literal=True)
    names = pl.col("video_id", "demonstration").cast(pl.String).replace("", None)
    spans = table.with_columns(names, times.cast(pl.Float64, strict=False)).select(SPAN)
    start, end = pl.col("start_s"), pl.col("end_s")
    valid = pl.col("video_id").is_not_null() & (start >= 0) & (end > start) & end.is_finite()
    wrong = spans.with_row_index("row", offset=1).filter(~valid.fill_null(False))
    for row in wrong.head(1).iter_rows(named=True):
        raise ValueError(
            f"{path}, row {row['row']} below the header: video {row['video_id']!r} from "
            f"{row['start_s']} to {row['end_s']} s is not a span: correct the row"
        )
    known = spans.drop_nulls()
    if others := sorted(set(known["demonstration"]) - set(DEMONSTRATIONS)):
        raise ValueError(
            f"{path}: unknown demonstration {others[0]!r}: use {', '.join(DEMONSTRATIONS)}"
        )
    return known


def _labelled_spans(path: Path) -> pl.DataFrame:
    """The spans of a sample of the filter demonstration that somebody labelled."""
    sheet = sheets.read(path)
    if sheet.filter != "demonstration":
        raise ValueError(f"{path} is a sample of {sheet.filter}: label one of demonstration")
    known = sheet.frame.filter(~pl.col("label").is_in(["", questions.UNSURE]))
    return known.select("video_id", "start_s", "end_s", demonstration="label")


def against_truth(
    run: str, truth: pl.DataFrame, *, videos: str = "*"
) -> judge_vs_spans.SpanMatches:
    """How the run judged the spans of ``truth``, in its videos whose id matches the pattern
    ``videos``.
    """
    judged = artifacts.open_stage(run, "02_pairing").table("judged")
    known = artifacts.open_stage(run, "01_curation").table("videos")["video_id"].to_list()
    chosen = pl.Series("video_id", fnmatch.filter(known, videos), dtype=pl.String)
    mine = truth.filter(pl.col("video_id").is_in(chosen.implode()))
    if mine.is_empty():
        raise ValueError(
            f"no video of run {run!r} that matches --videos {videos!r} is in the table of spans: "
            "name other --videos"
        )
    return judge_vs_spans.audit_demonstrations(
        judged.filter(pl.col("video_id").is_in(chosen.implode())), mine
    )


def by_evidence(
    run: str,
    truth: pl.DataFrame,
    *,
    model: str | None = None,
    lessons: int = 0,
    seed: int = 0,
    **changes: Any,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Scores of the judge by words, pictures and both, with the lessons' own words and with
    others'; and reliability.

    ``lessons`` draws so many of the run's lessons with a known truth (0: all); ``changes`` are
    settings of stage 02 (judge, device, chat_url …) in place of the run's, ``model`` the one that
    judge vlm or chat asks. A model sees the frames that stage 02 would show it; a window whose
    video cannot be read is left out.
    """
    manifest = artifacts.open_stage(run, "02_pairing").manifest
    config = PairingConfig.model_validate(manifest["config"] | changes)
    if model:
        config = config.model_copy(
            update={"chat_model" if config.judge == "chat" else "judge_model": model}
        )
    windows = (
        artifacts.open_stage(run, "02_pairing")
        .table("judged")
        .join(truth, on="video_id", how="semi")
    )
    names = windows["video_id"].unique().sort()
    if names.is_empty():
        raise ValueError(
            f"run {run!r} has no window in the videos of the table of spans: name another --run"
        )
    if lessons:
        chosen = np.random.default_rng(seed).permutation(len(names))[:lessons]
        windows = windows.filter(pl.col("video_id").is_in(names[chosen].to_list()))
    frames = None
    if config.judge != "rules":
        seen = _frames(run, windows, config)
        windows = windows.filter(pl.col("clip_id").is_in(list(seen)))
        frames = np.stack([seen[name] for name in windows["clip_id"]])
    mine = truth.join(windows, on="video_id", how="semi")
    judge = judging.load_judge(config, account=run)
    scores = judge_vs_spans.by_evidence(
        windows, mine, judge, min_confidence=config.min_confidence, frames=frames
    )
    both = judging.answers_by_mode(
        windows, judge, "both", frames=frames, min_confidence=config.min_confidence
    )
    return scores, judge_vs_spans.reliability(both, mine)


def _frames(run: str, windows: pl.DataFrame, config: PairingConfig) -> dict[str, np.ndarray]:
    paths = retrieved_queries.video_files(run)
    spans = [
        Span(name, paths[video_id], start_s, end_s)
        for name, video_id, start_s, end_s in windows.select(
            "clip_id", "video_id", "start_s", "end_s"
        ).iter_rows()
    ]
    return strips.read_spans(
        spans,
        workers=config.workers,
        timeout_s=config.timeout_s,
        moments=config.frames,
        side_px=config.size_px,
    )
