"""One shared prefix, many suffixes: a learner's part of the prompt is computed once for all its
candidates.

A row is ``prefix, suffix 1, suffix 2, …`` in one sequence. A token sees its own segment up to
itself and the whole prefix, never another suffix, and keeps the position that it would have in
``prefix + suffix`` alone. The hidden states are therefore those of the plain, one-pair-at-a-time
prompt (tested), at about half the tokens. Only the attention mask and the positions are ours: the
language model is the stock one.

Legend: B rows, L tokens of the longest row, D width, S suffixes over all rows, K visual tokens of
one video.
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
    """A stretch of the prompt: token ids, their three rotary positions, and which videos fill its
    placeholders.
    """

    ids: np.ndarray  # int64 [n]
    positions: np.ndarray  # int64 [3, n]: time, height, width
    videos: tuple[int, ...] = ()  # rows of the visual tokens, in the order of the placeholders
    answer: int = 0  # how many last tokens are an answer to be learnt (language-model loss)


Row = tuple[Segment, list[Segment]]  # a prefix, and suffixes that share it
SUFFIXES_A_ROW = 6  # more would share the prefix more, but attention grows with a row's square


def shared_rows(parts: Sequence[tuple[Segment, Segment]]) -> list[Row]:
    """Suffixes with one prefix, ``SUFFIXES_A_ROW`` to a row."""
    bounds = range(0, len(parts), SUFFIXES_A_ROW)
    return [(parts[0][0], [suffix for _, suffix in parts[i : i + SUFFIXES_A_ROW]]) for i in bounds]


@dataclass(frozen=True)
class Packed:
    """Arrays of a batch of rows, ready for the language model."""

    ids_BL: np.ndarray
    positions_3BL: np.ndarray
    segment_BL: np.ndarray  # 0: prefix, 1…: suffixes, -1: padding
    answer_BL: np.ndarray  # bool: token is part of an answer
    videos: np.ndarray  # int64: rows of the visual tokens in the order of the placeholders
    ends: np.ndarray  # int64 [S, 2]: row and column of each suffix's last token


def pack(rows: Sequence[tuple[Segment, Sequence[Segment]]], *, pad_id: int) -> Packed:
    """Lay the rows out side by side, padded on the right."""
    whole = [(prefix, *suffixes) for prefix, suffixes in rows]
    shape = (len(rows), max(sum(len(part.ids) for part in parts) for parts in whole))
    ids, segment = np.full(shape, pad_id, np.int64), np.full(shape, -1, np.int64)
    positions, answer = np.zeros((3, *shape), np.int64), np.zeros(shape, bool)
    videos: list[int] = []
    ends: list[tuple[int, int]] = []
    for row, parts in enumerate(whole):
        stops = np.cumsum([len(part.ids) for part in parts]).tolist()
        for number, (part, stop) in enumerate(zip(parts, stops, strict=True)):
            place = slice(stop - len(part.ids), stop)
            ids[row, place], positions[:, row, place] = part.ids, part.positions
            segment[row, place], answer[row, stop - part.answer : stop] = number, True
            videos.extend(part.videos)
        ends += [(row, stop - 1) for stop in stops[1:]]
    return Packed(
        ids, positions, segment, answer, np.asarray(videos, np.int64), np.asarray(ends, np.int64)
    )


def attention_mask(segment_BL: torch.Tensor) -> torch.Tensor:
    """bool [B, 1, L, L]: what each token may see. Padding sees itself only, so that no row of the
    softmax is empty.
    """
    import torch

    length = segment_BL.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segment_BL.device).tril()
    keys, queries = segment_BL[:, None, :], segment_BL[:, :, None]
    seen = causal & ((keys == queries) | (keys == 0)) & (keys >= 0) & (queries >= 0)
    seen = seen | torch.eye(length, dtype=torch.bool, device=segment_BL.device)
    return seen[:, None]


def hidden_states(model: Any, packed: Packed, visual_NKD: torch.Tensor) -> torch.Tensor:
    """float [B, L, D]: last hidden states of a Qwen-VL (or its peft wrapper's base) over packed
    rows.

    ``visual_NKD`` holds the merged visual tokens of N videos, as the model's own vision tower gives
    them.
    """
    import torch

    inputs = language_inputs(model, packed.ids_BL, packed.videos, visual_NKD)
    device = inputs["inputs_embeds"].device
    mask = attention_mask(torch.from_numpy(packed.segment_BL).to(device))
    positions = torch.from_numpy(packed.positions_3BL).to(device)
    return model.model.language_model(
        attention_mask=mask, position_ids=positions, use_cache=False, **inputs
    ).last_hidden_state


def language_inputs(
    model: Any, ids_BL: np.ndarray, videos: np.ndarray, visual_NKD: torch.Tensor
) -> dict[str, Any]:
    """Embeddings with the placeholders filled. ``videos``: rows of the visual tokens in the order
    of the placeholders.

    Visual tokens wider than the model hold, side by side, what a Qwen3-VL adds after each of its
    first layers.
    """
    import torch

    inner = model.model
    table = inner.get_input_embeddings()
    ids = torch.from_numpy(ids_BL).to(table.weight.device)
    embeds = table(ids)
    if not len(videos):
        return {"inputs_embeds": embeds}
    visual = (
        visual_NKD[torch.from_numpy(videos).to(visual_NKD.device)]
        .flatten(0, 1)
        .to(ids.device, embeds.dtype)
    )
    places = ids == inner.config.video_token_id
    if int(places.sum()) != len(visual):
        raise ValueError(
            f"{int(places.sum())} video placeholders, but {len(visual)} visual tokens to fill them"
        )
    first, *deeper = visual.split(embeds.shape[-1], -1)
    inputs: dict[str, Any] = {"inputs_embeds": embeds.masked_scatter(places[..., None], first)}
    if deeper:
        inputs |= {"visual_pos_masks": places, "deepstack_visual_embeds": deeper}
    return inputs


# ------------------------------------------------------------------------------------ a kept prefix


def run_prefixes(model: Any, prefixes: Sequence[Segment], visual_NKD: torch.Tensor) -> Any:
    """transformers' cache of the keys and values of each learner's part of the prompt, run once;
    all must be equally long (one prompt, one grid).
    """
    import torch
    from transformers import DynamicCache

    videos = np.array([row for prefix in prefixes for row in prefix.videos], np.int64)
    inputs = language_inputs(
        model, np.stack([prefix.ids for prefix in prefixes]), videos, visual_NKD
    )
    positions = torch.from_numpy(np.stack([prefix.positions for prefix in prefixes], 1))
    cache: Any = DynamicCache()
    model.model.language_model(
        position_ids=positions.to(inputs["inputs_embeds"].device),
        past_key_values=cache,
        use_cache=True,
        **inputs,
    )
    return cache


def suffix_ends(
    model: Any,
    prefixes: Any,
    owners: Sequence[int],
    suffixes: Sequence[Segment],
    visual_NKD: torch.Tensor,
    *,
    pad_id: int,
) -> torch.Tensor:
    """float [S, D]: last hidden state of each suffix after the prefix of its owner (a place among
    ``prefixes``, of :func:`run_prefixes`).

    Suffixes are padded on the right, behind the token that is read, so that one causal mask serves
    them all.
    """
    import torch

    lengths = np.array([len(suffix.ids) for suffix in suffixes])
    ids = np.full((len(suffixes), lengths.max()), pad_id, np.int64)
    positions = np.zeros((3, *ids.shape), np.int64)
    for row, suffix in enumerate(suffixes):
        ids[row, : lengths[row]], positions[:, row, : lengths[row]] = suffix.ids, suffix.positions
    videos = np.array([row for suffix in suffixes for row in suffix.videos], np.int64)
    inputs = language_inputs(model, ids, videos, visual_NKD)
    device = inputs["inputs_embeds"].device
    before = prefixes.get_seq_length()
    whole = torch.ones(ids.shape[1], before + ids.shape[1], dtype=torch.bool, device=device)
    hidden = model.model.language_model(
        attention_mask=whole.tril(before)[None, None],
        position_ids=torch.from_numpy(positions).to(device),
        past_key_values=_shared_cache(prefixes, torch.as_tensor(owners, device=device)),
        use_cache=True,
        **inputs,
    ).last_hidden_state
    return hidden[
        torch.arange(len(suffixes), device=device), torch.from_numpy(lengths - 1).to(device)
    ]


def _shared_cache(prefixes: Any, owners: torch.Tensor) -> Any:
    """A cache that puts the owner's prefix before what a layer computes, and keeps nothing."""
    import torch
    from transformers import DynamicCache

    same = bool((owners == owners[0]).all())  # a view then, in place of a copy for each

    class Shared(DynamicCache):
        def update(
            self, key_states: Any, value_states: Any, layer_idx: int, *_: Any, **__: Any
        ) -> Any:
            kept = prefixes.layers[layer_idx]
            before = [
                part[owners[0]].expand(len(owners), -1, -1, -1) if same else part[owners]
                for part in (kept.keys, kept.values)
            ]
            keys = torch.cat([before[0], key_states], -2)
            return keys, torch.cat([before[1], value_states], -2)

    return Shared()
