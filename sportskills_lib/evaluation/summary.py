"""From per-query scores to the tables of the report: means with intervals, differences, the headline, LaTeX.

Column names and words are those that others rely on; a sport that is not evaluable keeps its row, with no value. All
numbers are of the run at hand: demo figures are demo figures, never results about sport.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from sportskills_lib.evaluation import recall, significance
from sportskills_lib.evaluation.audit import HIT, MULTI
from sportskills_lib.evaluation.recall import RANK, SINGLE

MEAN = "mean"  # the macro row
NOT_EVALUABLE = "not evaluable"
REPORTED = (SINGLE, MULTI, HIT)
COLUMNS = (
    "sport", "encoder", "training", "direction", "scope", "metric", "value", "low", "high", "n", "chance",
)  # fmt: skip
COMPARISONS = (
    ("difference", "narrations", "activity_skill", "headline"),
    ("ratio", "narrations", "activity_sport", "ratio of macro means, not a mean of ratios"),
    ("difference", "narrations_shuffled", "activity_skill", "control: should not be apart"),
    ("difference", "narrations", "narrations_shuffled", "what the right pairing adds"),
    ("difference", "narrations", "zero_shot", "what training adds"),
)
TRAININGS = ("zero_shot", "activity_sport", "activity_skill", "narrations_shuffled", "narrations", "both")


def _slices(scores: pl.DataFrame, names: tuple[str, ...]) -> list[tuple[dict[str, str], pl.DataFrame]]:
    """The scores of each direction, scope and metric, with ``system`` cut down to encoder/training."""
    split = recall.split_system(scores.filter(pl.col("metric").is_in(names)))
    split = split.with_columns(system=pl.concat_str("encoder", "training", separator="/"))
    keys = ["direction", "scope", "metric"]
    parts = split.partition_by(keys, as_dict=True)
    order = sorted(parts, key=lambda key: (str(key[0]), str(key[1]), names.index(str(key[2]))))
    return [(dict(zip(keys, map(str, key), strict=True)), parts[key]) for key in order]


def _in_order(systems: Iterable[str]) -> list[str]:
    """encoder/training by encoder, then from the common start to the full training."""

    def place(system: str) -> tuple[str, int, str]:
        encoder, training = system.split("/")
        return encoder, TRAININGS.index(training) if training in TRAININGS else len(TRAININGS), training

    return sorted(systems, key=place)


def per_sport_recall(scores: pl.DataFrame, *, draws: int, seed: int) -> pl.DataFrame:
    """The table per_sport_recall.csv: a row for each sport, arm, direction, scope and metric, and the macro rows."""
    rows: list[dict] = []
    for key, part in _slices(scores, REPORTED):
        chance = part.group_by("sport").agg(pl.col("chance").mean(), pl.col("query_id").n_unique())
        chances = {sport: (value, n) for sport, value, n in chance.sort("sport").rows()}
        sampled = significance.resample(part, draws=draws, seed=seed)
        for system in _in_order(part["system"].unique()):
            encoder, training = system.split("/")
            arm = {"encoder": encoder, "training": training} | key
            for sport, (level, asked) in chances.items():
                known = sport in sampled.strata
                interval = sampled.stratum(system, sport) if known else significance.Interval(float("nan"), None, None)
                rows.append(_row(sport, arm, interval, asked, level))
            if sampled.strata:
                level = sum(chances[sport][0] for sport in sampled.strata) / len(sampled.strata)
                rows.append(_row(MEAN, arm, sampled.macro(system), int(sampled.queries_S.sum()), level))
    return pl.DataFrame(rows, schema=_SCHEMA).with_columns(pl.col("value").fill_nan(None))


_SCHEMA = dict.fromkeys(COLUMNS[:6], pl.String) | dict.fromkeys(COLUMNS[6:], pl.Float64) | {"n": pl.Int64}


def _row(sport: str, arm: dict[str, str], interval: significance.Interval, n: int, chance: float) -> dict:
    value = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {"sport": sport} | arm | value | {"n": n, "chance": chance}


def headline(scores: pl.DataFrame, *, draws: int, seed: int) -> pl.DataFrame:
    """The comparisons of fair play on recall@10_single, text→video, within sport; empty when no sport is evaluable.

    kind, encoder, training, baseline, value, low, high, n (queries), sports, apart (the interval excludes 0, or 1 for a
    ratio), note.
    """
    rows = []
    for key, part in _slices(scores, (SINGLE,)):
        if (key["direction"], key["scope"]) != ("text_to_video", "within_sport"):
            continue
        sampled = significance.resample(part, draws=draws, seed=seed)
        for encoder in sorted(part["encoder"].unique()):
            for kind, training, baseline, note in COMPARISONS:
                one, two = f"{encoder}/{training}", f"{encoder}/{baseline}"
                if not sampled.strata or one not in sampled.systems or two not in sampled.systems:
                    continue
                interval = sampled.difference(one, two) if kind == "difference" else sampled.ratio(one, two)
                apart = interval.excludes(0.0 if kind == "difference" else 1.0)
                names = (kind, encoder, training, baseline)
                size = (int(sampled.queries_S.sum()), len(sampled.strata))
                rows.append((*names, interval.value, interval.low, interval.high, *size, apart, note))
    return pl.DataFrame(rows, schema=_HEADLINE, orient="row")


_HEADLINE = {
    "kind": pl.String, "encoder": pl.String, "training": pl.String, "baseline": pl.String, "value": pl.Float64,
    "low": pl.Float64, "high": pl.Float64, "n": pl.Int64, "sports": pl.Int64, "apart": pl.Boolean, "note": pl.String,
}  # fmt: skip


def headline_facts(table: pl.DataFrame, feedback: pl.DataFrame) -> dict[str, float]:
    """The numbers worth a line in `status`: the headline difference, the ratio, nDCG@10 of the LoRA."""
    facts: dict[str, float] = {}
    for kind, baseline, name in (("difference", "activity_skill", "gain"), ("ratio", "activity_sport", "ratio")):
        rows = table.filter(
            (pl.col("kind") == kind) & (pl.col("training") == "narrations") & (pl.col("baseline") == baseline)
        )
        if rows.height:
            facts[name] = round(float(rows["value"][0]), 4)
    judged = feedback.filter((pl.col("system") == "vlm_lora") & (pl.col("metric") == "ndcg@10"))
    if judged.height:
        facts["lora_ndcg"] = round(float(judged["value"][0]), 4)
    return facts


def differences_by_sport(
    scores: pl.DataFrame, *, draws: int, seed: int, training: str = "narrations", baseline: str = "activity_skill"
) -> pl.DataFrame:
    """The headline difference in each sport, paired: sport, encoder, difference, low, high, n, videos, apart."""
    rows = []
    for key, part in _slices(scores, (SINGLE,)):
        if (key["direction"], key["scope"]) != ("text_to_video", "within_sport"):
            continue
        sampled = significance.resample(part, draws=draws, seed=seed)
        for encoder in sorted(part["encoder"].unique()):
            one, two = f"{encoder}/{training}", f"{encoder}/{baseline}"
            if one not in sampled.systems or two not in sampled.systems:
                continue
            for index, sport in enumerate(sampled.strata):
                gap = sampled.difference(one, two, stratum=sport)
                size = (int(sampled.queries_S[index]), int(sampled.clusters_S[index]))
                rows.append((sport, encoder, gap.value, gap.low, gap.high, *size, gap.excludes(0.0)))
    columns = ["sport", "encoder", "difference", "low", "high", "n", "videos", "apart"]
    types = [pl.String, pl.String, pl.Float64, pl.Float64, pl.Float64, pl.Int64, pl.Int64, pl.Boolean]
    return pl.DataFrame(rows, schema=dict(zip(columns, types, strict=True)), orient="row")


def pooled(scores: pl.DataFrame, *, draws: int, seed: int) -> pl.DataFrame:
    """Every query counts once, whatever its sport: for galleries across sports, where single sports are too small.

    encoder, training, direction, scope, metric, value, low, high, n, videos, chance, median_rank.
    """
    middle = _middle_ranks(scores)
    rows = []
    for key, part in _slices(scores, REPORTED):
        if key["scope"] != "across_sports":
            continue
        sampled = significance.resample(part, draws=draws, seed=seed, stratum=None)
        for system in _in_order(sampled.systems) if sampled.strata else []:
            encoder, training = system.split("/")
            interval = sampled.stratum(system, "all")
            size = (int(sampled.queries_S[0]), int(sampled.clusters_S[0]), float(part["chance"].mean()))  # type: ignore[arg-type]
            names = [encoder, training, *key.values()]
            rank = middle.get((encoder, training, key["direction"], key["scope"]))
            rows.append((*names, interval.value, interval.low, interval.high, *size, rank))
    return pl.DataFrame(rows, schema=_POOLED, orient="row")


_POOLED = {
    "encoder": pl.String, "training": pl.String, "direction": pl.String, "scope": pl.String, "metric": pl.String,
    "value": pl.Float64, "low": pl.Float64, "high": pl.Float64, "n": pl.Int64, "videos": pl.Int64,
    "chance": pl.Float64, "median_rank": pl.Float64,
}  # fmt: skip


def _middle_ranks(scores: pl.DataFrame) -> dict[tuple[str, ...], float]:
    table = median_ranks(scores)
    return {tuple(row[:4]): row[4] for row in table.rows()}


def median_ranks(scores: pl.DataFrame) -> pl.DataFrame:
    """The median rank of the own clip, by arm, direction and scope, with its chance level; lower is better.

    Within sport only queries of evaluable sports count: a small gallery has small ranks.
    """
    key = ["system", "query_id", "seed"]
    evaluable = scores.filter((pl.col("metric") == SINGLE) & pl.col("value").is_not_null()).select(key)
    ranks = scores.filter(pl.col("metric") == RANK)
    small = ranks.join(evaluable, on=key, how="anti").filter(pl.col("system").str.ends_with("/within_sport"))
    counted = recall.split_system(ranks.join(small.select(key), on=key, how="anti"))
    return (
        counted.group_by("encoder", "training", "direction", "scope")
        .agg(median_rank=pl.col("value").median(), chance=pl.col("chance").median(), n=pl.col("query_id").n_unique())
        .sort("direction", "scope", "encoder", "training")
    )


def shown_sports(table: pl.DataFrame, sizes: pl.DataFrame) -> list[str]:
    """The evaluable sports, largest gallery first (ties by name): the figure takes 20, an appendix the rest."""
    within = table.filter((pl.col("scope") == "within_sport") & pl.col("value").is_not_null())
    evaluable = sizes.filter(pl.col("sport").is_in(within["sport"].unique().implode()))
    return evaluable.sort("gallery", "sport", descending=[True, False])["sport"].to_list()


def of_figure(table: pl.DataFrame, encoder: str) -> pl.DataFrame:
    """The rows that the main figure draws: recall@10_single, text→video, within sport."""
    return table.filter(
        (pl.col("encoder") == encoder)
        & (pl.col("metric") == SINGLE)
        & (pl.col("direction") == "text_to_video")
        & (pl.col("scope") == "within_sport")
    )


def spoken(value: float | None, low: float | None, high: float | None) -> str:
    """ "0.42 [0.37, 0.47]", without brackets where there is no interval, or "not evaluable"."""
    if value is None:
        return NOT_EVALUABLE
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def wide(table: pl.DataFrame, sizes: pl.DataFrame, *, encoder: str | None = None) -> pl.DataFrame:
    """One line a sport, one column an arm, as text: "0.42 [0.37, 0.47]" or "not evaluable"; the mean last."""
    encoders = sorted(table["encoder"].unique())
    if not encoders:
        return pl.DataFrame(schema={"sport": pl.String})
    shown = of_figure(table, encoder or encoders[0])
    cells = [spoken(*row) for row in shown.select("value", "low", "high").rows()]
    shown = shown.with_columns(cell=pl.Series(cells, dtype=pl.String))
    if shown.is_empty():
        return pl.DataFrame(schema={"sport": pl.String})
    arms = [name for name in TRAININGS if name in shown["training"].unique().to_list()]
    lines = shown.pivot("training", index=["sport", "n", "chance"], values="cell").join(sizes, on="sport", how="left")
    return (
        lines.with_columns(last=pl.col("sport") == MEAN, chance=pl.col("chance").round(3))
        .sort("last", "sport")
        .rename({"gallery": "N"})
        .select("sport", "N", "n", "videos", "chance", *arms)
    )


def latex(table: pl.DataFrame, *, caption: str) -> str:
    """A booktabs table; every cell escaped."""
    head = " & ".join(map(_tex, table.columns)) + r" \\"
    body = [" & ".join(_tex("" if cell is None else str(cell)) for cell in row) + r" \\" for row in table.rows()]
    columns = "l" + "r" * (table.width - 1)
    lines = [r"\begin{table*}", r"\centering\small", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule"]
    lines += [*body, r"\bottomrule", r"\end{tabular}", rf"\caption{{{_tex(caption)}}}", r"\end{table*}"]
    return "\n".join(lines) + "\n"


def _tex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {letter: "\\" + letter for letter in "&%$#_{}"}
    return "".join(special.get(letter, letter) for letter in text)
