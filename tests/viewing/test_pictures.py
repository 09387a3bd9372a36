"""The small pictures of a page."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from sportskills_lib.viewing import markup, pictures


def test_animation_and_strip():
    clip = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
    moving = Image.open(io.BytesIO(pictures.animation(clip, frames_per_s=4)))
    assert (moving.n_frames, moving.size, moving.info["loop"]) == (8, (32, 32), 0)
    assert Image.open(io.BytesIO(pictures.strip(clip, moments=3))).size == (96, 32)
    assert 'alt="&quot;&gt;"' in markup.image_tag(b"x", alt='">')
