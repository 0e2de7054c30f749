"""Every benchmark by name: a literal table, so that listing them imports nothing else."""

from __future__ import annotations

import importlib
import importlib.util
import re
import traceback
from dataclasses import replace
from typing import NamedTuple

from benchmarks.base import Benchmark
from x2vlm.errors import ConfigError, unknown


class Entry(NamedTuple):
    """name: the id used everywhere. module: below `benchmarks.suites`. title: for people."""

    name: str
    module: str
    task: str
    title: str


BENCHMARKS: tuple[Entry, ...] = (
    Entry("coco_retrieval", "coco_retrieval", "retrieval", "COCO image-text retrieval, 5K test"),
    Entry("flickr30k_retrieval", "flickr30k_retrieval", "retrieval", "Flickr30K retrieval, 1K"),
    Entry("coco_captioning", "coco_captioning", "captioning", "COCO captioning, Karpathy test"),
    Entry("vqav2", "vqav2", "answering", "VQA v2"),
    Entry("nlvr2", "nlvr2", "classification", "NLVR2: true or false of two images"),
    Entry("refcoco", "refcoco", "grounding", "RefCOCO (unc)"),
    Entry("refcoco_plus", "refcoco", "grounding", "RefCOCO+ (unc)"),
    Entry("refcocog", "refcoco", "grounding", "RefCOCOg (umd)"),
    Entry("winoground", "winoground", "matching", "Winoground, zero-shot"),
    Entry("ovad", "ovad", "attributes", "OVAD: attributes of given boxes, zero-shot"),
    Entry("msrvtt_retrieval", "msrvtt_retrieval", "retrieval", "MSRVTT text-video retrieval, 1kA"),
    Entry("msrvtt_qa", "msrvtt_qa", "classification", "MSRVTT-QA"),
    Entry("msvd_qa", "msvd_qa", "classification", "MSVD-QA"),
    Entry("gqa", "gqa", "answering", "GQA testdev-balanced"),
    Entry("xgqa", "xgqa", "answering", "xGQA: GQA in eight languages"),
    Entry("multi30k", "multi30k", "retrieval", "Multi30K: Flickr30K in four languages"),
    Entry("coco_multilingual", "coco_multilingual", "retrieval", "COCO retrieval in en, zh, ja"),
    Entry("xvnli", "xvnli", "classification", "XVNLI: visual entailment in five languages"),
    Entry("marvl", "marvl", "classification", "MaRVL: true or false of two images, five languages"),
    Entry("xflickrco", "xflickrco", "retrieval", "xFlickr&CO retrieval in eight languages"),
    Entry("wit", "wit", "retrieval", "WIT image-text retrieval, many languages"),
)

OWN: tuple[Entry, ...] = (
    Entry("own_retrieval", "own", "retrieval", "images and their texts"),
    Entry("own_captioning", "own", "captioning", "images and their captions"),
    Entry("own_answering", "own", "answering", "questions with one right answer"),
    Entry("own_vqa", "own", "answering", "questions with the answers of several annotators"),
    Entry("own_labels", "own", "classification", "a label for an image and a text"),
    Entry("own_pair_labels", "own", "classification", "a label for two images and a text"),
    Entry("own_boxes", "own", "grounding", "the box that a phrase names"),
)
"""Formats for a user's own data (docs/your-own-data.md); "own_retrieval:birds" names the data."""

NAMES = tuple(entry.name for entry in BENCHMARKS)
OWN_NAMES = tuple(entry.name for entry in OWN)


def is_own(name: str) -> bool:
    """Whether these are data of the user's own, whose scores no paper has."""
    return ":" in name or name in OWN_NAMES


_NAMED: dict[str, Benchmark] = {}
"""Benchmarks in the user's own Python files that he named in this process, by that name."""


def get(name: str) -> Benchmark:
    """The benchmark that the *user* named, in a command or in Python.

    This is the only function that imports code by a name, so a name that was read from a file must
    never come here: use `look_up`. "package.module:ATTRIBUTE" and "file.py:ATTRIBUTE" are imported,
    and `look_up` finds them from then on. ConfigError with the close matches when there is none.
    """
    if is_code(name):
        _NAMED[name] = _imported(name)
    return look_up(name)


def look_up(name: str) -> Benchmark:
    """The benchmark of a name that may come from a file, such as a record. Imports no foreign code.

    "own_retrieval:birds" is `own_retrieval` under the name "birds". A name of code
    ("file.py:ATTRIBUTE") is known only when the user has named the same file name and attribute
    (`get`). ConfigError otherwise.
    """
    form, _, called = name.partition(":")
    if is_code(name):
        return _named(name)
    if called:
        if not re.fullmatch(r"[A-Za-z][\w-]*", called) or called in (*NAMES, *OWN_NAMES):
            raise ConfigError(
                f"benchmark {name!r}: {called!r} cannot be the name of your data\n"
                "  to do: use letters, digits, - and _, and no name of x2vlm list"
            )
        return replace(look_up(form), name=called)
    for entry in (*BENCHMARKS, *OWN):
        if entry.name == name:
            module = importlib.import_module(f"benchmarks.suites.{entry.module}")
            values: tuple[Benchmark, ...] = getattr(module, "BENCHMARKS", None) or (
                module.BENCHMARK,
            )
            return next(benchmark for benchmark in values if benchmark.name == name)
    raise ConfigError(unknown("benchmark", name, (*NAMES, *OWN_NAMES)))


def is_code(name: str) -> bool:
    """Whether a name means Python code: "file.py:ATTRIBUTE" or "package.module:ATTRIBUTE"."""
    form, colon, _ = name.partition(":")
    return bool(colon) and form not in OWN_NAMES


def _named(name: str) -> Benchmark:
    """A benchmark in code that the user named: by this name, or elsewhere under the same file."""

    def end(text: str) -> str:
        return re.split(r"[/\\]", text)[-1]

    same = [value for known, value in _NAMED.items() if end(known) == end(name)]
    if name in _NAMED or len(same) == 1:
        return _NAMED.get(name) or same[0]
    raise ConfigError(
        f"the benchmark {name!r} is Python code, and code that a file names is never run\n"
        f"  to do: read that code; if you trust it, name it in the command: benchmark={name} "
        "(in Python: benchmarks.registry.get)"
    )


def _imported(name: str) -> Benchmark:
    where, _, attribute = name.rpartition(":")
    try:
        if where.endswith(".py"):
            spec = importlib.util.spec_from_file_location("outside_benchmark", where)
            if spec is None or spec.loader is None:
                raise ConfigError(f"{where} is not a Python file")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(where)
        found = getattr(module, attribute)
    except (ImportError, FileNotFoundError, AttributeError) as error:
        raise ConfigError(f"benchmark {name!r}: {error}") from error
    except Exception as error:  # the user's own code may raise anything
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise ConfigError(
            f"benchmark {name!r}: {type(error).__name__}: {error}\n"
            f"  at: {place.filename}, line {place.lineno}\n  to do: correct that file"
        ) from error
    if not isinstance(found, Benchmark):
        raise ConfigError(f"benchmark {name!r} is a {type(found).__name__}, not a Benchmark")
    return found
