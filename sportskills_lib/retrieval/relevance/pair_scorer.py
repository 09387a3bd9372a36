"""The relevance model over named learners and clips: what 04 finetunes and ranks with, and `advise`
loads again; and the model as a speaker.

"Describe, then retrieve", without drawing a description first: a candidate scores the
log-likelihood of its coach's sentence given the learner's video, minus that given other learners of
the sport, so that sentences that are likely for everybody gain nothing. Learning to say what helps
is also a dense teacher for the adapters: every word of a helpful sentence is a target, where a yes
or no is one bit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sportskills_lib.models import quoted
from sportskills_lib.retrieval.relevance import dual_scorer
from sportskills_lib.retrieval.relevance.known_mistakes import WIDTH, KnownMistakes
from sportskills_lib.retrieval.relevance.model import (
    VisionLanguageModel,
    encode_videos,
    save_adapter,
    score_pairs,
)
from sportskills_lib.retrieval.relevance.prefix_sharing import (
    Row,
    hidden_states,
    pack,
    shared_rows,
)
from sportskills_lib.retrieval.relevance.visual_tokens import Grid
from sportskills_lib.retrieval.supervision.text_similarity import WidenedWords
from sportskills_lib.runs.content_store import ContentStore

if TYPE_CHECKING:
    import torch

LEARNER = "A learner tries a skill:"
SAY = "What should a coach say?"
AT_ONCE = 1024  # videos or texts whose vectors are computed together
LARGEST_START = 4096  # texts that a new head knows


def seen_frames(stored: int, wanted: int) -> np.ndarray:
    """Which of the stored frames the relevance model sees: ``wanted`` of them, evenly spaced; all
    for 0 or too many.
    """
    count = wanted if 0 < wanted < stored else stored
    return ((np.arange(count) + 0.5) * stored / count).astype(np.int64)


@dataclass
class PairScorer:
    """The relevance model over learners and clips, with every video's visual tokens computed
    once; without learners it has no model, and nothing to score.
    """

    vlm: VisionLanguageModel | None
    visual_NKD: torch.Tensor | None = None
    grid: Grid = (0, 0, 0)
    places: dict[str, int] = field(default_factory=dict)  # rows of the tokens by learner and clip
    narrations: dict[int, str] = field(default_factory=dict)  # by row of the visual tokens
    with_narration: bool = True  # whether the prompt quotes them
    # of each row, if there is one: the video encoder's vector; the words lent to it as a learner,
    # and its own as a clip
    encoder_NE: torch.Tensor | None = None
    words: tuple[torch.Tensor, torch.Tensor] | None = None
    mistakes: KnownMistakes | None = None  # whose words are lent
    head: Any = None  # of the dual scorer: dual_scorer.new_head
    states: dict[str, torch.Tensor] = field(default_factory=dict)  # of texts; none: always fresh
    # float32 [N, 2 W], of each row as a learner, and as a clip: set once it is trained
    vectors: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def quoted(self) -> dict[int, str] | None:
        """What the prompt quotes, by row; None where it quotes nothing."""
        return self.narrations if self.with_narration else None

    def scores(
        self, pairs: pl.DataFrame, *, video_of: Mapping[str, str] | None = None
    ) -> np.ndarray:
        """Score of each row's learner and clip, [rows]; ``video_of`` shows another learner's video
        instead.
        """
        scores = np.zeros(pairs.height)
        if self.vlm is None or self.visual_NKD is None:
            return scores
        shown, groups = video_of or {}, _by_learner(pairs).rows()
        queries = [
            (self.places[shown.get(name, name)], [self.places[clip_id] for clip_id in clip_ids])
            for name, _, clip_ids in groups
        ]
        parts = score_pairs(self.vlm, self.visual_NKD, self.grid, queries, self.quoted)
        for (_, rows, _), part in zip(groups, parts, strict=True):
            scores[rows] = part
        return scores

    def new_head(self, texts: Collection[str], *, seed: int) -> None:
        """A fresh head of the dual scorer, whose reader of texts knows these."""
        import torch

        vlm: Any = self.vlm
        some = sorted(texts)[:: max(1, len(texts) // LARGEST_START)]
        with torch.no_grad():
            states_NS = dual_scorer.text_states(vlm, some)
        widths = states_NS.shape[1], 0 if self.encoder_NE is None else self.encoder_NE.shape[1]
        visual: Any = self.visual_NKD
        self.head = dual_scorer.new_head(visual, *widths, words=self.words is not None, seed=seed)
        dual_scorer.start_text_reader(self.head, states_NS)

    def lend_words(
        self, people: pl.DataFrame, mistakes: pl.DataFrame, reading: WidenedWords, *, nearest: int
    ) -> None:
        """Give every row its words: ``people`` (learner_id, sport) those of the ``nearest``
        ``mistakes`` (learner_id, sport, skill, comment), clips what is said over them.
        """
        import torch

        if self.encoder_NE is None or not nearest:
            return
        mistakes, people = (
            table.filter(pl.col("learner_id").is_in(list(self.places)))
            for table in (mistakes, people)
        )
        clips, comments = sorted(self.narrations), mistakes["comment"].to_list()
        words = reading.vectors_of(comments, [self.narrations[row] for row in clips], width=WIDTH)
        if not words[0].shape[1]:  # comments of a word or two
            return
        encoder_NE = self.encoder_NE.cpu().numpy()
        at = [[self.places[name] for name in one["learner_id"]] for one in (mistakes, people)]
        nothing = np.zeros((len(comments), 0), np.float32)
        self.mistakes = KnownMistakes(mistakes, encoder_NE[at[0]], words[0], nothing, nearest)
        lent_NR, said_NR = np.zeros((2, len(self.places), words[0].shape[1]), np.float32)
        lent_NR[at[1]], said_NR[clips] = self.mistakes.lend(people, encoder_NE[at[1]]), words[1]
        lent, said = (torch.from_numpy(one).to(self.encoder_NE) for one in (lent_NR, said_NR))
        self.words = lent, said

    def keep_vectors(self) -> None:
        """Compute ``vectors``: of every row as a learner, and of clips as clips (else 0)."""
        import torch

        rows, clips = np.arange(len(self.places)), np.array(sorted(self.narrations), np.int64)
        with torch.no_grad():
            parts = [
                [
                    of(part).cpu().numpy()
                    for part in np.array_split(asked, len(asked) // AT_ONCE + 1)
                ]
                for of, asked in ((self.learner_vectors, rows), (self.clip_vectors, clips))
            ]
        learner_ND, shown_ND = (np.concatenate(part) for part in parts)
        clip_ND = np.zeros_like(learner_ND)
        clip_ND[clips] = shown_ND
        self.vectors = learner_ND, clip_ND
        if self.mistakes:
            with torch.no_grad():
                text_MW = self.text_vectors(self.mistakes.table["comment"].to_list())
            self.mistakes = replace(self.mistakes, text_MW=text_MW.cpu().numpy())

    def dual_scores(self, pairs: pl.DataFrame) -> np.ndarray:
        """The dual scorer's score of each row's learner and clip, [rows]; 0 before training."""
        if self.vectors is None:
            return np.zeros(pairs.height)
        rows = [[self.places[name] for name in pairs[key]] for key in ("learner_id", "clip_id")]
        both = (vector_ND[own] for vector_ND, own in zip(self.vectors, rows, strict=True))
        return np.einsum("nd,nd->n", *both, dtype=np.float64)

    def learner_vectors(self, rows: Sequence[int] | np.ndarray) -> torch.Tensor:
        """float [N, 2 W]: the dual scorer's vectors of learners, by row of the visual tokens."""
        chosen = list(rows)
        encoder_NE = None if self.encoder_NE is None else self.encoder_NE[chosen]
        lent_NR = self.words[0][chosen] if self.words else None
        visual: Any = self.visual_NKD
        return dual_scorer.learner_vectors(self.head, visual[chosen], encoder_NE, lent_NR)

    def clip_vectors(self, rows: Sequence[int] | np.ndarray) -> torch.Tensor:
        """float [N, 2 W]: the dual scorer's vectors of clips, by row of the visual tokens."""
        states_NS = self.text_states([self.narrations[int(row)] for row in rows])
        words_NR = self.words[1][list(rows)] if self.words else None
        visual: Any = self.visual_NKD
        return dual_scorer.clip_vectors(self.head, visual[list(rows)], states_NS, words_NR)

    def text_states(self, texts: Sequence[str]) -> torch.Tensor:
        """float [N, S]: the states of texts, those that are kept or, with gradients, fresh ones."""
        import torch

        if self.states:
            return torch.stack([self.states[text] for text in texts])
        said, place = np.unique(texts, return_inverse=True)
        return dual_scorer.text_states(self.vlm, said.tolist())[place]  # type: ignore[arg-type]

    def keep_states(self) -> None:
        """Compute the states of all that coaches say: the adapters learn no more."""
        import torch

        said = sorted(set(self.narrations.values()))
        with torch.no_grad():
            states_NS = dual_scorer.text_states(self.vlm, said)  # type: ignore[arg-type]
        self.states = dict(zip(said, states_NS, strict=True))

    def text_vectors(self, texts: Sequence[str]) -> torch.Tensor:
        """float [N, W]: the dual scorer's vectors of texts."""
        states_NS = dual_scorer.text_states(self.vlm, texts)  # type: ignore[arg-type]
        return dual_scorer.text_vectors(self.head, states_NS)

    def description_scores(self, pairs: pl.DataFrame, learners: pl.DataFrame) -> np.ndarray:
        """How much likelier each row's sentence is for its learner than for others of the sport,
        [rows].

        The others are training learners, one of each skill (the first by id).
        """
        scores = np.zeros(pairs.height)
        if self.vlm is None or self.visual_NKD is None:
            return scores
        firsts = (
            learners.filter(pl.col("split") == "train")
            .sort("learner_id")
            .unique(["sport", "skill"], keep="first", maintain_order=True)
        )
        sports = dict(learners.select("learner_id", "sport").iter_rows())
        for learner_id, rows, clip_ids in _by_learner(pairs).iter_rows():
            texts = [self.narrations[self.places[clip_id]] for clip_id in clip_ids]
            others = firsts.filter(pl.col("sport") == sports[learner_id])["learner_id"]
            own, *rest = [
                sentence_logprobs(self.vlm, self.visual_NKD, self.grid, self.places[name], texts)
                for name in (learner_id, *others)
            ]
            scores[rows] = surprise(own, rest)
        return scores

    def save(self, folder: Path) -> None:
        """Write the adapter, and the head of the dual scorer; nothing without a model."""
        if self.vlm is not None:
            save_adapter(self.vlm, folder)
        if self.vectors is not None:
            dual_scorer.save_head(self.head, folder)
        if self.mistakes:
            self.mistakes.save(folder)


def _by_learner(pairs: pl.DataFrame) -> pl.DataFrame:
    """learner_id, and lists of its rows and clips."""
    return (
        pairs.with_row_index("row")
        .group_by("learner_id", maintain_order=True)
        .agg("row", "clip_id")
    )


def encode_pairs(
    vlm: VisionLanguageModel,
    clips: tuple[Sequence[str], np.ndarray],
    learners: tuple[Sequence[str], np.ndarray],
    texts: Mapping[str, str],
    *,
    frames: int,
    with_narration: bool,
    store: ContentStore | None,
) -> PairScorer:
    """The scorer of these clips and learners, ids and frames uint8 [N, T, H, W, 3] of each.

    ``texts``: what is said over each clip; ``frames``: how many frames the model sees (0: all).
    """
    import torch

    seen = seen_frames(learners[1].shape[1], frames)
    parts = [encode_videos(vlm, part[:, seen], store=store) for _, part in (clips, learners)]
    places = {name: place for place, name in enumerate([*clips[0], *learners[0]])}
    return PairScorer(
        vlm,
        torch.cat(parts),
        vlm.grid(learners[1][:, seen].shape[1:]),
        places,
        {places[clip_id]: texts[clip_id] for clip_id in clips[0]},
        with_narration,
    )


# --------------------------------------------------------------------------------- the model speaks


def speaking_messages() -> list[dict[str, Any]]:
    """The chat: the learner's video and the question; the answer is a coach's sentence."""
    content = [{"type": "text", "text": LEARNER}, {"type": "video"}, {"type": "text", "text": SAY}]
    return [{"role": "user", "content": content}]


def speaking_rows(
    vlm: VisionLanguageModel, grid: Grid, learner: int, texts: Sequence[str]
) -> list[Row]:
    """A learner's prefix with the sentences as answers, a few to a row."""
    parts = [
        vlm.cached_prompt(("say", grid, text), speaking_messages(), grid, answer=quoted(text))
        for text in texts
    ]
    return shared_rows([(replace(prefix, videos=(learner,)), answer) for prefix, answer in parts])


def word_logprobs(
    vlm: VisionLanguageModel, rows: Sequence[Row], visual_NKD: torch.Tensor
) -> tuple[torch.Tensor, np.ndarray]:
    """Log-probability of every answer token in the order of the rows, and the number of its
    sentence.
    """
    import torch

    packed = pack(rows, pad_id=vlm.processor.tokenizer.pad_token_id)
    hidden = hidden_states(vlm.stock, packed, visual_NKD)
    row, column = np.nonzero(packed.answer_BL)
    at = torch.from_numpy(row).to(hidden.device), torch.from_numpy(column).to(hidden.device)
    logits = vlm.stock.lm_head(hidden[at[0], at[1] - 1]).float()
    wanted = torch.from_numpy(packed.ids_BL).to(hidden.device)[at]
    starts = np.concatenate([[0], np.cumsum([len(suffixes) for _, suffixes in rows])[:-1]])
    sentence = starts[row] + packed.segment_BL[row, column] - 1
    return logits.log_softmax(-1).gather(-1, wanted[:, None])[:, 0], sentence


def sentence_logprobs(
    vlm: VisionLanguageModel,
    visual_NKD: torch.Tensor,
    grid: Grid,
    learner: int,
    texts: Sequence[str],
) -> np.ndarray:
    """float64 [N]: log-likelihood of each sentence given the video of the learner (a row of the
    visual tokens).
    """
    import torch

    with torch.inference_mode():
        words, sentence = word_logprobs(vlm, speaking_rows(vlm, grid, learner, texts), visual_NKD)
    return np.bincount(sentence, weights=words.double().cpu().numpy(), minlength=len(texts))


def surprise(own: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """log p(sentence | learner) - log mean p(sentence | other learners); with no others, the
    likelihood itself.
    """
    if not len(others):
        return own
    return own - (np.logaddexp.reduce(np.stack(others), axis=0) - np.log(len(others)))
