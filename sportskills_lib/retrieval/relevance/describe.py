"""What would a coach say to this learner? The model as a speaker: how likely it finds each
candidate's sentence.

"Describe, then retrieve", without drawing a description first: a candidate scores the
log-likelihood of its coach's sentence given the learner's video, minus that given other learners of
the sport, so that sentences that are likely for everybody gain nothing. Learning to say what helps
is also a dense teacher for the adapters: every word of a helpful sentence is a target, where a yes
or no is one bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sportskills_lib.models import quoted
from sportskills_lib.retrieval.relevance.model import CANDIDATES_A_ROW, VisionLanguageModel
from sportskills_lib.retrieval.relevance.prefix_sharing import Segment, hidden_states, pack
from sportskills_lib.retrieval.relevance.visual_tokens import Grid

if TYPE_CHECKING:
    import torch

LEARNER = "A learner tries a skill:"
SAY = "What should a coach say?"
Row = tuple[Segment, list[Segment]]


def speaking_messages() -> list[dict[str, Any]]:
    """The chat: the learner's video and the question; the answer is a coach's sentence."""
    content = [{"type": "text", "text": LEARNER}, {"type": "video"}, {"type": "text", "text": SAY}]
    return [{"role": "user", "content": content}]


def speaking_rows(
    vlm: VisionLanguageModel, grid: Grid, learner: int, texts: Sequence[str]
) -> list[Row]:
    """A learner's prefix with the sentences as answers, a few to a row."""
    parts = [
        vlm.cached_prompt(("say", grid, text), speaking_messages(), grid, answer=quoted(text))
        for text in texts
    ]
    prefix = Segment(parts[0][0].ids, parts[0][0].positions, (learner,))
    bounds = range(0, len(parts), CANDIDATES_A_ROW)
    return [(prefix, [suffix for _, suffix in parts[i : i + CANDIDATES_A_ROW]]) for i in bounds]


def word_logprobs(
    vlm: VisionLanguageModel, rows: Sequence[Row], visual_NKD: torch.Tensor
) -> tuple[torch.Tensor, np.ndarray]:
    """Log-probability of every answer token in the order of the rows, and the number of its
    sentence.
    """
    import torch

    packed = pack(rows, pad_id=vlm.processor.tokenizer.pad_token_id)
    hidden = hidden_states(vlm.stock, packed, visual_NKD)
    row, column = np.nonzero(packed.answer_BL)
    at = torch.from_numpy(row).to(hidden.device), torch.from_numpy(column).to(hidden.device)
    logits = vlm.stock.lm_head(hidden[at[0], at[1] - 1]).float()
    wanted = torch.from_numpy(packed.ids_BL).to(hidden.device)[at]
    starts = np.concatenate([[0], np.cumsum([len(suffixes) for _, suffixes in rows])[:-1]])
    sentence = starts[row] + packed.segment_BL[row, column] - 1
    return logits.log_softmax(-1).gather(-1, wanted[:, None])[:, 0], sentence


def speaking_loss(
    vlm: VisionLanguageModel, rows: Sequence[Row], visual_NKD: torch.Tensor
) -> torch.Tensor:
    """Mean negative log-probability of the answers' tokens."""
    return -word_logprobs(vlm, rows, visual_NKD)[0].mean()


def sentence_logprobs(
    vlm: VisionLanguageModel,
    visual_NKD: torch.Tensor,
    grid: Grid,
    queries: Sequence[tuple[int, Sequence[str]]],
    *,
    queries_a_batch: int = 4,
) -> list[np.ndarray]:
    """For every (learner row, sentences): float64 log-likelihood of each sentence given the
    learner's video.
    """
    import torch

    found: list[np.ndarray] = []
    with torch.inference_mode():
        for start in range(0, len(queries), queries_a_batch):
            batch = queries[start : start + queries_a_batch]
            rows = [
                row for learner, texts in batch for row in speaking_rows(vlm, grid, learner, texts)
            ]
            words, sentence = word_logprobs(vlm, rows, visual_NKD)
            counts = [len(texts) for _, texts in batch]
            total = np.bincount(
                sentence, weights=words.double().cpu().numpy(), minlength=sum(counts)
            )
            found.extend(np.split(total, np.cumsum(counts)[:-1]))
    return found


def surprise(own: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """log p(sentence | learner) - log mean p(sentence | other learners); with no others, the
    likelihood itself.
    """
    if not len(others):
        return own
    return own - (np.logaddexp.reduce(np.stack(others), axis=0) - np.log(len(others)))
