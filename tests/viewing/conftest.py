"""The stand-in stage outputs of tests/evaluation, seen by the browser."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))

import stage_outputs

from sportskills_lib import artifacts, config, tables
from sportskills_lib.evaluation import feedback, recall
from sportskills_lib.viewing import asked


@pytest.fixture(scope="session")
def inspected(tmp_path_factory) -> Path:
    """A workspace whose run ``synthetic`` has all that 06 reads: two sports, learners, judgements."""
    folder = tmp_path_factory.mktemp("inspected")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPORTSKILLS_HOME", str(folder))
        stage_outputs.write_stages(folder, sports=("golf", "judo"))
        run, pairing = stage_outputs.RUN, artifacts.open_stage(stage_outputs.RUN, "02_pairing")
        clips, retrieval = pairing.table("clips"), artifacts.open_stage(run, "04_retrieval")
        narrations = artifacts.open_stage(run, "01_curation").table("narrations")
        queries, _ = recall.test_queries(clips, pairing.table("pairs"), narrations)
        vectors = artifacts.open_stage(run, "03_encoder").table("embeddings")
        scores, rankings = recall.score_all(vectors, queries, clips, min_gallery=50)
        settings = config.EvaluationConfig()
        judged, _ = feedback.judgements(feedback.read_ratings(settings.ratings), clips, retrieval.table("learners"))
        stage = artifacts.begin(run, "05_evaluation", settings)
        stage.save("recall", scores)
        stage.save("retrievals", rankings)
        stage.save("judgements", judged)
        stage.finish(dropped=tables.dropped_rows([]))
    return folder


@pytest.fixture
def kinds(inspected, monkeypatch) -> list[asked.Asked]:
    """Narrations and learners of that run."""
    monkeypatch.setenv("SPORTSKILLS_HOME", str(inspected))
    return asked.read(stage_outputs.RUN)
