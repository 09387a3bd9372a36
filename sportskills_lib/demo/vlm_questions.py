"""What the small stand-in is asked in its first training: what a person does, which sentence is true, who moves alike.

Nothing here names a sport, a skill or a fault, and nothing asks about help.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from sportskills_lib.demo import generic
from sportskills_lib.models import quoted
from sportskills_lib.retrieval.relevance.model import VisionLanguageModel
from sportskills_lib.retrieval.relevance.prefix_sharing import Row, Segment, shared_rows
from sportskills_lib.retrieval.relevance.visual_tokens import Grid

WATCH = "Watch:"
WHAT = "What does the person do?"
DESCRIBES = "Does this describe the person?"
SAME = "Do both move alike?"
PAIRS = 2  # of sentences, one true and one not, that a scene is asked about
Question = tuple[str, str, tuple[int, ...]]  # question, answer, other scenes shown


class Questions:
    """Prompts about one or two scenes, cut after the first video so that all questions share it."""

    def __init__(self, vlm: VisionLanguageModel, grid: Grid):
        self.vlm, self.grid = vlm, grid
        self._ask = lru_cache(maxsize=None)(self._cut)

    def _cut(self, text: str, answer: str, videos: int) -> tuple[Segment, Segment]:
        content = [
            {"type": "text", "text": WATCH},
            {"type": "video"},
            *[{"type": "video"}] * (videos - 1),
        ]
        messages = [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]
        return self.vlm.split_prompt(messages, self.grid, after=1, answer=answer)

    def rows(self, asked: list[Question], scene: int) -> list[Row]:
        """A scene's prefix and its questions, a few to a row."""
        cut = [(self._ask(text, answer, 1 + len(others)), others) for text, answer, others in asked]
        return shared_rows(
            [
                (replace(prefix, videos=(scene,)), replace(suffix, videos=others))
                for (prefix, suffix), others in cut
            ]
        )


def draw_questions(
    states: list[list[str]], scene: int, rng: np.random.Generator, *, alike: int = 8
) -> list[Question]:
    """A caption to write, sentences to judge in pairs (one true, one not), and a list of people to compare.

    The first of the list moves alike, the others do not.
    """
    held = states[scene]
    found: list[Question] = [(WHAT, generic.caption(held[:2], rng), ())]
    for _ in range(PAIRS):
        state = held[int(rng.integers(len(held)))]
        rivals = [rival for rival in generic.group_of(state) if rival != state]
        for said, answer in ((state, "yes"), (str(rng.choice(rivals)), "no")):
            found.append((f'"{quoted(generic.describe(said, rng))}" {DESCRIBES}', answer, ()))
    twin = scene ^ 1
    places = rng.integers(0, len(states) // 2 - 1, alike - 1) * 2 + rng.integers(0, 2, alike - 1)
    others = [int(place) if place < min(scene, twin) else int(place) + 2 for place in places]
    return [*found, (SAME, "yes", (twin,)), *[(SAME, "no", (other,)) for other in others]]
