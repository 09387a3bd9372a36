"""The models' doors: towers (frames in, embedding out; text in, embedding out) and vision-language
checkpoints.

A tower is an image-text model of open_clip whose frame embeddings are pooled over a clip (mean,
attention, or a small transformer over time), or a native video model of transformers (X-CLIP). All
are :class:`Tower`; :func:`load_tower` takes a folder, a model name or a hub id. Legend of shapes: B
clips, T frames, H height, W width, D embedding.
"""

from sportskills_lib.models.image_text import OpenClipTower, add_logit_bias, add_pooling, new_tower
from sportskills_lib.models.load_tower import load_tower
from sportskills_lib.models.native_video import NativeVideoTower
from sportskills_lib.models.tower import Tower
from sportskills_lib.models.vision_language import QUOTE_LIMIT, load_vision_language, quoted

__all__ = [
    "QUOTE_LIMIT",
    "NativeVideoTower",
    "OpenClipTower",
    "Tower",
    "add_logit_bias",
    "add_pooling",
    "load_tower",
    "load_vision_language",
    "new_tower",
    "quoted",
]
