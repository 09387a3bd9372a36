"""Visual tokens of many equal videos at once, kept on disk: the stock modules, without the stock
loop over frames.

On a CPU most of a small vision tower's time goes into preparing pixels and into a Python loop that
attends to one frame at a time. Where all videos have one grid and every layer sees whole frames,
both are done for all frames together; the result equals the stock path (tested). Everything else
takes the stock path.

A :class:`~sportskills_lib.runs.content_store.ContentStore` keeps the bfloat16 tokens of each video,
named by content: the frames' bytes and shape, the grid, the vision tower's weights and the
processor's settings. A new tower, size or frame therefore never meets an old entry, and adapters of
the language model, which change no visual token, share all of them. Tokens from a store are rounded
to bfloat16 whether they were just computed or read, so that a rerun has the same scores. On a GPU,
where the models run in bfloat16, nothing is lost; on a CPU (float32) tokens move by at most 2^-9 of
their size, and scores accordingly (``SCORE_TOLERANCE``, tested and measured by
``benchmarks/relevance.py``).

Legend: N videos, T frames, H, W pixels, C channels, P patches of one temporal step, K visual
tokens, D width.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from sportskills_lib.runs.artifacts import workspace
from sportskills_lib.runs.content_store import ContentStore

if TYPE_CHECKING:
    import torch

    from sportskills_lib.retrieval.relevance.model import VisionLanguageModel

Grid = tuple[int, int, int]  # time, height and width in patches
VERSION = 1  # of how tokens are made: a change of this module that changes them must raise it
SCORE_TOLERANCE = 0.05  # largest difference of a score between float32 and stored tokens, in logits


def stock_pixels(processor: Any, frames_NTHWC: np.ndarray) -> dict[str, Any]:
    """What the stock video processor makes of N videos (no sampling: all frames are used)."""
    videos = [np.ascontiguousarray(video) for video in frames_NTHWC]
    return dict(
        processor.video_processor(
            videos=videos, do_sample_frames=False, cap_pixels_per_frame=False, return_tensors="pt"
        )
    )


def tokens_a_video(processor: Any, grid: Grid) -> int:
    """How many merged visual tokens a video of this grid becomes."""
    return grid[0] * grid[1] * grid[2] // processor.video_processor.merge_size**2


def placeholder(processor: Any, grid: Grid, *, fps: float) -> str:
    """What the stock processor writes into a prompt for one video: its placeholders (for Qwen3-VL
    with the times).
    """
    import torch
    from transformers.video_utils import VideoMetadata

    frames = grid[0] * processor.video_processor.temporal_patch_size
    metadata = VideoMetadata(total_num_frames=frames, fps=fps, frames_indices=list(range(frames)))
    inputs = {"video_grid_thw": torch.tensor([grid]), "video_metadata": [metadata]}
    return str(processor.replace_video_token(inputs, 0))


def patches(processor: Any, frames_NTHWC: np.ndarray, grid: Grid) -> torch.Tensor | None:
    """float32 [N·patches, values]: the stock processor's patches, for videos that it would not
    resize; else None.
    """
    import torch

    settings = processor.video_processor
    side, step, merge = settings.patch_size, settings.temporal_patch_size, settings.merge_size
    count, frames, height, width, _ = frames_NTHWC.shape
    if (frames, height, width) != (
        grid[0] * step,
        grid[1] * side,
        grid[2] * side,
    ) or not settings.do_normalize:
        return None
    mean = torch.tensor(settings.image_mean) * 255.0
    scale = 1.0 / (torch.tensor(settings.image_std) * 255.0)
    pixels = (torch.from_numpy(np.ascontiguousarray(frames_NTHWC)).float() - mean) * scale
    shape = (count, grid[0], step, grid[1] // merge, merge, side, grid[2] // merge, merge, side, 3)
    return (
        pixels.view(shape)
        .permute(0, 1, 3, 6, 4, 7, 9, 2, 5, 8)
        .reshape(count * grid[0] * grid[1] * grid[2], 3 * step * side * side)
    )


def sees_whole_frames(visual: Any, grid: Grid) -> bool:
    """Whether this is a Qwen2.5-VL's tower and one attention window covers a frame: then all its
    layers do the same.
    """
    if visual.config.model_type != "qwen2_5_vl_vision":
        return False
    window = visual.window_size // visual.patch_size
    return window >= grid[1] and window >= grid[2]


def tower(visual: Any, pixels: torch.Tensor, grid: Grid) -> torch.Tensor:
    """[N, K, D]: the merged tokens of a Qwen2.5-VL vision tower that sees whole frames, all frames
    at once.
    """
    import torch
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision

    merge = visual.spatial_merge_size
    hidden = visual.patch_embed(pixels).view(
        -1, grid[1] * grid[2], visual.config.hidden_size
    )  # [N·T, P, D]
    rows, columns = torch.meshgrid(torch.arange(grid[1]), torch.arange(grid[2]), indexing="ij")
    blocks = (grid[1] // merge, merge, grid[2] // merge, merge)
    places = torch.stack(
        [side.reshape(blocks).permute(0, 2, 1, 3).flatten() for side in (rows, columns)], -1
    )
    cos, sin = visual.rotary_pos_emb(hidden, places.to(hidden.device))  # [P, head width]
    heads, width = visual.config.num_heads, visual.config.hidden_size
    for block in visual.blocks:
        qkv = block.attn.qkv(block.norm1(hidden)).view(*hidden.shape[:2], 3, heads, width // heads)
        q, k = apply_rotary_pos_emb_vision(qkv[:, :, 0], qkv[:, :, 1], cos, sin)
        seen = torch.nn.functional.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            qkv[:, :, 2].transpose(1, 2),
            scale=block.attn.scaling,
        )
        hidden = hidden + block.attn.proj(seen.transpose(1, 2).reshape(hidden.shape))
        hidden = hidden + block.mlp(block.norm2(hidden))
    count = len(pixels) // (grid[0] * grid[1] * grid[2])
    return visual.merger(hidden.reshape(-1, width)).view(count, -1, visual.config.out_hidden_size)


def visual_tokens(model: Any, processor: Any, frames_NTHWC: np.ndarray, grid: Grid) -> torch.Tensor:
    """[N, K, D]: merged visual tokens of N videos of one shape; gradients flow if the caller lets
    them.

    For a Qwen3-VL [N, K, (1 + layers) D]: beside the tokens, what the language model's first layers
    are given.
    """
    import torch

    inner = model.model
    device = inner.visual.patch_embed.proj.weight.device
    whole = sees_whole_frames(inner.visual, grid)
    pixels = patches(processor, frames_NTHWC, grid) if whole else None
    if pixels is not None:
        return tower(inner.visual, pixels.to(device), grid)
    inputs = stock_pixels(processor, frames_NTHWC)
    features = inner.get_video_features(
        inputs["pixel_values_videos"].to(device), inputs["video_grid_thw"].to(device)
    )
    kinds = [features.pooler_output, *getattr(features, "deepstack_features", ())]
    return torch.cat([torch.stack(list(kind)) for kind in kinds], -1)


# -------------------------------------------------------------------------------------------- store


def open_store(limit_gb: float) -> ContentStore | None:
    """The workspace's store, ``data/cache/visual_tokens``, which 04 and advise share; None at a
    limit of 0.
    """
    folder = workspace() / "data" / "cache" / "visual_tokens"
    return ContentStore(folder, limit_bytes=int(limit_gb * 2**30)) if limit_gb else None


def stored_tokens(
    vlm: VisionLanguageModel, frames_NTHWC: np.ndarray, grid: Grid, store: ContentStore
) -> torch.Tensor:
    """bfloat16 [N, K, D]: visual tokens from the store; those that it lacks are computed and kept,
    as 16-bit integers, since numpy has no such type.
    """
    import torch

    keys = [token_key(vlm, video, grid) for video in frames_NTHWC]
    found: dict[str, Any] = {key: store.get(key) for key in keys}
    missing = [place for place, key in enumerate(keys) if found[key] is None]
    if missing:
        fresh = vlm.visual_tokens(frames_NTHWC[missing], grid).to("cpu", torch.bfloat16)
        if not bool(fresh.isfinite().all()):  # 04 and advise would read it for ever
            raise ValueError("visual tokens hold NaN or infinity: rerun, or use another device")
        for place, bits in zip(missing, fresh.contiguous().view(torch.int16).numpy(), strict=True):
            store.put(keys[place], bits)
            found[keys[place]] = bits
    return torch.from_numpy(np.stack([found[key] for key in keys])).view(torch.bfloat16)


def token_key(vlm: VisionLanguageModel, video_THWC: np.ndarray, grid: Grid) -> str:
    """The address of a video's tokens: 40 hex digits of the frames and the grid, 16 of the
    tower.
    """
    facts = json.dumps([video_THWC.shape, str(video_THWC.dtype), grid]).encode()
    content = hashlib.blake2b(video_THWC.tobytes() + facts, digest_size=20)
    return f"{content.hexdigest()}{vlm.tower_digest}"


def digest_tower(visual: Any, processor: Any) -> str:
    """16 hex digits of all that turns frames into tokens: the tower's weights and precision, and
    the processor.
    """
    import torch

    settings = processor.video_processor.to_dict()
    digest = hashlib.blake2b(
        json.dumps([VERSION, settings], sort_keys=True, default=str).encode(), digest_size=8
    )
    for name, weight in sorted(visual.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
