"""The stand-in stage outputs of tests/evaluation, seen by the browser."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))

import stage_outputs

from sportskills_lib import artifacts
from sportskills_lib.evaluation import audit, cases, recall
from sportskills_lib.viewing import retrievals


@pytest.fixture(scope="session")
def view(tmp_path_factory) -> retrievals.RetrievalView:
    """A browser over two sports, four arms' worth of rankings and hostile narrations."""
    folder = tmp_path_factory.mktemp("viewed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPORTSKILLS_HOME", str(folder))
        stage_outputs.write_stages(folder, sports=("golf", "judo"), learners=False)
        pairing = artifacts.open_stage(stage_outputs.RUN, "02_pairing")
        clips, pairs = pairing.table("clips"), pairing.table("pairs")
        narrations = artifacts.open_stage(stage_outputs.RUN, "01_curation").table("narrations")
        vectors = artifacts.open_stage(stage_outputs.RUN, "03_encoder").table("embeddings")
        queries, _ = recall.test_queries(clips, pairs, narrations)
        scores, rankings = recall.score_all(vectors, queries, clips, min_gallery=50)
        marked = cases.retrieved(queries, rankings, clips, audit.true_groups("data/raw/demo/truth", clips))
        frames = np.load(pairing.path("frames.npy"))
    return retrievals.view(clips, pairs, narrations, frames, queries, marked, scores)
