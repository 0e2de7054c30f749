"""Other names that people give to the fields of plain rows; the one that was taken is noted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.files import Files
from benchmarks.rows import Row
from x2vlm.data.cleaning import clean_question, has_word

IMAGE = (
    "image_path",
    "img_path",
    "img",
    "file_name",
    "filename",
    "image_name",
    "image_file",
    "image_filename",
    "img_name",
    "path",
)
CAPTION = (
    "captions",
    "text",
    "texts",
    "sentence",
    "sentences",
    "comment",
    "description",
    "title",
    "sent",
)
ALIASES: Mapping[str, Sequence[str]] = {
    "image": IMAGE,
    "caption": CAPTION,
    "question": ("sent", "query", "text", "sentence", "prompt"),
    "answer": ("gt_answer", "ground_truth", "multiple_choice_answer", "label", "target"),
    "label": ("answer", "class", "class_name", "category", "gt_label", "target"),
    "text": (
        "phrase",
        "sentence",
        "sent",
        "caption",
        "expression",
        "question",
        "statement",
        "hypothesis",
        "query",
        "referring_expression",
    ),
    "box": ("bbox", "bounding_box", "gt_bbox", "gt_box"),
}
"""our field -> other names of it, the likelier first"""


def renamed(files: Files, rows: Sequence[Row], wanted: Mapping[str, Sequence[str]]) -> list[Row]:
    """The rows with each wanted field under our name, whatever it is called; noted once per file.

    wanted: our field -> fields that stand for it already: where one of these is, or the field
    itself, nothing is looked for.
    """
    found = []
    for row in rows:
        added = {}
        for name, others in wanted.items():
            if any(row.has(known) for known in (name, *others)):
                continue
            taken = next((a for a in ALIASES[name] if _holds(row.values.get(a))), None)
            if taken is not None:
                added[name] = row.values[taken]
                file = row.source.rpartition(":")[0]
                files.note(f"{file}: field {taken!r} is read as {name!r}")
        found.append(Row({**row.values, **added}, row.source, row.key) if added else row)
    return found


def _holds(value: object) -> bool:
    """Whether a field of another name has something to read: a text must hold a word."""
    return has_word(clean_question(value)) if isinstance(value, str) else value is not None
