"""One door to every tower."""

from __future__ import annotations

from pathlib import Path

from sportskills_lib.models import image_text, native_video
from sportskills_lib.models.tower import Tower


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
