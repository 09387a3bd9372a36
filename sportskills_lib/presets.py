"""The presets: what each sets besides the defaults of :mod:`sportskills_lib.config`."""

from __future__ import annotations

from typing import Any, Literal

PresetName = Literal["smoke", "demo", "local", "paper"]

# What each preset sets besides the defaults, by stage.
PRESETS: dict[PresetName, dict[str, dict[str, Any]]] = {
    "demo": {},
    "smoke": {
        "01_curation": {"source": "data/raw/smoke/lessons"},
        "02_pairing": {"source": "data/raw/smoke/lessons"},
        "03_encoder": {
            "model": "data/raw/smoke/models/base_clip",
            "learning_rates": [1e-3],
            "steps": 4,
            "evaluate_every": 2,
            "sports_per_batch": 2,
            "clips_per_sport": 8,
            "video_steps": 4,
        },
        "04_retrieval": {
            "learners": "data/raw/smoke/learners",
            "ratings": "data/raw/smoke/ratings.csv",
            "model": "data/raw/smoke/models/base_vlm",
            "text_steps": 4,
            "dual_steps": 4,
            "steps": 4,
            "evaluate_every": 2,
        },
        "05_evaluation": {
            "ratings": "data/raw/smoke/ratings.csv",
            "truth": "data/raw/smoke/truth",
            # so that every path is walked; far too few for a figure that means anything
            "min_gallery": 12,
            "gallery_size": 12,
            "draws": 200,
        },
        "06_analysis": {"draws": 200},
    },
    "local": {
        "04_retrieval": {"learners": "", "ratings": ""},
        "05_evaluation": {"ratings": "", "truth": ""},
    },
    "paper": {
        "02_pairing": {"frames": 16, "size_px": 224},
        "03_encoder": {
            "model": "ViT-B-16",
            "pretrained": "openai",
            "learning_rates": [1e-5, 3e-5],
            "trial_steps": 500,
            "steps": 10000,
            "warmup_steps": 500,
            "frozen": [],
            "native_model": "microsoft/xclip-base-patch32",
            "false_negatives": ["video", "skill_cue"],
            "one_clip_per_video": True,
            "sports_per_batch": 8,
            "clips_per_sport": 32,
            "train_frames": 8,
            "shift_px": 12,
            "video_layers": 4,
            "video_heads": 8,
            "video_learning_rates": [1e-4, 3e-4],
            "video_steps": 10000,
            "evaluate_every": 500,
            "checkpoint_every": 500,
            "precision": "bf16",
            "loader_threads": 8,
            "trackers": ["tensorboard"],
            "jobs": 1,
            "device": "cuda",
            # 256 clips of 8 frames at once need more than any GPU has: see `sportskills plan 03`
            "chunk": 32,
        },
        "04_retrieval": {
            "learners": "data/raw/egoexo4d",
            "ratings": "",
            "model": "Qwen/Qwen2.5-VL-7B-Instruct",
            "device": "cuda",
            "learning_rate": 1e-4,
            "text_steps": 500,
            "dual_steps": 2000,
            "dual_learning_rate": 1e-3,
            "steps": 2000,
            "evaluate_every": 200,
            "learners_per_pass": 1,
            "token_store_gb": 200.0,
            "shortlist": 100,
        },
        "05_evaluation": {"ratings": "", "truth": ""},
    },
}
