"""What notebook 03 shows of its arms: texts, recalls, learning rates."""

from __future__ import annotations

import numpy as np
import polars as pl

from sportskills_lib import metrics
from sportskills_lib.config import EncoderConfig
from sportskills_lib.encoder.arms import OTHER_DATA
from sportskills_lib.encoder.stage import ArmResults
from sportskills_lib.encoder.texts import training_texts
from sportskills_lib.encoder.validation import ClipData


def text_examples(material: ClipData, config: EncoderConfig, *, count: int = 4) -> pl.DataFrame:
    """The texts that each arm reads with a few training clips, evenly spaced over the sports."""
    rows = material.rows("train")
    rows = (
        rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]
        if len(rows)
        else rows
    )
    texts: dict[str, list[str]] = {
        arm: training_texts(material.clips, material.clips["text"], arm, seed=config.seed)
        for arm in config.arms
        if arm != OTHER_DATA
    }
    examples: dict[str, pl.Series] = {
        arm: pl.Series([told[i] for i in rows]) for arm, told in texts.items()
    }
    return pl.DataFrame({"clip_id": material.clips["clip_id"][rows], **examples})


def chance(by_sport: pl.DataFrame) -> float | None:
    """What guessing reaches in validation, the mean over sports as the recalls are; None without a
    validation.
    """
    clips = by_sport.group_by("sport").agg(pl.col("clips").first())["clips"]
    return float(metrics.chance_recall(clips.to_numpy()).mean()) if len(clips) else None


def finding(trained: ArmResults) -> str:
    """The last validation recalls in words, with n and chance."""
    guess, last = chance(trained.by_sport), trained.headline()
    if guess is None:
        return "No arm was validated."
    clips = trained.by_sport.group_by("sport").agg(pl.col("clips").first())["clips"]
    arms = dict.fromkeys(trained.curves["arm"])
    told = "; ".join(
        f"{encoder} encoder: "
        + ", ".join(f"{arm} {last[f'val_recall_{encoder}_{arm}']:.2f}" for arm in arms)
        for encoder in dict.fromkeys(trained.curves["encoder"])
    )
    return (
        f"**Validation {metrics.at_k('recall')} within the sport, asked with narrations: {told}.** "
        f"Chance is {guess:.2f}, for the "
        f"galleries are small ({len(clips)} sports, {clips.sum():,} clips, mean over sports)."
    )


def recall_table(trained: ArmResults) -> pl.DataFrame:
    """The last validation recall@k of each arm, a row a sport and a column a system; chance beside
    the clips.
    """
    wide = (
        trained.by_sport.sort("step")
        .group_by("encoder", "arm", "sport", maintain_order=True)
        .last()
        .with_columns(system=pl.concat_str("encoder", "arm", separator=":"))
        .pivot(on="system", index=["sport", "clips"], values="val_recall")
        .sort("sport")
    )
    return wide.with_columns(
        chance=pl.Series(metrics.chance_recall(wide["clips"].to_numpy()), dtype=pl.Float64)
    ).select("sport", "clips", "chance", pl.exclude("sport", "clips", "chance").round(2))


def rates_at_the_edge(trials: pl.DataFrame) -> str:
    """Which arms chose the lowest or highest learning rate of their grid: their best may lie
    outside it.
    """
    chosen = trials.with_columns(
        low=pl.col("peak").min().over("encoder", "arm"),
        high=pl.col("peak").max().over("encoder", "arm"),
    ).filter("chosen")
    if chosen.is_empty():
        return "Every grid holds one learning rate: nothing was chosen."
    edge = chosen.filter((pl.col("peak") == pl.col("low")) | (pl.col("peak") == pl.col("high")))
    named = ", ".join(
        f"{row['encoder']}:{row['arm']} ({row['peak']:g})" for row in edge.iter_rows(named=True)
    )
    return f"**{edge.height} of {chosen.height} arms chose an edge of their grid**" + (
        f": {named}." if named else "."
    )
