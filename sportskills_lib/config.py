"""One frozen model per stage.

The defaults are the ``demo`` preset: they are what a notebook's ``parameters`` cell shows (a test
compares the two). Every field is flat and typed, with its unit in its name, so that papermill can
set it. Where the paper (arXiv 2603.25163) gives no value, the value is our choice and its
description says so.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError

from sportskills_lib.presets import PRESETS, PresetName
from sportskills_lib.stage_config import RUNTIME_ONLY, StageConfig, current_name, did_you_mean

EncoderKind = Literal["image", "video", "native"]
Arm = Literal[
    "activity_sport", "activity_skill", "narrations", "narrations_shuffled", "both",
    "activity_dataset",
]  # fmt: skip
FalseNegativeRule = Literal["video", "skill_cue", "similarity"]


class ChatConfig(StageConfig):
    """A chat model that a stage may ask; its key is read from OPENAI_API_KEY, never from here."""

    chat_url: str = Field(
        "", description="address of an OpenAI-compatible server; empty: $OPENAI_BASE_URL"
    )
    chat_model: str = Field("", description="the model's name at that server")
    chat_concurrency: int = Field(4, ge=1, description="questions under way at the same time")
    chat_timeout_s: float = Field(
        120.0, gt=0, description="a server that sends nothing for so long is asked again"
    )
    chat_budget_usd: float = Field(
        0.0, ge=0, description="most dollars that this run may spend; 0: no limit"
    )
    chat_usd_in: float = Field(0.0, ge=0, description="price of a million tokens read by the model")
    chat_usd_out: float = Field(0.0, ge=0, description="price of a million tokens it writes")


class CurationConfig(ChatConfig):
    """01: from a folder of videos and captions to actionable narrations. All values are ours."""

    source: str = Field(
        "data/raw/demo/lessons",
        description="folder in yt-dlp's layout, relative to the workspace",
    )
    language: str = Field("en", description="caption language that is read")
    max_gap_s: float = Field(1.0, description="a longer pause ends a sentence")
    min_words: int = Field(3, description="a shorter sentence is dropped")
    speech_model: str = Field(
        "", description="Whisper checkpoint for videos without captions; empty: dropped"
    )
    timeout_s: float = Field(60.0, description="a file that takes longer to open is dropped")
    workers: int = Field(
        2,
        description="processes that open files; 0: none, for debugging",
        json_schema_extra=RUNTIME_ONLY,
    )
    judge: Literal["rules", "chat"] = Field("rules", description="what says what is actionable")


class PairingConfig(ChatConfig):
    """02: from narrations to clips and pairs. All values are ours."""

    source: str = Field("data/raw/demo/lessons", description="the same folder as in 01")
    signal_hz: float = Field(
        10.0, description="rate at which a whole video is looked at for cuts and motion"
    )
    max_lag_s: float = Field(
        1.2, description="largest lag between words and pictures that is corrected"
    )
    min_clip_s: float = Field(1.0, description="a shorter clip is dropped")
    max_clip_s: float = Field(10.0, description="a longer window is cut around the narration")
    judge: Literal["rules", "vlm", "chat"] = Field(
        "rules", description="who says what a window shows"
    )
    judge_model: str = Field(
        "", description="Qwen2.5-VL or Qwen3-VL for judge vlm: hub id or folder"
    )
    device: str = Field("cpu", description="where judge vlm runs: cpu or cuda")
    min_confidence: float = Field(
        0.5, description="a less probable answer is undecided, and makes no clip"
    )
    duplicate_similarity: float = Field(
        0.9, description="pictures of two clips so alike are copies"
    )
    frames: int = Field(8, description="frames kept for each clip")
    size_px: int = Field(64, description="height and width of the frames kept")
    val_fraction: float = Field(
        0.11, description="share of channels of a sport for validation, at least one"
    )
    test_fraction: float = Field(0.44, description="share of channels of a sport for testing")
    timeout_s: float = Field(300.0, description="a video that takes longer to read is dropped")
    workers: int = Field(
        2,
        description="processes that read video; 0: none, for debugging",
        json_schema_extra=RUNTIME_ONLY,
    )
    frame_cache_gb: float = Field(
        0.0,
        ge=0,
        description="decoded films kept for reruns with other judges; 0: none",
        json_schema_extra=RUNTIME_ONLY,
    )


class EncoderConfig(StageConfig):
    """03: the towers, trained on pairs. All values are ours."""

    model: str = Field(
        "data/raw/demo/models/base_clip", description="open_clip model name, or a folder with one"
    )
    pretrained: str = Field("", description="open_clip tag of public weights; empty for a folder")
    native_model: str = Field(
        "", description="X-CLIP for encoder native: hub id or folder; empty: none"
    )
    encoders: list[EncoderKind] = Field(
        ["image", "video"],
        description="frames averaged, joined in time, or a model of video",
    )
    arms: list[Arm] = Field(
        ["activity_sport", "activity_skill", "narrations"],
        description="what the training texts are",
    )
    train_sports: list[str] = Field([], description="sports that the arms train on; empty: all")
    activity_source: str = Field(
        "", description="videos and their labels, for the arm activity_dataset"
    )
    learning_rates: list[float] = Field(
        [5e-4, 1e-3, 2e-3], min_length=1, description="grid of highest learning rates"
    )
    trial_steps: int = Field(
        40, ge=1, description="steps of the short trial that chooses from the grid"
    )
    steps: int = Field(160, ge=1, description="optimiser steps")
    warmup_steps: int = Field(20, ge=0, description="steps of linear warm-up")
    frozen: list[str] = Field(
        ["visual.conv", "visual.bn", "visual.layer1"],
        description="beginnings of names of frozen weights",
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="rate of each layer as a share of the next one's"
    )
    weight_decay: float = Field(0.05, ge=0, description="AdamW's weight decay")
    loss: Literal["info_nce", "siglip"] = Field(
        "info_nce", description="softmax over the batch, or yes/no a pair"
    )
    false_negatives: list[FalseNegativeRule] = Field(
        [],
        description=(
            "which pairs are no negatives: of one video, of one skill and the same words, or with "
            "similar texts"
        ),
    )
    text_ceiling: float = Field(
        0.95, gt=0, le=1, description="texts more similar to the start tower say the same"
    )
    positive_margin: float = Field(
        0.0, ge=0, description="no negative scores higher above its positive; 0: any may"
    )
    hard_negatives: float = Field(
        0.0, ge=0, le=1, description="share of a sport's clips in a batch that look alike"
    )
    chunk: int = Field(
        0, ge=0, description="clips in memory at a time, same gradients; 0: the whole batch"
    )
    sports_per_batch: int = Field(4, ge=1, description="sports in a batch, all processes together")
    clips_per_sport: int = Field(24, ge=1, description="clips of each sport in a batch")
    accumulate: int = Field(1, ge=1, description="batches a step, each with its own negatives")
    one_clip_per_video: bool = Field(
        False, description="whether a batch never holds two clips of one video"
    )
    train_frames: int = Field(
        2, ge=1, description="random frames of each clip for image; video and native see all"
    )
    shift_px: int = Field(3, ge=0, description="largest random shift of a batch's frames")
    video_start: Literal["image_arm", "model"] = Field(
        "image_arm",
        description="where a video arm starts: image_arm (frame tower frozen) or model",
    )
    video_pooling: Literal["temporal", "attention", "mean"] = Field(
        "temporal", description="how video joins frames"
    )
    video_layers: int = Field(2, ge=1, description="layers of the temporal transformer")
    video_heads: int = Field(4, ge=1, description="heads of its attention")
    video_learning_rates: list[float] = Field(
        [3e-3], min_length=1, description="the grid of the video arms"
    )
    video_steps: int = Field(160, ge=1, description="optimiser steps of the video arms")
    evaluate_every: int = Field(80, ge=1, description="steps between validations")
    keep: Literal["last", "best"] = Field(
        "last", description="weights of the last step, or of the best validation"
    )
    patience: int = Field(
        0, ge=0, description="validations without a better recall before an arm stops; 0: never"
    )
    checkpoint_every: int = Field(
        80, ge=1, description="steps between checkpoints, from which a killed arm goes on"
    )
    precision: Literal["no", "bf16"] = Field("no", description="mixed precision: no or bf16")
    processes: int = Field(1, ge=1, description="processes that train one arm together, one a GPU")
    loader_threads: int = Field(
        1,
        ge=0,
        description="threads that make batches ahead of the model",
        json_schema_extra=RUNTIME_ONLY,
    )
    trackers: list[str] = Field([], description="of accelerate: tensorboard, wandb, trackio …")
    jobs: int = Field(
        2, ge=1, description="arms trained at the same time", json_schema_extra=RUNTIME_ONLY
    )
    device: str = Field("cpu", description="where the models run: cpu or cuda")
    seed: int = 0


class RetrievalConfig(ChatConfig):
    """04: weak supervision and the relevance model. All values are ours."""

    learners: str = Field(
        "data/raw/demo/learners",
        description="folder or file of learners, docs/learners.md; or empty",
    )
    ratings: str = Field(
        "data/raw/demo/ratings.csv", description="names the judged candidates; grades stay unread"
    )
    model: str = Field(
        "data/raw/demo/models/base_vlm", description="Qwen2.5-VL checkpoint: hub id or folder"
    )
    device: str = Field("cpu", description="where the models run: cpu or cuda")
    span_s: float = Field(
        3.0, gt=0, description="length of a learner's clip around the expert's moment"
    )
    positive_share: float = Field(
        0.2, description="a clip at this share of the best text similarity is a positive"
    )
    negative_share: float = Field(0.05, description="at or below it, a clip of the skill is none")
    mistake_label: float = Field(
        0.6, description="label of a clip that shows the mistake; a mended one has 1"
    )
    skill_negatives: int = Field(
        12, ge=0, description="negatives a learner from other skills of the sport"
    )
    lesson_mistakes: bool = Field(
        True, description="whether mistakes shown in training lessons teach as learners do"
    )
    random_negatives: int = Field(4, ge=0, description="negatives a learner from other sports")
    mined_negatives: int = Field(
        0, ge=0, description="negatives a learner from the first stage's best"
    )
    mined_depth: int = Field(
        50, ge=1, description="how many of the first stage's best clips are looked at for them"
    )
    text_similarity: str = Field(
        "tfidf", description="tfidf, tower (03's text tower), or a text model: folder, hub id"
    )
    similarity_floor: float = Field(
        0.0, description="a learner whose best clip is no more alike teaches nothing"
    )
    mask_similarity: str = Field(
        "tower", description="what masks negatives, as text_similarity; empty: the same one"
    )
    mask_against: Literal["none", "mean"] = Field(
        "mean",
        description="a negative must not come near the mean of the positives; none: no mask",
    )
    mask_margin: float = Field(0.1, description="how far below that it must stay")
    supervision_judge: Literal["similarity", "chat"] = Field(
        "similarity",
        description="who decides pairs near the thresholds: similarity, or a chat model too",
    )
    chat_pairs: int = Field(
        500,
        ge=0,
        description="most pairs that a chat model is asked about, of learners and of lessons each",
    )
    with_narration: bool = Field(
        True, description="whether the prompt quotes what the candidate's coach says"
    )
    loss: Literal["listwise", "pointwise", "margin_mse"] = Field(
        "listwise", description="softmax over a list, yes/no each, or labels' margins"
    )
    speaking_weight: float = Field(
        0.0, ge=0, description="weight of learning to say what helps; 0: not taught"
    )
    text_steps: int = Field(100, ge=0, description="optimiser steps of the text warm-up; 0: none")
    dual_steps: int = Field(400, ge=0, description="optimiser steps of the dual scorer; 0: none")
    dual_adapters: bool = Field(False, description="whether adapters learn with its head; slower")
    dual_learning_rate: float = Field(3e-3, gt=0, description="highest learning rate of its head")
    lent_comments: int = Field(8, ge=0, description="comments that a learner is lent; 0: none")
    skills_per_step: int = Field(4, ge=1, description="skills in its step, eight learners each")
    distill_steps: int = Field(0, ge=0, description="steps of its distillation into 03's encoder")
    distill_rate: float = Field(1e-3, gt=0, description="highest learning rate of the student")
    lora_rank: int = Field(32, ge=1, description="rank of the adapters")
    lora_alpha: int = Field(64, ge=1, description="scale of the adapters")
    learning_rate: float = Field(1e-3, gt=0, description="highest learning rate of the adapters")
    steps: int = Field(200, ge=0, description="optimiser steps of yes/no")
    learners_per_step: int = Field(
        8, ge=1, description="learners in a step, each with a list of candidates"
    )
    positives: int = Field(3, ge=1, description="at most so many positives in a list")
    list_size: int = Field(8, ge=2, description="candidates in a list")
    evaluate_every: int = Field(
        50, ge=1, description="steps between validations; the best adapter is kept"
    )
    learners_per_pass: int = Field(
        0, ge=0, description="learners in memory at a time, same gradients; 0: all of a step"
    )
    processes: int = Field(1, ge=1, description="processes that finetune together, one a GPU")
    quantize: Literal["no", "nf4"] = Field(
        "no", description="nf4: language model in 4 bits (QLoRA)"
    )
    token_store_gb: float = Field(
        4.0, ge=0, description="visual tokens kept on disk; 0: none", json_schema_extra=RUNTIME_ONLY
    )
    first_stage: Literal["image", "video"] = Field("video", description="encoder of 03 that ranks")
    search: Literal["sport", "all"] = Field(
        "sport", description="clips searched: of the sport, or all"
    )
    shortlist: int = Field(20, ge=1, description="clips a learner that the relevance model reranks")
    frames: int = Field(
        0, ge=0, description="frames of a video that the relevance model sees; 0: all of 02"
    )
    workers: int = Field(
        2,
        ge=0,
        description="processes that read the learners' videos",
        json_schema_extra=RUNTIME_ONLY,
    )
    seed: int = 0


class EvaluationConfig(StageConfig):
    """05: recall, significance, feedback retrieval. All values are ours."""

    ratings: str = Field("data/raw/demo/ratings.csv", description="coaches' grades; empty: none")
    truth: str = Field(
        "data/raw/demo/truth",
        description="the demo's truth, for audits only; may be missing or empty",
    )
    min_gallery: int = Field(50, description="a sport with fewer test clips is not evaluable")
    gallery_size: int = Field(
        100, ge=11, description="clips in a gallery of the size that all sports share"
    )
    draws: int = Field(2000, description="bootstrap draws over source videos within sport")
    seed: int = 0


class AnalysisConfig(StageConfig):
    """06: tables over the scores of 05. Nothing here changes a result of 05."""

    draws: int = Field(2000, description="bootstrap draws over source videos within sport")
    seed: int = 0


class InspectionConfig(StageConfig):
    """07: what is looked at. Nothing here changes a result."""

    against: str = Field("", description="another complete run, shown beside this one; empty: none")
    video: str = Field(
        "",
        description="a video whose way through 01 and 02 is shown; empty: one that lost its clips",
    )


CONFIGS: dict[str, type[StageConfig]] = {
    "01_curation": CurationConfig,
    "02_pairing": PairingConfig,
    "03_encoder": EncoderConfig,
    "04_retrieval": RetrievalConfig,
    "05_evaluation": EvaluationConfig,
    "06_analysis": AnalysisConfig,
    "07_inspection": InspectionConfig,
}


def setting_name(stage: str, name: str) -> str:
    """The name of a stage's setting today; ValueError for a name that the stage does not have."""
    known, current = CONFIGS[stage].model_fields, current_name(name)
    if current not in known:
        raise ValueError(f"{stage} has no parameter {name}: {did_you_mean(name, known)}")
    return current


def stage_config(stage: str, preset: PresetName = "demo", **overrides: Any) -> StageConfig:
    """The stage's config under a preset; ValueError names an unknown override, or a value that does
    not fit and what is allowed.
    """
    settings = {setting_name(stage, name): value for name, value in overrides.items()}
    try:
        return CONFIGS[stage](**PRESETS[preset].get(stage, {}) | settings)
    except ValidationError as error:
        first = error.errors()[0]
        place = f"{first['loc'][0]}={first['input']!r}: " if first["loc"] else ""
        text = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{stage}: {place}{text[:1].lower()}{text[1:]}") from None
