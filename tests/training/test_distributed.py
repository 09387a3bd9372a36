"""Two processes against one: gathered rows and their gradients, averaged gradients, sums."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import sportskills_lib
from sportskills_lib.training import distributed
from sportskills_lib.training.distributed import ProcessGroup

TWO = """
import os

import torch
from sportskills_lib.training import distributed
from sportskills_lib.training.distributed import ProcessGroup
distributed.BUCKET_BYTES = 100  # several buckets of one type
group = ProcessGroup(device="cpu")
assert group.size == 2 and group.device == "cpu"

rows = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
weight = torch.randn(3, 3, generator=torch.Generator().manual_seed(2))
def loss(weight, all_rows): return (all_rows @ all_rows.T).logsumexp(1).sum() + weight.square().sum()
one = weight.clone().requires_grad_()
loss(one, rows @ one).backward()
two = weight.clone().requires_grad_()
gathered = group.gather(rows[group.share(5)] @ two, 5)
assert torch.equal(gathered.detach(), torch.cat([rows[:2] @ weight, rows[2:] @ weight]))
loss(two, gathered).backward()
group.average_gradients([two])
torch.testing.assert_close(two.grad, one.grad)

sizes = [(3, 4), (50,), (1,), (2, 2, 2)]
made = [torch.nn.Parameter(torch.zeros(size, dtype=kind)) for kind in (torch.float32, torch.float64) for size in sizes]
made.append(torch.nn.Parameter(torch.zeros(2)))
for place, each in enumerate(made[:-1]):
    each.grad = torch.full_like(each, float(place)).add_(torch.rand(each.shape, generator=torch.Generator().manual_seed(place + 10 * group.rank)))
single = []
for each in made[:-1]:
    mean = each.grad.clone()
    torch.distributed.all_reduce(mean)
    single.append(mean / 2)
group.average_gradients(made)
assert all(torch.equal(each.grad, mean) for each, mean in zip(made, single)) and made[-1].grad is None
assert group.total(group.rank + 1.0) == 3.0
group.wait()
os._exit(0)  # as distributed_job ends: tearing the group down aborts now and then
"""


def test_two_processes_gather_average_and_sum_as_one_would(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO)
    library = str(Path(sportskills_lib.__file__).parents[1])
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, str(script)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": library, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr


def test_one_process_needs_no_others() -> None:
    group = ProcessGroup(device="cpu", precision="bf16")
    rows = torch.ones(3, 2)
    assert group.gather(rows, 3) is rows and group.total(2.0) == 2.0 and group.first
    with group.autocast():
        assert (rows @ rows.T).dtype == torch.bfloat16


def test_buckets_hold_one_type_and_no_more_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "BUCKET_BYTES", 40)
    gradients = [torch.zeros(n) for n in (3, 4, 5, 30, 1)] + [torch.zeros(2, dtype=torch.float16)]
    buckets = list(distributed._buckets(gradients))
    assert [each.shape for bucket in buckets for each in bucket] == [g.shape for g in gradients]
    assert [len(bucket) for bucket in buckets] == [2, 1, 1, 1, 1]
