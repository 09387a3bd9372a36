"""The fast path of the vision tower equals the stock one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sportskills_lib.demo import base_vlm
from sportskills_lib.retrieval.relevance import visual_tokens


def test_patches_equal_the_stock_processor(tiny_vlm, videos):
    grid = tiny_vlm.grid(videos.shape[1:])
    expected = visual_tokens.stock_pixels(tiny_vlm.processor, videos)["pixel_values_videos"]
    torch.testing.assert_close(
        visual_tokens.patches(tiny_vlm.processor, videos, grid), expected, atol=1e-5, rtol=1e-5
    )


def test_tokens_equal_the_stock_tower(tiny_vlm, videos):
    inputs = visual_tokens.stock_pixels(tiny_vlm.processor, videos)
    with torch.no_grad():
        stock = tiny_vlm.stock.model.get_video_features(
            inputs["pixel_values_videos"], inputs["video_grid_thw"]
        )
        fast = tiny_vlm.visual_tokens(videos, tiny_vlm.grid(videos.shape[1:]))
    torch.testing.assert_close(fast, torch.stack(list(stock.pooler_output)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [(40, 56), (31, 33)])
def test_videos_that_must_be_resized_take_the_stock_path(tiny_vlm, size):
    frames = np.random.default_rng(1).integers(0, 255, (2, 4, *size, 3), dtype=np.uint8)
    grid = tiny_vlm.grid(frames.shape[1:])
    with torch.no_grad():
        tokens = tiny_vlm.visual_tokens(frames, grid)
    assert tokens.shape[:2] == (2, grid[0] * grid[1] * grid[2] // 4)


def test_windows_smaller_than_a_frame_take_the_stock_path():
    recipe = base_vlm.Recipe(
        size_px=32, width=32, layers=1, vision_width=32, vision_layers=2, patch_px=8, merge=2
    )
    vlm = base_vlm.build_model(base_vlm.build_tokenizer(["a text"], vocabulary=300), recipe)
    vlm.stock.model.visual.window_size = 16
    vlm.stock.model.visual.fullatt_block_indexes = [1]
    assert not visual_tokens.sees_whole_frames(vlm.stock.model.visual, (4, 4, 4))
    frames = np.random.default_rng(1).integers(0, 255, (1, 8, 32, 32, 3), dtype=np.uint8)
    with torch.no_grad():
        assert vlm.visual_tokens(frames, (4, 4, 4)).shape == (1, 16, 32)
