"""What an array says of its memory: that it can be written, through the array itself."""

from typing import Any

from traceprop_engine.arrays.memory import Held


class Flags:
    """The flags of an array; whether it is writeable is what its own operations heed."""

    __slots__ = ("_flags", "_held")

    def __init__(self, flags: Any, held: Held | None) -> None:
        """Take the flags that NumPy knows, and how the array lies in memory."""
        object.__setattr__(self, "_flags", flags)
        object.__setattr__(self, "_held", held)

    @property
    def writeable(self) -> bool:
        """Whether the array may be written."""
        return bool(self._flags.writeable if self._held is None else not self._held.is_locked)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._flags, name)

    def __getitem__(self, key: str) -> Any:
        return self.writeable if key in ("WRITEABLE", "W") else self._flags[key]

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "writeable" or self._held is None:
            setattr(self._flags, name, value)
        elif not value:
            self._held.is_locked = True
        elif self._held.is_frozen:
            raise ValueError("cannot set WRITEABLE flag to True of this array")  # NumPy's own words
        else:
            self._held.is_locked = False

    def __setitem__(self, key: str, value: Any) -> None:
        if key in ("WRITEABLE", "W"):
            setattr(self, "writeable", value)  # noqa: B010  (it goes through __setattr__)
        else:
            self._flags[key] = value

    def __repr__(self) -> str:
        lines = repr(self._flags).splitlines()
        return "\n".join(
            f"  WRITEABLE : {self.writeable}" if "WRITEABLE" in line else line for line in lines
        )
