"""reports/<run>/: the page of a run, with its figures, tables and films beside it.

The page is made from what stages wrote, so that it can be made again at any time without running
one.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from polars import selectors

from sportskills_lib import metrics
from sportskills_lib.evaluation import detectable_differences, feedback, recall, summary
from sportskills_lib.evaluation.recall_arrays import MULTI
from sportskills_lib.report import findings, html_page, run_tables, save
from sportskills_lib.runs import artifacts, provenance

CSV_TABLES = (
    "per_sport_recall", "headline", "differences_by_sport", "ratios_by_sport", "across_sports",
    "median_ranks", "galleries", "understanding_means", "understanding_differences", "cue_kinds",
    "cue_kind_differences", "corpus", "power", "rank_changes", "leaks", "seeds",
)  # fmt: skip
FEEDBACK_TABLES = (
    "feedback_retrieval", "feedback_by_wording", "feedback_differences", "feedback_wins",
    "feedback_by_rater", "raters", "agreement", "library_retrieval", "shortlist_depth",
)  # fmt: skip
FEEDBACK_SHOWN = (feedback.PRIMARY, feedback.MENDS_FIRST, feedback.NDCG)  # files hold every one
CASE_PAGES = ("inspector", "funnel")
# The rows that a figure of an earlier stage draws: its table and the columns (all, where none is
# named). Later stages save them beside the figure.
DRAWN_FROM: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("01_curation", "funnel"): ("dropped", ()),
    ("02_pairing", "funnel"): ("dropped", ()),
    ("02_pairing", "motion"): ("judged", ("clip_id", "said", "moved")),
    ("02_pairing", "contact_sheet"): ("clips", ("clip_id", "sport", "skill", "demonstration")),
    ("03_encoder", "learning_curves"): ("curves", ()),
    ("04_retrieval", "positives"): ("rows_a_learner", ()),
    ("04_retrieval", "curve"): ("curves", ()),
    ("04_retrieval", "reliability"): ("reliability", ()),
}
FEW_QUERIES, FEW_VIDEOS = 50, 8  # below these, a sport's own interval says little; ours
UNBALANCED = 3.0  # largest over smallest sport from which a page warns; ours


def write(run: str) -> Path:
    """Write reports/<run>/ from the complete stages of the run; returns the page.

    06_analysis and 07_inspection add to it what they made. Files of an earlier report of this run
    are replaced; executed notebooks (``nb/``) are left alone, and linked.
    """
    place = artifacts.workspace() / "reports" / run
    place.mkdir(parents=True, exist_ok=True)
    for name in ("figures", "previews"):
        shutil.rmtree(place / name, ignore_errors=True)
    for old in place.glob("*.*"):
        if old.suffix in (".csv", ".tex", ".png", ".svg") or old.stem in CASE_PAGES:
            old.unlink()
    folders = run_tables.folders(run)
    names = (*CSV_TABLES, *FEEDBACK_TABLES, "films", "shown_queries", "shown_learners")
    tables = {name: run_tables.table(run, name) for name in names}
    _write_tables(place, tables)
    for name in ("previews", *(f"{page}.html" for page in CASE_PAGES)):
        made = next((folder / name for folder in folders if (folder / name).exists()), None)
        if made is not None:
            copy = shutil.copytree if made.is_dir() else shutil.copyfile
            copy(made, place / name)
    _copy_figures(run, place / "figures", folders)
    name_generated(run, place)
    content = _content(run, tables) | {"title": f"run {run}", "links": _links(run, place)}
    return html_page.write("run_report.jinja", place, tables["films"], **content)


def name_generated(run: str, place: Path) -> None:
    """Say in each caption of LaTeX below ``place`` that the world is generated, if it is: a table
    is often copied without its page.
    """
    if provenance.is_generated(artifacts.lessons_of(run)):
        for path in place.rglob("*.tex"):
            text = path.read_text(encoding="utf-8").replace(
                r"\caption{", r"\caption{Generated demo world: "
            )
            path.write_text(text, encoding="utf-8")


def _write_tables(place: Path, tables: Mapping[str, pl.DataFrame]) -> None:
    who = summary.graders(tables["raters"], "raters")
    captions = {"feedback_retrieval": f"Feedback retrieval, by the grades of {who}."}
    for name in (*CSV_TABLES, *FEEDBACK_TABLES):
        if tables[name].width:
            save.write_data(place, name, tables[name], caption=captions.get(name, ""))
    per_sport, sizes = tables["per_sport_recall"], tables["galleries"]
    scopes = {recall.WITHIN: "within sport", recall.FIXED: "in equal-sized galleries"}
    parts = [
        summary.latex(
            summary.wide(per_sport, sizes, encoder=encoder, scope=scope),
            caption=f"{metrics.at_k('recall')}, text to video, {where}, {encoder} encoder, "
            "95 % intervals.",
        )
        for scope, where in scopes.items()
        for encoder in summary.ordered(per_sport["encoder"].unique(), summary.ENCODERS)
    ]
    (place / "per_sport_recall.tex").write_text("\n".join(parts), encoding="utf-8")


def _copy_figures(run: str, place: Path, folders: Sequence[Path]) -> None:
    """All figures of the run to ``place``: those of 05 to 07 (``folders``, the last stage first) by
    name, those of 01–04 behind their stage's, with the rows that they draw (CSV, LaTeX).
    """
    place.mkdir()
    for folder in reversed(folders):
        for path in sorted(folder.glob("figures/*.*")):
            shutil.copyfile(path, place / path.name)
            if path.stem == "per_sport_recall" and path.suffix in (".png", ".svg", ".pdf"):
                shutil.copyfile(path, place.parent / path.name)
    for stage in artifacts.STAGES[:4]:
        reader = artifacts.open_stage(run, stage)
        for path in sorted((reader.folder / "figures").glob("*.*")):
            shutil.copyfile(path, place / f"{stage}_{path.name}")
    for (stage, name), (table, columns) in DRAWN_FROM.items():
        reader = artifacts.open_stage(run, stage)
        drawn = (place / f"{stage}_{name}.png").is_file()
        if drawn and f"{table}.parquet" in reader.manifest["outputs"]:
            rows = reader.table(table)
            rows = dropped_counts({stage: rows}) if table == "dropped" else rows
            chosen = selectors.by_name(*columns, require_all=False) if columns else pl.all()
            flat = rows.select(chosen).select(~selectors.nested())
            save.write_data(place, f"{stage}_{name}", flat)


# ------------------------------------------------------------------------------------------ content


def _content(run: str, tables: dict[str, pl.DataFrame]) -> dict[str, Any]:
    """What the template shows."""
    manifests = manifests_of(run)
    config = manifests[run_tables.EVALUATION]["config"]
    return {
        "summary": findings.summary_sentences(
            tables["headline"], tables["feedback_differences"], tables["raters"]
        ),
        "warnings": warnings(tables, manifests, config),
        "tables": _tables_shown(run, tables),
        "query_cases": _by(tables["shown_queries"], "query_id"),
        "learner_cases": _by(tables["shown_learners"], "learner_id"),
        "power_note": detectable_differences.in_words(tables["power"]).splitlines(),
        "truth_known": MULTI in tables["per_sport_recall"]["metric"],
        "config": config,
        "manifests": manifests,
    }


def manifests_of(run: str) -> dict[str, dict[str, Any]]:
    """The manifests of 01 to 05, by stage."""
    return {stage: artifacts.open_stage(run, stage).manifest for stage in artifacts.STAGES}


def _by(table: pl.DataFrame, key: str) -> list[list[dict[str, Any]]]:
    """The rows of each value of ``key``, in their order."""
    parts = table.partition_by(key, maintain_order=True) if table.height else []
    return [part.to_dicts() for part in parts]


def _tables_shown(run: str, tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The tables of the page by their name in the template; the files hold every row and metric."""
    few = {
        name: table.filter(pl.col("metric").is_in(FEEDBACK_SHOWN))
        for name, table in tables.items()
        if name in FEEDBACK_TABLES and "metric" in table.columns
    }
    for name in ("feedback_retrieval", "feedback_by_wording"):
        few[name] = feedback.wide(tables[name])
    ratios, of_video = tables["ratios_by_sport"], pl.col("comparison") == "encoders"
    fixed = _where(ratios, pl.col("gallery") == "fixed")
    shown = pl.col("training").is_in(["narrations", "activity_skill"])
    means = _where(tables["median_ranks"], pl.col("sport") == summary.MEAN)
    return (
        tables
        | few
        | {
            "headline": tables["headline"].select(pl.exclude("note"), "note"),
            "per_sport": summary.wide(tables["per_sport_recall"], tables["galleries"]),
            "across_sports": summary.headline_metrics(tables["across_sports"]),
            "median_ranks": means.drop("sport", strict=False),
            "ratios_by_sport": fixed if fixed.height else ratios,
            "encoders_by_cue_kind": _where(tables["cue_kind_differences"], of_video & shown),
            "rank_changes": moves_shown(tables["rank_changes"]),
            "dropped": dropped_counts(run_tables.dropped(run)),
        }
    )


def _where(table: pl.DataFrame, rows: pl.Expr) -> pl.DataFrame:
    """The table's rows of that kind; an empty table may lack the columns."""
    return table.filter(rows) if table.height else table


def moves_shown(moves: pl.DataFrame) -> pl.DataFrame:
    """The queries that moved at all, ranks named as ranks."""
    names = {"before": "rank_before", "after": "rank_after"}
    return _where(moves, pl.col("way") != "same").rename(names, strict=False)


def dropped_counts(dropped: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """stage, what, reason, count, example: most frequent first within a stage; files are named
    below the workspace.
    """
    below = pl.col("detail").str.replace_all(f"{artifacts.workspace()}/", "", literal=True)
    parts = [
        frame.select(
            stage=pl.lit(stage), what="item_kind", reason="reason", example=below.str.slice(0, 160)
        )
        for stage, frame in dropped.items()
        if frame.height
    ]
    names = ("stage", "what", "reason", "example")
    return (
        pl.concat([pl.DataFrame(schema=dict.fromkeys(names, pl.String)), *parts])
        .group_by("stage", "what", "reason")
        .agg(count=pl.len().cast(pl.Int64), example=pl.col("example").first())
        .sort("stage", -pl.col("count"), "what", "reason")
    )


def _links(run: str, place: Path) -> list[tuple[str, str]]:
    """The pages beside the report: of cases, and of executed notebooks."""
    pages = [name for name in CASE_PAGES if (place / f"{name}.html").is_file()]
    executed = {name for name in artifacts.NOTEBOOKS if (place / "nb" / f"{name}.html").is_file()}
    if executed:  # the runner writes the page of a notebook that calls this after it has ended
        executed |= {name for name in artifacts.NOTEBOOKS[4:] if artifacts.is_complete(run, name)}
    links = [(f"{name} of cases", f"{name}.html") for name in pages]
    return links + [(name, f"nb/{name}.html") for name in sorted(executed)]


# ----------------------------------------------------------------------------------------- warnings


def warnings_of(run: str) -> list[str]:
    """The warnings of a finished run's report."""
    names = ("raters", "seeds", "leaks", "galleries", "per_sport_recall")
    tables = {name: run_tables.table(run, name) for name in names}
    manifests = manifests_of(run)
    return warnings(tables, manifests, manifests[run_tables.EVALUATION]["config"])


def warnings(
    found: Mapping[str, pl.DataFrame], manifests: Mapping[str, dict], config: dict
) -> list[str]:
    """What a reader must know before quoting a number."""
    raters, leaks, seeds, sizes = (found[n] for n in ("raters", "leaks", "seeds", "galleries"))
    lessons = str(manifests["01_curation"]["config"].get("source", ""))
    known = (
        (
            provenance.is_generated(lessons),
            "The lessons are the generated demo world: these are demo figures, never results "
            "about sport.",
        ),
        (
            raters.height and raters["simulated"].any(),
            "Every grade of feedback retrieval is by simulated raters; no coach has graded "
            "anything here.",
        ),
        (
            seeds.height and seeds["seeds"].max() == 1,
            "One training seed: intervals cover the choice of queries and videos, not of the seed.",
        ),
        (
            any(manifest.get("dirty") for manifest in manifests.values()),
            "Some stages ran with uncommitted changes in the code.",
        ),
        (leaks.is_empty(), "No leak check was made in this run."),
    )
    lines = [line for applies, line in known if applies]
    settings = {stage: manifest["config"] for stage, manifest in manifests.items()}
    lines += filter(None, [provenance.stand_in_warning(settings)])
    lines += [
        f"Leak check failed: {row['check']} ({row['offenders']} offend, first {row['first']})."
        for row in _where(leaks, ~pl.col("passed")).iter_rows(named=True)
    ]
    return lines + _small(found["per_sport_recall"], sizes, config) + unbalanced(sizes)


def _small(per_sport: pl.DataFrame, sizes: pl.DataFrame, config: dict) -> list[str]:
    """The sports that are too small: for any figure, for galleries of one size, for an interval."""
    out, fixed = (
        set(summary.of_figure(per_sport, scope=scope).filter(pl.col("value").is_null())["sport"])
        for scope in (recall.WITHIN, recall.FIXED)
    )
    few = (pl.col("queries") < FEW_QUERIES) | (pl.col("videos") < FEW_VIDEOS)
    thin = sizes.filter(few & ~pl.col("sport").is_in(out))
    sized = pl.format("{} ({} queries, {} videos)", "sport", "queries", "videos")
    lines: dict[str, Sequence[str]] = {
        f"Not evaluable at {metrics.HEADLINE_K} (fewer than {config.get('min_gallery')} test "
        "clips), in no figure and no mean": sorted(out),
        f"Fewer than {config.get('gallery_size')} test clips, so only in the figures of whole "
        "galleries, not in those of one size": sorted(fixed - out),
        "Small samples; a sport's own interval is rough": thin.select(sized).to_series().to_list(),
    }
    return [f"{text}: {', '.join(names)}." for text, names in lines.items() if len(names)]


def unbalanced(sizes: pl.DataFrame) -> list[str]:
    """A line where the largest sport has UNBALANCED times as many test clips as the smallest, or
    more.
    """
    if sizes.is_empty():
        return []
    ordered = sizes.sort("gallery", "sport", descending=[True, False])
    most, least = ordered.row(0, named=True), ordered.row(-1, named=True)
    if most["gallery"] < UNBALANCED * max(least["gallery"], 1):
        return []
    share = most["gallery"] / ordered["gallery"].sum()
    return [
        f"Unbalanced sports: {most['sport']} has {most['gallery']} test clips ({share:.0%} of "
        f"all), {least['sport']} has {least['gallery']}. Macro means weigh every sport alike; "
        "means across sports weigh every query alike."
    ]
