"""Is advice as sure as it says, and does it refuse whom it should? Over the test learners of a run
of the demo.

    python benchmarks/advising.py [--run demo] [--top 5]

Each test learner of 04 asks for advice under the sport that 04 names, as `sportskills advise`
would, from the frames that 04 kept. The demo's truth says whose mistake each clip speaks of. Told
are:

* refused: learners whose clip the threshold stops under their own sport, and under each other
  sport;
* the same with the threshold that the lessons' own validation clips would set;
* of learners with a mistake: how many of the first clips truly speak of it, and what the
  probability says of them.

Intervals resample participants (2,000 draws). All of it is of the generated world and says nothing
about sport.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sportskills_lib import models, tables
from sportskills_lib.apps.advise import fit_check, ranking
from sportskills_lib.apps.advise.advise import CACHE_BYTES, SHORTLIST
from sportskills_lib.apps.advise.learner_clip import LearnerClip
from sportskills_lib.apps.advise.run_library import AdviceLibrary, choose_clips, open_library
from sportskills_lib.evaluation import demo_truth
from sportskills_lib.retrieval.relevance import calibration
from sportskills_lib.runs import artifacts
from sportskills_lib.runs.content_store import ContentStore
from sportskills_lib.statistics.bootstrap import resample


def say(line: str) -> None:
    """Steps go to stderr."""
    print(line, file=sys.stderr, flush=True)


def advice_cache() -> ContentStore:
    """Where advice keeps what it made."""
    return ContentStore(artifacts.workspace() / "data/cache/advice", limit_bytes=CACHE_BYTES)


def with_interval(flags: np.ndarray, people: list[str]) -> str:
    """A share of learners in percent, with its interval."""
    one = {"system": "advice", "metric": "share", "sport": "all", "seed": 0, "chance": 0.0}
    rows = pl.DataFrame(
        {"query_id": map(str, range(len(people))), "cluster": people, "value": flags * 1.0}
    )
    rows = rows.with_columns(**{name: pl.lit(value) for name, value in one.items()})
    found = resample(rows, draws=2000, seed=0, stratum=None).stratum("advice", "all")
    return (
        f"{100 * found.value:.1f} % [{100 * (found.low or 0):.1f}, {100 * (found.high or 1):.1f}]"
    )


def refusals(
    library: AdviceLibrary, check: fit_check.FitCheck, learners: pl.DataFrame, vectors: np.ndarray
) -> None:
    """Who is refused under the own sport, and stopped under another's."""
    sports = library.sports
    of = library.clips["sport"].to_numpy()
    alike = vectors @ library.clip_ND.T
    margins = fit_check.margins_of(
        np.stack([alike[:, of == sport].max(1) for sport in sports], axis=1)
    )
    own = np.array(sports)[None] == learners["sport"].to_numpy()[:, None]
    assert check.threshold is not None, check.reason
    below, people = margins < check.threshold, learners["participant"].cast(pl.String).to_list()
    wrong = with_interval(below[own], people)
    stopped = 100 * below[~own].mean()
    print(
        f"threshold {check.threshold:+.3f}, set by {check.count} {check.population}: {wrong} of "
        f"{len(people)} learners"
    )
    print(
        f"  ({len(set(people))} participants) refused under their own sport; under another's "
        f"{stopped:.0f} % stopped"
    )


def sureness(
    library: AdviceLibrary,
    learners: pl.DataFrame,
    frames: np.ndarray,
    vectors: np.ndarray,
    top: int,
    truth: str,
) -> None:
    """How many of the first clips truly speak of the mistake, and how sure advice was of them."""
    known = pl.read_parquet(artifacts.workspace() / truth / "learners.parquet")
    wrong = known.filter(pl.col("faults").list.len() > 0).select(
        "video_time", "execution", take_id="take_uid"
    )
    asked = learners.with_row_index("row").filter("is_mistake").join(wrong, on="take_id")
    asked = asked.filter(pl.col("video_time").is_between("start_s", "end_s")).unique(
        "learner_id", maintain_order=True
    )
    assert library.retrieval is not None
    folder, cache = (
        artifacts.workspace() / library.retrieval.manifest["config"]["learners"],
        advice_cache(),
    )
    cues = dict(
        demo_truth.true_groups(truth, library.clips, splits=tables.SPLITS)
        .select("clip_id", "cue")
        .iter_rows()
    )
    right, sure, people = [], [], []
    for row in asked.iter_rows(named=True):
        rows = choose_clips(library, row["sport"], None)["row"].to_numpy()
        own = LearnerClip(
            folder / row["path"],
            (row["start_s"], row["end_s"]),
            row["end_s"],
            frames[row["row"]],
        )
        ranked = ranking.rank(
            library, own, vectors[row["row"]], rows, depth=SHORTLIST, cache=cache, log=say
        )
        for at, place in enumerate(ranked.rows[:top]):
            clip = library.clips.row(int(place), named=True)
            right.append(
                clip["skill"] == row["skill"] and cues.get(clip["clip_id"]) == row["execution"]
            )
            sure.append(np.nan if ranked.probability is None else ranked.probability[at])
            people.append(str(row["participant"]))
    share = with_interval(np.array(right), people)
    print(
        f"of the first {top} clips of {asked.height} learners with a mistake, {share} truly "
        "speak of it; "
        f"the probability says {100 * np.mean(sure):.0f} %",
        end="",
    )
    if np.isfinite(sure).all():
        print(
            f", calibration error {calibration.ece(np.array(sure), np.array(right, float)):.3f}",
            end="",
        )
    print(f" (ranked by {ranked.how})")


def main() -> int:
    """Ask for every test learner, and tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", default="demo")
    parser.add_argument("--top", type=int, default=5)
    args = parser.parse_args()
    library = open_library(args.run)
    if library.retrieval is None:
        raise SystemExit(
            f"04 of run {args.run!r} has no relevance model: there are no learners to ask for"
        )
    people = library.retrieval.table("learners", tables.Learners).with_row_index("place")
    people = people.filter(pl.col("split").cast(pl.String) == "test")
    frames = np.load(library.retrieval.path("learner_frames.npy"), mmap_mode="r")[
        people["place"].to_numpy()
    ]
    vectors = models.load_tower(library.tower).encode_frames(frames)
    learners, cache = people.drop("place"), advice_cache()
    refusals(library, fit_check.measure_fit(library, cache, say), learners, vectors)
    refusals(
        library,
        fit_check.measure_fit(replace(library, retrieval=None), cache, say),
        learners,
        vectors,
    )
    truth = demo_truth.folder_named_by(
        artifacts.open_stage(args.run, "05_evaluation").manifest["config"]
    )
    sureness(library, learners, frames, vectors, args.top, truth)
    return 0


if __name__ == "__main__":
    sys.exit(main())
