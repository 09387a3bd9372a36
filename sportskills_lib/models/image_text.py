"""Image towers: any model of open_clip, its frames encoded one by one and pooled.

Kept in open_clip's own folder form (``open_clip_config.json``, ``open_clip_model.safetensors``, a
tokenizer's files where it has any), so that open_clip loads our towers and we load any that
open_clip has. A pooling's weights are beside them in ``pooling.safetensors`` and its settings under
``pooling_cfg``, which open_clip does not read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sportskills_lib.formats.files import write_whole
from sportskills_lib.models.pooling import new_pooling, pooled
from sportskills_lib.models.tower import Tower, as_readable_as

if TYPE_CHECKING:
    import torch

CONFIG, WEIGHTS, POOLING = (
    "open_clip_config.json",
    "open_clip_model.safetensors",
    "pooling.safetensors",
)
SHORT = 32  # positions of a text network that are not worth cutting
HF_TEXT = "hf_text"  # the config of a text network that comes from transformers


class OpenClipTower(Tower):
    """An open_clip model with a pooling over frames. ``config`` is open_clip's: model_cfg,
    preprocess_cfg.
    """

    def __init__(self, model: Any, tokenizer: Any, config: dict[str, Any], device: str = "cpu"):
        from dataclasses import asdict

        from open_clip.transform import PreprocessCfg, merge_preprocess_dict

        given = {"size": model.visual.image_size} | config["preprocess_cfg"]
        super().__init__(
            model, tokenizer, merge_preprocess_dict(asdict(PreprocessCfg()), given), device
        )
        self.config = config

    @property
    def width(self) -> int:
        """D, the length of an embedding."""
        return int(self.config["model_cfg"]["embed_dim"])

    def frame_features(self, frames_BTHWC: torch.Tensor) -> torch.Tensor:
        """Features of single frames [B, T, D], with gradients, not normalised."""
        B, T = frames_BTHWC.shape[:2]
        return _first(self.model.encode_image(self.pixels(frames_BTHWC))).float().view(B, T, -1)

    def pool(self, frame_BTD: torch.Tensor, time_BT: torch.Tensor | None = None) -> torch.Tensor:
        """Normalised clip embeddings [B, D] from features of frames; see
        :func:`.pooling.pooled`.
        """
        kind = self.config.get("pooling_cfg", {}).get("kind", "mean")
        return pooled(frame_BTD, kind, getattr(self.model, "pooling", None), time_BT)

    def text_features(self, texts: list[str]) -> torch.Tensor:
        """Normalised text embeddings [B, D], with gradients."""
        import torch

        features = _text_features(self.model, self.tokenizer(texts), self.device)
        return torch.nn.functional.normalize(features.float(), dim=-1)

    def save(self, folder: str | Path) -> None:
        """Write open_clip's folder form, the pooling beside it; the config last."""
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            name: value.detach().cpu().contiguous()
            for name, value in self.model.state_dict().items()
        }
        own = {
            name.removeprefix("pooling."): state.pop(name)
            for name in list(state)
            if name.startswith("pooling.")
        }
        save_file(state, folder / WEIGHTS)
        (folder / POOLING).unlink(missing_ok=True)
        if own:
            save_file(own, folder / POOLING)
        if hasattr(self.tokenizer, "save_pretrained"):
            self.tokenizer.save_pretrained(str(folder))
        if hf_config := getattr(getattr(self.model, "text", None), "config", None):
            hf_config.save_pretrained(folder / HF_TEXT)
        bias = (
            {"init_logit_bias": float(state["logit_bias"])} if "logit_bias" in state else {}
        )  # so open_clip has one
        config = self.config | {"model_cfg": bias | self.config["model_cfg"]}
        write_whole(folder / CONFIG, json.dumps(config, indent=2) + "\n")
        as_readable_as(folder / CONFIG)


def _text_features(model: Any, tokens_BL: torch.Tensor, device: str) -> torch.Tensor:
    """Features [B, D] as ``encode_text`` gives them, from no more positions than the longest text
    of the batch has.

    open_clip pads to the context length: 77 positions for sentences of a dozen tokens. Where each
    token sees only those before it and the last one's features are the text's, padding behind it
    changes nothing beyond rounding. A context of up to ``SHORT`` is kept whole: there the padding
    costs a few percent of a step (the demo's 24: 4 %).
    """
    import torch

    part = getattr(model, "text", model)
    pool = getattr(part, "pool_type", None) or getattr(part, "text_pool_type", None)
    causal = getattr(part, "attn_mask", None) is not None and getattr(part, "cls_emb", None) is None
    if pool != "argmax" or not causal or tokens_BL.shape[1] <= SHORT:
        return _first(model.encode_text(tokens_BL.to(device)))
    last_B = tokens_BL.argmax(1)  # the end of a text has the highest number
    length = int(last_B.max()) + 1
    x_BLD = (
        part.token_embedding(tokens_BL[:, :length].to(device)) + part.positional_embedding[:length]
    )
    x_BLD = part.transformer(x_BLD, attn_mask=part.attn_mask[:length, :length])
    x_BD = part.ln_final(x_BLD[torch.arange(len(x_BLD), device=device), last_B.to(device)])
    projection = part.text_projection
    if projection is None:
        return x_BD
    return projection(x_BD) if isinstance(projection, torch.nn.Module) else x_BD @ projection


def _first(features: Any) -> torch.Tensor:
    """The pooled features, of models that also return tokens."""
    return features[0] if isinstance(features, tuple) else features


def add_pooling(
    tower: Tower, kind: str, *, layers: int = 1, heads: int = 4, max_frames: int = 32, seed: int = 0
) -> None:
    """Give an image tower a pooling over time (:data:`pooling.POOLINGS`); "mean": nothing is added.

    attention needs none of the numbers. temporal: ``layers`` transformer layers of ``heads`` heads,
    for clips of up to ``max_frames`` frames; its weights are drawn by ``seed``. ValueError for a
    tower that has its own way to join frames: a pooling already, or a native video model.
    """
    if kind == "mean":
        return
    if not isinstance(tower, OpenClipTower) or hasattr(tower.model, "pooling"):
        raise ValueError(f"pooling={kind!r}: this tower already has its own way to join frames")
    settings = {"layers": layers, "heads": heads, "max_frames": max_frames}
    tower.model.pooling = new_pooling(tower.width, kind, settings, seed=seed).to(tower.device)
    tower.config = tower.config | {"pooling_cfg": {"kind": kind} | settings}


def add_logit_bias(tower: Tower, *, value: float = -10.0) -> None:
    """Give a tower without one the bias that a sigmoid loss learns (SigLIP starts it at -10); it is
    saved with it.
    """
    import torch

    if getattr(tower.model, "logit_bias", None) is None:
        tower.model.logit_bias = torch.nn.Parameter(torch.tensor(value, device=tower.device))


def new_tower(
    config: dict[str, Any], *, seed: int | None = None, device: str = "cpu"
) -> OpenClipTower:
    """An untrained tower from open_clip's own config form (``model_cfg``, ``preprocess_cfg``, our
    ``pooling_cfg``).
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        network = _network(config["model_cfg"])
    tower = OpenClipTower(network, _tokenizer(config["model_cfg"]["text_cfg"]), config, device)
    if "pooling_cfg" in config:
        add_pooling(tower, **config["pooling_cfg"])
    return tower


def _network(model_cfg: dict[str, Any], *, hf_text: Path | None = None) -> Any:
    """The network without weights, of the class that open_clip's factory would choose; nothing is
    fetched.
    """
    from open_clip import CLIP, CoCa, CustomTextCLIP

    cfg = json.loads(json.dumps(model_cfg))  # a copy
    custom = cfg.pop("custom_text", False) or "hf_model_name" in cfg["text_cfg"]
    if "timm_model_name" in cfg["vision_cfg"]:
        cfg["vision_cfg"]["timm_model_pretrained"] = False
    if "hf_model_name" in cfg["text_cfg"]:
        cfg["text_cfg"]["hf_model_pretrained"] = False
        if hf_text:
            cfg["text_cfg"]["hf_model_name"] = str(hf_text)
    network = CoCa if "multimodal_cfg" in cfg else CustomTextCLIP if custom else CLIP
    return network(**cfg)


def _tokenizer(text_cfg: dict[str, Any], folder: Path | None = None) -> Any:
    """The tokenizer that open_clip's factory would choose; a saved folder has its files."""
    from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer, SimpleTokenizer

    length = text_cfg.get("context_length", DEFAULT_CONTEXT_LENGTH)
    options = text_cfg.get("tokenizer_kwargs") or {}
    name = text_cfg.get("hf_tokenizer_name")
    if not name:
        return SimpleTokenizer(context_length=length, **options)
    try:
        source = str(folder) if folder else name
        return HFTokenizer(
            source, context_length=length, tokenizer_mode=text_cfg.get("tokenizer_mode"), **options
        )
    except OSError as error:
        raise ValueError(
            f"tokenizer {source!r} is neither here nor could it be fetched ({error}): load the "
            "model once with a "
            "network and save the tower, whose folder then holds the tokenizer"
        ) from error


def from_folder(folder: Path, device: str) -> OpenClipTower:
    """A tower from a folder in open_clip's form. ValueError when its weights are not there as
    safetensors.
    """
    from safetensors.torch import load_file

    if not (folder / WEIGHTS).is_file():
        raise ValueError(
            f"{folder} has {CONFIG} but no {WEIGHTS}: other forms of weights are not loaded"
        )
    config = json.loads((folder / CONFIG).read_text())
    hf_text = folder / HF_TEXT
    network = _network(config["model_cfg"], hf_text=hf_text if hf_text.is_dir() else None)
    network.load_state_dict(load_file(folder / WEIGHTS))
    has_files = (folder / "tokenizer_config.json").is_file()
    tower = OpenClipTower(
        network,
        _tokenizer(config["model_cfg"]["text_cfg"], folder if has_files else None),
        config,
        device,
    )
    if "pooling_cfg" in config:
        add_pooling(tower, **config["pooling_cfg"])
        weights = folder / POOLING  # missing where the pooling learns nothing
        tower.model.pooling.load_state_dict(load_file(weights) if weights.is_file() else {})
    return tower


def from_name(name: str, pretrained: str, device: str) -> OpenClipTower:
    """A tower from a name that open_clip knows and a tag of public weights, or from
    ``hf-hub:owner/name``.

    The activation follows the weights: OpenAI's were trained with QuickGELU, under model names that
    say GELU, and open_clip only warns of that. ValueError for an unknown tag, or when weights
    cannot be fetched.
    """
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained and pretrained not in tags and not Path(pretrained).is_file():
        raise ValueError(
            f"open_clip has no weights {pretrained!r} of {name}; it has {', '.join(tags) or 'none'}"
        )
    quick = bool(get_pretrained_cfg(name, pretrained).get("quick_gelu")) if pretrained else False
    try:
        network = open_clip.create_model(
            name, pretrained=pretrained or None, force_quick_gelu=quick, pretrained_text=False
        )
        tokenizer = open_clip.get_tokenizer(name)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"open_clip could not make {name} with weights {pretrained or 'of its own'!r} "
            f"({error}): the first "
            "load needs a network; or save the tower elsewhere and name its folder"
        ) from error
    model_cfg = open_clip.get_model_config(name) | ({"quick_gelu": True} if quick else {})
    preprocess = {
        key: list(v) if isinstance(v, tuple) else v
        for key, v in network.visual.preprocess_cfg.items()
    }
    return OpenClipTower(
        network, tokenizer, {"model_cfg": model_cfg, "preprocess_cfg": preprocess}, device
    )
