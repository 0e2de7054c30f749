"""A board as CSV, Markdown, LaTeX, JSON or HTML. Equal boards give equal bytes."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

from leaderboards.board import OLDER, BoardTable, Cell, Column, Row
from leaderboards.plain_text import csv_text, visible

MARKS = {
    "limited": ("‡", r"\ddagger", "limited to a part of the split"),
    "altered": ("✗", r"\times", "its predictions do not give its numbers"),
    "partial": ("§", r"\S", "rows, files or languages missing"),
    "dirty": ("†", r"\dagger", "uncommitted or unknown code"),
    "superseded": ("¶", r"\P", "a newer record exists"),
    "below floor": ("▽", r"\triangledown", "below the floor set for it"),
    OLDER: ("^", r"\wedge", "by an older version of the benchmark, not to be compared"),
    "weak": ("°", r"\circ", "read by a machine, or the size of the model is not named"),
    "digitised": ("~", r"\sim", "measured from a figure"),
    "memory": ("?", "?", "from memory, no source seen"),
    "conflicting": ("!", "!", "sources disagree or the print is doubtful"),
}
"""what is marked -> (mark, its LaTeX, what it means)"""

LEGEND = "± is the standard error; with several seeds, mean ± standard deviation (seeds)."


def marks_of(cell: Cell) -> list[str]:
    """The keys of MARKS that apply to a cell."""
    found = [*cell.flags, *([cell.state] if cell.state in MARKS else [])]
    return [*found, "below floor"] if cell.floor_met is False else found


def number_text(cell: Cell, scale: float = 1.0, plus_minus: str = " ± ") -> str:
    """Value and spread, times `scale`, without marks; "" when undefined."""
    if cell.value is None:
        return ""
    if cell.printed:
        return cell.printed
    text = f"{scale * cell.value:.2f}"
    if cell.sd is not None:
        return f"{text}{plus_minus}{scale * cell.sd:.2f} ({len(cell.seeds)})"
    return text if cell.error is None else f"{text}{plus_minus}{scale * cell.error:.2f}"


def labels(columns: Sequence[Column]) -> tuple[str, list[str]]:
    """(what all columns share, the rest of each): headers without repetition."""
    names = ("benchmark", "split", "metric", "protocol")
    parts = [{name: getattr(column, name) for name in names} for column in columns]
    shared = [
        name
        for name in names
        if name != "metric" and len(columns) > 1 and len({part[name] for part in parts}) == 1
    ]
    common = ", ".join(parts[0][name] for name in shared) if parts else ""
    return common, [" ".join(part[n] for n in names if n not in shared) for part in parts]


def size_text(parameters: int | None) -> str:
    """A parameter count for people: "255M", "1.8M"."""
    if parameters is None:
        return ""
    for unit, scale in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if parameters >= scale:
            amount = parameters / scale
            return f"{amount:.0f}{unit}" if amount >= 10 else f"{amount:.1f}{unit}"
    return str(parameters)


def footnotes(table: BoardTable) -> list[tuple[str, str, str]]:
    """(mark, its LaTeX, meaning) of every mark that occurs in the table, in a fixed order."""
    used = {mark for row in table.rows for cell in row.cells.values() for mark in marks_of(cell)}
    return [MARKS[name] for name in MARKS if name in used]


def _name(row: Row) -> str:
    return f"{row.model} (paper)" if row.kind == "published" else row.model


def to_markdown(table: BoardTable) -> str:
    """Paste-ready: best in bold, second underlined, marks explained below."""
    common, heads = labels(table.columns)
    caption = ", ".join(part for part in (f"{table.suite} data", common) if part)
    average = ["average"] if table.board.average else []
    lines = [f"**{table.board.title}** ({escape_markdown(caption)})", ""]
    heads = ["model", "pre-training", "size", *heads, *average]
    lines.append("| " + " | ".join(escape_markdown(head) for head in heads) + " |")
    lines.append("|" + " :-- |" * 2 + " --: |" * (len(heads) - 2))
    for row in table.rows:
        cells = [_markdown_cell(row.cells.get(column), column.scale) for column in table.columns]
        front = [escape_markdown(_name(row)), escape_markdown(row.pretraining),
                 size_text(row.parameters)]  # fmt: skip
        tail = [_average_text(row)] if average else []
        lines.append("| " + " | ".join([*front, *cells, *tail]) + " |")
    lines += ["", LEGEND + "".join(f" {mark} {text}." for mark, _, text in footnotes(table))]
    lines += [f"Refused: {escape_markdown(str(refusal))}." for refusal in table.refused]
    return visible("\n".join(lines) + "\n")


def _average_text(row: Row) -> str:
    return "" if row.average is None else f"{row.average:.2f}"


def _markdown_cell(cell: Cell | None, scale: float) -> str:
    if cell is None or cell.value is None:
        return ""
    text = number_text(cell, scale)
    text = {1: f"**{text}**", 2: f"<u>{text}</u>"}.get(cell.rank or 0, text)
    return text + "".join(MARKS[mark][0] for mark in marks_of(cell))


_MARKUP = re.compile(r"[|*`\[\]~]|(?<![^\W_])_|_(?![^\W_])")
"""what Markdown takes for markup; an underscore inside a word is none"""


def escape_markdown(text: str) -> str:
    """Text that stays text in a Markdown table: no markup, no HTML, no breaks of column or line."""
    text = html.escape(" ".join(text.split()), quote=False).replace("\\", "\\\\")
    return _MARKUP.sub(r"\\\g<0>", text)


def to_latex(table: BoardTable) -> str:
    """A booktabs table; best in bold, second underlined."""
    common, heads = labels(table.columns)
    average = ["average"] if table.board.average else []
    heads = ["Model", "Pre-training", "Size", *heads, *average]
    lines = [
        r"% \usepackage{booktabs,amssymb}",
        rf"\begin{{tabular}}{{ll{'r' * (len(heads) - 2)}}}",
        r"\toprule",
        " & ".join(_escape_latex(head) for head in heads) + r" \\",
        r"\midrule",
    ]
    kind = ""
    for row in table.rows:
        if kind and kind != row.kind:
            lines.append(r"\midrule")
        kind = row.kind
        front = [_name(row), row.pretraining, size_text(row.parameters)]
        cells = [_latex_cell(row.cells.get(column), column.scale) for column in table.columns]
        tail = [_average_text(row)] if average else []
        lines.append(" & ".join([*map(_escape_latex, front), *cells, *tail]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = "".join(f" ${mark}$ {text}." for _, mark, text in footnotes(table))
    caption = ", ".join(part for part in (f"{table.suite} data", common) if part)
    legend = LEGEND.replace("±", r"$\pm$")
    lines.append(f"% {table.board.title} ({caption}). {legend}{notes}")
    return visible("\n".join(lines) + "\n")


def _latex_cell(cell: Cell | None, scale: float) -> str:
    if cell is None or cell.value is None:
        return ""
    text = number_text(cell, scale, plus_minus=r" $\pm$ ")
    text = {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(cell.rank or 0, text)
    return text + "".join(f"$^{{{MARKS[mark][1]}}}$" for mark in marks_of(cell))


def _escape_latex(text: str) -> str:
    special = {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "²": r"\textsuperscript{2}", "–": "--", "·": r"$\cdot$", "|": r"\textbar{}",
        "<": r"\textless{}", ">": r"\textgreater{}", "\n": " ",
    }  # fmt: skip
    return "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)


FIELDS = ("board", "suite", "kind", "model", "pretraining", "parameters", "benchmark", "split",
          "protocol", "metric", "value", "standard_error", "sd", "seeds", "n", "rank", "chance",
          "floor", "floor_met", "flags", "state", "source", "note")  # fmt: skip


def to_csv(table: BoardTable) -> str:
    """Tidy: one line per cell, all digits, in the metric's own unit."""
    rows = (
        [table.board.name, table.suite, row.kind, row.model, row.pretraining, row.parameters,
         column.benchmark, column.split, column.protocol, column.metric, cell.value,
         cell.error, cell.sd, " ".join(map(str, cell.seeds)), cell.n, cell.rank,
         column.chance, cell.floor, cell.floor_met, " ".join(cell.flags), cell.state,
         cell.source, cell.note]
        for row, column, cell in _cells(table)
    )  # fmt: skip
    return csv_text(FIELDS, rows)


def _cells(table: BoardTable) -> Iterable[tuple[Row, Column, Cell]]:
    for row in table.rows:
        for column in table.columns:
            if column in row.cells:
                yield row, column, row.cells[column]


def to_json(table: BoardTable) -> str:
    """The board as one JSON object; undefined and missing are null."""
    rows = [
        {
            "kind": row.kind,
            "model": row.model,
            "pretraining": row.pretraining,
            "parameters": row.parameters,
            "average": row.average,
            "cells": [
                None if column not in row.cells else asdict(row.cells[column])
                for column in table.columns
            ],
        }
        for row in table.rows
    ]
    value = {
        "board": table.board.name,
        "title": table.board.title,
        "suite": table.suite,
        "columns": [asdict(column) for column in table.columns],
        "rows": rows,
        "refused": [asdict(refusal) for refusal in table.refused],
    }
    return visible(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def to_html(table: BoardTable) -> str:
    """A plain table element, every text escaped."""
    common, heads = labels(table.columns)
    average = ["average"] if table.board.average else []
    caption = ", ".join(part for part in (table.board.title, f"{table.suite} data", common) if part)
    lines = ["<table>", f"<caption>{html.escape(caption)}</caption>", "<thead><tr>"]
    for head in ["model", "pre-training", "size", *heads, *average]:
        lines.append(f'<th scope="col">{html.escape(head)}</th>')
    lines += ["</tr></thead>", "<tbody>"]
    for row in table.rows:
        front = [row.pretraining, size_text(row.parameters)]
        cells = [f'<th scope="row">{html.escape(_name(row))}</th>']
        cells += [f"<td>{html.escape(text)}</td>" for text in front]
        cells += [
            f"<td>{_html_cell(row.cells.get(column), column.scale)}</td>"
            for column in table.columns
        ]
        cells += [f"<td>{_average_text(row)}</td>"] if average else []
        lines.append("<tr>" + "".join(cells) + "</tr>")
    lines += ["</tbody>", "</table>"]
    notes = LEGEND + "".join(f" {mark} {text}." for mark, _, text in footnotes(table))
    lines.append(f"<p>{html.escape(notes)}</p>")
    lines += [f"<p>{html.escape(f'Refused: {refusal}.')}</p>" for refusal in table.refused]
    return visible("\n".join(lines) + "\n")


def _html_cell(cell: Cell | None, scale: float) -> str:
    if cell is None or cell.value is None:
        return ""
    text = html.escape(number_text(cell, scale))
    text = {1: f"<strong>{text}</strong>", 2: f"<u>{text}</u>"}.get(cell.rank or 0, text)
    return text + html.escape("".join(MARKS[mark][0] for mark in marks_of(cell)))


FORMATS: dict[str, tuple[str, Callable[[BoardTable], str]]] = {
    "csv": (".csv", to_csv),
    "md": (".md", to_markdown),
    "tex": (".tex", to_latex),
    "json": (".json", to_json),
    "html": (".html", to_html),
}
"""format -> (file suffix, writer)"""
