"""KServe's clients for REST, V1 and V2, and for gRPC.

They run in a process of their own: protobuf takes either their messages or tritonclient's.
"""

import asyncio
import importlib.util
import os
import sys
import types

import numpy as np
import pytest

HTTP = os.environ["SKYSAIL_HTTP"]
GRPC = os.environ["SKYSAIL_GRPC"]
X = np.array([[1.5, -2.0, 0.25], [3.0, 4.0, 5.0]], dtype=np.float32)
# A server that writes NaN as null, as this client reads no other notation.
NULL_HTTP = os.environ["SKYSAIL_NULL_HTTP"]


def client_modules():
    """The client's modules, unmodified.

    The package itself imports its server, which needs Kubernetes, so it is not run.
    """
    spec = importlib.util.find_spec("kserve")
    assert spec, "there is no kserve: run `cargo xtask setup --clients`, which brings it"
    package = types.ModuleType("kserve")
    package.__path__, package.__spec__ = list(spec.submodule_search_locations), spec
    sys.modules["kserve"] = package
    from kserve import inference_client
    from kserve.protocol import infer_type

    return inference_client, infer_type


CLIENT, TYPES = client_modules()


def rest(ask, protocol, address=HTTP):
    """Runs `ask` with a REST client."""

    async def run():
        client = CLIENT.InferenceRESTClient(CLIENT.RESTConfig(protocol=protocol, retries=0))
        try:
            return await ask(client, f"http://{address}")
        finally:
            await client.close()

    return asyncio.run(run())


def grpc(ask):
    """Runs `ask` with a gRPC client."""

    async def run():
        async with CLIENT.InferenceGRPCClient(GRPC) as client:
            return await ask(client)

    return asyncio.run(run())


def request(array, datatype, binary, model="identity-FP32", **options):
    """A request whose input and output are raw or not."""
    tensor = TYPES.InferInput("x", list(array.shape), datatype, parameters={"content_type": "np"})
    tensor.set_data_from_numpy(array, binary_data=binary)
    output = TYPES.RequestedOutput("y", parameters={"binary_data": binary, "content_type": "np"})
    return TYPES.InferRequest(model, [tensor], request_outputs=[output], **options)


def infer(sent, address=HTTP):
    """Sends a V2 request over REST and returns the only output."""
    ask = lambda client, url: client.infer(url, sent, model_name=sent.model_name)
    return rest(ask, "v2", address).outputs[0].as_numpy()


@pytest.mark.parametrize("binary", [False, True])
def test_v2_over_rest(binary):
    sent = request(X, "FP32", binary, request_id="7", parameters={"tenant": "blue", "headers": {}})
    np.testing.assert_array_equal(infer(sent), X)


def test_halves_over_rest():
    sent = request(X.astype(np.float16), "FP16", True, "identity-FP16")
    np.testing.assert_array_equal(infer(sent), X.astype(np.float16))


def test_missing_values_over_rest():
    x = np.array([[np.nan, 1.0, np.nan]], dtype=np.float32)
    # The client writes NaN as null, and reads nothing else.
    np.testing.assert_array_equal(infer(request(x, "FP32", False), NULL_HTTP), x)


def test_v2_over_grpc():
    tensor = TYPES.InferInput("x", list(X.shape), "FP32", parameters={"content_type": "np"})
    tensor.set_data_from_numpy(X, binary_data=True)
    sent = TYPES.InferRequest(
        "identity-FP32", [tensor], request_id="7", parameters={"tenant": "blue", "weight": 3}
    )
    answer = grpc(lambda client: client.infer(sent))
    assert answer.id == "7"
    np.testing.assert_array_equal(answer.outputs[0].as_numpy(), X)


def test_v1_by_rows_and_by_columns():
    for body in [{"instances": X.tolist()}, {"instances": [{"x": row} for row in X.tolist()]}]:
        ask = lambda client, url: client.infer(url, body, model_name="identity-FP32")
        assert rest(ask, "v1") == {"predictions": X.tolist()}


def test_v1_reads_null_for_what_is_not_finite():
    body = {"instances": [[None, 1.0]]}
    ask = lambda client, url: client.infer(url, body, model_name="identity-FP32")
    assert rest(ask, "v1", NULL_HTTP) == {"predictions": [[None, 1.0]]}


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_health_over_rest(protocol):
    ask = lambda question: rest(question, protocol, NULL_HTTP)
    assert ask(lambda client, url: client.is_server_live(url))
    assert ask(lambda client, url: client.is_model_ready(url, "identity-FP32"))
    if protocol == "v2":
        assert ask(lambda client, url: client.is_server_ready(url))


def test_health_over_grpc():
    assert grpc(lambda client: client.is_server_live())
    assert grpc(lambda client: client.is_model_ready("identity-FP32"))
