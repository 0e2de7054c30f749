"""One tree of errors for everything a user can mend.

Error
├── ConfigError       a setting is unknown, of the wrong kind, or clashes with another
├── DataError         a file, row, image or video is missing or not what was expected
│   ├── NoFileError   no file for one part of a benchmark lies in the data folder
│   └── MediaError    one image or video cannot be decoded (may be skipped and counted)
├── CheckpointError   weights do not fit the model
├── PredictionError   a predictions file is incomplete, doubled, or malformed
├── RecordError       a result record is malformed or refused by a board
├── TrainingError     training cannot go on (loss not finite, out of memory)
├── WritingError      a file cannot be written (full disk, no permission)
└── BusyError         another command is writing to the folder

Stopped is a KeyboardInterrupt: the work was asked to stop, and what is kept is said.
"""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable
from pathlib import Path


class Error(Exception):
    """Base of all errors of this project; the message says what to do."""


class ConfigError(Error):
    """A setting is unknown, of the wrong kind, or clashes with another."""


class DataError(Error):
    """A file or row is missing or not what was expected.

    what: the fault; source: "FILE" or "FILE:ROW"; expected: what a good one looks like;
    fix: what the user can do.
    """

    def __init__(self, what: str, *, source: str = "", expected: str = "", fix: str = "") -> None:
        self.what, self.source, self.expected, self.fix = what, source, expected, fix
        lines = [f"{source}: {what}" if source else what]
        if expected:
            lines.append(f"expected: {expected}")
        if fix:
            lines.append(f"to do: {fix}")
        super().__init__("\n  ".join(lines))


class NoFileError(DataError):
    """Nothing lies in any of the places where a file of a benchmark may be."""


class MediaError(DataError):
    """One image or video cannot be read; with on_error=skip it is counted and left out."""


class CheckpointError(Error):
    """Weights do not fit the model."""


class PredictionError(Error):
    """A predictions file is incomplete, holds an id twice, or is malformed."""


class RecordError(Error):
    """A result record is malformed, or a board refuses it."""


class TrainingError(Error):
    """Training cannot go on."""


class WritingError(Error):
    """A file cannot be written: the disk is full, or the folder does not allow it."""

    def __init__(self, path: Path, error: Exception) -> None:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        first = reason.strip().partition("\n")[0] or type(error).__name__
        super().__init__(
            f"{path} could not be written ({first})\n"
            "  to do: free some space, or see that the folder can be written to; the same command "
            "then resumes"
        )


class BusyError(Error):
    """Another command is writing to the folder."""


class Stopped(KeyboardInterrupt):
    """The work was asked to stop by a signal. The message says what is kept.

    number: of the signal; the exit status is 128 more.
    """

    def __init__(self, message: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = number


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """A message for a name that does not exist, with those that begin with it or are like it."""
    names = sorted(known)
    begun = [one for one in names if len(name) > 2 and one.startswith(name)]
    close = begun[:3] or difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = (
        f"did you mean {' or '.join(map(repr, close))}?" if close else f"known: {', '.join(names)}"
    )
    return f"unknown {kind} {name!r}; {hint}"
