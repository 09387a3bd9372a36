"""What differs between a complete stage and now."""

from __future__ import annotations

from sportskills_lib.runs.artifacts import FORMAT, code_parts, input_digests, open_stage
from sportskills_lib.stage_config import RENAMED, StageConfig

EARLIER_CODE = "code of an earlier version"  # a reason to run a stage again


def changes(run: str, stage: str, config: StageConfig) -> list[str]:
    """What differs between the complete stage and now: inputs, settings, files of code and packages
    by name; empty when it is up to date.
    """
    reader = open_stage(run, stage)
    manifest, key = reader.manifest, reader.manifest["key"]
    if altered := reader.altered():
        return [f"{name} is missing or altered" for name in altered]
    try:
        inputs = input_digests(run, **manifest["reads"])
    except ValueError as error:
        return [str(error)]
    differs = [f"input {name}" for name in inputs if key.get(f"input {name}") != inputs[name]]
    old = {RENAMED.get(name, name): value for name, value in manifest["config"].items()}
    new = config.model_dump(mode="json")
    differs += [
        f"{name} {old.get(name)!r} → {new.get(name)!r}"
        for name in sorted((old.keys() - new.keys()) | config.key_settings().keys())
        if old.get(name) != new.get(name)
    ]
    if manifest["format"] < FORMAT:
        return [*differs, EARLIER_CODE]
    before, now = manifest["code"], code_parts(stage)
    names = [name for name in sorted(now.keys() | before) if now.get(name) != before.get(name)]
    return differs + [
        f"{name} {before.get(name)} → {now.get(name)}" if name.startswith("package ") else name
        for name in names
    ]
