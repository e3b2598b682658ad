"""What a ``with`` statement opens and closes, as its own methods do."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Openable(ABC):
    """Can be opened by ``with``; a caller that cannot use that calls `open` and `close`."""

    @abstractmethod
    def open(self) -> None:
        """Begin."""

    @abstractmethod
    def close(self) -> None:
        """End."""

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
