"""The best gallery rows of each query by inner product: exact, in bounded memory, on a GPU where
there is one.

Similarities are those of double precision, rounded to nine places, so that equal vectors tie
whatever block they are in; ties are in order of gallery rows. A large search multiplies tiles of
queries and gallery rows in single precision (torch) and sums again, in double precision, only the
pairs that could reach the k-th best so far. What single precision can have changed is bounded, not
guessed: rounding the factors and summing D products is off by at most (D + 4) 2⁻²⁴ |q| |g| (Higham,
Accuracy and Stability of Numerical Algorithms, chapter 3). A tile in which too many pairs remain
(vectors that are all alike), or whose numbers are too large for single precision, is multiplied in
double precision as a whole. Small searches are, too: they do not load torch.

Legend: Q queries, N gallery rows, D dimensions, K best, C queries of a chunk, B rows of a block, P
pairs summed again.
"""

from __future__ import annotations

import numpy as np

from sportskills_lib.metrics import Floats, Ints, ranking

CHUNK, BLOCK = 1024, 4096  # queries and gallery rows of a tile
WIDE_BLOCK, FEW = 65536, 64  # rows on a GPU, or for so few queries: the tile is no larger
DENSE_SHARE, DENSE_PAIRS = 0.02, 8192  # more pairs of a tile than this: multiply all in double
SMALL_SEARCH = 2**19  # pairs of query and row that double precision multiplies quickly
RECHECKED = 512  # pairs summed again at once: what fits the processor's cache
LARGEST = 1e15  # longest vector whose products single precision can hold
Pairs = tuple[Ints, Ints, Floats]  # query and column of a tile, and their similarity


def top_k(
    queries_QD: np.ndarray,
    gallery_ND: np.ndarray,
    k: int,
    *,
    block: int = 0,
    single: bool | None = None,
) -> tuple[Ints, Floats]:
    """The ``k`` best gallery rows of each query, best first: rows int64 and similarities float64
    [Q, min(k, N)].

    Never more than CHUNK × ``block`` similarities at once (0: what suits the device), and a block
    of the gallery, which may be mapped from disk. ``single``: whether tiles are multiplied in
    single precision first (None: where the search is large); it changes no result. NaN is an error.
    """
    queries, k = np.asarray(queries_QD), min(k, len(gallery_ND))
    rows_QK = np.zeros((len(queries), k), np.int64)
    scores_QK = np.full((len(queries), k), -np.inf)
    large = len(queries) * len(gallery_ND) >= SMALL_SEARCH
    prefilter = _Prefilter(queries, k) if single or (single is None and large) else None
    wide = prefilter and (prefilter.device == "cuda" or len(queries) <= FEW)
    block = max(block or (WIDE_BLOCK if wide else BLOCK), k)
    for start in range(0, len(gallery_ND), block):
        part_BD = np.asarray(gallery_ND[start : start + block])
        if prefilter:
            prefilter.load(part_BD)
        for at in range(0, len(queries), CHUNK):
            chunk = slice(at, at + CHUNK)
            places = prefilter.places(chunk, scores_QK[chunk, -1]) if prefilter else None
            if places is None:
                pairs = _best_of_tile(queries[chunk], part_BD, k)
            else:
                pairs = _sum_again(queries[chunk], part_BD, *places)
            _merge(rows_QK, scores_QK, at, start, *pairs)
    return rows_QK, scores_QK


def _best_of_tile(chunk_CD: np.ndarray, part_BD: np.ndarray, k: int) -> Pairs:
    """Each query's ``k`` best of the tile, all of it multiplied in double precision."""
    scores_CB = np.round(chunk_CD.astype(np.float64) @ part_BD.astype(np.float64).T, 9)
    order_CK = ranking(scores_CB, k=k)
    place_P = np.repeat(np.arange(len(scores_CB)), order_CK.shape[1])
    return place_P, order_CK.ravel(), np.take_along_axis(scores_CB, order_CK, 1).ravel()


def _sum_again(chunk_CD: np.ndarray, part_BD: np.ndarray, place_P: Ints, column_P: Ints) -> Pairs:
    """The pairs with their similarities in double precision."""
    count = len(place_P) // RECHECKED + 1
    splits = zip(np.array_split(place_P, count), np.array_split(column_P, count), strict=True)
    scores = [
        np.einsum("pd,pd->p", chunk_CD[one].astype(np.float64), part_BD[other].astype(np.float64))
        for one, other in splits
    ]
    return place_P, column_P, np.round(np.concatenate(scores), 9)


class _Prefilter:
    """Finds the pairs of a tile that could be among the ``k`` best, in single precision."""

    def __init__(self, queries_QD: np.ndarray, k: int) -> None:
        import torch

        self.device, self.k = "cuda" if torch.cuda.is_available() else "cpu", k
        self.torch = torch  # imported here alone
        self.queries_QD = torch.tensor(queries_QD, device=self.device).float()
        self.query_lengths, self.memory = np.linalg.norm(queries_QD, axis=1), torch.empty(0)
        # products may be set to take factors rounded to 8 bits (bfloat16, TF32)
        exact = torch.get_float32_matmul_precision() == "highest"
        self.rounding = 1.1 * (queries_QD.shape[1] + 4) * (2.0**-24 if exact else 2.0**-8)

    def load(self, part_BD: np.ndarray) -> None:
        """Move the gallery's next block to the device."""
        shared = part_BD if part_BD.flags.writeable else part_BD.copy()  # torch warns otherwise
        part = self.torch.from_numpy(shared).to(self.device).float()
        self.part_DB, self.longest = part.T, float(self.torch.linalg.vector_norm(part, dim=1).max())

    def places(self, chunk: slice, least_C: Floats) -> tuple[Ints, Ints] | None:
        """Query of ``chunk`` and column of these pairs, in order; None where double precision has
        to multiply the whole tile.

        ``least_C``: the k-th best similarity so far; -inf before the first tile.
        """
        lengths_C = self.query_lengths[chunk]
        if not (lengths_C.max() < LARGEST and self.longest < LARGEST):  # so that NaN is none, too
            return None
        chunk_CD = self.queries_QD[chunk]
        size = len(chunk_CD) * self.part_DB.shape[1]
        if len(self.memory) < size:  # kept: asking anew for each tile costs a sixth of the time
            self.memory = chunk_CD.new_empty(size)
        single_CB = self.memory[:size].view(len(chunk_CD), -1)
        self.torch.mm(chunk_CD, self.part_DB, out=single_CB)
        off_C = self.rounding * lengths_C * self.longest + 1e-9
        if least_C[0] == -np.inf:
            least_C = single_CB.topk(self.k).values[:, -1].cpu().numpy() - off_C
        floor_C = np.nextafter((least_C - off_C).astype(np.float32), np.float32(-np.inf))
        if self.device == "cpu":  # numpy compares and finds faster there
            places = np.flatnonzero(single_CB.numpy() >= floor_C[:, None])
        else:
            reaching_CB = single_CB >= single_CB.new_tensor(floor_C)[:, None]
            places = reaching_CB.flatten().nonzero()[:, 0].cpu().numpy()
        dense = len(places) > DENSE_SHARE * size + DENSE_PAIRS
        return None if dense else np.divmod(places, self.part_DB.shape[1])


def _merge(
    rows_QK: Ints,
    scores_QK: Floats,
    first: int,
    start: int,
    query_P: Ints,
    row_P: Ints,
    score_P: Floats,
) -> None:
    """Take the pairs of the tile at ``first`` and ``start`` into the best, in place; tiles come in
    the order of gallery rows.
    """
    better = score_P > scores_QK[first + query_P, -1]  # an equal one comes later, and loses
    query_P, row_P, score_P = first + query_P[better], start + row_P[better], score_P[better]
    touched, k = np.unique(query_P), rows_QK.shape[1]
    query = np.concatenate([np.repeat(touched, k), query_P])
    row = np.concatenate([rows_QK[touched].ravel(), row_P])
    score = np.concatenate([scores_QK[touched].ravel(), score_P])
    order = np.lexsort((row, -score, query))
    best = np.searchsorted(query[order], touched)[:, None] + np.arange(k)
    rows_QK[touched], scores_QK[touched] = row[order][best], score[order][best]
