"""Commands about data: what is there, whether it is whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.inspect_data import status, status_table, verify
from benchmarks.layout import load_layout
from benchmarks.mini.suite import write_world
from benchmarks.registry import NAMES
from x2vlm.errors import ConfigError, unknown
from x2vlm.watch import plain_watch

USAGE = """usage:
  x2vlm data status data=DIR [layout=FILE] [benchmark=NAME,…]
  x2vlm data verify data=DIR [layout=FILE] [benchmark=NAME,…] [resume=FILE]
  x2vlm data mini out=DIR [scale=1.0] [seed=0]"""


def data(words: Sequence[str]) -> int:
    """x2vlm data status|verify|mini."""
    settings = dict(word.split("=", 1) for word in words if "=" in word)
    plain = [word for word in words if "=" not in word]
    known = {
        "status": ("data", "layout", "benchmark"),
        "verify": ("data", "layout", "benchmark", "resume"),
        "mini": ("out", "scale", "seed"),
    }
    if len(plain) != 1 or plain[0] not in known:
        raise ConfigError(USAGE)
    for name in settings:
        if name not in known[plain[0]]:
            raise ConfigError(unknown("setting", name, known[plain[0]]))
    if plain[0] == "mini":
        return _mini(settings)
    if "data" not in settings:
        raise ConfigError(USAGE)
    root = Path(settings["data"])
    if not root.is_dir():
        raise ConfigError(f"data={root} is no folder")
    layout = load_layout(settings["layout"]) if "layout" in settings else None
    names = tuple(filter(None, settings.get("benchmark", "").split(","))) or NAMES
    for name in names:
        if name not in NAMES:
            raise ConfigError(unknown("benchmark", name, NAMES))
    if plain[0] == "status":
        print(status_table(status(root, layout, names)))
        return 0
    resume = Path(settings["resume"]) if "resume" in settings else None
    report = verify(root, layout, names, plain_watch, resume)
    for problem in report.problems:
        print(f"{problem['source']}: {problem['reason']}")
    print(
        f"{report.records} records; {report.checked} files decoded now, {report.known} known to be "
        f"sound; {len(report.problems)} problems"
    )
    return 1 if report.problems else 0


def _mini(settings: dict[str, str]) -> int:
    """Write the embedded world somewhere to look at, or to use as data=DIR."""
    if "out" not in settings:
        raise ConfigError(USAGE)
    scale, seed = float(settings.get("scale", "1.0")), int(settings.get("seed", "0"))
    write_world(Path(settings["out"]), seed, scale)
    print(settings["out"])
    return 0
