import polars as pl

from sportskills_lib.plots.charts import learning_curves


def test_curves_leave_out_the_trials_and_missing_values():
    curves = pl.DataFrame(
        {
            "arm": ["narrations"] * 4,
            "trial": [True, False, False, False],
            "step": [0, 0, 50, 100],
            "loss": [9.0, None, 2.0, 1.0],
            "val_recall": [0.5, 0.1, 0.2, 0.3],
        }
    )
    figure = learning_curves(curves)
    loss, recall = (panel.lines[0] for panel in figure.axes)
    assert loss.get_xdata().tolist() == [50, 100]
    assert recall.get_ydata().tolist() == [0.1, 0.2, 0.3]


def test_another_score_may_be_drawn_and_nothing_at_all() -> None:
    scores = {"loss": [None, 2.0], "val_ndcg@10": [0.4, float("nan")]}
    curves = pl.DataFrame({"arm": ["vlm_yes_no"] * 2, "step": [0, 9], **scores})
    assert learning_curves(curves, score="val_ndcg@10", label="nDCG").axes[1].lines[
        0
    ].get_ydata().tolist() == [0.4]
    assert not learning_curves(curves.clear(), score="val_ndcg@10").axes[0].lines


def test_chance_is_drawn_beside_the_score_alone() -> None:
    curves = pl.DataFrame(
        {"arm": ["narrations"] * 2, "step": [0, 9], "loss": [2.0, 1.0], "val_recall": [0.1, 0.4]}
    )
    loss, recall = learning_curves(curves, chance=0.37).axes
    assert [len(panel.lines) for panel in (loss, recall)] == [1, 2]
    assert list(recall.lines[1].get_ydata()) == [0.37, 0.37]


def test_panels_that_share_an_axis_show_all_points() -> None:
    rows = {
        "encoder": ["image", "image", "video", "video"],
        "arm": ["narrations"] * 4,
        "step": [0, 9] * 2,
    }
    curves = pl.DataFrame(rows | {"loss": [2.0, 1.0, 0.5, 0.4], "val_recall": [0.1, 0.4, 0.5, 0.9]})
    _, upper, _, lower = learning_curves(curves).axes
    assert (
        upper.get_ylim() == lower.get_ylim()
        and upper.get_ylim()[0] < 0.1
        and upper.get_ylim()[1] > 0.9
    )
