"""NumPy arrays that know which rows of which inputs they hold."""

from traceprop_engine.arrays.construct import array, from_numpy, to_pandas
from traceprop_engine.arrays.tracked import TrackedArray

__all__ = ["TrackedArray", "array", "from_numpy", "to_pandas"]
