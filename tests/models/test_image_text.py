"""Any architecture of open_clip behind the towers' interface, against open_clip's own encode path
and folder form.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch.nn import functional as F

from sportskills_lib import models
from sportskills_lib.demo.base_xclip import clip_tokenizer

TEXTS = ["Bend your knees.", "Reach for the ball", "a " * 90]
VIT = {"layers": 1, "width": 16, "head_width": 8, "patch_size": 16, "image_size": 32}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
SIGLIP_TEXT = TEXT | {
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "context_length": 24,
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "vit": {"embed_dim": 16, "vision_cfg": VIT, "text_cfg": TEXT},
    "quickgelu": {"embed_dim": 16, "vision_cfg": VIT, "text_cfg": TEXT, "quick_gelu": True},
    "resnet": {
        "embed_dim": 16,
        "vision_cfg": {"layers": [1, 1, 1, 1], "width": 4, "image_size": 32, "head_width": 16},
        "text_cfg": TEXT,
    },
    "convnext": {  # LAION's
        "embed_dim": 16,
        "vision_cfg": {
            "timm_model_name": "convnext_atto",
            "timm_pool": "",
            "timm_proj": "linear",
            "image_size": 32,
        },
        "text_cfg": TEXT,
    },
    "custom_text": {"embed_dim": 16, "custom_text": True, "vision_cfg": VIT, "text_cfg": TEXT},
    "pe_core": {  # Perception Encoder's smallest image network
        "embed_dim": 512,
        "custom_text": True,
        "vision_cfg": {
            "timm_model_name": "vit_pe_core_tiny_patch16_384",
            "timm_pool": "map",
            "timm_proj": None,
            "image_size": 384,
        },
        "text_cfg": TEXT | {"context_length": 32},
    },
    "siglip": {
        "embed_dim": 192,
        "custom_text": True,
        "init_logit_bias": -10,
        "vision_cfg": {
            "timm_model_name": "vit_tiny_patch16_224",
            "timm_pool": "map",
            "timm_proj": "none",
            "image_size": 224,
        },
        "text_cfg": SIGLIP_TEXT | {"tokenizer_kwargs": {"clean": "canonicalize"}},
    },
    "tokens": {  # encode_image and encode_text give pooled features and tokens
        "embed_dim": 16,
        "custom_text": True,
        "vision_cfg": VIT | {"output_tokens": True},
        "text_cfg": TEXT | {"output_tokens": True},
    },
    "coca": {
        "embed_dim": 16,
        "custom_text": True,
        "vision_cfg": VIT
        | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": TEXT | {"embed_cls": True, "output_tokens": True},
        "multimodal_cfg": TEXT | {"attn_pooler_heads": 2},
    },
    "wide": {"embed_dim": 16, "vision_cfg": VIT | {"image_size": [32, 48]}, "text_cfg": TEXT},
}
PIXELS = {
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.25, 0.3],
    "interpolation": "bicubic",
    "resize_mode": "squash",
}


def _config(name: str, **preprocess: Any) -> dict[str, Any]:
    return {"model_cfg": ARCHITECTURES[name], "preprocess_cfg": PIXELS | preprocess}


def _pictures(clips: int = 2, count: int = 1, height: int = 40, width: int = 40) -> np.ndarray:
    """Smooth pictures, so that resizing in floats and in PIL agree to a grey level."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (clips * count, 3, 5, 5)))
    smooth = F.interpolate(coarse, (height, width), mode="bilinear").clamp(0, 255).byte()
    return smooth.permute(0, 2, 3, 1).reshape(clips, count, height, width, 3).numpy()


@pytest.mark.parametrize("custom_text", [False, True])
def test_texts_cut_to_the_longest_of_a_batch_give_the_features_and_gradients_of_padded_ones(
    custom_text: bool,
) -> None:
    model_cfg = ARCHITECTURES["vit"] | {
        "custom_text": custom_text,
        "text_cfg": TEXT | {"context_length": 77},
    }
    tower = models.new_tower({"model_cfg": model_cfg, "preprocess_cfg": PIXELS}, seed=1)
    positions: list[int] = []
    part = getattr(tower.model, "text", tower.model)
    part.transformer.register_forward_pre_hook(lambda _, given: positions.append(given[0].shape[1]))
    tower.model.double()
    for texts in (["Bend your knees!!", "", "!"], TEXTS):
        found = []
        for features in (
            tower.model.encode_text(tower.tokenizer(texts), normalize=True),
            tower.text_features(texts),
        ):
            tower.model.zero_grad()
            features.double()[:, :5].sum().backward()
            grads = [
                parameter.grad
                for parameter in tower.model.parameters()
                if parameter.grad is not None
            ]
            found.append([features, *grads])
        assert len(found[0]) == len(found[1]) > 10
        assert all(
            torch.allclose(a.double(), b.double(), atol=1e-6) for a, b in zip(*found, strict=True)
        )
    assert positions == [77, 6, 77, 77]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_saves_loads_and_equals_open_clip(name: str, tmp_path: Path) -> None:
    tower = models.new_tower(_config(name), seed=1)
    frames = _pictures()
    tower.save(tmp_path / "a")
    again = models.load_tower(tmp_path / "a")
    again.save(tmp_path / "b")
    first, second = (
        (tmp_path / side / "open_clip_model.safetensors").read_bytes() for side in "ab"
    )
    assert first == second
    assert np.array_equal(tower.encode_frames(frames), again.encode_frames(frames))
    assert np.array_equal(tower.encode_texts(TEXTS), again.encode_texts(TEXTS))

    theirs = open_clip.create_model(f"local-dir:{tmp_path / 'a'}").eval()
    assert type(theirs) is type(again.model)
    transform = image_transform_v2(PreprocessCfg(**theirs.visual.preprocess_cfg), is_train=False)
    seen = torch.stack(
        [transform(Image.fromarray(frame)) for frame in frames.reshape(-1, *frames.shape[2:])]
    )
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'a'}")(TEXTS)
    with torch.inference_mode():
        image, text = theirs.encode_image(seen), theirs.encode_text(tokens)
        image, text = (side[0] if isinstance(side, tuple) else side for side in (image, text))
        ours = again.pixels(torch.from_numpy(frames))
        assert (
            ours - seen
        ).abs().max() < 2.5 / 255 / 0.2  # PIL rounds after each of its two passes
        exact = again.model.encode_image(ours)
        exact = exact[0] if isinstance(exact, tuple) else exact
    assert np.allclose(again.encode_frame_features(frames).reshape(2, -1), exact, atol=1e-5)
    similarity = F.cosine_similarity(exact, image, dim=-1)
    assert similarity.min() > 0.999
    assert np.allclose(again.encode_texts(TEXTS), F.normalize(text, dim=-1), atol=1e-5)
    assert np.allclose(
        again.encode_frames(frames, batch=1), again.encode_frames(frames, batch=8), atol=1e-5
    )
    assert again.width == exact.shape[1]


@pytest.mark.parametrize("mode", ["squash", "shortest", "longest"])
@pytest.mark.parametrize("shape", [(50, 50), (40, 70), (70, 40), (20, 20)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_pixels_are_open_clips_in_every_resize_mode(
    mode: str, shape: tuple[int, int], interpolation: str
) -> None:
    tower = models.new_tower(
        _config("vit", resize_mode=mode, interpolation=interpolation, fill_color=7), seed=1
    )
    frames = _pictures(1, 2, *shape)
    transform = image_transform_v2(PreprocessCfg(**tower.preprocess), is_train=False)
    wanted = torch.stack([transform(Image.fromarray(frame)) for frame in frames[0]])
    got = tower.pixels(torch.from_numpy(frames))
    assert got.shape == wanted.shape
    near = (got - wanted).abs() < 2.5 / 255 / 0.2  # PIL rounds after each of its two passes
    assert near.all()


def test_a_bias_and_a_temperature_are_kept(tmp_path: Path) -> None:
    siglip = models.new_tower(_config("siglip"), seed=1)
    assert siglip.model.logit_bias.item() == -10
    plain = models.new_tower(_config("vit"), seed=1)
    assert plain.model.logit_bias is None
    models.add_logit_bias(plain, value=-3.0)
    plain.save(tmp_path)
    assert models.load_tower(tmp_path).model.logit_bias.item() == -3
    assert open_clip.create_model(f"local-dir:{tmp_path}").logit_bias.item() == -3


@pytest.fixture(scope="module")
def hf_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    clip_tokenizer().save_pretrained(folder)
    return str(folder)


def _hf_config(tokenizer: str) -> dict[str, Any]:
    text = TEXT | {
        "hf_tokenizer_name": tokenizer,
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "context_length": 20,
    }
    return {
        "model_cfg": {**ARCHITECTURES["custom_text"], "text_cfg": text},
        "preprocess_cfg": PIXELS,
    }


def test_a_tokenizer_from_the_hub_is_kept_in_the_folder(hf_tokenizer: str, tmp_path: Path) -> None:
    tower = models.new_tower(_hf_config(hf_tokenizer), seed=1)
    tower.save(tmp_path)
    config = json.loads((tmp_path / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = (
        "nobody/nowhere"  # as if its hub were out of reach
    )
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    again = models.load_tower(tmp_path)
    assert again.tokenizer(TEXTS).shape == (3, 20)
    assert torch.equal(again.tokenizer(TEXTS), tower.tokenizer(TEXTS))
    assert torch.equal(
        again.tokenizer(TEXTS), open_clip.get_tokenizer(f"local-dir:{tmp_path}")(TEXTS)
    )
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".json"}


def test_a_tokenizer_out_of_reach_is_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(
        ValueError, match=r"tokenizer '.*missing' is neither here nor could it be fetched"
    ):
        models.new_tower(_hf_config(missing))


def test_a_text_network_from_transformers_is_kept_in_the_folder(
    hf_tokenizer: str, tmp_path: Path
) -> None:
    from transformers import BertConfig

    small = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    BertConfig(vocab_size=49408, pad_token_id=49407, **small).save_pretrained(tmp_path / "bert")
    text = {
        "hf_model_name": str(tmp_path / "bert"),
        "hf_tokenizer_name": hf_tokenizer,
        "context_length": 20,
    }
    model_cfg = {"embed_dim": 16, "vision_cfg": VIT, "text_cfg": text | {"hf_proj_type": "mlp"}}
    tower = models.new_tower({"model_cfg": model_cfg, "preprocess_cfg": PIXELS}, seed=1)
    tower.save(tmp_path / "saved")
    (tmp_path / "bert" / "config.json").unlink()
    assert np.array_equal(
        tower.encode_texts(TEXTS), models.load_tower(tmp_path / "saved").encode_texts(TEXTS)
    )


def test_public_names_without_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A name of open_clip's own, with a small config put in place of the public one."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-B-16", ARCHITECTURES["vit"])
    tower = models.load_tower("ViT-B-16")
    assert isinstance(tower, models.OpenClipTower) and tower.preprocess["resize_mode"] == "shortest"
    tower.save(tmp_path)
    assert np.array_equal(
        tower.encode_texts(TEXTS), models.load_tower(tmp_path).encode_texts(TEXTS)
    )
    with pytest.raises(ValueError, match=r"no weights 'opnai' of ViT-B-16; it has .*openai"):
        models.load_tower("ViT-B-16", pretrained="opnai")


def test_openai_weights_get_the_activation_that_they_were_trained_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Under the plain name open_clip only warns, and would run them with another activation."""
    source = models.new_tower(_config("quickgelu"), seed=1)
    source.save(tmp_path)
    file = str(tmp_path / "open_clip_model.safetensors")
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-B-16", ARCHITECTURES["vit"])
    monkeypatch.setattr(open_clip.factory, "download_pretrained", lambda *a, **k: file)
    tower, frames = (
        models.load_tower("ViT-B-16", pretrained="openai"),
        _pictures(height=32, width=32),
    )
    assert (
        tower.config["model_cfg"]["quick_gelu"] is True
        and tower.preprocess["mean"] != PIXELS["mean"]
    )
    tower.save(tmp_path / "kept")
    pixels = tower.pixels(torch.from_numpy(frames))
    with torch.inference_mode():
        wanted = source.model.eval().encode_image(pixels)
        for each in (tower, models.load_tower(tmp_path / "kept")):
            assert torch.allclose(each.model.eval().encode_image(pixels), wanted, atol=1e-6)


def test_weights_that_cannot_be_fetched_are_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreachable(*_args: Any, **_kwargs: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(open_clip.factory, "download_pretrained", unreachable)
    with pytest.raises(
        ValueError,
        match=r"could not make ViT-B-32 with weights 'openai' .*the first load needs a net",
    ):
        models.load_tower("ViT-B-32", pretrained="openai")


def test_a_folder_without_safetensors_is_an_error(tmp_path: Path) -> None:
    models.new_tower(_config("vit"), seed=1).save(tmp_path)
    (tmp_path / "open_clip_model.safetensors").unlink()
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(b"any")
    with pytest.raises(
        ValueError,
        match=r"but no open_clip_model.safetensors: other forms of weights are not loaded",
    ):
        models.load_tower(tmp_path)
