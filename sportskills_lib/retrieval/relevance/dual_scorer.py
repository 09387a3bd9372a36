"""The dual scorer: one vector of a learner's video, one of a clip, and their inner product says how
much the clip helps.

A learner's vector is read off the visual tokens of the video and, where there is one, off its
vector by the video encoder of 03, which knows movements that the vision tower was never taught. A
clip's is read off its visual tokens and off what its coach says. Beside these stand words: what was
said of training mistakes that look like the learner's (:mod:`known_mistakes`), and the clip's own.
Each is computed once, so that a whole library is searched for a learner without running the
language model at all. What a coach says is its words' mean input embedding beside their mean last
state: the states of a small model hardly tell words apart (a linear probe for the cue in the demo
world: 0.95 from embeddings, 0.24 from last states).

Legend: N videos or texts, K visual tokens of a video, D width of a token, E width of the encoder's
vector, W width of a vector's half, S width of a text state, R width of words; a
whole vector has D = 2 W + R.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sportskills_lib.models import quoted

if TYPE_CHECKING:
    import torch

    from sportskills_lib.retrieval.relevance.model import VisionLanguageModel

WIDTH, TOKEN_WIDTH = 128, 64  # of half a vector, and of a visual token within a head
HIDDEN = 256  # of the reader of the encoder's vectors
FILE = "head.safetensors"
SCALE = 10.0  # of a cosine at the start, as in CLIP
TEXTS_A_PASS = 256


def new_head(
    visual_NKD: torch.Tensor, text_width: int, encoder_width: int, *, words: bool, seed: int
) -> torch.nn.ModuleDict:
    """The weights that make vectors of states, drawn by ``seed``; ``encoder_width`` 0: without an
    encoder; ``words``: whether words stand beside them.
    """
    import torch

    K, D = visual_NKD.shape[1:]

    def reader(width: int) -> torch.nn.Sequential:  # places stay apart until the last layer
        return torch.nn.Sequential(
            torch.nn.LayerNorm(D),
            torch.nn.Linear(D, TOKEN_WIDTH),
            torch.nn.GELU(),
            torch.nn.Flatten(1),
            torch.nn.Linear(K * TOKEN_WIDTH, width),
        )

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: Any = {
            "learner": reader(2 * WIDTH),
            "clip": reader(WIDTH),
            "text": torch.nn.Linear(text_width, WIDTH),
            "scale": torch.nn.ParameterDict({"log": torch.full((2, 1), SCALE).log()}),
        }
        if words:
            parts["scale"]["words"] = torch.tensor(SCALE).log()
        if encoder_width:
            parts["encoder"] = torch.nn.Sequential(
                torch.nn.LayerNorm(encoder_width),
                torch.nn.Linear(encoder_width, HIDDEN),
                torch.nn.GELU(),
                torch.nn.Linear(HIDDEN, 2 * WIDTH),
            )
    return torch.nn.ModuleDict(parts).to(visual_NKD.device)


def start_text_reader(head: Any, state_NS: torch.Tensor) -> None:
    """Let the head's reader of texts begin as the whitened principal components of these states:
    what all texts share (a sport's words, a frame of speech) then hides no cue.
    """
    import torch

    with torch.no_grad():
        mean_S = state_NS.mean(0)
        _, spread_W, parts_WS = torch.linalg.svd(state_NS - mean_S, full_matrices=False)
        deviation_W = spread_W[:WIDTH, None] / len(state_NS) ** 0.5
        weight_WS = parts_WS[:WIDTH] / (deviation_W + 0.05) / WIDTH**0.5
        head["text"].weight.zero_()[: len(weight_WS)] = weight_WS
        head["text"].bias.zero_()[: len(weight_WS)] = -weight_WS @ mean_S


def learner_vectors(
    head: Any,
    visual_NKD: torch.Tensor,
    encoder_NE: torch.Tensor | None,
    lent_NR: torch.Tensor | None = None,
) -> torch.Tensor:
    """float [N, D]: what is to be said to each learner, what is to be shown, and the words lent."""
    import torch

    read_ND = head["learner"](visual_NKD.float())
    if "encoder" in head:
        read_ND = read_ND + head["encoder"](encoder_NE)
    halves_N2W = read_ND.unflatten(1, (2, WIDTH))
    scaled_N2W = torch.nn.functional.normalize(halves_N2W, dim=-1) * head["scale"]["log"].exp()
    if lent_NR is None:
        return scaled_N2W.flatten(1)
    return torch.cat([scaled_N2W.flatten(1), lent_NR * head["scale"]["words"].exp()], 1)


def search_vectors(
    head: Any,
    visual_NKD: torch.Tensor,
    encoder_NE: torch.Tensor | None,
    lent_NR: torch.Tensor | None = None,
) -> np.ndarray:
    """float32 [N, D + 1]: learners' vectors and a 1 for what a clip is worth to every learner, as
    the index of a library has it.
    """
    import torch

    with torch.no_grad():
        vector_ND = learner_vectors(head, visual_NKD, encoder_NE, lent_NR)
    return torch.nn.functional.pad(vector_ND, (0, 1), value=1.0).cpu().numpy()


def save_head(head: Any, folder: Path) -> None:
    """Write the weights as ``head.safetensors``."""
    from safetensors.torch import save_file

    save_file({name: value.cpu() for name, value in head.state_dict().items()}, folder / FILE)


def load_head(folder: Path, visual_NKD: torch.Tensor) -> torch.nn.ModuleDict:
    """What :func:`save_head` wrote, for such visual tokens; ValueError for others."""
    from safetensors.torch import load_file

    weights = load_file(folder / FILE)
    norm_E = weights.get("encoder.0.weight", ())
    widths, words = (weights["text.weight"].shape[1], len(norm_E)), "scale.words" in weights
    head = new_head(visual_NKD, *widths, words=words, seed=0)
    try:
        head.load_state_dict(weights)
    except RuntimeError:
        raise ValueError(
            f"{folder / FILE} was made for videos of another size: give frames as 04 was given"
        ) from None
    return head.to(visual_NKD.device)


def clip_vectors(
    head: Any, visual_NKD: torch.Tensor, state_NS: torch.Tensor, words_NR: torch.Tensor | None
) -> torch.Tensor:
    """float [N, D]: what is said over each clip, what it shows, and its words."""
    import torch

    shown_NW = torch.nn.functional.normalize(head["clip"](visual_NKD.float()), dim=-1)
    words = [] if words_NR is None else [words_NR]
    return torch.cat([text_vectors(head, state_NS), shown_NW, *words], 1)


def text_vectors(head: Any, state_NS: torch.Tensor) -> torch.Tensor:
    """float [N, W] of length 1: the same space for what coaches and what experts say."""
    import torch

    return torch.nn.functional.normalize(head["text"](state_NS.float()), dim=-1)


def text_states(vlm: VisionLanguageModel, texts: Sequence[str]) -> torch.Tensor:
    """float [N, S]: the means over each text's tokens of the input embeddings and of the language
    model's last states, each standardised. Gradients flow to adapters.
    """
    import torch

    tokenizer, parts = vlm.processor.tokenizer, list[torch.Tensor]()
    inner, table = vlm.stock.model, vlm.stock.model.get_input_embeddings()
    for start in range(0, len(texts), TEXTS_A_PASS):
        said = [quoted(text) or " " for text in texts[start : start + TEXTS_A_PASS]]
        words = tokenizer(said, padding=True, padding_side="right", return_tensors="pt")
        words = words.to(vlm.device)
        embed_NLD, length = table(words["input_ids"]), words["input_ids"].shape[1]
        places = torch.arange(length, device=vlm.device).expand(3, len(said), length)
        last_NLD = inner.language_model(
            inputs_embeds=embed_NLD, position_ids=places, use_cache=False
        ).last_hidden_state
        real_NL1 = words["attention_mask"][..., None].float()
        sums = [(part.float() * real_NL1).sum(1) for part in (embed_NLD, last_NLD)]
        parts.append(
            torch.cat([torch.nn.functional.layer_norm(one, one.shape[1:]) for one in sums], -1)
        )
    return torch.cat(parts)
