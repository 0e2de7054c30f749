"""Retrieval both ways: hit@k, median and mean rank. Ties rank against the model.

text_*: given an image, rank texts (an image has one or several right ones); image_*: given a text,
rank images. A query is a hit at k when its best-ranked target is among the k best candidates (not
TREC recall). Axes: Q queries, C candidates, T targets of a query (padded).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.metrics.stats import (
    Measure,
    Samples,
    Scores,
    bootstrap_error,
    clustered_error,
    clusters,
    mean,
)
from benchmarks.sourced import replaced, where
from x2vlm.errors import PredictionError
from x2vlm.types import Prediction, Record

Direction = Literal["text", "image"]
DIRECTIONS: tuple[Direction, ...] = ("text", "image")


class Ranking(Sequence[tuple[str, float]]):
    """The scored candidates of one query, packed: 16 bytes a pair instead of over a hundred."""

    __slots__ = ("ids", "scores")

    def __init__(self, pairs: Iterable[Sequence[Any]], names: dict[str, str] | None = None) -> None:
        """pairs: [id, score] in any order. names: shared between rankings so that ids are too."""
        shared = {} if names is None else names
        rows = list(pairs)
        ids = [str(row[0]) for row in rows]
        self.ids = tuple(map(shared.setdefault, ids, ids))
        self.scores = np.array([row[1] for row in rows], dtype=np.float64)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: Any) -> Any:
        return (self.ids[index], float(self.scores[index]))


@dataclass(frozen=True)
class Ranks:
    """rank_Q: best rank of any target, from 1, ties against the model; 0 when none was ranked.
    tied_Q: whether a wrong candidate scored exactly as much as the best target.
    candidates: how many there are to rank, listed or not."""

    rank_Q: NDArray[np.int64]
    tied_Q: NDArray[np.bool_]
    candidates: int

    def hits(self, k: int) -> NDArray[np.float64]:
        """1.0 per query whose rank is within k; a target that was not ranked is a miss."""
        return ((self.rank_Q > 0) & (self.rank_Q <= k)).astype(np.float64)

    def full(self) -> NDArray[np.float64]:
        """Ranks with the last place for targets that were not ranked, against the model."""
        return np.where(self.rank_Q > 0, self.rank_Q, self.candidates).astype(np.float64)


def ranks_from_scores(
    scores_QC: ArrayLike, targets: Sequence[Sequence[int]], chunk: int = 256
) -> Ranks:
    """Ranks from a full score matrix, `chunk` queries at a time and in the matrix's own type.

    scores_QC: anything numpy can slice (array, memory map). targets: right candidates per query.
    Raises PredictionError on NaN, ValueError on a query without targets.
    """
    matrix_QC = scores_QC if isinstance(scores_QC, np.ndarray) else np.asarray(scores_QC)
    if len(targets) != len(matrix_QC) or not all(targets):
        raise ValueError("every query of the matrix needs at least one target")
    rank_Q = np.zeros(len(targets), dtype=np.int64)
    tied_Q = np.zeros(len(targets), dtype=np.bool_)
    for start in range(0, len(targets), chunk):
        part = slice(start, start + chunk)
        block_QC = np.asarray(matrix_QC[part])
        if np.isnan(block_QC).any():
            raise PredictionError(f"a retrieval score in rows {start}.. is NaN; check the model")
        width = max(len(rows) for rows in targets[part])
        target_QT = np.array([[*rows, *[rows[0]] * (width - len(rows))] for rows in targets[part]])
        target_scores_QT = np.take_along_axis(block_QC, target_QT, axis=1)
        best_Q1 = target_scores_QT.max(axis=1, keepdims=True)
        own_Q = np.array([len(set(row[row >= 0])) for row in
                          np.where(target_scores_QT == best_Q1, target_QT, -1)])  # fmt: skip
        above_Q = (block_QC > best_Q1).sum(axis=1)
        equal_Q = (block_QC == best_Q1).sum(axis=1) - own_Q
        rank_Q[part], tied_Q[part] = 1 + above_Q + equal_Q, equal_Q > 0
    return Ranks(rank_Q, tied_Q, matrix_QC.shape[1])


class Place(NamedTuple):
    """Where the best target stands in one ranking, from 1, ties against the model; 0: it is not in
    it. tied: a wrong candidate scored exactly as much. content: a hash of the whole ranking, which
    tells a row that repeats another from one that contradicts it."""

    rank: int
    tied: bool
    content: int = 0


def rank_of(ranking: Ranking, targets: frozenset[str]) -> Place:
    """The place of the best target in one ranking."""
    places = [place for place, name in enumerate(ranking.ids) if name in targets]
    if not places:
        return Place(0, False)
    scores = ranking.scores
    own = scores[places]
    best = own.max()
    equal = int((scores == best).sum()) - int((own == best).sum())
    return Place(1 + int((scores > best).sum()) + equal, equal > 0)


def placed(records: Sequence[Record], predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    """The same rows with a `Place` instead of each ranking: all that the scores need of it.

    So the longest ranking is all that is ever in memory. A query is ranked among its own language.
    Rows of other queries come without their rankings (`predictions.join` judges them). Raises
    PredictionError as `ranks_from_predictions` does.
    """
    languages: dict[str, list[Record]] = {}
    for record in records:
        languages.setdefault(record.language, []).append(record)
    queries = {
        (query, direction): (targets, known)
        for part in languages.values()
        for direction in DIRECTIONS
        for known in [_candidates(part, direction)]
        for query, targets in query_targets(part, direction).items()
    }
    for row in predictions:
        places: dict[str, Place | None] = {}
        for direction, pairs in row["ranking"].items():
            asked = queries.get((row["id"], direction))
            try:
                places[direction] = asked and _place(row["id"], pairs, *asked)
            except PredictionError as error:
                raise PredictionError(f"{where(row)}: {error}") from error
        yield replaced(row, ranking=places)


def _candidates(records: Sequence[Record], direction: Direction) -> frozenset[str]:
    return frozenset(query_targets(records, "image" if direction == "text" else "text"))


def _place(query: str, pairs: Any, targets: frozenset[str], known: frozenset[str]) -> Place:
    ranking = pairs if isinstance(pairs, Ranking) else Ranking(pairs)
    _check(query, ranking, known)
    return rank_of(ranking, targets)._replace(content=hash((ranking.ids, ranking.scores.tobytes())))


def ranks_from_predictions(
    records: Sequence[Record], predictions: Iterable[Prediction], direction: Direction
) -> Ranks | None:
    """Ranks of every query of one direction, in the records' order; None when there are no rows.

    Queries of "text" are the records (images), of "image" their texts; a row holds its ranking or
    its `Place`. Raises PredictionError for
    a missing query, an unknown candidate or one listed twice.
    """
    targets = query_targets(records, direction)
    known = _candidates(records, direction)
    found: dict[str, Place] = {}
    for row in predictions:
        pairs = row["ranking"].get(direction)
        if pairs is None or str(row["id"]) not in targets:
            continue
        query = str(row["id"])
        done = isinstance(pairs, Place)
        found[query] = pairs if done else _place(query, pairs, targets[query], known)
    if not found:
        return None
    missing = [query for query in targets if query not in found]
    if missing:
        raise PredictionError(
            f"{len(missing)} of {len(targets)} queries have no {direction} ranking, "
            f"first: {', '.join(missing[:3])}; predict the whole split again"
        )
    rows = [found[query] for query in targets]
    return Ranks(
        np.array([row.rank for row in rows]), np.array([row.tied for row in rows]), len(known)
    )


def query_targets(records: Sequence[Record], direction: Direction) -> dict[str, frozenset[str]]:
    """Query id -> ids of its right candidates: image -> texts ("text") or text -> image."""
    if direction == "text":
        return {r.id: frozenset(map(str, r.target["text_ids"])) for r in records}
    return {str(text): frozenset({r.id}) for r in records for text in r.target["text_ids"]}


def _check(query: str, ranking: Ranking, known: frozenset[str]) -> None:
    names = frozenset(ranking.ids)
    if len(names) < len(ranking.ids):
        raise PredictionError(f"ranking of {query!r} lists a candidate twice; list each once")
    if not names <= known:
        example = next(iter(names - known))
        raise PredictionError(
            f"ranking of {query!r} lists {example!r}, which is not a candidate of this split; "
            "score the split (and limit) that was predicted"
        )
    if np.isnan(ranking.scores).any():
        raise PredictionError(f"ranking of {query!r} holds a score that is NaN; check the model")


def score(
    records: Sequence[Record],
    predictions: Sequence[Prediction],
    *,
    ks: Sequence[int] = (1, 5, 10),
    ranks: bool = False,
    **_: Any,
) -> Scores:
    """`text_r1`.. (image -> text), `image_r1`.. (text -> image), `mean_recall`; percent. `ties`.

    ks: the k of hit@k. ranks: also median and mean rank, from 1 (video benchmarks). A direction
    without predictions is undefined. `ties` counts queries in which a wrong candidate scored as
    much as the best target. Errors are clustered by the records' group; that of
    the median is bootstrapped.
    """
    groups = clusters(records)
    owners = {
        "text": groups,
        "image": [g for g, r in zip(groups, records, strict=True) for _ in r.target["text_ids"]],
    }
    scores: Scores = {}
    recalls: list[tuple[Samples, Sequence[str]]] = []
    ties, queries = 0, 0
    for direction in DIRECTIONS:
        found = ranks_from_predictions(records, predictions, direction)
        scores |= _direction_scores(direction, found, owners[direction], ks, ranks)
        if found is not None:
            hits_KQ = np.array([found.hits(k) for k in ks])
            recalls.append((hits_KQ.mean(axis=0), owners[direction]))
            ties, queries = ties + int(found.tied_Q.sum()), queries + len(found.rank_Q)
    scores["mean_recall"] = (
        _mean_recall(recalls)
        if len(recalls) == len(DIRECTIONS)
        else Measure(None, queries, None, "one direction was not predicted")
    )
    scores["ties"] = Measure(float(ties), queries)
    return scores


def _direction_scores(
    direction: Direction, found: Ranks | None, owners: Sequence[str], ks: Sequence[int], ranks: bool
) -> Scores:
    names = [f"{direction}_r{k}" for k in ks]
    median_name, mean_name = f"{direction}_median_rank", f"{direction}_mean_rank"
    if found is None:
        why = Measure(None, 0, None, f"no ranking of {direction}s in the predictions")
        return dict.fromkeys([*names, *((median_name, mean_name) if ranks else ())], why)
    scores = {name: mean(found.hits(k), owners, 100.0) for name, k in zip(names, ks, strict=True)}
    if ranks:
        rank_Q, lost = found.full(), int((found.rank_Q == 0).sum())
        note = f"{lost} queries rank no target: counted at the last place" if lost else ""
        error = bootstrap_error(lambda rows: float(np.median(rank_Q[rows])), len(rank_Q), owners)
        scores[median_name] = Measure(float(np.median(rank_Q)), len(rank_Q), error, note)
        scores[mean_name] = replace(mean(rank_Q, owners), note=note)
    return scores


def _mean_recall(parts: Sequence[tuple[Samples, Sequence[str]]]) -> Measure:
    """Mean of the directions' mean recalls; one cluster holds an image's queries of both."""
    values = [np.asarray(hits) for hits, _ in parts]
    influences = [(x - x.mean()) / x.size / len(parts) for x in values]
    error = clustered_error(np.concatenate(influences), [g for _, gs in parts for g in gs])
    return Measure(
        100.0 * float(np.mean([x.mean() for x in values])),
        sum(x.size for x in values),
        None if error is None else 100.0 * error,
    )
