"""What a judge of demonstrations lives on: words, pictures or both, on windows of a run whose truth
is known.

Truth is a table of spans (video_id, start_s, end_s, demonstration), or a labelled sample of the
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
from sportskills_lib.formats.files import number
from sportskills_lib.pairing import judging
from sportskills_lib.runs import artifacts
from sportskills_lib.tables import DEMONSTRATIONS
from sportskills_lib.viewing import retrieved_queries
from sportskills_lib.viewing.previews import Span

SPAN = ("video_id", "start_s", "end_s", "demonstration")


def read_truth(path: Path) -> pl.DataFrame:
    """The spans of a Parquet, CSV or JSONL table, or of a labelled sample; ValueError names what is
    missing.
    """
    if not path.is_file():
        raise ValueError(
            f"there is no file {path}: give a table with the columns {', '.join(SPAN)}"
        )
    rows = sheets.sheet_rows(path) if path.suffix == ".csv" else []
    if rows and "stratum" in rows[0][1]:
        sheet = sheets.read(path)
        if sheet.filter != "demonstration":
            raise ValueError(f"{path} is a sample of {sheet.filter}: label one of demonstration")
        known = sheet.frame.filter(~pl.col("label").is_in(["", questions.UNSURE]))
        return known.select("video_id", "start_s", "end_s", demonstration="label")
    readers: dict[str, Callable[..., pl.DataFrame]] = {
        ".jsonl": pl.read_ndjson,
        ".parquet": pl.read_parquet,
    }
    if path.suffix not in {*readers, ".csv"}:
        raise ValueError(
            f"{path} is no truth: give a .parquet, .csv or .jsonl with the columns "
            f"{', '.join(SPAN)}"
        )
    try:
        table = readers[path.suffix](path) if path.suffix in readers else _table(path, rows)
    except pl.exceptions.PolarsError as error:
        raise ValueError(
            f"{path} cannot be read ({' '.join(str(error).split())[:120]}): save it again"
        ) from None
    if missing := [name for name in SPAN if name not in table.columns]:
        raise ValueError(f"{path} has no column {missing[0]}: it needs {', '.join(SPAN)}")
    numbered = table.select(SPAN[:3]).with_row_index("row", offset=1)
    if (empty := numbered.filter(pl.any_horizontal(pl.all().is_null()))).height:
        raise ValueError(
            f"{path}: row {empty['row'][0]} lacks a video_id, start_s or end_s: mend it, or "
            "take it out"
        )
    spans = table.select(SPAN).with_columns(pl.col("demonstration").cast(pl.String)).drop_nulls()
    if wrong := sorted(set(spans["demonstration"]) - set(DEMONSTRATIONS)):
        raise ValueError(
            f"{path} says demonstration {wrong[0]!r}; it may say {', '.join(DEMONSTRATIONS)}"
        )
    if not all(spans[name].dtype.is_numeric() for name in ("start_s", "end_s")):
        raise ValueError(f"{path}: start_s and end_s must be seconds, with a point before decimals")
    start, end = pl.col("start_s").cast(pl.Float64), pl.col("end_s").cast(pl.Float64)
    if (bad := spans.filter(~((start >= 0) & (end > start) & end.is_finite()))).height:
        row = bad.row(0, named=True)
        raise ValueError(
            f"{path}: {row['video_id']} from {row['start_s']} to {row['end_s']} s is no span: "
            "mend its times"
        )
    return spans


def _table(path: Path, rows: list[tuple[int, list[str]]]) -> pl.DataFrame:
    """The cells of a CSV, empty ones null, seconds as numbers; ValueError names the row and column
    of another cell.
    """
    (_, header), *body = rows or [(1, [])]
    cells = dict[str, list[str | float | None]]({name: [] for name in header})
    for line, row in body:
        if len(row) != len(header):
            raise ValueError(
                f"{path}, row {line}: {len(header)} cells are needed, {len(row)} are there: "
                "mend the row"
            )
        for name, cell in zip(header, row, strict=True):
            try:
                value = (
                    number(cell)
                    if name in ("start_s", "end_s") and cell.strip()
                    else cell.strip() or None
                )
            except ValueError:
                raise ValueError(
                    f"{path}, row {line}, column {name}: {cell!r} is no number of seconds"
                ) from None
            cells[name].append(value)
    return pl.DataFrame({
        name: pl.Series(name, values, pl.Float64 if name in ("start_s", "end_s") else pl.String)
        for name, values in cells.items()
    })  # fmt: skip


def against_truth(run: str, truth: pl.DataFrame, *, videos: str = "*") -> judge_vs_spans.Audit:
    """What the run made of the spans of ``truth`` in its videos whose id matches the pattern
    ``videos``.
    """
    judged = artifacts.open_stage(run, "02_pairing").table("judged")
    known = artifacts.open_stage(run, "01_curation").table("videos")["video_id"].to_list()
    chosen = pl.Series("video_id", fnmatch.filter(known, videos), dtype=pl.String)
    mine = truth.filter(pl.col("video_id").is_in(chosen.implode()))
    if mine.is_empty():
        raise ValueError(
            f"no video of run {run!r} that matches {videos!r} has a known truth: name other "
            "--videos"
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
            f"no window of run {run!r} lies in a video whose truth is given: it is of other videos"
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
