"""Does this clip help this learner? A Qwen-VL answers yes or no; the score is the difference of the
two logits.

One prompt holds two videos, the learner's and the candidate's, and (a setting) what the coach says
in the candidate, quoted as data. The vision tower never changes, so each video's visual tokens are
computed once and kept; a learner's part of the prompt is run once for its candidates
(:mod:`prefix_sharing`). Scores equal those of the stock processor and model, one pair at a time,
for Qwen2.5-VL and Qwen3-VL (tested). An expert's comment on the learner is never an input here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sportskills_lib.formats.files import sha256_file, write_whole
from sportskills_lib.models import load_vision_language, quoted
from sportskills_lib.retrieval.relevance import visual_tokens
from sportskills_lib.retrieval.relevance.prefix_sharing import (
    Packed,
    Row,
    Segment,
    hidden_states,
    run_prefixes,
    shared_rows,
    suffix_ends,
)
from sportskills_lib.retrieval.relevance.visual_tokens import Grid
from sportskills_lib.runs import artifacts
from sportskills_lib.runs.content_store import ContentStore

if TYPE_CHECKING:
    import torch

NOMINAL_FPS = 2.0  # every video is presented at this rate, so that the span's length tells nothing
INSTRUCTION = (
    "A learner tries a skill. Answer yes if the coach's clip helps this learner, else no. Learner:"
)
CANDIDATE = "Coach:"
QUESTION = "Does it help?"
RECORD = "training_record.json"
TOKENS_A_PASS = {
    "cpu": 2048,
    "cuda": 32768,
}  # a CPU is fastest while a layer's values stay in its cache


def relevance_messages(narration: str | None) -> list[dict[str, Any]]:
    """The chat: two videos, the narration as a quoted, single line (data, never an instruction),
    the question.
    """
    said = "" if narration is None else f'"{quoted(narration)}" '
    content = [
        {"type": "text", "text": INSTRUCTION},
        {"type": "video"},
        {"type": "text", "text": CANDIDATE},
        {"type": "video"},
        {"type": "text", "text": said + QUESTION},
    ]
    return [{"role": "user", "content": content}]


@dataclass
class VisionLanguageModel:
    """A Qwen2.5-VL or Qwen3-VL with its processor. ``model`` may be wrapped by peft; ``stock`` is
    the model inside.
    """

    model: Any
    processor: Any
    yes_id: int
    no_id: int
    name: str = ""  # of the checkpoint: hub id or folder
    # how its adapters were trained
    training: dict[str, Any] = field(default_factory=dict, repr=False)
    _segments: dict[Any, tuple[Segment, Segment]] = field(default_factory=dict, repr=False)

    @property
    def stock(self) -> Any:
        """The model of the library, below any adapter."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def device(self) -> Any:
        """Where the weights are."""
        return self.stock.lm_head.weight.device

    @cached_property
    def tower_digest(self) -> str:
        """16 hex digits of the tower, which never changes, and of its processor."""
        return visual_tokens.digest_tower(self.stock.model.visual, self.processor)

    def grid(self, frames_shape: tuple[int, ...]) -> Grid:
        """The grid (time, height, width) in patches that a video [T, H, W, 3] becomes."""
        video = np.zeros((1, *frames_shape), np.uint8)
        grid = visual_tokens.stock_pixels(self.processor, video)["video_grid_thw"][0]
        return int(grid[0]), int(grid[1]), int(grid[2])

    def visual_tokens(self, frames_NTHWC: np.ndarray, grid: Grid) -> torch.Tensor:
        """[N, K, D]: merged visual tokens of N videos of one shape; gradients flow if the caller
        lets them.
        """
        return visual_tokens.visual_tokens(self.stock, self.processor, frames_NTHWC, grid)

    def prompt_ids(self, messages: list[dict[str, Any]], grid: Grid) -> list[int]:
        """Token ids of a chat, each video's placeholder written out by the model's own
        processor.
        """
        text = self.processor.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        video = visual_tokens.placeholder(self.processor, grid, fps=NOMINAL_FPS)
        return self.processor.tokenizer(text.replace(self.processor.video_token, video))[
            "input_ids"
        ]

    def positions(self, ids: Sequence[int], grid: Grid) -> np.ndarray:
        """int64 [3, n]: the model's own rotary positions of one prompt with one or more videos of
        this grid.
        """
        import torch

        inner = self.stock.model
        ids_1n = torch.tensor([list(ids)])
        kinds = (ids_1n == inner.config.video_token_id).int() * 2
        videos = int((kinds > 0).sum()) // visual_tokens.tokens_a_video(self.processor, grid)
        seconds = self.processor.video_processor.temporal_patch_size / NOMINAL_FPS
        positions, _ = inner.get_rope_index(
            ids_1n,
            kinds,
            video_grid_thw=torch.tensor([grid] * videos),
            second_per_grid_ts=[seconds] * videos,
        )
        return positions[:, 0].numpy()

    def split_prompt(
        self, messages: list[dict[str, Any]], grid: Grid, *, after: int, answer: str = ""
    ) -> tuple[Segment, Segment]:
        """Prefix and suffix of a chat, cut before the pictures of its video number ``after`` (from
        0), or after all.

        The cut lies at a special token, where every tokenizer cuts anyway, so ids of the parts join
        to the ids of the whole. ``answer`` is appended, with the end-of-turn token, as text to be
        learnt.
        """
        ids = self.prompt_ids(messages, grid)
        answer_ids = self.processor.tokenizer(answer + "<|im_end|>")["input_ids"] if answer else []
        whole = np.asarray(ids + answer_ids, np.int64)
        positions = self.positions(whole.tolist(), grid)
        config = self.stock.model.config
        pads = np.flatnonzero(whole == config.video_token_id)
        first = after * visual_tokens.tokens_a_video(self.processor, grid)
        cut = (
            int(pads[first]) - 1
            if first < len(pads)
            else 1 + int(np.flatnonzero(whole == config.vision_end_token_id)[-1])
        )
        return (
            Segment(whole[:cut], positions[:, :cut]),
            Segment(whole[cut:], positions[:, cut:], answer=len(answer_ids)),
        )

    def cached_prompt(
        self, key: Any, messages: list[dict[str, Any]], grid: Grid, *, answer: str = ""
    ) -> tuple[Segment, Segment]:
        """:meth:`split_prompt` after the first video, once for each ``key``."""
        if key not in self._segments:
            self._segments[key] = self.split_prompt(messages, grid, after=1, answer=answer)
        return self._segments[key]

    def pairs(
        self,
        grid: Grid,
        learner: int,
        candidates: Sequence[int],
        narrations: dict[int, str] | None,
    ) -> list[tuple[Segment, Segment]]:
        """The learner's prefix and the suffix of each candidate, all rows of the visual tokens.

        ``narrations`` maps a candidate to what its coach says; None leaves the sentence out.
        """
        found = []
        for clip in candidates:
            said = None if narrations is None else narrations.get(clip, "")
            prefix, suffix = self.cached_prompt(
                ("pair", grid, said), relevance_messages(said), grid
            )
            found.append((replace(prefix, videos=(learner,)), replace(suffix, videos=(clip,))))
        return found

    def packed_scores(self, packed: Packed, visual_NKD: torch.Tensor) -> torch.Tensor:
        """float [S]: logit of yes minus logit of no at each suffix's last token."""
        import torch

        hidden = hidden_states(self.stock, packed, visual_NKD)
        ends = torch.from_numpy(packed.ends).to(hidden.device)
        return self.answers(hidden[ends[:, 0], ends[:, 1]])

    def answers(self, hidden_SD: torch.Tensor) -> torch.Tensor:
        """float [S]: logit of yes minus logit of no, from last hidden states."""
        yes, no = (
            self.stock.lm_head.weight[answer].float() for answer in (self.yes_id, self.no_id)
        )
        return hidden_SD.float() @ (yes - no)


def load_vlm(
    name: str,
    *,
    device: str = "cpu",
    adapter: Path | None = None,
    quantize: Literal["no", "nf4"] = "no",
    trainable: bool = False,
) -> VisionLanguageModel:
    """A Qwen2.5-VL or Qwen3-VL by hub id or folder: safetensors only, no code from the checkpoint.

    bfloat16 on an accelerator; ``nf4`` keeps the language model's weights in 4 bits (QLoRA).
    ``trainable``: adapters read from ``adapter`` learn on.
    """
    model, processor = load_vision_language(name, device=device, quantize=quantize)
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(
            model, adapter, use_safetensors=True, is_trainable=trainable
        )
    model.eval()
    return wrap(model, processor, name=name)


def save_adapter(vlm: VisionLanguageModel, folder: Path) -> None:
    """Adapter weights (safetensors) and their config, as peft reads them, and how they were
    trained.
    """
    vlm.model.save_pretrained(folder, safe_serialization=True)
    weights = sorted(Path(vlm.name).glob("*.safetensors"))  # none of a model of the hub
    told = {
        "base": vlm.name,
        "base_sha256": {path.name: sha256_file(path) for path in weights},
        "base_revision": getattr(vlm.stock.config, "_commit_hash", None),
        "training": vlm.training,
        "code": {name: artifacts.provenance()[name] for name in ("commit", "dirty", "packages")},
    }
    write_whole(folder / RECORD, json.dumps(told, indent=2) + "\n")


def wrap(model: Any, processor: Any, *, name: str = "") -> VisionLanguageModel:
    """Pair a model with its processor; ValueError when the tokenizer splits the answer words."""
    ids = [
        processor.tokenizer(word, add_special_tokens=False)["input_ids"] for word in ("yes", "no")
    ]
    if any(len(word) != 1 for word in ids) or ids[0] == ids[1]:
        raise ValueError(
            f"the tokenizer splits 'yes' or 'no' ({ids}): the score needs one token for each"
        )
    return VisionLanguageModel(model, processor, ids[0][0], ids[1][0], name)


def encode_videos(
    vlm: VisionLanguageModel,
    frames: np.ndarray,
    *,
    batch: int = 64,
    store: ContentStore | None = None,
) -> torch.Tensor:
    """[N, K, D]: visual tokens of every video, without gradients, in the model's own precision.

    With a ``store`` they are rounded to bfloat16, kept on disk, and read from there the next time.
    Only a batch of frames is in memory at a time, and what was stored before a kill is kept.
    """
    import torch

    grid, dtype = vlm.grid(frames.shape[1:]), vlm.stock.lm_head.weight.dtype
    parts = []
    with torch.no_grad():
        for start in range(0, len(frames), batch):
            part = np.ascontiguousarray(frames[start : start + batch])
            if store is None:
                parts.append(vlm.visual_tokens(part, grid))
            else:
                kept = visual_tokens.stored_tokens(vlm, part, grid, store)
                parts.append(kept.to(vlm.device, dtype))
    return torch.cat(parts)


def score_pairs(
    vlm: VisionLanguageModel,
    visual_NKD: torch.Tensor,
    grid: Grid,
    queries: Sequence[tuple[int, Sequence[int]]],
    narrations: dict[int, str] | None,
    *,
    max_tokens: int | None = None,
) -> list[np.ndarray]:
    """For every (learner row, candidate rows): float32 scores of its candidates, in their order.

    ``narrations`` maps a candidate row to what its coach says; None leaves the sentence out of the
    prompt. A learner's prefix is run once and its keys and values are kept; the candidates of a
    block of learners follow, the shortest first. A pass of the model takes ``max_tokens`` tokens
    (by default what suits the device) or one row.
    """
    import torch

    most = max_tokens or TOKENS_A_PASS.get(vlm.device.type, TOKENS_A_PASS["cuda"])
    scores = [np.zeros(len(candidates), np.float32) for _, candidates in queries]
    asked = [number for number, (_, candidates) in enumerate(queries) if len(candidates)]
    pad_id, start = vlm.processor.tokenizer.pad_token_id, 0
    with torch.inference_mode():
        while start < len(asked):
            first = vlm.pairs(grid, *queries[asked[start]], narrations)[0][0]
            block = asked[start : start + max(1, most // len(first.ids))]
            start += len(block)
            found = [vlm.pairs(grid, *queries[number], narrations) for number in block]
            prefixes = run_prefixes(vlm.stock, [parts[0][0] for parts in found], visual_NKD)
            suffixes = [
                (owner, place, suffix)
                for owner, parts in enumerate(found)
                for place, (_, suffix) in enumerate(parts)
            ]
            for batch in _by_length(suffixes, most):
                owners, _, parts = zip(*batch, strict=True)
                ends = suffix_ends(vlm.stock, prefixes, owners, parts, visual_NKD, pad_id=pad_id)
                told = vlm.answers(ends).cpu().numpy()
                for (owner, place, _), score in zip(batch, told, strict=True):
                    scores[block[owner]][place] = score
    return scores


Suffix = tuple[int, int, Segment]  # of which learner of a block, which candidate, and its part


def _by_length(suffixes: list[Suffix], max_tokens: int) -> Iterator[list[Suffix]]:
    """The suffixes from the shortest to the longest, in batches whose padded size stays below
    ``max_tokens`` (at least one a batch).
    """
    items = sorted(suffixes, key=lambda one: len(one[2].ids))
    start = 0
    for stop in range(1, len(items) + 1):
        if stop == len(items) or (stop + 1 - start) * len(items[stop][2].ids) > max_tokens:
            yield items[start:stop]
            start = stop


def rows_of(
    vlm: VisionLanguageModel,
    grid: Grid,
    learner: int,
    candidates: Sequence[int],
    narrations: dict[int, str] | None,
) -> list[Row]:
    """A learner's prefix with the suffixes of its candidates, a few to a row."""
    return shared_rows(vlm.pairs(grid, learner, candidates, narrations))
