"""A tiny, untrained Qwen2.5-VL and a few random videos, shared by the tests of this folder."""

from __future__ import annotations

import numpy as np
import pytest
from learner_files import write_video

from sportskills_lib.demo import base_vlm
from sportskills_lib.retrieval.relevance import model as relevance_model

TINY = dict(
    scenes=6,
    vision_steps=2,
    language_steps=2,
    batch=2,
    size_px=32,
    width=32,
    layers=2,
    vision_width=32,
    vision_layers=2,
    patch_px=8,
    merge=2,
    vocabulary=400,
)


@pytest.fixture(scope="session")
def tiny_recipe():
    return TINY


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A complete stand-in checkpoint, as small as the code allows."""
    return base_vlm.make_base_vlm(tmp_path_factory.mktemp("vlm") / "base_vlm", seed=3, **TINY)


@pytest.fixture
def tiny_vlm(tiny_folder):
    return relevance_model.load_vlm(str(tiny_folder))


@pytest.fixture(scope="session")
def videos():
    """uint8 [9, 8, 32, 32, 3]: one learner and eight candidates."""
    return np.random.default_rng(0).integers(0, 255, (9, 8, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def narrations():
    """What the coach says over candidates 1 … 8: sentences of different length."""
    words = ["keep", "the", "right", "arm", "straight", "and", "bend", "both", "knees"]
    return {row: " ".join(words[: 1 + row]) for row in range(1, 9)}


@pytest.fixture(scope="session")
def six_seconds(tmp_path_factory):
    """A video of six seconds in which each frame tells its number."""
    return write_video(tmp_path_factory.mktemp("video") / "six.mp4")


@pytest.fixture(scope="session")
def tiny_qwen3():
    """A Qwen3-VL with random weights, whose tower feeds two layers of the language model."""
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration, Qwen3VLProcessor
    from transformers.models.qwen2_vl import Qwen2VLImageProcessor
    from transformers.models.qwen3_vl import Qwen3VLVideoProcessor

    tokenizer = base_vlm.build_tokenizer(
        [relevance_model.INSTRUCTION, "<0.2 seconds> keep the arm straight"], vocabulary=400
    )
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in {
        "image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>",
    }.items()}  # fmt: skip
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "initializer_range": 0.2,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [4, 2, 2],
            },
        },
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 32,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 1],
            "initializer_range": 0.2,
        },
        tie_word_embeddings=True,
        **ids,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen3VLForConditionalGeneration._from_config(
            config, attn_implementation="sdpa"
        ).eval()
    patches = {"patch_size": 8, "temporal_patch_size": 2, "merge_size": 2}
    size = {"shortest_edge": 16**2, "longest_edge": 8 * 32 * 32}
    processor = Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**patches), tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(**patches, size=size, do_sample_frames=False),
        chat_template=base_vlm.CHAT_TEMPLATE,
    )  # fmt: skip
    return relevance_model.wrap(model, processor)
