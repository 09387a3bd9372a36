"""The small pictures of a page, and what its templates print."""

from __future__ import annotations

import io

import jinja2
import numpy as np
import pytest
from PIL import Image

from sportskills_lib.viewing import markup, previews


def test_animation() -> None:
    clip = np.random.default_rng(0).integers(0, 255, (8, 32, 64, 3), dtype=np.uint8)
    moving = Image.open(io.BytesIO(previews.animation(clip)))
    assert (moving.n_frames, moving.size, moving.info["loop"]) == (8, (64, 32), 0)
    assert Image.open(io.BytesIO(previews.animation(clip, side_px=16))).size == (16, 8)


def test_a_template_prints_text_unless_it_is_markup_already() -> None:
    parts = markup.template("markup.jinja")
    assert 'alt="&quot;&gt;"' in parts.image(b"x", '">')
    page = markup.document("<b>", "<p>body</p>", about="<i>")
    assert "<title>&lt;b&gt;</title>" in page and "<p>body</p>" in page and "<i>" not in page
    with pytest.raises(jinja2.UndefinedError):
        parts.no_film({})
