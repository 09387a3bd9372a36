"""What each optimiser step sees: clips, the text that each is told with, and which of the pairs may
be negatives.

``BatchSampler.at(step)`` depends on the clips, the settings and the step alone, so that a run that
goes on from a checkpoint sees what it would have seen, without walking through the steps before. A
batch holds few sports: within a sport is where the study's question lies, and where the hard
negatives are.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl

from sportskills_lib import models
from sportskills_lib.config import EncoderConfig
from sportskills_lib.encoder.losses import allowed_pairs
from sportskills_lib.encoder.texts import (
    LABELS,
    numbered,
    sentence_kinds,
    skill_prompts,
    text_groups,
)

log = logging.getLogger("sportskills")


@dataclass(frozen=True)
class Batch:
    """B pairs: rows of the material, their texts, which texts say the same, and which pairs
    count.
    """

    rows: np.ndarray
    texts: list[str]
    group_B: np.ndarray
    allowed_BB: np.ndarray


class BatchSampler:
    """The batches of one arm's training.

    ``clips`` is the whole material, ``rows`` the training clips among them, ``texts`` the arm's
    text of every clip.
    ``start`` loads the tower before its first step, which is asked once for what "similarity" and
    hard negatives need; its vectors are kept, also for the next training with the same start and
    the same texts (trials of learning rates).

    The arm ``both`` draws, for each clip of each batch, either its narration or a prompt of its
    skill, with even chances. So it reads as many texts in as many steps as the other arms; two
    texts a clip would double what it reads. A prompt is true of every clip of its skill, whichever
    text was drawn for that one: such a pair is no negative.
    """

    def __init__(
        self,
        clips: pl.DataFrame,
        rows: np.ndarray,
        texts: list[str],
        config: EncoderConfig,
        *,
        arm: str,
        start: Callable[[], models.Tower],
        frames: np.ndarray,
    ):
        self.rows, self.config = rows, config
        train, told = clips[rows], [texts[i] for i in rows]
        self.texts, self.groups = told, text_groups(train, told, arm)
        self.prompts = skill_prompts(train, seed=config.seed) if arm == "both" else None
        self.skills = numbered(train.select("sport", "skill").iter_rows())
        wanted = set(config.false_negatives)
        if arm in LABELS:  # whose other negatives are known
            wanted &= {"video"}
        self.videos = train["video_id"].to_numpy() if "video" in wanted else None
        self.kinds = sentence_kinds(train, told) if "skill_cue" in wanted else None
        self.vectors = _text_vectors(start, config, told) if "similarity" in wanted else None
        likeness = _likeness(start, frames, rows, train, config) if config.hard_negatives else None
        sizes, apart = (config.sports_per_batch, config.clips_per_sport), config.one_clip_per_video
        self.batches = SportBatches(
            train, *sizes, seed=config.seed, one_clip_per_video=apart, likeness=likeness
        )

    def at(self, step: int) -> Batch:
        """The batch of ``step``."""
        here = self.batches.at(step)
        prompt_B = np.zeros(len(here), bool)
        if self.prompts is not None:
            prompt_B = np.random.default_rng([self.config.seed, 43, step]).random(len(here)) < 0.5
        texts = [
            self.prompts[i] if p and self.prompts else self.texts[i]
            for i, p in zip(here, prompt_B, strict=True)
        ]
        group_B = np.where(prompt_B, -1 - self.skills[here], self.groups[here])
        return Batch(self.rows[here], texts, group_B, self._allowed(here, group_B, prompt_B))

    def _allowed(self, here: np.ndarray, group_B: np.ndarray, prompt_B: np.ndarray) -> np.ndarray:
        said_B = ~prompt_B
        allowed_BB = allowed_pairs(
            group_B,
            video_B=None if self.videos is None else self.videos[here],
            # a prompt is like no narration: what it is true of is known
            kind_B=None
            if self.kinds is None
            else np.where(said_B, self.kinds[here], -1 - np.arange(len(here))),
            text_BD=None if self.vectors is None else self.vectors[here] * said_B[:, None],
            ceiling=self.config.text_ceiling,
        )
        skill_B = self.skills[here]
        return allowed_BB & ~((skill_B[:, None] == skill_B) & (prompt_B[:, None] != prompt_B))


_KEPT: dict[str, tuple[object, np.ndarray]] = {}  # the last vectors of each kind, and of what


def _cached(kind: str, key: object, make: Callable[[], np.ndarray]) -> np.ndarray:
    if kind not in _KEPT or _KEPT[kind][0] != key:
        _KEPT[kind] = key, make()
    return _KEPT[kind][1]


def _text_vectors(
    start: Callable[[], models.Tower], config: EncoderConfig, texts: list[str]
) -> np.ndarray:
    key = (config.model, config.pretrained, tuple(texts))
    return _cached("texts", key, lambda: start().encode_texts(texts))


def _likeness(
    start: Callable[[], models.Tower],
    frames: np.ndarray,
    rows: np.ndarray,
    train: pl.DataFrame,
    config: EncoderConfig,
) -> ClipSimilarity:
    """By the start tower: what clips look like, and what is said of them (their own narrations, for
    every arm).
    """

    def look() -> np.ndarray:
        log.info("hard negatives: the start tower looks at %d clips", len(rows))
        tower = start()
        starts = range(0, len(rows), 64)  # frames may be a map
        parts = [tower.encode_frames(frames[rows[first : first + 64]]) for first in starts]
        return np.concatenate([np.zeros((0, tower.width), np.float32), *parts])

    seen = _cached("clips", (config.model, config.pretrained, tuple(train["clip_id"])), look)
    said = _text_vectors(start, config, train["text"].fill_null("").to_list())
    return ClipSimilarity(seen, said, config.text_ceiling, config.hard_negatives)


# ---------------------------------------------------------------------------------- clips of a step


@dataclass(frozen=True)
class ClipSimilarity:
    """What batches of hard negatives are chosen by, for the N clips: unit vectors of a tower that
    is not in training.

    Clips alone say who is near (``clip_ND``), so that every arm gets the same batches; the
    narrations say who is probably right (``text_ND``): pairs above ``ceiling`` never meet by
    choice.
    """

    clip_ND: np.ndarray
    text_ND: np.ndarray
    ceiling: float
    share: float  # of a sport's clips in a batch, how many are chosen to be near the first


class SportBatches:
    """The clips of each step: ``at(step)`` depends on the clips, the settings, the seed and the
    step alone.

    A batch holds ``sports_per_batch`` sports with ``clips_per_sport`` clips each (a sport with
    fewer gives what it has). Sports come evenly: of any two, one never leads by more than one
    batch. A sport's clips come in shuffled rounds of as many hands as can be dealt without a clip
    coming twice; what is left over sits the round out. With ``one_clip_per_video`` no hand holds
    two clips of one video (a sport with fewer videos gives one of each). The same seed gives the
    same batches whatever the texts are, so that arms differ in nothing else.

    ``clips``: sport, video_id. With ``likeness``, hands are made of clips that are near one
    another: hard negatives, without probable false ones (unfiltered they collapse training, as
    others found: U-MARVEL).
    """

    def __init__(
        self,
        clips: pl.DataFrame,
        sports_per_batch: int,
        clips_per_sport: int,
        *,
        seed: int,
        one_clip_per_video: bool = False,
        likeness: ClipSimilarity | None = None,
    ):
        rows = clips.with_row_index("row")
        groups = sorted(rows.group_by("sport"), key=lambda group: str(group[0][0]))
        self.members = [group["row"].to_numpy() for _, group in groups]
        videos, alone = clips["video_id"].rank("dense").to_numpy(), np.arange(clips.height)
        owner = videos if one_clip_per_video else alone
        self.owners = [owner[rows] for rows in self.members]
        self.sizes = [min(clips_per_sport, len(np.unique(owners))) for owners in self.owners]
        self.hands = [
            hands_in(owners, size) for owners, size in zip(self.owners, self.sizes, strict=True)
        ]
        self.seed, self.likeness = seed, likeness
        self.sports_per_batch = max(1, min(sports_per_batch, len(self.members)))
        self._order = lru_cache(1)(self._draw_order)
        self._round = lru_cache(2 * len(self.members))(self._deal_round)

    def at(self, step: int) -> np.ndarray:
        """Row numbers of ``clips`` at ``step``, sport by sport."""
        if not self.members:
            raise ValueError(
                "there is no training clip to make a batch of: see the split of 02_pairing"
            )
        sports, held = len(self.members), self.sports_per_batch
        cycle = math.lcm(sports, held) // held  # batches after which every sport came equally
        number, place = divmod(step, cycle)
        order = self._order(number, cycle)
        earlier = np.concatenate([[], *order[:place]]).astype(int)
        came = number * (cycle * held // sports) + np.bincount(earlier, minlength=sports)
        hands = []
        for sport in order[place].tolist():
            number, hand = divmod(int(came[sport]), self.hands[sport])
            hands.append(self._round(sport, number)[hand])
        return np.concatenate(hands)

    def _draw_order(self, number: int, cycle: int) -> list[np.ndarray]:
        """The sports of each batch of a cycle: those that came least often first, in random
        order.
        """
        rng, came = np.random.default_rng([self.seed, 31, number]), np.zeros(len(self.members), int)
        order = []
        for _ in range(cycle):
            chosen = np.lexsort((rng.random(len(came)), came))[: self.sports_per_batch]
            came[chosen] += 1
            order.append(chosen)
        return order

    def _deal_round(self, sport: int, number: int) -> list[np.ndarray]:
        """The hands of a sport's round, each as rows of clips."""
        rng = np.random.default_rng([self.seed, 33, sport, number])
        rows, owners, size = self.members[sport], self.owners[sport], self.sizes[sport]
        left, dealt = np.arange(len(rows)), []
        for hands_left in range(self.hands[sport], 0, -1):
            hand = _Hand(owners[left], size, hands_left)
            order = rng.permutation(len(left))
            if self.likeness is not None:
                self._pick_near(hand, order, rows[left])
            hand.take(order)
            dealt.append(rows[left[hand.cards]])
            left = np.delete(left, hand.cards)
        return [dealt[i] for i in rng.permutation(len(dealt))]

    def _pick_near(self, hand: _Hand, order: np.ndarray, rows: np.ndarray) -> None:
        """A random first card, then the nearest to it that are no probable false negative of any
        card taken.
        """
        assert self.likeness is not None
        clip_ND, text_ND = self.likeness.clip_ND, self.likeness.text_ND
        hand.take(order, 1)
        first, doubtful = rows[hand.cards[0]], np.zeros(len(rows), bool)
        wanted = 1 + round(self.likeness.share * (hand.size - 1))
        looked_at = 0
        for card in np.argsort(-(clip_ND[rows] @ clip_ND[first]), kind="stable"):
            for taken in hand.cards[looked_at:]:
                doubtful |= text_ND[rows] @ text_ND[rows[taken]] > self.likeness.ceiling
            looked_at = len(hand.cards)
            if looked_at >= wanted:
                return
            if not doubtful[card]:
                hand.take(np.array([card]), 1)


class _Hand:
    """Cards of different owners, taken so that the hands after this one can be filled, too."""

    def __init__(self, owners: np.ndarray, size: int, hands_left: int):
        self.owners, self.size, self.cards = owners, size, list[int]()
        count = dict(zip(*np.unique(owners, return_counts=True), strict=True))
        self.rich = {
            owner for owner, n in count.items() if n >= hands_left
        }  # giving one costs later hands nothing
        later = hands_left - 1
        self.spare = sum(min(int(n), later) for n in count.values()) - size * later
        self.met: set[int] = set()

    def take(self, order: np.ndarray, most: int | None = None) -> None:
        """Take cards in ``order``, up to ``most`` more, until the hand is full."""
        goal = self.size if most is None else min(self.size, len(self.cards) + most)
        for card in order:
            if len(self.cards) >= goal:
                return
            owner = self.owners[card]
            if owner in self.met or (owner not in self.rich and self.spare <= 0):
                continue
            self.spare -= owner not in self.rich
            self.met.add(owner)
            self.cards.append(int(card))


def hands_in(owners: np.ndarray, size: int) -> int:
    """How many hands of ``size`` cards of different ``owners`` can be dealt without a card coming
    twice; at least 1.
    """
    counts, hands = np.unique(owners, return_counts=True)[1], 1
    while np.minimum(counts, hands + 1).sum() >= size * (hands + 1):
        hands += 1
    return hands
