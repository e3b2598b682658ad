"""What a prediction would be without a group of rows, as text for a terminal."""

from traceprop_engine.cli.render import render_statistics, render_unknown
from traceprop_engine.cli.text import Page, table, wrapped
from traceprop_engine.explanation import GroupRemoval
from traceprop_engine.presentation import counted, logistic, plain_value, row_numbers, signed


def render_group_removal(effect: GroupRemoval, prediction: str, page: Page) -> str:
    """Return the change of a prediction as text.

    Args:
        effect: What was estimated and found.
        prediction: Which prediction it is, in words.
        page: Where it will stand.
    """
    parts = [_title(effect, prediction, page), _changes(effect, page)]
    if effect.statistics:
        title = "Not computed again: statistics that the removed source rows went into"
        parts.append(render_statistics(effect.statistics, page, title))
    if effect.unknown:
        parts.append(render_unknown(effect.unknown, page)[1:])
    return "\n\n".join("\n".join(lines) for lines in parts)


def _title(effect: GroupRemoval, prediction: str, page: Page) -> list[str]:
    gone = counted(len(effect.training_rows), "training row")
    model = f"{effect.model} without {effect.removed}"
    rows = f"{gone} of {effect.n_training_rows:,} removed: {row_numbers(effect.training_rows)}"
    return [
        page.heading(f"What if? {prediction}"),
        *wrapped(model, page.width),
        *wrapped(rows, page.width),
    ]


def _changes(effect: GroupRemoval, page: Page) -> list[str]:
    cells = [["as trained", "", *_output(effect, 0.0)]]
    for change, how in _ways(effect):
        cells.append([how, signed(change), *_output(effect, change)])
    header = ["", "change", effect.target, ""]
    lines = table(header, cells, width=page.width, aligns=["left", "right", "right", "left"])
    notes = [page.faint(line) for line in wrapped(_note(effect), page.width)]
    heading = page.heading(f"Its {effect.target}, in {effect.unit}")
    return [heading, page.faint(lines[0]), *lines[1:], *notes]


def _ways(effect: GroupRemoval) -> list[tuple[float, str]]:
    ways = [(effect.predicted_change, "estimated: sum of the scores")]
    if effect.newton_change is not None:
        steps = counted(effect.newton_steps, "Newton step")
        ways.append((effect.newton_change, f"estimated: {steps}"))
    if effect.found_change is not None:
        how = "refitted" if effect.found_error is None else "trained again"
        ways.append((effect.found_change, f"found: {how} without them"))
    return ways


def _output(effect: GroupRemoval, change: float) -> list[str]:
    output = effect.before + change
    is_logit = effect.target == "logit"
    return [plain_value(output), f"probability {logistic(output):.2%}" if is_logit else ""]


def _note(effect: GroupRemoval) -> str:
    notes = ["A sum of scores takes each row on its own."]
    if effect.gradient_norm is not None:
        notes.append(
            f"The refit took {counted(effect.n_steps, 'Newton step')} to a gradient of norm "
            f"{effect.gradient_norm:.2g}."
        )
    if effect.found_error is not None:
        notes.append(f"Mean over nets of equal seeds, standard error {effect.found_error:.2g}.")
    if effect.found_change is None:
        notes.append("Not verified by training without the rows.")
    notes.append("The preprocessing is as it was: its statistics are not computed again.")
    return " ".join(notes)
