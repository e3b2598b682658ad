"""Addresses to pages: what a browser asks for, and what it gets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from http import HTTPStatus
from importlib.resources import files
from urllib.parse import parse_qs, unquote, urlsplit

from traceprop_engine.errors import (
    DatasetNotFoundError,
    NoPredictionsError,
    PageNotFoundError,
    RowNotFoundError,
    SourceRowError,
    SourceVersionNotFoundError,
    TracepropError,
    TrainingRunNotFoundError,
)
from traceprop_engine.explanation import PredictionSet, load_predictions
from traceprop_engine.serving.dataset_page import dataset_page
from traceprop_engine.serving.explanation_page import explanation_page, recorded_explanation_page
from traceprop_engine.serving.home_page import home_page
from traceprop_engine.serving.row_page import row_page
from traceprop_engine.serving.run_page import run_page
from traceprop_engine.serving.source_page import source_page, source_row_page
from traceprop_engine.serving.views import Redirect, View, render
from traceprop_engine.store import Store

_HTML = "text/html; charset=utf-8"
_MISSING = (
    DatasetNotFoundError,
    SourceVersionNotFoundError,
    NoPredictionsError,
    PageNotFoundError,
    RowNotFoundError,
    SourceRowError,
    TrainingRunNotFoundError,
)
_REMEMBERED_MODELS = 2
_MOST_DIGITS = 12

Query = Mapping[str, str]


@dataclass(frozen=True)
class Response:
    """What goes back to a browser."""

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Site:
    """The pages of one store. It may be asked by many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Versions never change, and a model is expensive to factor.
        self._predictions: Callable[[str], PredictionSet] = lru_cache(_REMEMBERED_MODELS)(
            partial(load_predictions, store)
        )

    def get(self, target: str) -> Response:
        """Return the page at a request target such as ``/dataset/dv_1?page=2``."""
        try:
            address = urlsplit(target)
            parts = [unquote(part) for part in address.path.split("/") if part]
            query = {name: values[-1] for name, values in parse_qs(address.query).items()}
            if parts == ["style.css"]:
                return _style_sheet()
            view = self._view(parts, query)
        except ValueError:  # urlsplit of an address that is none
            return self.message(HTTPStatus.BAD_REQUEST, "This is no address of a page.")
        except _MISSING as error:
            return self.message(HTTPStatus.NOT_FOUND, str(error))
        except TracepropError as error:
            return self.message(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        if isinstance(view, Redirect):
            return Response(HTTPStatus.SEE_OTHER, _HTML, b"", {"Location": view.location})
        return Response(HTTPStatus.OK, _HTML, render(view).encode())

    def message(self, status: HTTPStatus, text: str) -> Response:
        """Return a page that says one thing in one line."""
        view = View("message", {"status": int(status), "phrase": status.phrase, "text": text})
        return Response(status, _HTML, render(view).encode())

    def _view(  # noqa: PLR0911 (one for each address)
        self, parts: list[str], query: Query
    ) -> View | Redirect:
        store = self._store
        match parts:
            case []:
                return home_page(store)
            case ["dataset", dataset]:
                return dataset_page(store, dataset, query)
            case ["dataset", dataset, "row", row]:
                return row_page(store, dataset, _number(row))
            case ["source", source]:
                return source_page(store, source, query)
            case ["source", source, "row", row]:
                return source_row_page(store, source, _number(row))
            case ["run", run]:
                return run_page(store, run)
            case ["explain", dataset, row]:
                target = query.get("target")
                return explanation_page(store, self._predictions, dataset, _number(row), target)
            case ["explanation", query_id]:
                return recorded_explanation_page(store, self._predictions, query_id)
            case _:
                raise PageNotFoundError("/" + "/".join(parts))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise PageNotFoundError(text)
    return int(text)


def _style_sheet() -> Response:
    body = files("traceprop_engine.serving").joinpath("templates", "style.css").read_bytes()
    return Response(HTTPStatus.OK, "text/css; charset=utf-8", body)
