"""Batches of few sports: within a sport is where the study's question lies, and where the hard
negatives are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl


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
        owner = (
            clips["video_id"].rank("dense").to_numpy()
            if one_clip_per_video
            else np.arange(clips.height)
        )
        self.owners = [owner[rows] for rows in self.members]
        self.sizes = [min(clips_per_sport, len(np.unique(owners))) for owners in self.owners]
        self.hands = [
            hands_in(owners, size) for owners, size in zip(self.owners, self.sizes, strict=True)
        ]
        self.seed, self.likeness = seed, likeness
        self.sports_per_batch = max(1, min(sports_per_batch, len(self.members)))
        self._orders: tuple[int, list[np.ndarray]] = (-1, [])
        self._rounds: dict[int, tuple[int, list[np.ndarray]]] = {}

    def at(self, step: int) -> np.ndarray:
        """Row numbers of ``clips`` at ``step``, sport by sport."""
        if not self.members:
            raise ValueError(
                "there is no training clip to make a batch of: see the split of 02_pairing"
            )
        n = len(self.members)
        cycle = (
            math.lcm(n, self.sports_per_batch) // self.sports_per_batch
        )  # batches after which every sport came equally
        number, place = divmod(step, cycle)
        if self._orders[0] != number:
            self._orders = number, self._order(number, cycle)
        before = np.bincount(
            np.concatenate([[], *self._orders[1][:place]]).astype(int), minlength=n
        )
        came = number * (cycle * self.sports_per_batch // n) + before
        return np.concatenate(
            [self._hand(sport, int(came[sport])) for sport in self._orders[1][place]]
        )

    def _order(self, number: int, cycle: int) -> list[np.ndarray]:
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

    def _hand(self, sport: int, came: int) -> np.ndarray:
        """The clips of a sport when it comes for the time ``came`` (from 0)."""
        number, place = divmod(came, self.hands[sport])
        if self._rounds.get(sport, (-1,))[0] != number:
            rng = np.random.default_rng([self.seed, 33, sport, number])
            self._rounds[sport] = number, self._round(sport, rng)
        return self._rounds[sport][1][place]

    def _round(self, sport: int, rng: np.random.Generator) -> list[np.ndarray]:
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
