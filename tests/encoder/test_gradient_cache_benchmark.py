"""The benchmark of the gradient cache takes its step: nothing else runs it, and it once asked for
what had moved.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "gradient_cache.py"


def test_a_step_of_the_benchmark_runs() -> None:
    command = [sys.executable, str(BENCHMARK), "--step", "2", "--chunk", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["gib"] > 0
