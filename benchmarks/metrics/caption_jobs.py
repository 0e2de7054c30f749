"""The child process of `captions`: a job on standard input, its result on standard output.

Jobs: tokenise (PTB, Java), overlap (BLEU, ROUGE-L, CIDEr), meteor (Java), spice (Java).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pycocoevalcap
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer import ptbtokenizer

HOME = Path(pycocoevalcap.__path__[0])
Payload = dict[str, list[list[str]]]


def tokenise(payload: Payload) -> dict[str, Any]:
    """Captions as PTB tokens in lower case without punctuation, with pycocoevalcap's jar and list.

    Its own wrapper writes its input beside the jar, which an installed package may not allow.
    """
    sizes = [(name, len(texts)) for name in payload for texts in payload[name]]
    lines = [text for name in payload for texts in payload[name] for text in texts]
    jar = HOME / "tokenizer" / ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "captions.txt"
        source.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
        done = subprocess.run(
            ["java", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-encoding",
             "UTF-8", "-preserveLines", "-lowerCase", str(source)],
            capture_output=True, text=True, encoding="utf-8", check=True,
        )  # fmt: skip
    tokenised = done.stdout.split("\n")[: len(lines)]
    if len(tokenised) != len(lines):
        sys.exit(f"the PTB tokenizer gave {len(tokenised)} lines for {len(lines)} captions")
    kept = iter(
        " ".join(w for w in line.rstrip().split(" ") if w not in ptbtokenizer.PUNCTUATIONS)
        for line in tokenised
    )
    found: Payload = {name: [] for name in payload}
    for name, size in sizes:
        found[name].append([next(kept) for _ in range(size)])
    return found


def overlap(payload: Payload) -> dict[str, Any]:
    """BLEU-1..4 with its counts per image, ROUGE-L and CIDEr per image."""
    references, captions = _keyed(payload)
    scorer = BleuScorer(n=4)
    for key, caption in captions.items():
        scorer += (caption[0], references[key])
    bleu, _ = scorer.compute_score(option="closest", verbose=0)
    counts = [
        [c["testlen"], min((abs(r - c["testlen"]), r) for r in c["reflen"])[1],
         *c["correct"], *c["guess"]]
        for c in scorer.ctest
    ]  # fmt: skip
    return {
        "bleu": bleu,
        "bleu_counts": counts,
        "rouge_l": list(Rouge().compute_score(references, captions)[1]),
        "cider": list(Cider().compute_score(references, captions)[1]),
    }


def meteor(payload: Payload) -> dict[str, Any]:
    """METEOR 1.5 over the corpus (its own aggregate, not the mean over images)."""
    references, captions = _keyed(payload)
    return {"meteor": float(Meteor().compute_score(references, captions)[0])}


def spice(payload: Payload) -> dict[str, Any]:
    """SPICE per image, if its CoreNLP jars are in place; never fetched from here."""
    library = HOME / "spice" / "lib"
    if not list(library.glob("stanford-corenlp-3.6.0*.jar")):
        sys.exit(
            "SPICE needs stanford-corenlp-3.6.0.jar and its models in "
            f"{library.relative_to(HOME.parent)} (pycocoevalcap can fetch them)"
        )
    from pycocoevalcap.spice.spice import Spice

    references, captions = _keyed(payload)
    per_image = Spice().compute_score(references, captions)[1]
    return {"spice": [row["All"]["f"] for row in per_image]}


JOBS: dict[str, Callable[[Payload], dict[str, Any]]] = {
    "tokenise": tokenise,
    "overlap": overlap,
    "meteor": meteor,
    "spice": spice,
}


def _keyed(payload: Payload) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    return dict(enumerate(payload["references"])), dict(enumerate(payload["captions"]))


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as output:
        os.dup2(2, 1)  # scorers and Java print: keep standard output for the result
        with contextlib.redirect_stdout(sys.stderr):
            result = JOBS[sys.argv[1]](json.load(sys.stdin))
        json.dump(result, output)
