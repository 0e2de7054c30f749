"""The static site: boards, a page per benchmark and per run, and the sample browser.

Everything opens from disk: pages link by relative paths, data come as script files, and a content
policy in every page forbids any request to a network.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from leaderboards import pages
from leaderboards.board import BoardTable, boards_of
from leaderboards.difference import differences
from leaderboards.gallery import add_gallery
from leaderboards.published import numbers, published_rows, sources
from leaderboards.runs import Run, slug, told_apart
from leaderboards.sample_data import data_key, write_data_set
from leaderboards.thumbnails import Thumbnails, spelt_out
from x2vlm.errors import RecordError
from x2vlm.writing import write_atomically

ASSETS = Path(__file__).parent / "assets"
COPIED = ("site.css", "samples.css", "theme.js", "table.js", "samples.js", "draw.js", "icon.svg")


@dataclass(frozen=True)
class Site:
    """What was written. unreadable: media path -> reason, shown as a placeholder in the browser."""

    index: Path
    pages: int
    data_sets: int
    unreadable: dict[str, str]


def build_site(
    runs: Sequence[Run],
    out: Path,
    *,
    allow: Collection[str] = (),
    states: Collection[str] = ("verified",),
    gallery: Sequence[Path] = (),
    pictures: Sequence[Path] = (),
    progress: Callable[[Sequence[Any], str], Any] | None = None,
) -> Site:
    """Write the site of `runs` into the folder `out` (its former site is replaced).

    allow: flags of records that may stand on the boards, marked. states: published numbers to show.
    gallery: folders that `x2vlm explain` wrote, or folders of them. pictures: folders beside those
    of the runs' data from which pictures may be copied. progress: wraps the list of
    data sets while they are written. RecordError when `out` holds other things than a site.
    """
    runs = told_apart(runs)
    _clear(out)
    for name in COPIED:  # first: they tell a site that was not finished from other folders
        shutil.copyfile(ASSETS / name, out / name)
    watch = progress or (lambda rows, _: rows)
    thumbnails = Thumbnails(out, _picture_folders(runs, pictures))
    data_sets: dict[str, list[Run]] = {}
    for run in runs:
        data_sets.setdefault(data_key(run), []).append(run)
    indices = {
        key: write_data_set(out, key, data_sets[key], thumbnails)
        for key in watch(list(data_sets), "writing samples")
    }
    records = [run.record for run in runs]
    tables = boards_of(records, allow, published_rows(states))
    write = _writer(out, tables, bool(gallery))
    _boards(write, tables, runs)
    _runs(write, runs, data_sets, indices)
    write("published.html", "published.html", title="Published numbers",
          numbers=numbers(), sources=sources())  # fmt: skip
    if gallery:
        add_gallery(write, out, gallery)
    written = len(list(out.glob("*.html")))
    return Site(out / "index.html", written, len(data_sets), thumbnails.failed)


def _picture_folders(runs: Sequence[Run], more: Sequence[Path]) -> list[Path] | None:
    """Where pictures may be copied from; None: from everywhere, all samples being trusted.

    A record also names its data folder. One that holds the user's home, such as "/", says nothing
    about what is data, so it does not count.
    """
    found = list(more)
    home = Path.home()
    for run in runs:
        if run.roots is None:
            return None
        found += [root for root in run.roots if not home.is_relative_to(spelt_out(root))]
    return found


def _clear(out: Path) -> None:
    """Empty `out` if it is a site, leave it if it is empty, refuse anything else."""
    if not out.exists() or not any(out.iterdir()):
        out.mkdir(parents=True, exist_ok=True)
        return
    if not (out / "samples.js").is_file():
        raise RecordError(f"{out} exists and is no site; name an empty or new folder: out=DIR")
    shutil.rmtree(out)
    out.mkdir(parents=True)


def _writer(out: Path, tables: Sequence[BoardTable], gallery: bool) -> Callable[..., None]:
    """write(page, template, **values): one HTML page, every value escaped by the template."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters.update(pages.FILTERS)
    environment.globals["boards"] = [pages.board_link(table) for table in tables]
    environment.globals["gallery_page"] = "gallery.html" if gallery else ""

    def write(page: str, template: str, **values: object) -> None:
        text = environment.get_template(template).render(page=page, **values)
        write_atomically(out / page, text)

    return write


def _boards(write: Callable[..., None], tables: Sequence[BoardTable], runs: Sequence[Run]) -> None:
    refused = list(dict.fromkeys(refusal for table in tables for refusal in table.refused))
    write("index.html", "index.html", title="Leaderboards", refused=refused,
          summary=pages.summary(tables, runs), tables=tables)  # fmt: skip
    where = {run.record.path: f"run-{slug(run.name)}.html" for run in runs if run.record.path}
    for table in tables:
        link = pages.board_link(table)
        write(link["page"], "board.html", title=table.board.title, table=table, where=where,
              view=pages.board_view(table, differences(table)))  # fmt: skip


def _runs(
    write: Callable[..., None],
    runs: Sequence[Run],
    data_sets: dict[str, list[Run]],
    indices: dict[str, dict[str, Any]],
) -> None:
    where = {run.name: (key, place) for key, group in data_sets.items()
             for place, run in enumerate(group)}  # fmt: skip
    for run in runs:
        key, place = where[run.name]
        write(f"run-{slug(run.name)}.html", "run.html", title=run.name, run=run,
              view=pages.run_view(run), samples=f"samples-{key}.html#a={place}")  # fmt: skip
    for key, index in indices.items():
        write(f"samples-{key}.html", "samples.html", title=f"Samples of {index['title']}",
              key=key, index=index)  # fmt: skip
    by_benchmark: dict[str, list[Run]] = {}
    for run in runs:
        by_benchmark.setdefault(run.record.benchmark, []).append(run)
    for name, group in by_benchmark.items():
        benchmark, keys = group[0].benchmark, {run.name: where[run.name][0] for run in group}
        write(f"benchmark-{slug(name)}.html", "benchmark.html", title=benchmark.title,
              benchmark=benchmark, runs=group, view=pages.benchmark_view(group, keys))  # fmt: skip
