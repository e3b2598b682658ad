"""The pages of a recorded pipeline, over HTTP: what they show, and that every link leads on."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from html import unescape
from html.parser import HTMLParser
from http.client import HTTPConnection, HTTPResponse
from threading import Thread

import pytest

from tests.recorded_store import ESCAPE, HOSTILE, N_PEOPLE, N_TRAIN, lines_of, record_pipeline
from traceprop_engine.explanation import explain, what_if_removed
from traceprop_engine.presentation import plain_value, signed, signed_column
from traceprop_engine.recording import find_dataset_version, load_training_run
from traceprop_engine.serving import HOST, bind
from traceprop_engine.store import Store

VOID = {"meta", "link", "input", "br", "img", "hr"}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record_pipeline(tmp_path_factory.mktemp("recorded"))


@contextmanager
def serving(store) -> Iterator[int]:
    """Serve a store on a free port, which is the value."""
    with bind(store, 0) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def port(recorded):
    with serving(recorded.store) as port:
        yield port


def fetch(port, target, method="GET", **headers) -> tuple[HTTPResponse, str]:
    connection = HTTPConnection(HOST, port, timeout=60)
    connection.request(method, target, headers=headers)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response, body


@pytest.fixture(scope="module")
def page(port):
    """Return the text of the page at an address, which must exist."""

    def get(target):
        response, body = fetch(port, target)
        assert (response.status, target) == (200, target)
        return body

    return get


def text_of(html):
    """Return what a reader sees of a page."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)))


def records_of(html):
    """Return the source records on a page: file name, line number, exact text."""
    found = []
    for file in re.findall(r'<figure class="file">(.*?)</figure>', html, re.DOTALL):
        name = re.search(r"<strong>(?:<a [^>]*>)?([^<]+)", file)[1]
        cells = re.findall(
            r'<th scope="row">(?:<a [^>]*>)?([#\d]+).*?<td>(.*?)</td>', file, re.DOTALL
        )
        found += [(name, number, unescape(text)) for number, text in cells]
    return found


class Balance(HTMLParser):
    """Notes tags that are not closed in order, and what no page of ours may hold."""

    def __init__(self):
        super().__init__()
        self.open, self.problems, self.links, self.ids = [], [], [], set()

    def handle_starttag(self, tag, attrs):
        if tag in {"script", "style", "iframe"} or any(
            n.startswith("on") or n == "style" for n, _ in attrs
        ):
            self.problems.append(f"<{tag} {attrs}>")
        self.links += [value for name, value in attrs if name == "href"]
        self.ids |= {value for name, value in attrs if name == "id"}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}>")


def checked(html):
    balance = Balance()
    balance.feed(html)
    balance.close()
    assert (balance.problems, balance.open) == ([], [])
    return balance


def test_every_link_of_every_page_leads_to_a_sound_page(page):
    waiting, seen = ["/"], {}
    while waiting:
        target, _, anchor = waiting.pop().partition("#")
        kind = re.sub(r"\d+$|(?<=_)[0-9a-f]{24}|\?page=\d+", "*", target)
        n_alike = sum(k == kind for k, _ in seen.values())
        if target not in seen and n_alike < 6:
            found = checked(page(target))
            seen[target] = (kind, found.ids)
            waiting += [
                link for link in found.links if link.startswith("/") and link != "/style.css"
            ]
            assert all(link.startswith(("/", "data:", "#")) for link in found.links)
        if anchor and target in seen:
            assert anchor in seen[target][1]
    kinds = {kind for kind, _ in seen.values()}
    assert kinds >= {
        "/",
        "/dataset/dv_*",
        "/dataset/dv_*/row/*",
        "/source/sv_*",
        "/source/sv_*/row/*",
        "/run/tr_*",
        "/explain/dv_*/*",
        "/explanation/q_*",
    }


def test_the_start_page_shows_the_newest_version_of_everything(page, recorded):
    html = page("/")
    for version in (recorded.visit_features, recorded.table, recorded.model, recorded.predictions):
        assert f'href="/dataset/{version}"' in html
    assert recorded.older_table not in html
    for source in (recorded.people, recorded.visits, recorded.areas):
        assert f'href="/source/{source}"' in html
    assert f'href="/run/{recorded.run}"' in html
    assert f'href="/explanation/{recorded.query}"' in html
    shown = text_of(html)
    assert "2024-01" in shown
    assert re.search(r"mystery 5 0\.0% unknown", shown)


@pytest.mark.parametrize("row", [0, 1, 2, 6, 59])
def test_the_page_of_a_row_shows_the_exact_records(page, recorded, row):
    records = records_of(page(f"/dataset/training_table/row/{row}"))
    expected = [
        (f"{name}.csv", str(number), text.replace("\x1b", "␛"))
        for name in ("people", "visits")
        for number, text in lines_of(recorded.folder / f"{name}.csv", row).items()
    ]
    text_records = [record for record in records if record[0] != "areas.parquet"]
    assert sorted(text_records) == sorted(expected)
    (area,) = [record for record in records if record[0] == "areas.parquet"]
    assert (area[1], json.loads(area[2])["id"]) == (f"#{N_PEOPLE - 1 - row}", row)


def test_records_of_a_csv_file_stand_under_its_header(page):
    html = page("/dataset/training_table/row/1")
    headers = re.findall(r'<tr class="header"><td></td><td>(.*?)</td>', html)
    assert sorted(headers) == ["id,age,note", "id,cost"]


def test_the_page_of_a_row_draws_the_chain_and_names_operations(page, recorded):
    html = page(f"/dataset/{recorded.predictions}/row/3")
    person = N_TRAIN + 3
    (chain,) = re.findall(r'<svg class="chain".*?</svg>', html, re.DOTALL)
    drawn = re.findall(r'class="name"[^>]*>([^<]+)</text><text class="caption"[^>]*>([^<]+)', chain)
    n_visits = len(lines_of(recorded.folder / "visits.csv", person))
    assert set(drawn) == {
        ("people", "1 record"),
        ("visits", f"{n_visits} records"),
        ("areas", "1 record"),
        ("visit_features", "1 of 60 rows"),
        ("training_table", "1 of 60 rows"),
        ("predictions", "1 of 15 rows"),
    }
    assert chain.count('class="edge') == 5
    assert f'href="/source/{recorded.people}/row/{person}"' in chain
    assert f'href="/dataset/{recorded.table}/row/{person}"' in chain
    shown = text_of(html)
    assert "DataFrame.merge(on='id', how='inner'): 60 + 60 → 60 rows" in shown
    assert "training_table depends on Series.mean of age over 60 rows of people" in shown
    assert f'href="/explain/{recorded.predictions}/3"' in html


def test_a_lost_way_is_an_alarm(page):
    html = page("/dataset/mystery/row/1")
    assert '<section class="alarm">' in html
    assert "unknown" in text_of(html)
    assert "DataFrame.values left pandas" in page("/dataset/mystery")


def test_the_page_of_a_dataset_shows_maps_operations_statistics_and_rows(page, recorded):
    html = page("/dataset/training_table")
    shown = text_of(html)
    assert re.search(r"people identity 60 60 100\.0%", shown)
    assert re.search(r"areas \w+ 60 60 100\.0%", shown)
    assert re.search(r"1 DataFrame\.merge on='id' 60 \+ 60 60", shown)
    assert re.search(r"Series\.mean age people 60", shown)
    rows = re.findall(r'/row/(\d+)">\d+</a>', html)
    assert rows == [str(n) for n in range(50)]
    assert plain_value(float(recorded.frame["cost"][7])) in shown
    assert f'href="/dataset/{recorded.older_table}"' in html
    assert f'href="/dataset/{recorded.model}"' in html


def test_a_long_table_is_turned_page_by_page(page, port):
    rows = re.findall(r'/row/(\d+)">\d+</a>', page("/dataset/training_table?page=2"))
    assert rows == [str(n) for n in range(50, 60)]
    assert page("/dataset/training_table?page=99") == page("/dataset/training_table?page=2")
    assert page("/dataset/training_table?page=x") == page("/dataset/training_table")
    response, _ = fetch(port, "/dataset/training_table?row=55")
    assert response.status == 303
    assert page(response.headers["Location"]) == page("/dataset/training_table/row/55")


def test_the_page_of_a_model_lists_its_training_rows(page, recorded):
    html = page(f"/dataset/{recorded.model}")
    assert f'href="/run/{recorded.run}"' in html
    assert re.findall(r'/row/(\d+)">\d+</a>', html) == [str(n) for n in range(N_TRAIN)]


def test_the_page_of_a_source_shows_its_records(page, recorded):
    shown = records_of(page(f"/source/{recorded.people}"))
    expected = [lines_of(recorded.folder / "people.csv", person) for person in range(50)]
    texts = [text.replace("\x1b", "␛") for lines in expected for text in lines.values()]
    assert [text for _, _, text in shown] == texts


def test_the_page_of_a_record_shows_what_it_reached(page, recorded):
    html = page(f"/source/{recorded.people}/row/7")
    assert f'href="/dataset/{recorded.table}/row/7"' in html
    assert f'href="/dataset/{recorded.model}/row/7"' in html
    assert f'href="/run/{recorded.run}"' in html
    assert recorded.predictions not in html
    assert "1 older version of these datasets" in text_of(html)
    assert "Series.mean of age" in text_of(html)
    other = page(f"/source/{recorded.people}/row/50")
    assert f'href="/dataset/{recorded.predictions}/row/5"' in other
    assert recorded.run not in other


def test_the_page_of_a_run_shows_convergence_quality_and_weights(page, recorded):
    html = page(f"/run/{recorded.run}")
    shown = text_of(html)
    run = load_training_run(recorded.store, recorded.run).run
    assert "converged" in shown
    for name, value in run.metrics.items():
        assert f"{name} {plain_value(value)}" in shown
    for name, weight in zip(run.feature_names, run.parameters[0], strict=False):
        assert f"{name} {signed(float(weight))}" in shown
    assert html.count('class="dot"') == len(run.loss_curve)
    assert plain_value(max(run.loss_curve)) in shown
    assert f'href="/dataset/{recorded.predictions}#rows"' in html


def test_an_explanation_shows_scores_bars_lines_and_the_removal(page, recorded):
    html = page(f"/explain/{recorded.predictions}/4")
    shown = text_of(html)
    answer = explain(recorded.store, row=4)
    for row, influence in zip(
        answer.rows, signed_column([row.influence for row in answer.rows]), strict=True
    ):
        assert f"{row.rank} {influence}" in shown
        assert f'href="/dataset/{recorded.model}/row/{row.training_row}"' in html
    assert html.count('class="up"') + html.count('class="down"') == len(answer.rows)
    assert html.count('class="up"') == sum(row.influence > 0 for row in answer.rows)
    first = answer.rows[0].training_row
    effect = what_if_removed(recorded.store, row=4, training_rows=[first])
    assert f"Change found {signed(effect.found_change)}" in shown
    assert f"Change predicted {signed(effect.predicted_change)}" in shown
    own = lines_of(recorded.folder / "people.csv", N_TRAIN + 4)
    for number, text in own.items():
        assert ("people.csv", str(number), text.replace("\x1b", "␛")) in records_of(html)


def test_bars_are_as_long_as_the_influences(page, recorded):
    html = page(f"/explain/{recorded.predictions}/4")
    widths = [float(w) for w in re.findall(r'class="(?:up|down)" [^>]*width="([\d.]+)"', html)]
    influences = [abs(row.influence) for row in explain(recorded.store, row=4).rows]
    assert widths == pytest.approx([80 * i / max(influences) for i in influences], abs=0.06)


def test_a_recorded_explanation_is_the_same_with_what_was_recorded(page, recorded):
    html = page(f"/explanation/{recorded.query}")
    again = page(f"/explain/{recorded.predictions}/4")
    ranking = r'<table class="ranking">.*?</table>'
    assert re.search(ranking, html, re.DOTALL)[0] == re.search(ranking, again, re.DOTALL)[0]
    assert "Recorded removals" in html
    assert "Recorded removals" not in again


def test_another_target_can_be_explained(page, port, recorded):
    assert "moved its loss most" in page(f"/explain/{recorded.predictions}/4?target=loss")
    response, body = fetch(port, f"/explain/{recorded.predictions}/4?target=nothing")
    assert (response.status, "target=nothing" in body) == (404, True)


def test_hostile_text_in_data_stays_text(page, recorded):
    for target in ("/dataset/training_table/row/1", f"/source/{recorded.people}/row/1"):
        html = page(target)
        assert HOSTILE not in html
        assert "&lt;script&gt;alert(" in html
        assert HOSTILE in text_of(html)
    assert ESCAPE not in page(f"/source/{recorded.people}/row/2")


def test_names_are_percent_encoded_in_addresses(page, port):
    assert "<h1>reports/monthly" in page("/dataset/reports%2Fmonthly")
    response, body = fetch(port, "/dataset/a%2Fb%20%3Cx%3E")
    assert response.status == 404
    assert "&#39;a/b &lt;x&gt;&#39;" in body


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/nothing", "no page"),
        ("/dataset/nothing", "no dataset or source 'nothing'"),
        ("/dataset/training_table/row/60", "no row 60"),
        ("/dataset/training_table/row/-1", "no page"),
        ("/dataset/training_table/row/1e3", "no page"),
        ("/dataset/training_table/row/" + "9" * 30, "no page"),
        ("/dataset/training_table/row/%D9%A3", "no page"),
        ("/source/nothing", "no source 'nothing'"),
        ("/run/nothing", "no training run"),
        ("/explain/training_table/0", "'training_table' holds none"),
        ("/explain/predictions/99", "no row 99"),
        ("/explanation/nothing", "no page"),
        ("/../../etc/passwd", "no page"),
        ("/%2e%2e/%2e%2e/etc/passwd", "no page"),
        ("/style.css/..", "no page"),
        ("/dataset", "no page"),
    ],
)
def test_what_does_not_exist_is_404_in_one_line(port, target, words):
    response, body = fetch(port, target)
    assert response.status == 404
    assert words in text_of(body)
    assert re.search(r'<p class="lead">[^\n]+</p>', body)
    assert "Traceback" not in body
    checked(body)


def test_a_source_record_out_of_range_is_404(port, recorded):
    response, body = fetch(port, f"/source/{recorded.people}/row/60")
    assert (response.status, "60" in body) == (404, True)


def test_many_readers_get_the_same_pages(port, recorded, page):
    targets = ["/dataset/training_table", f"/run/{recorded.run}", "/dataset/predictions/row/3"]
    alone = [page(target) for target in targets]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(page, targets * 4))
    assert together == alone * 4


def test_reading_pages_writes_nothing(page, recorded):
    before = recorded.store.info()
    for target in ("/", f"/explain/{recorded.predictions}/2", f"/source/{recorded.people}/row/3"):
        page(target)
    assert recorded.store.info() == before


def test_new_facts_are_on_the_next_page(tmp_path):
    with serving(Store.create(tmp_path / "store")) as port:
        assert "No dataset is recorded yet" in fetch(port, "/")[1]
        record_pipeline(tmp_path)
        assert "training_table" in fetch(port, "/")[1]


def test_a_changed_file_is_said_where_its_records_would_stand(tmp_path):
    recorded = record_pipeline(tmp_path)
    with (tmp_path / "people.csv").open("a") as file:
        file.write("60,1.0,new\n")
    with serving(recorded.store) as port:
        _, body = fetch(port, "/dataset/training_table/row/5")
        _, source = fetch(port, f"/source/{recorded.people}")
    assert body.count('class="lost"') == 1
    assert "the file has other bytes now" in text_of(body)
    assert records_of(body)
    assert source.count('class="lost"') == 50


def test_a_damaged_block_is_500_in_one_line_and_the_server_goes_on(tmp_path):
    recorded = record_pipeline(tmp_path)
    version = find_dataset_version(recorded.store, "visit_features")
    (block,) = (recorded.store.directory / "blocks").rglob(f"{version.content_block}.parquet")
    block.chmod(0o644)
    block.write_bytes(b"damaged")
    with serving(recorded.store) as port:
        response, body = fetch(port, "/dataset/visit_features")
        assert response.status == 500
        assert "is damaged" in text_of(body)
        assert fetch(port, "/")[0].status == 200
