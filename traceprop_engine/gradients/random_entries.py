"""Random entries of projections, the same on every machine and in every release of NumPy.

All randomness is the raw output of Philox-4x64-10 (Salmon et al., 2011), keyed by a seed and the
number of a stream. NumPy promises that this output never changes, which it does not promise for
its distributions. What is made of it takes whole-number arithmetic, and for Gaussian entries only
operations that IEEE 754 rounds exactly: ``+ - * /`` and square roots, one at a time.

Each parameter has its own run of words in its stream, so that any block of parameters can be made
without those before it.
"""

from functools import cache
from math import fsum, sqrt

import numpy as np
from numpy.typing import NDArray

_SIGNS = 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little") - 1
_SIGNS_OF_BYTE = _SIGNS.astype(np.float32)
_SIGNS_OF_BYTE.setflags(write=False)

CHANCES = 1 << 15
"""Chances of an entry of a sparse matrix are multiples of ``1 / CHANCES``."""


def words(seed: int, stream: int, start: int, count: int) -> NDArray[np.uint64]:
    """Return `count` words of 64 bits from position `start` of a stream of a seed."""
    key = np.array([seed, stream], dtype=np.uint64)  # of a list NumPy may make rounded floats
    counter = np.array([start // 4, 0, 0, 0], dtype=np.uint64)
    generator = np.random.Philox(key=key, counter=counter)
    skipped = start % 4
    return np.asarray(generator.random_raw(skipped + count), dtype="<u8")[skipped:]


def signs(seed: int, stream: int, rows: slice, n_columns: int) -> NDArray[np.float32]:
    """Return rows of a matrix of independent fair signs, one bit an entry."""
    n_rows, n_words = rows.stop - rows.start, -(-n_columns // 64)
    drawn = words(seed, stream, rows.start * n_words, n_rows * n_words)
    entries = _SIGNS_OF_BYTE.take(drawn.view(np.uint8), axis=0)
    return entries.reshape(n_rows, 64 * n_words)[:, :n_columns]


def sparse_signs(
    seed: int, stream: int, rows: slice, n_columns: int, chances: int
) -> NDArray[np.float32]:
    """Return rows of a matrix of signs, each there by a chance of ``chances / CHANCES``, else 0.

    16 bits an entry: the upper one is the sign, the others say whether it is there.
    """
    n_rows, n_words = rows.stop - rows.start, -(-n_columns // 4)
    drawn = words(seed, stream, rows.start * n_words, n_rows * n_words).view("<u2")
    drawn = drawn.reshape(n_rows, 4 * n_words)[:, :n_columns]
    sign = 1 - 2 * (drawn >> 15).astype(np.int8)
    return (sign * ((drawn & (CHANCES - 1)) < chances)).astype(np.float32)


def gaussians(seed: int, stream: int, rows: slice, n_columns: int) -> NDArray[np.float32]:
    """Return rows of a matrix of independent standard normal entries, 16 bits an entry.

    Each entry is one of 65,536 equally likely numbers, the quantiles of the normal distribution
    scaled to variance 1: normal up to that rounding, and never beyond 4.4.
    """
    n_rows, n_words = rows.stop - rows.start, -(-n_columns // 4)
    drawn = words(seed, stream, rows.start * n_words, n_rows * n_words).view("<u2")
    return _normal_levels().take(drawn.reshape(n_rows, 4 * n_words)[:, :n_columns])


def sketch_places(
    seed: int, stream: int, rows: slice, n_buckets: int, n_nonzeros: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the buckets and signs of rows of a sparse embedding, each ``[n_rows, n_nonzeros]``.

    Each of a row's entries has its own range of the buckets, one word an entry: 32 bits choose the
    bucket (each as likely as another up to ``n_buckets / 2^32``), one the sign.
    """
    n_rows = rows.stop - rows.start
    drawn = words(seed, stream, rows.start * n_nonzeros, n_rows * n_nonzeros)
    drawn = drawn.reshape(n_rows, n_nonzeros)
    edges = np.arange(n_nonzeros + 1, dtype=np.uint64) * np.uint64(n_buckets)
    edges //= np.uint64(n_nonzeros)
    buckets = edges[:-1] + ((drawn >> np.uint64(32)) * np.diff(edges) >> np.uint64(32))
    sign = 1 - 2 * (drawn & np.uint64(1)).astype(np.float32)
    return buckets.astype(np.int64), sign


@cache
def _normal_levels() -> NDArray[np.float32]:
    quantiles = normal_quantile((np.arange(1 << 16) + 0.5) / (1 << 16))
    # `fsum` rounds once, whatever the order: NumPy's sums depend on the machine.
    quantiles /= sqrt(fsum(quantiles * quantiles) / len(quantiles))
    levels = quantiles.astype(np.float32)
    levels.setflags(write=False)
    return levels


def normal_quantile(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quantiles of the standard normal distribution, to about seven digits.

    References:
        Wichura, 1988. Algorithm AS 241: the percentage points of the normal distribution. PPND7.
    """
    centred = chances - 0.5
    square = 0.180625 - centred * centred
    quantiles = centred * _ratio(
        square,
        (3.3871327179, 50.434271938, 159.29113202, 59.109374720),
        (1.0, 17.895169469, 78.757757664, 67.187563600),
    )
    tail = np.abs(centred) > 0.425  # noqa: PLR2004 - as published
    chance = np.minimum(chances[tail], 1.0 - chances[tail])
    root = np.sqrt(-_exact_log(chance))
    near = _ratio(
        root - 1.6,
        (1.4234372777, 2.7568153900, 1.3067284816, 0.17023821103),
        (1.0, 0.73700164250, 0.12021132975),
    )
    far = _ratio(
        root - 5.0,
        (6.6579051150, 3.0812263860, 0.42868294337, 0.017337203997),
        (1.0, 0.24197894225, 0.012258202635),
    )
    size = np.where(root <= 5.0, near, far)  # noqa: PLR2004 - as published
    quantiles[tail] = np.where(centred[tail] < 0, -size, size)
    return quantiles


def _ratio(
    x: NDArray[np.float64], above: tuple[float, ...], below: tuple[float, ...]
) -> NDArray[np.float64]:
    return _polynomial(x, above) / _polynomial(x, below)


def _polynomial(x: NDArray[np.float64], coefficients: tuple[float, ...]) -> NDArray[np.float64]:
    value = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value *= x
        value += coefficient
    return value


def _exact_log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return natural logarithms by operations that round the same on every machine.

    The logarithms of mathematical libraries differ in the last digit.
    """
    mantissa, exponent = np.frexp(x)
    is_small = mantissa < 0.5**0.5
    mantissa = np.where(is_small, 2 * mantissa, mantissa)
    exponent = exponent - is_small
    ratio = (mantissa - 1) / (mantissa + 1)
    series = _polynomial(ratio * ratio, tuple(2.0 / odd for odd in range(1, 19, 2)))
    return exponent * 0.6931471805599453 + ratio * series
