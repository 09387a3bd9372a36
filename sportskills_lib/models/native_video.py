"""Native video towers: X-CLIP (Ni et al. 2022, arXiv 2208.02816) through transformers, behind the
same interface.

X-CLIP's frames exchange messages in every layer and a small transformer joins them, so that there
are no features of single frames to keep. In classification it also adds to each text a prompt made
from the video, α · P(text, video). We leave that out: then a text has one embedding, not one for
every video, and can be searched with an index. An embedding here is what transformers'
``get_video_features`` and ``get_text_features`` give; the prompt generator is not trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sportskills_lib.models.tower import Tower, as_readable_as

if TYPE_CHECKING:
    import torch


class NativeVideoTower(Tower):
    """An X-CLIP model with its tokenizer and the statistics of its image processor."""

    def __init__(self, model: Any, tokenizer: Any, image_processor: Any, device: str = "cpu"):
        super().__init__(model, tokenizer, _preprocess(image_processor), device)
        self.image_processor = image_processor
        for name, parameter in self.model.named_parameters():
            if name.startswith("prompts_"):  # of the prompt generator, which is not used
                parameter.requires_grad_(False)

    @property
    def width(self) -> int:
        """D, the length of an embedding."""
        return int(self.model.config.projection_dim)

    @property
    def frames(self) -> int:
        """How many frames the model joins; its weights know no other number."""
        return int(self.model.config.vision_config.num_frames)

    def clip_features(
        self, frames_BTHWC: torch.Tensor, time_BT: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Normalised clip embeddings [B, D], with gradients, of uint8 frames.

        Of T frames the model sees those nearest to the middles of its own number of equal spans of
        the clip: some twice where T is smaller, not all where it is larger.
        """
        import torch

        chosen = frames_BTHWC[
            torch.arange(len(frames_BTHWC))[:, None], self._frame_choice(frames_BTHWC, time_BT)
        ]
        pixels = self.pixels(chosen)
        features = self.model.get_video_features(
            pixels.view(-1, self.frames, *pixels.shape[1:])
        ).pooler_output
        return torch.nn.functional.normalize(features.float(), dim=-1)

    def _frame_choice(
        self, frames_BTHWC: torch.Tensor, time_BT: torch.Tensor | None
    ) -> torch.Tensor:
        """Which frames are seen: [B, frames]."""
        import torch

        B, T = frames_BTHWC.shape[:2]
        if time_BT is None:
            time_BT = ((torch.arange(T) + 0.5) / T).expand(B, T)
        wanted = (torch.arange(self.frames) + 0.5) / self.frames
        return (time_BT.cpu().float()[:, None] - wanted[None, :, None]).abs().argmin(2)

    def text_features(self, texts: list[str]) -> torch.Tensor:
        """Normalised text embeddings [B, D], with gradients; texts longer than the model reads are
        cut.
        """
        import torch

        limit = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, max_length=limit, return_tensors="pt"
        )
        features = self.model.get_text_features(
            input_ids=tokens["input_ids"].to(self.device),
            attention_mask=tokens["attention_mask"].to(self.device),
        ).pooler_output
        return torch.nn.functional.normalize(features.float(), dim=-1)

    def save(self, folder: str | Path) -> None:
        """Write transformers' folder form: safetensors, config, tokenizer and image processor.

        A ``logit_bias``, which transformers' X-CLIP has not, is a number in the config.
        """
        state = self.model.state_dict()
        if (bias := state.pop("logit_bias", None)) is not None:
            self.model.config.logit_bias = float(bias)
        self.model.save_pretrained(folder, state_dict=state)
        self.tokenizer.save_pretrained(folder)
        self.image_processor.save_pretrained(folder)
        as_readable_as(Path(folder) / "config.json")


def _preprocess(processor: Any) -> dict[str, Any]:
    """An image processor's settings in open_clip's words."""
    size = processor.crop_size if processor.do_center_crop else processor.size
    edge = size.get("shortest_edge")
    return {
        "size": [size.get("height", edge), size.get("width", edge)],
        "mean": list(processor.image_mean),
        "std": list(processor.image_std),
        "interpolation": "bilinear" if int(processor.resample) == 2 else "bicubic",
        "resize_mode": "shortest" if processor.do_center_crop else "squash",
    }


def from_pretrained(name: str, device: str) -> NativeVideoTower:
    """A tower from a folder of transformers or a hub id: safetensors only, no code from the
    checkpoint.

    ValueError when it is not there, has no safetensors or is no X-CLIP model.
    """
    import torch
    from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer, XCLIPModel

    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        if config.model_type != "xclip":
            raise ValueError(
                f"{name} is a {config.model_type} model; towers are X-CLIP (xclip) or any of "
                "open_clip, which has most "
                "image-text models under a name of its own"
            )
        model = XCLIPModel.from_pretrained(
            name, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        processor = AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
    except OSError as error:
        raise ValueError(
            f"model {name!r} is neither a folder with open_clip_config.json or X-CLIP's files, "
            "nor a model of "
            f"open_clip, nor a hub id that could be fetched as safetensors ({error})"
        ) from error
    if (bias := getattr(config, "logit_bias", None)) is not None:
        model.logit_bias = torch.nn.Parameter(torch.tensor(bias))
    return NativeVideoTower(model.eval(), tokenizer, processor, device)
