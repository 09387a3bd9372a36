"""Batches of few sports: within a sport is where the study's question lies, and where the hard negatives are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl


def sport_batches(
    clips: pl.DataFrame, sports_a_batch: int, clips_a_sport: int, *, steps: int, seed: int
) -> Iterator[np.ndarray]:
    """Yield ``steps`` arrays of row numbers of ``clips``: ``sports_a_batch`` sports with ``clips_a_sport`` clips each.

    Sports, and clips within a sport, come in shuffled rounds: none comes a second time before all came once. A sport
    with fewer clips gives all it has. The same seed gives the same batches whatever the texts are, so that arms differ
    in nothing else.
    """
    rng = np.random.default_rng([seed, 31])
    rows = clips.with_row_index("row")
    members = {key[0]: group["row"].to_numpy() for key, group in sorted(rows.group_by("sport"), key=lambda g: g[0])}
    decks: dict[str, np.ndarray] = {}
    deck: list[str] = []
    for _ in range(steps):
        chosen: list[str] = []
        while len(chosen) < min(sports_a_batch, len(members)):
            if not deck:
                deck = [str(name) for name in rng.permutation(sorted(members))]
            waiting = [name for name in deck if name not in chosen]
            if not waiting:  # the round ends inside this batch: the rest comes from the next round
                deck = deck + [str(name) for name in rng.permutation(sorted(members))]
                continue
            chosen.append(waiting[0])
            deck.remove(waiting[0])
        yield np.concatenate([_deal(name, members[name], decks, clips_a_sport, rng) for name in chosen])


def _deal(
    name: str, rows: np.ndarray, decks: dict[str, np.ndarray], count: int, rng: np.random.Generator
) -> np.ndarray:
    """The next ``count`` rows of a sport's shuffled deck; a new shuffle when too few are left."""
    if len(decks.get(name, ())) < min(count, len(rows)):
        decks[name] = rng.permutation(rows)
    dealt, decks[name] = decks[name][:count], decks[name][count:]
    return dealt
