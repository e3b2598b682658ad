"""Errors of nets that are recorded with their table, and of nets that a store holds."""

from collections.abc import Mapping

from traceprop_engine.errors.base import TracepropError


class NetRowsError(TracepropError):
    """A training does not have the rows of the table that it was given."""

    def __init__(self, name: str, n_train: int, n_rows: int) -> None:
        super().__init__(
            f"Net {name!r} was trained on {n_train:,} rows, but the table has {n_rows:,}; train on "
            "exactly the rows that were passed to `fit`."
        )


class NetNotStoredError(TracepropError):
    """A net in a store has no code, so that it answers for recorded predictions only."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The store keeps no code of net {name!r}, so it has no gradients of new rows; ask "
            "about predictions that were recorded, or restore the net with `StoredNet.restored`."
        )


class NetRemovalError(TracepropError):
    """Rows cannot be taken out of a net by Newton steps."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r} is a net, from which no Newton step takes a row exactly; train it again "
            "without the rows, or ask for the influence scores alone."
        )


class NetGradientsError(TracepropError):
    """Predictions were not made by the net that they are recorded with."""

    def __init__(self, dataset: str, made_by: str, recorded_with: str) -> None:
        super().__init__(
            f"The predictions of {dataset!r} were made by net {made_by!r}, whose parameters are "
            f"not those of the input {recorded_with!r}; predict with that net."
        )


class NetWeightsError(TracepropError):
    """The rows of a net had weights in its training, which a store does not keep."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Net {name!r} was trained with weights of its rows, which a store does not keep, so "
            "it could not be restored or trained again from there; train it without `weights`, or "
            "ask the training itself."
        )


class NetFormError(TracepropError):
    """The parameters of a net in a store are of another form than the code that was given."""

    def __init__(
        self, name: str, wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
    ) -> None:
        differs = next(path for path in [*wanted, *found] if wanted.get(path) != found.get(path))
        super().__init__(
            f"Net {name!r} has {found.get(differs, 'nothing')} at {differs}, the code given has "
            f"{wanted.get(differs, 'nothing')}; build the net as it was trained."
        )
