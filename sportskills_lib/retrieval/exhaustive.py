"""The best gallery rows of each query by inner product: exact, in bounded memory, at the speed of
low precision.

A similarity is summed in double precision and rounded to nine places, so that equal vectors tie
whatever block they stand in; equal similarities stand in order of the gallery's rows. To multiply
everything so would take most of the time for nothing, so a tile of queries and gallery rows is
multiplied roughly first: in bfloat16 where the processor has units for it (AMX), else in float32,
both by torch, whose products are faster than numpy's. Only pairs whose rough similarity could reach
the k-th best found so far, by the most that rounding can have changed it, are summed again. That is
a bound, never a guess: the result is that of multiplying everything in double precision. Where too
many pairs remain (vectors that are all alike), the tile is multiplied in double precision as a
whole.

The bound: rounded factors are off by |δq| |g| + |q| |δg| at most (Cauchy and Schwarz; what rounding
took away is measured), a sum of D products in single precision by D 2⁻²⁴ |q| |g| (Higham, Accuracy
and Stability of Numerical Algorithms, chapter 3), and the result, once more rounded, by u of
itself, u being the unit roundoff.

Legend: Q queries, N gallery rows, D dimensions, K best, C queries of a chunk, B rows of a block, P
pairs summed again.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sportskills_lib import metrics

BLOCK, CHUNK = 4096, 1024  # gallery rows and queries of a tile
PAIRS = 512  # pairs summed again at once: what fits the processor's cache
MANY, FEW = (
    0.02,
    8192,
)  # share of a tile, and pairs, above which multiplying all of it in double is cheaper
FEW_PAIRS, WORTH = (
    2**21,
    2**27,
)  # of query and row: up to the first double precision is quick; from the second on
# loading torch pays
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def top_k(
    queries_QD: np.ndarray,
    gallery_ND: np.ndarray,
    k: int,
    *,
    block: int = BLOCK,
    rough: str | None = None,
) -> tuple[Ints, Floats]:
    """The ``k`` best gallery rows of each query, best first: rows int64 and similarities float64
    [Q, min(k, N)].

    Never more than CHUNK × block rough similarities at once, and a block of the gallery, which may
    be mapped from disk. ``rough``: bfloat16, float32 or none instead of what suits the processor;
    it changes no result. NaN is an error.
    """
    queries = np.asarray(queries_QD)
    k, block = min(k, len(gallery_ND)), max(block, k)
    best = Best(np.zeros((len(queries), k), np.int64), np.full((len(queries), k), -np.inf))
    if not len(queries) or not k:
        return best.rows_QK, best.scores_QK
    rough = rough or _suited(len(queries) * len(gallery_ND))
    tile = Tile()
    chunks = [
        Chunk(start, queries[start : start + CHUNK], rough, tile)
        for start in range(0, len(queries), CHUNK)
    ]
    for start in range(0, len(gallery_ND), block):
        part_BD = np.asarray(gallery_ND[start : start + block])
        offered = Rough.of(part_BD, rough)
        for chunk in chunks:
            place_P, column_P, score_P = chunk.candidates(part_BD, offered, best, first=start == 0)
            best.merge(chunk.start + place_P, start + column_P, score_P)
    return best.rows_QK, best.scores_QK


@lru_cache(maxsize=1)
def _has_amx() -> bool:
    info = Path("/proc/cpuinfo")
    return info.is_file() and " amx_bf16" in info.read_text(errors="replace")


def _suited(pairs: int) -> str:
    if pairs < FEW_PAIRS or (pairs < WORTH and "torch" not in sys.modules):
        return "none"
    return "bfloat16" if _has_amx() else "float32"


@dataclass(frozen=True)
class Rough:
    """Vectors in low precision (a torch tensor), their lengths, and what rounding took."""

    low: Any
    roundoff: float
    lengths: Floats
    lost: Floats

    @classmethod
    def of(cls, vectors: np.ndarray, rough: str) -> Rough | None:
        """None where nothing is to be rough, or a number is too large for it (or none, which is
        found out later).
        """
        if rough == "none" or not (lengths := _lengths(vectors)).max() < 1e15:
            return None
        import torch

        single = torch.from_numpy(np.ascontiguousarray(vectors, np.float32))
        if rough == "float32":
            return cls(single, 2.0**-24, lengths, lengths * 2.0**-24)
        low = single.bfloat16()
        return cls(low, 2.0**-8, lengths, _lengths(vectors - low.float().numpy()))


def _lengths(vectors: np.ndarray) -> Floats:
    """Euclidean lengths, none too short."""
    return np.sqrt(np.einsum("bd,bd->b", vectors, vectors).astype(np.float64)) * 1.001


class Tile:
    """The rough similarities of a tile, in memory that is used again: asking for it anew takes a
    fifth of the time.
    """

    def __init__(self) -> None:
        self.kept: Any = None

    def product(self, asked_CD: Any, offered_BD: Any) -> Any:
        """The inner products [C, B], until the next ones."""
        import torch

        size = len(asked_CD) * len(offered_BD)
        if self.kept is None or len(self.kept) < size:
            self.kept = torch.empty(size, dtype=asked_CD.dtype)
        return torch.mm(
            asked_CD, offered_BD.T, out=self.kept[:size].view(len(asked_CD), len(offered_BD))
        )


@dataclass
class Best:
    """The best rows found so far, in order."""

    rows_QK: Ints
    scores_QK: Floats

    def merge(self, query_P: Ints, row_P: Ints, score_P: Floats) -> None:
        """Take in pairs whose rows all stand behind those taken in before."""
        better = score_P > self.scores_QK[query_P, -1]  # an equal one comes later, and loses
        if not better.any():
            return
        query_P, row_P, score_P = query_P[better], row_P[better], score_P[better]
        touched = np.unique(query_P)
        k = self.rows_QK.shape[1]
        query = np.concatenate([np.repeat(touched, k), query_P])
        row = np.concatenate([self.rows_QK[touched].ravel(), row_P])
        score = np.concatenate([self.scores_QK[touched].ravel(), score_P])
        order = np.lexsort((row, -score, query))
        first = np.searchsorted(query[order], touched)[:, None] + np.arange(k)
        self.rows_QK[touched], self.scores_QK[touched] = row[order][first], score[order][first]


class Chunk:
    """Some queries, as given and in low precision."""

    def __init__(self, start: int, vectors_CD: np.ndarray, rough: str, tile: Tile) -> None:
        self.start, self.vectors_CD, self.rough, self.tile = (
            start,
            vectors_CD,
            Rough.of(vectors_CD, rough),
            tile,
        )

    def candidates(
        self, part_BD: np.ndarray, offered: Rough | None, best: Best, *, first: bool
    ) -> tuple[Ints, Ints, Floats]:
        """Query and column of all pairs that could be among the best, in order, and their
        similarities.
        """
        asked, k = self.rough, best.rows_QK.shape[1]
        if asked is None or offered is None:
            return self._all(part_BD, k)
        sums = (part_BD.shape[1] + 4) * 2.0**-24
        off_C = asked.lost * offered.lengths.max() + asked.lengths * (
            1.01 * offered.lost.max() + 1.01 * sums * offered.lengths.max()
        )
        rough_CB = self.tile.product(asked.low, offered.low)
        known_C = best.scores_QK[self.start : self.start + len(off_C), -1] - 1e-9
        # k rows are roughly at least this, so in truth at least this less what rounding can have
        # added
        if first:
            known_C = _kth(rough_CB, k)
            known_C = known_C - np.abs(known_C) * 2 * asked.roundoff - off_C - 1e-9
        floor_C = known_C - off_C
        floor_C -= (
            np.abs(floor_C) * 3 * asked.roundoff
        )  # the result's own rounding, and the floor's
        place_P, column_P = _places(_reaching(rough_CB, floor_C))
        if len(place_P) > MANY * len(off_C) * len(part_BD) + FEW:
            return self._all(part_BD, k)
        score_P = np.empty(len(place_P))
        for at in range(0, len(place_P), PAIRS):
            few = slice(at, at + PAIRS)
            one, two = (
                vectors[rows[few]].astype(np.float64)
                for vectors, rows in ((self.vectors_CD, place_P), (part_BD, column_P))
            )
            score_P[few] = np.einsum("pd,pd->p", one, two)
        return place_P, column_P, np.round(score_P, 9)

    def _all(self, part_BD: np.ndarray, k: int) -> tuple[Ints, Ints, Floats]:
        """The best of the tile, all of it multiplied in double precision."""
        scores_CB = np.round(self.vectors_CD.astype(np.float64) @ part_BD.astype(np.float64).T, 9)
        order_CK = metrics.ranking(scores_CB, k=k)
        place_P = np.repeat(np.arange(len(scores_CB)), order_CK.shape[1])
        return place_P, order_CK.ravel(), np.take_along_axis(scores_CB, order_CK, 1).ravel()


def _kth(rough_CB: Any, k: int) -> Floats:
    """The k-th highest of each row."""
    single = rough_CB.float().numpy()
    return np.partition(single, single.shape[1] - k, axis=1)[:, single.shape[1] - k].astype(
        np.float64
    )


def _reaching(rough_CB: Any, floor_C: Floats) -> NDArray[np.bool_]:
    """Where the rough similarity is at least the row's floor."""
    import torch

    if rough_CB.dtype == torch.float32:
        reaching: NDArray[np.bool_] = rough_CB.numpy() >= floor_C.astype(np.float32)[:, None]
        return reaching
    floor = torch.from_numpy(floor_C).bfloat16()[:, None]
    if (
        floor_C > 0
    ).all():  # then bit patterns are in the order of the numbers, and compare much faster
        found: NDArray[np.bool_] = (
            rough_CB.view(torch.int16).numpy() >= floor.view(torch.int16).numpy()
        )
        return found
    return (rough_CB >= floor).numpy()


def _places(mask_CB: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Row and column of what is true, in order; eight at a time, since next to nothing is."""
    flat = np.ascontiguousarray(mask_CB).ravel()
    if len(flat) % 8:
        place = np.flatnonzero(flat)
    else:
        words = np.flatnonzero(flat.view(np.uint64))
        word, byte = np.nonzero(flat.reshape(-1, 8)[words])
        place = words[word] * 8 + byte
    return place // mask_CB.shape[1], place % mask_CB.shape[1]
