"""Several processes give the weights of one; trackers and a full memory are answered with what to
do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from small_training import small_config, small_train

import sportskills_lib
from sportskills_lib import models
from sportskills_lib.encoder import train_step, training
from sportskills_lib.training import distributed, distributed_job


def test_two_processes_give_the_weights_of_one(
    vit: str, material: training.ClipData, tmp_path: Path, monkeypatch
) -> None:
    """An odd batch in chunks, so that shares differ in size; gradients flow through what is
    gathered.
    """
    monkeypatch.setenv("PYTHONPATH", str(Path(sportskills_lib.__file__).parents[1]))
    options = {
        "frozen": [],
        "sports_per_batch": 1,
        "clips_per_sport": 5,
        "train_frames": 4,
        "chunk": 2,
    }
    one, curve = small_train(small_config(vit, **options), material, steps=3)
    shared = small_config(vit, **options, processes=2)
    two, same_curve = small_train(shared, material, steps=3, folder=str(tmp_path))
    start, a, b = (
        module.state_dict() for module in (models.load_tower(vit).module, one.module, two.module)
    )
    assert "trained in 2 processes" in (tmp_path / "launch.log").read_text()
    for name in a:
        assert torch.allclose(a[name], b[name], atol=2e-5), name
    moved = [name for name in a if not torch.equal(start[name], a[name])]
    assert "logit_scale" in moved and "visual.proj" in moved and len(moved) > len(a) / 2
    for name in ("loss", "val_loss", "val_mrr"):
        assert curve[name].to_list() == pytest.approx(same_curve[name].to_list(), abs=1e-4)


def test_a_failed_process_is_an_error_with_the_end_of_its_log(
    tiny: str, material, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(distributed_job, "MODULE", "sportskills_lib.encoder.nowhere")
    config = small_config(tiny, processes=1).model_copy(update={"processes": 2})
    with pytest.raises(
        RuntimeError, match=r"(?s)training image:narrations in 2 processes failed:.*nowhere"
    ):
        small_train(config, material, steps=1, folder=str(tmp_path))
    with pytest.raises(ValueError, match="processes=2 needs a folder"):
        small_train(config, material, steps=1)


def test_a_job_is_read_back_as_it_was_written(
    tiny: str, material: training.ClipData, tmp_path: Path
) -> None:
    some = training.ClipData(material.clips, material.frames_path, ("golf",))
    told = ["a"] * material.clips.height
    job = training.Job(
        small_config(tiny), some, told, "both", 1e-3, 7, "video", False, "f", "w", "l", "s"
    )
    training.write_job(job, tmp_path)
    again = training.read_job(tmp_path)
    assert again.material.clips.equals(job.material.clips) and again.material.sports == ("golf",)
    names = (
        "config",
        "texts",
        "arm",
        "peak",
        "steps",
        "encoder",
        "evaluate",
        "features",
        "folder",
        "logs",
        "start",
    )
    assert all(getattr(again, name) == getattr(job, name) for name in names)


@pytest.mark.parametrize(("count", "size"), [(5, 2), (8, 3), (2, 4), (0, 2)])
def test_shares_are_consecutive_and_differ_by_one_at_most(count: int, size: int) -> None:
    shares = distributed._shares(count, size)
    assert [i for part in shares for i in range(part.start, part.stop)] == list(range(count))
    lengths = [part.stop - part.start for part in shares]
    assert max(lengths) - min(lengths) <= 1


def test_a_tracker_that_is_not_there_is_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from accelerate import tracking

    with pytest.raises(ValueError, match=r"trackers: 'papers' is not among .*tensorboard"):
        distributed.check_trackers(["papers"])
    monkeypatch.setattr(tracking, "get_available_trackers", lambda: [])
    with pytest.raises(ValueError, match=r"\(none\): `pip install wandb`"):
        distributed.check_trackers(["wandb"])


def test_trackers_get_what_the_curve_gets(tiny: str, material, tmp_path: Path, monkeypatch) -> None:
    from accelerate import Accelerator

    told: list[tuple[dict, int]] = []
    monkeypatch.setattr(distributed, "check_trackers", lambda names: None)
    monkeypatch.setattr(Accelerator, "init_trackers", lambda self, title, config: None)
    monkeypatch.setattr(Accelerator, "log", lambda self, values, step: told.append((values, step)))
    monkeypatch.setattr("accelerate.accelerator.filter_trackers", lambda *a: [])
    config = small_config(tiny, trackers=["tensorboard"])
    _, curve = small_train(config, material, steps=2, logs=str(tmp_path))
    assert [step for _, step in told] == [0, 2]
    assert (
        told[1][0]["val_recall"] == curve["val_recall"][-1]
        and told[1][0]["loss"] == curve["loss"][-1]
    )


def _full_above(limit: int, original):
    def features(self, frames, time_BT=None):
        if len(frames) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return original(self, frames, time_BT)

    return features


def test_out_of_memory_names_a_smaller_chunk(
    vit: str, material, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(models.load_tower(vit))
    monkeypatch.setattr(kind, "clip_features", _full_above(3, kind.clip_features))
    with pytest.raises(MemoryError, match=r"out of memory with 8 clips of 2x32x32x3 .* chunk = 4 "):
        small_train(small_config(vit, frozen=[]), material, steps=1, evaluate=False)


def test_another_error_is_not_taken_for_a_full_memory() -> None:
    assert not train_step.out_of_memory(RuntimeError("shapes differ"))
    assert train_step.out_of_memory(
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")
    )


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_batches_made_ahead_come_in_order_and_no_more_than_asked_for(threads: int) -> None:
    made: list[int] = []

    def make(item: int) -> int:
        made.append(item)
        return item * item

    options = {"threads": threads, "waiting": training.Waiting()}
    stream = training.ahead(make, iter(range(50)), **options)
    assert [next(stream) for _ in range(4)] == [0, 1, 4, 9]
    assert len(made) <= 4 + 2 * threads + 1
    assert list(stream) == [i * i for i in range(4, 50)]
    with pytest.raises(ZeroDivisionError):
        list(training.ahead(lambda i: 1 // i, [1, 0], **options))


def test_draws_of_a_batch_do_not_depend_on_who_takes_which_part() -> None:
    frames = np.arange(6 * 4 * 8 * 8 * 3, dtype=np.uint8).reshape(6, 4, 8, 8, 3)
    rows = np.array([5, 0, 3])

    def draw(share: slice) -> train_step.FrameBatch:
        return training.draw_frames(
            frames, rows, share, count=2, shift_px=3, rng=np.random.default_rng(1)
        )

    whole, parts = draw(slice(0, 3)), [draw(slice(0, 1)), draw(slice(1, 3))]
    assert np.array_equal(whole.clips, np.concatenate([part.clips for part in parts]))
    assert np.array_equal(whole.time_BT, np.concatenate([part.time_BT for part in parts]))
    assert whole.clips.shape == (3, 2, 8, 8, 3) and (np.diff(whole.time_BT) > 0).all()
    kept = training.draw_frames(
        frames[:, :, 0, 0], rows, slice(0, 3), count=9, shift_px=3, rng=np.random.default_rng(1)
    )
    assert np.array_equal(kept.clips, frames[rows][:, :, 0, 0])
    assert kept.time_BT[0].tolist() == [0.125, 0.375, 0.625, 0.875]


def test_mixed_precision_stays_near_and_weights_stay_float32(
    vit: str, material: training.ClipData
) -> None:
    whole, mixed = (
        small_train(small_config(vit, frozen=[], precision=name), material, steps=2)
        for name in ("no", "bf16")
    )
    assert all(p.dtype == torch.float32 for p in mixed[0].module.parameters())
    for name in ("loss", "val_loss"):
        assert whole[1][name][-1] != mixed[1][name][-1]
        assert whole[1][name][-1] == pytest.approx(mixed[1][name][-1], rel=0.02)


def test_two_batches_a_step_have_the_mean_of_their_gradients(
    vit: str, material: training.ClipData
) -> None:
    """Twice the same batch is that batch once: nothing is counted twice."""
    clips = material.clips.filter(
        (pl.col("split") != "train") | pl.col("clip_id").is_in(["c000", "c001", "c002"])
    )
    rows = np.flatnonzero(material.clips["clip_id"].is_in(clips["clip_id"].implode()).to_numpy())
    few = training.ClipData(clips, str(Path(material.frames_path).with_name("few.npy")))
    np.save(few.frames_path, material.frames()[rows])
    options = {"frozen": [], "train_frames": 4, "shift_px": 0, "sports_per_batch": 1}
    towers = [
        small_train(small_config(vit, **options, accumulate=n), few, steps=1)[0] for n in (1, 2)
    ]
    a, b = (tower.module.state_dict() for tower in towers)
    assert all(torch.allclose(a[name], b[name], atol=1e-5) for name in a)
