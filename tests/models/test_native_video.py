"""X-CLIP behind the towers' interface, against transformers' own forward and its own processor."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sportskills_lib import models
from sportskills_lib.config import EncoderConfig
from sportskills_lib.demo.base_xclip import clip_tokenizer, make_base_xclip, new_xclip
from sportskills_lib.runs import demo_worlds
from sportskills_lib.stage_config import StageConfig

TEXTS = [
    "Bend your knees.",
    "Reach for the ball and turn slowly",
    "a " * 60,
    "Don't lock your elbow!",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("xclip")
    tower = new_xclip(seed=1)
    with (
        torch.no_grad()
    ):  # the position table of a fresh X-CLIP is all that tells frames apart: make it felt
        tower.model.mit.position_embedding.normal_(generator=torch.Generator().manual_seed(3))
    tower.save(path)
    return str(path)


@pytest.fixture()
def tower(folder: str) -> models.NativeVideoTower:
    loaded = models.load_tower(folder)
    assert isinstance(loaded, models.NativeVideoTower)
    return loaded


def _frames(clips: int, count: int, size_px: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(
        0, 255, (clips, count, size_px, size_px, 3), dtype=np.uint8
    )


def test_embeddings_are_those_of_transformers(folder: str, tower: models.NativeVideoTower) -> None:
    from transformers import AutoImageProcessor, AutoTokenizer, XCLIPModel

    theirs = XCLIPModel.from_pretrained(folder, use_safetensors=True).eval()
    processor, tokenizer = (
        AutoImageProcessor.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    frames = _frames(3, 4)
    with torch.inference_mode():
        seen = torch.stack(
            [processor(list(clip), return_tensors="pt")["pixel_values"] for clip in frames]
        )
        video = F.normalize(theirs.get_video_features(seen).pooler_output, dim=-1)
        tokens = tokenizer(TEXTS, return_tensors="pt", padding=True, truncation=True, max_length=32)
        text = F.normalize(theirs.get_text_features(**tokens).pooler_output, dim=-1)
        whole = theirs(pixel_values=seen, **tokens)
    assert np.allclose(tower.encode_frames(frames), video, atol=1e-5)
    assert np.allclose(tower.encode_texts(TEXTS), text, atol=1e-5)
    assert np.allclose(
        tower.encode_frames(frames), whole.video_embeds, atol=1e-5
    )  # videos know nothing of texts
    conditioned = whole.text_embeds[
        0
    ].numpy()  # … texts are changed by a prompt made from the video, left out here
    assert not np.allclose(tower.encode_texts(TEXTS), conditioned, atol=1e-3)


@pytest.mark.parametrize(
    "kind", ["CLIPImageProcessor", "VideoMAEImageProcessor"]
)  # public X-CLIPs name the second
@pytest.mark.parametrize("height", [96, 64])
def test_larger_frames_are_resized_as_the_processor_does(
    tower: models.NativeVideoTower, kind: str, height: int, tmp_path
) -> None:
    import transformers

    sizes = {
        "size": {"shortest_edge": 32},
        "crop_size": {"height": 32, "width": 32},
        "image_std": [0.2, 0.25, 0.3],
    }
    other = models.NativeVideoTower(
        tower.model, tower.tokenizer, getattr(transformers, kind)(**sizes)
    )
    other.save(tmp_path)
    other = models.load_tower(tmp_path)
    smooth = np.stack(
        [np.outer(np.linspace(0, 250, height), np.linspace(0.2, 1, 96))] * 3, -1
    ).astype(np.uint8)
    wanted = other.image_processor([smooth], return_tensors="pt")["pixel_values"].view(1, 3, 32, 32)
    got = other.pixels(torch.from_numpy(smooth)[None, None])
    assert (
        got.shape == wanted.shape and (got - wanted).abs().max() < 1.5 / 255 / 0.2
    )  # rounding of one grey level


def test_frames_are_chosen_by_their_time(tower: models.NativeVideoTower) -> None:
    eight = torch.zeros(1, 8, 2, 2, 3, dtype=torch.uint8)
    assert tower._frame_choice(eight[:, :4], None).tolist() == [[0, 1, 2, 3]]
    assert tower._frame_choice(eight[:, :2], None).tolist() == [[0, 0, 1, 1]]
    assert tower._frame_choice(eight[:, :1], None).tolist() == [[0, 0, 0, 0]]
    assert tower._frame_choice(eight, None).tolist() in ([[0, 2, 4, 6]], [[1, 3, 5, 7]])
    late = torch.tensor([[0.0, 0.9, 0.95, 1.0]])
    assert tower._frame_choice(eight[:, :4], late).tolist() == [[0, 0, 1, 1]]
    frames = _frames(2, 8)
    picked = frames[:, tower._frame_choice(torch.from_numpy(frames), None)[0].numpy()]
    assert np.allclose(tower.encode_frames(frames), tower.encode_frames(picked), atol=1e-6)


def test_a_batch_of_one_is_a_batch_of_eight_and_order_matters(
    tower: models.NativeVideoTower,
) -> None:
    frames = _frames(8, 4)
    assert np.allclose(
        tower.encode_frames(frames, batch=1), tower.encode_frames(frames, batch=8), atol=1e-5
    )
    assert np.allclose(
        tower.encode_texts(TEXTS, batch=1), tower.encode_texts(TEXTS, batch=8), atol=1e-5
    )
    assert np.abs(tower.encode_frames(frames) - tower.encode_frames(frames[:, ::-1])).max() > 1e-4


def test_round_trip_with_a_bias_and_safetensors_only(
    tower: models.NativeVideoTower, tmp_path
) -> None:
    models.add_logit_bias(tower, value=-9.0)
    with torch.no_grad():
        tower.model.logit_bias += 1.5
    tower.save(tmp_path)
    again = models.load_tower(tmp_path)
    assert np.array_equal(tower.encode_frames(_frames(2, 4)), again.encode_frames(_frames(2, 4)))
    assert np.array_equal(tower.encode_texts(TEXTS), again.encode_texts(TEXTS))
    assert again.model.logit_bias.item() == -7.5 and again.width == 16
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".json"}
    assert (
        len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1
    )  # who may read one may read all


def test_training_moves_all_but_the_prompt_generator(tower: models.NativeVideoTower) -> None:
    frames = torch.from_numpy(_frames(2, 4))
    tower.model.train()
    (
        tower.clip_features(frames) @ tower.text_features(TEXTS[:2]).T * tower.model.logit_scale
    ).sum().backward()
    without = {name.split(".")[0] for name, p in tower.module.named_parameters() if p.grad is None}
    assert without == {
        n.split(".")[0] for n, _ in tower.module.named_parameters() if n.startswith("prompts_")
    }
    assert all(p.requires_grad == (p.grad is not None) for p in tower.module.parameters())


def test_there_are_no_features_of_single_frames(tower: models.NativeVideoTower) -> None:
    with pytest.raises(ValueError, match=r"no features of single frames: use clip_features"):
        tower.encode_frame_features(_frames(1, 4))
    with pytest.raises(ValueError, match="pools inside the network"):
        tower.pool(torch.zeros(1, 4, 16))
    with pytest.raises(ValueError, match="already has its own way to join frames"):
        models.add_pooling(tower, "temporal")


def test_the_tokenizer_is_clips_own() -> None:
    import open_clip

    theirs = open_clip.tokenizer.SimpleTokenizer(context_length=24)
    tokens = clip_tokenizer()(TEXTS[:2] + TEXTS[3:], padding=False)["input_ids"]
    for ids, row in zip(tokens, theirs(TEXTS[:2] + TEXTS[3:]).tolist(), strict=True):
        assert ids == [number for number in row if number]


def test_what_is_no_x_clip_is_an_error_with_a_remedy(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(
        ValueError, match=r"is a clip model; towers are X-CLIP \(xclip\) or any of open_clip"
    ):
        models.load_tower(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "xclip"}))
    with pytest.raises(ValueError, match="could be fetched as safetensors"):
        models.load_tower(tmp_path)


def test_the_stand_in_is_a_part_of_the_demo_only_where_a_config_names_it() -> None:
    configs: dict[str, StageConfig] = {"03_encoder": EncoderConfig()}
    assert "base_xclip" not in [part.name for part in demo_worlds.demo_parts(configs)]
    configs["03_encoder"] = EncoderConfig(model="data/raw/demo/models/base_xclip")
    assert [part.name for part in demo_worlds.demo_parts(configs)] == ["base_xclip"]


def test_the_stand_in_loads(tmp_path) -> None:
    made = make_base_xclip(tmp_path / "base_xclip", steps=1, corpus=8, batch=4)
    tower = models.load_tower(made)
    assert tower.encode_frames(_frames(2, 8, size_px=64)).shape == (2, 128)
