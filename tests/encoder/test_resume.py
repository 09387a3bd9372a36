"""A training that is killed goes on to the very weights of one that is not: killed for good, in
other processes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars.selectors as cs
import pytest
import torch
from killed_training import die_at
from small_training import small_config, small_train

import sportskills_lib
from sportskills_lib import models
from sportskills_lib.encoder import training
from sportskills_lib.training import loop

STEPS = 9
SLOW = pytest.mark.skipif(
    not os.environ.get("SPORTSKILLS_SLOW"), reason="set SPORTSKILLS_SLOW=1 to run it"
)


class _Stop(BaseException):
    """Ends a training where SIGKILL would: nothing handles it, and nothing is written on the way
    out.
    """


def _stop(*_: object, **__: object) -> None:
    raise _Stop


OTHERWISE = {"keep": "best", "accumulate": 2, "loader_threads": 0, "loss": "siglip"}


@pytest.mark.parametrize(
    ("changes", "killed"),
    [({}, False), (OTHERWISE, False), pytest.param({}, True, marks=SLOW)],
    ids=str,
)
def test_stopped_at_five_random_steps_the_weights_are_those_of_an_undisturbed_run(
    tiny: str, material: training.ClipData, tmp_path: Path, changes: dict, killed: bool
) -> None:
    config, told = (
        small_config(tiny, checkpoint_every=2, **changes),
        material.clips["text"].to_list(),
    )
    whole, curve = small_train(config, material, steps=STEPS, folder=str(tmp_path / "whole"))
    job = training.Job(
        config, material, told, "narrations", 1e-3, STEPS, folder=str(tmp_path / "cut")
    )
    training.write_job(job, tmp_path / "cut")
    moments = sorted(
        np.random.default_rng(len(changes)).choice(np.arange(1, STEPS), 5, replace=False).tolist()
    )
    for number, moment in enumerate(moments):
        where = "checkpoint" if number == 2 else "step"
        if killed:
            script = Path(__file__).with_name("killed_training.py")
            command = [sys.executable, str(script), job.folder, str(moment), where]
            path = {"PYTHONPATH": str(Path(sportskills_lib.__file__).parents[1])}
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=300, env=os.environ | path
            )
            assert done.returncode == -signal.SIGKILL, done.stderr
            continue
        with pytest.MonkeyPatch.context() as patch, pytest.raises(_Stop):
            die_at(patch, moment, where, _stop)
            training.train(job)
    assert 0 < json.loads((tmp_path / "cut/checkpoint.json").read_text())["step"] < STEPS
    mended, same_curve = small_train(config, material, steps=STEPS, folder=job.folder)
    states = whole.module.state_dict(), mended.module.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert curve.equals(same_curve)


def test_a_finished_training_is_read_back_not_repeated(
    tiny: str, material: training.ClipData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(tiny)
    first, curve = small_train(config, material, steps=3, folder=str(tmp_path))
    monkeypatch.setattr(training, "backward", None)
    again, same_curve = small_train(config, material, steps=3, folder=str(tmp_path))
    assert curve.equals(same_curve)
    assert torch.equal(first.model.text_projection, again.model.text_projection)
    assert [path.name for path in tmp_path.glob("*state*")] == ["state-00000003.safetensors"]


def test_a_checkpoint_of_another_model_is_an_error_with_a_remedy(
    tiny: str, vit: str, material, tmp_path: Path
) -> None:
    small_train(small_config(tiny), material, steps=1, folder=str(tmp_path))
    with pytest.raises(ValueError, match=r"the model has not: empty the stage's shards folder"):
        small_train(small_config(vit, frozen=[]), material, steps=1, folder=str(tmp_path))


def test_the_best_validation_is_kept_when_asked_for(
    tiny: str, material: training.ClipData, monkeypatch
) -> None:
    recalls = iter([0.2, 0.9, 0.5, 0.4])
    original = training.mean_over_sports
    monkeypatch.setattr(
        training,
        "mean_over_sports",
        lambda scores: original(scores) | {"val_recall": next(recalls)},
    )
    kept, curve = small_train(small_config(tiny, keep="best"), material, steps=6)
    assert curve["val_recall"].to_list() == [0.2, 0.9, 0.5, 0.4]
    recalls = iter([0.2, 0.9, 0.5])
    stopped, short = small_train(small_config(tiny, patience=1), material, steps=6)
    assert short["step"].to_list() == [0, 2, 4]  # 0.9 was not beaten: stopped
    recalls = iter([0.2, 0.9])
    two = training.Job(
        small_config(tiny), material, material.clips["text"].to_list(), "narrations", 1e-3, 6
    )
    with monkeypatch.context() as patch:
        patch.setattr(loop.Loop, "_since_best", lambda self: int(len(self.record.curve) == 2))
        early = training.train(
            training.Job(
                two.config.model_copy(update={"patience": 1}),
                material,
                two.texts,
                "narrations",
                1e-3,
                6,
            )
        ).tower
    assert torch.equal(kept.model.text_projection, early.model.text_projection)
    assert not torch.equal(kept.model.text_projection, stopped.model.text_projection)


def test_the_curve_has_a_row_a_sport(tiny: str, material: training.ClipData) -> None:
    job = training.Job(
        small_config(tiny), material, material.clips["text"].to_list(), "narrations", 1e-3, 2
    )
    found = training.train(job)
    assert found.by_sport.height == 6 and found.by_sport["clips"].to_list() == [4] * 6
    means = found.by_sport.group_by("step", maintain_order=True).agg(cs.float().mean())
    for name in ("val_loss", "val_recall", "val_mrr"):
        assert means[name].to_list() == pytest.approx(found.curve[name].to_list())
    assert found.seconds >= found.waited_s > 0
    assert isinstance(found.tower, models.Tower)
