"""From per-query scores to the tables of the report: means with intervals, differences, the
headline, LaTeX.

Column names and words are those that others rely on; a sport that is not evaluable keeps its row,
with no value. All numbers are of the run at hand: demo figures are demo figures, never results
about sport.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from sportskills_lib.evaluation import recall
from sportskills_lib.evaluation.recall import RANK, SINGLE, WITHIN
from sportskills_lib.evaluation.recall_arrays import HIT, MULTI, own_metrics, relevant_metrics
from sportskills_lib.plots.notebook_tables import interval
from sportskills_lib.statistics import bootstrap

MEAN = "mean"  # the macro row
NOT_EVALUABLE = "not evaluable"
COLUMNS = (
    "sport",
    "encoder",
    "training",
    "direction",
    "scope",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "chance",
)
# From the common start to the full training; arms of other names follow, by name.
TRAININGS = (
    "zero_shot",
    "activity_dataset",
    "activity_sport",
    "activity_skill",
    "narrations_shuffled",
    "narrations",
    "both",
)
ENCODERS = ("image", "video", "native")


def ordered(names: Iterable[str], known: tuple[str, ...] = TRAININGS) -> list[str]:
    """Arms (or encoders) in the order in which they are shown: the known ones first, then others by
    name.
    """
    return sorted(
        set(names), key=lambda name: (known.index(name) if name in known else len(known), name)
    )


def metric_families() -> tuple[tuple[str, ...], ...]:
    """Metrics that are defined for the same queries, so that they are resampled together."""
    return tuple(own_metrics()), tuple(relevant_metrics())


def slices(
    scores: pl.DataFrame, names: tuple[str, ...]
) -> list[tuple[dict[str, str], pl.DataFrame]]:
    """The scores of each direction and scope in these metrics, ``system`` cut down to
    encoder/training.
    """
    split = recall.split_system(scores.filter(pl.col("metric").is_in(names)))
    split = split.with_columns(system=pl.concat_str("encoder", "training", separator="/"))
    keys = ["direction", "scope"]
    parts = split.partition_by(keys, as_dict=True)
    return [(dict(zip(keys, map(str, key), strict=True)), parts[key]) for key in sorted(parts)]


def arms_in_order(systems: Iterable[str]) -> list[str]:
    """encoder/training by encoder, then from the common start to the full training."""
    pairs = [system.split("/") for system in set(systems)]
    encoders, trainings = (
        ordered((pair[0] for pair in pairs), ENCODERS),
        ordered(pair[1] for pair in pairs),
    )
    return [
        "/".join(pair)
        for pair in sorted(pairs, key=lambda p: (encoders.index(p[0]), trainings.index(p[1])))
    ]


def per_sport_recall(scores: pl.DataFrame, *, draws: int, seed: int) -> pl.DataFrame:
    """The table per_sport_recall.csv: a row for each sport, arm, direction, scope and metric, and
    the macro rows.
    """
    rows = [
        row
        for names in metric_families()
        for key, part in slices(scores, names)
        for row in _rows_of(key, part, draws=draws, seed=seed)
    ]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row").with_columns(
        pl.col("value").fill_nan(None)
    )


def _rows_of(key: dict[str, str], part: pl.DataFrame, *, draws: int, seed: int) -> list[tuple]:
    """All metrics of one family at once: they were asked of the same queries, so that one set of
    draws serves all.
    """
    counted = part.group_by("metric", "sport").agg(
        pl.col("chance").mean(), pl.col("query_id").n_unique()
    )
    chances: dict[str, dict[str, tuple[float, int]]] = {}
    for metric, sport, chance, n in counted.sort("metric", "sport").rows():
        chances.setdefault(metric, {})[sport] = (chance, n)
    joined = part.with_columns(
        system=pl.concat_str("system", "metric", separator="#"), metric=pl.lit("all")
    )
    sampled = bootstrap.resample(joined, draws=draws, seed=seed)
    nothing = bootstrap.Interval(float("nan"), None, None)
    rows = []
    for metric, known in chances.items():
        for system in arms_in_order(part["system"].unique()):
            arm, name = (*system.split("/"), *key.values(), metric), f"{system}#{metric}"
            for sport, (level, asked) in known.items():
                interval = sampled.stratum(name, sport) if sport in sampled.strata else nothing
                rows.append((sport, *arm, *interval, asked, level))
            if sampled.strata:
                level = sum(known[sport][0] for sport in sampled.strata) / len(sampled.strata)
                queries = int(sampled.queries_S.sum())
                rows.append((MEAN, *arm, *sampled.macro(name), queries, level))
    return rows


_SCHEMA = (
    dict.fromkeys(COLUMNS[:6], pl.String) | dict.fromkeys(COLUMNS[6:], pl.Float64) | {"n": pl.Int64}
)


def pooled(scores: pl.DataFrame, *, draws: int, seed: int) -> pl.DataFrame:
    """Every query counts once, whatever its sport: for galleries across sports, where single sports
    are too small.

    encoder, training, direction, scope, metric, value, low, high, n, videos, chance, median_rank.
    """
    middle = {
        tuple(row[:4]): row[5]
        for row in median_ranks(scores).filter(pl.col("sport") == MEAN).rows()
    }
    rows = []
    for names in metric_families():
        for key, part in slices(scores, names):
            if key["scope"] != recall.ACROSS:
                continue
            for metric in sorted(part["metric"].unique()):
                asked = part.filter(pl.col("metric") == metric)
                sampled = bootstrap.resample(asked, draws=draws, seed=seed, stratum=None)
                for system in arms_in_order(sampled.systems) if sampled.strata else []:
                    arm = (*system.split("/"), *key.values())
                    size = (int(sampled.queries_S[0]), int(sampled.clusters_S[0]))
                    values = (*sampled.stratum(system, "all"), *size, asked["chance"].mean())
                    rows.append((*arm, metric, *values, middle.get(arm)))
    return pl.DataFrame(rows, schema=_POOLED, orient="row")


def headline_metrics(across: pl.DataFrame) -> pl.DataFrame:
    """The rows of :func:`pooled` at the headline's k, less the scope, which is the same in all."""
    return (
        across.filter(pl.col("metric").is_in((SINGLE, MULTI, HIT))).drop("scope")
        if across.width
        else across
    )


_POOLED = {
    "encoder": pl.String,
    "training": pl.String,
    "direction": pl.String,
    "scope": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "videos": pl.Int64,
    "chance": pl.Float64,
    "median_rank": pl.Float64,
}


def median_ranks(scores: pl.DataFrame) -> pl.DataFrame:
    """The median rank of the own clip by arm, direction and scope, in each sport and over all
    queries (``mean``).

    Lower is better; ``chance`` is the level of a random order. Within sport only evaluable sports
    count: a small gallery has small ranks.
    """
    key = ["system", "query_id", "seed"]
    evaluable = scores.filter((pl.col("metric") == SINGLE) & pl.col("value").is_not_null()).select(
        key
    )
    ranks = scores.filter(pl.col("metric") == RANK)
    small = ranks.join(evaluable, on=key, how="anti").filter(
        ~pl.col("system").str.ends_with(recall.ACROSS)
    )
    counted = recall.split_system(ranks.join(small.select(key), on=key, how="anti"))
    names = ["encoder", "training", "direction", "scope", "sport"]
    parts = [
        rows.group_by(names).agg(
            median_rank=pl.col("value").median(),
            chance=pl.col("chance").median(),
            n=pl.col("query_id").n_unique(),
        )
        for rows in (counted.with_columns(sport=pl.lit(MEAN)), counted)
    ]
    last = pl.col("sport") == MEAN
    return pl.concat(parts).sort("direction", "scope", ~last, "sport", "encoder", "training")


def shown_sports(table: pl.DataFrame, sizes: pl.DataFrame, *, scope: str = WITHIN) -> list[str]:
    """The evaluable sports, largest gallery first (ties by name): the figure takes 20, an appendix
    the rest.
    """
    within = of_figure(table, scope=scope).filter(pl.col("value").is_not_null())
    return (
        sizes.filter(pl.col("sport").is_in(within["sport"].unique().implode()))
        .sort("gallery", "sport", descending=[True, False])["sport"]
        .to_list()
    )


def of_figure(
    table: pl.DataFrame, encoder: str | None = None, *, scope: str = WITHIN
) -> pl.DataFrame:
    """The rows that the main figure draws: recall@k_single, text→video, within sport, of one
    encoder or all.
    """
    shown = table.filter(
        (pl.col("metric") == SINGLE)
        & (pl.col("direction") == "text_to_video")
        & (pl.col("scope") == scope)
    )
    return shown if encoder is None else shown.filter(pl.col("encoder") == encoder)


def graders(raters: pl.DataFrame, people: str = "coaches") -> str:
    """``simulated raters``, or ``people`` where people graded."""
    return "simulated raters" if raters.height and raters["simulated"].any() else people


def wide(
    table: pl.DataFrame, sizes: pl.DataFrame, *, encoder: str | None = None, scope: str = WITHIN
) -> pl.DataFrame:
    """One line a sport, one column an arm, as text: "0.42 [0.37, 0.47]" or "not evaluable"; the
    mean last.

    With several encoders and none chosen, there is a line for each of them in every sport.
    """
    shown = of_figure(table, encoder, scope=scope)
    cells = [
        NOT_EVALUABLE if row[0] is None else interval(*row)
        for row in shown.select("value", "low", "high").rows()
    ]
    shown = shown.with_columns(cell=pl.Series(cells, dtype=pl.String))
    if shown.is_empty():
        return pl.DataFrame(schema={"sport": pl.String})
    encoders, arms = (
        ordered(shown["encoder"].unique(), ENCODERS),
        ordered(shown["training"].unique()),
    )
    lines = shown.pivot("training", index=["sport", "encoder", "n", "chance"], values="cell").join(
        sizes, on="sport", how="left"
    )
    place = pl.col("encoder").replace_strict(
        {name: at for at, name in enumerate(encoders)}, return_dtype=pl.Int64
    )
    several = ["encoder"] if len(encoders) > 1 else []
    return (
        lines.with_columns(
            last=pl.col("sport") == MEAN, chance=pl.col("chance").round(3), place=place
        )
        .sort("last", "sport", "place")
        .rename({"gallery": "N"})
        .select("sport", *several, "N", "n", "videos", "chance", *arms)
    )


def latex(table: pl.DataFrame, *, caption: str) -> str:
    """A booktabs table; every cell escaped."""
    head = " & ".join(map(_tex, table.columns)) + r" \\"
    body = [
        " & ".join(_tex("" if cell is None else str(cell)) for cell in row) + r" \\"
        for row in table.rows()
    ]
    lines = [
        r"\begin{table*}",
        r"\centering\small",
        rf"\begin{{tabular}}{{l{'r' * (table.width - 1)}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        rf"\caption{{{_tex(caption)}}}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _tex(text: str) -> str:
    """Any text as LaTeX: what is special escaped, and what no font shows (control and direction
    marks) left out.

    A bracket or star in front stands in braces: behind a row's end it would be read as that
    command's option.
    """
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "−": "$-$",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        **{letter: "\\" + letter for letter in "&%$#_{}"},
    }
    shown = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    escaped = "".join(special.get(letter, letter) for letter in shown)
    return f"{{{escaped[0]}}}{escaped[1:]}" if escaped[:1] in ("[", "*") else escaped
