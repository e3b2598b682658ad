"""Which quotes of a CSV text open a field, close one, or mean nothing.

After each quote the text is in one of three states, which follows from the state before and from
what stands in front of the quote. So only quotes have to be looked at, not every byte.
"""

import numpy as np

PLAIN, CLOSED, QUOTED = 0, 1, 2
"""The state after a quote: unquoted text, past a quote that may close a field, inside a field."""

AT_FIELD_START, AFTER_QUOTE, AFTER_TEXT = 0, 1, 2
"""What stands in front of a quote: a delimiter or line break, another quote, anything else."""

_NEXT_STATE = (
    (QUOTED, PLAIN, PLAIN),
    (QUOTED, QUOTED, PLAIN),
    (CLOSED, CLOSED, CLOSED),
)


def states_after_quotes(places: np.ndarray, state: int) -> np.ndarray:
    """Return the state after each quote.

    Args:
        places: What stands in front of each quote, at least one.
        state: The state before the first quote.

    Returns:
        The states, ``int8``, as many as places.

    Example:
        In ``"a""b",c"`` the last quote is plain text.

        >>> front = [AT_FIELD_START, AFTER_TEXT, AFTER_QUOTE, AFTER_TEXT, AFTER_TEXT]
        >>> states_after_quotes(np.array(front), PLAIN).tolist() == [
        ...     QUOTED, CLOSED, QUOTED, CLOSED, PLAIN]
        True
    """
    by_parity = _alternating(len(places), state)
    opens = by_parity == QUOTED
    plain_pair = state == PLAIN and places[0] == AFTER_QUOTE
    if plain_pair or (places[opens] == AFTER_TEXT).any():
        return _one_by_one(places, state)
    return by_parity


def _alternating(n: int, state: int) -> np.ndarray:
    # Exact while every quote outside a quoted field opens one, or follows the quote that closed it.
    states = np.full(n, QUOTED, dtype=np.int8)
    states[0 if state == QUOTED else 1 :: 2] = CLOSED
    return states


def _one_by_one(places: np.ndarray, state: int) -> np.ndarray:
    states = []
    for place in places.tolist():
        state = _NEXT_STATE[state][place]
        states.append(state)
    return np.array(states, dtype=np.int8)
