"""promtool accepts the metrics, and a Prometheus that scrapes a run finds something for each of the
dashboard's queries. `make proof` installs both."""

import json
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from broker.gateway.metrics import CONTENT_TYPE
from tests.broker.gateway.sinks.scene import Scene
from tests.broker.gateway.sinks.test_metrics import FOLDER
from tests.support.mosquitto_process import free_port

pytestmark = pytest.mark.proof
WAIT_S = 60.0
CONFIG = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: hum
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is missing: `make proof` installs it, with Debian's package prometheus"
    return found


@contextmanager
def served(scene: Scene) -> Iterator[int]:
    """Serve the metrics; with each scrape more has happened. Yield the port."""
    count = iter(range(10**6))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            scene.all(next(count))
            text = scene.metrics.render()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(WAIT_S)


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[int]:
    """Run a Prometheus that scrapes the port `target`; yield its own."""
    port = free_port()
    (folder / "prometheus.yml").write_text(CONFIG.format(port=target))
    arguments = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program("prometheus"), *arguments, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
        )
        try:
            yield port
        finally:
            process.terminate()
            process.wait(WAIT_S)


def result(port: int, query: str) -> list[dict]:
    """Return what a query finds now; nothing while there is no Prometheus yet."""
    address = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            found = json.load(answer)
    except OSError as error:
        assert not isinstance(error, urllib.error.HTTPError), f"{query}: {error.read().decode()}"
        return []
    assert found["status"] == "success"
    return [one for one in found["data"]["result"] if one["value"][1] != "NaN"]


def test_promtool_accepts_the_metrics():
    scene = Scene()
    for text in (scene.metrics.render(), (scene.all(), scene.metrics.render())[1]):
        done = subprocess.run(
            [program("promtool"), "check", "metrics"], check=False, input=text, capture_output=True, timeout=WAIT_S
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_each_query_of_the_dashboard_finds_something_in_a_scraped_run(tmp_path: Path):
    dashboard = json.loads((FOLDER / "hum.json").read_text())
    waiting = {target["expr"] for panel in dashboard["panels"] for target in panel["targets"]}
    assert len(waiting) > 15
    deadline = time.monotonic() + WAIT_S
    with served(Scene()) as target, prometheus(tmp_path, target) as port:
        while waiting and time.monotonic() < deadline:
            time.sleep(0.5)
            waiting = {query for query in waiting if not result(port, query.replace("$group", ".*"))}
    assert not waiting
