"""Options of inference requests."""

import json
import urllib.error
import urllib.request

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from asking import HTTP, tensors, texts, wanted

FLOATS = np.array([[1.5, -2.5, 1e-30]], dtype=np.float32)
INTEGERS = np.array([[1, -(2**63), 2**63 - 1]])
MIXED = {"floats": FLOATS, "integers": INTEGERS, "texts": texts("a", "", "ü\n").reshape(1, 3)}
ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)
COMPRESSIONS = [None, "gzip", "deflate"]


def infer_mixed(protocol, **options):
    return protocol.client.infer("mixed", tensors(protocol.module, MIXED), **options)


def output_names(result):
    response = result.get_response()
    outputs = response["outputs"] if isinstance(response, dict) else response.outputs
    return [output["name"] if isinstance(output, dict) else output.name for output in outputs]


def field(response, name):
    return response.get(name, "") if isinstance(response, dict) else getattr(response, name)


@pytest.mark.parametrize("request_id", ["", "42", 'an "id" ü\n', "x" * 10_000])
def test_the_id_comes_back(protocol, request_id):
    response = infer_mixed(protocol, request_id=request_id).get_response()
    assert field(response, "id") == request_id


def test_the_response_names_model_and_version(protocol):
    response = infer_mixed(protocol).get_response()
    assert (field(response, "model_name"), field(response, "model_version")) == ("mixed", "1")


def test_without_a_wish_all_outputs_come_in_order(protocol):
    result = infer_mixed(protocol)
    assert output_names(result) == ["same floats", "same integers", "same texts"]
    for name, array in MIXED.items():
        np.testing.assert_array_equal(result.as_numpy(f"same {name}"), array)


def test_wanted_outputs_come_alone_and_in_the_order_wanted(protocol):
    names = ["same texts", "same floats"]
    result = infer_mixed(protocol, outputs=wanted(protocol.module, names))
    assert output_names(result) == names
    assert result.as_numpy("same integers") is None


def test_inputs_may_come_in_any_order(protocol):
    inputs = tensors(protocol.module, dict(reversed(MIXED.items())))
    result = protocol.client.infer("mixed", inputs)
    np.testing.assert_array_equal(result.as_numpy("same integers"), INTEGERS)


@pytest.mark.parametrize("raw_in", range(8))
@pytest.mark.parametrize("raw_out", range(8))
def test_every_mix_of_json_and_raw(http, raw_in, raw_out):
    inputs, outputs = [], []
    for place, (name, array) in enumerate(MIXED.items()):
        raw = bool(raw_in >> place & 1)
        inputs += tensors(tritonclient.http, {name: array}, binary_data=raw)
        raw = bool(raw_out >> place & 1)
        outputs += wanted(tritonclient.http, [f"same {name}"], binary_data=raw)
    result = http.infer("mixed", inputs, outputs=outputs)
    for place, (name, array) in enumerate(MIXED.items()):
        is_raw = "data" not in result.get_output(f"same {name}")
        assert is_raw == bool(raw_out >> place & 1)
        given = result.as_numpy(f"same {name}")
        if name == "texts" and not is_raw:
            array = np.vectorize(bytes.decode, otypes=[np.object_])(array)
        np.testing.assert_array_equal(given, array)


@pytest.mark.parametrize("there", COMPRESSIONS)
@pytest.mark.parametrize("back", COMPRESSIONS)
@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("rows", [1, 5000])
def test_compression_of_http_both_ways(http, there, back, raw, rows):
    x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    result = http.infer(
        "identity-FP32",
        tensors(tritonclient.http, {"x": x}, binary_data=raw),
        outputs=wanted(tritonclient.http, ["y"], binary_data=raw),
        request_compression_algorithm=there,
        response_compression_algorithm=back,
    )
    np.testing.assert_array_equal(result.as_numpy("y"), x)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_compression_of_grpc(grpc, compression):
    x = np.zeros((5000, 3), dtype=np.float32)
    inputs = tensors(tritonclient.grpc, {"x": x})
    result = grpc.infer("identity-FP32", inputs, compression_algorithm=compression)
    np.testing.assert_array_equal(result.as_numpy("y"), x)


@pytest.mark.parametrize(("version", "summand"), [("", 2), ("1", 1), ("2", 2)])
def test_the_version_asked_for_answers(protocol, version, summand):
    result = protocol.client.infer(
        "triton", tensors(protocol.module, {"x": ROWS}), model_version=version
    )
    np.testing.assert_array_equal(result.as_numpy("y"), ROWS + summand)
    assert field(result.get_response(), "model_version") == (version or "2")


def test_priority_and_a_long_timeout_change_nothing(protocol):
    result = infer_mixed(protocol, priority=1, timeout=10_000_000)
    np.testing.assert_array_equal(result.as_numpy("same floats"), FLOATS)


def test_headers_and_query_of_the_caller_do_no_harm(http):
    inputs = tensors(tritonclient.http, MIXED)
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    http.infer("mixed", inputs, headers=headers, query_params={"a": "b c", "d": [1, 2]})


def post(path, body, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return urllib.request.urlopen(urllib.request.Request(f"http://{HTTP}/{path}", body, headers))


def test_a_raw_body_is_one_row_of_the_only_input():
    row = np.arange(64, dtype=np.float32)
    headers = {"Inference_Header_Content_Length": "0"}
    with post("v2/models/digits/infer", row.tobytes(), **headers) as response:
        length = int(response.headers["Inference-Header-Content-Length"])
        outputs = json.loads(response.read()[:length])["outputs"]
    assert outputs[1]["shape"] == [1, 10]


def test_a_request_prepared_by_the_client_is_answered():
    client = tritonclient.http.InferenceServerClient
    body, length = client.generate_request_body(tensors(tritonclient.http, {"x": ROWS}))
    headers = {"Inference_Header_Content_Length": str(length)}
    with post("v2/models/triton/infer", body, **headers) as response:
        length = int(response.headers["Inference-Header-Content-Length"])
        result = client.parse_response_body(response.read(), header_length=length)
    np.testing.assert_array_equal(result.as_numpy("y"), ROWS + 2)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("v3", None, 404),
        ("v2/models/digits/infer", None, 405),
        ("v2/models/digits/infer", b"", 400),
        ("v2/models/digits/infer", b"\xff\x00", 400),
        ("v2/models/digits/infer", b"[" * 100_000, 400),
    ],
)
def test_every_refusal_is_json_with_an_error(path, body, status):
    with pytest.raises(urllib.error.HTTPError) as error:
        post(path, body)
    assert error.value.status == status
    assert json.loads(error.value.read())["error"]


def test_parameters_of_any_kind_are_taken(protocol):
    result = infer_mixed(protocol, parameters={"tenant": "blue", "trace": True, "weight": 3})
    np.testing.assert_array_equal(result.as_numpy("same floats"), FLOATS)
    response = result.get_response()
    parameters = response.get("parameters") if protocol.kind == "http" else response.parameters
    assert not parameters
