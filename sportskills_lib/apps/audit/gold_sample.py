"""A stratified sample of a filter's decisions for people to label, the same for the same seed.

Strata are verdict and sport. Every verdict gets an equal share of the sample, so that a rare one is
seen often enough; within a verdict the sports get equal shares, as far as there are items. Where a
verdict has more sports than items to draw, it is one stratum: otherwise some sports would never be
drawn. Each item has its stratum and the stratum's size, so that scores can be weighted back to the
population.
"""

from __future__ import annotations

import polars as pl

from sportskills_lib.apps.audit import questions
from sportskills_lib.apps.audit.sheets import SAMPLE, Sheet


class NothingDrawn(ValueError):
    """The filter decided no item of this run."""


def draw(run: str, filter_: str, *, n: int, seed: int) -> Sheet:
    """``n`` items of the filter (all, if there are fewer), in an order that does not depend on the
    verdict.
    """
    if n < 1:
        raise ValueError(f"--n must be at least 1, got {n}")
    drawn = stratified(questions.question(filter_).items(run), n=n, seed=seed)
    if drawn.is_empty():
        raise NothingDrawn(
            f"run {run!r} has no item that the filter {filter_!r} decided: nothing to sample"
        )
    return Sheet(filter_, run, drawn.select(
        pl.lit(filter_).alias("filter"), pl.lit(run).alias("run"), pl.exclude("order"),
        pl.lit("").alias("label"), pl.lit("").alias("note"),
    ).select(SAMPLE))  # fmt: skip


def stratified(items: pl.LazyFrame, *, n: int, seed: int) -> pl.DataFrame:
    """``n`` of the items with ``stratum`` and ``stratum_size``, in random order; polars streams the
    items, so that a run may have millions.
    """
    key = ["verdict", "sport"]
    sizes = items.group_by(key).len().collect(engine="streaming")
    if sizes.is_empty():
        return items.collect()
    mixed = items.with_columns(order=pl.col("item_id").hash(seed)).sort("order", "item_id")
    first = mixed.group_by(key, maintain_order=True).head(n).collect(engine="streaming")
    known = sizes.with_columns(
        name=pl.concat_str("verdict", pl.col("sport").fill_null("no sport"), separator=", ")
    )
    by_verdict = dict(known.group_by("verdict").agg(pl.col("len").sum()).iter_rows())
    shares = even_shares(by_verdict, n)
    share = pl.col("verdict").replace_strict(shares, default=0, return_dtype=pl.Int64)
    fits = pl.len().over("verdict") <= share  # else the verdict is one stratum
    known = known.with_columns(stratum=pl.when(fits).then("name").otherwise("verdict"))
    known = known.with_columns(stratum_size=pl.col("len").sum().over("stratum").cast(pl.Int64))
    quotas = dict[str, int]()
    for (verdict,), part in known.group_by("verdict", maintain_order=True):
        quotas |= even_shares(
            dict(part.select("stratum", "stratum_size").iter_rows()), shares[str(verdict)]
        )
    strata = known.select(*key, "stratum", "stratum_size")
    drawn = first.join(strata, on=key, nulls_equal=True).sort("order", "item_id")
    quota = pl.col("stratum").replace_strict(quotas, default=0, return_dtype=pl.Int64)
    return drawn.filter(pl.int_range(pl.len()).over("stratum") < quota)


def even_shares(sizes: dict[str, int], n: int) -> dict[str, int]:
    """How many of each to take so that ``n`` are taken in all, as evenly as sizes allow; the
    remainder goes by name.
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
