"""What the fields of a record.json must be: whoever reads one, reads it through this. No torch."""

from __future__ import annotations

from x2vlm.plain import (
    ANY,
    FILE_NAME,
    FLAG,
    NAME,
    TEXT,
    listed,
    mapped,
    number,
    optional,
    shaped,
    whole,
    word,
)

SUITES = ("mini", "official", "own")
SCORE = number(-1e15, 1e15)
"""of any metric, in its own unit"""

MEASURE = shaped(
    {"value": optional(SCORE), "n": whole(0)},
    {"standard_error": optional(number(0, 1e15)), "note": TEXT},
)

SKIPPED = shaped({"source": TEXT, "reason": TEXT}, {"id": TEXT})
"""a row that was left out, and why"""

MODEL = shaped(
    {"name": NAME},
    {
        "parameters": optional(whole(0)),
        "resolution": optional(whole(0)),
        "weights_sha256": optional(TEXT),
        "checkpoint": optional(TEXT),
        "pretraining": optional(TEXT),
        "new_heads": listed(TEXT),
    },
)

PREDICTIONS = shaped({}, {"file": FILE_NAME, "sha256": TEXT, "count": whole(0)})

DATA = shaped(
    {},
    {
        "fingerprint": TEXT,
        "notes": listed(TEXT),
        "train_skipped": listed(SKIPPED),
        "partial": mapped(TEXT),
        "missing_languages": listed(TEXT),
    },
)

SETTINGS = shaped(
    {"benchmark": NAME},
    {
        **dict.fromkeys(("protocol", "device"), NAME),
        **dict.fromkeys(("split", "train_split", "out", "name"), TEXT),
        **dict.fromkeys(("languages", "train_languages"), listed(NAME)),
        **dict.fromkeys(("options", "scoring", "train", "predict"), mapped(ANY)),
        "model": shaped(
            {},
            dict.fromkeys(("name", "checkpoint", "shipped", "tokenizer", "pretraining"), TEXT),
        ),
        "data": shaped({}, {"root": TEXT, "layout": TEXT, "files": mapped(TEXT)}),
        "seed": whole(),
        "floor": optional(SCORE),
    },
)
"""of a run: the texts, lists and parts; `Plan` knows the numbers and what is allowed"""

PRETRAINED = shaped({"plan": shaped({"train": mapped(ANY)}), "sha256": TEXT})
"""what is read again of the note beside pre-trained weights"""

RECORD = shaped(
    {
        "benchmark": NAME,
        "benchmark_version": whole(0),
        "split": NAME,
        "protocol": NAME,
        "headline": NAME,
        "metrics": mapped(MEASURE),
        "n": whole(0),
        "limit": optional(whole(0)),
        "seed": whole(),
        "model": MODEL,
        "predictions": PREDICTIONS,
        "config": SETTINGS,
        "revision": shaped({"commit": optional(TEXT), "dirty": optional(FLAG)}),
        "packages": mapped(TEXT),
        "hardware": mapped(ANY),
        "created": TEXT,
    },
    {
        "suite": word(*SUITES),
        "chance": mapped(SCORE),
        "perfect": optional(SCORE),
        "lower_is_better": listed(TEXT),
        "floor": optional(shaped({"value": SCORE, "met": FLAG})),
        "seconds": mapped(number(0)),
        "skipped": listed(SKIPPED),
        "data": DATA,
        "video": optional(mapped(ANY)),
    },
)
