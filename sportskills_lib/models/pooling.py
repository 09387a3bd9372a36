"""From the features of a clip's frames to one embedding: the mean, or what starts as the mean and
learns.

Each pooling equals the mean at step 0 to rounding, so that a video encoder starts as the image
encoder that it is compared with. Frames are first divided by the root mean square of their clip,
which the final normalisation undoes: towers whose features have lengths of 1 and of 40 then train
alike at one learning rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

KINDS = ("mean", "attention", "temporal")


def new_pooling(
    width: int, kind: str, *, layers: int, heads: int, max_frames: int, seed: int = 0
) -> torch.nn.Module:
    """The weights of a pooling ("attention" or "temporal") over features of ``width``; see
    :func:`pooled`.

    ValueError for another kind, for heads that do not divide the width, or fewer than two frames.
    """
    import torch

    if kind not in KINDS[1:]:
        raise ValueError(f"pooling={kind!r} is none of {', '.join(KINDS)}")
    if kind == "attention":
        return torch.nn.ParameterDict({"query": torch.nn.Parameter(torch.zeros(width))})
    if width % heads or max_frames < 2:
        raise ValueError(
            f"heads={heads} must divide the width {width}, and max_frames={max_frames} be 2 or more"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        blocks = [_block(width, heads) for _ in range(layers)]
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


def pooled(
    frame_BTD: torch.Tensor, pooling: Any, time_BT: torch.Tensor | None = None
) -> torch.Tensor:
    """Normalised embeddings [B, D] of features of frames [B, T, D]; ``pooling`` None is the mean.

    attention: a softmax over frames of their product with one learned query; the query starts at
    zero, so that all frames weigh the same. temporal: what a pre-norm transformer over the frames
    and their times adds to each frame, and then the mean; its output projections start at zero.
    Times are added for the transformer alone, not to the result (as the sequence transformer of
    CLIP4Clip, arXiv 2104.08860, does), so that positions need not start at zero.

    ``time_BT``: when each frame is, as a share of its clip; by default ``(i + 0.5) / T``. Times,
    not frame numbers: two of a clip's eight frames then get in training the positions that they
    have among all eight. ValueError for more frames than ``max_frames``, whose positions would be
    blurred.
    """
    import torch

    frame_BTD = frame_BTD.float()
    if pooling is None:
        return torch.nn.functional.normalize(frame_BTD.mean(1), dim=-1)
    T, D = frame_BTD.shape[1:]
    unit_BTD = frame_BTD / frame_BTD.pow(2).mean((1, 2), keepdim=True).sqrt().clamp(min=1e-12)
    if "query" in pooling:
        weight_BT = (unit_BTD @ pooling["query"] / D**0.5).softmax(1)
        return torch.nn.functional.normalize((weight_BT[..., None] * unit_BTD).sum(1), dim=-1)
    told_BTD = unit_BTD + positions(pooling, T, time_BT)
    return torch.nn.functional.normalize(
        (unit_BTD + (pooling["blocks"](told_BTD) - told_BTD)).mean(1), dim=-1
    )


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
