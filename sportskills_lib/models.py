"""The models' doors: towers (frames in, embedding out; text in, embedding out) and vision-language checkpoints.

A tower is an open_clip model whose frame embeddings are averaged over a clip's frames and normalised. It is kept in
open_clip's own folder form (``open_clip_config.json`` and ``open_clip_model.safetensors``), so that open_clip loads our
towers and we load any that open_clip has. Legend of shapes: B clips, T frames, H height, W width, D embedding.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


class Tower:
    """An open_clip model with frame pooling, its tokenizer and its pixel statistics."""

    def __init__(self, model: Any, tokenizer: Any, config: dict[str, Any], device: str = "cpu"):
        import torch

        self.model, self.tokenizer, self.config, self.device = model.to(device), tokenizer, config, device
        self.size_px = int(np.max(model.visual.image_size))
        pixels = config["preprocess_cfg"]
        self._mean = torch.tensor(pixels["mean"], device=device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(pixels["std"], device=device).view(1, 3, 1, 1) * 255

    @property
    def width(self) -> int:
        """D, the length of an embedding."""
        return int(self.config["model_cfg"]["embed_dim"])

    def pixels(self, frames_BTHWC: torch.Tensor) -> torch.Tensor:
        """uint8 frames [B, T, H, W, 3] as normalised pixels [B * T, 3, size, size]."""
        import torch

        B, T, H, W, C = frames_BTHWC.shape
        flat = frames_BTHWC.reshape(B * T, H, W, C).permute(0, 3, 1, 2).to(self.device, torch.float32)
        if self.size_px not in (H, W) or H != W:
            flat = torch.nn.functional.interpolate(flat, (self.size_px, self.size_px), mode="bilinear", antialias=True)
        return (flat - self._mean) / self._std

    def clip_features(self, frames_BTHWC: torch.Tensor) -> torch.Tensor:
        """Normalised clip embeddings [B, D], with gradients: the mean of the frames' embeddings, then its direction."""
        import torch

        B, T = frames_BTHWC.shape[:2]
        frame_features = self.model.encode_image(self.pixels(frames_BTHWC)).float()
        return torch.nn.functional.normalize(frame_features.view(B, T, -1).mean(1), dim=-1)

    def text_features(self, texts: list[str]) -> torch.Tensor:
        """Normalised text embeddings [B, D], with gradients."""
        import torch

        tokens = self.tokenizer(texts).to(self.device)
        return torch.nn.functional.normalize(self.model.encode_text(tokens).float(), dim=-1)

    def encode_frames(self, frames_BTHWC: np.ndarray, *, batch: int = 64) -> np.ndarray:
        """float32 [B, D] for uint8 [B, T, H, W, 3]; the batch size does not change a row beyond rounding."""
        import torch

        self.model.eval()
        rows = []
        with torch.inference_mode():
            for start in range(0, len(frames_BTHWC), batch):
                chunk = torch.from_numpy(np.array(frames_BTHWC[start : start + batch]))  # copied: it may be a map
                rows.append(self.clip_features(chunk).cpu().numpy())
        return np.concatenate(rows) if rows else np.zeros((0, self.width), np.float32)

    def encode_texts(self, texts: list[str], *, batch: int = 256) -> np.ndarray:
        """float32 [B, D] for texts; each distinct text is encoded once."""
        import torch

        self.model.eval()
        distinct = sorted(set(texts))
        rows = []
        with torch.inference_mode():
            for start in range(0, len(distinct), batch):
                rows.append(self.text_features(distinct[start : start + batch]).cpu().numpy())
        place = {text: i for i, text in enumerate(distinct)}
        table = np.concatenate(rows) if rows else np.zeros((0, self.width), np.float32)
        return table[[place[text] for text in texts]]

    def save(self, folder: str | Path) -> None:
        """Write open_clip's folder form: weights as safetensors, the config last."""
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
        save_file(state, folder / "open_clip_model.safetensors")
        (folder / "open_clip_config.json").write_text(json.dumps(self.config, indent=2) + "\n")


def load_tower(model: str | Path, *, pretrained: str = "", device: str = "cpu") -> Tower:
    """A tower from a folder in open_clip's form, or an open_clip model name with a tag of public weights.

    ValueError when the folder is not there or open_clip does not know the name.
    """
    import open_clip

    folder = Path(model)
    if (folder / "open_clip_config.json").is_file():
        from safetensors.torch import load_file

        config = json.loads((folder / "open_clip_config.json").read_text())
        tower = new_tower(config, device=device)
        tower.model.load_state_dict(load_file(folder / "open_clip_model.safetensors"))
        return tower
    if str(model) not in open_clip.list_models():
        raise ValueError(
            f"model {str(model)!r} is neither a folder with open_clip_config.json nor a model of open_clip "
            "(see `python -c 'import open_clip; print(open_clip.list_models())'`)"
        )
    network, _, _ = open_clip.create_model_and_transforms(str(model), pretrained=pretrained or None)
    pixels = {"mean": list(network.visual.image_mean), "std": list(network.visual.image_std)}
    config = {"model_cfg": open_clip.get_model_config(str(model)), "preprocess_cfg": pixels}
    return Tower(network, open_clip.get_tokenizer(str(model)), config, device)


def new_tower(config: dict[str, Any], *, seed: int | None = None, device: str = "cpu") -> Tower:
    """An untrained tower from open_clip's own config form (``model_cfg`` and ``preprocess_cfg``)."""
    import torch
    from open_clip.model import CLIP
    from open_clip.tokenizer import SimpleTokenizer

    cfg = {name: value for name, value in config["model_cfg"].items() if name not in ("custom_text",)}
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        network = CLIP(**cfg, output_dict=False)
    tokenizer = SimpleTokenizer(context_length=cfg["text_cfg"]["context_length"])
    return Tower(network, tokenizer, config, device)


def add_logit_bias(tower: Tower, *, value: float = -10.0) -> None:
    """Give a tower without one the bias that a sigmoid loss learns (SigLIP starts it at -10); its config says so."""
    import torch

    if getattr(tower.model, "logit_bias", None) is None:
        tower.model.logit_bias = torch.nn.Parameter(torch.tensor(value, device=tower.device))
        cfg = tower.config["model_cfg"] | {"init_logit_bias": value}
        tower.config = tower.config | {"model_cfg": cfg}


QUOTE_LIMIT = 300  # characters of a stranger's sentence that are quoted


def quoted(sentence: str) -> str:
    """One line without quotation marks or special tokens: a sentence from a stranger stays data."""
    plain = sentence.replace("<|", "< |").replace('"', "'")
    return " ".join(plain.split())[:QUOTE_LIMIT]


def load_vision_language(name: str, *, device: str = "cpu") -> tuple[Any, Any]:
    """Model and processor of a vision-language checkpoint, by hub id or folder.

    Safetensors only, no code from the checkpoint; bfloat16 on an accelerator.
    """
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    model: Any = AutoModelForImageTextToText.from_pretrained(
        name, dtype=dtype, use_safetensors=True, trust_remote_code=False, attn_implementation="sdpa"
    )
    return model.to(device), AutoProcessor.from_pretrained(name, trust_remote_code=False)
