"""The chosen judge, asked about every window; what a model answered is kept in shards, so that a
killed run goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from sportskills_lib.config import PairingConfig
from sportskills_lib.language.client import ChatClient, open_client
from sportskills_lib.pairing.judge_protocol import Evidence, Judge, decide
from sportskills_lib.pairing.model_judges import ChatJudge
from sportskills_lib.pairing.rules_judge import RulesJudge
from sportskills_lib.runs.worker_pool import Result, Value, map_shards

VIDEOS_A_ROUND = 16  # a model is asked about so many videos' windows at once


def load_judge(
    config: PairingConfig, *, account: str = "", chat: ChatClient | None = None
) -> Judge:
    """The judge that the config names; ``account`` is whose budget a chat model spends. ValueError
    without a model.
    """
    if config.judge == "rules":
        return RulesJudge()
    if config.judge == "vlm":
        from sportskills_lib.pairing.model_judges import VlmJudge

        if not config.judge_model:
            raise ValueError(
                "judge 'vlm' needs judge_model: a Qwen2.5-VL or Qwen3-VL, by hub id or folder"
            )
        return VlmJudge(config.judge_model, device=config.device)
    return ChatJudge(chat or open_client(config, account=f"{account}/02_pairing"))


def evidence(windows: pl.DataFrame, frames: np.ndarray | None = None) -> list[Evidence]:
    """Rows of the table of windows (clip_id, text, said, moved, topic) as a judge sees them;
    ``frames`` row by row.
    """
    rows = windows.select(
        "clip_id", "text", pl.col("said") != "none", "moved", pl.col("topic").fill_null("")
    ).rows()
    shown = [None] * len(rows) if frames is None else frames
    return [
        Evidence(name, text, teaches, moved, topic, clip)
        for (name, text, teaches, moved, topic), clip in zip(rows, shown, strict=True)
    ]


def judge_windows(
    windows: pl.DataFrame,
    judge: Judge,
    *,
    min_confidence: float,
    read: Sequence[Result] = (),
    shards: Path,
) -> pl.DataFrame:
    """``windows`` with the judge's columns (see :func:`evidence.decide`) and its name as
    ``verifier``.

    A model sees only windows under words that teach, which are those whose frames ``read`` holds;
    the others keep the answer of the rules. ``read`` is not needed for the rules.
    """
    rules = RulesJudge()
    answers = rules.probabilities(evidence(windows))
    names = np.full(windows.height, rules.name, object)
    if not isinstance(judge, RulesJudge):
        place = {name: row for row, name in enumerate(windows["clip_id"])}
        for name, row in _ask_about_windows(windows, judge, read, shards):
            answers[place[name]], names[place[name]] = row, judge.name
    verdicts = decide(answers, min_confidence=min_confidence)
    return windows.hstack(verdicts).with_columns(
        verifier=pl.Series(names.tolist(), dtype=pl.String)
    )


def _ask_about_windows(
    windows: pl.DataFrame, judge: Judge, read: Sequence[Result], shards: Path
) -> list[tuple[str, np.ndarray]]:
    """clip_id and probabilities [3] of every window whose frames are there."""
    topics = dict(windows.select("clip_id", "topic").iter_rows())

    def ask(round_: Sequence[Result]) -> Value:
        items = []
        for result in round_:
            shown = framed(result.table("windows"))
            shown = shown.with_columns(topic=pl.col("clip_id").replace_strict(topics, default=None))
            items += evidence(shown, np.asarray(result.array("frames")))
        return {"answers": judge.probabilities(items)}

    done = [
        result
        for result in read
        if result.value is not None and framed(result.table("windows")).height
    ]
    rounds = [done[first : first + VIDEOS_A_ROUND] for first in range(0, len(done), VIDEOS_A_ROUND)]
    answered = map_shards(
        ask,
        rounds,
        workers=0,
        describe=lambda part: part[0].name,
        shards=shards,
        chunk=1,
        label="judged",
    )
    names = [name for result in done for name in framed(result.table("windows"))["clip_id"]]
    rows = [row for answer in answered for row in answer.array("answers")]
    return list(zip(names, rows, strict=True))


def framed(windows: pl.DataFrame) -> pl.DataFrame:
    """The windows of a video whose frames are kept: those under words that teach, in order."""
    return windows.filter(pl.col("said") != "none")
