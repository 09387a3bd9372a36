"""Which items a person is shown: a stratified draw, the same for the same seed.

Strata are verdict and sport. Every verdict gets an equal share of the sample (a rare one would else hardly be seen);
within a verdict the sports get equal shares, as far as there are items. Where a verdict has more sports than items to
draw, it is one stratum: some sports would else never be drawn, and nothing would say so. Each item carries its stratum
and the size of it, so that scores can be weighted back to the population.
"""

from __future__ import annotations

import hashlib

import polars as pl

from sportskills_lib.auditing import questions
from sportskills_lib.auditing.sheets import SAMPLE, Sheet


def draw(run: str, filter_: str, *, n: int, seed: int) -> Sheet:
    """``n`` items of the filter (all, if there are fewer), in an order that tells nothing of the verdict."""
    if n < 1:
        raise ValueError(f"a sample of {n} items tells nothing: draw at least one")
    items = questions.question(filter_).items(run)
    if items.is_empty():
        raise ValueError(f"run {run!r} holds nothing that the filter {filter_!r} decided: nothing can be drawn")
    return Sheet(filter_, run, stratified(items, n=n, seed=seed).select(
        pl.lit(filter_).alias("filter"), pl.lit(run).alias("run"), pl.exclude("order"),
        pl.lit("").alias("label"), pl.lit("").alias("note"),
    ).select(SAMPLE))  # fmt: skip


def stratified(items: pl.DataFrame, *, n: int, seed: int) -> pl.DataFrame:
    """``n`` of the items with ``stratum`` and ``stratum_size``, mixed."""
    keys = [hashlib.sha256(f"{seed}|{item}".encode()).hexdigest() for item in items["item_id"]]
    mixed = items.with_columns(order=pl.Series(keys, dtype=pl.String)).sort("order")
    shares = even_shares(dict(items.group_by("verdict").len().iter_rows()), n)
    sports = pl.struct("verdict", "sport").n_unique().over("verdict")
    told = pl.concat_str("verdict", pl.col("sport").fill_null("no sport"), separator=", ")
    share = pl.col("verdict").replace_strict(shares, default=0, return_dtype=pl.Int64)
    mixed = mixed.with_columns(stratum=pl.when(sports <= share).then(told).otherwise("verdict"))
    mixed = mixed.with_columns(stratum_size=pl.len().over("stratum").cast(pl.Int64))
    quotas = dict[str, int]()
    for (verdict,), part in mixed.group_by("verdict", maintain_order=True):
        sizes = dict(part.group_by("stratum").len().iter_rows())
        quotas |= even_shares(sizes, shares[str(verdict)])
    wanted = pl.col("stratum").replace_strict(quotas, default=0, return_dtype=pl.Int64)
    return mixed.filter(pl.int_range(pl.len()).over("stratum") < wanted)


def even_shares(sizes: dict[str, int], n: int) -> dict[str, int]:
    """How many of each to take so that ``n`` are taken, as evenly as sizes allow; what is left goes by name."""
    given = dict.fromkeys(sizes, 0)
    left = min(n, sum(sizes.values()))
    while left:
        open_ = sorted(name for name in sizes if given[name] < sizes[name])
        each = max(1, left // len(open_))
        for name in open_:
            more = min(each, sizes[name] - given[name], left)
            given[name] += more
            left -= more
    return given
