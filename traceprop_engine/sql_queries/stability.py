"""Whether a query may give other rows when it runs a second time."""

from typing import Any

from traceprop_engine.sql_queries.functions import Functions
from traceprop_engine.sql_queries.syntax import Tree, walk

_UNSTABLE_KINDS = frozenset({"LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER"})
_UNSTABLE_JOINS = frozenset({"POSITIONAL", "ASOF"})


class Stability:
    """Judges queries, each after those that it names."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self._unstable: set[str] = set()

    def is_unstable(self, *parts: Any) -> bool:
        """Say whether parts of a query may differ when they are read twice."""
        return any(self._differs(each) for part in parts for each in walk(part))

    def note(self, name: str) -> None:
        """Take note that a common table expression may differ when it is read twice."""
        self._unstable.add(name)

    def _differs(self, node: Tree) -> bool:
        if node.get("class") == "WINDOW" or node.get("sample"):
            return True
        if str(node.get("type")) in _UNSTABLE_KINDS or node.get("ref_type") in _UNSTABLE_JOINS:
            return True
        if node.get("class") == "FUNCTION":
            return self._functions.is_unstable(node["function_name"])
        return node.get("table_name") in self._unstable
