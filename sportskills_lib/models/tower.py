"""The one interface to encoders: frames in, embedding out; text in, embedding out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


class Tower(ABC):
    """A network with its tokenizer and its pixel statistics. Embeddings are float32 of length 1.

    ``model`` holds every weight, that of a pooling over time too, and has ``logit_scale`` (and
    ``logit_bias``, where a sigmoid loss learnt one).
    """

    def __init__(self, model: Any, tokenizer: Any, preprocess: dict[str, Any], device: str = "cpu"):
        self.model, self.tokenizer = model.to(device), tokenizer
        self.preprocess, self.device = preprocess, device

    @property
    def module(self) -> torch.nn.Module:
        """Everything that can be trained; names begin ``visual.``, with the text network's, or
        ``pooling.``.
        """
        return self.model

    @property
    @abstractmethod
    def width(self) -> int:
        """D, the length of an embedding."""

    def frame_features(self, frames_BTHWC: torch.Tensor) -> torch.Tensor:
        """Features of single frames [B, T, D], with gradients, not normalised; ValueError for a
        model whose frames see one another.
        """
        raise ValueError("this model has no features of single frames: use clip_features")

    def pool(self, frame_BTD: torch.Tensor, time_BT: torch.Tensor | None = None) -> torch.Tensor:
        """Normalised clip embeddings [B, D] from features of frames.

        ``time_BT``: when each frame is, as a share of its clip in [0, 1]; by default evenly, ``(i +
        0.5) / T``.
        """
        raise ValueError("this model pools inside the network: use clip_features")

    def clip_features(
        self, frames_BTHWC: torch.Tensor, time_BT: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Normalised clip embeddings [B, D], with gradients, of uint8 frames."""
        return self.pool(self.frame_features(frames_BTHWC), time_BT)

    @abstractmethod
    def text_features(self, texts: list[str]) -> torch.Tensor:
        """Normalised text embeddings [B, D], with gradients."""

    @abstractmethod
    def save(self, folder: str | Path) -> None:
        """Write a folder that :func:`load_tower` reads without a network: weights as safetensors,
        tokenizer, config.
        """

    def pixels(self, frames_BTHWC: torch.Tensor) -> torch.Tensor:
        """uint8 frames [B, T, H, W, 3] as normalised pixels [B * T, 3, height, width]: the size,
        the shape and the statistics that the model was trained to see.

        ``preprocess`` is open_clip's ``preprocess_cfg``: size (a number or height and width), mean,
        std, interpolation (bicubic or bilinear, both antialiased) and resize_mode: ``squash`` to
        the size, ``shortest`` side to fit and crop, ``longest`` side to fit and pad. Equal to
        open_clip's own transform of each frame up to rounding to 1/255. For our square frames and a
        square model the three modes are one.
        """
        import torch

        B, T, H, W, C = frames_BTHWC.shape
        flat = frames_BTHWC.reshape(B * T, H, W, C).permute(0, 3, 1, 2).to(self.device)
        size = self.preprocess["size"]
        height, width = (size, size) if isinstance(size, int) else size
        if (height, width) != (H, W):
            flat = _fit(flat, height, width, self.preprocess)
        mean, std = (
            torch.tensor(self.preprocess[name], device=self.device).view(1, 3, 1, 1) * 255
            for name in ("mean", "std")
        )
        return flat.float().sub_(mean).div_(std)

    def encode_frames(
        self, frames_BTHWC: np.ndarray, *, batch: int = 64, bf16: bool = False
    ) -> np.ndarray:
        """float32 [B, D] for uint8 [B, T, H, W, 3]; the batch size does not change a row beyond
        rounding.

        ``bf16``: autocast to bfloat16, about twice as fast on a GPU and different from the third
        digit on.
        """
        return self._in_batches(self.clip_features, frames_BTHWC, (self.width,), batch, bf16)

    def encode_frame_features(
        self, frames_BTHWC: np.ndarray, *, batch: int = 64, bf16: bool = False
    ) -> np.ndarray:
        """float32 [B, T, D], as :meth:`frame_features`, for uint8 [B, T, H, W, 3]."""
        shape = (frames_BTHWC.shape[1], self.width)
        return self._in_batches(self.frame_features, frames_BTHWC, shape, batch, bf16)

    def encode_texts(self, texts: list[str], *, batch: int = 256, bf16: bool = False) -> np.ndarray:
        """float32 [B, D] for texts; each distinct text is encoded once, beside others of its
        length.
        """
        distinct = sorted(set(texts), key=lambda text: (len(text), text))
        table = self._in_batches(self.text_features, distinct, (self.width,), batch, bf16)
        place = {text: i for i, text in enumerate(distinct)}
        return table[[place[text] for text in texts]]

    def _in_batches(
        self,
        encode: Callable[[Any], torch.Tensor],
        items: Any,
        shape: tuple[int, ...],
        batch: int,
        bf16: bool,
    ) -> np.ndarray:
        import torch

        self.model.eval()
        rows = [np.zeros((0, *shape), np.float32)]
        with (
            torch.inference_mode(),
            torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=bf16),
        ):
            for start in range(0, len(items), batch):
                chunk = items[start : start + batch]
                if isinstance(chunk, np.ndarray):
                    chunk = torch.from_numpy(np.array(chunk))  # copied: it may be a map
                rows.append(encode(chunk).float().cpu().numpy())
        return np.concatenate(rows)


def _fit(flat: torch.Tensor, height: int, width: int, preprocess: dict[str, Any]) -> torch.Tensor:
    from open_clip.transform import center_crop_or_pad
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import resize

    H, W = flat.shape[-2:]
    mode = preprocess.get("resize_mode", "shortest")
    if mode == "squash":
        target = [height, width]
    else:
        choose = max if mode == "shortest" else min
        scale = choose(height / H, width / W)
        target = [round(H * scale), round(W * scale)]
    interpolation = InterpolationMode(preprocess.get("interpolation", "bicubic"))
    flat = resize(flat, target, interpolation=interpolation, antialias=True)
    return center_crop_or_pad(flat, [height, width], fill=preprocess.get("fill_color", 0))


def as_readable_as(config: Path) -> None:
    """Give the weights beside ``config`` its permissions: safetensors makes files that their owner
    alone can read.
    """
    for weights in config.parent.glob("*.safetensors"):
        weights.chmod(config.stat().st_mode)
