"""The models' doors: towers (frames in, embedding out; text in, embedding out) and vision-language
checkpoints.

A tower is an image-text model of open_clip whose frame embeddings are pooled over a clip (mean,
attention, or a small transformer over time), or a native video model of transformers (X-CLIP). All
are :class:`Tower`; :func:`load_tower` takes a folder, a model name or a hub id. Legend of shapes: B
clips, T frames, H height, W width, D embedding.
"""

from __future__ import annotations

from pathlib import Path

from sportskills_lib.models import image_text, native_video
from sportskills_lib.models.image_text import OpenClipTower, add_logit_bias, add_pooling, new_tower
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


def load_tower(model: str | Path, *, pretrained: str = "", device: str = "cpu") -> Tower:
    """A tower from a saved folder, from a name or hub id of open_clip, or from a video model of
    transformers.

    ``model``: a folder in open_clip's form (``open_clip_config.json``); a name of open_clip
    (``ViT-B-16``) with a tag of public weights (``pretrained``), or ``hf-hub:owner/name``; a folder
    of transformers (``config.json``) or its hub id (``owner/name``) with an X-CLIP model.
    ValueError when it is none of these.
    """
    import open_clip

    folder, name = Path(model), str(model)
    if (folder / image_text.CONFIG).is_file():
        return image_text.from_folder(folder, device)
    if (folder / "config.json").is_file():
        return native_video.from_pretrained(name, device)
    if name in open_clip.list_models() or name.startswith("hf-hub:"):
        return image_text.from_name(name, pretrained, device)
    if name.count("/") == 1 and not folder.exists() and not name.startswith((".", "/")):
        return native_video.from_pretrained(name, device)
    raise ValueError(
        f"model {name!r} is neither a folder with open_clip_config.json (or config.json of "
        "X-CLIP) nor a model "
        "of open_clip (see `python -c 'import open_clip; print(open_clip.list_models())'`) nor "
        "a hub id"
    )
