"""Who grades what, and in which order.

A *block* is a learner with all candidates drawn for it. Whole blocks are given to raters, not
single pairs: systems are compared on one learner's candidates, so those should be graded by the
same people, and a coach looks into a learner's mistake once. ``overlap`` raters get each block; a
share of the blocks goes to all of them, so that every two raters can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def assign(
    sizes: Mapping[str, int], raters: Sequence[str], *, overlap: int, share_by_all: float, seed: int
) -> dict[str, list[str]]:
    """The raters of each block (``sizes``: block → items in it), in the order of ``raters``.

    Each block has ``overlap`` raters, ``ceil(share_by_all × blocks)`` of them all raters, drawn at
    random. The loads of two raters, in items, differ by at most twice the largest block: each block
    goes to the rater who has least so far, and to those who met that one least, as far as they have
    hardly more.
    """
    check(raters, overlap=overlap, share_by_all=share_by_all)
    rng = np.random.default_rng([seed, 61])
    names = sorted(sizes)
    mixed = [names[i] for i in rng.permutation(len(names))]
    common = set(mixed[: int(np.ceil(share_by_all * len(names) - 1e-9))])
    load_R, met_RR = np.zeros(len(raters), np.int64), np.zeros((len(raters), len(raters)), np.int64)
    chosen: dict[str, list[str]] = {}
    # Large blocks first: small ones then even out the loads.
    for name in sorted(mixed, key=lambda each: -sizes[each]):
        picked = (
            list(range(len(raters)))
            if name in common
            else _least(load_R, met_RR, overlap, sizes[name], rng)
        )
        load_R[picked] += sizes[name]
        met_RR[np.ix_(picked, picked)] += 1
        chosen[name] = [raters[i] for i in sorted(picked)]
    return {name: chosen[name] for name in names}


def _least(
    load_R: np.ndarray, met_RR: np.ndarray, count: int, size: int, rng: np.random.Generator
) -> list[int]:
    """``count`` raters: the one with least, then who met those least among all with at most
    ``size`` items more.
    """
    lots = rng.permutation(len(load_R))
    by_load = sorted(range(len(load_R)), key=lambda i: (load_R[i], lots[i]))
    picked, few = by_load[:1], load_R[by_load[0]] + size
    while len(picked) < count:
        free = [i for i in by_load if i not in picked]
        near = [i for i in free if load_R[i] <= few] or free[:1]
        picked.append(min(near, key=lambda i: (met_RR[i, picked].sum(), load_R[i], lots[i])))
    return picked


def check(raters: Sequence[str], *, overlap: int, share_by_all: float) -> None:
    """ValueError for a design that nobody could follow."""
    if not raters:
        raise ValueError("no raters: name each one with --rater")
    if len(set(raters)) < len(raters):
        raise ValueError(f"duplicate rater in {', '.join(raters)}: name each one once")
    if not 1 <= overlap <= len(raters):
        raise ValueError(
            f"each pair by {overlap} raters needs between 1 and {len(raters)} of them: change "
            "--overlap"
        )
    if not 0 <= share_by_all <= 1:
        raise ValueError(f"--by-all must be between 0 and 1, got {share_by_all}")


def order(blocks: Mapping[str, Sequence[int]], rater: str, *, seed: int) -> list[int]:
    """The rater's items one after another: blocks mixed, and the items in each block mixed, by seed
    and rater.

    Every rater has another order, so that tiredness and what was seen before fall on no pair in
    particular.
    """
    rng = np.random.default_rng([seed, 67, *rater.encode()])
    names = sorted(blocks)
    found: list[int] = []
    for at in rng.permutation(len(names)):
        items = sorted(blocks[names[at]])
        found += [items[i] for i in rng.permutation(len(items))]
    return found
