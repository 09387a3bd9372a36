"""One shared prefix, many suffixes: a learner's part of the prompt is computed once for all its candidates.

A row is ``prefix, suffix 1, suffix 2, …`` in one sequence. A token sees its own segment up to itself and the whole
prefix, never another suffix, and keeps the position that it would have in ``prefix + suffix`` alone. The hidden states
are therefore those of the plain, one-pair-at-a-time prompt (tested), at about half the tokens. Only the attention
mask and the positions are ours: the language model is the stock one.

Legend: B rows, L tokens of the longest row, D width, S suffixes over all rows, K visual tokens of one video.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Segment:
    """A stretch of the prompt: token ids, their three rotary positions, and which videos fill its placeholders."""

    ids: np.ndarray  # int64 [n]
    positions: np.ndarray  # int64 [3, n]: time, height, width
    videos: tuple[int, ...] = ()  # rows of the visual tokens, in the order of the placeholders
    answer: int = 0  # how many last tokens are an answer to be learnt (language-model loss)


@dataclass(frozen=True)
class Packed:
    """Arrays of a batch of rows, ready for the language model."""

    ids_BL: np.ndarray
    positions_3BL: np.ndarray
    segment_BL: np.ndarray  # 0: prefix, 1…: suffixes, -1: padding
    answer_BL: np.ndarray  # bool: token is part of an answer
    videos: np.ndarray  # int64: rows of the visual tokens in the order in which they fill placeholders
    ends: np.ndarray  # int64 [S, 2]: row and column of each suffix's last token


def pack(rows: Sequence[tuple[Segment, Sequence[Segment]]], *, pad_id: int) -> Packed:
    """Lay the rows out side by side, padded on the right."""
    if not rows:
        raise ValueError("nothing to pack: the batch holds no rows")
    lengths = [len(prefix.ids) + sum(len(suffix.ids) for suffix in suffixes) for prefix, suffixes in rows]
    shape = (len(rows), max(lengths))
    ids, segment = np.full(shape, pad_id, np.int64), np.full(shape, -1, np.int64)
    positions, answer = np.zeros((3, *shape), np.int64), np.zeros(shape, bool)
    videos: list[int] = []
    ends: list[tuple[int, int]] = []
    for row, (prefix, suffixes) in enumerate(rows):
        start = 0
        for number, part in enumerate((prefix, *suffixes)):
            stop = start + len(part.ids)
            ids[row, start:stop], positions[:, row, start:stop] = part.ids, part.positions
            segment[row, start:stop], answer[row, stop - part.answer : stop] = number, part.answer > 0
            videos.extend(part.videos)
            if number:
                ends.append((row, stop - 1))
            start = stop
    return Packed(ids, positions, segment, answer, np.asarray(videos, np.int64), np.asarray(ends, np.int64))


def attention_mask(segment_BL: torch.Tensor) -> torch.Tensor:
    """bool [B, 1, L, L]: what each token may see. Padding sees itself only, so that no row of the softmax is empty."""
    import torch

    length = segment_BL.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segment_BL.device).tril()
    keys, queries = segment_BL[:, None, :], segment_BL[:, :, None]
    seen = causal & ((keys == queries) | (keys == 0)) & (keys >= 0) & (queries >= 0)
    seen = seen | torch.eye(length, dtype=torch.bool, device=segment_BL.device)
    return seen[:, None]


def hidden_states(model: Any, packed: Packed, visual_NKD: torch.Tensor) -> torch.Tensor:
    """float [B, L, D]: last hidden states of a Qwen2.5-VL (or its peft wrapper's base) over packed rows.

    ``visual_NKD`` holds the merged visual tokens of N videos, as the model's own vision tower gives them.
    """
    import torch

    inner = model.model  # Qwen2_5_VLModel
    device = inner.get_input_embeddings().weight.device
    ids = torch.from_numpy(packed.ids_BL).to(device)
    embeds = inner.get_input_embeddings()(ids)
    if len(packed.videos):
        visual = visual_NKD[torch.from_numpy(packed.videos).to(visual_NKD.device)].flatten(0, 1)
        places = ids == inner.config.video_token_id
        if int(places.sum()) != len(visual):
            raise ValueError(f"{int(places.sum())} video placeholders, but {len(visual)} visual tokens to fill them")
        embeds = embeds.masked_scatter(places[..., None], visual.to(device, embeds.dtype))
    mask = attention_mask(torch.from_numpy(packed.segment_BL).to(device))
    positions = torch.from_numpy(packed.positions_3BL).to(device)
    return inner.language_model(
        inputs_embeds=embeds, attention_mask=mask, position_ids=positions, use_cache=False
    ).last_hidden_state
