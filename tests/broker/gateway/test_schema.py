"""The whole OpenAPI document against the gateway that answers: no fault of the program, and no
answer that is not in the document."""

import contextlib
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
    use_after_free,
)

from broker.gateway.http.limits import Limiter
from tests.broker.gateway.gate import Gate, a_round, progress, standing
from tests.broker.gateway.lane import ask, watch_of_lane, with_lane

CHECKS = [
    content_type_conformance,
    ignored_auth,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
    use_after_free,
]
EXAMPLES = 25


@pytest.mark.proof
def test_every_operation_answers_as_the_document_says(tmp_path: Path) -> None:
    gate = with_lane(Gate(tmp_path / "gateway"), watch_of_lane(tmp_path / "town"))
    gate.put(a_round(0), a_round(1, None), a_round(1, (1, 2), "yard"))
    gate.feed.linked = True
    assert ask(gate).status_code == 202
    gate.members.take(standing(kitchen="offline"))
    gate.members.take(progress())
    gate.hub.is_closed = True  # a stream ends as it begins
    gate.serving.requests = gate.serving.failures = Limiter(1e9, 1e9)
    headers = {"Authorization": f"Bearer {gate.token()}"}
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", gate.app)
    asked = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        asked.add(operation.label)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            _ask(operation.as_strategy(generation_mode=mode), headers)
    assert len(asked) == 24


def _ask(cases: SearchStrategy[schemathesis.Case], headers: dict[str, str]) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=cases)
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=headers, checks=CHECKS)

    with contextlib.suppress(Unsatisfiable):  # where nothing can be asked wrongly
        ask()
