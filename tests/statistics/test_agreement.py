"""Agreement of raters, against published worked examples and plain loops."""

import itertools
import math

import numpy as np
import polars as pl
import pytest

from sportskills_lib.statistics import agreement

N = float("nan")
# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011). Section A: two observers, binary;
# B: two observers,
# nominal; C and D: four observers, twelve units, missing data.
BINARY = np.array([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]).T
NOMINAL = np.array([[ord(letter) for letter in row] for row in ("aabbdcccedda", "babbbccceddd")]).T
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ]
).T


@pytest.mark.parametrize(
    ("level", "value"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_is_the_published_one(level, value):
    assert agreement.krippendorff(PUBLISHED, level) == pytest.approx(value, abs=5e-4)


def test_alpha_of_two_observers_is_the_published_one():
    assert agreement.krippendorff(BINARY, "nominal") == pytest.approx(0.095, abs=5e-4)
    assert agreement.krippendorff(NOMINAL, "nominal") == pytest.approx(0.692, abs=5e-4)
    for level in ("ordinal", "interval"):  # two values: nothing lies between them
        assert agreement.krippendorff(BINARY, level) == pytest.approx(0.095, abs=5e-4)


def test_alpha_equals_a_loop_over_all_pairs():
    grades = np.random.default_rng(0).integers(0, 4, (30, 3)).astype(float)
    grades[np.random.default_rng(1).random(grades.shape) < 0.2] = N
    given = [[g for g in row if not math.isnan(g)] for row in grades]
    given = [row for row in given if len(row) > 1]
    everything = [g for row in given for g in row]
    observed = sum(
        sum((a - b) ** 2 for a, b in itertools.permutations(row, 2)) / (len(row) - 1)
        for row in given
    )
    expected = sum((a - b) ** 2 for a, b in itertools.permutations(everything, 2)) / (
        len(everything) - 1
    )
    assert agreement.krippendorff(grades, "interval") == pytest.approx(
        1 - observed / expected, abs=1e-12
    )


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
    assert agreement.agreement(
        table.sample(fraction=1, shuffle=True, seed=5), draws=300, seed=0
    ).equals(found)


def test_a_generous_rater_and_one_who_guesses_are_found():
    truth = np.random.default_rng(6).integers(0, 3, 300)
    grades = np.stack(
        [truth, truth, truth + 1, np.random.default_rng(7).integers(0, 4, 300)], axis=1
    ).astype(float)
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


# Two pathologists, 118 slides, four grades (Holmquist and others, 1967, in Agresti, Categorical
# Data Analysis, 10.5).
PATHOLOGISTS = np.array([[22, 2, 2, 0], [5, 7, 14, 0], [0, 2, 36, 0], [0, 1, 17, 10]])


def test_weighted_kappa_is_the_published_one():
    one, two = (
        np.repeat(axis.ravel(), PATHOLOGISTS.ravel()).tolist() for axis in np.indices((4, 4))
    )
    assert agreement.weighted_kappa(one, two) == pytest.approx(0.78, abs=5e-3)
    assert agreement.weighted_kappa(two, one) == pytest.approx(agreement.weighted_kappa(one, two))
    seen = PATHOLOGISTS / PATHOLOGISTS.sum()
    rows, columns = np.indices((4, 4))
    far = (rows - columns) ** 2
    by_hand = 1 - (seen * far).sum() / (np.outer(seen.sum(axis=1), seen.sum(axis=0)) * far).sum()
    assert agreement.weighted_kappa(one, two) == pytest.approx(by_hand, abs=1e-12)


def test_a_grade_that_nobody_gave_keeps_its_room_on_the_scale():
    """Grades 0, 1 and 3: the quadratic kappa is 1 − Σ (x − y)² / its expectation, by the grades
    themselves.
    """
    one, two = np.array([0, 0, 1, 3, 3, 1, 0]), np.array([0, 3, 1, 3, 0, 1, 1])
    observed = ((one - two) ** 2).mean()
    expected = ((one[:, None] - two[None, :]) ** 2).mean()
    assert agreement.weighted_kappa(one.tolist(), two.tolist()) == pytest.approx(
        1 - observed / expected, abs=1e-12
    )
