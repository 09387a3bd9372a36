"""What a sweep found: a row a member, seeds taken together, paired differences, one figure.

Everything is read from what the members' 05 wrote. A member that failed keeps its row, without
numbers, with its error and its log. Seeds are shown as mean ± standard deviation with their number;
intervals are 05's (videos resampled within sport), with seeds averaged per query first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from sportskills_lib import tables
from sportskills_lib.apps.sweep.grid import Member, Sweep, sweep_folder
from sportskills_lib.apps.sweep.members import DONE, WAITING, states
from sportskills_lib.evaluation import comparisons, feedback, recall, summary
from sportskills_lib.formats.files import digest
from sportskills_lib.plots import style
from sportskills_lib.runs import artifacts, provenance
from sportskills_lib.statistics import bootstrap

EVALUATION = "05_evaluation"
# stands for the encoder where systems are judged by coaches' grades: the swept stage is 04
JUDGED = "judged"
JUDGED_SCORES = "feedback_same_skill"  # of 05
ARM = ["encoder", "training"]
LABEL_LETTERS = 44  # of a point's label in a figure
MARKERS = "oDs^vPX<>"  # of systems, in their order: told apart without colour, too
STILL = 1e-3  # a system whose mean differs by less between all points is the same at each


def open_sweep(name: str) -> Sweep:
    """The sweep of that name; ValueError when none was begun."""
    path = sweep_folder(name) / "sweep.json"
    if not path.is_file():
        raise ValueError(
            f"there is no sweep {name!r}: `sportskills sweep --help` shows how one is made"
        )
    return Sweep.model_validate_json(path.read_text())


def done(found: Sweep, label: str | None = None) -> list[Member]:
    """The members (of one point) that have numbers."""
    known = states(found.name)
    return [
        member
        for member in found.members
        if label in (None, member.label)
        and known.get(member.run, {}).get("state") == DONE
        and artifacts.is_complete(member.run, EVALUATION)
    ]


def describe(found: Sweep) -> str:
    """What was swept, over which base, and how many members have numbers."""
    return (
        f"{found.title or found.name}: {len(done(found))} of {len(found.members)} members have "
        f"numbers; base run {found.base}, preset {found.preset}; members ran "
        f"{', '.join(found.stages)}."
    )


def metric_shown(found: Sweep) -> str:
    """The number that the tables and the figure are about."""
    return (
        f"{feedback.PRIMARY} over the test learners, each system ranking the judged clips of the "
        "learner's skill"
        if found.judged
        else f"{recall.SINGLE} over sports (macro), text → video, within sport"
    )


# ------------------------------------------------------------------------------------------- tables


def recalls(found: Sweep) -> pl.DataFrame:
    """A row for each member with numbers, encoder and training: the macro mean over sports with its
    interval; of a sweep of 04 the mean of every system over the test learners.
    """
    parts = [pl.DataFrame(schema=_RECALLS)]
    for member in done(found):
        stage = artifacts.open_stage(member.run, EVALUATION)
        if found.judged:
            grades = stage.table(JUDGED_SCORES).filter(metric=feedback.PRIMARY)
            rows = (
                stage.table("feedback_retrieval")
                .filter(pool="same_skill", metric=feedback.PRIMARY)
                .with_columns(
                    encoder=pl.lit(JUDGED), training="system", chance=grades["chance"].mean()
                )
            )
        else:
            rows = summary.of_figure(stage.table("per_sport_recall")).filter(sport=summary.MEAN)
        parts.append(_add_member(rows, member).select(list(_RECALLS)).cast(_RECALLS))  # type: ignore[arg-type]
    return pl.concat(parts)


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


def _add_member(rows: pl.DataFrame, member: Member) -> pl.DataFrame:
    """The rows with the member's run, label and seed (0 where its stage draws nothing)."""
    names = {"run": pl.lit(member.run), "label": pl.lit(member.label)}
    return rows.with_columns(**names, seed=pl.lit(member.seed or 0, pl.Int64))


def member_table(found: Sweep, measured: pl.DataFrame) -> pl.DataFrame:
    """One row a member: its parameters, seconds, commit, state, error and log, and for each arm the
    mean recall (``value_<encoder>:<training>``) with its interval (``low_``, ``high_``).
    """
    known = states(found.name)
    rows = []
    for member in found.members:
        state = {"state": WAITING, "error": "", "log": ""} | known.get(member.run, {})
        names = {"run": member.run, "label": member.label, **member.values, "seed": member.seed}
        facts = _manifest_facts(found, member.run)
        rows.append(names | facts | {name: state[name] for name in ("state", "error", "log")})
    wide = measured.with_columns(arm=pl.concat_str(ARM, separator=":")).pivot(
        "arm", index="run", values=["value", "low", "high"]
    )
    return pl.DataFrame(rows, infer_schema_length=None).join(
        wide, on="run", how="left", maintain_order="left"
    )


def _manifest_facts(found: Sweep, run: str) -> dict[str, Any]:
    """Seconds of each stage that the member executed, and the commit of the last of them (+: with
    changes on top).
    """
    facts: dict[str, Any] = {}
    commit = ""
    for stage in found.stages:
        complete = artifacts.is_complete(run, stage)
        manifest = artifacts.open_stage(run, stage).manifest if complete else {}
        facts[f"seconds_{stage[:2]}"] = manifest.get("seconds")
        commit = (manifest.get("commit") or "")[:10] + ("+" if manifest.get("dirty") else "")
    return facts | {"commit": commit}


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
    cells = []
    for mean, sd, n in over.select("mean", "sd", "n").iter_rows():
        spread = "" if sd is None else f" ± {sd:.3f}"
        cells.append(summary.NOT_EVALUABLE if mean is None else f"{mean:.3f}{spread} (n = {n})")
    return over.select("label", arm=pl.concat_str(ARM, separator=":"), cell=pl.Series(cells)).pivot(
        "arm", index="label", values="cell"
    )


# -------------------------------------------------------------------------------------- differences


def _scores(found: Sweep, members: Sequence[Member]) -> pl.DataFrame:
    """05's scores of these members' queries, ``seed`` that of the member, with run and label."""
    name = JUDGED_SCORES if found.judged else "recall"
    return pl.concat(
        _add_member(artifacts.open_stage(member.run, EVALUATION).table(name, tables.Scores), member)
        for member in members
    )


def arm_differences(found: Sweep, *, draws: int = 2000, seed: int = 0) -> pl.DataFrame:
    """The comparisons of 05 within each point, its seeds averaged per query: those of
    :func:`comparisons.headline`, or of a sweep of 04 those of :func:`feedback.differences`.
    """
    parts = []
    for label in found.labels:
        if members := done(found, label):
            scores = _scores(found, members).drop("run", "label")
            gaps = (
                feedback.differences(scores, draws=draws, seed=seed)
                if found.judged
                else comparisons.headline(scores, draws=draws, seed=seed)
            )
            names = {"label": pl.lit(label), "seeds": pl.lit(len(members))}
            parts.append(gaps.with_columns(**names).select("label", *gaps.columns, "seeds"))
    return pl.concat(parts) if parts else pl.DataFrame(schema={"label": pl.String})


def point_differences(found: Sweep, *, draws: int = 2000, seed: int = 0) -> pl.DataFrame:
    """Every point minus the first one, for each arm that both trained: paired over queries, on the
    seeds both have.
    """
    rows = []
    first, *others = found.labels
    for label in others:
        points = done(found, first), done(found, label)
        seeds = set.intersection(*({member.seed for member in point} for point in points))
        members = [member for member in (*points[0], *points[1]) if member.seed in seeds]
        if not members:
            continue
        scores = _scores(found, members)
        if found.judged:
            scores = scores.filter(metric=feedback.PRIMARY).with_columns(
                encoder=pl.lit(JUDGED), training="system"
            )
        else:
            scores = summary.of_figure(recall.split_system(scores))
        for arm, part in sorted(scores.partition_by(ARM, as_dict=True).items()):
            part = part.with_columns(system="label").select(tables.Scores.column_names())
            stratum = None if found.judged else "sport"  # every learner counts once
            sampled = bootstrap.resample(part, draws=draws, seed=seed, stratum=stratum)
            if len(sampled.systems) < 2:
                continue
            gap = sampled.difference(label, first)
            numbers = (gap.value, gap.low, gap.high, int(sampled.queries_S.sum()), len(seeds))
            rows.append((label, first, *arm, *numbers, gap.excludes(0.0)))
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
    "ci_excludes_zero": pl.Boolean,
}


# ------------------------------------------------------------------------------------------- figure


def points_figure(found: Sweep, measured: pl.DataFrame) -> Figure | None:
    """A panel an encoder, a line a point: each arm's mean over seeds, ± sd, with its seeds as dots;
    None without any.

    With one seed the bar is the 95 % interval of 05 instead. Where systems are judged by grades,
    those that no point changes are drawn once, as lines from top to bottom.
    """
    over = over_seeds(measured.drop_nulls("value"))
    encoders, labels = sorted(over["encoder"].unique()), found.labels
    if not encoders:
        return None
    arms = summary.ordered(over["training"], (*summary.TRAININGS, *feedback.SYSTEMS))
    still = _still(over) if found.judged and len(labels) > 1 else {}
    moving = [arm for arm in arms if arm not in still]
    height = 0.9 + 0.13 * len(labels) * (len(moving) + 1)
    figure, panels = style.figure(
        style.PAGE_IN, height, ncols=len(encoders), sharex=True, sharey=True, squeeze=False
    )
    for axes, encoder in zip(panels[0], encoders, strict=True):
        own, seeds = over.filter(encoder=encoder), measured.filter(encoder=encoder)
        for place, arm in enumerate(arms):
            colour, marker = style.ARM_COLOURS.get(arm, style.BLACK), "D"
            if found.judged:
                colour = style.CYCLE[place % len(style.CYCLE)]
                marker = MARKERS[place % len(MARKERS)]
            look = {"color": colour, "label": arm.replace("_", " ")}
            if arm in still:
                axes.axvline(still[arm], linewidth=0.9, linestyle="--", zorder=1, **look)
            else:
                look["marker"] = marker
                shift = 0.8 * ((moving.index(arm) + 0.5) / len(moving) - 0.5)
                lines = {label: index + shift for index, label in enumerate(labels)}
                _draw_arm(axes, own.filter(training=arm), seeds.filter(training=arm), lines, look)
        axes.axvline(own["chance"].mean(), color=style.GREY, linewidth=0.7, linestyle=":")
        axes.set(
            title="by coaches' grades" if found.judged else f"{style.plain(encoder)} encoder",
            xlabel=metric_shown(found).replace("_", " "),
        )
        axes.hlines(np.arange(len(labels) - 1) + 0.5, 0, 1, transform=axes.get_yaxis_transform(),
                    color="#E4E4E4", linewidth=0.5, zorder=0)  # fmt: skip
    names = [style.plain(label, limit=LABEL_LETTERS) for label in labels]
    panels[0][0].set_yticks(range(len(labels)), names)
    panels[0][0].set_ylim(len(labels) - 0.5, -0.5)
    if not found.judged:
        panels[0][0].set_xlim(left=0.0)  # shared, and the end of automatic limits: drawn last
    handles, names = panels[0][-1].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside upper left", ncols=min(5, len(names)), columnspacing=1.2
    )
    return figure


def _still(over: pl.DataFrame) -> dict[str, float]:
    """The systems that every point has with the same mean, and that mean."""
    mean, points = pl.col("mean"), over["label"].n_unique()
    same = (
        over.group_by("training", maintain_order=True)
        .agg(mean.mean(), apart=mean.max() - mean.min(), points=pl.len())
        .filter(pl.col("apart") < STILL, points=points)
    )
    return dict(same.select("training", "mean").iter_rows())


def _draw_arm(
    axes: Any,
    over: pl.DataFrame,
    seeds: pl.DataFrame,
    lines: dict[str, float],
    look: dict[str, Any],
) -> None:
    """Bars, seeds and means of one arm; ``lines``: the height of each point."""
    mean, sd, alone = pl.col("mean"), pl.col("sd"), pl.col("n") == 1
    low = pl.when(alone).then("low").otherwise(mean - sd)
    high = pl.when(alone).then("high").otherwise(mean + sd)
    bars = over.select("label", low=low, high=high).drop_nulls()
    heights, of_seeds, of_bars = (
        [lines[label] for label in table["label"]] for table in (over, seeds, bars)
    )
    axes.hlines(of_bars, bars["low"], bars["high"], color=look["color"], linewidth=1.0, zorder=2)
    edge = {"edgecolors": "black", "zorder": 3}
    axes.scatter(seeds["value"], of_seeds, s=7, color=look["color"], linewidths=0.25, **edge)
    axes.scatter(over["mean"], heights, s=20, linewidths=0.4, **edge | look)


# --------------------------------------------------------------------------------------------- keep


def keep_tables(found: Sweep, **frames: pl.DataFrame) -> None:
    """Each table as Parquet and CSV in data/sweeps/<sweep>."""
    for name, frame in frames.items():
        frame.write_csv(found.folder / f"{name}.csv")
        frame.write_parquet(found.folder / f"{name}.parquet")


def keep_figure(found: Sweep, name: str, figure: Figure | None) -> Figure | str:
    """The figure as PNG, SVG and PDF beside the tables; returns it to be shown, or a sentence where
    there is none.
    """
    if figure is None:
        return "No member has a number to draw: look at the states above."
    settings = digest(found.model_dump(include={"members"}))
    lessons = artifacts.lessons_of(found.members[0].run)
    facts = provenance.figure_facts(
        found.name, found.stage, settings, artifacts.provenance(), lessons=lessons
    )
    for suffix in style.SUFFIXES:
        style.save(figure, found.folder / f"{name}.{suffix}", facts)
    return figure
