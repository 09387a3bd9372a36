"""The stand-in for a public image-text checkpoint: a small open_clip model that knows bodies and plain words.

It is trained on generic motions alone (:mod:`.generic`), by two losses: captions against clips, and where the joints
are in each frame, as a public encoder has seen millions of people. Without the second, a contrastive model this small
sits at ln B for minutes. No sport, no skill and no fault of the study is in it. Size and recipe are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sportskills_lib.demo.generic import caption, make_scenes, minimise

# open_clip's ModifiedResNet learns poses faster, for its cost on a CPU, than a ViT with patches of 16 or timm's smallest.
CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 128,
        "vision_cfg": {"layers": [1, 1, 1, 1], "width": 12, "image_size": 64, "head_width": 32},
        "text_cfg": {
            "context_length": 24,
            "vocab_size": 49408,
            "width": 128,
            "heads": 4,
            "layers": 2,
        },
    },
    "preprocess_cfg": {"mean": [0.55, 0.55, 0.55], "std": [0.2, 0.2, 0.2]},
}
# Frames [B, T, H, W, 3] → features of frames [B * T, width] and of clips [B, D].
Features = Callable[[Any], tuple[Any, Any]]
JOINT_SCALE = 0.1  # joints are predicted as offsets from their mean, in tenths of the frame


def make_base_clip(
    folder: Path, *, steps: int = 450, corpus: int = 3000, batch: int = 64, seed: int = 0
) -> Path:
    """Train the base model and save it in open_clip's folder form. The same seed gives the same weights.

    ``steps`` of ``batch`` clips with two frames each, out of ``corpus`` rendered movements.
    """
    from sportskills_lib import models

    tower = models.new_tower(CONFIG, seed=seed)

    def features(frames_BTHWC: Any) -> tuple[Any, Any]:
        frame_BTD = tower.frame_features(frames_BTHWC)
        return frame_BTD.flatten(0, 1), tower.pool(frame_BTD)

    return train_base(
        folder, tower, features, name="base_clip", frames=2, width=tower.width, peak=2e-3,
        steps=steps, corpus=corpus, batch=batch, seed=seed,
    )  # fmt: skip


def train_base(
    folder: Path,
    tower: Any,
    features: Features,
    *,
    name: str,
    frames: int,
    width: int,
    steps: int,
    corpus: int,
    batch: int,
    seed: int,
    peak: float,
) -> Path:
    """Train a stand-in on generic motions and save it; ``features`` of frames have ``width``. The learning rate rises
    to ``peak`` and falls as a cosine does.

    The loss: captions against clips, plus ten times the joints' error, on ``frames`` random frames of each movement.
    """
    import torch

    from sportskills_lib.encoder.losses import info_nce

    rng = np.random.default_rng([seed, 23])
    size_px = CONFIG["model_cfg"]["vision_cfg"]["image_size"]
    pictures, joints, states = make_scenes(corpus, rng, size_px=size_px)
    offsets = (joints - joints.mean((0, 1))) / JOINT_SCALE
    torch.manual_seed(seed)
    head = torch.nn.Linear(width, joints[0, 0].size)
    parameters = [*(p for p in tower.model.parameters() if p.requires_grad), *head.parameters()]
    tower.model.train()

    def rate(step: int) -> float:
        return peak * min(1.0, (step + 1) / 30) * 0.5 * (1 + np.cos(np.pi * step / steps))

    def loss_of() -> Any:
        rows = rng.choice(corpus, batch, replace=False)
        chosen = [rng.choice(pictures.shape[1], frames, replace=False) for _ in rows]
        at = rows[:, None], np.sort(np.stack(chosen), axis=1)
        texts = [
            caption(rng.permutation(states[row])[: int(rng.integers(1, 3))].tolist(), rng)
            for row in rows
        ]
        frame_features, clip_BD = features(torch.from_numpy(pictures[at]))
        wanted = torch.from_numpy(offsets[at]).reshape(len(frame_features), -1)
        pose = torch.nn.functional.smooth_l1_loss(head(frame_features), wanted)
        group_B = torch.from_numpy(np.unique(texts, return_inverse=True)[1])
        scale = tower.model.logit_scale.exp().clamp(max=100)
        return info_nce(clip_BD, tower.text_features(texts), scale, group_B) + 10 * pose

    minimise(loss_of, parameters, steps=steps, rate=rate, name=name, fused=True)
    tower.save(folder)
    return folder
