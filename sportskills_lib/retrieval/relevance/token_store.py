"""Visual tokens kept on disk: a video is looked at once, by whoever asks first, and read from there
by all others.

An entry of the :mod:`~sportskills_lib.runs.content_store` holds the bfloat16 tokens of one video,
named by content: the frames' bytes and shape, the grid, the vision tower's weights and the
processor's settings. A new tower, size or frame therefore never meets an old entry, and adapters of
the language model, which change no visual token, share all of them.

What :meth:`TokenStore.encode` returns is rounded to bfloat16 whether it was just computed or read,
so that a rerun has the same scores. On a GPU, where the models run in bfloat16, nothing is lost; on
a CPU (float32) tokens move by at most 2^-9 of their size, and scores accordingly
(``SCORE_TOLERANCE``, tested and measured by ``benchmarks/relevance.py``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sportskills_lib.runs.artifacts import workspace
from sportskills_lib.runs.content_store import ContentStore

if TYPE_CHECKING:
    import torch

    from sportskills_lib.retrieval.relevance.model import VisionLanguageModel

VERSION = 1  # of how tokens are made: a change in visual.py that changes them must raise it
LIMIT_BYTES = 8 * 2**30
SCORE_TOLERANCE = (
    0.05  # largest difference of a score between float32 tokens and stored ones, in logits
)


class TokenStore:
    """Visual tokens in ``folder``, at most about ``limit_bytes`` of them. Several processes may
    share a folder.
    """

    def __init__(self, folder: Path, *, limit_bytes: int = LIMIT_BYTES):
        self.entries = ContentStore(folder, limit_bytes=limit_bytes)
        self.hits, self.misses = 0, 0

    def encode(
        self,
        vlm: VisionLanguageModel,
        frames: np.ndarray,
        keys: Sequence[str] | None = None,
        *,
        batch: int = 64,
    ) -> torch.Tensor:
        """[N, K, D]: visual tokens of videos [N, T, H, W, 3], in the model's precision, rounded to
        bfloat16.

        ``keys`` name the videos in errors; the address of an entry is always the content. Only a
        batch of frames is in memory at a time, and what was computed before a kill is kept.
        """
        import torch

        if keys is not None and len(keys) != len(frames):
            raise ValueError(f"{len(keys)} keys for {len(frames)} videos: give each video its own")
        grid, dtype = vlm.grid(frames.shape[1:]), vlm.stock.lm_head.weight.dtype
        whole: list[torch.Tensor] = []
        for start in range(0, len(frames), batch):
            part = np.ascontiguousarray(frames[start : start + batch])
            names = [self.key(vlm, video, grid) for video in part]
            found = [self.get(name) for name in names]
            missing = [place for place, tokens in enumerate(found) if tokens is None]
            self.hits, self.misses = (
                self.hits + len(part) - len(missing),
                self.misses + len(missing),
            )
            if missing:
                with torch.no_grad():
                    fresh = vlm.visual_tokens(part[missing], grid).to("cpu", torch.bfloat16)
                if not bool(torch.isfinite(fresh).all()):
                    bad = missing[int((~torch.isfinite(fresh)).flatten(1).any(1).nonzero()[0])]
                    raise ValueError(
                        f"video {keys[start + bad] if keys else start + bad}: its visual "
                        "tokens have NaN"
                    )
                for place, tokens in zip(missing, fresh, strict=True):
                    self.put(names[place], tokens)
                    found[place] = tokens
            whole.append(
                torch.stack([tokens for tokens in found if tokens is not None]).to(
                    vlm.device, dtype
                )
            )
        return torch.cat(whole)

    def key(
        self, vlm: VisionLanguageModel, video_THWC: np.ndarray, grid: tuple[int, int, int]
    ) -> str:
        """The address of a video's tokens: 40 hex digits of the frames and the grid, 16 of the
        tower.
        """
        facts = json.dumps([video_THWC.shape, str(video_THWC.dtype), grid]).encode()
        content = hashlib.blake2b(video_THWC.tobytes() + facts, digest_size=20)
        return f"{content.hexdigest()}{tower_digest(vlm)}"

    def get(self, key: str) -> torch.Tensor | None:
        """bfloat16 [K, D], or None."""
        import torch

        bits = self.entries.get(key)
        return None if bits is None else torch.from_numpy(bits).view(torch.bfloat16)

    def put(self, key: str, tokens_KD: torch.Tensor) -> None:
        """Keep bfloat16 tokens, as 16-bit integers: numpy has no such type."""
        import torch

        self.entries.put(key, tokens_KD.contiguous().view(torch.int16).numpy())


def open_store(limit_gb: float) -> TokenStore | None:
    """The workspace's store, ``data/cache/visual_tokens``, which 04 and advise share; None at a
    limit of 0.
    """
    if not limit_gb:
        return None
    return TokenStore(
        workspace() / "data" / "cache" / "visual_tokens", limit_bytes=int(limit_gb * 2**30)
    )


def tower_digest(vlm: VisionLanguageModel) -> str:
    """16 hex digits of all that turns frames into tokens: the tower's weights and precision, and
    the processor.

    Computed once for a loaded model; its tower never changes.
    """
    if vlm.tower_digest:
        return vlm.tower_digest
    import torch

    settings = vlm.processor.video_processor.to_dict()
    digest = hashlib.blake2b(
        json.dumps([VERSION, settings], sort_keys=True, default=str).encode(), digest_size=8
    )
    for name, weight in sorted(vlm.stock.model.visual.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    vlm.tower_digest = digest.hexdigest()
    return vlm.tower_digest
