"""What the client tests share. They drive a server that runs, with clients as they are published.

`cargo test -p skysail-server --test tritonclient` starts it and says in the environment where it
is; SKYSAIL_PYTEST_ARGS="-k stream" there chooses among the tests.
"""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import tritonclient.grpc
import tritonclient.http
from asking import GRPC, HTTP

# The status of each kind of error, by protocol.
STATUS = {
    "http": {
        "bad": "400",
        "missing": "404",
        "unsupported": "501",
        "unavailable": "503",
        "late": "504",
    },
    "grpc": {
        "bad": "StatusCode.INVALID_ARGUMENT",
        "missing": "StatusCode.NOT_FOUND",
        "unsupported": "StatusCode.UNIMPLEMENTED",
        "unavailable": "StatusCode.UNAVAILABLE",
        "late": "StatusCode.DEADLINE_EXCEEDED",
    },
}


def connect(kind, http, grpc):
    """A client and its module, with the status of each kind of error."""
    module = {"http": tritonclient.http, "grpc": tritonclient.grpc}[kind]
    url = {"http": http, "grpc": grpc}[kind]
    client = module.InferenceServerClient(url)
    return SimpleNamespace(kind=kind, module=module, client=client, status=STATUS[kind])


@pytest.fixture(params=["http", "grpc"])
def protocol(request):
    """Each protocol in turn, on the server that has loaded everything."""
    made = connect(request.param, HTTP, GRPC)
    yield made
    made.client.close()


@pytest.fixture(params=["http", "grpc"])
def explicit(request):
    """Each protocol in turn, on the server that loads models by name."""
    http, grpc = os.environ["SKYSAIL_EXPLICIT_HTTP"], os.environ["SKYSAIL_EXPLICIT_GRPC"]
    made = connect(request.param, http, grpc)
    made.folder = Path(os.environ["SKYSAIL_EXPLICIT_MODELS"])
    yield made
    made.client.close()


@pytest.fixture
def http():
    """The client for HTTP."""
    with tritonclient.http.InferenceServerClient(HTTP, concurrency=8) as client:
        yield client


@pytest.fixture
def grpc():
    """The client for gRPC."""
    with tritonclient.grpc.InferenceServerClient(GRPC) as client:
        yield client


def as_dict(answer):
    """An admin response of either client: plain for HTTP, a message for gRPC."""
    from google.protobuf.json_format import MessageToDict

    if isinstance(answer, (dict, list)):
        return answer
    return MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
