"""/metrics of the HTTP interface: for the scope `members`, and no other."""

from pathlib import Path

from broker.gateway.metrics import CONTENT_TYPE
from tests.broker.gateway.gate import Gate


def test_metrics_want_a_token_of_the_scope_members(tmp_path: Path):
    gate = Gate(tmp_path)
    assert gate.ask("/metrics", "").status_code == 401
    assert gate.ask("/metrics", "hum_aaaaaaaa_x").status_code == 401
    for scopes in (("sums",), ("admin",), ("ask:*:*",), ("sums", "admin", "ask:*:*")):
        assert gate.ask("/metrics", gate.token(*scopes)).status_code == 403
    answer = gate.ask("/metrics", gate.token("members"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, CONTENT_TYPE)
    assert 'hum_build_info{version="0.1"} 1.0' in answer.text.splitlines()
    assert gate.ask("/metrics", gate.token("members"), "POST").status_code == 405
