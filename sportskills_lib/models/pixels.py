"""From the frames kept on disk to what a model was trained to see: its size, its shape, its pixel
statistics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def model_pixels(
    frames_BTHWC: torch.Tensor, preprocess: dict[str, Any], device: str
) -> torch.Tensor:
    """uint8 frames [B, T, H, W, 3] as normalised pixels [B * T, 3, height, width] on ``device``.

    ``preprocess`` is open_clip's ``preprocess_cfg``: size (a number or height and width), mean,
    std, interpolation (bicubic or bilinear, both antialiased) and resize_mode: ``squash`` to the
    size, ``shortest`` side to fit and crop,
    ``longest`` side to fit and pad. Equal to open_clip's own transform of each frame up to rounding
    to 1/255. For our square frames and a square model the three modes are one.
    """
    import torch

    B, T, H, W, C = frames_BTHWC.shape
    flat = frames_BTHWC.reshape(B * T, H, W, C).permute(0, 3, 1, 2).to(device)
    size = preprocess["size"]
    height, width = (size, size) if isinstance(size, int) else size
    if (height, width) != (H, W):
        flat = _fit(flat, height, width, preprocess)
    mean = torch.tensor(preprocess["mean"], device=device).view(1, 3, 1, 1) * 255
    std = torch.tensor(preprocess["std"], device=device).view(1, 3, 1, 1) * 255
    return flat.float().sub_(mean).div_(std)


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
