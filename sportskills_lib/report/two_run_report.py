"""reports/<first>-vs-<second>/: the page of two runs, with its figures, tables and films beside it.

The films are made by the caller, who may read videos.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib import metrics
from sportskills_lib.evaluation import feedback, summary
from sportskills_lib.plots import style
from sportskills_lib.plots.notebook_tables import interval
from sportskills_lib.report import (
    findings,
    html_page,
    interval_figures,
    rank_changes,
    run_report,
    run_tables,
    save,
    two_runs,
)
from sportskills_lib.report.save import Page
from sportskills_lib.report.two_runs import RunPair
from sportskills_lib.runs import artifacts

CASES = 3  # queries that rose most, and as many that fell most


def measure(pair: RunPair, *, draws: int = 2000, seed: int = 0) -> dict[str, pl.DataFrame]:
    """Every table of the page by name: differences, judged, moved, settings, dropped."""
    how: dict[str, Any] = {"draws": draws, "seed": seed}
    return {
        "differences": two_runs.differences(pair, **how),
        "judged": two_runs.judged_differences(pair, **how),
        "moved": two_runs.moved(pair),
        "settings": two_runs.settings_that_differ(pair.runs),
        "dropped": _dropped(pair.runs),
    }


def _dropped(runs: tuple[str, str]) -> pl.DataFrame:
    """stage, what, reason, and the counts of both runs: what one dropped and the other did not is
    on top.
    """
    first, second = (
        run_report.dropped_counts(run_tables.dropped(run)).drop("example").rename({"count": name})
        for run, name in zip(runs, ("first", "second"), strict=True)
    )
    keys = ["stage", "what", "reason"]
    return (
        first.join(second, on=keys, how="full", coalesce=True)
        .fill_null(0)
        .sort(
            (pl.col("first") - pl.col("second")).abs(),
            *keys,
            descending=[True, False, False, False],
        )
    )


def pick(pair: RunPair, moves: pl.DataFrame) -> list[dict[str, Any]]:
    """The queries that rose and fell most (``query``), each with what the runs retrieved
    (``hits``).
    """
    arm = two_runs.main_arm(pair)
    own = pair.queries.select("query_id", "own")
    chosen = two_runs.most_moved(moves, arm[0], each=CASES).join(
        own, on="query_id", how="left", maintain_order="left"
    )
    found = {run: two_runs.retrieved(run, chosen["query_id"].to_list(), arm) for run in pair.runs}
    return [
        {
            "query": row,
            "hits": {
                run: hits.filter(pl.col("query_id") == row["query_id"]).to_dicts()
                for run, hits in found.items()
            },
        }
        for row in chosen.iter_rows(named=True)
    ]


def items(cases: list[dict[str, Any]]) -> list[str]:
    """The clips that the page shows, each once."""
    own = [case["query"]["own"][0] for case in cases]
    hits = [hit["clip_id"] for case in cases for each in case["hits"].values() for hit in each]
    return list(dict.fromkeys([*own, *hits]))


def folder(runs: tuple[str, str]) -> Path:
    """Where the page of two runs lies."""
    return artifacts.workspace() / "reports" / f"{runs[0]}-vs-{runs[1]}"


def write(
    pair: RunPair,
    found: dict[str, pl.DataFrame],
    cases: list[dict[str, Any]],
    films: pl.DataFrame,
) -> Path:
    """The page with its figures and tables; the films must lie in ``previews/`` beside it. Returns
    the page.
    """
    place = folder(pair.runs)
    shutil.rmtree(place / "figures", ignore_errors=True)
    for name, frame in found.items():
        save.write_data(place, name, frame)
    training = two_runs.main_arm(pair)[1]
    facts = artifacts.open_stage(pair.runs[1], run_tables.EVALUATION).facts
    facts |= {"run": " vs ".join(pair.runs)}
    for name, page in _pages(pair, found, training).items():
        save.write_page(place / "figures", name, page, facts=facts)
    run_report.name_generated(pair.runs[1], place)
    gaps = found["differences"]
    here = (pl.col("training") == training) & (pl.col("gallery") == "full")
    macro = gaps.filter(pl.col("sport") == summary.MEAN)
    tables = found | {
        "by_sport": gaps.filter(here).drop("training", "gallery"),
        "macro": macro.drop("sport", "p_holm"),
        "moved": run_report.moves_shown(found["moved"]),
    }
    return html_page.write(
        "two_run_report.jinja",
        place,
        films,
        title=f"{pair.runs[1]} against {pair.runs[0]}",
        runs=pair.runs,
        training=training,
        links=[],
        summary=summary_sentences(pair, found),
        warnings=_warnings(pair),
        tables=tables,
        query_cases=cases,
        manifests={run: run_report.manifests_of(run) for run in pair.runs},
    )


def _pages(pair: RunPair, found: dict[str, pl.DataFrame], training: str) -> dict[str, Page]:
    """Differences by sport and by arm, feedback, and which queries moved; those that have something
    to draw.
    """
    gap = " − ".join(reversed(style.told_apart(pair.runs, limit=18)))
    macro = pl.col("sport") == summary.MEAN
    whole = found["differences"].filter(gallery="full")
    judged = found["judged"].filter(metric=feedback.NDCG)
    recall, ndcg = metrics.at_k("recall"), metrics.at_k("nDCG")
    drawn = (  # lines that are no sports stand in that column too
        ("by_sport", recall, whole.filter(~macro, training=training)),
        ("by_arm", f"{recall}, macro mean", whole.filter(macro).with_columns(sport="training")),
        ("judged", ndcg, judged.with_columns(sport="system", encoder=pl.lit("pools"))),
    )
    pages: dict[str, Page] = {}
    for name, title, table in drawn:
        called = None if name == "by_sport" else interval_figures.name_of
        pages |= save.optional(
            name, interval_figures.sport_differences, table, title=f"{title}\n{gap}", called=called
        )
    how = dict(zip(("before", "after"), pair.runs, strict=True))
    flows = rank_changes.bands(found["moved"])
    return pages | save.optional("rank_changes", rank_changes.figure, flows, **how)


def summary_sentences(pair: RunPair, found: dict[str, pl.DataFrame]) -> list[str]:
    """The macro difference of the main arm of each encoder, how many sports differ, how many
    queries moved; feedback.

    Of an encoder that ranks alike in both runs only that is said: a difference of 0 would look
    measured.
    """
    first, second = pair.runs
    training = two_runs.main_arm(pair)[1]
    gaps = found["differences"].filter(training=training, gallery="full")
    said = []
    for row in gaps.filter(sport=summary.MEAN).iter_rows(named=True):
        sports = gaps.filter(pl.col("sport") != summary.MEAN, encoder=row["encoder"])
        moves = found["moved"].filter(encoder=row["encoder"])
        ways = dict(moves["way"].value_counts(normalize=True).rows())
        name = f"{second} minus {first}, {training.replace('_', ' ')}, {row['encoder']} encoder"
        if ways.get(rank_changes.SAME) == 1 and row["difference"] == 0:
            said.append(
                f"{name}: nothing differs, each of {moves.height} queries has its own clip at "
                "the same rank."
            )
            continue
        value = interval(row["difference"], row["low"], row["high"], sign=True)
        p = "no p: all are of one video" if row["p"] is None else f"p = {row['p']:.3g}"
        said.append(
            f"{name}: {metrics.at_k('recall')} {value}, "
            f"{findings.verdict(row['ci_excludes_zero'])} (macro mean of {sports.height} sports, "
            f"n = {row['n']} queries, {p}). Of single sports "
            f"{sports['ci_excludes_zero'].sum()} have an interval that excludes 0, "
            f"{(sports['p_holm'] <= 0.05).sum()} after Holm's correction. Of {moves.height} "
            f"queries {ways.get(rank_changes.BETTER, 0):.0%} rose, "
            f"{ways.get(rank_changes.WORSE, 0):.0%} fell."
        )
    if not said:
        said.append(
            f"No sport is evaluable at {metrics.HEADLINE_K} in both runs, so there is no macro "
            "difference."
        )
    return said + _judged_sentences(found["judged"].filter(metric=feedback.NDCG))


def _judged_sentences(judged: pl.DataFrame) -> list[str]:
    """What differs in feedback retrieval, by system; how many rank alike."""
    alike = judged.filter(pl.col("p").is_null() & (pl.col("difference") == 0)).height
    parts = [f"{alike} of {judged.height} systems rank alike in both runs"] if alike else []
    tested = judged.filter(pl.col("p").is_not_null())
    for row in tested.sort(-pl.col("difference").abs(), "system").iter_rows(named=True):
        value = interval(row["difference"], row["low"], row["high"], sign=True)
        parts.append(
            f"{row['system']} {value} (p = {row['p']:.3g}, after Holm {row['p_holm']:.3g})"
        )
    if not parts:
        return []
    head = f"Feedback retrieval, {metrics.at_k('nDCG')}, n = {judged['n'][0]} learners"
    return [f"{head}: {'; '.join(parts)}."]


def _warnings(pair: RunPair) -> list[str]:
    """What could not be compared, and the warnings of each run; those of both are said once."""
    first, second = (run_report.warnings_of(run) for run in pair.runs)
    common = [line for line in first if line in second]
    alone = [f"{pair.runs[0]}: {line}" for line in first if line not in common]
    alone += [f"{pair.runs[1]}: {line}" for line in second if line not in common]
    return [*pair.notes, *common, *alone]
