"""An encoder learns the ranking of a teacher, keeps its frame tower, and says what that costs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from sportskills_lib import models
from sportskills_lib.config import RetrievalConfig
from sportskills_lib.retrieval.ranking import first_stage
from sportskills_lib.retrieval.relevance import distillation
from sportskills_lib.retrieval.stage import Candidates, Library

SAID = ("reach for the wall", "light the torch", "the wing is broken", "the shield lies in sand")
TOWER = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 32,
            "layers": 1,
            "width": 32,
            "head_width": 16,
            "patch_size": 16,
        },
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 1,
        },
    },
    "preprocess_cfg": {"size": [32, 32], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
}
CONFIG = RetrievalConfig(distill_steps=30, distill_rate=1e-2, evaluate_every=10, skills_per_step=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Four clips of each of two skills in each split; learner i of four should watch clip i."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("encoder")
    kinds = [(split, skill, i) for split in ("train", "val") for skill in "ab" for i in range(4)]
    clips = pl.DataFrame(
        {
            "clip_id": [f"{split}-{skill}-{i}" for split, skill, i in kinds],
            "split": [split for split, *_ in kinds],
            "sport": "tennis",
            "skill": [skill for _, skill, _ in kinds],
        }
    )
    learners = clips.rename({"clip_id": "learner_id"}).with_columns(
        learner_id=pl.lit("l-") + pl.col("learner_id")
    )
    texts = dict(zip(clips["clip_id"], SAID * 4, strict=True))
    pictures = rng.integers(0, 255, (4, 4, 32, 32, 3), dtype=np.uint8)
    frames = pictures[[i for *_, i in kinds]]
    tower = models.new_tower(TOWER, seed=1)
    models.add_pooling(tower, "attention", heads=2)
    tower.save(folder / "models" / "video" / "narrations")
    embeddings = pl.DataFrame({"model_id": ["video:narrations", "video:zero_shot"]})
    library = Library(clips, pl.DataFrame(), texts, frames, embeddings, folder)
    supervision = learners.join(clips.select("clip_id", "split", "skill"), on=["split", "skill"])
    own = pl.col("learner_id").str.slice(2) == pl.col("clip_id")
    supervision = supervision.select(
        "learner_id", "clip_id", label=own.cast(pl.Float64), reason=pl.lit("")
    )
    asked = Candidates(
        supervision.clear(), supervision.filter(pl.col("clip_id").str.starts_with("val"))
    )
    eye = dict(zip(clips["clip_id"], np.eye(len(clips), dtype=np.float32), strict=True))
    teacher = first_stage.FirstStage({f"l-{name}": row for name, row in eye.items()}, eye)
    return library, learners, frames[::-1].copy(), supervision, asked, teacher


def run(made: Any, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Any:
    library, learners, frames, supervision, asked, teacher = made
    monkeypatch.setattr(distillation, "dual_search", lambda *_: (teacher, None))
    scorer: Any = SimpleNamespace(vectors=changes.pop("vectors", ()))
    config = CONFIG.model_copy(update=changes)
    return distillation.distill(scorer, asked, supervision, learners, frames, library, config)


def test_the_encoder_learns_the_teachers_ranking_and_the_table_has_its_price(made, monkeypatch):
    system, shares = run(made, monkeypatch)
    assert list(system) == ["encoder_distilled"] and system["encoder_distilled"].seconds > 0
    assert shares["share"].to_list() == list(distillation.SHARES)
    weak = shares["weak_score"].to_list()
    assert max(weak) > weak[0]
    assert shares.columns[2].startswith("val_recall@") and shares[:, 2].is_between(0, 1).all()
    vectors = system["encoder_distilled"].vectors
    library, learners = made[0], made[1]
    assert set(vectors.clips) == set(vectors.narrations) == set(library.clips["clip_id"])
    assert set(vectors.learners) == set(learners["learner_id"])
    again, same = run(made, monkeypatch)
    assert same.equals(shares)
    for name, row in again["encoder_distilled"].vectors.clips.items():
        np.testing.assert_array_equal(row, vectors.clips[name])


def test_share_0_is_the_encoder_of_03_and_frames_are_encoded_as_before(made, monkeypatch):
    library, _, frames, *_ = made
    monkeypatch.setattr(distillation, "SHARES", (0.0,))
    vectors = run(made, monkeypatch)[0]["encoder_distilled"].vectors
    tower = models.load_tower(library.encoder / "models" / "video" / "narrations")
    np.testing.assert_allclose(
        np.stack([*vectors.clips.values()]), tower.encode_frames(library.frames), atol=1e-5
    )
    np.testing.assert_allclose(
        np.stack([*vectors.learners.values()]), tower.encode_frames(frames), atol=1e-5
    )


def test_nothing_happens_by_default_or_without_a_dual_scorer(made, monkeypatch):
    assert RetrievalConfig().distill_steps == 0
    for changes in ({"distill_steps": 0}, {"vectors": None}):
        system, shares = run(made, monkeypatch, **changes)
        assert system == {} and shares.is_empty() and shares.columns == list(distillation.MERGED)


def test_the_recall_of_a_perfect_encoder_is_1_and_nan_without_validation_clips(made):
    clips = made[0].clips
    eye = dict(zip(clips["clip_id"], np.eye(len(clips)), strict=True))
    vectors = first_stage.EncoderVectors({}, eye, eye)
    assert distillation.own_recall(vectors, clips) == 1.0
    assert np.isnan(distillation.own_recall(vectors, clips.filter(split="train")))
