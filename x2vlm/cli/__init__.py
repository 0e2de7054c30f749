"""The door: `x2vlm COMMAND key=value …`. The only place that knows hydra; nothing imports it."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from x2vlm.cli.failures import print_failure
from x2vlm.errors import unknown
from x2vlm.stopping import ended_by_sigterm


class Command(NamedTuple):
    """usage: what follows the name. does: a line of help. run: MODULE:FUNCTION here. details:
    more help."""

    usage: str
    does: str
    run: str
    details: str = ""


SHOWN = "  every setting with its value: x2vlm show benchmark=…"
SHOWING = """  RUNS are run folders, or folders of them; without any: runs.
  allow: records that are refused otherwise (limited, partial, dirty, superseded), shown marked.
  states: published numbers to show (verified, weak, digitised, conflicting, memory)"""
TRUSTED = """  benchmark=FILE.py:NAME,…: code that runs are of and that you trust; what a
  record alone names is never run"""
PICTURES = """  pictures: folders beside the runs' data folders from which pictures may be copied"""

DATA_HELP = """  x2vlm data status data=DIR [layout=FILE] [benchmark=NAME,…] [SETTINGS]
      what is there per benchmark and split: complete, partial, missing (and how to get it)
  x2vlm data verify data=DIR [layout=FILE] [benchmark=NAME,…] [SETTINGS] [resume=FILE]
      counts, ids, usable texts, every image decodes, boxes inside images; exit status 1 when there
      is a problem or nothing was found; resume: files found sound before. SETTINGS are those of
      x2vlm run that say which data is meant: file.ROLE=PATH, split=, train_split=, languages=,
      train_languages=, on_error=, limit=, box_format=, box_pixels=, options.NAME=
  x2vlm data download data=DIR [benchmark=NAME,…] [dry_run=false] [table=FILE]
      fetch what needs no account, below DIR; without dry_run=false only say what would be fetched.
      Broken downloads go on where they stopped. coco_images: the images of COCO 2014. table: other
      addresses, such as a mirror's (the form of benchmarks/suites/downloads.json)
  x2vlm data shards kind=KIND annotations=FILE,… images=DIR out=DIR [exclude=BENCHMARK:SPLIT,…
      data=DIR] [inline=true] [rows=10000] [format=jsonl.gz|jsonl|tar|parquet] [on_error=skip]
      pre-training shards out of annotations. KIND: coco-captions, coco-objects, vg-regions,
      vg-objects, flickr30k-entities (annotations: its folder). exclude: leave out the images of
      splits that will be tested on; inline=false: paths below images instead of pixels
  x2vlm data mini out=DIR [scale=1.0] [seed=0]
      the embedded world as files"""


COMMANDS: dict[str, Command] = {
    "run": Command("benchmark=… | experiment=… [data=DIR] [limit=N] [launcher=submitit] […]",
                   "fine-tune, predict, score, record; finished stages are reused", "commands:run",
                   SHOWN),
    "train": Command("benchmark=… | experiment=pretrain_… [launcher=submitit] […]",
                     "the training stage alone, or a pre-training", "commands:train", SHOWN),
    "predict": Command("benchmark=… checkpoint=… […]", "the prediction stage alone",
                       "commands:predict", SHOWN),
    "score": Command("benchmark=… predictions=FILE data=DIR [split=…] [limit=N] [languages=de,ru]"
                     " [layout=FILE] [file.ROLE=PATH] [scoring.variant=x2vlm] [extra=ignore]"
                     " [on_error=skip]",
                     "score a predictions file, without torch", "scoring:score"),
    "eval-all": Command("[pretrain=true] [seed=N] [only=NAME,…] [out=runs] [jobs=N] [device=…]",
                        "the whole embedded suite, then the boards", "suite:eval_all"),
    "reproduce": Command("BENCHMARK checkpoint=… data=…",
                         "one row of the paper: ours, published, difference", "commands:reproduce",
                         SHOWN),
    "list": Command("", "benchmarks, models, tasks, experiments", "commands:list_all"),
    "show": Command("benchmark=… […]", "the resolved settings of a run, without running it",
                    "commands:show"),
    "validate": Command("benchmark=… | experiment=… […]",
                        "check the settings of a run without running it; the exit status is 0 or 1",
                        "check:validate", SHOWN),
    "data": Command("status|verify|download|shards|mini […]",
                    "what data is there, is it whole; fetch it; make shards", "data:data",
                    DATA_HELP),
    "convert": Command("IN OUT --to TASK [image_size=N] [frames=N] [labels=N] [tokenizer=…]",
                       "official weights <-> ours, pre-training -> task", "commands:convert"),
    "board": Command("[RUNS…] [board=NAME] [format=md|csv|tex|json|html] [out=DIR]"
                     " [allow=dirty,limited,…] [states=verified,weak,…]",
                     "tables from records", "boards:board", SHOWING),
    "compare": Command("RUN RUN […] [seed=N] [out=DIR] [benchmark=FILE.py:NAME]",
                       "paired comparison of runs on the same samples", "boards:compare",
                       "  a RUN is a run folder, or a folder of runs (each benchmark once).\n"
                       "  out: writes compare.md, and flips.csv with every sample that flipped\n"
                       f"{TRUSTED}"),
    "explain": Command("IMAGE TEXT [TEXT…] [regions=x,y,w,h;…] | benchmark=… [data=DIR] [limit=N]",
                       "where a model looks and what it locates, as pictures", "explain:explain"),
    "site": Command("[RUNS…] [out=site] [gallery=DIR,…] [pictures=DIR,…] [allow=…] [states=…]"
                    " [benchmark=FILE.py:NAME]",
                    "a static site of boards and samples", "publish:site",
                    f"{SHOWING}\n{PICTURES}\n{TRUSTED}"),
    "export": Command("[RUNS…] [out=export] [name=…] [allow=…] [benchmark=FILE.py:NAME]",
                      "results for other harnesses, and a model card's block", "publish:export",
                      TRUSTED),
    "submit": Command("RUN [name=…] [out=DIR] [kind=nocaps] [subset=…] [benchmark=FILE.py:NAME]",
                      "the official submission file of a run", "publish:submit", TRUSTED),
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status.

    0: done; 1: an error, named in a line; 2: bad usage; 130 and 143: stopped by Ctrl-C, by SIGTERM.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        print(f"x2vlm: {unknown('command', name, COMMANDS)}", file=sys.stderr)
        return 2
    command = COMMANDS[name]
    if any(word in ("-h", "--help") for word in rest):
        print(f"x2vlm {name} {command.usage}\n\n  {command.does}")
        print(f"\n{command.details}" if command.details else "")
        return 0
    try:
        with ended_by_sigterm():
            module, _, function = command.run.partition(":")
            call: Callable[[list[str]], int] = getattr(
                importlib.import_module(f"x2vlm.cli.{module}"), function
            )
            return call(rest)
    except BrokenPipeError:  # `x2vlm list | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as stop:
        said = "".join(f", {part}" for part in (str(stop), "the same command resumes") if part)
        print(f"x2vlm {name}: stopped{said}", file=sys.stderr)
        return 128 + getattr(stop, "number", signal.SIGINT)
    except Exception as error:
        print_failure(name, error)
        return 1


def help_text() -> str:
    """The text of `x2vlm --help`."""
    lines = ["x2vlm COMMAND [key=value …]: run, compare and reproduce X²-VLM models", ""]
    width = max(map(len, COMMANDS))
    lines += [f"  {name:<{width}}  {command.does}" for name, command in COMMANDS.items()]
    lines += ["", "x2vlm COMMAND --help shows what a command takes; x2vlm list, what there is."]
    return "\n".join(lines)
