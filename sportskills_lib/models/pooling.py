"""From the features of a clip's frames to one embedding: the mean, or what starts as the mean and
learns.

Each pooling with weights equals the mean at step 0 to rounding, so that a video encoder starts as
the image encoder that it is compared with. It first divides frames by the root mean square of their
clip, which the final normalisation undoes: towers whose features have lengths of 1 and of 40 then
train alike at one learning rate. A new pooling is a function and a line of :data:`POOLINGS` (and a
word of the setting ``video_pooling``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch


class Pooling(NamedTuple):
    """``join(frame_BTD, weights, time_BT)`` makes a vector [B, D] of features of frames;
    ``weights(width, settings)`` makes what it learns, a torch module (None: it learns nothing).
    """

    join: Callable[..., torch.Tensor]
    weights: Callable[[int, dict[str, int]], torch.nn.Module] | None = None


def new_pooling(
    width: int, kind: str, settings: dict[str, int], *, seed: int = 0
) -> torch.nn.Module:
    """The weights of a pooling over features of ``width``, drawn by ``seed``; see :func:`pooled`.

    ``settings``: layers, heads, max_frames. ValueError for an unknown kind, for heads that do not
    divide the width, or fewer than two frames.
    """
    import torch

    if kind not in POOLINGS:
        raise ValueError(f"pooling={kind!r} is none of {', '.join(POOLINGS)}")
    weights = POOLINGS[kind].weights
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return weights(width, settings) if weights else torch.nn.Module()


def pooled(
    frame_BTD: torch.Tensor, kind: str, weights: Any, time_BT: torch.Tensor | None = None
) -> torch.Tensor:
    """Normalised embeddings [B, D] of features of frames [B, T, D].

    mean: of the frames. attention: a softmax over frames of their product with one learned query;
    the query starts at zero, so that all frames weigh the same. temporal: what a pre-norm
    transformer over the frames and their times adds to each frame, and then the mean; its output
    projections start at zero. Times are added for the transformer alone, not to the result (as the
    sequence transformer of CLIP4Clip, arXiv 2104.08860, does), so that positions need not start at
    zero.

    ``time_BT``: when each frame is, as a share of its clip; by default ``(i + 0.5) / T``. Times,
    not frame numbers: two of a clip's eight frames then get in training the positions that they
    have among all eight. ValueError for more frames than ``max_frames``, whose positions would be
    blurred.
    """
    import torch

    joined_BD = POOLINGS[kind].join(frame_BTD.float(), weights, time_BT)
    return torch.nn.functional.normalize(joined_BD, dim=-1)


def _mean(frame_BTD: torch.Tensor, weights: Any, time_BT: torch.Tensor | None) -> torch.Tensor:
    return frame_BTD.mean(1)


def _query(width: int, settings: dict[str, int]) -> torch.nn.Module:
    import torch

    return torch.nn.ParameterDict({"query": torch.nn.Parameter(torch.zeros(width))})


def _attend(frame_BTD: torch.Tensor, weights: Any, time_BT: torch.Tensor | None) -> torch.Tensor:
    unit_BTD = _unit(frame_BTD)
    weight_BT = (unit_BTD @ weights["query"] / frame_BTD.shape[2] ** 0.5).softmax(1)
    return (weight_BT[..., None] * unit_BTD).sum(1)


def _transformer(width: int, settings: dict[str, int]) -> torch.nn.Module:
    import torch

    heads, max_frames = settings["heads"], settings["max_frames"]
    if width % heads or max_frames < 2:
        raise ValueError(
            f"heads={heads} must divide the width {width}, and max_frames={max_frames} be 2 or more"
        )
    blocks = [_block(width, heads) for _ in range(settings["layers"])]
    positions = torch.nn.Linear(max_frames - 1, width, bias=False)
    with torch.no_grad():  # slow changes are larger, so that neighbours in time start alike
        positions.weight.normal_().div_(torch.arange(1, max_frames))
    return torch.nn.ModuleDict({"positions": positions, "blocks": torch.nn.Sequential(*blocks)})


def _block(width: int, heads: int) -> torch.nn.Module:
    """A pre-norm transformer layer that adds nothing yet: both output projections are zero."""
    import torch

    block = torch.nn.TransformerEncoderLayer(
        width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    for layer in (block.self_attn.out_proj, block.linear2):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return block


def _transform(frame_BTD: torch.Tensor, weights: Any, time_BT: torch.Tensor | None) -> torch.Tensor:
    unit_BTD = _unit(frame_BTD)
    told_BTD = unit_BTD + positions(weights, frame_BTD.shape[1], time_BT)
    return (unit_BTD + (weights["blocks"](told_BTD) - told_BTD)).mean(1)


def positions(pooling: Any, T: int, time_BT: torch.Tensor | None = None) -> torch.Tensor:
    """What a temporal pooling adds to tell frames apart: [B, T, D], or [1, T, D] for frames spread
    evenly.

    A learned table of ``max_frames`` positions, kept as its cosine series so that it can be read at
    any time between.
    """
    import torch

    weight_DK = pooling["positions"].weight
    if weight_DK.shape[1] + 1 < T:
        raise ValueError(
            f"{T} frames a clip, but the pooling has max_frames={weight_DK.shape[1] + 1}: keep "
            "fewer"
        )
    if time_BT is None:
        time_BT = ((torch.arange(T, device=weight_DK.device) + 0.5) / T)[None]
    wave_K = torch.arange(1, weight_DK.shape[1] + 1, device=weight_DK.device) * torch.pi
    return pooling["positions"](torch.cos(time_BT.to(weight_DK)[..., None] * wave_K))


def _unit(frame_BTD: torch.Tensor) -> torch.Tensor:
    """Frames over the root mean square of their clip."""
    return frame_BTD / frame_BTD.pow(2).mean((1, 2), keepdim=True).sqrt().clamp(min=1e-12)


POOLINGS = {
    "mean": Pooling(_mean),
    "attention": Pooling(_attend, _query),
    "temporal": Pooling(_transform, _transformer),
}
