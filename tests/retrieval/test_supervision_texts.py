"""Text models of transformers as readers: every pooling against a plain loop, batches, prompts, and
what is refused.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from sportskills_lib.retrieval.supervision.text_similarity import (
    SentenceModel,
    encoded_similarity,
    open_similarity,
    pool,
)

WORDS = [
    "reach",
    "for",
    "the",
    "far",
    "wall",
    "light",
    "torch",
    "in",
    "front",
    "broken",
    "wing",
    "spoils",
    "it",
    "query",
    "passage",
    ":",
    "Keep",
    "your",
    "elbow",
    "high",
]
TEXTS = [
    "reach for the far wall",
    "light the torch",
    "the broken wing spoils it in front",
    "wing",
    "light the torch",
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A random little BERT with a word tokenizer, saved as transformers does."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("text") / "bert"
    vocabulary = {
        word: i
        for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys(WORDS)])
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=12,
    )
    fast.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def sentence_transformer(folder, target, pooling, *, prompts=None, kinds=()):
    """The same weights in sentence-transformers' form."""
    import shutil

    shutil.copytree(folder, target)
    modules = ["Transformer", "Pooling", *kinds, "Normalize"]
    paths = ["" if kind == "Transformer" else f"{i}_{kind}" for i, kind in enumerate(modules)]
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(zip(modules, paths, strict=True))
    ]
    (target / "modules.json").write_text(json.dumps(listed))
    (target / "1_Pooling").mkdir()
    (target / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (target / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 6}))
    if prompts:
        (target / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    return target


def states(model, text):
    """The last states of one text alone, without padding: float [T, D]."""
    import torch

    words = model.tokenizer([text], truncation=True, max_length=model.longest, return_tensors="pt")
    with torch.no_grad():
        return model.model(**words).last_hidden_state[0].numpy()


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_a_model_without_pooling_of_its_own_is_averaged_and_a_batch_changes_nothing(plain):
    model = SentenceModel(str(plain))
    got = model.encode_texts(TEXTS)
    assert got.dtype == np.float32 and got.shape == (5, 16)
    np.testing.assert_allclose(
        got, unit(np.stack([states(model, text).mean(0) for text in TEXTS])), atol=1e-6
    )
    np.testing.assert_allclose(
        model.encode_texts(TEXTS, batch=1), model.encode_texts(TEXTS, batch=8), atol=1e-6
    )
    np.testing.assert_allclose(got[1], got[4], atol=1e-6)
    assert model.longest == 12 and np.isfinite(model.encode_texts(["wall " * 100, ""])).all()


POOLS = {
    "cls_token": lambda rows: rows[0],
    "mean_tokens": lambda rows: rows.mean(0),
    "lasttoken": lambda rows: rows[-1],
}


@pytest.mark.parametrize("kind", POOLS)
def test_the_models_own_pooling(plain, tmp_path, kind):
    told = {f"pooling_mode_{name}": name == kind for name in POOLS} | {
        "word_embedding_dimension": 16
    }
    model = SentenceModel(str(sentence_transformer(plain, tmp_path / "st", told)))
    assert model.longest == 6
    want = unit(np.stack([POOLS[kind](states(model, text)) for text in TEXTS]))
    np.testing.assert_allclose(model.encode_texts(TEXTS, batch=3), want, atol=1e-6)


def test_a_models_own_prompts(plain, tmp_path):
    told = {"pooling_mode_cls_token": True, "include_prompt": True}
    prompts = {"query": "query : ", "passage": ""}
    model = SentenceModel(str(sentence_transformer(plain, tmp_path / "st", told, prompts=prompts)))
    want = unit(np.stack([states(model, "query : " + text)[0] for text in TEXTS]))
    np.testing.assert_allclose(
        model.encode_texts(TEXTS, prompt=model.prompt("query")), want, atol=1e-5
    )
    assert model.prompt("document", "passage") == ""


def test_what_is_not_known_is_refused_by_name(plain, tmp_path):
    with pytest.raises(ValueError, match="pooling weightedmean_tokens is not known"):
        SentenceModel(
            str(
                sentence_transformer(
                    plain, tmp_path / "a", {"pooling_mode_weightedmean_tokens": True}
                )
            )
        )
    with pytest.raises(ValueError, match="module CNN is not known"):
        SentenceModel(
            str(
                sentence_transformer(plain, tmp_path / "b", {"pooling_mode": "mean"}, kinds=["CNN"])
            )
        )
    both = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    with pytest.raises(ValueError, match="pooling cls_token and mean_tokens is not known"):
        SentenceModel(str(sentence_transformer(plain, tmp_path / "d", both)))
    with pytest.raises(ValueError, match="without the prompt is not known"):
        told = {"pooling_mode": "mean", "include_prompt": False}
        SentenceModel(str(sentence_transformer(plain, tmp_path / "c", told)))


def test_weights_that_are_no_safetensors_are_refused(plain, tmp_path):
    import shutil

    import torch
    from safetensors.torch import load_file

    folder = shutil.copytree(plain, tmp_path / "old")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match="safetensors"):
        SentenceModel(str(folder))


def test_padding_has_no_part_in_any_pooling():
    import torch

    state = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    changed = state.clone()
    changed[0, 3:] = 1e6
    for kind in ("first", "last", "mean"):
        assert torch.equal(pool(state, mask, kind), pool(changed, mask, kind))


def test_a_reading_is_centred_and_encodes_each_text_once(plain):
    model, calls = SentenceModel(str(plain)), []

    def encode(texts):
        calls.append(texts)
        return model.encode_texts(texts)

    similarity = encoded_similarity(encode, encode, TEXTS)
    scores = similarity(["wing", "wing", "light"], TEXTS[:3])
    similarity(["light"], TEXTS)
    assert calls == [sorted(set(TEXTS)), ["light", "wing"]]
    vectors = model.encode_texts([*TEXTS, "light"])
    centre = model.encode_texts(sorted(set(TEXTS))).mean(0)
    want = unit(vectors[[3, 3, 5]] - centre) @ unit(vectors[:3] - centre).T
    np.testing.assert_allclose(scores, want, atol=1e-6)
    assert similarity([], TEXTS).shape == (0, 5)


def test_one_door(plain, tmp_path):
    assert (
        open_similarity("tfidf", TEXTS, tower=tmp_path)
        is None
        is open_similarity("", TEXTS, tower=tmp_path)
    )
    reading = open_similarity(str(plain), TEXTS, tower=tmp_path)
    assert reading is not None and reading(["wing"], ["wing"]).item() == pytest.approx(1, abs=1e-6)
