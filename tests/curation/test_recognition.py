"""Speech recognition: sound in windows, a tiny Whisper made here, and what has no sound."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import polars as pl
import pytest
from films import grey_steps, write_film, write_lesson

from sportskills_lib.config import CurationConfig
from sportskills_lib.curation import speech_recognition
from sportskills_lib.curation.captions.caption_reader import read_captions
from sportskills_lib.curation.stage import curate
from sportskills_lib.formats.untrusted_json import UnusableRow


def write_sound(path: Path, samples: np.ndarray, *, rate_hz: int = 16_000) -> Path:
    """A grey film of the sound's length with this mono sound, float32 -1 … 1."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=1)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=rate_hz, layout="mono")
        for i, image in enumerate(grey_steps(int(len(samples) / rate_hz) + 1)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for first in range(0, len(samples), 1024):
            piece = av.AudioFrame.from_ndarray(
                samples[None, first : first + 1024], format="fltp", layout="mono"
            )
            piece.sample_rate, piece.pts = rate_hz, first
            container.mux(audio.encode(piece))
        container.mux(audio.encode())
    return path


def tone(seconds: float, *, rate_hz: int = 16_000) -> np.ndarray:
    return (0.3 * np.sin(np.arange(int(seconds * rate_hz)) * 2 * np.pi * 440 / rate_hz)).astype(
        np.float32
    )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper of a few thousand parameters with random weights and a tokenizer of single
    bytes.
    """
    import torch
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import (  # fmt: skip
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )

    vocab = {letter: i for i, letter in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = WhisperTokenizer(vocab=vocab, merges=[])
    names = [
        "<|startoftranscript|>",
        "<|en|>",
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
    ]
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [*names, "<|nospeech|>", "<|notimestamps|>"]}
    )
    tokenizer.add_tokens([f"<|{i * 0.02:.2f}|>" for i in range(1501)])
    ident = tokenizer.convert_tokens_to_ids
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_mel_bins=80,
        pad_token_id=ident("<|endoftext|>"),
        bos_token_id=ident("<|endoftext|>"),
        eos_token_id=ident("<|endoftext|>"),
        decoder_start_token_id=ident("<|startoftranscript|>"),
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        no_timestamps_token_id=ident("<|notimestamps|>"),
        decoder_start_token_id=ident("<|startoftranscript|>"),
        eos_token_id=ident("<|endoftext|>"),
        pad_token_id=ident("<|endoftext|>"),
        max_new_tokens=12,
        is_multilingual=True,
        lang_to_id={"<|en|>": ident("<|en|>")},
        alignment_heads=[[0, 0], [0, 1]],
        task_to_id={"transcribe": ident("<|transcribe|>"), "translate": ident("<|translate|>")},
        suppress_tokens=list(range(ident("<|endoftext|>") + 1)[-1:])
        + [ident(name) for name in names],
        max_initial_timestamp_index=50,
        prev_sot_token_id=ident("<|startofprev|>"),
    )
    folder = tmp_path_factory.mktemp("whisper")
    model.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


def test_sound_comes_in_windows_cut_where_it_is_quiet(tmp_path: Path) -> None:
    sound = np.concatenate([tone(27), np.zeros(16_000, np.float32), tone(12)])
    windows = list(speech_recognition.read_sound(write_sound(tmp_path / "long.mp4", sound)))
    assert len(windows) == 2
    assert 27.0 < windows[1][0] < 28.1  # in the silence
    assert windows[1][0] == pytest.approx(windows[0][0] + len(windows[0][1]) / 16_000)
    assert sum(len(samples) for _, samples in windows) == pytest.approx(len(sound), abs=4000)
    assert np.abs(windows[0][1]).max() == pytest.approx(0.3, abs=0.05)


def test_sound_at_another_rate_is_resampled(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "fast.mp4", tone(2, rate_hz=44_100), rate_hz=44_100)
    (window,) = speech_recognition.read_sound(path)
    assert len(window[1]) == pytest.approx(32_000, abs=3000)


def test_a_video_without_sound_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnusableRow, match="no sound track") as raised:
        list(speech_recognition.read_sound(write_film(tmp_path / "mute.mp4", grey_steps(5))))
    assert raised.value.reason == "no_sound"
    (tmp_path / "torn.mp4").write_bytes(b"no film")
    with pytest.raises(UnusableRow) as raised:
        list(speech_recognition.read_sound(tmp_path / "torn.mp4"))
    assert raised.value.reason == "unreadable_sound"


def test_what_is_heard_is_read_as_captions_at_its_times(tmp_path: Path) -> None:
    def parrot(samples: np.ndarray) -> list[dict]:
        return [
            {"text": " bend", "timestamp": (0.5, 1.0)},
            {"text": " low", "timestamp": (1.0, None)},
        ]

    film = write_sound(
        tmp_path / "a.mp4", np.concatenate([tone(27), np.zeros(16_000, np.float32), tone(5)])
    )
    speech_recognition.transcribe(film, parrot, tmp_path / "heard.json")
    words = read_captions(tmp_path / "heard.json").words
    assert [word.text for word in words] == ["bend", "low", "bend", "low"]
    assert words[0].start_s == pytest.approx(0.5, abs=0.1)
    assert words[2].start_s == pytest.approx(28.0, abs=0.7)
    with pytest.raises(UnusableRow) as raised:
        speech_recognition.transcribe(film, lambda samples: [], tmp_path / "nothing.json")
    assert raised.value.reason == "no_speech"


def test_a_tiny_whisper_hears_something_with_word_times(checkpoint: Path) -> None:
    segments = speech_recognition.load_recogniser(str(checkpoint))(tone(3))
    assert segments
    assert all(isinstance(heard["text"], str) for heard in segments)
    assert all(len(heard["timestamp"]) == 2 for heard in segments)


def test_a_model_that_is_none_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"speech_model .* cannot be loaded"):
        speech_recognition.load_recogniser(str(tmp_path))


def test_videos_without_captions_are_heard_only_if_asked(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("said", "silent", "mute"):
        write_lesson(
            tmp_path / "lessons",
            name,
            [("Bend your knees and drop.", True), ("Keep the hips low.", True)],
        )
    for name in ("silent", "mute"):
        (tmp_path / "lessons" / f"{name}.en.vtt").unlink()
    write_sound(tmp_path / "lessons" / "silent.mp4", tone(6))
    off = curate(tmp_path / "lessons", CurationConfig(workers=0))
    assert off.dropped["reason"].to_list() == ["no_captions", "no_captions"]
    coach = [{"text": "Turn your hips now.", "timestamp": (0.5, 2.0)}]
    monkeypatch.setattr(
        speech_recognition, "load_recogniser", lambda model, language: lambda samples: coach
    )
    on = curate(
        tmp_path / "lessons",
        CurationConfig(workers=0, speech_model="any"),
        shards=tmp_path / "shards",
    )
    assert on.dropped.select("item_id", "reason").rows() == [("mute", "no_sound")]
    heard = on.narrations.filter(pl.col("video_id") == "silent")
    assert heard.select("text", "transcription").rows() == [("Turn your hips now.", "recognised")]
    assert json.loads((tmp_path / "shards" / "speech" / "silent.recognised.json").read_text())[
        "segments"
    ]
