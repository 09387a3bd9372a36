"""A small Qwen2.5-VL, built and first trained here: it stands in for the public checkpoint.

It is the public architecture (stock classes, byte-level tokenizer, chat template, processor), saved in the public
layout and loaded by the same code, only small. Its first training is on generic motions. First the vision tower learns
where the joints are (a head that is thrown away reads them off the visual tokens); then, with the tower fixed, the
language model learns to say what a person does, which of two sentences describes a person, and who of a list moves
alike. It sees no sport, skill, learner or fault of the study, and no question about help.
Deterministic under a seed (one thread).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sportskills_lib.demo import generic
from sportskills_lib.demo.generic import Scenes
from sportskills_lib.demo.phrases import ADVICE, COMMENTS, MISTAKES, TIPS
from sportskills_lib.models import quoted
from sportskills_lib.retrieval.relevance import model as relevance_model
from sportskills_lib.retrieval.relevance.model import VisionLanguageModel
from sportskills_lib.retrieval.relevance.prefix_sharing import (
    Row,
    Segment,
    hidden_states,
    pack,
    shared_rows,
)
from sportskills_lib.retrieval.relevance.visual_tokens import Grid

if TYPE_CHECKING:
    import torch

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WATCH = "Watch:"
WHAT = "What does the person do?"
DESCRIBES = "Does this describe the person?"
SAME = "Do both move alike?"
PAIRS = 2  # of sentences, one true and one not, that a scene is asked about
Question = tuple[str, str, tuple[int, ...]]  # question, answer, other scenes shown
STEPS = 4  # pairs of frames of a scene: the model sees frames in pairs
LANGUAGE_BATCH, ALIKE = 16, 8  # scenes of a step; people in a list that is asked about
PEAK_RATE = 2e-3


@dataclass(frozen=True)
class Recipe:
    """How large the stand-in is and how long it learns. All values are ours, chosen to take
    about 100 s on one core.
    """

    scenes: int = 5000
    vision_steps: int = 280
    language_steps: int = 200
    batch: int = 32
    size_px: int = 64
    width: int = 128
    layers: int = 3
    vision_width: int = 48
    vision_layers: int = 3
    patch_px: int = 8
    merge: int = 4
    vocabulary: int = 1200


def build_tokenizer(texts: Sequence[str], *, vocabulary: int) -> Any:
    """A byte-level tokenizer like Qwen's: every text can be written; frequent words are one
    token.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    answers = ["yes", "no"] * len(texts)  # so that each is one token
    tokenizer.train_from_iterator([*texts, *answers], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL[3:]),
        clean_up_tokenization_spaces=False,
        padding_side="right",
    )


def build_model(tokenizer: Any, recipe: Recipe) -> VisionLanguageModel:
    """An untrained Qwen2.5-VL of a few million weights, with its processor. Weights come from
    torch's generator.
    """
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": recipe.width,
            "intermediate_size": 3 * recipe.width,
            "num_hidden_layers": recipe.layers,
            "num_attention_heads": recipe.width // 32,
            "num_key_value_heads": recipe.width // 32,
            # The public 0.02 suits wide models; narrow ones hardly start.
            "initializer_range": recipe.width**-0.5,
            "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [6, 5, 5],
            },
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": recipe.vision_layers,
            "hidden_size": recipe.vision_width,
            "intermediate_size": 3 * recipe.vision_width,
            "num_heads": recipe.vision_width // 32,
            "initializer_range": 0.5 * recipe.vision_width**-0.5,
            "patch_size": recipe.patch_px,
            "spatial_merge_size": recipe.merge,
            "window_size": recipe.size_px,  # one window: every layer sees the whole frame
            "out_hidden_size": recipe.width,
            "fullatt_block_indexes": list(range(recipe.vision_layers)),
            "tokens_per_second": 2,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    model = Qwen2_5_VLForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    return relevance_model.wrap(model, _processor(tokenizer, recipe))


def _processor(tokenizer: Any, recipe: Recipe) -> Any:
    """What turns frames and text into the model's inputs: patches of the recipe's size, no
    sampling of its own.
    """
    from transformers import Qwen2_5_VLProcessor
    from transformers.models.qwen2_vl import Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    pixels = {
        "shortest_edge": (recipe.merge * recipe.patch_px) ** 2,
        "longest_edge": max(recipe.size_px, recipe.merge * recipe.patch_px) ** 2,
    }
    patches: dict[str, Any] = {
        "patch_size": recipe.patch_px,
        "temporal_patch_size": 2,
        "merge_size": recipe.merge,
        "size": pixels,
    }
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**patches),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**patches, do_sample_frames=False),
        chat_template=CHAT_TEMPLATE,
    )


# ------------------------------------------------------------------------------------------------------ questions


class Questions:
    """Prompts about one or two scenes, cut after the first video so that all questions share it."""

    def __init__(self, vlm: VisionLanguageModel, grid: Grid):
        self.vlm, self.grid = vlm, grid
        self._ask = lru_cache(maxsize=None)(self._cut)

    def _cut(self, text: str, answer: str, videos: int) -> tuple[Segment, Segment]:
        shown = [{"type": "text", "text": WATCH}, *[{"type": "video"}] * videos]
        messages = [{"role": "user", "content": [*shown, {"type": "text", "text": text}]}]
        return self.vlm.split_prompt(messages, self.grid, after=1, answer=answer)

    def rows(self, asked: list[Question], scene: int) -> list[Row]:
        """A scene's prefix and its questions, a few to a row."""
        cut = [(self._ask(text, answer, 1 + len(others)), others) for text, answer, others in asked]
        return shared_rows(
            [
                (replace(prefix, videos=(scene,)), replace(suffix, videos=others))
                for (prefix, suffix), others in cut
            ]
        )


def draw_questions(
    states: list[list[str]], scene: int, rng: np.random.Generator, *, alike: int = 8
) -> list[Question]:
    """A caption to write, sentences to judge in pairs (one true, one not), and a list of people to compare.

    The first of the list moves alike, the others do not.
    """
    held = states[scene]
    found: list[Question] = [(WHAT, generic.caption(held[:2], rng), ())]
    for _ in range(PAIRS):
        state = held[int(rng.integers(len(held)))]
        rivals = [rival for rival in generic.group_of(state) if rival != state]
        for said, answer in ((state, "yes"), (str(rng.choice(rivals)), "no")):
            found.append((f'"{quoted(generic.describe(said, rng))}" {DESCRIBES}', answer, ()))
    twin = scene ^ 1
    places = rng.integers(0, len(states) // 2 - 1, alike - 1) * 2 + rng.integers(0, 2, alike - 1)
    others = [int(place) if place < min(scene, twin) else int(place) + 2 for place in places]
    return [*found, (SAME, "yes", (twin,)), *[(SAME, "no", (other,)) for other in others]]


# ------------------------------------------------------------------------------------------------------ training


def _learn(
    loss_of: Callable[[], torch.Tensor], parameters: list[Any], steps: int, **more: Any
) -> None:
    """Minimise at a rate that rises quickly and falls in a straight line."""
    warm = max(1, min(30, steps // 4))

    def rate(step: int) -> float:
        return PEAK_RATE * (min(1.0, (step + 1) / warm) * max(0.05, 1 - step / steps))

    generic.minimise(loss_of, parameters, steps=steps, rate=rate, name="base_vlm", **more)


def train_vision(
    vlm: VisionLanguageModel, scenes: Scenes, recipe: Recipe, rng: np.random.Generator
) -> None:
    """Teach the tower to see poses. The heads that read joints and states are thrown away.

    The joints' places are averaged over pairs of frames, as the model sees them, and standardised.
    """
    import torch

    grid = vlm.grid(scenes.frames.shape[1:])
    labels = torch.from_numpy(_state_labels(scenes.states))
    joints = scenes.joints.reshape(len(scenes.joints), STEPS, -1, scenes.joints[0, 0].size).mean(2)
    flat = joints.reshape(-1, joints.shape[-1])
    targets = torch.from_numpy((joints - flat.mean(0)) / (flat.std(0) + 1e-3))
    kept = grid[0] * grid[1] * grid[2] // recipe.merge**2 // STEPS * recipe.width
    places = torch.nn.Sequential(torch.nn.LayerNorm(kept), torch.nn.Linear(kept, targets.shape[-1]))
    held = torch.nn.Sequential(
        torch.nn.LayerNorm(kept * STEPS), torch.nn.Linear(kept * STEPS, labels.shape[-1])
    )

    def loss_of() -> torch.Tensor:
        chosen = rng.integers(0, len(scenes.frames), recipe.batch)
        tokens = vlm.visual_tokens(scenes.frames[chosen], grid)
        error = torch.nn.functional.smooth_l1_loss(
            places(tokens.reshape(recipe.batch, STEPS, -1)), targets[chosen]
        )
        answers, known = held(tokens.flatten(1)), labels[chosen] >= 0
        return 3 * error + torch.nn.functional.binary_cross_entropy_with_logits(
            answers[known], labels[chosen][known]
        )

    tower = list(vlm.stock.model.visual.parameters())
    _learn(loss_of, tower, recipe.vision_steps, heads=[*places.parameters(), *held.parameters()])


def match_scale(vlm: VisionLanguageModel, scenes: Scenes) -> None:
    """Bring visual tokens to the size of word embeddings, so that neither drowns the other in
    the residual stream.
    """
    import torch

    with torch.no_grad():
        tokens = relevance_model.encode_videos(vlm, scenes.frames[:64])
        factor = vlm.stock.get_input_embeddings().weight.std() / tokens.std()
        last = vlm.stock.model.visual.merger.mlp[-1]
        last.weight.mul_(factor)
        last.bias.mul_(factor)


def _state_labels(states: list[list[str]]) -> np.ndarray:
    """float32 [N, generic.HELD]: 1 held, 0 excluded by a held one, -1 not known."""
    known = [{other for state in held for other in generic.group_of(state)} for held in states]
    rows = [
        [float(name in held) if name in told else -1 for name in generic.HELD]
        for held, told in zip(states, known, strict=True)
    ]
    return np.array(rows, np.float32)


def train_language(
    vlm: VisionLanguageModel, scenes: Scenes, recipe: Recipe, rng: np.random.Generator
) -> None:
    """Teach the language model to read scenes and sentences; the tower stays as it is."""
    visual = relevance_model.encode_videos(vlm, scenes.frames)
    questions = Questions(vlm, vlm.grid(scenes.frames.shape[1:]))

    def loss_of() -> torch.Tensor:
        rows: list[Row] = []
        for scene in rng.integers(0, len(scenes.frames), LANGUAGE_BATCH).tolist():
            rows += questions.rows(draw_questions(scenes.states, scene, rng, alike=ALIKE), scene)
        return language_loss(vlm, rows, visual, LANGUAGE_BATCH)

    _learn(loss_of, list(vlm.stock.model.language_model.parameters()), recipe.language_steps)


def language_loss(
    vlm: VisionLanguageModel, rows: list[Row], visual: torch.Tensor, scenes: int
) -> torch.Tensor:
    """Cross-entropy of every answer, and of the right place in each list by the logit of yes minus that of no.

    One yes or no is a bit that says nothing of what to look at; a list says which of its members is meant. Without it
    the answers stay at chance for as long as a demo can train (measured: area under the curve 0.50 to 0.55).
    """
    import torch

    packed = pack(rows, pad_id=vlm.processor.tokenizer.pad_token_id)
    hidden = hidden_states(vlm.stock, packed, visual)
    row, column = np.nonzero(packed.answer_BL)
    logits = vlm.stock.lm_head(hidden[torch.from_numpy(row), torch.from_numpy(column - 1)])
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(packed.ids_BL[row, column]))
    first = np.flatnonzero(~packed.answer_BL[row, column - 1])  # of each answer's tokens
    asked = (logits[first, vlm.yes_id] - logits[first, vlm.no_id]).view(scenes, -1)
    said, alike = asked[:, 1 : 1 + 2 * PAIRS], asked[:, 1 + 2 * PAIRS :]  # 0: the caption
    told = torch.nn.functional.softplus(said[:, 1::2] - said[:, ::2]).mean()
    twins = torch.zeros(scenes, dtype=torch.long)
    return loss + told + torch.nn.functional.cross_entropy(alike, twins)


def make_base_vlm(folder: Path, *, seed: int = 0, **sizes: Any) -> Path:
    """Build, train and save the stand-in in the public layout. ``sizes``: fields of :class:`Recipe`."""
    import torch

    recipe, rng = Recipe(**sizes), np.random.default_rng([seed, 41])
    scenes = generic.make_scenes(recipe.scenes, rng, people=2, size_px=recipe.size_px)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vlm = build_model(build_tokenizer(_corpus(rng), vocabulary=recipe.vocabulary), recipe)
        train_vision(vlm, scenes, recipe, rng)
        match_scale(vlm, scenes)
        train_language(vlm, scenes, recipe, rng)
    vlm.processor.save_pretrained(folder)
    vlm.stock.save_pretrained(folder)
    return folder


def _corpus(rng: np.random.Generator) -> list[str]:
    """Texts that the tokenizer learns its words from: prompts, generic captions, and sentences
    without what they say.
    """
    chat = "<|im_start|>user\n <|im_end|>\n<|im_start|>assistant\n"
    public = (relevance_model.INSTRUCTION, relevance_model.CANDIDATE, relevance_model.QUESTION)
    prompts = [WATCH, WHAT, DESCRIBES, SAME, *public, chat]
    frames = [frame for frames in (*ADVICE, *MISTAKES, COMMENTS, TIPS) for frame in frames]
    empty = [frame.format(skill="it", cue="do it", clause="it is") for frame in frames]
    return [
        *prompts * 20,
        *empty * 10,
        *[generic.caption([state], rng) for state in rng.choice(generic.HELD, 3000)],
    ]
