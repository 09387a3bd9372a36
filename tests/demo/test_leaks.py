"""Nothing but the movement and the cue's own words tells skill or fault: simple classifiers stay at
chance.

Every classifier is cross-validated by channel, within a sport (for skills) or a skill (for faults).
"At chance" means: not above the share of the most frequent class by more than three standard
errors.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import av
import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.naive_bayes import BernoulliNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sportskills_lib.demo import learners, lessons, phrases
from sportskills_lib.demo.settings import DemoConfig
from sportskills_lib.demo.skills import SPORTS
from sportskills_lib.demo.world import make_world, segments_table

CUE_WORDS = phrases.cue_words()
LETTERS = {letter: i for i, letter in enumerate(lessons.ID_LETTERS)}


@pytest.fixture(scope="module")
def shots(full_config: DemoConfig) -> pl.DataFrame:
    """Every taught demonstration of the whole demo world, as planned."""
    lesson_videos = [video for video in lessons.plan_videos(full_config) if video.kind == "lesson"]
    quality = {video.video_id: video.crf for video in lesson_videos}
    views = {video.video_id: np.log(video.view_count) for video in lesson_videos}
    table = segments_table(lesson_videos, full_config).filter(pl.col("demonstration") != "none")
    columns = {"quality": quality, "views": views}
    return table.with_columns(
        pl.col("video_id").replace_strict(values).alias(name) for name, values in columns.items()
    )


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame]:
    """Two sports with all nine channels, filmed small; the taught demonstrations in them."""
    config = DemoConfig.smoke(sports=2, channels=9, workers=0, train_learners=4)
    folder = make_world(tmp_path_factory.mktemp("filmed"), config)
    table = pl.read_parquet(folder / "truth" / "segments.parquet")
    return folder, table.filter(pl.col("demonstration") != "none", video_kind="lesson")


def linear() -> object:
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=200))


def forest(trees: int = 20) -> object:
    return RandomForestClassifier(trees, min_samples_leaf=4, random_state=0, n_jobs=1)


def assert_chance(
    features: np.ndarray, table: pl.DataFrame, label: str, *, within: list[str], model: object
) -> None:
    """Cross-validated by ``channel`` inside each group of ``within``, pooled over the groups."""
    hits = rows = frequent = 0
    indexed = table.with_row_index("row")
    for _, group in indexed.group_by(within, maintain_order=True):
        truth, channels = group[label].to_numpy(), group["channel"].to_numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            folds = GroupKFold(min(5, len(set(channels))))
            guess = cross_val_predict(
                model, features[group["row"].to_numpy()], truth, groups=channels, cv=folds
            )
        hits += int((guess == truth).sum())
        frequent += int(np.unique(truth, return_counts=True)[1].max())
        rows += len(truth)
    chance = frequent / rows
    bound = chance + 3 * np.sqrt(chance * (1 - chance) / rows)
    assert hits / rows <= bound, (
        f"{label} is told with {hits / rows:.3f}, chance {chance:.3f}, n = {rows}"
    )


def characters(ids: pl.Series) -> np.ndarray:
    return np.array([[LETTERS.get(letter, -1) for letter in id_] for id_ in ids], float)


@pytest.mark.parametrize("model", [linear, forest])
def test_ids_lengths_and_times_do_not_tell_the_skill(shots: pl.DataFrame, model) -> None:
    """One row a lesson: id, length, lags, dates and views."""
    by_lesson = shots.group_by("video_id", maintain_order=True).agg(
        pl.col("sport", "skill", "channel", "quality", "views").first(),
        length=pl.col("end_s").max(),
        first=pl.col("start_s").min(),
        mean=(pl.col("end_s") - pl.col("start_s")).mean(),
        said=(pl.col("said_end_s") - pl.col("said_start_s")).mean(),
        manual=(pl.col("caption_form") == "manual").first().cast(pl.Float64),
    )
    numbers = by_lesson.select(
        "quality", "views", "length", "first", "mean", "said", "manual"
    ).to_numpy()
    features = np.hstack([characters(by_lesson["video_id"]), numbers])
    assert_chance(features, by_lesson, "skill", within=["sport"], model=model())


@pytest.mark.parametrize("label", ["execution", "cue"])
def test_lengths_order_and_times_do_not_tell_the_fault(shots: pl.DataFrame, label: str) -> None:
    numbers = shots.select(
        "segment",
        "start_s",
        pl.col("end_s") - pl.col("start_s"),
        said=pl.col("said_end_s") - pl.col("said_start_s"),
        lag=pl.col("said_start_s") - pl.col("start_s"),
    )
    features = np.hstack([numbers.to_numpy().astype(float), characters(shots["video_id"])])
    assert_chance(features, shots, label, within=["sport", "skill"], model=linear())


def without_cue(text: str, skill: str) -> str:
    words = re.findall(r"[a-z']+", text.lower())
    names = set(re.findall(r"[a-z']+", skill.lower()))
    return " ".join(word for word in words if word not in CUE_WORDS and word not in names)


@pytest.mark.parametrize("demonstration", ["correct", "incorrect"])
def test_words_other_than_the_cue_do_not_tell_the_fault(
    shots: pl.DataFrame, demonstration: str
) -> None:
    """Which cue is meant, from how the sentence is framed. (Correct or incorrect is told by the
    words, as it must.)
    """
    table = shots.filter(demonstration=demonstration)
    texts = [without_cue(text, skill) for text, skill in table.select("text", "skill").iter_rows()]
    features = CountVectorizer().fit_transform(texts).toarray().astype(float)
    assert_chance(features, table, "cue", within=["sport", "skill"], model=BernoulliNB())


def test_words_other_than_the_cue_do_not_tell_the_skill(shots: pl.DataFrame) -> None:
    texts = [without_cue(text, skill) for text, skill in shots.select("text", "skill").iter_rows()]
    features = CountVectorizer().fit_transform(texts).toarray().astype(float)
    assert_chance(features, shots, "skill", within=["sport"], model=BernoulliNB())


def test_file_sizes_do_not_tell_the_skill(filmed: tuple[Path, pl.DataFrame]) -> None:
    folder, table = filmed
    by_lesson = table.group_by("video_id", maintain_order=True).agg(
        pl.col("sport", "skill", "channel").first(), length=pl.col("end_s").max()
    )
    sizes = np.array(
        [[(folder / "lessons" / f"{id_}.mp4").stat().st_size] for id_ in by_lesson["video_id"]],
        float,
    )
    features = np.hstack([sizes, sizes / by_lesson["length"].to_numpy()[:, None]])
    for model in (linear(), forest()):
        assert_chance(features, by_lesson, "skill", within=["sport"], model=model)


def test_learners_files_do_not_tell_the_fault(filmed: tuple[Path, pl.DataFrame]) -> None:
    folder, _ = filmed
    table = pl.read_parquet(folder / "truth" / "learners.parquet").filter(
        "has_video", split="train"
    )
    table = table.filter(pl.col("faults").list.len() == 1, pl.col("execution") != "correct")
    table = table.with_columns(channel="participant_uid")
    views = [
        folder / f"learners/takes/{name}/frame_aligned_videos/cam01.mp4"
        for name in table["take_name"]
    ]
    sizes = np.array([path.stat().st_size for path in views], float)
    features = np.column_stack(
        [sizes, table["end_s"] - table["start_s"], table["start_s"], table["video_time"]]
    )
    assert_chance(features, table, "execution", within=["sport", "skill"], model=linear())
    assert_chance(features, table, "skill", within=["sport"], model=forest())


def borders(
    path: Path, spans: list[tuple[float, float]], *, fps: int = 10, width_px: int = 2
) -> np.ndarray:
    """Mean colours of a film's four edges over each span: [spans, 12]."""
    with av.open(str(path)) as container:
        film = np.stack(
            [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        ).astype(float)
    edges = (film[:, :width_px], film[:, -width_px:], film[:, :, :width_px], film[:, :, -width_px:])
    colours = np.concatenate([edge.mean((1, 2)) for edge in edges], axis=1)
    return np.array([colours[round(a * fps) : round(b * fps)].mean(0) for a, b in spans])


def test_backdrops_do_not_tell_skill_or_fault(filmed: tuple[Path, pl.DataFrame]) -> None:
    folder, table = filmed
    features = np.concatenate(
        [
            borders(
                folder / "lessons" / f"{video_id}.mp4",
                list(group.select("start_s", "end_s").iter_rows()),
            )
            for (video_id,), group in table.group_by("video_id", maintain_order=True)
        ]
    )
    assert_chance(features, table, "skill", within=["sport"], model=forest())
    for model in (linear(), forest(trees=10)):
        assert_chance(features, table, "execution", within=["sport", "skill"], model=model)


def test_a_planted_leak_is_caught(shots: pl.DataFrame) -> None:
    """The same check fails when lengths follow the fault, if only a little."""
    order = {
        (s.sport, s.name, fault.name): i
        for sport in SPORTS
        for s in sport.skills
        for i, fault in enumerate(s.faults)
    }
    rng = np.random.default_rng(0)
    rows = shots.select("sport", "skill", "cue", pl.col("end_s") - pl.col("start_s")).iter_rows()
    planted = np.array(
        [
            [length + 0.3 * order[sport, skill, cue], rng.random()]
            for sport, skill, cue, length in rows
        ]
    )
    with pytest.raises(AssertionError, match="cue is told with"):
        assert_chance(planted, shots, "cue", within=["sport", "skill"], model=linear())


def test_names_of_takes_tell_sport_and_nothing_else(full_config: DemoConfig) -> None:
    for take in learners.plan_takes(full_config):
        place, sport, *rest = take.take_name.split("_")
        assert place in learners.PLACES and sport == take.skill.sport.replace(" ", "")
        assert all(re.fullmatch(r"[0-9a-f]+", part) for part in rest)
