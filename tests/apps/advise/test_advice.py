"""Advice over a toy library: the clip itself comes first, the page is safe and whole, and doubt is
said, not hidden.
"""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from advice_runs import make_library
from films import shot, write_film

from sportskills_lib import cli
from sportskills_lib.apps.advise import advise as advise_module
from sportskills_lib.apps.advise import fit_check, learner_clip, ranking, run_library
from sportskills_lib.apps.advise.advise import advise
from sportskills_lib.config import PairingConfig
from sportskills_lib.learner_data.frames import read_take
from sportskills_lib.retrieval.ranking.first_stage import Blend, EncoderVectors
from sportskills_lib.retrieval.ranking.two_stage import (
    ENCODER,
    YES_NO,
    RankingChoices,
    load_choices,
)
from sportskills_lib.retrieval.relevance import served
from sportskills_lib.runs import artifacts
from sportskills_lib.runs.content_store import ContentStore

ROOT = Path(cli.__file__).resolve().parents[1]
SHAPE = PairingConfig()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_library(tmp_path_factory.mktemp("advice") / "ws")


@pytest.fixture(autouse=True)
def _workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPORTSKILLS_HOME", str(home))


@pytest.fixture
def serve(home: Path, tmp_path: Path) -> Path:
    """A learner who films just what lesson 1 shows, in a file with an awkward name."""
    path = tmp_path / "my 'serve' <b> & co.mp4"
    path.write_bytes((home / "data/raw/mine/lesson1.mp4").read_bytes())
    return path


def keep(folder: Path) -> ContentStore:
    return ContentStore(folder / "cache", limit_bytes=10**7)


def read(path: Path, span: tuple[float, float] | None = None) -> learner_clip.LearnerClip:
    return learner_clip.read_learner(path, SHAPE, span=span, cache=keep(path.parent), workers=0)


def ask(path: Path, said: list[str] | None = None, **asked) -> advise_module.AdviceView:
    return advise(path, "t", (said if said is not None else []).append, workers=0, **asked)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sportskills", "advise", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return run


# ------------------------------------------------------------------------------------------ learner


def test_a_clip_is_read_exactly_as_04_reads_a_learner(home: Path, tmp_path: Path) -> None:
    path = home / "data/raw/mine/lesson1.mp4"
    found = learner_clip.read_learner(path, SHAPE, span=(0.3, 2.8), cache=keep(tmp_path), workers=0)
    item = ("take", str(path), ((0.3, 2.8),), SHAPE.frames, SHAPE.size_px)
    assert np.array_equal(found.frames, read_take(item)["frames"][0])


def test_the_action_is_where_most_moves_and_inside_one_shot(tmp_path: Path) -> None:
    still, swing = shot(4, 60, moves=False), shot(4, 25, moves=True)
    path = write_film(
        tmp_path / "a.mp4", np.concatenate([still, swing, still])
    )  # it moves from 6.0 to 8.5 s
    found = read(path)
    assert found.span[0] == pytest.approx(6.0, abs=0.5) and found.span[1] == pytest.approx(
        8.5, abs=0.5
    )
    assert found.frames.shape == (8, 64, 64, 3) and found.duration_s == pytest.approx(
        14.5, abs=0.05
    )
    two = np.concatenate([shot(5, 20, moves=True), shot(6, 40, moves=True)])  # a cut at 2.0 s
    found = read(write_film(tmp_path / "b.mp4", two))
    assert (found.span[0] >= 1.95 or found.span[1] <= 2.05) and found.span[1] - found.span[
        0
    ] <= 3.01


def test_what_cannot_be_a_learner_is_said_with_its_remedy(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4", shot(1, 40, moves=True))
    (tmp_path / "t.mp4").write_text("no film")
    short = write_film(tmp_path / "s.mp4", shot(1, 5, moves=True))
    still = write_film(tmp_path / "i.mp4", shot(1, 40, moves=False))
    with pytest.raises(ValueError, match="name a video that plays"):
        read(tmp_path / "t.mp4")
    with pytest.raises(ValueError, match=r"lasts 0\.50 s"):
        read(short)
    with pytest.raises(ValueError, match=r"outside a\.mp4, which lasts 4\.00 s"):
        read(film, (2.0, 9.0))
    with pytest.raises(learner_clip.NothingFits, match="--start"):
        read(still)
    assert read(still, (0, 2)).span == (0, 2)  # who says where, is believed


# ------------------------------------------------------------------------------------------ library


def test_sports_and_skills_are_found_however_they_are_spelt() -> None:
    made = run_library.open_library("t")
    assert made.encoder == "image" and made.sports == ["golf", "tennis"]
    assert set(run_library.choose_clips(made, "Tennis", None)["sport"]) == {"tennis"}
    assert run_library.choose_clips(made, "tennis", "Serve").height == 6
    assert run_library.choose_clips(made, None, None).height == 12
    with pytest.raises(ValueError, match="it has golf, tennis"):
        run_library.choose_clips(made, "quidditch", None)
    with pytest.raises(ValueError, match="they have serve"):
        run_library.choose_clips(made, "tennis", "putting")
    with pytest.raises(run_library.NothingFits, match="no clip of judo"):
        run_library.choose_clips(made, "judo", None)
    with pytest.raises(ValueError, match="no encoder video"):
        run_library.open_library("t", encoder="video")


def test_a_calibration_of_another_version_is_refused_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/adapter_config.json").write_text("{}")
    (tmp_path / "calibration.json").write_text('{"temperature": 1.0, "bins": []}')
    opened = artifacts.open_stage
    RankingChoices("image", Blend(), 0.5).save(tmp_path)
    later = SimpleNamespace(folder=tmp_path, manifest={"config": {}}, digest="x")
    monkeypatch.setattr(artifacts, "is_complete", lambda *given: True)
    monkeypatch.setattr(
        artifacts, "open_stage", lambda run, name: later if name[:2] == "04" else opened(run, name)
    )
    with pytest.raises(ValueError, match="rerun 04_retrieval"):
        run_library.open_library("t")


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://www.youtube.com/watch?v=a-b&t=9", "https://www.youtube.com/watch?v=a-b&t=12s"),
        ("https://youtu.be/ab", "https://youtu.be/ab?t=12s"),
        ("https://vimeo.com/1?x=2#y", "https://vimeo.com/1?x=2#t=12"),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("https://user:pw@example.org/", None),
        ("https://example.org/\nx", None),
        ("http://[", None),
        ("//example.org/x", None),
        ("https://e.org/" + "x" * 3000, None),
        (7, None),
    ],
)
def test_links_lead_to_the_moment_and_only_to_the_web(url: object, found: str | None) -> None:
    assert run_library.moment(url, 12.7) == found


# ------------------------------------------------------------------------------------------ ranking


def toy_library(
    clip_ND: np.ndarray, sports: list[str], splits: list[str]
) -> run_library.AdviceLibrary:
    import polars as pl

    clips = pl.DataFrame(
        {"sport": sports, "split": splits, "channel": [f"c{i}" for i in range(len(sports))]}
    )
    nothing = np.zeros((0, 0))
    return run_library.AdviceLibrary(
        "t", clips, nothing, clip_ND.astype(np.float32), EncoderVectors({}, {}, {}), Path(), "image",
        PairingConfig(), clips, {}, None, (),
    )  # fmt: skip


def test_the_threshold_passes_19_of_20_and_tells_what_it_stops(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    centres = np.linalg.qr(rng.normal(size=(32, 32)))[0][:3]
    sports = [name for name in ("golf", "judo", "tennis") for _ in range(60)]
    vectors = np.repeat(centres, 60, axis=0) + 0.1 * rng.normal(size=(180, 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made = toy_library(vectors, sports, ["val", "train", "test"] * 60)
    check = fit_check.measure_fit(made, keep(tmp_path), print)
    assert check.count == 60 and check.threshold is not None and check.stopped > 0.95
    assert (
        fit_check.margin(made, vectors[0], "golf")
        > check.threshold
        > fit_check.margin(made, vectors[0], "judo")
    )
    noise = rng.normal(size=(180, 32))
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    blind = fit_check.measure_fit(toy_library(noise, sports, ["val"] * 180), keep(tmp_path), print)
    assert (
        blind.stopped < 0.2
    )  # where pictures tell nothing of the sport, it says that it stops next to nothing
    assert (
        "20"
        in fit_check.measure_fit(
            toy_library(vectors, sports, ["train"] * 180), keep(tmp_path), print
        ).reason
    )
    assert (
        "one sport"
        in fit_check.measure_fit(
            toy_library(vectors, ["golf"] * 180, ["val"] * 180), keep(tmp_path), print
        ).reason
    )


def test_learners_set_the_threshold_for_learners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import polars as pl

    rng = np.random.default_rng(1)
    centres, sports = np.linalg.qr(rng.normal(size=(8, 8)))[0][:2], ["golf", "judo"] * 100

    def filmed(noise: float, count: int) -> np.ndarray:
        vectors = np.tile(centres, (count // 2, 1)) + noise * rng.normal(size=(count, 8))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    made = toy_library(filmed(0.05, 200), sports, ["val"] * 200)
    learners, later = filmed(0.4, 200), filmed(0.4, 1000)
    np.save(tmp_path / "learner_frames.npy", learners)
    people = pl.DataFrame({"learner_id": [f"{i:03d}" for i in range(200)], "sport": sports})
    people = people.with_columns(split=pl.Series(["val"] * 120 + ["test"] * 80))
    stage = SimpleNamespace(table=lambda name: people, path=lambda name: tmp_path / name)
    seen: list[np.ndarray] = []
    tower = SimpleNamespace(encode_frames=lambda frames: seen.append(frames) or np.asarray(frames))
    monkeypatch.setattr(fit_check.models, "load_tower", lambda path: tower)
    cache = keep(tmp_path)
    by_clips, with_04 = fit_check.measure_fit(made, cache, print), replace(made, retrieval=stage)
    check = fit_check.measure_fit(with_04, cache, print)
    assert (check.count, check.population, by_clips.population) == (
        120,
        "validation learners",
        "validation clips",
    )
    assert len(seen) == 1 and np.array_equal(
        seen[0], learners[:120]
    )  # nobody of another split sets it
    assert fit_check.measure_fit(with_04, cache, print) == check and len(seen) == 1
    margins = np.array(
        [fit_check.margin(made, each, sport) for each, sport in zip(later, sports * 5, strict=True)]
    )
    assert (margins < by_clips.threshold).mean() > 0.2  # learners are filmed otherwise than lessons
    assert (margins < check.threshold).mean() == pytest.approx(fit_check.REFUSED, abs=0.04)
    people = people.head(19)
    assert fit_check.measure_fit(with_04, cache, print) == by_clips


def test_the_share_refused_is_that_of_the_next_clip() -> None:
    draws = np.random.default_rng(2).normal(size=(4000, 31))
    refused = np.mean([row[0] < fit_check.least_margin(row[1:]) for row in draws])
    assert refused == pytest.approx(1 / 31, abs=0.01) and refused < fit_check.REFUSED


def test_the_order_is_the_one_that_04_chose_on_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import polars as pl

    ids = ["a", "b", "c", "d"]
    clips = pl.DataFrame({"clip_id": ids, "text": [""] * 4})
    pictures = np.array([[0.9], [0.7], [0.5], [0.1]], np.float32)
    vectors = EncoderVectors(
        {}, *(dict(zip(ids, each, strict=True)) for each in (pictures, -pictures))
    )
    logistic = SimpleNamespace(probability=lambda scores: 1 / (1 + np.exp(-np.array(scores))))
    made = run_library.AdviceLibrary(
        "t", clips, np.zeros((0, 0)), pictures, vectors, Path(), "image", PairingConfig(), clips, {}, None,
        ("x",), RankingChoices("image", Blend(0.0), 0.75), {YES_NO: logistic},
    )  # fmt: skip
    you = learner_clip.LearnerClip(tmp_path / "you.mp4", (0, 1), 1, np.zeros((1, 8, 8, 3)))
    you.path.touch()
    scores = {"a": -1.0, "b": 2.0, "c": 0.5}  # the far one is not asked about
    monkeypatch.setattr(
        ranking,
        "relevance_scores",
        lambda made, you, pairs, *_: np.array([scores[x] for x in pairs["clip_id"]]),
    )
    options = {"depth": 3, "sport": None, "cache": keep(tmp_path), "log": print}
    ranked = ranking.rank(made, you, np.ones(1), np.arange(4), **options)
    assert ranked.rows.tolist() == [1, 2, 0]  # the relevance model's weight is 0.75
    assert ranked.probability == pytest.approx(1 / (1 + np.exp([-2.0, -0.5, 1.0])), abs=1e-6)
    assert ranked.similarity == pytest.approx([0.7, 0.5, 0.9])
    assert "100 % pictures, 0 % words" in ranked.how
    other = ranking.rank(replace(made, encoder="video"), you, np.ones(1), np.arange(4), **options)
    # what 04 chose for the image encoder says nothing of another
    assert "50 % pictures, 50 % words" in other.how
    # without a weight the model is not asked, and the probability is that of the encoder's score
    monkeypatch.setattr(ranking, "relevance_scores", None)
    choices = RankingChoices("image", Blend(0.0), 0.0)
    alone = ranking.rank(replace(made, choices=choices), you, np.ones(1), np.arange(4), **options)
    assert alone.rows.tolist() == [0, 1, 2] and alone.probability is None
    sure = replace(made, choices=choices, calibrations={ENCODER: logistic})
    sure = ranking.rank(sure, you, np.ones(1), np.arange(4), **options)
    assert sure.probability == pytest.approx(1 / (1 + np.exp([-0.9, -0.7, -0.5])), abs=1e-6)


def test_a_run_whose_04_does_not_say_how_it_ranks_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="earlier version made it: rerun 04_retrieval"):
        load_choices(tmp_path)
    choices = RankingChoices("video", Blend(0.25, 0.1, 0.3), 0.5)
    choices.save(tmp_path)
    assert load_choices(tmp_path) == choices


def test_a_server_scores_and_what_it_does_not_answer_stands_last(
    tmp_path: Path, monkeypatch
) -> None:
    import polars as pl

    stage = SimpleNamespace(manifest={"config": {"frames": 2, "with_narration": True}})
    clips, frames = (
        pl.DataFrame({"text": ["one", "two", "three"]}),
        np.arange(3 * 4 * 8 * 8 * 3, dtype=np.uint8),
    )
    made = SimpleNamespace(retrieval=stage, clips=clips, frames=frames.reshape(3, 4, 8, 8, 3))
    you = learner_clip.LearnerClip(
        tmp_path / "you.mp4", (0, 1), 1, np.zeros((4, 8, 8, 3), np.uint8)
    )
    server, told = served.Server("http://127.0.0.1:1/v1", "coach"), list[str]()

    def answers(self, pairs):
        assert [(one.shape, two.shape) for one, two, _ in pairs] == [((2, 8, 8, 3),) * 2] * 2
        assert [words for *_, words in pairs] == ["three", "one"]
        np.testing.assert_array_equal(pairs[0][1], made.frames[2][[1, 3]])
        return [served.Served(0.5), served.Served(float("nan"), reason="status 503")]

    monkeypatch.setattr(served.Server, "scores", answers)
    assert ranking.served_scores(made, you, np.array([2, 0]), told.append, server).tolist() == [
        0.5,
        -0.5,
    ]
    assert "1 of 2 clips were not scored and rank last (status 503)" in told
    monkeypatch.setattr(
        served.Server, "scores", lambda self, pairs: [served.Served(float("nan"), reason="gone")]
    )
    with pytest.raises(ValueError, match="scored none of 1 clips \\(gone\\)"):
        ranking.served_scores(made, you, np.array([1]), told.append, server)


def test_margins_are_those_of_a_loop() -> None:
    nearest = np.random.default_rng(1).normal(size=(7, 4))
    slow = [[row[s] - max(row[o] for o in range(4) if o != s) for s in range(4)] for row in nearest]
    assert fit_check.margins_of(nearest) == pytest.approx(np.array(slow))


# ---------------------------------------------------------------------------------------- the whole


def test_what_lesson_1_shows_finds_lesson_1_and_the_page_is_whole(serve: Path, home: Path) -> None:
    said: list[str] = []
    clips = artifacts.open_stage("t", "02_pairing").table("clips")
    own = clips.filter(
        (clips["video_id"] == "lesson1") & (clips["demonstration"] == "correct")
    ).row(0, named=True)
    span = {"start_s": own["start_s"], "end_s": own["end_s"]}
    view = ask(serve, said, sport="tennis", **span, top=6)
    alike = sorted(
        (each["similarity"], each["video_id"], each["start_s"]) for each in view.suggestions
    )
    assert alike[-1][1:] == ("lesson1", own["start_s"]) and alike[-1][0] > alike[-2][0]
    # a learner is read to the ends of the span, a clip of 02 without its very edges
    assert alike[-1][0] == pytest.approx(1, abs=5e-3)
    assert [each["rank"] for each in view.suggestions] == [1, 2, 3, 4, 5, 6] and not view.why
    assert all(each["probability"] is None for each in view.suggestions) and any(
        "No probability" in n for n in view.notes
    )
    assert any("reading" in line for line in said) and any("embedding" in line for line in said)
    page = view.page()
    films = [base64.b64decode(each) for each in re.findall(r"data:video/mp4;base64,([^\"]+)", page)]
    assert len(films) == 7 and page.count("data:image/webp") == 7
    for film in films:
        with av.open(io.BytesIO(film)) as container:
            assert sum(1 for _ in container.decode(video=0)) >= 9
    assert (
        "<script" not in page
        and "&lt;script&gt;" in page
        and "javascript:" not in page
        and "\u202e" not in page
    )
    assert "my &#x27;serve&#x27; &lt;b&gt; &amp; co.mp4" in page and str(home) not in page
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert all(link.startswith(("data:", "https://")) for link in links)
    assert any(link.startswith("https://www.youtube.com/watch?v=lesson0&amp;t=") for link in links)
    assert "Coach &amp; Sons" in page and "default-src 'none'" in page


def test_a_second_call_decodes_and_embeds_nothing(
    serve: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(serve, sport="tennis").page()
    for where, name in (
        (learner_clip, "_look"),
        (ranking.models, "load_tower"),
        (advise_module.previews, "_cut"),
    ):
        monkeypatch.setattr(where, name, None)
    assert ask(serve, sport="tennis").page() == first


def test_the_list_is_all_that_json_prints(serve: Path, tmp_path: Path, call) -> None:
    to = tmp_path / "out/page.html"
    code, out, err = call(
        str(serve), "--run", "t", "--sport", "tennis", "--to", str(to), "--json", "-", "--top", "2"
    )
    rows = json.loads(out)
    assert code == 0 and to.is_file() and "reading my" in err
    assert [list(row) for row in rows] == [
        ["rank", "video_id", "start_s", "end_s", "narration", "probability"]
    ] * 2
    assert [row["rank"] for row in rows] == [1, 2] and rows[0]["probability"] is None
    code, out, _ = call(
        str(serve), "--run", "t", "--to", str(to), "--json", str(tmp_path / "a.json"), "--top", "2"
    )
    assert (
        code == 0 and "page.html" in out and len(json.loads((tmp_path / "a.json").read_text())) == 2
    )


def test_nothing_fits_is_said_with_its_own_code_and_a_page(
    tmp_path: Path, serve: Path, call
) -> None:
    still = write_film(tmp_path / "still.mp4", shot(1, 40, moves=False))
    to = tmp_path / "page.html"
    for words, why in (
        ([str(serve), "--sport", "judo"], "no clip of judo"),
        ([str(still)], "nothing moves"),
    ):
        code, out, err = call(*words, "--run", "t", "--to", str(to), "--json", "-")
        assert code == 5 and json.loads(out) == [] and why in err
        assert why in to.read_text() and "No clip of the library fits" in to.read_text()


def test_a_clip_of_another_sport_is_not_advised(
    serve: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_check, "measure_fit", lambda *given: fit_check.FitCheck(0.5, 0.9, 40))
    view = ask(serve, sport="golf")
    assert (
        not view.suggestions
        and "looks like clips of other sports" in view.why
        and view.preview.film
    )


def test_errors_name_the_remedy_and_load_no_torch(serve: Path, tmp_path: Path, home: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    cases = [
        (["nowhere.mp4"], "is no file"),
        ([str(tmp_path)], "is no file"),
        ([str(serve), "--run", "none"], "reproduce --run none"),
        ([str(serve), "--run", "t", "--sport", "quidditch"], "it has golf, tennis"),
        ([str(serve), "--run", "t", "--start", "2"], "go together"),
        ([str(serve), "--run", "t", "--start", "5", "--end", "2"], "is no span"),
        ([str(serve), "--run", "t", "--start", "0", "--end", "12"], "1 to 10 s"),
        ([str(serve), "--run", "t", "--to", str(tmp_path)], "is a folder"),
        ([str(serve), "--run", "t", "--to", str(serve)], "another file of this command"),
        ([str(tmp_path / "text.mp4"), "--run", "t"], "name a video that plays"),
    ]
    script = (
        "import json, sys\nfrom sportskills_lib import cli\n"
        "for words in "
        f"json.loads({json.dumps(json.dumps([['--help'], *(words for words, _ in cases)]))}):\n"
        "    sys.argv = ['sportskills', 'advise', *words]\n"
        "    try:\n        cli.main()\n"
        "    except SystemExit as end:\n        print('CODE', end.code, file=sys.stderr)\n"
        "print([name for name in ('torch', 'transformers', 'open_clip') if name in "
        "sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stdout + done.stderr
    assert "my_serve.mp4 --sport tennis" in done.stdout
    parts = re.split(r"CODE (\d+|None)\n", done.stderr)
    codes, texts = parts[1::2], parts[0::2]
    assert codes == ["0", *["2"] * len(cases)], done.stderr
    for (words, text), shown in zip(cases, texts[1:], strict=False):
        assert text in shown and "Traceback" not in shown, (words, shown)
