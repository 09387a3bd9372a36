"""Does a sentence tell how to do something with one's body? A chat model as judge, beside the
rules.

Sentences are asked about in batches of one video, each with the sentences around it. Verdicts are
kept for each sentence, under the model, the prompt and what stood around it, so that a rerun asks
only for those that are missing, however they are batched then. A batch that brings nothing usable
is taken apart once, so that one sentence that is refused, or that breaks the answer, costs no
other. What stays open is undecided (None), with a reason.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from sportskills_lib.config import CurationConfig
from sportskills_lib.curation.rules_judge import Verdict
from sportskills_lib.language import prompts
from sportskills_lib.language.client import Answer, ChatClient, open_client

log = logging.getLogger("sportskills")

BATCH = 16  # sentences in a question
AROUND = 2  # sentences of context before and after
UNSURE = (0.4, 0.6)  # a probability between these decides nothing
AT_ONCE = 500  # videos whose questions are held in memory
WITHHELD = "[…]"  # stands for a neighbour that speaks to a model
SMALLER_MAY_HELP = (
    "refused",
    "malformed",
    "rejected",
    "missing",
)  # a smaller question may bring these an answer


class LineVerdict(BaseModel):
    """A model's verdict on one line."""

    model_config = ConfigDict(extra="forbid")

    line: int
    actionable: bool
    probability: float = Field(ge=0, le=1)
    why: str


class Verdicts(BaseModel):
    """A model's answer to one question."""

    model_config = ConfigDict(extra="forbid")

    verdicts: list[LineVerdict]


@dataclass(frozen=True)
class _Sentence:
    """One sentence to be judged: its place among its video's sentences, and the key of its
    verdict.
    """

    video: int
    place: int
    key: str
    alone: bool


def judge_videos(
    client: ChatClient, videos: Iterable[tuple[str, list[str]]]
) -> list[list[Verdict]]:
    """Verdicts on the sentences (in order) of each video (topic, sentences).

    A verdict's ``points`` are the model's probability. The ``reason`` of an open one is ``undecided
    <why>: …``: why is unsure, missing, or one of :class:`~sportskills_lib.language.client.Answer`'s
    reasons.
    """
    said = [(topic, list(texts)) for topic, texts in videos]
    asked = [
        each
        for video, (topic, texts) in enumerate(said)
        for each in _sentences(client, video, topic, texts)
    ]
    known = client.answers.load({each.key for each in asked})
    open_ = list(
        {each.key: each for each in asked if each.key not in known}.values()
    )  # what is said twice, once
    lost: dict[str, Answer] = {}
    for size in (BATCH, 1):
        batches = list(_batches(open_, size))
        found, without = _ask(client, said, batches)
        known, lost = known | found, lost | without
        open_ = [
            one
            for batch in batches
            if len(batch) > 1
            for one in batch
            if one.key in lost and lost[one.key].reason in SMALLER_MAY_HELP
        ]
    verdicts: list[list[Verdict]] = [[] for _ in said]
    for each in asked:
        verdicts[each.video].append(_verdict(known.get(each.key), lost.get(each.key, _MISSING)))
    return verdicts


def judge_table(
    narrations: pl.DataFrame, videos: pl.DataFrame, config: CurationConfig, *, account: str
) -> tuple[pl.DataFrame, list[tuple[str, str, str, str]]]:
    """The narrations (Narrations) with this judge's verdicts, and rows of Dropped for the verdicts
    that are missing.

    A verdict that is missing is no missing sentence: the narration stays, with ``actionable`` null.
    """
    about = {
        name: f"{sport or ''} {skill or ''}".strip()
        for name, sport, skill in videos.select("video_id", "sport", "skill").iter_rows()
    }
    ordered = narrations.sort("video_id", "start_s", "end_s")
    groups = ordered.group_by("video_id", maintain_order=True).agg("text")
    asked = [
        (about.get(video_id, ""), texts)
        for video_id, texts in groups.select("video_id", "text").iter_rows()
    ]
    with open_client(config, account=f"{account}/01_curation") as client:
        verdicts = [
            verdict
            for first in range(0, len(asked), AT_ONCE)
            for each in judge_videos(client, asked[first : first + AT_ONCE])
            for verdict in each
        ]
        log.info(
            "{} cost {} calls, {} + {} tokens, {:.4f} dollars so far".format(
                client.model, *client.spent()
            )
        )
    judged = ordered.with_columns(
        actionable=pl.Series([verdict.actionable for verdict in verdicts], dtype=pl.Boolean),
        judge=pl.lit(f"chat:{client.model}:{prompts.ACTIONABILITY}"),
        reason=pl.Series([verdict.reason for verdict in verdicts], dtype=pl.String),
    )
    open_ = judged.filter(pl.col("actionable").is_null()).select("narration_id", "reason")
    rows = [
        ("verdict", narration_id, reason.partition(":")[0].replace(" ", "_"), reason)
        for narration_id, reason in open_.iter_rows()
    ]
    return judged.select(narrations.columns), rows


_MISSING: Answer = Answer(None, "missing", "the answer leaves this line out")


def _sentences(client: ChatClient, video: int, topic: str, texts: list[str]) -> Iterator[_Sentence]:
    for place, text in enumerate(texts):
        alone = prompts.addresses_a_model(text)
        lines, judged = _with_context(texts, [place], alone)
        prompt = prompts.actionability(topic, lines, judged)
        key = client.key(prompt.version, LineVerdict, prompt.system, prompt.user)
        yield _Sentence(video, place, key, alone)


def _batches(asked: list[_Sentence], size: int) -> Iterator[list[_Sentence]]:
    """Runs of at most ``size`` sentences of one video; one that speaks to a model is a batch of its
    own.
    """
    for _, each in groupby(asked, key=lambda one: one.video):
        video = list(each)
        together = [one for one in video if not one.alone]
        yield from (together[first : first + size] for first in range(0, len(together), size))
        yield from ([one] for one in video if one.alone)


def _with_context(texts: list[str], places: list[int], alone: bool) -> tuple[list[str], list[int]]:
    """The lines of a question, and which of them (from 1) are to be judged."""
    around = 0 if alone else AROUND
    wanted = sorted(
        {
            i
            for place in places
            for i in range(place - around, place + around + 1)
            if 0 <= i < len(texts)
        }
    )
    own = set(places)
    lines = [
        texts[i] if i in own or not prompts.addresses_a_model(texts[i]) else WITHHELD
        for i in wanted
    ]
    return lines, [wanted.index(place) + 1 for place in places]


def _ask(
    client: ChatClient, said: list[tuple[str, list[str]]], batches: list[list[_Sentence]]
) -> tuple[dict[str, str], dict[str, Answer]]:
    """Verdicts as JSON by key, and the answers that brought none."""
    questions, line_keys = [], []
    for batch in batches:
        topic, texts = said[batch[0].video]
        lines, judged = _with_context(texts, [one.place for one in batch], batch[0].alone)
        questions.append(prompts.actionability(topic, lines, judged))
        line_keys.append({line: one.key for line, one in zip(judged, batch, strict=True)})
    found: dict[str, str] = {}

    def keep(number: int, answer: Verdicts) -> Mapping[str, str]:
        """Verdicts on lines that were asked about, once each and not at odds with themselves."""
        times = [each.line for each in answer.verdicts]
        kept = {
            line_keys[number][each.line]: each.model_dump_json()
            for each in answer.verdicts
            if each.line in line_keys[number] and times.count(each.line) == 1
        }
        found.update(kept)
        return kept

    answers = client.ask_many(questions, Verdicts, keep=keep)
    lost = {
        key: answer if answer.value is None else _MISSING
        for answer, keys in zip(answers, line_keys, strict=True)
        for key in keys.values()
        if key not in found
    }
    return found, lost


def _verdict(kept: str | None, answer: Answer) -> Verdict:
    if kept is None:
        return Verdict(
            None, f"undecided {answer.reason.replace('_', ' ')}: {answer.detail}"[:300], 0.0
        )
    said = LineVerdict.model_validate_json(kept)
    why = " ".join(said.why.split())[:120] or "no reason given"
    unsure = UNSURE[0] < said.probability < UNSURE[1] or said.actionable != (
        said.probability >= 0.5
    )
    if unsure:
        return Verdict(None, f"undecided unsure: {said.probability:.2f}, {why}", said.probability)
    label = "instruction" if said.actionable else "no instruction"
    return Verdict(said.actionable, f"{label}: {why} ({said.probability:.2f})", said.probability)
