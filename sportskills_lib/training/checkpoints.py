"""Training kept on disk so that it goes on exactly where it stopped: safetensors for tensors, JSON
for the rest.

Kept are the weights in training, buffers, the optimiser's state and the record (step, losses,
curves). Draws are not: every draw of a step comes from the seed and the step's number. The tensors
are written first, under a name with their step; the JSON that names them is written last and whole:
a kill leaves the old checkpoint or the new one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sportskills_lib.formats.files import write_whole


def moving_state(module: Any) -> dict[str, Any]:
    """Copies on the CPU of the weights in training and of all buffers that belong to the model, by
    name.
    """
    saved = set(module.state_dict())
    named = [(name, value) for name, value in module.named_parameters() if value.requires_grad]
    named += [(name, value) for name, value in module.named_buffers() if name in saved]
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in named}


def restore_state(module: Any, state: dict[str, Any]) -> None:
    """Put back what :func:`moving_state` gave; ValueError when a name is missing."""
    import torch

    here = dict(module.named_parameters()) | dict(module.named_buffers())
    if missing := sorted(set(state) - set(here)):
        raise ValueError(
            f"the checkpoint has {missing[0]!r}, the model has not: empty the stage's shards folder"
        )
    with torch.no_grad():
        for name, value in state.items():
            here[name].copy_(value)


def save(
    folder: Path,
    module: Any,
    optimiser: Any,
    best: dict[str, Any],
    record: dict[str, Any],
) -> None:
    """Write a checkpoint; ``record`` must be JSON and hold ``step``. Older ones are removed.

    The groups of the ``optimiser`` hold the ``names`` of their parameters.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"now/{name}": value for name, value in moving_state(module).items()}
    tensors |= {f"best/{name}": value for name, value in best.items()}
    names = [name for group in optimiser.param_groups for name in group["names"]]
    for place, state in optimiser.state_dict()["state"].items():
        tensors |= {
            f"adam/{key}/{names[place]}": value.detach().cpu() for key, value in state.items()
        }
    path = folder / f"state-{record['step']:08d}.safetensors"
    temporary = folder / f".{path.name}.tmp"
    save_file(tensors, temporary)
    temporary.replace(path)
    write_whole(folder / "checkpoint.json", json.dumps(record | {"tensors": path.name}))
    for old in folder.glob("*state-*.safetensors*"):
        if old.name != path.name:
            old.unlink()


def load(folder: Path, module: Any, optimiser: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Restore the last checkpoint into model and optimiser; returns its best weights and record,
    None without one.
    """
    from safetensors.torch import load_file

    if not (folder / "checkpoint.json").is_file():
        return None
    record = json.loads((folder / "checkpoint.json").read_text())
    tensors = load_file(folder / record.pop("tensors"))
    restore_state(module, _below("now/", tensors))
    whole = optimiser.state_dict()
    names = [name for group in optimiser.param_groups for name in group["names"]]
    states: dict[int, dict[str, Any]] = {}
    for path, value in _below("adam/", tensors).items():
        key, _, name = path.partition("/")
        states.setdefault(names.index(name), {})[key] = value
    optimiser.load_state_dict({**whole, "state": states})
    return _below("best/", tensors), record


def _below(prefix: str, tensors: dict[str, Any]) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
