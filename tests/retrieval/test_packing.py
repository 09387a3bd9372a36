"""Rows with a shared prefix: layout, mask and errors against hand-made examples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sportskills_lib.retrieval.relevance.prefix_sharing import (
    Segment,
    attention_mask,
    hidden_states,
    pack,
)


def segment(*ids, videos=(), answer=0):
    return Segment(np.array(ids), np.tile(np.arange(len(ids)), (3, 1)), videos, answer)


def test_rows_are_laid_out_and_padded():
    packed = pack(
        [
            (segment(1, 2, videos=(4,)), [segment(3, answer=1), segment(5, 6, videos=(7,))]),
            (segment(8), [segment(9)]),
        ],
        pad_id=0,
    )
    assert packed.ids_BL.tolist() == [[1, 2, 3, 5, 6], [8, 9, 0, 0, 0]]
    assert packed.segment_BL.tolist() == [[0, 0, 1, 2, 2], [0, 1, -1, -1, -1]]
    assert packed.answer_BL.tolist() == [[False, False, True, False, False], [False] * 5]
    assert packed.videos.tolist() == [4, 7]
    assert packed.ends.tolist() == [[0, 2], [0, 4], [1, 1]]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 4))
def test_a_token_sees_its_prefix_and_its_own_past_only(lengths, prefix):
    row = (segment(*range(prefix)), [segment(*range(length)) for length in lengths])
    packed = pack([row, (segment(1), [segment(2)])], pad_id=0)
    seen = attention_mask(torch.from_numpy(packed.segment_BL))[:, 0].numpy()
    for b, segments in enumerate(packed.segment_BL):
        for i, own in enumerate(segments):
            for j, other in enumerate(segments):
                expected = i == j or (j < i and own >= 0 and other >= 0 and other in (0, own))
                assert seen[b, i, j] == expected


def test_missing_tokens_are_errors(tiny_vlm):
    place = tiny_vlm.stock.config.video_token_id
    packed = pack([(segment(place, place, videos=(0,)), [segment(1)])], pad_id=0)
    with pytest.raises(ValueError, match="2 video placeholders, but 3 visual tokens"):
        hidden_states(
            tiny_vlm.stock, packed, torch.zeros(1, 3, tiny_vlm.stock.config.text_config.hidden_size)
        )
