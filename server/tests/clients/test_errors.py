"""Every kind of error has its status and a clear message."""

import json
import urllib.error
import urllib.request

import numpy as np
import pytest
from asking import HTTP, tensor, tensors, wanted
from tritonclient.utils import InferenceServerException

ROW = np.zeros((1, 3), dtype=np.float32)


def refusal(protocol, model="triton", inputs=None, **options):
    """Status and message of a request that must fail."""
    inputs = tensors(protocol.module, {"x": ROW}) if inputs is None else inputs
    with pytest.raises(InferenceServerException) as error:
        protocol.client.infer(model, inputs, **options)
    return error.value.status(), error.value.message()


@pytest.mark.parametrize(
    ("model", "version", "kind", "says"),
    [
        ("nonesuch", "", "missing", "nonesuch"),
        ("a/b", "", "missing", ""),
        ("triton", "3", "missing", "it serves"),
        ("triton", "x", "bad", "'x'"),
        ("triton", "-1", "bad", "'-1'"),
        ("broken", "", "unavailable", "Protobuf parsing failed"),
        ("bad-config", "", "unavailable", "config.pbtxt"),
        ("no-version", "", "unavailable", "no version is to serve"),
    ],
)
def test_a_model_that_can_not_be_asked(protocol, model, version, kind, says):
    status, message = refusal(protocol, model, model_version=version)
    assert status == protocol.status[kind]
    assert says in message


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"z": ROW}, "no input 'z'; its inputs are 'x'"),
        ({}, "'x' is missing"),
        ({"x": ROW, "z": ROW}, "no input 'z'"),
        ({"x": ROW.astype(np.float64)}, "datatype FP64, and the model takes FP32"),
        ({"x": ROW[:, :2]}, "shape [1,2], and the model takes [-1,3]"),
        ({"x": ROW[0]}, "shape [3]"),
        ({"x": np.array(1, dtype=np.float32)}, "shape []"),
        ({"x": np.zeros((5, 3), dtype=np.float32)}, "max_batch_size is 4"),
    ],
)
def test_inputs_that_do_not_fit(protocol, arrays, says):
    status, message = refusal(protocol, inputs=tensors(protocol.module, arrays))
    assert status == protocol.status["bad"]
    assert says in message


def test_an_input_twice(protocol):
    twice = tensors(protocol.module, {"x": ROW}) * 2
    status, message = refusal(protocol, inputs=twice)
    assert (status, "twice" in message) == (protocol.status["bad"], True)


def test_inputs_of_different_rows(protocol):
    rows = {"floats": (2, 1), "integers": (3, 1), "texts": (2, 1)}
    arrays = {
        "floats": np.zeros(rows["floats"], dtype=np.float32),
        "integers": np.zeros(rows["integers"], dtype=np.int64),
        "texts": np.full(rows["texts"], b"", dtype=np.object_),
    }
    status, message = refusal(protocol, "mixed", tensors(protocol.module, arrays))
    assert (status, "3 rows" in message) == (protocol.status["bad"], True)


@pytest.mark.parametrize("shape", [[2, 3], [0, 3], [-1, 3], [1, 3, 1], [2**62, 3]], ids=str)
def test_a_shape_that_its_bytes_do_not_fill(protocol, shape):
    lying = tensor(protocol.module, "x", ROW).set_shape(shape)
    status, message = refusal(protocol, inputs=[lying])
    assert status == protocol.status["bad"]
    assert message


@pytest.mark.parametrize("shape", [[1, 1], [1, 3]], ids=str)
def test_strings_that_are_not_as_many_as_the_shape(protocol, shape):
    two = np.array([[b"a", b"b"]], dtype=np.object_)
    lying = tensor(protocol.module, "x", two).set_shape(shape)
    status, message = refusal(protocol, "identity-BYTES", [lying])
    assert status == protocol.status["bad"]
    assert "'x'" in message


def test_a_datatype_that_does_not_exist(protocol):
    # The clients check the datatype against the array, so it has no elements.
    status, message = refusal(protocol, inputs=[protocol.module.InferInput("x", [1, 3], "FLOAT")])
    assert status == protocol.status["bad"]
    assert "'FLOAT' is not one of" in message


def test_an_input_without_elements(protocol):
    status, message = refusal(protocol, inputs=[protocol.module.InferInput("x", [1, 3], "FP32")])
    assert status == protocol.status["bad"]
    assert "'x'" in message


def test_an_output_that_does_not_exist(protocol):
    status, message = refusal(protocol, outputs=wanted(protocol.module, ["y", "z"]))
    assert (status, "no output 'z'" in message) == (protocol.status["bad"], True)


def test_an_output_twice(protocol):
    status, message = refusal(protocol, outputs=wanted(protocol.module, ["y", "y"]))
    assert (status, "twice" in message) == (protocol.status["bad"], True)


def test_an_input_that_the_model_fails_on(protocol):
    inputs = tensors(protocol.module, {"x": np.array([7])})
    status, message = refusal(protocol, "picky", inputs)
    assert status == protocol.status["bad"]
    assert "out of" in message
    fine = protocol.client.infer("picky", tensors(protocol.module, {"x": np.array([3])}))
    assert fine.as_numpy("y") == 3


@pytest.mark.parametrize("sequence", [7, "seven"])
def test_sequences_are_not_supported(protocol, sequence):
    status, message = refusal(protocol, sequence_id=sequence, sequence_start=True)
    assert (status, "sequences" in message) == (protocol.status["unsupported"], True)


@pytest.mark.parametrize(("name", "value"), [("timeout", "soon"), ("priority", True)])
def test_a_known_parameter_of_another_type_is_refused_by_name(name, value):
    # The client has arguments for these, so the request is written by hand.
    x = {"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}
    body = json.dumps({"parameters": {name: value}, "inputs": [x]}).encode()
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(f"http://{HTTP}/v2/models/identity-FP32/infer", body)
    assert error.value.code == 400
    assert f"'{name}' must be a natural number" in json.load(error.value)["error"]
