"""What a step sees, against naive masks: texts, groups and forbidden pairs, for every arm."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from sportskills_lib.config import EncoderConfig
from sportskills_lib.encoder import batch_sampler as draws_module
from sportskills_lib.encoder.batch_sampler import BatchSampler
from sportskills_lib.encoder.texts import (
    label_prompts,
    sentence_kinds,
    skill_prompts,
    training_texts,
)

SHAPE = {"sports_per_batch": 2, "clips_per_sport": 8}


@pytest.fixture
def clips() -> pl.DataFrame:
    rows = [
        {
            "clip_id": f"c{i}",
            "video_id": f"{sport}{i // 3}",
            "sport": sport,
            "skill": f"skill{i % 2}",
            "split": "train",
            "text": f"For the skill{i % 2}, reach far {i % 5}!",
            "label": f"playing {sport}",
        }
        for sport in ("golf", "judo", "tennis")
        for i in range(12)
    ]
    return pl.DataFrame(rows)


class _Start:
    """A tower that knows the last number of a sentence, and what the frames' first pixel says."""

    width, asked = 5, 0

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        self.asked += 1
        return np.eye(5, dtype=np.float32)[
            [int("".join(filter(str.isdigit, t.split()[-1])) or 0) % 5 for t in texts]
        ]

    def encode_frames(self, frames: np.ndarray) -> np.ndarray:
        return np.eye(5, dtype=np.float32)[frames[:, 0, 0, 0, 0] % 5]


def _draws(clips: pl.DataFrame, arm: str, **changes: object) -> BatchSampler:
    config = EncoderConfig(**SHAPE, **changes)  # type: ignore[arg-type]
    told = training_texts(clips, clips["text"], arm, seed=0)
    frames = np.zeros((clips.height, 1, 4, 4, 3), np.uint8)
    frames[:, 0, 0, 0, 0] = np.arange(clips.height)
    rows = np.flatnonzero(clips["sport"].is_in(["golf", "judo"]))
    draws_module._KEPT.clear()
    return BatchSampler(clips, rows, told, config, arm=arm, start=_Start, frames=frames)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arm", ["activity_sport", "activity_skill", "narrations", "narrations_shuffled"]
)
def test_without_rules_every_pair_counts_and_each_clip_has_its_text(
    clips: pl.DataFrame, arm: str
) -> None:
    told = training_texts(clips, clips["text"], arm, seed=0)
    batch = _draws(clips, arm).at(3)
    assert batch.allowed_BB.all() and len(batch.rows) == 16
    assert batch.texts == [told[i] for i in batch.rows]
    assert set(clips[batch.rows]["sport"]) <= {"golf", "judo"}


def test_false_negatives_are_left_out_as_by_hand(clips: pl.DataFrame) -> None:
    rules = {
        "video": lambda a, b: a["video_id"] == b["video_id"],
        "skill_cue": lambda a, b: all(a[key] == b[key] for key in ("sport", "skill", "text")),
        "similarity": lambda a, b: a["text"].split()[-1] == b["text"].split()[-1],
    }
    for chosen in (["video"], ["skill_cue"], ["similarity"], ["video", "similarity"], list(rules)):
        batch = _draws(clips, "narrations", false_negatives=chosen, text_ceiling=0.9).at(0)
        rows = clips[batch.rows].to_dicts()
        for i, a in enumerate(rows):
            for j, b in enumerate(rows):
                positive = a["text"] == b["text"]
                assert batch.allowed_BB[i, j] == (
                    positive or not any(rules[rule](a, b) for rule in chosen)
                )


def test_an_unknown_rule_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="Input should be 'video', 'skill_cue' or 'similarity'"):
        EncoderConfig(false_negatives=["videos"])


def test_labels_are_known_so_that_only_the_video_can_make_a_doubt(clips: pl.DataFrame) -> None:
    everything = ["video", "skill_cue", "similarity"]
    batch = _draws(clips, "activity_skill", false_negatives=everything, text_ceiling=0.1).at(0)
    rows = clips[batch.rows]
    video = np.array(rows["video_id"])[:, None] == np.array(rows["video_id"])
    label = np.array(rows["sport"] + rows["skill"])
    assert np.array_equal(batch.allowed_BB, ~video | (label[:, None] == label))


def test_both_draws_narrations_and_prompts_evenly_and_anew_at_every_step(
    clips: pl.DataFrame,
) -> None:
    draws, prompts, drawn = _draws(clips, "both"), skill_prompts(clips, seed=0), []
    skills = list(clips.select("sport", "skill").iter_rows())
    for step in range(60):
        batch = draws.at(step)
        assert len(batch.texts) == 16  # as many texts as in any arm
        said = [clips["text"][int(i)] for i in batch.rows]
        prompt_B = np.array([text != own for text, own in zip(batch.texts, said, strict=True)])
        drawn.append(prompt_B.mean())
        assert all(
            clips["skill"][int(i)] in t for i, t in zip(batch.rows, batch.texts, strict=True)
        )
        for i, a in enumerate(batch.rows):
            for j, b in enumerate(batch.rows):
                same = skills[int(a)] == skills[int(b)]
                assert batch.allowed_BB[i, j] == (not (same and prompt_B[i] != prompt_B[j]))
                equal = same if prompt_B[i] and prompt_B[j] else batch.texts[i] == batch.texts[j]
                assert (batch.group_B[i] == batch.group_B[j]) == equal
    assert 0.4 < np.mean(drawn) < 0.6 and len(prompts) == clips.height
    again = _draws(clips, "both").at(59)
    assert again.texts == batch.texts and np.array_equal(again.rows, batch.rows)


def test_arms_differ_in_nothing_but_the_text(clips: pl.DataFrame) -> None:
    settings = {"hard_negatives": 0.5, "text_ceiling": 0.9, "one_clip_per_video": True}
    for more in ({}, settings):
        seen = [
            [_draws(clips, arm, **more).at(step).rows.tolist() for step in range(5)]
            for arm in ("activity_sport", "narrations", "both", "narrations_shuffled")
        ]
        assert all(rows == seen[0] for rows in seen)


def test_what_the_start_tower_says_is_asked_once_for_all_trials(clips: pl.DataFrame) -> None:
    first = _draws(clips, "narrations", false_negatives=["similarity"])
    start, told = _Start(), clips["text"].to_list()
    more = {"arm": "narrations", "start": lambda: start, "frames": np.zeros((36, 1, 4, 4, 3))}
    again = BatchSampler(clips, first.rows, told, first.config, **more)  # type: ignore[arg-type]
    assert start.asked == 0 and again.vectors is first.vectors
    BatchSampler(clips, first.rows[:5], told, first.config, **more)  # type: ignore[arg-type]
    assert start.asked == 1


def test_sentences_of_one_skill_are_one_kind_whatever_case_and_punctuation(
    clips: pl.DataFrame,
) -> None:
    head = clips.head(4).with_columns(skill=pl.Series(["a", "a", "a", "b"]))
    kinds = sentence_kinds(head, ["Reach far!", "reach  far", "Reach further", "Reach far!"])
    assert kinds[0] == kinds[1] and len({kinds[0], kinds[2], kinds[3]}) == 3


def test_prompts_of_a_data_sets_labels_are_sentences(clips: pl.DataFrame) -> None:
    labels = pl.Series(
        ["playing tennis", "archery", "Holding a {thing}", "brush_hair", "HorseRiding", "BMX", "_"]
    )
    for seed in range(9):
        told = label_prompts(labels, np.random.default_rng(seed))
        wanted = (
            "playing tennis",
            "archery",
            "holding a {thing}",
            "brush hair",
            "horse riding",
            "bmx",
            " ",
        )
        assert all(words in text.lower() for words, text in zip(wanted, told, strict=True))
        assert not any(
            "doing playing" in text or "_" in text or " Holding" in text for text in told
        )
        assert all(text[0].isupper() and text.endswith(".") for text in told)
    assert (
        training_texts(clips, clips["text"], "activity_dataset", seed=0) != clips["text"].to_list()
    )
    groups = [
        _draws(clips, "activity_dataset").at(0).group_B,
        _draws(clips, "activity_sport").at(0).group_B,
    ]
    assert all(len(set(group)) == 2 for group in groups)
