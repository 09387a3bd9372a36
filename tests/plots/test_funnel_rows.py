"""What a funnel's figure counts, and the rows that are shown of it."""

import polars as pl

from sportskills_lib.plots import charts


def test_every_reason_has_its_count_and_a_few_examples() -> None:
    kinds = ["video", "cue", "video", "video"]
    dropped = pl.DataFrame(
        {
            "item_kind": kinds,
            "item_id": list("abcd"),
            "reason": ["x", "y", "x", "x"],
            "detail": list("1234"),
        }
    )
    shown = charts.dropped_examples(dropped)
    assert shown.select("reason", "count", "item_id").rows() == [
        ("x", 3, "a"),
        ("x", 3, "c"),
        ("y", 1, "b"),
    ]
    assert charts.dropped_examples(dropped.clear()).is_empty()
