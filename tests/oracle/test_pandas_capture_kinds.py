"""Every kind of index, and sharp ways to assign values of another frame."""

import numpy as np
import pandas as pd
import pytest

from tests.oracle.pandas_capture_oracle import Case, check, rows_of_keys
from tests.oracle.test_pandas_capture_odd import N, pair, plain

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning"),
]


def on(make_index):
    """The plain frame on another index."""

    def frames():
        a = plain()["a"]
        a.index = make_index()
        return {"a": a}

    return frames


INDEXES = {
    "categories": lambda: pd.CategoricalIndex(list("abcdefghij"), ordered=True),
    "repeated categories": lambda: pd.CategoricalIndex(list("aabbccddee")),
    "intervals": lambda: pd.interval_range(0, N),
    "periods": lambda: pd.period_range("2024-01", periods=N, freq="M"),
    "time differences": lambda: pd.timedelta_range("1h", periods=N, freq="h"),
    "zoned dates": lambda: pd.date_range("2024-03-30", periods=N, freq="h", tz="Europe/Oslo"),
    "dates without order": lambda: pd.DatetimeIndex(
        np.random.default_rng(0).permutation(pd.date_range("2024-01-01", periods=N))
    ),
    "floats": lambda: pd.Index(np.arange(N) / 4),
    "booleans": lambda: pd.Index([True, False] * (N // 2)),
    "mixed": lambda: pd.Index([1, "a", 2.5, None, (1, 2), "b", 7, "c", 8, "d"], dtype=object),
    "gaps": lambda: pd.Index([0.0, np.nan, 2, 3, np.nan, 5, 6, 7, 8, 9]),
    "nullable": lambda: pd.Index(pd.array([3, None, 1, 2, 5, 4, 7, 6, 9, 8], dtype="Int64")),
    "texts": lambda: pd.Index(list("zyxwvutsrq"), name="letter"),
    "numbers as a range, reversed": lambda: pd.RangeIndex(N, 0, -1),
    "three levels": lambda: pd.MultiIndex.from_product([[1, 2], list("ab"), [0, 1, 2]])[:N],
    "levels with gaps": lambda: pd.MultiIndex.from_arrays([[1, None] * (N // 2), range(N)]),
}
VERBS = {
    "mask": lambda a: a[a.v > 0],
    "reversed": lambda a: a[::-1],
    "sorted": lambda a: a.sort_values("v"),
    "taken": lambda a: a.iloc[[3, 1, 1]],
    "concat": lambda a: pd.concat([a, a.head(2)]),
    "dropped": lambda a: a.drop_duplicates("k"),
    "reset": lambda a: a.iloc[2:].reset_index(),
    "reset, dropped": lambda a: a.sample(5, random_state=0).reset_index(drop=True),
    "group head": lambda a: a.groupby("k").head(1),
    "arithmetic": lambda a: a.assign(z=a.v + a.w * a.k),
    "shifted": lambda a: a.shift(1),
    "two columns": lambda a: pd.concat([a[["o"]], a[["v"]] * 2], axis=1),
    "T twice": lambda a: a.T.T.astype({"o": "int64"}),
    "set in place": lambda a: (lambda d: (d.loc.__setitem__((d.k == 1, "v"), 0.0), d)[1])(a.copy()),
    "looked at": lambda a: (a, a.index.tolist()[0], a.index.name, len(a.index.unique()), repr(a)),
}
KINDS = [
    Case(f"{verb} on {name}", VERBS[verb], {"a": "o"}, frames=on(INDEXES[name]))
    for name in INDEXES
    for verb in VERBS
]


def changed(change, frames=pair(), **more):  # noqa: B008  (a factory, called once)
    """A copy of ``a`` that is changed with the help of ``b``."""

    def run(a, b):
        copy = a.copy()
        change(copy, b)
        return copy

    return {"run": run, "frames": frames, **more}


def from_b(rows):
    """Parents of ``b`` for each row: a mapping of the row to one row, none for the rest."""
    return lambda f, r: {"b": [{rows[i]} if i in rows else set() for i in range(N)]}


LABELS_B = np.random.default_rng(1).permutation(N)
AT_LABEL = {label: row for row, label in enumerate(LABELS_B.tolist())}
SAME = {i: i for i in range(N)}
ONES = [0, 3, 6, 9]

ASSIGN = [
    Case(
        "loc[:, c] by labels",
        keys={"a": "pa"},
        expect=from_b(AT_LABEL),
        **changed(lambda d, b: d.loc.__setitem__((slice(None), "v"), b.y), pair(shuffle_b=True)),
    ),
    Case(
        "iloc[:, c] by position",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(lambda d, b: d.iloc.__setitem__((slice(None), 2), b.y), pair(shuffle_b=True)),
    ),
    Case(
        "iloc of a mask",
        keys={"a": "pa"},
        expect=from_b(dict(zip(ONES, [4, 5, 6, 7], strict=True))),
        **changed(lambda d, b: d.iloc.__setitem__(((d.k == 1).to_numpy(), 2), b.y.iloc[4:8])),
    ),
    Case(
        "loc of a mask and columns",
        keys={"a": "pa"},
        expect=from_b({i: i for i in ONES}),
        **changed(
            lambda d, b: d.loc.__setitem__(
                (d.k == 1, ["v", "w"]), b.rename(columns={"y": "v", "z": "w"})
            )
        ),
    ),
    Case(
        "loc of labels",
        keys={"a": "pa"},
        expect=from_b({2: 2, 5: 5}),
        **changed(lambda d, b: d.loc.__setitem__(([5, 2], "v"), b.y)),
    ),
    Case(
        "a mask of rows and a frame",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(
            lambda d, b: d[["v", "w"]].pipe(
                lambda e: d.update(e.where(d.k != 1, b.rename(columns={"y": "v", "z": "w"})))
            )
        ),
    ),
    Case(
        "isetitem",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(lambda d, b: d.isetitem(2, b.y)),
    ),
    Case(
        "attribute",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(lambda d, b: setattr(d, "v", b.y)),
    ),
    Case(
        "augmented",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(lambda d, b: d.__setitem__("v", d.v.__iadd__(b.y))),
    ),
    Case(
        "frame augmented",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(
            lambda d, b: d.__setitem__(
                ["v"], d[["v"]].__iadd__(b[["y"]].rename(columns={"y": "v"}))
            )
        ),
    ),
    Case(
        "numpy out",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(lambda d, b: d.__setitem__("v", np.add(d.v, b.y))),
    ),
    Case(
        "case_when",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(lambda d, b: d.__setitem__("v", d.v.case_when([(b.y > 3, b.y)]))),
    ),
    Case(
        "a row of the other",
        keys={"a": "pa"},
        context={"b": {3}},
        **changed(lambda d, b: d.loc.__setitem__((2, "v"), b.loc[3, "y"])),
    ),
    Case(
        "series update",
        keys={"a": "pa"},
        expect=from_b({2: 2, 3: 3}),
        **changed(
            lambda d, b: d.__setitem__("v", (lambda s: (s.update(b.y.iloc[2:4]), s)[1])(d.v.copy()))
        ),
    ),
    Case(
        "twice",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(lambda d, b: (d.__setitem__("q", b.y), d.__setitem__("r", b.z))),
    ),
    Case(
        "sorted and put back by label",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(lambda d, b: d.__setitem__("q", b.y.sort_values(ascending=False))),
    ),
    Case(
        "sorted and put back by position",
        lambda a: a.assign(q=a.o.sort_values(ascending=False, ignore_index=True)),
        expect=lambda f, r: {"a": [{i} | rows_of_keys("a", [q])[0] for i, q in enumerate(r.q)]},
        frames=plain,
    ),
]


@pytest.mark.parametrize("case", KINDS + ASSIGN, ids=lambda case: case.name)
def test_rows_keep_their_place_on_every_kind_of_index(case):
    check(case)
