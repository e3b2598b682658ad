"""Which training rows moved a prediction most, and the source lines that they were made from."""

from collections.abc import Iterable, Sequence

import numpy as np

from traceprop_engine.attribution import Target
from traceprop_engine.errors import NoRowChosenError, TracepropError
from traceprop_engine.explanation.prediction_set import PredictionSet, load_predictions
from traceprop_engine.explanation.values import (
    ExplainedPrediction,
    Explanation,
    InfluentialRow,
    SourceLine,
    Step,
)
from traceprop_engine.recording import load_source
from traceprop_engine.row_predicate import rows_where
from traceprop_engine.sources import SourceVersion, read_records
from traceprop_engine.store import Store
from traceprop_engine.tracing import (
    LineageGraph,
    Trace,
    TracedContext,
    TracedDataset,
    TracedSource,
    trace_back,
)

_COLUMNS_NAMED = 3


def explain(
    store: Store,
    *,
    dataset: str | None = None,
    row: int | None = None,
    where: str | None = None,
    top_k: int = 10,
    target: Target | None = None,
) -> Explanation:
    """Say which training rows moved a prediction most, and show their source lines.

    Args:
        store: Where the pipeline was recorded.
        dataset: The recorded predictions; the newest by default.
        row: Row number of the prediction.
        where: Instead of ``row``, a predicate such as ``"id = 7"`` that holds for one prediction.
        top_k: How many training rows to name.
        target: The output to explain; ``"logit"`` for logistic models, ``"margin"`` for softmax
            models and ``"prediction"`` for linear models by default. Of a net only that can be
            explained, as a store keeps gradients of it and no code.

    Raises:
        NoRowChosenError: Neither ``row`` nor ``where`` chose one prediction.
        RowNotFoundError: There is no such row.
        TracepropError: See `load_predictions`.
    """
    predictions = load_predictions(store, dataset)
    chosen = choose_row(predictions, row=row, where=where)
    return explain_prediction(store, predictions, chosen, top_k=top_k, target=target)


def choose_row(predictions: PredictionSet, *, row: int | None, where: str | None) -> int:
    """Return the row number that ``row`` or ``where`` chooses among predictions.

    Raises:
        NoRowChosenError: They do not choose exactly one.
    """
    if row is not None:
        return row
    matches = np.empty(0, int) if where is None else rows_where(predictions.frame, where)
    if len(matches) != 1:
        raise NoRowChosenError(predictions.version.dataset, where, len(matches))
    return int(matches[0])


def explain_prediction(
    store: Store,
    predictions: PredictionSet,
    row: int,
    *,
    top_k: int = 10,
    target: Target | None = None,
) -> Explanation:
    """Explain one prediction of a loaded set; see `explain`."""
    scores = predictions.scores(row, target=target)
    top = scores.top_k(min(top_k, predictions.model.run.n_train), query=0)
    lines = SourceLines(store)
    walk = LineageGraph.upstream_of(store, predictions.model.dataset_version_id)
    traces = [trace_back(store, predictions.model.dataset_version_id, [r], walk) for r in top.rows]
    lines.load(trace.sources for trace in traces)
    rows = [
        influential_row(rank, int(training_row), float(score), trace, lines)
        for rank, (training_row, score, trace) in enumerate(
            zip(top.rows, top.scores, traces, strict=True), start=1
        )
    ]
    return Explanation(
        prediction=_explained(store, predictions, row, lines),
        training_run_id=predictions.model.id,
        model=f"{predictions.model.run.name} ({predictions.model.run.family})",
        n_training_rows=predictions.model.run.n_train,
        target=scores.target,
        unit=scores.unit,
        method=scores.method,
        rows=tuple(rows),
        statistics=_statistics(trace.contexts for trace in traces),
    )


class SourceLines:
    """The text of source rows; each file is opened once for all rows that a walk found in it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._versions: dict[str, SourceVersion] = {}
        self._lines: dict[tuple[str, int], SourceLine] = {}

    def load(self, found: Iterable[Sequence[TracedSource]]) -> None:
        """Read the records of all sources in ``found`` that were not read before."""
        wanted: dict[str, tuple[TracedSource, set[int]]] = {}
        for source in (source for sources in found for source in sources):
            _, rows = wanted.setdefault(source.source_version_id, (source, set()))
            rows.update(map(int, source.rows))
        for key, (source, rows) in wanted.items():
            missing = sorted(row for row in rows if (key, row) not in self._lines)
            for line in self._read(source, missing):
                self._lines[key, line.row] = line

    def of(self, sources: Iterable[TracedSource]) -> tuple[SourceLine, ...]:
        """Return the lines of traced sources that were loaded, in file order."""
        return tuple(
            self._lines[source.source_version_id, int(row)]
            for source in sources
            for row in source.rows
        )

    def _read(self, source: TracedSource, rows: Sequence[int]) -> list[SourceLine]:
        key = source.source_version_id
        version = self._versions.setdefault(key, load_source(self._store, key))
        facts = {"source": source.name, "uri": source.uri, "sha256": source.sha256}
        try:
            records = read_records(version, rows)
        except TracepropError as error:
            numbers = None if version.index is None else version.index.line_numbers
            return [
                SourceLine(
                    **facts,
                    row=row,
                    line_number=None if numbers is None else int(numbers[row]),
                    text=None,
                    unavailable=str(error),
                )
                for row in rows
            ]
        return [
            SourceLine(**facts, row=r.row, line_number=r.line_number, text=r.text) for r in records
        ]


def describe_step(dataset: TracedDataset) -> Step:
    """Return a dataset version on the way as a step with readable operations."""
    return Step(
        dataset=dataset.dataset,
        dataset_version_id=dataset.dataset_version_id,
        n_rows=len(dataset.rows),
        operations=tuple(
            f"{op.name}({op.detail}): "
            f"{' + '.join(f'{n:,}' for n in op.n_rows_in)} → {op.n_rows_out:,} rows"
            for op in dataset.ops
        ),
    )


def describe_contexts(contexts: Iterable[TracedContext]) -> tuple[str, ...]:
    """Return statistics on the way as sentences, one for all columns of the same rows."""
    columns: dict[tuple[str, str, int, str, str], list[str]] = {}
    for context in contexts:
        name, n_members = context.input_name, context.n_members
        key = (context.dataset, context.statistic, n_members, name, context.fitted)
        known = columns.setdefault(key, [])
        if context.column and context.column not in known:
            known.append(context.column)
    return tuple(
        f"{dataset} depends on {statistic}{_of_columns(named)} over {n_members:,} rows of {input_}"
        f"{fitted and f': {fitted}'}"
        for (dataset, statistic, n_members, input_, fitted), named in columns.items()
    )


def _of_columns(names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _COLUMNS_NAMED} more" if len(names) > _COLUMNS_NAMED else ""
    return f" of {', '.join(names[:_COLUMNS_NAMED])}{more}"


def influential_row(
    rank: int, training_row: int, score: float, trace: Trace, lines: SourceLines
) -> InfluentialRow:
    """Return a ranked training row with its walk; the lines of the walk must be loaded."""
    return InfluentialRow(
        rank=rank,
        training_row=training_row,
        influence=score,
        lines=lines.of(trace.sources),
        steps=tuple(describe_step(dataset) for dataset in trace.datasets),
        unknown=trace.unknown,
    )


def _explained(
    store: Store, predictions: PredictionSet, row: int, lines: SourceLines
) -> ExplainedPrediction:
    trace = trace_back(store, predictions.version.id, [row])
    lines.load([trace.sources])
    values = {
        str(name): value.item() if isinstance(value, np.generic) else value
        for name, value in predictions.frame.iloc[row].items()
    }
    return ExplainedPrediction(
        dataset=predictions.version.dataset,
        dataset_version_id=predictions.version.id,
        row=row,
        values=values,
        lines=lines.of(trace.sources),
    )


def _statistics(contexts: Iterable[Sequence[TracedContext]]) -> tuple[str, ...]:
    return describe_contexts(context for found in contexts for context in found)
