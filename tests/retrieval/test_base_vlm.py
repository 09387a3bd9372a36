"""The stand-in checkpoint: public layout, deterministic, left alone when complete."""

from __future__ import annotations

import re

import numpy as np
import torch

from sportskills_lib.demo import base_vlm, generic
from sportskills_lib.demo.skills import SPORTS
from sportskills_lib.retrieval.relevance import model as relevance_model


def test_it_loads_through_the_public_classes(tiny_folder):
    from transformers import AutoConfig, AutoProcessor

    assert AutoConfig.from_pretrained(tiny_folder).model_type == "qwen2_5_vl"
    assert type(AutoProcessor.from_pretrained(tiny_folder)).__name__ == "Qwen2_5_VLProcessor"
    assert sorted(path.suffix for path in tiny_folder.glob("*model*")) == [".safetensors"]
    assert (
        relevance_model.load_vlm(str(tiny_folder)).yes_id
        != relevance_model.load_vlm(str(tiny_folder)).no_id
    )


def test_the_same_seed_gives_the_same_weights(tiny_folder, tiny_recipe, tmp_path):
    again = base_vlm.make_base_vlm(tmp_path / "again", seed=3, **tiny_recipe)
    other = base_vlm.make_base_vlm(tmp_path / "other", seed=4, **tiny_recipe)
    weights = (tiny_folder / "model.safetensors").read_bytes()
    assert (again / "model.safetensors").read_bytes() == weights
    assert (other / "model.safetensors").read_bytes() != weights


def test_its_first_training_names_no_sport_and_no_skill():
    rng = np.random.default_rng(0)
    texts = " ".join(base_vlm._corpus(rng)).lower()
    for sport in SPORTS:
        for name in (sport.name, *(skill.name for skill in sport.skills if " " in skill.name)):
            assert not re.search(rf"\b{re.escape(name)}\b", texts), name
    scenes = generic.make_scenes(5, rng, people=2, size_px=32)
    asked = [
        question for i in range(5) for question in base_vlm.draw_questions(scenes.states, i, rng)
    ]
    assert not any("help" in text for text, _, _ in asked)
    assert {answer for text, answer, _ in asked if text != base_vlm.WHAT} <= {"yes", "no"}


def test_the_callers_random_state_is_left_alone(tiny_recipe, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    base_vlm.make_base_vlm(tmp_path / "vlm", seed=3, **tiny_recipe)
    torch.testing.assert_close(torch.rand(3), expected)


def test_every_list_holds_one_twin_first_and_every_pair_one_truth():
    rng = np.random.default_rng(1)
    scenes = generic.make_scenes(8, rng, people=2, size_px=32)
    for scene in range(8):
        asked = base_vlm.draw_questions(scenes.states, scene, rng, alike=6)
        compared = [(answer, shown) for text, answer, shown in asked if text == base_vlm.SAME]
        assert compared[0] == ("yes", (scene ^ 1,)) and {answer for answer, _ in compared[1:]} == {
            "no"
        }
        assert all(other // 2 != scene // 2 for _, (other,) in compared[1:]) and len(compared) == 6
        judged = [answer for text, answer, _ in asked if base_vlm.DESCRIBES in text]
        assert judged == ["yes", "no"] * base_vlm.PAIRS


def test_the_loss_falls_when_the_right_answers_are_given(tiny_vlm):
    """Its parts are read off the answers' places: pushing them there lowers it."""
    rng = np.random.default_rng(2)
    scenes = generic.make_scenes(6, rng, people=2, size_px=32)
    visual = relevance_model.encode_videos(tiny_vlm, scenes.frames)
    questions = base_vlm.Questions(tiny_vlm, tiny_vlm.grid(scenes.frames.shape[1:]))
    rows = [
        row
        for scene in (0, 3)
        for row in questions.rows(
            base_vlm.draw_questions(scenes.states, scene, rng, alike=4), scene
        )
    ]
    model = tiny_vlm.stock.model.language_model
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        loss = base_vlm.language_loss(tiny_vlm, rows, visual, 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
