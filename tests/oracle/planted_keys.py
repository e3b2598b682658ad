"""Planted keys: column ``key`` numbers the rows of an input, and a result says which it holds."""

import random

from traceprop_engine.lineage import CaptureSession


def keys_of(frame, column="key"):
    """The input rows of each row of a frame or a table, as its own key column says."""
    values = frame[column]
    listed = values.to_pylist() if hasattr(values, "to_pylist") else values.to_list()
    return [
        [] if value is None else sorted(value) if isinstance(value, list) else [value]
        for value in listed
    ]


def maps_to(lineage, name):
    row_map = lineage.maps[name]
    return [row_map.backward([row]).tolist() for row in range(row_map.n_out)]


def plain_and_tracked(run, inputs, track):
    """The plain result, the tracked one, its lineage."""
    with CaptureSession() as session:
        wanted = run(*inputs.values())
        tracked = run(*(track(each, name, session=session) for name, each in inputs.items()))
        found, lineage = session.finish(tracked)
    return wanted, found, lineage


def random_chain(steps, seed):
    """A function that takes between two and nine of the steps, the same ones at every call."""
    choice = random.Random(seed)  # noqa: S311  (a seeded choice of verbs)
    chain = [(choice.choice(steps), choice.randrange(10**6)) for _ in range(choice.randint(2, 9))]

    def run(value):
        for step, number in chain:
            value = step(value, random.Random(number))  # noqa: S311  (a seeded choice)
        return value

    return run
