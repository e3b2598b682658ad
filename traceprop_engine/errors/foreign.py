"""Code of somebody else, which may end in an error of any class."""

from types import TracebackType
from typing import Self


class Attempt:
    """Keeps the error in which its block ends, to be reported; nobody knows its class beforehand.

    Only what asks this process to stop at once, such as an interrupt, passes through.

    Attributes:
        error: The error, if there is one.

    Example:
        >>> with Attempt() as attempt:
        ...     _ = 1 / 0
        >>> attempt.error
        ZeroDivisionError('division by zero')
    """

    def __init__(self) -> None:
        self.error: Exception | SystemExit | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if isinstance(error, Exception | SystemExit):
            self.error = error
        return self.error is not None


def told(error: BaseException) -> str:
    r"""Return an error as its class and the first line of what it says.

    Example:
        >>> told(ValueError("no such thing.\nLook elsewhere.")), told(AssertionError())
        ('ValueError: no such thing', 'AssertionError')
    """
    lines = (line.strip() for line in str(error).splitlines())
    text = next((line for line in lines if line), "").removesuffix(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
