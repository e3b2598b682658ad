"""The server of the pages: for this machine only, for reading only, for nobody else's scripts."""

import socket
import threading
from contextlib import contextmanager
from http.client import HTTPConnection

import pytest

from traceprop_engine.errors import PortUnavailableError
from traceprop_engine.serving import HOST, Site, bind
from traceprop_engine.serving.paging import Paging
from traceprop_engine.serving.server import PageServer
from traceprop_engine.store import Store


@contextmanager
def running(server):
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store.create(tmp_path_factory.mktemp("served") / "store")


@pytest.fixture(scope="module")
def port(store):
    with running(bind(store, 0)) as port:
        yield port


def ask(port, target="/", method="GET", **headers):
    """Return status, headers and body; a header of value ``None`` is left out."""
    connection = HTTPConnection(HOST, port, timeout=60)
    connection.putrequest(method, target, skip_host="Host" in headers)
    for name, value in headers.items():
        if value is not None:
            connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, response.headers, body


def test_it_listens_on_this_machine_alone(store):
    with bind(store, 0) as server:
        assert server.server_address[0] == HOST == "127.0.0.1"
        others = [a[4][0] for a in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
        for address in (a for a in others if not a.startswith("127.")):
            with pytest.raises(OSError, match=r"refused|unreachable"):
                socket.create_connection((address, server.server_port), timeout=2)


def test_it_answers_under_its_own_names_alone(port):
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}"):
        assert ask(port, Host=host)[0] == 200
    strangers = ("evil.example", f"evil.example:{port}", "127.0.0.1", "localhost:1", "", None)
    for host in strangers:
        status, _, body = ask(port, Host=host)
        assert status in {400, 403}
        assert b"Datasets" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_nothing_but_reading_is_answered(port, method):
    status, headers, body = ask(port, method=method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert b"Datasets" not in body


def test_head_answers_like_get_without_the_page(port):
    status, headers, body = ask(port)
    head_status, head_headers, nothing = ask(port, method="HEAD")
    assert (head_status, nothing) == (status, b"")
    for name in ("Content-Length", "Content-Type", "Content-Security-Policy"):
        assert head_headers[name] == headers[name]
    assert int(headers["Content-Length"]) == len(body)


@pytest.mark.parametrize("target", ["/", "/style.css", "/nothing"])
def test_every_answer_forbids_what_these_pages_do_not_need(port, target):
    _, headers, _ = ask(port, target)
    policy = dict(
        part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "style-src": "'self'",
        "img-src": "data:",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
    assert "Python" not in headers["Server"]


def test_scripts_of_other_sites_get_nothing_and_links_from_there_do(port):
    status, _, body = ask(port, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")
    assert (status, b"Datasets" in body) == (403, False)
    assert ask(port, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200
    assert ask(port, Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="no-cors")[0] == 200


def test_a_connection_can_be_used_again(port):
    connection = HTTPConnection(HOST, port, timeout=60)
    for target, status in (("/", 200), ("/nothing", 404), ("/style.css", 200)):
        connection.request("GET", target)
        response = connection.getresponse()
        response.read()
        assert response.status == status
    connection.close()


def test_a_header_cannot_be_smuggled_in_through_an_address(port):
    status, headers, _ = ask(port, "/dataset/x%0d%0aSet-Cookie:%20a=b?row=3")
    assert status == 404
    assert "Set-Cookie" not in headers


def test_a_bad_address_is_400(port):
    status, _, body = ask(port, "http://[bad", Host=f"127.0.0.1:{port}")
    assert (status, b"no address" in body) == (400, True)


def test_a_taken_port_is_named(store):
    with (
        bind(store, 0) as first,
        pytest.raises(PortUnavailableError, match=f"{first.server_port} .*--port"),
    ):
        bind(store, first.server_port)


class Defective(Site):
    def get(self, target):
        raise RuntimeError("a defect of a page")


def test_a_defect_is_answered_and_told_on_the_terminal(store, capfd):
    with running(PageServer(Defective(store), 0)) as port:
        status, _, body = ask(port)
        assert (status, b"could not be made" in body) == (500, True)
        assert b"defect of a page" not in body
        assert ask(port)[0] == 500
    assert "a defect of a page" in capfd.readouterr().err


@pytest.mark.parametrize("n_rows", [0, 1, 49, 50, 51, 1000, 12_345])
def test_the_pages_of_a_table_hold_each_row_once(n_rows):
    first = Paging.of(n_rows, {})
    pages = [Paging.of(n_rows, {"page": str(n)}) for n in range(1, first.n_pages + 1)]
    assert [row for page in pages for row in range(page.start, page.stop)] == list(range(n_rows))
    for page in pages:
        assert page.number in page.neighbours
        assert {1, page.n_pages} <= set(page.neighbours)


@pytest.mark.parametrize("asked", ["0", "-3", "x", "", "1e9", "9" * 40, "٣"])
def test_a_page_that_is_none_is_the_first(asked):
    assert Paging.of(1000, {"page": asked}).number == 1
