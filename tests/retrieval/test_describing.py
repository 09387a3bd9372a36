"""The model as a speaker: likelihoods equal the plain ones, and what everybody would hear gains
nothing.
"""

from __future__ import annotations

import numpy as np
import torch

from sportskills_lib.retrieval.relevance import pair_scorer
from sportskills_lib.retrieval.relevance.model import encode_videos


def test_likelihoods_equal_the_stock_models(tiny_vlm, videos):
    """The oracle: one prompt and its answer through the stock model, nothing shared."""
    visual, grid = encode_videos(tiny_vlm, videos), tiny_vlm.grid(videos.shape[1:])
    texts = ["reach for the far wall", "light the torch", "a", "b c", "d e f", "g", "h i j k"]
    found = [
        pair_scorer.sentence_logprobs(tiny_vlm, visual, grid, 0, texts),
        pair_scorer.sentence_logprobs(tiny_vlm, visual, grid, 1, texts[:2]),
    ]
    assert [len(part) for part in found] == [7, 2]
    for learner, text, score in [
        (0, texts[0], found[0][0]),
        (0, texts[6], found[0][6]),
        (1, texts[1], found[1][1]),
    ]:
        asked = tiny_vlm.prompt_ids(pair_scorer.speaking_messages(), grid)
        answer = tiny_vlm.processor.tokenizer(text + "<|im_end|>")["input_ids"]
        ids = torch.tensor([asked + answer])
        inner = tiny_vlm.stock.model
        embeds = inner.get_input_embeddings()(ids)
        embeds = embeds.masked_scatter(
            (ids == inner.config.video_token_id)[..., None], visual[learner]
        )
        positions = torch.from_numpy(tiny_vlm.positions(ids[0].tolist(), grid))[:, None]
        with torch.no_grad():
            hidden = inner.language_model(
                inputs_embeds=embeds, position_ids=positions
            ).last_hidden_state
            logs = tiny_vlm.stock.lm_head(hidden)[0].log_softmax(-1)
        expected = sum(float(logs[len(asked) + i - 1, token]) for i, token in enumerate(answer))
        np.testing.assert_allclose(score, expected, atol=1e-3)


def test_what_is_likely_for_everybody_gains_nothing():
    own, other = np.array([-3.0, -1.0]), np.array([-5.0, -1.0])
    np.testing.assert_allclose(pair_scorer.surprise(own, [other, other]), [2.0, 0.0])
    np.testing.assert_allclose(pair_scorer.surprise(own, []), own)
