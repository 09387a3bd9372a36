"""A finetuning that is killed, shared by processes or done in parts ends with the adapters of an
undisturbed one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from killed_finetuning import die_at

import sportskills_lib
from sportskills_lib.config import RetrievalConfig
from sportskills_lib.retrieval.relevance import finetune, model
from sportskills_lib.retrieval.relevance.pair_scorer import PairScorer
from sportskills_lib.training import distributed_job

SETTINGS = {
    "loss": "listwise",
    "steps": 6,
    "learners_per_step": 2,
    "positives": 2,
    "list_size": 4,
    "learning_rate": 1e-2,
    "evaluate_every": 2,
    "speaking_weight": 0.5,
    "seed": 0,
    "text_steps": 2,
    "dual_steps": 4,
}
SPLITS = {"a": "train", "b": "train", "c": "train"}  # without validation the last adapters are kept
PLACES = {"a": 0, "b": 1, "c": 2} | {f"clip{i}": i for i in range(3, 9)}
SLOW = pytest.mark.skipif(
    not os.environ.get("SPORTSKILLS_SLOW"), reason="set SPORTSKILLS_SLOW=1 to run it"
)


class _Stop(BaseException):
    """Ends a finetuning where SIGKILL would: nothing handles it, and nothing is written on the way
    out.
    """


def _stop(*_, **__):
    raise _Stop


@pytest.fixture(scope="module")
def supervision():
    rows = [
        (
            learner,
            f"clip{i}",
            float((i + shift) % 3 == 0),
            "good" if (i + shift) % 3 == 0 else "bad",
        )
        for shift, learner in enumerate("abc")
        for i in range(3, 9)
    ]
    frame = pl.DataFrame(rows, schema=["learner_id", "clip_id", "label", "reason"], orient="row")
    comment = pl.format("{} bends the knee", "learner_id")
    return frame.with_columns(comment=comment, sport=pl.lit("golf"), skill=pl.lit("putt"))


@pytest.fixture(scope="module")
def work(tiny_folder, videos, supervision):
    """What is trained on, and how a fresh model is tuned on it."""
    said = {row: " ".join(["keep", "the", "knee", "bent"][: row % 4 + 1]) for row in range(3, 9)}

    def fresh():
        torch.manual_seed(0)
        return finetune.add_lora(model.load_vlm(str(tiny_folder)), rank=4, alpha=8)

    vlm = fresh()
    visual, grid = model.encode_videos(vlm, videos), vlm.grid(videos.shape[1:])
    data = PairScorer(vlm, visual, grid, PLACES, said)

    def tune(folder=None, splits=SPLITS, **changes):
        own, config = replace(data, vlm=fresh()), RetrievalConfig(**SETTINGS | changes)
        return own.vlm, finetune.finetune(own, taught(splits), config, folder=folder)

    def taught(splits=SPLITS):
        return supervision.with_columns(split=pl.col("learner_id").replace_strict(splits))

    return (lambda: replace(data, vlm=fresh()), taught()), data, tune


def adapters(vlm):
    return {
        name: weight.detach() for name, weight in vlm.model.named_parameters() if "lora_" in name
    }


def same(one, other):
    return all(torch.equal(weight, adapters(other)[name]) for name, weight in adapters(one).items())


@pytest.mark.parametrize("killed", [False, pytest.param(True, marks=SLOW)])
def test_killed_at_random_steps_the_adapters_are_those_of_an_undisturbed_run(
    work, tmp_path, killed
):
    (fresh, taught), _, tune = work
    whole, curve = tune()
    folder = tmp_path / "cut"
    finetune.write_job(fresh(), taught, RetrievalConfig(**SETTINGS), folder)
    moments = sorted(np.random.default_rng(0).choice(np.arange(1, 6), 3, replace=False).tolist())
    for number, moment in enumerate(moments):
        where = "checkpoint" if number == 1 else "step"
        if killed:
            script = Path(__file__).with_name("killed_finetuning.py")
            path = {"PYTHONPATH": str(Path(sportskills_lib.__file__).parents[1])}
            command = [sys.executable, str(script), str(folder), str(moment), where]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=300, env=os.environ | path
            )
            assert done.returncode == -signal.SIGKILL, done.stderr
            continue
        with pytest.MonkeyPatch.context() as patch, pytest.raises(_Stop):
            die_at(patch, moment, where, _stop)
            tune(folder)
    assert 0 < json.loads((folder / "vlm_yes_no" / "checkpoint.json").read_text())["step"] < 6
    mended, again = tune(folder)
    assert same(whole, mended) and curve.drop("seconds").equals(again.drop("seconds"))
    assert not same(whole, fresh().vlm) and mended.training == whole.training
    kinds = {path.suffix for path in folder.iterdir() if path.is_file()}
    assert kinds <= {".safetensors", ".json", ".parquet"}


def test_resuming_draws_only_the_steps_that_are_left(work, tmp_path, monkeypatch):
    _, _, tune = work
    with pytest.MonkeyPatch.context() as patch, pytest.raises(_Stop):
        die_at(patch, 5, "step", _stop)
        tune(tmp_path)
    steps, draw = [], finetune.draw_lists
    monkeypatch.setattr(
        finetune,
        "draw_lists",
        lambda lists, step, *a, **k: steps.append(step) or draw(lists, step, *a, **k),
    )
    tune(tmp_path)
    assert steps == [4, 5]  # the last checkpoint is of step 4


def test_a_finished_finetuning_is_read_back_and_another_is_refused(work, tmp_path, monkeypatch):
    _, _, tune = work
    first, curve = tune(tmp_path, steps=2)
    monkeypatch.setattr(finetune._RelevanceTask, "backward", None)
    again, same_curve = tune(tmp_path, steps=2)
    assert same(first, again) and curve.equals(same_curve)
    with pytest.raises(ValueError, match="another learning_rate, steps: empty that folder"):
        tune(tmp_path, steps=4, learning_rate=1e-3)


def test_a_learner_at_a_time_gives_the_gradients_of_all(work):
    _, _, tune = work
    whole, curve = tune(steps=3)
    parts, same_curve = tune(steps=3, learners_per_pass=1)
    for name, weight in adapters(whole).items():
        torch.testing.assert_close(adapters(parts)[name], weight, atol=2e-5, rtol=1e-3)
    assert curve["loss"].to_list() == pytest.approx(same_curve["loss"].to_list(), abs=1e-5)


@SLOW
def test_two_processes_give_the_adapters_of_one(work, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(sportskills_lib.__file__).parents[1]))
    _, _, tune = work
    splits = SPLITS | {"c": "val"}
    one, curve = tune(steps=3, splits=splits)
    two, same_curve = tune(tmp_path, processes=2, steps=3, splits=splits)
    assert "trained in 2 processes" in (tmp_path / "launch.log").read_text()
    for name, weight in adapters(one).items():
        torch.testing.assert_close(adapters(two)[name], weight, atol=2e-5, rtol=1e-3)
    for name in ("loss", "val_ndcg@10"):
        assert curve[name].to_list() == pytest.approx(same_curve[name].to_list(), abs=1e-4)


def test_several_processes_need_a_folder(work):
    _, _, tune = work
    with pytest.raises(ValueError, match="processes=2 needs a folder"):
        tune(processes=2)


@SLOW
def test_a_failed_process_is_an_error_with_the_end_of_its_log(work, tmp_path, monkeypatch):
    _, _, tune = work
    monkeypatch.setattr(distributed_job, "MODULE", "sportskills_lib.retrieval.nowhere")
    with pytest.raises(RuntimeError, match=r"(?s)finetuning in 2 processes failed:.*nowhere"):
        tune(tmp_path, processes=2)


def test_a_job_is_read_back_as_it_was_written(work, tmp_path):
    (fresh, taught), data, _ = work
    start, config = fresh(), RetrievalConfig(**SETTINGS)
    finetune.write_job(start, taught, config, tmp_path)
    again, supervision, same_config = finetune.read_job(tmp_path)
    assert same(start.vlm, again.vlm) and same_config == config
    assert supervision.equals(taught) and torch.equal(again.visual_NKD, data.visual_NKD)
    for name in ("grid", "places", "narrations", "with_narration"):
        assert getattr(again, name) == getattr(data, name)
    learning = {n for n, w in again.vlm.model.named_parameters() if w.requires_grad}
    assert learning == set(adapters(start.vlm))


def test_training_scores_are_serving_scores(work, videos):
    """Packed rows in training mode, as a step makes them, against the kept prefix of serving."""
    _, data, tune = work
    visual, grid, said = data.visual_NKD, data.grid, data.narrations
    vlm, _ = tune(steps=2)
    served = model.score_pairs(vlm, visual, grid, [(0, [3, 4, 5, 6, 7, 8]), (1, [8, 3])], said)
    vlm.model.train()
    rows = [
        row
        for q, clips in [(0, [3, 4, 5, 6, 7, 8]), (1, [8, 3])]
        for row in model.rows_of(vlm, grid, q, clips, said)
    ]
    trained = vlm.packed_scores(finetune.pack(rows, pad_id=0), visual).detach().numpy()
    np.testing.assert_allclose(np.concatenate(served), trained, atol=1e-5)


def test_saved_adapters_give_the_same_scores_and_have_their_record(work, tmp_path, tiny_folder):
    _, data, tune = work
    visual, grid, said = data.visual_NKD, data.grid, data.narrations
    vlm, curve = tune(steps=2)
    queries = [(0, [3, 4, 5, 6])]
    (expected,) = model.score_pairs(vlm, visual, grid, queries, said)
    model.save_adapter(vlm, tmp_path / "adapter")
    again = model.load_vlm(str(tiny_folder), adapter=tmp_path / "adapter")
    np.testing.assert_allclose(
        model.score_pairs(again, visual, grid, queries, said)[0], expected, atol=1e-6
    )
    told = json.loads((tmp_path / "adapter" / model.RECORD).read_text())
    assert told["base"] == str(tiny_folder) and len(told["base_sha256"]["model.safetensors"]) == 64
    assert (
        told["training"]["vlm_yes_no"]["settings"]["steps"] == 2
        and told["training"]["vlm_yes_no"]["step_kept"] in curve["step"]
    )
    assert "peft" in told["code"]["packages"] and "commit" in told["code"]
    assert not list((tmp_path / "adapter").glob("*.bin"))


def test_four_bits_without_bitsandbytes_are_an_error_with_a_remedy(tiny_folder, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None)
    with pytest.raises(
        ValueError,
        match="'nf4' needs bitsandbytes: `pip install bitsandbytes`, or set quantize = 'no'",
    ):
        model.load_vlm(str(tiny_folder), quantize="nf4")
