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

from sportskills_lib.demo.generic import Scenes, caption, make_scenes, minimise

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
Features = Callable[
    [Any], tuple[Any, Any]
]  # frames [B, T, H, W, 3] → of frames [B * T, width], of clips [B, D]
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

    train_base(
        tower, features, name="base_clip", frames=2, width=tower.width, peak=2e-3,
        steps=steps, corpus=corpus, batch=batch, seed=seed,
    )  # fmt: skip
    tower.save(folder)
    return folder


def train_base(
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
) -> None:
    """Train a stand-in on generic motions, ``frames`` random frames a clip; ``features`` of
    frames have ``width``. The learning rate rises to ``peak`` and falls as a cosine does.
    """
    import torch

    rng = np.random.default_rng([seed, 23])
    scenes = make_scenes(corpus, rng, size_px=CONFIG["model_cfg"]["vision_cfg"]["image_size"])
    torch.manual_seed(seed)
    head = torch.nn.Linear(width, scenes.joints[0, 0].size)
    parameters = [*(p for p in tower.model.parameters() if p.requires_grad), *head.parameters()]
    tower.model.train()

    def rate(step: int) -> float:
        return peak * min(1.0, (step + 1) / 30) * 0.5 * (1 + np.cos(np.pi * step / steps))

    def loss_of() -> Any:
        rows = rng.choice(corpus, batch, replace=False)
        return _loss(tower, features, head, scenes, rows, frames, rng)

    minimise(loss_of, parameters, steps=steps, rate=rate, name=name, fused=True)


def _loss(
    tower: Any,
    features: Features,
    head: Any,
    scenes: Scenes,
    rows: np.ndarray,
    frames: int,
    rng: np.random.Generator,
) -> Any:
    """Captions against clips, plus ten times the joints' error, on some random frames of each
    row's movement.
    """
    import torch
    import torch.nn.functional as F

    from sportskills_lib.encoder.losses import info_nce

    pictures, joints, states = scenes
    moments = np.sort(
        np.stack([rng.choice(pictures.shape[1], frames, replace=False) for _ in rows]), axis=1
    )
    frames_BTHWC = torch.from_numpy(pictures[rows[:, None], moments])
    wanted = (joints[rows[:, None], moments] - joints.mean((0, 1))) / JOINT_SCALE
    texts = [
        caption([str(s) for s in rng.permutation(states[i])[: int(rng.integers(1, 3))]], rng)
        for i in rows
    ]
    frame_features, clip_BD = features(frames_BTHWC)
    pose = F.smooth_l1_loss(
        head(frame_features), torch.from_numpy(wanted).reshape(len(frame_features), -1)
    )
    group_B = torch.from_numpy(np.unique(texts, return_inverse=True)[1])
    scale = tower.model.logit_scale.exp().clamp(max=100)
    return info_nce(clip_BD, tower.text_features(texts), scale, group_B) + 10 * pose
