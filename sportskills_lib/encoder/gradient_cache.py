"""Contrastive gradients of a batch that does not fit in memory, equal to those of the whole batch.

Gao et al. (GradCache, arXiv 2101.06983): embed chunk by chunk without a graph, take the loss's
gradient with respect to the embeddings, then embed each chunk again with a graph and hand it its
part of that gradient. The second pass must draw what the first drew (dropout), so the generators'
states are kept for each chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Encode = Callable[
    [Any], "torch.Tensor"
]  # a chunk of inputs → its embeddings [b, D], with a graph when grad is on


def backward_in_chunks(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    clips: tuple[Encode, Sequence[Any]],
    texts: tuple[Encode, Sequence[Any]],
    *,
    backward: Callable[[torch.Tensor], Any] | None = None,
) -> float:
    """Accumulate in every parameter the gradient of ``loss(clip_BD, text_BD)``; returns the loss.

    ``clips`` and ``texts``: how to embed a chunk, and the chunks in the batch's order. Memory holds
    one chunk's graph at a time besides all embeddings. Parameters that ``loss`` itself uses (a
    temperature) get their gradient too. Not for layers that mix rows of a batch, as BatchNorm in
    training does: see :func:`refuse_batch_statistics`.
    ``backward`` is called on the loss in place of its own method, to scale it for fp16, say.
    """
    import torch

    passes = [_first_pass(encode, chunks) for encode, chunks in (clips, texts)]
    whole = [torch.cat(embeddings).requires_grad_() for embeddings, _ in passes]
    value = loss(*whole)
    (backward or torch.Tensor.backward)(value)
    for (encode, chunks), (_, states), all_BD in zip((clips, texts), passes, whole, strict=True):
        assert all_BD.grad is not None
        start = 0
        for chunk, state in zip(chunks, states, strict=True):
            with _same_draws(state):
                embedded = encode(chunk)
            if embedded.requires_grad:
                embedded.backward(all_BD.grad[start : start + len(embedded)])
            start += len(embedded)
    return float(value.detach())


def refuse_batch_statistics(model: torch.nn.Module) -> None:
    """ValueError when a layer in training takes statistics over the batch: a part of it would see
    others.

    Call after ``model.train()``; layers in eval mode (frozen statistics) pass.
    """
    from torch.nn.modules.batchnorm import _BatchNorm

    mixed = [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm) and layer.training
    ]
    if mixed:
        raise ValueError(
            "chunk and several processes need rows that do not depend on the batch, but "
            f"{len(mixed)} BatchNorm layers "
            f"train on it (first {mixed[0]!r}): name them in frozen, use a ViT, or set chunk "
            "to 0 and processes to 1"
        )


def _first_pass(encode: Encode, chunks: Sequence[Any]) -> tuple[list[torch.Tensor], list[Any]]:
    import torch

    embeddings, states = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(_generator_states())
            embeddings.append(encode(chunk))
    return embeddings, states


def _generator_states() -> tuple[Any, Any]:
    """The states of the generators that layers draw from, on the CPU and on the current GPU."""
    import torch

    on_gpu = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    return torch.get_rng_state(), on_gpu


@contextmanager
def _same_draws(state: tuple[Any, Any]) -> Iterator[None]:
    """Draws inside repeat those made after ``state``; afterwards the generators go on as before."""
    import torch

    devices = [torch.cuda.current_device()] if state[1] is not None else []
    with torch.random.fork_rng(devices=devices):
        torch.set_rng_state(state[0])
        if devices:
            torch.cuda.set_rng_state(state[1])
        yield
