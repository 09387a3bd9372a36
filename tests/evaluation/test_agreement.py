"""Agreement of raters, against published worked examples and plain loops."""

import itertools
import math

import numpy as np
import polars as pl
import pytest

from sportskills_lib.evaluation import agreement

N = float("nan")
# Krippendorff (2011), section C: four observers, twelve units, missing data.
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ]
).T


@pytest.mark.parametrize(("level", "value"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_the_published_one(level, value):
    assert agreement.krippendorff(PUBLISHED, level) == pytest.approx(value, abs=5e-4)


def test_alpha_equals_a_loop_over_all_pairs():
    grades = np.random.default_rng(0).integers(0, 4, (30, 3)).astype(float)
    grades[np.random.default_rng(1).random(grades.shape) < 0.2] = N
    given = [[g for g in row if not math.isnan(g)] for row in grades]
    given = [row for row in given if len(row) > 1]
    everything = [g for row in given for g in row]
    observed = sum(sum((a - b) ** 2 for a, b in itertools.permutations(row, 2)) / (len(row) - 1) for row in given)
    expected = sum((a - b) ** 2 for a, b in itertools.permutations(everything, 2)) / (len(everything) - 1)
    assert agreement.krippendorff(grades, "interval") == pytest.approx(1 - observed / expected, abs=1e-12)


def test_alpha_of_perfect_random_and_constant_grades():
    random = np.random.default_rng(2).integers(0, 4, (4000, 3)).astype(float)
    for level in agreement.LEVELS:
        assert agreement.krippendorff(np.repeat(random[:, :1], 3, axis=1), level) == 1.0
        assert abs(agreement.krippendorff(random, level)) < 0.03
        assert math.isnan(agreement.krippendorff(np.ones((5, 2)), level))


def judged(grades_UR, per_learner=4):
    rows = [
        (f"l{u // per_learner:03d}", f"c{u:03d}", f"coach{r}", int(grade))
        for u, row in enumerate(grades_UR)
        for r, grade in enumerate(row)
        if not math.isnan(grade)
    ]
    table = pl.DataFrame(rows, schema=["learner_id", "clip_id", "rater", "grade"], orient="row")
    return table.with_columns(simulated=pl.lit(True))


def test_the_table_has_an_interval_that_holds_the_value_and_does_not_depend_on_the_order_of_rows():
    truth = np.random.default_rng(3).integers(0, 4, 200)
    noise = np.random.default_rng(4).choice([0, 0, 0, 1, -1], (200, 3))
    table = judged(np.clip(truth[:, None] + noise, 0, 3).astype(float))
    found = agreement.agreement(table, draws=300, seed=0)
    assert found["level"].to_list() == list(agreement.LEVELS)
    assert (found["low"] < found["alpha"]).all() and (found["alpha"] < found["high"]).all()
    assert found["items"][0] == 200 and found["learners"][0] == 50 and found["raters"][0] == 3
    assert agreement.agreement(table.sample(fraction=1, shuffle=True, seed=5), draws=300, seed=0).equals(found)


def test_a_generous_rater_and_one_who_guesses_are_found():
    truth = np.random.default_rng(6).integers(0, 3, 300)
    grades = np.stack([truth, truth, truth + 1, np.random.default_rng(7).integers(0, 4, 300)], axis=1).astype(float)
    rows = {row["rater"]: row for row in agreement.by_rater(judged(grades)).iter_rows(named=True)}
    assert rows["coach2"]["bias"] > 0.5 and rows["coach0"]["bias"] < 0
    assert rows["coach3"]["weighted_kappa"] < 0.2 < rows["coach0"]["weighted_kappa"]
    assert rows["coach3"]["alpha_without"] > rows["coach0"]["alpha_without"]


def test_one_rater_or_no_shared_item_says_nothing():
    alone = judged([[1.0], [2.0]])
    assert agreement.agreement(alone, draws=10, seed=0).height == 0
    assert agreement.by_rater(alone).row(0) == ("coach0", True, 2, 0, 1.5, None, None, None)
    apart = judged([[1.0, N], [N, 2.0]])
    assert agreement.agreement(apart, draws=10, seed=0).height == 0
    assert agreement.agreement(alone.clear(), draws=10, seed=0).height == 0


def test_weighted_kappa_of_a_worked_example():
    # 2 x 2 with unit distance: quadratic weights give the plain kappa, here (0.7 - 0.5) / (1 - 0.5)
    one = [0] * 50 + [1] * 50
    two = [0] * 35 + [1] * 15 + [0] * 15 + [1] * 35
    assert agreement.weighted_kappa(one, two) == pytest.approx(0.4)
