"""Whether a query may give other rows when it runs a second time."""

from traceprop_engine.sql.functions import Functions
from traceprop_engine.sql.syntax import Tree, walk

_UNSTABLE_KINDS = frozenset({"LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER"})
_UNSTABLE_JOINS = frozenset({"POSITIONAL", "ASOF"})


class Stability:
    """Judges queries, each after those that it names."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self._unstable: set[str] = set()

    def is_unstable(self, name: str, node: Tree) -> bool:
        """Say whether a common table expression may differ when it is read twice."""
        found = any(self._differs(each) for each in walk(node))
        if found:
            self._unstable.add(name)
        return found

    def stored(self, name: str) -> None:
        """Take note that an expression was stored, and will not differ any more."""
        self._unstable.discard(name)

    def _differs(self, node: Tree) -> bool:
        if node.get("class") == "WINDOW" or node.get("sample"):
            return True
        if node.get("type") in _UNSTABLE_KINDS or node.get("ref_type") in _UNSTABLE_JOINS:
            return True
        if node.get("class") == "FUNCTION":
            return self._functions.is_unstable(node["function_name"])
        return node.get("table_name") in self._unstable
