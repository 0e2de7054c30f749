"""Makes `published/numbers.csv` and `sources.json` from the collected table of published numbers.

    python -m leaderboards.curate ../shared/published/published.csv

Every row of the input becomes exactly one row of the output; names that no rule below covers are
an error. The rules are `published/rules.json`: names of benchmarks, splits, metrics and settings,
which printed model is one of ours, and the exceptions (sources that disagree).
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leaderboards.boards import scale_of
from leaderboards.published import FIELDS, FOLDER
from x2vlm.errors import DataError
from x2vlm.writing import write_atomically

Row = dict[str, str]
_SIZE = re.compile(r"([\d.]+)([MB])")
_BRACKETS = re.compile(r"^(?P<name>.*?) \((?P<first>[\d.]+[MB])(?:, (?P<second>[\d.]+[MB]\+?))?\)$")
_CORPORA = {"4M", "14M", "16M", "5.6M"}
"""Sizes in brackets that are numbers of image–text pairs, not of parameters."""


def curate(rows: Sequence[Row], rules: Mapping[str, Any]) -> tuple[list[Row], dict[str, str]]:
    """(curated rows, key -> source). DataError names the first row that no rule covers."""
    sources: dict[str, str] = {}
    found = []
    for number, row in enumerate(rows, 2):
        try:
            found.append(_curate(number, row, rules, sources))
        except KeyError as error:
            raise DataError(
                f"no rule for {error.args[0]!r}", source=f"published.csv:{number}",
                fix="add it to leaderboards/published/rules.json",
            ) from error  # fmt: skip
    return found, {key: text for text, key in sources.items()}


def _curate(number: int, row: Row, rules: Mapping[str, Any], sources: dict[str, str]) -> Row:
    rule = rules["benchmarks"][row["benchmark"]]
    metric, split = rule["metrics"][row["metric"]], rule["splits"][row["split"]]
    setting = rules["settings"][row["setting"]]
    split, _, part = split.partition("|")
    metric = f"{metric}/{part}" if part else metric
    value, printed = row["value"], row["value"]
    note = setting.get("note", "")
    if not re.fullmatch(r"[\d.]+", value):
        value, note = "", f"printed {printed.partition(' ')[0]}, a misprint of the source"
        printed = ""
    elif (scale := scale_of(metric)) != 1:
        value = f"{float(value) / scale:.6g}"
    model, parameters, data = _model(row["model"])
    exception: Mapping[str, str] = next(
        (rule for rule in rules["exceptions"] if rule["where"].items() <= row.items()), {}
    )
    state, why = _state(number, row, rules, exception)
    source = re.sub(r",? ?index id \d+", "", row["source"]).replace(" ()", "")
    return {
        "row": str(number),
        "benchmark": rule["id"],
        "split": split,
        "metric": metric,
        "protocol": exception.get("protocol", setting["protocol"]),
        "model": model,
        "parameters": parameters,
        "data": data,
        "ours": rules["models"].get(row["model"], ""),
        "value": value,
        "printed": printed,
        "state": state if value else "conflicting",
        "source": sources.setdefault(source, _key(source, sources)),
        "note": "; ".join(text for text in (note, why, rule.get("note", "")) if text),
    }


def _model(name: str) -> tuple[str, str, str]:
    """(name, parameters, pre-training data) of a printed name such as "X-VLM (216M, 4M)"."""
    match = _BRACKETS.match(name)
    if match is None:
        return name, "", ""
    first, second = match["first"], match["second"] or ""
    if not second and first in _CORPORA:
        return match["name"], "", first
    size = _SIZE.fullmatch(first)
    if size is None:
        raise KeyError(f"size {first!r} of {name}")
    amount, unit = size.groups()
    return match["name"], str(round(float(amount) * {"M": 1e6, "B": 1e9}[unit])), second


def _state(
    number: int, row: Row, rules: Mapping[str, Any], exception: Mapping[str, str]
) -> tuple[str, str]:
    """How far a number may be trusted, and why not further."""
    if exception:
        return exception["state"], exception["note"]
    if row["source"].startswith("memory"):
        return "memory", ""
    if "digitised" in row["source"]:
        return "digitised", "measured from the pixels of a figure, about ±0.05"
    if any(text in row["source"] for text in rules["weak"]):
        return "weak", "extracted by a machine"
    if row["verified(yes/no)"] != "yes":
        raise KeyError(f"unverified row {number}")
    return "verified", ""


def _key(source: str, taken: Mapping[str, str]) -> str:
    """A short, stable name for a source: "XFM/xfm-3", "hyper.ai"; numbered when taken."""
    github = re.match(r".*github [\w.-]+/([\w.-]+?)(?:@\w+)? (\S+)", source)
    site = re.match(r"https?://(?:www\.)?([^/\s]+)", source)
    if github:
        key = f"{github[1]}/{Path(github[2]).stem}"
    elif site:
        key = site[1]
    else:
        key = re.sub(r"\W+", "-", source.partition("(")[0].strip())[:24].strip("-")
    others = set(taken.values())
    numbered = (key if n == 1 else f"{key}-{n}" for n in range(1, len(others) + 3))
    return next(name for name in numbered if name not in others)


def main(argv: Sequence[str]) -> None:
    """Read the collected table, write numbers.csv and sources.json beside the rules."""
    (path,) = argv
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rules = json.loads((FOLDER / "rules.json").read_text(encoding="utf-8"))
    curated, sources = curate(rows, rules)
    out = io.StringIO()
    writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(curated)
    write_atomically(FOLDER / "numbers.csv", out.getvalue())
    text = json.dumps(sources, indent=1, ensure_ascii=False)
    write_atomically(FOLDER / "sources.json", text + "\n")
    print(f"{len(curated)} numbers, {len(sources)} sources")


if __name__ == "__main__":
    main(sys.argv[1:])
