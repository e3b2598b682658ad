"""The strongest rows for some queries, streamed over shards at the speed of memory.

A score is the inner product of a row's stored gradient with a query. How it is taken depends on
what is stored and on the number of queries, as measured:

- For fewer than ten queries the products are row by row (`numpy.vecdot`): the shards are read
  once at the bandwidth of memory, which a BLAS matrix-vector product does not reach. From ten on
  it is a matrix product.
- Two numbers of half precision lie in one word of 32 bits. Whole-number operations make the
  numbers at even and at odd places float32 without a conversion of each one, which NumPy does
  several times slower for float16. Nothing is rounded by it. While the shards are in memory one
  query takes 1.7 (bfloat16) to 2.6 times (float16) the time of float32, which has twice the bytes;
  for many queries there is no difference.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import GradientShapeError
from traceprop_engine.gradients.layers import slices
from traceprop_engine.gradients.shards import GradientShards, available_cores
from traceprop_engine.gradients.stored_numbers import StoredDtype, decode

Direction = Literal["both", "raises", "lowers"]
"""Which rows to rank: all by the size of their score, or those that raise or lower the target."""

_GEMM_FROM = 10  # queries
_CHUNK_ROWS = 32_768  # between two selections of the strongest rows
_CHUNK_BYTES = 1 << 25  # of the scores of a chunk, and of factors that are decoded for it
_BLOCK_BYTES = 1 << 20  # of rows of half precision: they stay in the cache between operations
_EXPONENT_SHIFT = 112  # between the exponents of float16 and float32
_HALF_BITS = np.uint32(0x8FFFE000).view(np.int32)  # of a float16, moved to a float32


@dataclass(frozen=True, eq=False)
class ScoredShards:
    """One summand of the scores: shards, queries, and a factor for each row.

    The score of row ``i`` for query ``q`` is ``scale[i] * <gradient_i, queries[q]>``. For influence
    the queries are ``-H^-1`` times the gradients of the targets, and the scale is `slopes`.

    Attributes:
        shards: Of one checkpoint.
        queries: ``[n_query, n_features]``, or ``[n_query, n_parameters]`` of stored factors.
        scale: ``[n_rows]``; ``None`` for 1.
    """

    shards: GradientShards
    queries: NDArray[np.floating]
    scale: NDArray[np.floating] | None = None


@dataclass(frozen=True, eq=False)
class StrongestRows:
    """The rows with the largest scores for one query, the largest first, ties by position.

    Attributes:
        rows: Their positions, ``[k]``; fewer when fewer qualify.
        scores: Their signed scores, ``[k]``.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]


def strongest_rows(
    terms: Sequence[ScoredShards],
    k: int,
    *,
    direction: Direction = "both",
    n_threads: int | None = None,
) -> list[StrongestRows]:
    """Return the `k` rows with the largest scores for each query, in bounded memory.

    Args:
        terms: Summands of the score over the same rows, one for each checkpoint.
        k: Rows for each query.
        direction: Which rows to rank.
        n_threads: Threads that score; by default one for each core this process may use.

    Raises:
        GradientShapeError: There is no term, terms are of other rows or queries, queries do not
            fit the shards, numbers are not finite, `k` is below 1, or there is no such direction.
    """
    _check(terms, k)
    if direction not in get_args(Direction):
        raise GradientShapeError("direction", f"one of {get_args(Direction)}", repr(direction))
    found = _Strongest(len(terms[0].queries), k, direction)
    scorers = [_scorer(term) for term in terms]
    chunks = list(_chunks(terms))

    def add(chunk: tuple[int, slice]) -> None:
        position, rows = chunk
        first = terms[0].shards.shards[position].rows.start + rows.start
        found.add(first, _total(scorers, position, rows))

    with ThreadPoolExecutor(n_threads or available_cores()) as threads:
        list(threads.map(add, chunks))
    return found.best


def score_blocks(terms: Sequence[ScoredShards]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield the scores of all queries for some rows after others, ``[n_query, n_in_block]``.

    Raises:
        GradientShapeError: As `strongest_rows`.
    """
    _check(terms, 1)
    scorers = [_scorer(term) for term in terms]
    for position, rows in _chunks(terms):
        start = terms[0].shards.shards[position].rows.start
        place = slice(start + rows.start, start + rows.stop)
        yield place, _total(scorers, position, rows)


@dataclass(eq=False)
class _Strongest:
    """The best rows so far, which several threads add to."""

    n_queries: int
    k: int
    direction: Direction
    best: list[StrongestRows] = field(init=False)
    floors: NDArray[np.float64] = field(init=False)
    lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        nothing = StrongestRows(np.empty(0, dtype=np.int64), np.empty(0))
        self.best = [nothing] * self.n_queries
        # Zero neither raises nor lowers; by size it is the smallest.
        lowest = 0.0 if self.direction == "both" else np.nextafter(0.0, 1.0)
        self.floors = np.full(self.n_queries, lowest)

    def add(self, first: int, scores: NDArray[np.float64]) -> None:
        """Add scores ``[n_query, n]`` of rows from `first` on."""
        for query, of_query in enumerate(scores):
            strength = self._strength(of_query)
            # A floor that another thread has raised since only lets more candidates through.
            candidates = np.flatnonzero(strength >= self.floors[query])
            if len(candidates) > self.k:
                least = np.partition(strength[candidates], -self.k)[-self.k]
                candidates = candidates[strength[candidates] >= least]
            if len(candidates):
                self._merge(query, candidates + first, of_query[candidates])

    def _merge(self, query: int, rows: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
        with self.lock:
            rows = np.concatenate([self.best[query].rows, rows])
            scores = np.concatenate([self.best[query].scores, scores])
            order = np.lexsort((rows, -self._strength(scores)))[: self.k]
            self.best[query] = StrongestRows(rows[order], scores[order])
            if len(order) == self.k:
                self.floors[query] = self._strength(scores[order[-1:]])[0]

    def _strength(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.direction == "both":
            return np.abs(scores)
        return scores if self.direction == "raises" else -scores


@dataclass(frozen=True, eq=False)
class _FactorScorer:
    """Scores of stored factors."""

    term: ScoredShards

    def scores(self, position: int, rows: slice) -> NDArray[np.float64]:
        """Return the scores of some rows of a shard, ``[n_query, n]``."""
        gradients = self.term.shards.gradients(position, rows)
        scores = gradients.dot(np.ascontiguousarray(self.term.queries.T)).T
        return _scaled(self.term, position, rows, scores)


@dataclass(frozen=True, eq=False)
class _FeatureScorer:
    """Scores of stored features.

    ``queries`` are scaled so that their largest number is below 1, by ``2 ** -exponent``, split as
    the words of the stored numbers are, and transposed in memory where a matrix product takes them.
    """

    term: ScoredShards
    dtype: StoredDtype
    queries: tuple[NDArray[np.float32], ...]
    exponent: int

    def scores(self, position: int, rows: slice) -> NDArray[np.float64]:
        """Return the scores of some rows of a shard, ``[n_query, n]``."""
        stored = self.term.shards.stored(position)["0.deltas"][rows]
        scores = np.zeros((len(self.queries[0]), len(stored)))
        is_read_once = self.dtype == "float32" and len(scores) < _GEMM_FROM
        n_rows = len(stored) if is_read_once else _BLOCK_BYTES // max(stored[:1].nbytes, 1)
        for block in slices(len(stored), n_rows):
            for part, queries in zip(self._parts(stored[block]), self.queries, strict=True):
                scores[:, block] += _products(part, queries).T
        scores *= 2.0**self.exponent
        return _scaled(self.term, position, rows, scores)

    def _parts(self, stored: NDArray[np.generic]) -> Iterator[NDArray[np.float32]]:
        if len(self.queries) == 1:
            yield decode(stored, self.dtype)
        elif self.dtype == "bfloat16":
            pairs = stored.view(np.uint32)
            yield (pairs << np.uint32(16)).view(np.float32)
            yield (pairs & np.uint32(0xFFFF0000)).view(np.float32)
        else:
            pairs = stored.view(np.int32)
            yield _moved_halves(pairs << np.int32(16))
            yield _moved_halves(pairs.copy())


def _moved_halves(upper: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return float16 numbers, the upper halves of words, as float32 times ``2 ** -112``.

    The exponent moves to its place by three bits; the shift copies the sign over the bits between,
    which the mask then clears, with what was in the lower half.
    """
    upper >>= np.int32(3)
    upper &= _HALF_BITS
    return upper.view(np.float32)


def _products(rows: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(queries) < _GEMM_FROM:
        return np.vecdot(rows[:, None], queries)
    return rows @ queries.T


def _total(
    scorers: Sequence[_FactorScorer | _FeatureScorer], position: int, rows: slice
) -> NDArray[np.float64]:
    total = scorers[0].scores(position, rows)
    for scorer in scorers[1:]:
        total += scorer.scores(position, rows)
    return total


def _scorer(term: ScoredShards) -> _FactorScorer | _FeatureScorer:
    if term.shards.projection is None:
        return _FactorScorer(term)
    dtype = term.shards.settings.dtype
    exponent = int(np.frexp(np.abs(term.queries).max(initial=0.0))[1])
    single = np.ldexp(term.queries, -exponent).astype(np.float32)
    if dtype == "float32" or single.shape[1] % 2 or _is_big_endian():
        return _FeatureScorer(term, dtype, (_laid_out(single),), exponent)
    if dtype == "float16":
        single = np.ldexp(single, _EXPONENT_SHIFT)
    halves = tuple(_laid_out(single[:, place::2]) for place in (0, 1))
    return _FeatureScorer(term, dtype, halves, exponent)


def _laid_out(queries: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the queries in the memory order that their product reads fastest."""
    if len(queries) < _GEMM_FROM:
        return np.ascontiguousarray(queries)
    return np.ascontiguousarray(queries.T).T


def _is_big_endian() -> bool:
    return np.dtype("<u2") != np.dtype(np.uint16)


def _scaled(
    term: ScoredShards, position: int, rows: slice, scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    if term.scale is None:
        return scores
    start = term.shards.shards[position].rows.start
    return scores * term.scale[start + rows.start : start + rows.stop]


def _chunks(terms: Sequence[ScoredShards]) -> Iterator[tuple[int, slice]]:
    """Yield rows of a shard, few enough for their scores and decoded factors to be small."""
    numbers = max(2 * len(terms[0].queries), *(_decoded(term.shards) for term in terms), 1)
    step = min(_CHUNK_ROWS, _CHUNK_BYTES // (4 * numbers))
    for position, shard in enumerate(terms[0].shards.shards):
        for rows in slices(shard.rows.stop - shard.rows.start, step):
            yield position, rows


def _decoded(shards: GradientShards) -> int:
    """Return the numbers that are decoded of each row all at once."""
    if shards.projection is not None or not shards.shards:
        return 0
    return sum(layer.n_kept for layer in shards.gradients(0, slice(0)).layout)


def _check(terms: Sequence[ScoredShards], k: int) -> None:
    if not terms:
        raise GradientShapeError("terms", "at least one", "none")
    if k < 1:
        raise GradientShapeError("k", "at least 1", str(k))
    first = terms[0]
    for term in terms:
        _check_term(term)
        if [shard.rows for shard in term.shards.shards] != [s.rows for s in first.shards.shards]:
            raise GradientShapeError(
                "shards of all terms", "of the same rows", f"{term.shards.n_rows} in others"
            )
        if len(term.queries) != len(first.queries):
            wanted = f"{len(first.queries)} as in the first term"
            raise GradientShapeError("queries", wanted, str(len(term.queries)))


def _check_term(term: ScoredShards) -> None:
    if term.queries.ndim != 2 or not np.isfinite(term.queries).all():  # noqa: PLR2004 - a matrix
        got = f"shape {term.queries.shape}" if term.queries.ndim != 2 else "NaN or infinity"  # noqa: PLR2004
        raise GradientShapeError("queries", "finite numbers [n_query, n_features]", got)
    width = term.shards.n_features
    if width is not None and term.queries.shape[1] != width:
        raise GradientShapeError(
            "queries", f"of {width:,} numbers as the shards", f"{term.queries.shape[1]:,}"
        )
    if term.scale is None:
        return
    if term.scale.shape != (term.shards.n_rows,):
        raise GradientShapeError("scale", f"[{term.shards.n_rows}]", f"shape {term.scale.shape}")
    if not np.isfinite(term.scale).all():
        row = int(np.flatnonzero(~np.isfinite(term.scale))[0])
        raise GradientShapeError("scale", "finite", f"{term.scale[row]} for row {row}")
