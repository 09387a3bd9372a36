"""Which items a person is shown: a stratified draw, the same for the same seed.

Strata are verdict and sport. Every verdict gets an equal share of the sample (a rare one would else hardly be seen);
within a verdict the sports get equal shares, as far as there are items. Each item carries the size of its stratum, so
that scores can be weighted back to the population.
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
    """``n`` of the items with ``stratum_size``, mixed."""
    keys = [hashlib.sha256(f"{seed}|{item}".encode()).hexdigest() for item in items["item_id"]]
    mixed = items.with_columns(
        order=pl.Series(keys, dtype=pl.String), stratum_size=pl.len().over("verdict", "sport").cast(pl.Int64)
    ).sort("order")
    sizes = mixed.group_by("verdict", "sport").len().sort("verdict", "sport")
    by_verdict = dict(sizes.group_by("verdict").agg(pl.col("len").sum()).iter_rows())
    shares = even_shares(by_verdict, n)
    quotas = []
    for (verdict,), part in sizes.group_by("verdict", maintain_order=True):
        named = {sport or "": count for sport, count in part.select("sport", "len").iter_rows()}
        given = even_shares(named, shares[str(verdict)])
        quotas += [(verdict, sport or None, given[sport]) for sport in named]
    wanted = pl.DataFrame(quotas, schema={"verdict": pl.String, "sport": pl.String, "quota": pl.Int64}, orient="row")
    place = pl.int_range(pl.len()).over("verdict", "sport")
    return (
        mixed.with_columns(place=place)
        .join(wanted, on=["verdict", "sport"], nulls_equal=True, maintain_order="left")
        .filter(pl.col("place") < pl.col("quota"))
        .drop("place", "quota")
    )


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
