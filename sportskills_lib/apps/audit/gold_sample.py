"""Which items a person is shown: a stratified draw, the same for the same seed.

Strata are verdict and sport. Every verdict gets an equal share of the sample (a rare one would else
hardly be seen); within a verdict the sports get equal shares, as far as there are items. Where a
verdict has more sports than items to draw, it is one stratum: some sports would else never be
drawn, and nothing would say so. Each item carries its stratum and the size of it, so that scores
can be weighted back to the population.
"""

from __future__ import annotations

import polars as pl

from sportskills_lib.apps.audit import questions
from sportskills_lib.apps.audit.sheets import SAMPLE, Sheet

BATCH = 500_000  # items in memory at once


class NothingDrawn(ValueError):
    """The filter decided nothing in this run."""


def draw(run: str, filter_: str, *, n: int, seed: int) -> Sheet:
    """``n`` items of the filter (all, if there are fewer), in an order that tells nothing of the
    verdict.
    """
    if n < 1:
        raise ValueError(f"a sample of {n} items tells nothing: draw at least one")
    drawn = stratified(questions.question(filter_).items(run), n=n, seed=seed)
    if drawn.is_empty():
        raise NothingDrawn(
            f"run {run!r} holds nothing that the filter {filter_!r} decided: nothing can be drawn"
        )
    return Sheet(filter_, run, drawn.select(
        pl.lit(filter_).alias("filter"), pl.lit(run).alias("run"), pl.exclude("order"),
        pl.lit("").alias("label"), pl.lit("").alias("note"),
    ).select(SAMPLE))  # fmt: skip


def stratified(items: pl.LazyFrame, *, n: int, seed: int) -> pl.DataFrame:
    """``n`` of the items with ``stratum`` and ``stratum_size``, mixed; never more than a batch is
    in memory.
    """
    key, order = ["verdict", "sport"], ["order", "item_id"]
    first, sizes = list[pl.DataFrame](), list[pl.DataFrame]()
    for batch in items.with_columns(order=pl.col("item_id").hash(seed)).collect_batches(
        chunk_size=BATCH
    ):
        sizes = [
            pl.concat([*sizes, batch.group_by(key).len()]).group_by(key).agg(pl.col("len").sum())
        ]
        sorted_ = pl.concat([*first, batch]).sort(order)
        first = [sorted_.filter(pl.int_range(pl.len()).over(key) < n)]
    if not sizes:
        return items.collect()
    known = sizes[0].with_columns(
        told=pl.concat_str("verdict", pl.col("sport").fill_null("no sport"), separator=", ")
    )
    by_verdict = dict(known.group_by("verdict").agg(pl.col("len").sum()).iter_rows())
    shares = even_shares(by_verdict, n)
    share = pl.col("verdict").replace_strict(shares, default=0, return_dtype=pl.Int64)
    fits = pl.len().over("verdict") <= share  # else the verdict is one stratum
    known = known.with_columns(stratum=pl.when(fits).then("told").otherwise("verdict"))
    known = known.with_columns(stratum_size=pl.col("len").sum().over("stratum").cast(pl.Int64))
    quotas = dict[str, int]()
    for (verdict,), part in known.group_by("verdict", maintain_order=True):
        quotas |= even_shares(
            dict(part.select("stratum", "stratum_size").iter_rows()), shares[str(verdict)]
        )
    mixed = (
        first[0]
        .join(known.select(*key, "stratum", "stratum_size"), on=key, nulls_equal=True)
        .sort(order)
    )
    quota = pl.col("stratum").replace_strict(quotas, default=0, return_dtype=pl.Int64)
    return mixed.filter(pl.int_range(pl.len()).over("stratum") < quota)


def even_shares(sizes: dict[str, int], n: int) -> dict[str, int]:
    """How many of each to take so that ``n`` are taken, as evenly as sizes allow; what is left goes
    by name.
    """
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
