"""The few functions of Arrow's compute registry that texts need, with the types of ours.

`pyarrow.compute` makes its functions when it is imported, where no type checker sees them.
"""

import pyarrow as pa
import pyarrow.compute as pc


def is_any(mask: pa.Array) -> bool:
    """Return whether any value of a boolean array is true; null is not."""
    return bool(pc.call_function("any", [mask]).as_py())


def equals(values: pa.Array, value: object) -> pa.Array:
    """Return for each value whether it is ``value``; null where it is null."""
    return pc.call_function("equal", [values, pa.scalar(value, values.type)])


def chosen(mask: pa.Array, yes: pa.Array | pa.Scalar, no: pa.Array | pa.Scalar) -> pa.Array:
    """Return ``yes`` where the mask is true, ``no`` where it is false, null where it is null."""
    return pc.call_function("if_else", [mask, yes, no])


def replaced_at(values: pa.Array, mask: pa.Array, instead: pa.Array) -> pa.Array:
    """Return the values with those where the mask is true replaced, one after the other."""
    return pc.call_function("replace_with_mask", [values, mask, instead])


def any_ends_with(texts: pa.Array, end: str) -> bool:
    """Return whether any text ends with ``end``."""
    return is_any(pc.call_function("ends_with", [texts], pc.MatchSubstringOptions(end)))


def any_contains(texts: pa.Array, part: bytes) -> bool:
    """Return whether ``part`` stands in any text."""
    return is_any(pc.call_function("match_substring", [texts], pc.MatchSubstringOptions(part)))


def replaced(texts: pa.Array, part: bytes, instead: bytes) -> pa.Array:
    """Return the texts with every ``part`` replaced."""
    options = pc.ReplaceSubstringOptions(part, instead)
    return pc.call_function("replace_substring", [texts], options)


def replaced_pattern(texts: pa.Array, pattern: str, instead: str) -> pa.Array:
    r"""Return the texts with every match of an RE2 pattern replaced; ``\1`` is its first group."""
    options = pc.ReplaceSubstringOptions(pattern, instead)
    return pc.call_function("replace_substring_regex", [texts], options)


def joined(*pieces: pa.Array | pa.Scalar, between: pa.Scalar, skip_null: bool = False) -> pa.Array:
    """Return the pieces of each row one after the other.

    A null piece is left out with ``skip_null``, and makes the whole text null otherwise.
    """
    options = pc.JoinOptions("skip" if skip_null else "emit_null")
    return pc.call_function("binary_join_element_wise", [*pieces, between], options)


def n_bytes(texts: pa.Array) -> pa.Array:
    """Return the length of each text in bytes."""
    return pc.call_function("binary_length", [texts])


def n_distinct(values: pa.Array) -> int:
    """Return how many different values there are, null not counted."""
    return int(pc.call_function("count_distinct", [values]).as_py())
