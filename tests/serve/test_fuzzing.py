"""What the API's own schema allows, and much that it does not, is answered without a fault of the server's."""

from __future__ import annotations

from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from tests.serve.asking import ask
from tests.serve.test_completions import small_model
from tests.serve.world import running

from ropewalk.serve.app import Service
from ropewalk.serve.feedback import Store

schemathesis = pytest.importorskip("schemathesis")
pytestmark = pytest.mark.peer

EXAMPLES = 40  # of each operation


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("feedback") / "feedback.sqlite", create=True)
    service = Service({"small": small_model("small")}, most_waiting=16, most_tokens=4, starters=(), feedback=store)
    with closing(store), running(service) as address:
        yield address
        assert ask(address, "/v1/completions", {"model": "small", "prompt": "x"})[0] == 200
        assert service.runners["small"].in_flight == 0


@pytest.fixture(scope="module")
def described(address):
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")

    @schema.hook
    def map_body(context, body):
        """A model that is there, half the time: or nearly all requests would end at its name."""
        if isinstance(body, dict) and "model" in body and len(str(body)) % 2:
            return {**body, "model": "small"}
        return body

    return schema


def test_no_request_makes_the_server_fail(described):
    tried = set()
    for found in described.get_all_operations():
        operation = found.ok()

        @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def no_fault(case):
            response = case.call()
            tried.add(case.path)
            assert response.status_code < 500, response.text
            if response.status_code >= 400 and not case.path.startswith("/pages"):
                assert set(response.json()["error"]) == {"message", "type", "param", "code"}

        no_fault()
    assert {"/v1/chat/completions", "/v1/completions", "/v1/feedback", "/tokenize", "/detokenize", "/metrics"} <= tried
