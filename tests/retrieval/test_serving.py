"""Served scores equal our own: the stock model answers behind a server of our own on loopback."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
import torch
from chat_server import Reply, chat_server
from PIL import Image
from transformers.video_utils import VideoMetadata

from sportskills_lib.retrieval.relevance import model, served
from sportskills_lib.retrieval.relevance.served import Server


def stand_in(vlm, *, shown=20):
    """An answerer: the frames out of the request, its text through the stock processor and model,
    top log-probs.
    """

    def answer(request, number):
        assert request["max_tokens"] == 1 and request["logprobs"] and request["temperature"] == 0
        assert request["mm_processor_kwargs"] == {
            "do_sample_frames": False,
            "fps": model.NOMINAL_FPS,
        }
        (message,) = request["messages"]
        videos, content = [], []
        for part in message["content"]:
            if part["type"] == "video_url":
                head, _, data = part["video_url"]["url"].partition(",")
                assert head == "data:video/jpeg;base64"
                files = [io.BytesIO(base64.b64decode(frame)) for frame in data.split(",")]
                videos.append(
                    np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
                )
            content.append({"type": "video"} if part["type"] == "video_url" else part)
        text = vlm.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        frames = len(videos[0])
        metadata = VideoMetadata(
            total_num_frames=frames, fps=model.NOMINAL_FPS, frames_indices=list(range(frames))
        )
        inputs = vlm.processor(
            text=[text], videos=videos, video_metadata=[metadata] * 2, do_sample_frames=False,
            cap_pixels_per_frame=False, return_tensors="pt",
        )  # fmt: skip
        with torch.no_grad():
            logs = vlm.stock(**inputs).logits[0, -1].log_softmax(-1)
        names = vlm.processor.tokenizer.convert_ids_to_tokens(range(len(logs)))
        best = logs.argsort(descending=True)[:shown].tolist()
        return completion([(names[i], round(float(logs[i]), 5)) for i in best])

    return answer


def completion(tops, *, logprobs=True):
    content = [{"token": tops[0][0], "logprob": tops[0][1], "bytes": None, "top_logprobs": [
        {"token": token, "logprob": value, "bytes": None} for token, value in tops
    ]}] if tops else []  # fmt: skip
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "x"},
        "finish_reason": "length",
    }
    choice["logprobs"] = {"content": content} if logprobs else None
    whole = {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [choice],
    }
    return Reply(body=json.dumps(whole).encode())


def test_served_scores_are_ours_within_the_stated_tolerance(tiny_vlm, videos, narrations):
    visual, grid = model.encode_videos(tiny_vlm, videos), tiny_vlm.grid(videos.shape[1:])
    (ours,) = model.score_pairs(tiny_vlm, visual, grid, [(0, list(range(1, 9)))], narrations)
    with chat_server(stand_in(tiny_vlm, shown=400)) as server:
        found = Server(server.url, "m", concurrency=2).scores(
            [(videos[0], videos[i], narrations[i]) for i in range(1, 9)]
        )
    np.testing.assert_allclose([one.score for one in found], ours, atol=served.SCORE_TOLERANCE)
    assert not any(one.reason for one in found)
    with chat_server(stand_in(tiny_vlm, shown=400)) as server:
        (alone,) = Server(server.url, "m").scores([(videos[0], videos[3], None)])
    (plain,) = model.score_pairs(tiny_vlm, visual, grid, [(0, [3])], None)
    assert alone.score == pytest.approx(plain[0], abs=served.SCORE_TOLERANCE)


def test_a_missing_answer_is_a_bound_and_two_are_no_score(videos):
    cases = {
        "bound": [("yes", -0.5), ("maybe", -1.0), ("x", -7.0)],
        "none": [("maybe", -0.5), ("Yes", -1.0)],
        "both": [("no", -0.25), ("yes", -2.0)],
    }
    for name, tops in cases.items():
        with chat_server(lambda request, number, tops=tops: completion(tops)) as server:
            (found,) = Server(server.url, "m").scores([(videos[0], videos[1], None)])
        if name == "none":
            assert (
                np.isnan(found.score)
                and "neither yes nor no among the likeliest tokens ('maybe'" in found.reason
            )
        else:
            assert found.score == {"bound": 6.5, "both": -1.75}[name]


@pytest.mark.parametrize("tops", [None, []])
def test_a_server_without_log_probabilities_says_so(videos, tops):
    with chat_server(lambda *_: completion(tops or [], logprobs=tops is not None)) as server:
        (found,) = Server(server.url, "m").scores([(videos[0], videos[1], None)])
    assert np.isnan(found.score) and "sends no log-probabilities" in found.reason


def test_busy_servers_are_asked_again_and_failures_cost_one_pair(videos):
    def answer(request, number):
        if number < 2:
            return Reply("busy", status=(429, 503)[number])
        return (
            completion([("yes", -1.0), ("no", -2.0)])
            if number == 2
            else Reply("too long", status=400)
        )

    with chat_server(answer) as server:
        pairs = [(videos[0], videos[1], None), (videos[0], videos[2], None)]
        found = Server(server.url, "m", concurrency=1).scores(pairs)
    assert found[0].score == 1.0 and len(server.requests) == 4
    assert np.isnan(found[1].score) and found[1].reason.startswith("status 400")


def test_a_wrong_name_or_address_is_an_error(videos):
    with (
        chat_server(lambda *_: Reply("no such model", status=404)) as server,
        pytest.raises(ValueError, match="refuses model 'm'"),
    ):
        Server(server.url, "m").scores([(videos[0], videos[1], None)])
    with pytest.raises(ValueError, match="has no address"):
        Server("", "m")
    (lost,) = Server("http://127.0.0.1:9/v1", "m", attempts=2).scores(
        [(videos[0], videos[1], None)]
    )
    assert np.isnan(lost.score) and "APIConnectionError" in lost.reason
