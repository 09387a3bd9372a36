"""The judge by rules on every sentence of the planned demo world, against what is really so."""

from __future__ import annotations

from sportskills_lib.curation.rules_judge import judge_sentence
from sportskills_lib.demo.lessons import plan_videos
from sportskills_lib.demo.settings import DemoConfig


def test_rules_reach_the_aim_on_the_demo_world() -> None:
    judged = [
        (
            judge_sentence(segment.text, topic=f"{lesson.sport} {lesson.skill}").actionable,
            segment.actionable,
        )
        for lesson in plan_videos(DemoConfig())
        for segment in lesson.segments
        if segment.text and segment.actionable is not None
    ]
    both = sum(verdict is True and truth for verdict, truth in judged)
    said, wanted = sum(verdict is True for verdict, _ in judged), sum(truth for _, truth in judged)
    assert len(judged) > 5000
    assert 2 * both / (said + wanted) >= 0.95
