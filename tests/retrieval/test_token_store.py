"""Visual tokens on disk: computed once, addressed by content, whole or absent, within a stated
tolerance.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sportskills_lib.retrieval.relevance import finetune, model, visual_tokens
from sportskills_lib.retrieval.relevance.visual_tokens import token_key
from sportskills_lib.runs.content_store import ContentStore


def counted(vlm, monkeypatch):
    """How many videos the tower has looked at."""
    seen = []
    original = visual_tokens.visual_tokens
    monkeypatch.setattr(
        visual_tokens,
        "visual_tokens",
        lambda *a: (seen.append(len(a[2])), original(*a))[1],
    )
    return seen


def kept(folder):
    return ContentStore(folder, limit_bytes=2**30)


def entries(folder):
    return sorted(folder.glob("??/*.npy"))


def test_tokens_are_computed_once_and_read_by_the_next(tiny_vlm, videos, tmp_path, monkeypatch):
    seen = counted(tiny_vlm, monkeypatch)
    fresh = model.encode_videos(tiny_vlm, videos, store=kept(tmp_path), batch=4)
    assert sum(seen) == 9 and len(entries(tmp_path)) == 9
    store = kept(tmp_path)
    again = model.encode_videos(tiny_vlm, videos[::-1], store=store)
    assert sum(seen) == 9
    assert torch.equal(again, fresh.flip(0)) and fresh.dtype == torch.float32
    model.encode_videos(tiny_vlm, np.concatenate([videos[:2], 255 - videos[:1]]), store=store)
    assert sum(seen) == 10  # the new one alone
    plain = model.encode_videos(tiny_vlm, videos)
    assert ((fresh - plain).abs() <= plain.abs() * 2**-8 + 1e-12).all() and not torch.equal(
        fresh, plain
    )


def test_scores_of_stored_tokens_are_within_the_stated_tolerance(
    tiny_vlm, videos, narrations, tmp_path
):
    grid, queries = tiny_vlm.grid(videos.shape[1:]), [(0, list(range(1, 9)))]
    plain = model.encode_videos(tiny_vlm, videos)
    stored = model.encode_videos(tiny_vlm, videos, store=kept(tmp_path))
    scores = [
        model.score_pairs(tiny_vlm, tokens, grid, queries, narrations)[0]
        for tokens in (plain, stored)
    ]
    np.testing.assert_allclose(*scores, atol=visual_tokens.SCORE_TOLERANCE)


def test_adapters_share_entries_and_another_tower_or_frame_does_not(tiny_folder, videos):
    vlm = model.load_vlm(str(tiny_folder))
    grid = vlm.grid(videos.shape[1:])
    key = token_key(vlm, videos[0], grid)
    changed = videos[0].copy()
    changed[0, 0, 0, 0] ^= 1
    assert token_key(vlm, changed, grid) != key
    assert token_key(vlm, videos[0].reshape(8, 16, 64, 3), grid) != key
    assert token_key(finetune.add_lora(vlm, rank=2, alpha=4), videos[0], grid) == key
    other = model.load_vlm(str(tiny_folder))
    with torch.no_grad():
        next(other.stock.model.visual.parameters()).view(-1)[0] += 1e-3
    assert token_key(other, videos[0], grid) != key
    sharper = model.load_vlm(str(tiny_folder))
    sharper.processor.video_processor.image_mean = [0.4, 0.4, 0.4]
    assert token_key(sharper, videos[0], grid) != key


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_a_damaged_entry_is_a_miss_and_is_mended(tiny_vlm, videos, tmp_path, monkeypatch, damage):
    whole = model.encode_videos(tiny_vlm, videos[:1], store=kept(tmp_path))
    (path,) = entries(tmp_path)
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-3] ^= 1
    path.write_bytes(
        {"cut": content[:-9], "flipped": content, "empty": b"", "foreign": b"x" * 99}[damage]
    )
    seen = counted(tiny_vlm, monkeypatch)
    for _ in range(2):  # computed once more, then read
        again = model.encode_videos(tiny_vlm, videos[:1], store=kept(tmp_path))
        assert torch.equal(again, whole) and seen == [1]


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(tiny_vlm, videos, tmp_path):
    (tmp_path / "file").write_text("")
    assert model.encode_videos(tiny_vlm, videos[:2], store=kept(tmp_path / "file")).shape[0] == 2
