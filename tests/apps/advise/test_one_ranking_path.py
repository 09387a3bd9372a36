"""`advise` on a test learner's own video gives 04's `library_rankings` of that learner: the same
clips in the same order with the same scores.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from advice_runs import make_library

from sportskills_lib import tables
from sportskills_lib.apps.advise import ranking
from sportskills_lib.apps.advise.advise import advise
from sportskills_lib.config import RetrievalConfig
from sportskills_lib.demo import base_vlm
from sportskills_lib.learner_data import read_learner_frames
from sportskills_lib.retrieval import ranked_systems
from sportskills_lib.retrieval import stage as retrieval_stage
from sportskills_lib.retrieval.ranking import first_stage, systems
from sportskills_lib.retrieval.supervision.text_similarity import WidenedWords
from sportskills_lib.runs import artifacts

LESSONS = "data/raw/mine"
DEPTH = 3
TINY = dict(
    scenes=6, vision_steps=2, language_steps=2, batch=2, size_px=32, width=32, layers=2,
    vision_width=32, vision_layers=2, patch_px=8, merge=2, vocabulary=400,
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = make_library(tmp_path / "ws")
    monkeypatch.setenv("SPORTSKILLS_HOME", str(home))
    base_vlm.make_base_vlm(home / "data/models/tiny", seed=3, **TINY)
    return home


def make_learners(split: str, count: int) -> list[dict]:
    """Spans of tennis lessons, as if learners had tried a skill there."""
    rows = []
    for i in range(count):
        start_s = round(0.25 + 0.61 * i, 3)
        row = {"take_id": f"{split}{i}", "path": f"lesson{i % 3}.mp4", "start_s": start_s}
        row |= {"learner_id": tables.span_id(f"{split}{i}", start_s, start_s + 2.3)}
        row |= {"end_s": start_s + 2.3, "participant": f"{split}{i}", "sport": "tennis"}
        rows.append(row | {"skill": "serve", "comment": "", "is_mistake": True, "split": split})
    return rows


def run_04(
    home: Path, monkeypatch: pytest.MonkeyPatch, relevance_weight: float, *, dual: bool
) -> pl.DataFrame:
    """The stage's ranking of the library, with chosen weights that no default has."""
    rows = make_learners("val", 4) + make_learners("test", 3)
    listed = tables.Learners.validate(pl.DataFrame(rows).sort("learner_id"), cast=True)
    learners, frames, _ = read_learner_frames(
        home / LESSONS, listed, frames=8, size_px=64, workers=0
    )
    assert learners.height == 7
    config = RetrievalConfig(
        learners=LESSONS, model="data/models/tiny", first_stage="image", frames=4,
        shortlist=DEPTH, lora_rank=4, lora_alpha=8,
    )  # fmt: skip
    library = retrieval_stage.open_library("t")
    after = ("01_curation", "02_pairing", "03_encoder")
    stage = artifacts.begin("t", "04_retrieval", config, after=after)
    tennis = library.clips.filter(pl.col("sport") == "tennis").select("clip_id")
    pairs = learners.select("learner_id").join(tennis, how="cross")
    labels = pl.Series("label", [float((i // 2) % 2 == 0) for i in range(pairs.height)])
    candidates = retrieval_stage.candidates(pairs, pairs.with_columns(labels), learners)
    # the clips are all of the test split, so its learners stand in for those of validation
    labelled = pairs.with_columns(labels, participant=pl.col("learner_id"))
    candidates = replace(candidates, validation=labelled)
    monkeypatch.setattr(retrieval_stage, "ARMS", {"encoder_narrations": "narrations"})
    vectors = retrieval_stage.encode_learners(learners, frames, library, config)
    scorer = retrieval_stage.open_scorer(learners, frames, library, vectors, config)
    generator = torch.Generator().manual_seed(5)
    for name, weights in scorer.vlm.model.named_parameters():
        if "lora_B" in name:  # as if they had learnt
            weights.data = 0.3 * torch.randn(weights.shape, generator=generator)
    if dual:
        comments = [library.texts[clip_id] for clip_id in library.clips["clip_id"]]
        said = library.clips.select(
            "sport", "skill", learner_id="clip_id", comment=pl.Series(comments)
        )
        scorer.lend_words(learners, said, WidenedWords(comments, []), nearest=config.lent_comments)
        assert scorer.words[0].any()
        scorer.new_head({"bend the knee", "straighten the arm"}, seed=5)
        scorer.keep_vectors()
    words, both = first_stage.Choice(0.25, {0.25: 1.0}), first_stage.Choice(relevance_weight, {})
    monkeypatch.setattr(first_stage, "choose_weight", lambda *_, **_options: words)
    monkeypatch.setattr(systems, "choose_weight", lambda *_, **_options: both)
    zero_shot = np.zeros(candidates.pools.height)
    result = ranked_systems.rank_all(
        candidates, learners, vectors, library, scorer, zero_shot, config
    )
    ranked_systems.save_ranking(result, stage.folder)
    scorer.save(stage.path("adapter"))
    np.save(stage.path("learner_frames.npy"), frames)
    stage.save("learners", learners, tables.Learners)
    stage.finish(seed=0)
    return result.library, result.mistake_names


@pytest.mark.parametrize(("relevance_weight", "dual"), [(0.75, False), (0.0, False), (0.25, True)])
def test_advice_is_the_library_ranking_of_that_learner(
    home: Path, monkeypatch: pytest.MonkeyPatch, relevance_weight: float, dual: bool
) -> None:
    # all clips are in the test split, so that there is something to rank
    library = retrieval_stage.open_library("t")
    clips = library.clips.with_columns(split=pl.lit("test").cast(library.clips["split"].dtype))
    monkeypatch.setattr(retrieval_stage, "open_library", lambda run: replace(library, clips=clips))
    expected, named = run_04(home, monkeypatch, relevance_weight, dual=dual)
    ranked: list[ranking.RankedClips] = []
    rank = ranking.rank
    monkeypatch.setattr(ranking, "rank", lambda *a, **k: ranked.append(rank(*a, **k)) or ranked[-1])
    search = "vlm_dual_correct" if dual else "encoder_narrations"
    shown_systems = [search, "relevance", "vlm_yes_no"][: 3 if relevance_weight else 1]
    for learner in make_learners("test", 3):
        view = advise(
            home / LESSONS / learner["path"], "t", print, sport="tennis", split="test", top=2,
            workers=0, start_s=learner["start_s"], end_s=learner["end_s"],
        )  # fmt: skip
        own = expected.filter(query_id=learner["learner_id"])
        for system in shown_systems:
            want, found = own.filter(system=system), ranked[-1].rankings.filter(system=system)
            assert found["clip_id"].to_list() == want["clip_id"].to_list() and want.height == DEPTH
            np.testing.assert_allclose(found["score"], want["score"], rtol=0, atol=2e-5)
        wrong = named.filter(pl.col("rank") == 1, learner_id=learner["learner_id"])
        assert not dual or view.mistake[0] == wrong["comment"].item()
        shown = own.filter(system="relevance")["clip_id"].to_list()[:2]
        assert [
            tables.span_id(s["video_id"], s["start_s"], s["end_s"]) for s in view.suggestions
        ] == shown
        assert all(suggestion["probability"] is not None for suggestion in view.suggestions)
