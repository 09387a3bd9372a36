"""How much a coach's sentence says what an expert said: three measures, each a function of two
lists of texts.

``tfidf`` (:class:`WidenedWords`) needs no model; ``tower`` is the text tower that 03 trained
on narrations; any other name is a text model of transformers or sentence-transformers, by folder or
hub id (:class:`SentenceModel`). Which of them is right for a corpus is measured
(``docs/supervision.md``), since their numbers mean different things.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sportskills_lib import models

if TYPE_CHECKING:
    import torch

Similarity = Callable[
    [Sequence[str], Sequence[str]], np.ndarray
]  # queries [Q], texts [N] -> float [Q, N]
Encode = Callable[[list[str]], np.ndarray]  # texts [N] -> float32 [N, D], rows of length 1

FEEDBACK_FLOORS, FEEDBACK_WEIGHT = (
    (0.3, 0.2),
    4.0,
)  # comments so similar or more widen a query, with this weight
LONGEST_TEXT = 512  # tokens; what lies beyond is cut, as the models' own code does


class WidenedWords:
    """TF-IDF of word pairs and triples, the query widened by the comments that resemble it
    (Rocchio's feedback).

    Coaches and experts say one thing in many ways, and an expert's remark often holds two of them:
    what is wrong and what to do instead. Comments that share one phrase therefore lend each other
    the other; a second round (one for each of ``floors``) reaches wordings that no comment joins
    directly. Words of the ``names`` of sports and skills say nothing about the mistake and are left
    out.
    """

    def __init__(
        self,
        comments: Sequence[str],
        names: Sequence[str],
        *,
        floors: Sequence[float] = FEEDBACK_FLOORS,
    ):
        from sklearn.feature_extraction.text import TfidfVectorizer

        ignored = sorted({word for name in names for word in re.findall(r"\w+", name.lower())})
        self.floors = floors
        self.memory: Any = None
        self.vectors = TfidfVectorizer(
            ngram_range=(2, 3),
            sublinear_tf=True,
            token_pattern=r"(?u)\b\w+\b",
            stop_words=ignored or None,
        )
        if any(map(self.vectors.build_analyzer(), comments)):  # else none has two words of its own
            self.memory = self.vectors.fit_transform(comments)

    def __call__(self, queries: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        """float [Q, N]: how much each text says what each query says."""
        if self.memory is None or not len(queries) or not len(texts):
            return np.zeros((len(queries), len(texts)))
        return (self._widened(queries) @ self.vectors.transform(texts).T).toarray()

    def vectors_of(
        self, queries: Sequence[str], texts: Sequence[str], *, width: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """float32 [Q, R] and [N, R], R at most ``width``, whose products are about the
        similarities: on the main directions of the comments (latent semantic analysis), so that
        neighbours can be searched.
        """
        from sklearn.decomposition import TruncatedSVD

        if self.memory is None or min(self.memory.shape) < 2:
            return np.zeros((len(queries), 0), np.float32), np.zeros((len(texts), 0), np.float32)
        space = TruncatedSVD(min(width, min(self.memory.shape) - 1), random_state=0)
        space.fit(self.memory)
        asked, said = space.transform(self._widened(queries)), self.vectors.transform(texts)
        return asked.astype(np.float32), space.transform(said).astype(np.float32)

    def _widened(self, queries: Sequence[str]) -> Any:
        from scipy.sparse import csr_matrix
        from sklearn.preprocessing import normalize

        asked = self.vectors.transform(queries)
        for floor in self.floors:
            alike = (asked @ self.memory.T).toarray()
            weight = np.where(alike >= floor, alike, 0.0)
            weight /= np.maximum(weight.sum(1, keepdims=True), 1e-9)
            asked = normalize(asked + FEEDBACK_WEIGHT * (csr_matrix(weight) @ self.memory))
        return asked


def encoded_similarity(
    encode_queries: Encode, encode_texts: Encode, corpus: Sequence[str]
) -> Similarity:
    """Cosines by a text encoder, around the mean of the ``corpus``; each distinct text is encoded
    once.

    Encoders put all sentences of one corpus into a narrow cone: without its mean, what has nothing
    in common is near 0, and shares of the largest similarity mean something.
    """
    distinct = sorted(set(corpus))
    asked: dict[str, np.ndarray] = {}
    said = dict(zip(distinct, encode_texts(distinct), strict=True)) if distinct else {}
    centre = np.mean([*said.values()], axis=0) if said else 0.0

    def vectors(texts: Sequence[str], encode: Encode, memory: dict[str, np.ndarray]) -> np.ndarray:
        if new := sorted(set(texts) - memory.keys()):
            memory.update(zip(new, encode(new), strict=True))
        away = np.stack([memory[text] for text in texts]) - centre
        return away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)

    def similarity(queries: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        if not len(queries) or not len(texts):
            return np.zeros((len(queries), len(texts)))
        return vectors(queries, encode_queries, asked) @ vectors(texts, encode_texts, said).T

    return similarity


def open_similarity(
    name: str, corpus: Sequence[str], *, tower: Path, device: str = "cpu"
) -> Similarity | None:
    """The measure of that name: the text tower in the folder ``tower``, or a text model; None for
    TF-IDF and for "".

    TF-IDF is fitted where it is used, on the comments of those who are compared.
    """
    if name in ("", "tfidf"):
        return None
    if name == "tower":
        encode = models.load_tower(tower, device=device).encode_texts
        return encoded_similarity(encode, encode, corpus)
    model = SentenceModel(name, device=device)
    return encoded_similarity(
        lambda texts: model.encode_texts(texts, prompt=model.prompt("query")),
        lambda texts: model.encode_texts(texts, prompt=model.prompt("document", "passage")),
        corpus,
    )


# ---------------------------------------------------------------------------------- sentence models

# what sentence-transformers calls the poolings that are known here
POOLINGS = {
    "cls": "first",
    "cls_token": "first",
    "mean": "mean",
    "mean_tokens": "mean",
    "lasttoken": "last",
}


class SentenceModel:
    """Sentences as float32 vectors of length 1, by a text model of transformers: safetensors only,
    none of its code.

    A folder or hub id in sentence-transformers' form (``modules.json``) is pooled as it says there:
    the first token, the last one, or the mean; another model's last states are averaged over the
    text's tokens. A batch changes no vector beyond rounding. ValueError for a module or pooling
    that is not known here.
    """

    def __init__(self, name: str, *, device: str = "cpu"):
        from transformers import AutoModel, AutoTokenizer

        self.name, self.device = name, device
        listed = self._json("modules.json")
        paths = {str(one["type"]).rpartition(".")[2]: one["path"] for one in listed}
        if unknown := sorted(set(paths) - {"Transformer", "Pooling", "Normalize"}):
            raise ValueError(
                f"text model {name}: module {unknown[0]} is not known here: choose another "
                "text model"
            )
        self.pooling = self._pooling(paths["Pooling"]) if "Pooling" in paths else "mean"
        folder: dict[str, Any] = {
            "subfolder": paths.get("Transformer", ""),
            "trust_remote_code": False,
        }
        self.tokenizer: Any = AutoTokenizer.from_pretrained(name, **folder)
        self.tokenizer.padding_side = "right"
        self.tokenizer.pad_token = self.tokenizer.pad_token or self.tokenizer.eos_token
        model: Any = AutoModel.from_pretrained(name, use_safetensors=True, **folder)
        self.model = model.to(device).float().eval()
        said = self._json("sentence_bert_config.json", folder["subfolder"])
        longest = (said.get("max_seq_length"), self.tokenizer.model_max_length, LONGEST_TEXT)
        self.longest = min(value for value in longest if value)
        self._prompts = self._json("config_sentence_transformers.json").get("prompts") or {}

    def prompt(self, *uses: str) -> str:
        """What the model wants before a text of this use ("query", "document"); "" where it names
        nothing.
        """
        return next((self._prompts[use] for use in uses if self._prompts.get(use)), "")

    def encode_texts(self, texts: list[str], *, batch: int = 64, prompt: str = "") -> np.ndarray:
        """float32 [N, D] of at least one text; the longest go first, so that little is padding."""
        import torch

        order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        parts = []
        with torch.inference_mode():
            for start in range(0, len(order), batch):
                part = [prompt + texts[place] for place in order[start : start + batch]]
                words = self.tokenizer(
                    part, padding=True, truncation=True, max_length=self.longest,
                    return_tensors="pt",
                ).to(self.device)  # fmt: skip
                state_BTD = self.model(**words).last_hidden_state
                pooled_BD = pool(state_BTD, words["attention_mask"], self.pooling)
                parts.append(torch.nn.functional.normalize(pooled_BD, dim=-1).cpu().numpy())
        return np.concatenate(parts)[np.argsort(order)]

    def _json(self, name: str, folder: str = "") -> Any:
        """What the model's file says; an empty object without the file."""
        from transformers.utils import cached_file

        path = cached_file(
            self.name, name, subfolder=folder, _raise_exceptions_for_missing_entries=False
        )
        return json.loads(Path(path).read_text(encoding="utf-8")) if path else {}

    def _pooling(self, folder: str) -> str:
        told = self._json("config.json", folder)
        modes = [told["pooling_mode"]] if "pooling_mode" in told else [
            name.removeprefix("pooling_mode_")
            for name, on in told.items()
            if on is True and name != "include_prompt"
        ]  # fmt: skip
        if told.get("include_prompt") is False:
            modes.append("without the prompt")
        if len(modes) != 1 or modes[0] not in POOLINGS:
            raise ValueError(
                f"text model {self.name}: pooling {' and '.join(modes)} is not known here "
                f"(one of {', '.join(POOLINGS)} is): choose another text model"
            )
        return POOLINGS[modes[0]]


def pool(state_BTD: torch.Tensor, mask_BT: torch.Tensor, kind: str) -> torch.Tensor:
    """One vector a text [B, D] from its tokens' states: ``first``, ``last`` or ``mean``; padding
    (mask 0, on the right) has no part in it.
    """
    if kind == "first":
        return state_BTD[:, 0]
    length_B1 = mask_BT.sum(1, keepdim=True).clamp(min=1)
    if kind == "last":
        return state_BTD.take_along_dim(length_B1[:, :, None] - 1, 1)[:, 0]
    return (state_BTD * mask_BT[:, :, None]).sum(1) / length_B1
