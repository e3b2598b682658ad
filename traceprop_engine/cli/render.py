"""Explanations as text for a terminal: values in, text out."""

from collections.abc import Sequence

from traceprop_engine.cli.text import (
    Page,
    bar,
    display_width,
    flowed,
    padded,
    shorten,
    table,
    wrapped,
)
from traceprop_engine.explanation import Counterfactual, Explanation
from traceprop_engine.explanation.values import (
    ExplainedPrediction,
    InfluentialRow,
    SourceLine,
    Step,
)
from traceprop_engine.presentation import (
    counted,
    logistic,
    plain_value,
    row_numbers,
    signed,
    signed_column,
)
from traceprop_engine.source_lines import key_lines, lines_by_file, place, text_of

LINES_OF_A_FILE = 12
"""How many lines of one file are shown unless all are asked for."""

_OWN_LINES_OF_A_FILE = 4
_BAR_CELLS = 12
_ROOMY = 80


def render_explanation(
    explanation: Explanation,
    counterfactual: Counterfactual | None,
    *,
    width: int,
    all_lines: bool = False,
    colour: bool = False,
) -> str:
    """Return an explanation as text.

    Args:
        explanation: What to show.
        counterfactual: What removing a training row does to the prediction, if it was asked.
        width: Columns of the terminal; nothing is wider, long source lines are cut.
        all_lines: Whether to show every source line of the strongest row.
        colour: Whether to use colour.
    """
    page = Page(width, colour=colour)
    parts = [_prediction(explanation, page, all_lines=all_lines), _ranking(explanation, page)]
    if explanation.rows:
        parts.append(_strongest(explanation.rows[0], page, all_lines=all_lines))
    if explanation.statistics:
        parts.append(render_statistics(explanation.statistics, page))
    if counterfactual is not None:
        parts.append(_removal(explanation, counterfactual, page))
    return "\n\n".join("\n".join(lines) for lines in parts)


def _prediction(explanation: Explanation, page: Page, *, all_lines: bool) -> list[str]:
    prediction = explanation.prediction
    title = f"Why this prediction? Row {prediction.row:,} of {prediction.dataset}"
    model = f"made by {explanation.model}, trained on {counted(explanation.n_training_rows, 'row')}"
    lines = [page.heading(title), *wrapped(model, page.width), *_values(prediction, page)]
    if prediction.lines:
        lines += ["", "  Its own source lines"]
        limit = None if all_lines else _OWN_LINES_OF_A_FILE
        lines += render_lines(prediction.lines, page, limit=limit, indent=4)
    return lines


def _values(prediction: ExplainedPrediction, page: Page) -> list[str]:
    pairs = [f"{name}={plain_value(value)}" for name, value in prediction.values.items()]
    return flowed(pairs, page.width, gap="   ")


def _ranking(explanation: Explanation, page: Page) -> list[str]:
    title = f"The training rows that moved its {explanation.target} most, in {explanation.unit}"
    note = f"+ raises it, - lowers it; estimated by {explanation.method}"
    influences = [row.influence for row in explanation.rows]
    shown = signed_column(influences)
    header = ["rank", "influence", "", "training row", "made from"]
    lines = table(
        header,
        _ranking_cells(explanation, shown, page),
        width=page.width,
        aligns=["right", "right", "left", "right"],
    )
    return [
        page.heading(title),
        *(page.faint(line) for line in wrapped(note, page.width)),
        page.faint(lines[0]),
        *(_coloured(line, shown[i], influences[i], page) for i, line in enumerate(lines[1:])),
    ]


def _ranking_cells(explanation: Explanation, shown: Sequence[str], page: Page) -> list[list[str]]:
    largest = max((abs(row.influence) for row in explanation.rows), default=0.0)
    cells = _BAR_CELLS if page.width >= _ROOMY else _BAR_CELLS // 2
    return [
        [
            str(row.rank),
            influence,
            bar(row.influence, largest, cells),
            f"{row.training_row:,}",
            "unknown" if line is None else f"{place(line)}  {text_of(line)}",
        ]
        for row, influence, line in zip(
            explanation.rows, shown, key_lines(explanation), strict=True
        )
    ]


def _coloured(line: str, shown: str, influence: float, page: Page) -> str:
    return line.replace(shown, page.by_sign(shown, influence), 1)


def _strongest(row: InfluentialRow, page: Page, *, all_lines: bool) -> list[str]:
    title = (
        f"The strongest, training row {row.training_row:,}, "
        f"was made from {counted(len(row.lines), 'source line')}"
    )
    lines = [page.heading(title)]
    lines += render_lines(row.lines, page, limit=None if all_lines else LINES_OF_A_FILE)
    lines += ["", "  by way of", *render_steps(row.steps, page)]
    return [*lines, *render_unknown(row.unknown, page)]


def render_lines(
    lines: Sequence[SourceLine], page: Page, *, limit: int | None = LINES_OF_A_FILE, indent: int = 2
) -> list[str]:
    """Return source lines as text, the files one after another.

    Args:
        lines: What to show.
        page: Where it will stand.
        limit: How many lines to show of each file; ``None`` for all.
        indent: Spaces before each line.
    """
    shown: list[str] = []
    space = " " * indent
    places = max((display_width(place(line)) for line in lines), default=0)
    for file in lines_by_file(lines):
        path = f"{space}{file.uri}  sha256 {file.sha256[:12]}"
        shown.append(page.faint(shorten(path, page.width)))
        for line in file.lines[:limit]:
            start = f"{space}{padded(place(line), places)}  "
            shown.append(shorten(f"{start}{text_of(line)}", page.width))
        rest = len(file.lines) - len(file.lines[:limit])
        if rest:
            shown.append(page.faint(f"{space}… {rest:,} more (--all-lines)"))
    return shown


def render_steps(steps: Sequence[Step], page: Page, *, indent: int = 4) -> list[str]:
    """Return the datasets on the way as text, with the operations that made each."""
    space = " " * indent
    shown: list[str] = []
    for step in steps:
        shown.append(shorten(f"{space}{step.dataset}  {counted(step.n_rows, 'row')}", page.width))
        room = page.width - indent - 2
        shown += [f"{space}  {_operation(operation, room)}" for operation in step.operations]
    return shown


def _operation(text: str, width: int) -> str:
    """Return an operation that fits; what is cut is the call, not the row counts after it."""
    call, colon, counts = text.rpartition(": ")
    end = f"{colon}{counts}"
    if display_width(text) <= width or not call or display_width(end) >= width // 2:
        return shorten(text, width)
    return shorten(call, width - display_width(end)) + end


def render_unknown(unknown: Sequence[str], page: Page) -> list[str]:
    """Return the places where the way was lost as text; nothing if it is known throughout."""
    if not unknown:
        return []
    sentences = [page.alarm(line) for text in unknown for line in wrapped(text, page.width, 4)]
    return ["", page.alarm("  Not the whole way is known"), *sentences]


def render_statistics(
    statistics: Sequence[str],
    page: Page,
    title: str = "Beside these rows, statistics that every row of a dataset depends on",
) -> list[str]:
    """Return dependencies through statistics as text."""
    sentences = [line for text in statistics for line in wrapped(text, page.width)]
    return [page.heading(title), *sentences]


def _removal(explanation: Explanation, counterfactual: Counterfactual, page: Page) -> list[str]:
    rows = counterfactual.training_rows
    title = f"Without training {'row' if len(rows) == 1 else 'rows'} {row_numbers(rows)}"
    before = counterfactual.before
    after = before + counterfactual.found_change
    facts = [
        ["as trained", plain_value(before), _probability(before, counterfactual.target)],
        ["change predicted", signed(counterfactual.predicted_change), "by the scores"],
        ["change found", signed(counterfactual.found_change), "by removing it from the model"],
        ["after removal", plain_value(after), _probability(after, counterfactual.target)],
    ]
    lines = table(["", explanation.target, ""], facts, width=page.width, aligns=["left", "right"])
    note = (
        f"Found with {counted(counterfactual.n_steps, 'Newton step')} on the "
        f"{explanation.n_training_rows - len(rows):,} retained rows; the gradient's norm is then "
        f"{counterfactual.gradient_norm:.2g}. The preprocessing is as it was: its statistics are "
        "not computed again."
    )
    notes = [page.faint(line) for line in wrapped(note, page.width)]
    return [page.heading(title), page.faint(lines[0]), *lines[1:], *notes]


def _probability(output: float, target: str) -> str:
    return f"probability {logistic(output):.2%}" if target == "logit" else ""
