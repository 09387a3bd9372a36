"""What a run would do before anything runs: which stages and why, with the seconds that were
measured of this run, or of the demo and smoke presets.
"""

from __future__ import annotations

from collections.abc import Iterator

from sportskills_lib.runs import artifacts, pipeline
from sportskills_lib.runs.artifacts import NOTEBOOKS, STAGES
from sportskills_lib.runs.pipeline import Settings
from sportskills_lib.runs.progress import Progress
from sportskills_lib.runs.provenance import stand_in_warning


def plan_lines(
    run: str,
    preset: str | None,
    settings: Settings,
    *,
    first: str | None = None,
    last: str | None = None,
) -> Iterator[str]:
    """The plan, a line at a time."""
    preset, chosen = pipeline.chosen_settings(run, preset, settings)
    configs = pipeline.stage_configs(preset, chosen)
    begin = pipeline.stage_name(first or STAGES[0])
    end = pipeline.stage_name(last or pipeline.notebooks(run)[-1])
    yield f"plan of run {run}, preset {preset}; nothing has been loaded, downloaded or run."
    if warning := stand_in_warning({stage: dict(config) for stage, config in configs.items()}):
        yield f"  WARNING: {warning}"
    for stage in NOTEBOOKS[NOTEBOOKS.index(begin) : NOTEBOOKS.index(end) + 1]:
        why = pipeline.reasons(run, stage, configs[stage])
        seconds = pipeline.planned_seconds(run, stage, preset)
        source = (
            "measured in this run"
            if artifacts.is_complete(run, stage)
            else "estimated from runs of this preset on two cores"
        )
        time = "time unknown" if seconds is None else f"{Progress.clock(seconds)}, {source}"
        yield f"  {stage:<16}{'runs (' + ', '.join(why[:3]) + ')' if why else 'complete'}; {time}"
