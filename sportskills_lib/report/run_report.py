"""reports/<run>/: one page that opens from a file with no network, and its figures, tables and
films beside it.

The page is made from what stages wrote, so that it can be made again at any time without running
one. All text is escaped by the template. Pictures are in the page, at the size at which they are
shown; films are files beside it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib import metrics
from sportskills_lib.evaluation import detectable_differences, recall, summary
from sportskills_lib.formats.files import write_csv, write_whole
from sportskills_lib.report import (
    case_blocks,
    findings,
    inline_figures,
    page_content,
    run_tables,
    save,
)
from sportskills_lib.report.templates import TEMPLATE
from sportskills_lib.runs import artifacts, provenance

CSV_TABLES = (
    "per_sport_recall", "headline", "differences_by_sport", "ratios_by_sport", "across_sports",
    "median_ranks", "galleries", "understanding_means", "understanding_differences", "cue_kinds",
    "cue_kind_differences", "corpus", "power", "rank_changes", "leaks", "seeds",
)  # fmt: skip
FEEDBACK_TABLES = (
    "feedback_retrieval", "feedback_differences", "feedback_wins", "oracle_shares",
    "feedback_by_rater", "raters", "agreement", "library_retrieval", "shortlist_depth",
)  # fmt: skip
RECALL_FIGURES = (
    "macro_means", "per_sport_recall", "per_sport_recall_appendix", "encoders", "encoders_appendix",
    "per_sport_recall_fixed", "per_sport_recall_appendix_fixed",
)  # fmt: skip
FIGURES = tuple(
    name for name in inline_figures.CAPTIONS if name not in RECALL_FIGURES and not name[0].isdigit()
)
PAGES_OF_CASES = ("inspector", "funnel")
MOST_MOVED = 20  # queries in the page's table of what moved


def write(run: str) -> Path:
    """Write reports/<run>/ from the complete stages of the run; returns the page.

    06_analysis and 07_inspection add to it what they made. Files of an earlier report of this run
    are replaced; executed notebooks (``nb/``) are left alone, and linked.
    """
    place = artifacts.workspace() / "reports" / run
    place.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place / "figures", ignore_errors=True)
    for old in place.glob("*.*"):
        if old.suffix in (".csv", ".tex", ".png", ".svg"):
            old.unlink()
    folders = run_tables.folders(run)
    names = (*CSV_TABLES, *FEEDBACK_TABLES, "films", "shown_queries", "shown_learners")
    tables = {name: run_tables.table(run, name) for name in names}
    _write_tables(place, tables)
    case_blocks.copy_films(folders, place)
    for name in PAGES_OF_CASES:
        (place / f"{name}.html").unlink(missing_ok=True)
        if made := next((f for f in folders if (f / f"{name}.html").is_file()), None):
            shutil.copyfile(made / f"{name}.html", place / f"{name}.html")
    inline_figures.copy(run, place / "figures", folders)
    name_generated(run, place)
    write_whole(place / "index.html", render(TEMPLATE, _context(run, place, tables)))
    return place / "index.html"


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


def render(template: str, context: dict[str, Any]) -> str:
    """The page; a name that the context lacks is an error."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"headline_k": metrics.HEADLINE_K, "recall_at_k": metrics.at_k("recall")}
    return environment.from_string(template).render(context)


def warnings_of(run: str) -> list[str]:
    """The warnings of a finished run's report."""
    names = ("raters", "seeds", "leaks", "galleries", "per_sport_recall")
    tables = {name: run_tables.table(run, name) for name in names}
    manifests = page_content.manifests_of(run)
    return page_content.warnings(tables, manifests, manifests[run_tables.EVALUATION]["config"])


def _write_tables(place: Path, tables: dict[str, pl.DataFrame]) -> None:
    for name in (*CSV_TABLES, *FEEDBACK_TABLES):
        if tables[name].width:
            write_csv(place / f"{name}.csv", tables[name])
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
    (place / "per_sport_recall.tex").write_text("\n".join(parts))
    for name in ("headline", "ratios_by_sport", "understanding_means", "cue_kinds", "corpus"):
        if tables[name].height:
            save.write_data(place, name, tables[name])
    if (feedback := tables["feedback_retrieval"]).height:
        rounded = feedback.with_columns(pl.col("value", "low", "high").round(3))
        who = summary.graders(tables["raters"], "raters")
        text = summary.latex(rounded, caption=f"Feedback retrieval, by the grades of {who}.")
        (place / "feedback_retrieval.tex").write_text(text)


# ------------------------------------------------------------------------------------------ content


def _context(run: str, place: Path, tables: dict[str, pl.DataFrame]) -> dict[str, Any]:
    manifests = page_content.manifests_of(run)
    config = manifests[run_tables.EVALUATION]["config"]
    drawn = inline_figures.inlined(place, FIGURES)
    return {
        "title": f"run {run}",
        "links": _links(run, place),
        "summary": findings.summary_sentences(
            tables["headline"], tables["feedback_differences"], tables["raters"]
        ),
        "warnings": page_content.warnings(tables, manifests, config),
        "n_clips": int(tables["galleries"]["gallery"].sum()),
        "min_gallery": config.get("min_gallery"),
        "tables": _tables_shown(run, tables, manifests),
        "per_sport_figures": inline_figures.inlined(place, RECALL_FIGURES),
        "gallery_size": config.get("gallery_size"),
        "figures": dict.fromkeys(FIGURES) | {one["name"]: one for one in drawn},
        "stage_figures": {
            name: inline_figures.inlined(place, None, prefix=f"{name}_")
            for name in artifacts.STAGES[:4]
        },
        "query_cases": case_blocks.queries(tables["shown_queries"], tables["films"]),
        "learner_cases": case_blocks.learners(tables["shown_learners"], tables["films"]),
        "film_note": page_content.film_note(tables["films"]),
        "power_note": detectable_differences.in_words(tables["power"]).splitlines(),
        "mark_note": page_content.mark_note(tables["per_sport_recall"]),
        "rater_note": page_content.rater_note(tables["raters"]),
        "no_feedback": page_content.no_feedback(manifests, config),
        "configs": [
            (name, page_content.settings(manifest["config"]))
            for name, manifest in manifests.items()
        ],
    }


def _tables_shown(
    run: str, tables: dict[str, pl.DataFrame], manifests: dict[str, dict]
) -> dict[str, page_content.TextTable]:
    """The tables of the page by their name in the template; the files hold every row and metric."""
    dropped = {name: run_tables.dropped(run, name) for name in artifacts.STAGES}
    earlier = {name: manifests[name] for name in artifacts.STAGES[:4]}
    frames = {name: page_content.few_metrics(tables[name]) for name in FEEDBACK_TABLES} | {
        "headline": tables["headline"],
        "per_sport": summary.wide(tables["per_sport_recall"], tables["galleries"]),
        "across": summary.headline_metrics(tables["across_sports"]),
        "ranks": page_content.over_sports(tables["median_ranks"]),
        "ratios": page_content.fixed_ratios(tables["ratios_by_sport"]),
        "understanding": tables["understanding_means"],
        "understanding_differences": tables["understanding_differences"],
        "kinds": tables["cue_kinds"],
        "kind_differences": page_content.between_encoders(tables["cue_kind_differences"]),
        "differences": tables["differences_by_sport"],
        "dropped": page_content.dropped_counts(dropped),
        "provenance": page_content.provenance(earlier, artifacts.provenance()),
        **{name: tables[name] for name in ("corpus", "power", "seeds", "leaks")},
    }
    shown = {name: page_content.text_table(frame) for name, frame in frames.items()}
    return shown | {"rank_changes": page_content.moved_shown(tables["rank_changes"], MOST_MOVED)}


def _links(run: str, place: Path) -> list[tuple[str, str]]:
    sections = (
        "recall", "understanding", "retrievals", "feedback", "corpus", "funnel", "checks",
        "provenance",
    )  # fmt: skip
    names = [(name, f"#{name}") for name in sections]
    pages = [name for name in PAGES_OF_CASES if (place / f"{name}.html").is_file()]
    names += [(f"{name} of cases", f"{name}.html") for name in pages]
    executed = {name for name in artifacts.NOTEBOOKS if (place / "nb" / f"{name}.html").is_file()}
    if executed:  # the runner writes the page of a notebook that calls this after it has ended
        executed |= {name for name in artifacts.NOTEBOOKS[4:] if artifacts.is_complete(run, name)}
    return names + [(name, f"nb/{name}.html") for name in sorted(executed)]
