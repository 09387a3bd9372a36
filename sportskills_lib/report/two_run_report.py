"""reports/<first>-vs-<second>/: the page of two runs, with its figures, tables and films beside it.

Made as the page of one run is (:mod:`.report`): opens from a file, loads nothing, escapes
everything. The films are made by the caller, who may read videos.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib import metrics
from sportskills_lib.evaluation import feedback, summary
from sportskills_lib.formats.files import write_whole
from sportskills_lib.plots import style
from sportskills_lib.plots.notebook_tables import interval
from sportskills_lib.report import (
    case_blocks,
    case_figures,
    cases,
    findings,
    inline_figures,
    page_content,
    rank_changes,
    run_report,
    run_tables,
    save,
    sport_figures,
    two_runs,
)
from sportskills_lib.report.save import Page
from sportskills_lib.report.templates import COMPARISON
from sportskills_lib.report.two_runs import RunPair
from sportskills_lib.runs import artifacts

SECTIONS = ("differences", "moved", "retrievals", "feedback", "settings", "funnel", "provenance")
CASES = 3  # queries that rose most, and as many that fell most
MOST_MOVED = 40


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
    counted = []
    for run, name in zip(runs, ("first", "second"), strict=True):
        stages = {stage: run_tables.dropped(run, stage) for stage in artifacts.STAGES}
        counted.append(page_content.dropped_counts(stages).drop("example").rename({"count": name}))
    keys = ["stage", "what", "reason"]
    both = counted[0].join(counted[1], on=keys, how="full", coalesce=True).fill_null(0)
    return both.sort(
        (pl.col("first") - pl.col("second")).abs(), *keys, descending=[True, False, False, False]
    )


def pick(pair: RunPair, moves: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    """The queries that moved most, and what each run retrieved for them."""
    arm = two_runs.main_arm(pair)
    chosen = two_runs.most_moved(moves, arm[0], each=CASES)
    return chosen, {
        run: two_runs.retrieved(run, chosen["query_id"].to_list(), arm) for run in pair.runs
    }


def items(pair: RunPair, chosen: pl.DataFrame, hits: Mapping[str, pl.DataFrame]) -> list[str]:
    """The clips that the page shows, each once."""
    own = pair.queries.filter(pl.col("query_id").is_in(chosen["query_id"].implode()))[
        "own"
    ].list.first()
    return list(
        dict.fromkeys([*own, *(clip for found in hits.values() for clip in found["clip_id"])])
    )


def folder(runs: tuple[str, str]) -> Path:
    """Where the page of two runs lies."""
    return artifacts.workspace() / "reports" / f"{runs[0]}-vs-{runs[1]}"


def write(
    pair: RunPair, found: dict[str, pl.DataFrame], picked: tuple, films: pl.DataFrame
) -> Path:
    """The page with its figures and tables; the films must lie in ``previews/`` beside it. Returns
    the page.
    """
    place = folder(pair.runs)
    shutil.rmtree(place / "figures", ignore_errors=True)
    (place / "figures").mkdir(parents=True)
    for name, frame in found.items():
        save.write_data(place, name, frame)
    arm = two_runs.main_arm(pair)
    facts = artifacts.open_stage(pair.runs[1], run_tables.EVALUATION).facts | {
        "run": " vs ".join(pair.runs)
    }
    for name, page in _pages(pair, found, arm[1]).items():
        save.write_page(place / "figures", name, page, facts=facts)
    run_report.name_generated(pair.runs[1], place)
    drawn = inline_figures.inlined(place, tuple(CAPTIONS), captions=CAPTIONS)
    chosen, hits = picked
    context = _context(pair, found, arm) | {
        "query_cases": _blocks(pair, chosen, hits, films),
        "film_note": page_content.film_note(films),
        "figures": dict.fromkeys(CAPTIONS) | {one["name"]: one for one in drawn},
    }
    write_whole(place / "index.html", run_report.render(COMPARISON, context))
    return place / "index.html"


CAPTIONS = {
    "by_sport": "The second run minus the first in each sport, paired, with 95 % intervals; "
    "hollow: the interval includes 0. "
    "Behind each sport: its queries.",
    "by_arm": "The same of macro means over sports, for every arm that both runs have.",
    "rank_changes": "The rank of each query's own clip in the first run and in the second, in "
    "bands; a ribbon is as "
    "high as its share of the queries.",
    "judged": (
        f"{metrics.at_k('nDCG')} of feedback retrieval, the second run minus the first, "
        "paired over learners."
    ),
}


def _pages(pair: RunPair, found: dict[str, pl.DataFrame], training: str) -> dict[str, Page]:
    """Differences by sport and by arm, feedback, and which queries moved; those that have something
    to draw.
    """
    gap = " − ".join(reversed(style.told_apart(pair.runs, limit=18)))
    tables = two_runs.gap_figures(found["differences"], training)
    judged = found["judged"].filter(pl.col("metric") == feedback.NDCG)
    tables["judged"] = judged.with_columns(sport=pl.col("system"), encoder=pl.lit("pools"))
    headline = metrics.at_k("recall")
    titles = {
        "by_sport": headline,
        "by_arm": f"{headline}, macro mean",
        "judged": metrics.at_k("nDCG"),
    }
    pages: dict[str, Page] = {}
    for name, table in tables.items():
        how = {} if name == "by_sport" else {"called": sport_figures.name_of}
        title = f"{titles[name]}\n{gap}"
        pages |= save.optional(name, sport_figures.sport_differences, table, title=title, **how)
    first, second = pair.runs
    return pages | rank_changes.flow_pages(found["moved"], before=first, after=second)


def _context(pair: RunPair, found: dict[str, pl.DataFrame], arm: tuple[str, str]) -> dict[str, Any]:
    first, second = pair.runs
    gaps, moves = found["differences"], found["moved"]
    macro = gaps.filter(pl.col("sport") == summary.MEAN)
    here = (pl.col("training") == arm[1]) & (pl.col("gallery") == "full")
    shown = {
        "by_sport": gaps.filter(here).drop("training", "gallery"),
        "macro": macro.drop("sport", "p_holm"),
        "differences": gaps,
        **{name: found[name] for name in ("judged", "settings", "dropped")},
    }
    manifests = {run: page_content.manifests_of(run) for run in pair.runs}
    now = artifacts.provenance()
    return {
        "title": f"{second} against {first}",
        "first": first,
        "second": second,
        "arm": f"{arm[1]}, whole galleries".replace("_", " "),
        "links": [(name, f"#{name}") for name in SECTIONS],
        "summary": summary_sentences(pair, found, arm),
        "warnings": _warnings(pair),
        "tables": {name: page_content.text_table(frame) for name, frame in shown.items()}
        | {"moved": page_content.moved_shown(moves, MOST_MOVED)},
        "mark_note": "Only a query's own clip is marked as right; others may be right too.",
        "no_feedback": next(
            (note for note in pair.notes if note.startswith("Feedback")),
            ("no learners were judged."),
        ),
        "provenance": [
            (run, page_content.text_table(page_content.provenance(each, now)))
            for run, each in manifests.items()
        ],
    }


def summary_sentences(
    pair: RunPair, found: dict[str, pl.DataFrame], arm: tuple[str, str]
) -> list[str]:
    """The macro difference of the main arm of each encoder, how many sports differ, how many
    queries moved; feedback.

    Of an encoder that ranks alike in both runs only that is said: a difference of 0 would look
    measured.
    """
    first, second = pair.runs
    gaps = found["differences"].filter(
        (pl.col("training") == arm[1]) & (pl.col("gallery") == "full")
    )
    said = []
    for row in gaps.filter(pl.col("sport") == summary.MEAN).iter_rows(named=True):
        sports = gaps.filter(
            (pl.col("encoder") == row["encoder"]) & (pl.col("sport") != summary.MEAN)
        )
        clear = sports["ci_excludes_zero"].fill_null(False).sum()
        holm = (sports["p_holm"] <= 0.05).sum()
        moves = found["moved"].filter(pl.col("encoder") == row["encoder"])
        name = f"{second} minus {first}, {arm[1].replace('_', ' ')}, {row['encoder']} encoder"
        if (moves["way"] == rank_changes.SAME).all() and row["difference"] == 0:
            said.append(
                f"{name}: nothing differs, each of {moves.height} queries has its own clip at "
                "the same rank."
            )
            continue
        rose, fell = (
            (moves["way"] == way).sum() / moves.height
            for way in (rank_changes.BETTER, rank_changes.WORSE)
        )
        value = interval(row["difference"], row["low"], row["high"], sign=True)
        verdict = findings.verdict(row["ci_excludes_zero"])
        p = "no p: all are of one video" if row["p"] is None else f"p = {row['p']:.3g}"
        size = f"macro mean of {sports.height} sports, n = {row['n']} queries, {p}"
        single = (
            f"Of single sports {clear} have an interval that excludes 0, {holm} after "
            "Holm's correction"
        )
        way = f"Of {moves.height} queries {rose:.0%} rose, {fell:.0%} fell"
        said.append(
            f"{name}: {metrics.at_k('recall')} {value}, {verdict} ({size}). {single}. {way}."
        )
    said = said or [
        f"No sport is evaluable at {metrics.HEADLINE_K} in both runs, so there is no macro "
        "difference."
    ]
    return said + _judged_sentences(found["judged"].filter(pl.col("metric") == feedback.NDCG))


def _judged_sentences(judged: pl.DataFrame) -> list[str]:
    """What differs in feedback retrieval, by system; how many rank alike."""
    if judged.is_empty():
        return []
    alike = judged.filter(pl.col("p").is_null() & (pl.col("difference") == 0)).height
    told = [f"{alike} of {judged.height} systems rank alike in both runs"] if alike else []
    for row in (
        judged.filter(pl.col("p").is_not_null())
        .sort(pl.col("difference").abs(), "system", descending=[True, False])
        .iter_rows(named=True)
    ):
        value = interval(row["difference"], row["low"], row["high"], sign=True)
        told.append(f"{row['system']} {value} (p = {row['p']:.3g}, after Holm {row['p_holm']:.3g})")
    return (
        [
            f"Feedback retrieval, {metrics.at_k('nDCG')}, n = {judged['n'][0]} learners: "
            + "; ".join(told)
            + "."
        ]
        if told
        else []
    )


def _warnings(pair: RunPair) -> list[str]:
    """What could not be compared, and the warnings of each run; those of both are said once."""
    each = [run_report.warnings_of(run) for run in pair.runs]
    common = [line for line in each[0] if line in each[1]]
    alone = [
        f"{run}: {line}"
        for run, lines in zip(pair.runs, each, strict=True)
        for line in lines
        if line not in common
    ]
    return [*pair.notes, *common, *alone]


def _blocks(
    pair: RunPair, chosen: pl.DataFrame, hits: Mapping[str, pl.DataFrame], films: pl.DataFrame
) -> list[dict[str, Any]]:
    """A block for each query: its own clip, then what each run retrieved."""
    known = case_blocks.by_item(films)
    own = dict(pair.queries.select("query_id", pl.col("own")).rows())
    blocks = []
    for row in chosen.iter_rows(named=True):
        clips = own[row["query_id"]]
        rows = [
            {"name": "", "films": [case_blocks.film(known, clips[0], "its own clip", style.BLACK)]}
        ]
        for run, place in zip(pair.runs, (row["before"], row["after"]), strict=True):
            shown = []
            for rank, clip in (
                hits[run]
                .filter(pl.col("query_id") == row["query_id"])
                .select("rank", "clip_id")
                .rows()
            ):
                mark = cases.OWN if clip in clips else ""
                colour = case_figures.MARK_COLOURS[cases.OWN] if mark else style.GREY
                shown.append(
                    case_blocks.film(known, clip, f"{rank} {'✓ own clip' if mark else ''}", colour)
                )
            rows.append({"name": f"{run}: own clip at rank {place:.0f}", "films": shown})
        head = (
            f"{row['way']} · {case_blocks.cut(row['sport'])}: rank {row['before']:.0f} → "
            f"{row['after']:.0f}"
        )
        blocks.append({"head": head, "text": case_blocks.cut(row["text"] or ""), "rows": rows})
    return blocks
