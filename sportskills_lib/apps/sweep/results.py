"""What a sweep found: a row a member, seeds taken together, paired differences, one figure.

Everything is read from what the members' 05 wrote. A member that failed keeps its row, without
numbers, with its error and its log. Seeds are shown as mean ± standard deviation with their number;
intervals are 05's (videos resampled within sport), with seeds averaged per query first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from sportskills_lib import tables
from sportskills_lib.apps.sweep.grid import sweep_folder
from sportskills_lib.apps.sweep.members import DONE, WAITING, states
from sportskills_lib.evaluation import feedback, recall, summary
from sportskills_lib.formats.files import digest
from sportskills_lib.plots import style
from sportskills_lib.plots.notebook_tables import interval
from sportskills_lib.runs import artifacts, provenance
from sportskills_lib.statistics import bootstrap

if TYPE_CHECKING:
    from IPython.display import HTML
    from matplotlib.figure import Figure

EVALUATION, RETRIEVAL = "05_evaluation", "04_retrieval"
# stands for the encoder where systems are judged by coaches' grades: the swept stage is 04
JUDGED = "judged"
ARM = ["encoder", "training"]
GALLERIES = ("within_sport", "within_sport_fixed")  # whole galleries, and galleries of one size
COMPARED = (
    ("difference", "narrations", "activity_skill"),
    ("ratio", "narrations", "activity_skill"),
    ("ratio", "narrations", "activity_sport"),
    ("ratio", "narrations", "activity_dataset"),
    ("difference", "narrations", "narrations_shuffled"),
    ("difference", "narrations_shuffled", "activity_skill"),
    ("difference", "narrations", "zero_shot"),
    ("difference", "both", "narrations"),
    *(("difference", *names) for names in feedback.COMPARISONS),
)
_COLUMNS = tables.Scores.column_names()


@dataclass(frozen=True)
class SweepView:
    """A sweep on disk, and the number that is looked at: a metric of 05's scores in one direction
    and scope.
    """

    name: str
    notes: dict[str, Any]
    metric: str
    direction: str
    scope: str

    @property
    def members(self) -> list[dict[str, Any]]:
        """run, label, values and seed of each member, in order."""
        return list(self.notes["members"])

    @property
    def judged(self) -> bool:
        """Whether members differ in 04, so that what is compared are its rankings, by coaches'
        grades.
        """
        return bool(self.notes["stage"] == RETRIEVAL)

    @property
    def labels(self) -> list[str]:
        """The points of the sweep, in order; the first is what the others are compared with."""
        return list(dict.fromkeys(member["label"] for member in self.members))

    def done(self, label: str | None = None) -> list[dict[str, Any]]:
        """The members (of one point) that have numbers."""
        known = states(self.name)
        return [
            member
            for member in self.members
            if label in (None, member["label"])
            and known.get(member["run"], {}).get("state") == DONE
            and artifacts.is_complete(member["run"], EVALUATION)
        ]


def open_sweep(
    name: str,
    *,
    metric: str = recall.SINGLE,
    direction: str = "text_to_video",
    scope: str = "within_sport",
) -> SweepView:
    """The sweep of that name; ValueError when none was begun."""
    path = sweep_folder(name) / "sweep.json"
    if not path.is_file():
        raise ValueError(
            f"there is no sweep {name!r}: `sportskills sweep --help` shows how one is made"
        )
    found = SweepView(name, json.loads(path.read_text()), metric, direction, scope)
    return (
        replace(found, metric=feedback.NDCG, direction="learner_to_clip", scope="pools")
        if found.judged
        else found
    )


# ------------------------------------------------------------------------------------------- tables


def recalls(found: SweepView) -> pl.DataFrame:
    """A row for each member with numbers, encoder and training: the macro mean over sports with its
    interval.
    """
    parts = [pl.DataFrame(schema=_RECALLS)]
    for member in found.done():
        rows = _judged(member["run"]) if found.judged else _recalled(found, member["run"])
        names = {name: pl.lit(member[name]) for name in ("run", "label", "seed")}
        parts.append(rows.with_columns(**names).select(list(_RECALLS)).cast(_RECALLS))  # type: ignore[arg-type]
    return pl.concat(parts)


def shortlists(found: SweepView) -> pl.DataFrame:
    """05's table over depth and weight of every member with its run, label and seed; empty where
    nothing is judged.
    """
    parts = []
    for member in found.done() if found.judged else []:
        table = artifacts.open_stage(member["run"], "05_evaluation").table("shortlist_depth")
        names = {name: pl.lit(member[name]) for name in ("run", "label", "seed")}
        parts.append(table.select(**names, **{name: pl.col(name) for name in table.columns}))
    return (
        pl.concat(parts)
        if parts
        else pl.DataFrame(schema={"label": pl.String, "varied": pl.String})
    )


def _recalled(found: SweepView, run: str) -> pl.DataFrame:
    table = artifacts.open_stage(run, EVALUATION).table("per_sport_recall")
    return table.filter(
        sport=summary.MEAN, metric=found.metric, direction=found.direction, scope=found.scope
    )


def _judged(run: str) -> pl.DataFrame:
    """The mean of every system over the test learners, in the same columns."""
    stage = artifacts.open_stage(run, EVALUATION)
    rows = stage.table("feedback_retrieval").filter(pl.col("metric") == feedback.NDCG)
    chance = stage.table("feedback").filter(pl.col("metric") == feedback.NDCG)["chance"].mean()
    return rows.with_columns(
        encoder=pl.lit(JUDGED), training=pl.col("system"), chance=pl.lit(chance, dtype=pl.Float64)
    )


_RECALLS: dict[str, Any] = {
    "run": pl.String,
    "label": pl.String,
    "seed": pl.Int64,
    "encoder": pl.String,
    "training": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "chance": pl.Float64,
}


def member_table(found: SweepView, measured: pl.DataFrame) -> pl.DataFrame:
    """One row a member: its parameters, state, each arm's mean recall with its interval, seconds,
    error and log.
    """
    known = states(found.name)
    rows = []
    for member in found.members:
        state = known.get(member["run"], {})
        numbers: dict[str, float | None] = {}
        for row in measured.filter(pl.col("run") == member["run"]).iter_rows(named=True):
            arm = f"{row['encoder']}:{row['training']}"
            numbers |= {arm: row["value"], f"{arm} low": row["low"], f"{arm} high": row["high"]}
        rows.append(
            {
                "run": member["run"],
                "label": member["label"],
                **member["values"],
                "seed": member["seed"],
            }
            | {"state": state.get("state", WAITING)}
            | numbers
            | _seconds(found, member["run"])
            | {"error": state.get("error", ""), "log": state.get("log", "")}
        )
    columns = list(dict.fromkeys(name for row in rows for name in row))
    last = [name for name in columns if name.startswith("seconds_")] + ["commit", "error", "log"]
    order = [name for name in columns if name not in last] + [
        name for name in last if name in columns
    ]
    return pl.DataFrame(
        [{name: row.get(name) for name in order} for row in rows], infer_schema_length=None
    )


def _seconds(found: SweepView, run: str) -> dict[str, Any]:
    """Seconds of each stage that the member executed, and the commit of the last of them (+: with
    changes on top).
    """
    facts: dict[str, Any] = {}
    for stage in found.notes["stages"]:
        manifest = (
            artifacts.open_stage(run, stage).manifest if artifacts.is_complete(run, stage) else {}
        )
        commit = (manifest.get("commit") or "")[:10] + ("+" if manifest.get("dirty") else "")
        facts |= {f"seconds_{stage[:2]}": manifest.get("seconds"), "commit": commit}
    return facts


def over_seeds(measured: pl.DataFrame) -> pl.DataFrame:
    """Each point, encoder and training over its seeds: mean, sd (none for one seed), n (seeds),
    queries, chance.

    low and high are those of 05, where there is one seed; the spread of seeds says nothing of them.
    """
    alone = pl.len() == 1
    return measured.group_by("label", *ARM, maintain_order=True).agg(
        mean=pl.col("value").mean(),
        sd=pl.col("value").std(),
        n=pl.len(),
        low=pl.when(alone).then(pl.col("low").first()),
        high=pl.when(alone).then(pl.col("high").first()),
        queries=pl.col("n").first(),
        chance=pl.col("chance").mean(),
    )


def spoken(over: pl.DataFrame) -> pl.DataFrame:
    """The same as text, a line a point and a column an arm: "0.412 ± 0.013 (n = 3)", one seed
    "0.412 (n = 1)".
    """

    def words(row: dict[str, Any]) -> str:
        if row["mean"] is None:
            return summary.NOT_EVALUABLE
        spread = "" if row["sd"] is None else f" ± {row['sd']:.3f}"
        return f"{row['mean']:.3f}{spread} (n = {row['n']})"

    cells = [words(row) for row in over.iter_rows(named=True)]
    named = over.with_columns(
        cell=pl.Series(cells, dtype=pl.String), arm=pl.concat_str(ARM, separator=":")
    )
    return (
        named.pivot("arm", index="label", values="cell") if named.height else named.select("label")
    )


def failures(table: pl.DataFrame) -> pl.DataFrame:
    """The members without numbers, and why."""
    return table.filter(pl.col("state") != DONE).select("run", "state", "error", "log")


# -------------------------------------------------------------------------------------- differences


def _scores(found: SweepView, members: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """The chosen metric of each member's queries, system cut down to encoder/training, seed that of
    the member.
    """
    parts = []
    for member in members:
        stage = artifacts.open_stage(member["run"], EVALUATION)
        scores = stage.table("feedback" if found.judged else "recall", tables.Scores)
        scores = scores.filter(pl.col("metric") == found.metric)
        rows = scores.with_columns(encoder=pl.lit(JUDGED), training=pl.col("system"))
        if not found.judged:
            rows = recall.split_system(scores)
            rows = rows.filter(
                (pl.col("direction") == found.direction) & (pl.col("scope") == found.scope)
            )
        parts.append(
            rows.with_columns(
                seed=pl.lit(member["seed"] or 0, dtype=pl.Int64), label=pl.lit(member["label"])
            )
        )
    return pl.concat(parts)


def _stratum(found: SweepView) -> str | None:
    return None if found.judged else "sport"  # every learner counts once


def arm_differences(found: SweepView, *, draws: int = 2000, seed: int = 0) -> pl.DataFrame:
    """The comparisons of fair play within each point, its seeds averaged per query: differences and
    ratios, paired.

    In the sport's whole gallery and, where 05 has it, in galleries of one size; encoders are
    compared on each training.
    """
    rows = []
    for label in found.labels:
        members = found.done(label)
        scopes = (found.scope,) if found.judged else dict.fromkeys((found.scope, *GALLERIES))
        for scope in scopes if members else ():
            scores = _scores(replace(found, scope=scope), members)
            scores = scores.with_columns(system=pl.concat_str(*ARM, separator="/"))
            sampled = bootstrap.resample(
                scores.select(_COLUMNS), draws=draws, seed=seed, stratum=_stratum(found)
            )
            size = (int(sampled.queries_S.sum()), len(members))
            for kind, one, two in _compared(sampled.systems) if sampled.strata else ():
                gap = sampled.ratio(one, two) if kind == "ratio" else sampled.difference(one, two)
                apart = gap.excludes(1.0 if kind == "ratio" else 0.0)
                p = (
                    bootstrap.paired_p(scores.select(_COLUMNS), one, two, seed=seed)
                    if found.judged
                    else None
                )
                rows.append(
                    (label, scope, kind, one, two, gap.value, gap.low, gap.high, *size, apart, p)
                )
    return pl.DataFrame(rows, schema=_ARMS, orient="row")


def _compared(systems: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Which of the systems (encoder/training) are set against each other, and as what."""
    encoders = sorted({system.split("/")[0] for system in systems})
    for encoder in encoders:
        for kind, training, baseline in COMPARED:
            if {f"{encoder}/{training}", f"{encoder}/{baseline}"} <= set(systems):
                yield kind, f"{encoder}/{training}", f"{encoder}/{baseline}"
    for system in systems:
        encoder, training = system.split("/")
        if encoder != encoders[0] and f"{encoders[0]}/{training}" in systems:
            yield "difference", system, f"{encoders[0]}/{training}"


_ARMS = {
    "label": pl.String,
    "scope": pl.String,
    "kind": pl.String,
    "arm": pl.String,
    "baseline": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "queries": pl.Int64,
    "seeds": pl.Int64,
    "apart": pl.Boolean,
    "p": pl.Float64,
}


def point_differences(found: SweepView, *, draws: int = 2000, seed: int = 0) -> pl.DataFrame:
    """Every point minus the first one, for each arm that both trained: paired over queries, on the
    seeds both have.
    """
    rows = []
    first = found.labels[0]
    for label in found.labels[1:]:
        common = {member["seed"] for member in found.done(first)} & {
            member["seed"] for member in found.done(label)
        }
        members = [
            member
            for member in (*found.done(first), *found.done(label))
            if member["seed"] in common
        ]
        if not common:
            continue
        scores = _scores(found, members)
        arms = [
            set(scores.filter(pl.col("label") == one).select(ARM).rows()) for one in (first, label)
        ]
        for encoder, training in sorted(arms[0] & arms[1]):
            part = scores.filter((pl.col("encoder") == encoder) & (pl.col("training") == training))
            part = part.with_columns(system=pl.col("label")).select(_COLUMNS)
            sampled = bootstrap.resample(part, draws=draws, seed=seed, stratum=_stratum(found))
            if not sampled.strata:
                continue
            gap = sampled.difference(label, first)
            size = (int(sampled.queries_S.sum()), len(common))
            rows.append(
                (
                    label,
                    first,
                    encoder,
                    training,
                    gap.value,
                    gap.low,
                    gap.high,
                    *size,
                    gap.excludes(0.0),
                )
            )
    return pl.DataFrame(rows, schema=_POINTS, orient="row")


_POINTS = {
    "label": pl.String,
    "baseline": pl.String,
    "encoder": pl.String,
    "training": pl.String,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "queries": pl.Int64,
    "seeds": pl.Int64,
    "apart": pl.Boolean,
}


# --------------------------------------------------------------------------------------------- keep


def show(frame: pl.DataFrame) -> HTML:
    """The whole table for a notebook, escaped: every row and column, an arm's low and high behind
    its value.
    """
    from IPython.display import HTML

    arms = [name for name in frame.columns if f"{name} low" in frame.columns]
    columns = [
        name
        for name in frame.columns
        if name.removesuffix(" low").removesuffix(" high") not in arms
    ]
    columns = [name for name in frame.columns if name in columns or name in arms]
    lines = [[_cell(row, name) for name in columns] for row in frame.iter_rows(named=True)]
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return HTML(
        f'<div style="overflow-x:auto;white-space:nowrap">{table}</div>'
        if lines
        else "<p>None.</p>"
    )


def _cell(row: dict[str, Any], name: str) -> str:
    value = row[name]
    if f"{name} low" in row:
        return interval(value, row[f"{name} low"], row[f"{name} high"]) if value is not None else ""
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def describe(found: SweepView) -> HTML:
    """What was swept, over which base, and how many members have numbers."""
    from IPython.display import HTML

    notes, count = found.notes, len(found.members)
    words = (
        f"{len(found.done())} of {count} members have numbers; base run {notes['base']}, "
        f"preset {notes['preset']}; "
    )
    words += f"members ran {', '.join(notes['stages'])}, {notes['jobs']} at a time."
    return HTML(f"<h2>{escape(notes['title'] or found.name)}</h2><p>{escape(words)}</p>")


def keep_tables(found: SweepView, **frames: pl.DataFrame) -> None:
    """Each table as Parquet and CSV in data/sweeps/<sweep>, and as CSV in reports/<sweep>."""
    for folder in _folders(found):
        for name, frame in frames.items():
            frame.write_csv(folder / f"{name}.csv")
    for name, frame in frames.items():
        frame.write_parquet(sweep_folder(found.name) / f"{name}.parquet")


def keep_figure(found: SweepView, name: str, figure: Figure | None) -> Figure | str:
    """The figure as PNG, SVG and PDF beside the tables; returns it to be shown, or a sentence where
    there is none.
    """
    if figure is None:
        return "No member has a number to draw: look at the states above."
    settings = digest(found.members)
    lessons = artifacts.lessons_of(found.members[0]["run"]) if found.members else ""
    stage = str(found.notes["stage"])
    facts = provenance.figure_facts(
        found.name, stage, settings, artifacts.provenance(), lessons=lessons
    )
    for folder in _folders(found):
        for suffix in style.SUFFIXES:
            style.save(figure, folder / f"{name}.{suffix}", facts)
    return figure


def _folders(found: SweepView) -> list[Path]:
    report = artifacts.workspace() / "reports" / found.name
    report.mkdir(parents=True, exist_ok=True)
    return [sweep_folder(found.name), report]
