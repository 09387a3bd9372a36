"""The training loop by itself, on a model of one layer: schedule, best weights, resuming."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sportskills_lib.encoder import training
from sportskills_lib.retrieval.relevance import finetune
from sportskills_lib.training import loop
from sportskills_lib.training.distributed import ProcessGroup
from sportskills_lib.training.loop import Loop, TrainingPlan, learning_rate_at

PLAN = TrainingPlan(
    steps=6,
    learning_rate=0.1,
    warmup_steps=2,
    weight_decay=0.0,
    evaluate_every=2,
    checkpoint_every=2,
    keep="best",
)


class _Line:
    """Fits a line; its validation scores are given."""

    name, score = "line", "value"

    def __init__(self, scores: list[float]):
        torch.manual_seed(0)
        self.module = torch.nn.Linear(2, 1)
        self.scores, self.states, self.steps = iter(scores), [], []

    def batches(self, first):
        for step in range(first, PLAN.steps):
            self.steps.append(step)
            yield torch.from_numpy(np.random.default_rng(step).normal(size=(4, 2))).float()

    def backward(self, batch):
        loss = (self.module(batch + torch.rand(4, 2)) - batch.sum(1, keepdim=True)).square().mean()
        loss.backward()
        return float(loss.detach())

    def validate(self):
        self.states.append(self.module.weight.detach().clone())
        return {"value": next(self.scores)}, [{"part": "all"}]


def run(task, folder: Path | None = None, **changes) -> loop.TrainingRecord:
    plan = TrainingPlan(**vars(PLAN) | changes)
    return Loop(task, plan, ProcessGroup(device="cpu"), folder=folder, settings={"size": 1}).run()


def test_learning_rate_warms_up_and_ends_at_its_floor() -> None:
    plan = replace(PLAN, steps=100, learning_rate=1.0, warmup_steps=10)
    rates = [learning_rate_at(step, plan) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and max(rates) <= 1
    assert rates[100] == pytest.approx(0, abs=1e-9)
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    floored = [learning_rate_at(step, replace(plan, floor=0.05)) for step in range(101)]
    assert floored[100] == pytest.approx(0.05)
    assert floored[50] == pytest.approx(0.05 + 0.95 * rates[50])


def test_the_encoder_and_the_relevance_model_share_the_loop() -> None:
    assert training.Loop is Loop and finetune.Loop is Loop
    assert not hasattr(training, "learning_rate_at") and not hasattr(finetune, "rate_share")


@pytest.mark.parametrize(
    ("scores", "best"),
    [([0.1, 0.9, 0.9, 0.2], 1), ([0.5, 0.1, 0.2, 0.6], 3), ([float("nan")] * 4, 3)],
)
def test_the_first_best_weights_are_kept_and_the_last_without_scores(scores, best) -> None:
    task = _Line(scores)
    record = run(task)
    assert record.best == best and [row["step"] for row in record.curve] == [0, 2, 4, 6]
    assert torch.equal(task.module.weight, task.states[best])
    assert [detail["step"] for detail in record.details] == [0, 2, 4, 6]
    assert record.curve[0]["loss"] is None and record.curve[0]["learning_rate"] == 0.0
    assert record.curve[3]["learning_rate"] == learning_rate_at(5, PLAN)


def test_patience_counts_validations_since_the_best() -> None:
    task = _Line([0.1, 0.9, 0.5, 0.4])
    assert [row["step"] for row in run(task, patience=1).curve] == [0, 2, 4]
    assert [row["step"] for row in run(_Line([0.1] * 4), evaluate=False, patience=1).curve] == [6]


def test_resuming_gives_the_same_weights_and_only_the_steps_that_are_left(tmp_path: Path) -> None:
    scores = [0.1, 0.2, 0.3, 0.4]
    whole = _Line(scores)
    curve = run(whole).curve
    with pytest.raises(StopIteration):
        run(_Line(scores[:2]), tmp_path)  # ends in the validation at step 4
    assert json.loads((tmp_path / "checkpoint.json").read_text())["step"] == 2
    rest = _Line(scores[2:])
    again = run(rest, tmp_path).curve
    assert rest.steps == [2, 3, 4, 5] and torch.equal(rest.module.weight, whole.module.weight)
    for one, other in zip(curve, again, strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}
    done = _Line([])
    assert run(done, tmp_path).done and done.steps == []
    assert torch.equal(done.module.weight, whole.module.weight)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    run(_Line([0.1] * 4), tmp_path)
    other = Loop(_Line([]), PLAN, ProcessGroup(device="cpu"), folder=tmp_path, settings={"size": 2})
    with pytest.raises(ValueError, match="a training with another size: empty that folder"):
        other.run()
