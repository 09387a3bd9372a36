"""reports/<run>/: one page that opens from a file with no network, and its figures, tables and
films beside it.

The page is made from what stages wrote, so that it can be made again at any time without running
one. All text is escaped by the template. Pictures are in the page, at the size at which they are
shown; films are files beside it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from sportskills_lib.evaluation import detectable_differences, recall, summary
from sportskills_lib.formats.files import write_csv, write_whole
from sportskills_lib.report import case_blocks, findings, inline_figures, save
from sportskills_lib.report.templates import TEMPLATE
from sportskills_lib.runs import artifacts, provenance

NAME = "05_evaluation"
CSV_TABLES = (
    "per_sport_recall",
    "headline",
    "differences_by_sport",
    "ratios_by_sport",
    "across_sports",
    "median_ranks",
    "galleries",
    "understanding_means",
    "understanding_differences",
    "cue_kinds",
    "cue_kind_differences",
    "corpus",
    "power",
    "rank_changes",
    "leaks",
    "seeds",
)
FEEDBACK_TABLES = (
    "feedback_retrieval",
    "feedback_differences",
    "feedback_wins",
    "oracle_shares",
    "feedback_by_rater",
    "raters",
    "agreement",
    "library_retrieval",
    "shortlist_depth",
)
RECALL_FIGURES = (
    "macro_means", "per_sport_recall", "per_sport_recall_appendix", "encoders", "encoders_appendix",
    "per_sport_recall_fixed", "per_sport_recall_appendix_fixed",
)  # fmt: skip
FIGURES = [
    name for name in inline_figures.CAPTIONS if name not in RECALL_FIGURES and not name[0].isdigit()
]
INSPECTED = {
    "inspector": NAME,
    "funnel": artifacts.INSPECTION,
}  # pages of single cases, and who makes them
MOST_MOVED = 20  # queries in the page's table of what moved
FEEDBACK_SHOWN = (
    "ndcg@10",
    "recall_helpful@5",
    "mrr",
    "grade@1",
)  # the page; the files hold every metric


def write(run: str, folder: Path, config: Mapping[str, Any]) -> Path:
    """Write reports/<run>/ from the evaluation's outputs in ``folder`` and from stages 01–04;
    returns the page.

    Files of an earlier report of this run are replaced; executed notebooks (``nb/``) are left
    alone, and linked.
    """
    place = artifacts.workspace() / "reports" / run
    place.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place / "figures", ignore_errors=True)
    for old in place.glob("*.*"):
        if old.suffix in (".csv", ".tex", ".png", ".svg"):
            old.unlink()
    _write_tables(place, folder)
    case_blocks.copy_films(folder, place)
    _copy_pages(run, place, folder)
    inline_figures.copy(run, place / "figures", folder)
    name_generated(run, place)
    page = render(TEMPLATE, _context(run, place, folder, config))
    write_whole(place / "index.html", page)
    return place / "index.html"


def name_generated(run: str, place: Path) -> None:
    """Say in each caption of LaTeX below ``place`` that the world is generated, if it is: a table
    travels alone.
    """
    if provenance.is_generated(artifacts.lessons_of(run)):
        for path in place.rglob("*.tex"):
            text = path.read_text(encoding="utf-8").replace(
                r"\caption{", r"\caption{Generated demo world: "
            )
            path.write_text(text, encoding="utf-8")


def rebuild(run: str) -> Path:
    """The report of a finished run, made again from its stages."""
    stage = artifacts.open_stage(run, NAME)
    return write(run, stage.folder, stage.manifest["config"])


def render(template: str, context: dict[str, Any]) -> str:
    """The page; a name that the context lacks is an error."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render(context)


def warnings_of(run: str) -> list[str]:
    """The warnings of a finished run's report."""
    stage = artifacts.open_stage(run, NAME)
    found = {
        name: table(stage.folder, name)
        for name in ("raters", "seeds", "leaks", "galleries", "per_sport_recall")
    }
    manifests = {name: artifacts.open_stage(run, name).manifest for name in artifacts.STAGES[:4]}
    return findings.warnings(found, manifests, stage.manifest["config"])


def table(folder: Path, name: str) -> pl.DataFrame:
    """The table of that name in a folder, or an empty one."""
    path = folder / f"{name}.parquet"
    return pl.read_parquet(path) if path.is_file() else pl.DataFrame()


def _few_metrics(frame: pl.DataFrame) -> pl.DataFrame:
    return (
        frame.filter(pl.col("metric").is_in(FEEDBACK_SHOWN)) if "metric" in frame.columns else frame
    )


def _write_tables(place: Path, folder: Path) -> None:
    for name in (*CSV_TABLES, *FEEDBACK_TABLES):
        frame = table(folder, name)
        if frame.width:
            write_csv(place / f"{name}.csv", frame)
    per_sport, sizes = table(folder, "per_sport_recall"), table(folder, "galleries")
    scopes = {recall.WITHIN: "within sport", recall.FIXED: "in galleries of one size"}
    parts = [
        summary.latex(
            summary.wide(per_sport, sizes, encoder=encoder, scope=scope),
            caption=f"recall@10, text to video, {said}, {encoder} encoder, with 95 % intervals.",
        )
        for scope, said in scopes.items()
        for encoder in summary.ordered(per_sport["encoder"].unique(), summary.ENCODERS)
    ]
    (place / "per_sport_recall.tex").write_text("\n".join(parts))
    for name in ("headline", "ratios_by_sport", "understanding_means", "cue_kinds", "corpus"):
        if (frame := table(folder, name)).height:
            save.write_data(place, name, frame)
    feedback = table(folder, "feedback_retrieval")
    if feedback.height:
        rounded = feedback.with_columns(pl.col("value", "low", "high").round(3))
        raters = table(folder, "raters")
        who = "simulated raters" if raters.height and raters["simulated"].any() else "raters"
        text = summary.latex(rounded, caption=f"Feedback retrieval, by the grades of {who}.")
        (place / "feedback_retrieval.tex").write_text(text)


def _copy_pages(run: str, place: Path, folder: Path) -> None:
    for name, stage in INSPECTED.items():
        made = (folder if stage == NAME else artifacts.run_folder(run) / stage) / f"{name}.html"
        (place / made.name).unlink(missing_ok=True)
        if made.is_file():
            shutil.copyfile(made, place / made.name)


# ------------------------------------------------------------------------------------------ content


def _context(run: str, place: Path, folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    manifests = {name: artifacts.open_stage(run, name).manifest for name in artifacts.STAGES[:4]}
    found = {name: table(folder, name) for name in (*CSV_TABLES, *FEEDBACK_TABLES, "dropped")}
    folders = {name: artifacts.open_stage(run, name).folder for name in artifacts.STAGES[:4]}
    dropped = findings.dropped_counts(
        {name: table(path, "dropped") for name, path in folders.items()}
    )
    films = table(folder, "films")
    shown = {
        "headline": findings.shown(found["headline"]),
        "per_sport": findings.shown(summary.wide(found["per_sport_recall"], found["galleries"])),
        "across": findings.shown(findings.at_ten(found["across_sports"])),
        "ranks": findings.shown(
            found["median_ranks"].filter(pl.col("sport") == summary.MEAN).drop("sport")
        ),
        "ratios": findings.shown(findings.fixed_ratios(found["ratios_by_sport"])),
        "understanding": findings.shown(found["understanding_means"]),
        "understanding_differences": findings.shown(found["understanding_differences"]),
        "kinds": findings.shown(found["cue_kinds"]),
        "kind_differences": findings.shown(
            findings.between_encoders(found["cue_kind_differences"])
        ),
        "corpus": findings.shown(found["corpus"]),
        "differences": findings.shown(found["differences_by_sport"]),
        "power": findings.shown(found["power"]),
        "rank_changes": findings.moved_shown(found["rank_changes"], MOST_MOVED),
        "seeds": findings.shown(found["seeds"]),
        **{name: findings.shown(_few_metrics(found[name])) for name in FEEDBACK_TABLES},
        "dropped": findings.shown(
            pl.concat([dropped, findings.dropped_counts({NAME: found["dropped"]})])
        ),
        "leaks": findings.shown(found["leaks"]),
        "provenance": findings.shown(findings.provenance(manifests, artifacts.provenance())),
    }
    return {
        "title": f"run {run}",
        "links": _links(run, place),
        "summary": findings.summary_sentences(
            found["headline"], found["feedback_differences"], found["raters"]
        ),
        "warnings": findings.warnings(found, manifests, dict(config)),
        "n_clips": int(found["galleries"]["gallery"].sum()),
        "min_gallery": config.get("min_gallery"),
        "tables": shown,
        "per_sport_figures": inline_figures.inlined(place, RECALL_FIGURES),
        "gallery_size": config.get("gallery_size"),
        "figures": dict.fromkeys(FIGURES)
        | {one["name"]: one for one in inline_figures.inlined(place, tuple(FIGURES))},
        "stage_figures": {
            name: inline_figures.inlined(place, None, prefix=f"{name}_") for name in folders
        },
        "query_cases": case_blocks.queries(table(folder, "shown_queries"), films),
        "learner_cases": case_blocks.learners(table(folder, "shown_learners"), films),
        "film_note": findings.film_note(films),
        "power_note": detectable_differences.in_words(found["power"]).splitlines(),
        "mark_note": findings.mark_note(found["per_sport_recall"]),
        "rater_note": findings.rater_note(found["raters"]),
        "no_feedback": findings.no_feedback(manifests, dict(config)),
        "configs": [
            (name, findings.settings(manifest["config"])) for name, manifest in manifests.items()
        ]
        + [(NAME, findings.settings(dict(config)))],
    }


def _links(run: str, place: Path) -> list[tuple[str, str]]:
    sections = (
        "recall",
        "understanding",
        "retrievals",
        "feedback",
        "corpus",
        "funnel",
        "checks",
        "provenance",
    )
    names = [(name, f"#{name}") for name in sections]
    names += [
        (f"{name} of cases", f"{name}.html")
        for name in INSPECTED
        if (place / f"{name}.html").is_file()
    ]
    executed = {name for name in artifacts.NOTEBOOKS if (place / "nb" / f"{name}.html").is_file()}
    if (
        executed
    ):  # the runner writes a notebook's page when it has ended: after these two have called this
        executed |= {NAME} | (
            {artifacts.INSPECTION} if artifacts.is_complete(run, artifacts.INSPECTION) else set()
        )
    return names + [(name, f"nb/{name}.html") for name in sorted(executed)]
