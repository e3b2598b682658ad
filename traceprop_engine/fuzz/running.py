"""Run a function on perturbed inputs: a result, or the error by which it refuses them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from traceprop_engine.errors import LineageFuzzError
from traceprop_engine.errors.foreign import Attempt, told
from traceprop_engine.fuzz.changes import Frames
from traceprop_engine.lineage.captured import CapturedLineage
from traceprop_engine.lineage.pandas_capture import CaptureSession

Function = Callable[..., pd.DataFrame]


@dataclass(frozen=True)
class CapturedFunction:
    """A function whose rows are captured whenever it runs; called, it gives the lineage.

    Attributes:
        function: Takes its inputs by name, and returns a frame.

    Example:
        >>> scores = CapturedFunction(lambda d: d[d["x"] > 1])
        >>> scores(d=pd.DataFrame({"x": [1, 2, 3]})).maps["d"].backward([0])
        array([1])
    """

    function: Function

    def __call__(self, **inputs: pd.DataFrame) -> CapturedLineage:
        """Return the lineage of the result for these inputs."""
        return self.run(inputs)[1]

    def run(self, inputs: Frames) -> tuple[Any, CapturedLineage]:
        """Return the result for these inputs, not followed any more, and its lineage."""
        with CaptureSession() as session:
            loaded = {name: session.load(frame, name) for name, frame in inputs.items()}
            return session.finish(self.function(**loaded))


class LineageOf(Protocol):
    """Gives the lineage of a function's result from its inputs."""

    def __call__(self, **inputs: pd.DataFrame) -> CapturedLineage:
        """Return the lineage of the result for these inputs."""


@dataclass(frozen=True)
class Run:
    """A result of the function.

    Attributes:
        frame: The result.
        lineage: What is used to follow its rows: recorded in this run.
    """

    frame: pd.DataFrame
    lineage: CapturedLineage


@dataclass(frozen=True)
class Refusal:
    """The error by which a function refused its inputs."""

    error: BaseException

    def __str__(self) -> str:
        return told(self.error)


@dataclass(frozen=True)
class Runner:
    """Runs the function, and follows the rows of each result.

    Attributes:
        function: What is checked.
        lineage: Gives the lineage of each run; if that captures, the function runs once.
    """

    function: Function
    lineage: LineageOf

    def run(self, frames: Frames) -> Run | Refusal:
        """Return the result for these inputs."""
        with Attempt() as attempt:
            return self._run({name: frame.copy() for name, frame in frames.items()})
        assert attempt.error is not None  # noqa: S101 (nothing else leaves the block)
        return Refusal(attempt.error)

    def _run(self, frames: Mapping[str, pd.DataFrame]) -> Run:
        if isinstance(self.lineage, CapturedFunction):
            frame, lineage = self.lineage.run(frames)
        else:
            frame = self.function(**{name: each.copy() for name, each in frames.items()})
            lineage = self.lineage(**frames)
        if not isinstance(frame, pd.DataFrame):
            raise LineageFuzzError(
                f"The function returned a {type(frame).__name__}", "only data frames are compared"
            )
        if lineage.n_rows != len(frame):
            raise LineageFuzzError(
                f"The lineage is about {lineage.n_rows} rows, but the function returned "
                f"{len(frame)}",
                "claim a lineage of the rows that the function returns",
            )
        return Run(frame, lineage)
