"""The retrieval inspector over many clips: time to the first view and of each step, and bytes sent
to the browser.

    python benchmarks/inspecting.py [clips, 10000 by default]

The run is made up, in memory: as many test clips as queries, 16 systems, ten answers each, frames
of 8 × 64 × 64. A step is a key; what it sends is counted where ipywidgets hands it to the kernel.
Films of the size that real previews have are there for every item, so that the byte budget is met,
too.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import polars as pl

STEPS = "jjjjjjjjkkffjjjsjjdjjgajjbjjxjjtjjvjjvjj"
SYSTEMS, SPORTS, FILM_BYTES = 16, 24, 90_000


def made_up(count: int) -> list:
    """One kind of questions over ``count`` clips."""
    from sportskills_lib.viewing.retrieved_queries import ItemSources, QueryResults

    rng = np.random.default_rng(0)
    ids = [
        f"v{i // 10:06d}:{3000 * (i % 10):06d}-{3000 * (i % 10) + 2500:06d}" for i in range(count)
    ]
    sports = [f"sport {i * SPORTS // count:02d}" for i in range(count)]
    rows = {
        clip: {
            "video_id": clip[:7],
            "title": "How to do it, step by step",
            "channel": "a channel",
            "sport": sport,
            "skill": f"{sport} skill {i % 4}",
            "start_s": 0.0,
            "end_s": 2.5,
            "demonstration": "correct",
            "said": "keep the elbow in until the hip has turned and let the weight follow " * 2,
        }
        for i, (clip, sport) in enumerate(zip(ids, sports, strict=True))
    }
    frames = rng.integers(0, 255, (min(count, 200), 8, 64, 64, 3), dtype=np.uint8)
    items = ItemSources(rows, {clip: (frames, i % len(frames)) for i, clip in enumerate(ids)}, {})
    queries = pl.DataFrame(
        {
            "query_id": [f"{clip}n" for clip in ids],
            "sport": sports,
            "skill": [row["skill"] for row in rows.values()],
            "text": [f"mind {i}: {row['said']}" for i, row in enumerate(rows.values())],
            "shown": ids,
            "own": [[clip] for clip in ids],
        }
    )
    hits, places = {}, {}
    for number in range(SYSTEMS):
        arm = f"arm{number:02d}" if number else "narrations"
        name = f"image/{arm}/text_to_video/within_sport"
        found = rng.integers(0, count, (count, 10))
        hits[name] = pl.DataFrame(
            {
                "query_id": np.repeat(queries["query_id"].to_numpy(), 10),
                "rank": np.tile(np.arange(1, 11), count),
                "clip_id": np.array(ids)[found.ravel()],
                "score": np.tile(np.linspace(0.9, 0.5, 10), count),
            }
        )
        places[name] = queries.select("query_id").with_columns(
            place=pl.Series(rng.integers(1, 400, count) * 1.0)
        )
    return [QueryResults("narrations", queries, hits, places, items, 10, "its own clip", {}, {})]


def main(count: int) -> None:
    import ipywidgets

    from sportskills_lib.viewing import inspection_widgets

    sent: list[int] = []
    send: Callable[..., None] = ipywidgets.Widget._send

    def counted(self: ipywidgets.Widget, message: dict, buffers: list | None = None) -> None:
        sent.append(len(json.dumps(message, default=str)) + sum(map(len, buffers or [])))
        send(self, message, buffers)

    ipywidgets.Widget._send = counted
    kinds = made_up(count)
    started = time.monotonic()
    widget = inspection_widgets.InspectorWidget(kinds, films=False)
    first_s, first_bytes = time.monotonic() - started, len(widget.output.value)
    films = {item: bytes(FILM_BYTES) for item in kinds[0].items.rows}
    for told, playing in (("small pictures", False), ("films of 90 kB", True)):
        widget.playing = playing
        widget.films.loaded, widget.films.want = films, lambda items: None  # type: ignore[method-assign]
        times, amounts = [], []
        for key in STEPS.replace("v", "j"):
            sent.clear()
            started = time.monotonic()
            widget.keyboard.press(key)
            times.append(time.monotonic() - started)
            amounts.append(sum(sent))
        spread = (
            f"median {np.median(times):.3f} s, 95 % within {np.quantile(times, 0.95):.3f} "
            f"s, most {max(times):.3f} s"
        )
        print(
            f"{told}: a step {spread}; bytes sent: median {np.median(amounts):,.0f}, most "
            f"{max(amounts):,}"
        )
    print(
        f"{count} clips, {count * SYSTEMS * 10:,} answers: first view in {first_s:.2f} s, "
        f"{first_bytes:,} bytes"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
