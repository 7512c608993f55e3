"""Every datatype, rank and size survives a round trip."""

import json
import urllib.request

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http
from asking import (
    CLIENTS,
    HTTP,
    PROTOCOLS,
    as_bytes,
    carries,
    http_json,
    tensors,
    texts,
    wanted,
)
from repository import DATATYPES, ODD_MODEL, ODD_NAMES, RANKS
from tritonclient.utils import InferenceServerException

RANDOM = np.random.default_rng(7)
FLOATS = {
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BF16": ml_dtypes.bfloat16,
}
INTEGERS = ["UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"]
name_of = lambda value: getattr(value, "__name__", value)
all_clients = pytest.mark.parametrize("ask", CLIENTS, ids=name_of)
all_protocols = pytest.mark.parametrize("ask", PROTOCOLS, ids=name_of)


def each_with_its_datatypes(asks):
    """Every protocol with every datatype that it can carry."""
    pairs = [(ask, datatype) for ask in asks for datatype in DATATYPES if carries(ask, datatype)]
    return pytest.mark.parametrize(("ask", "datatype"), pairs, ids=name_of)


def extremes(datatype):
    """Two rows of a datatype's extreme values."""
    if datatype == "BOOL":
        return np.array([[True, False], [False, True]])
    if datatype == "BYTES":
        plain = texts("", "plain", "with \"quotes\" \\ and\nlines")
        return np.array([plain, texts("ünïcode 模型 🚀", " ", "x" * 70_000)])
    if datatype in FLOATS:
        info = ml_dtypes.finfo(FLOATS[datatype])
        rows = [[0.0, -0.0, info.max, info.min], [info.tiny, info.smallest_subnormal, info.eps, -1]]
        return np.array(rows).astype(FLOATS[datatype])
    info = np.iinfo(datatype.lower())
    return np.array([[info.min, info.max], [0, 1]], dtype=info.dtype)


def same(ask, model, x):
    """Sends `x` through an identity, and compares all bits."""
    y = as_bytes(ask(model, {"x": x}, ["y"])["y"])
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    if x.dtype == np.object_:
        np.testing.assert_array_equal(y, x)
    else:
        assert y.tobytes() == x.tobytes()


@each_with_its_datatypes(CLIENTS)
def test_extremes_of_every_datatype(ask, datatype):
    same(ask, f"identity-{datatype}", extremes(datatype))


@each_with_its_datatypes(PROTOCOLS)
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)], ids=str)
def test_nothing_of_every_datatype(ask, datatype, shape):
    same(ask, f"identity-{datatype}", np.empty(shape, dtype=extremes(datatype).dtype))


@pytest.mark.parametrize("ask", [ask for ask in CLIENTS if ask is not http_json], ids=name_of)
@pytest.mark.parametrize("datatype", FLOATS)
def test_what_is_no_number_travels_raw(ask, datatype):
    x = np.array([[np.nan, np.inf, -np.inf]]).astype(FLOATS[datatype])
    same(ask, f"identity-{datatype}", x)


@all_clients
@pytest.mark.parametrize("rank", RANKS)
def test_every_rank(ask, rank):
    same(ask, f"rank-{rank}", RANDOM.normal(size=range(1, rank + 1)).astype(np.float32))


@all_protocols
@pytest.mark.parametrize("rank", RANKS[1:])
def test_one_empty_dimension_in_every_place(ask, rank):
    for place in range(rank):
        shape = np.full(rank, 2)
        shape[place] = 0
        same(ask, f"rank-{rank}", np.empty(shape, dtype=np.float32))


@all_clients
def test_names_of_any_kind(ask):
    x = {name: np.full((1, 2), place, dtype=np.float32) for place, name in enumerate(ODD_NAMES)}
    y = ask(ODD_MODEL, x, [f"same {name}" for name in ODD_NAMES])
    for name in ODD_NAMES:
        np.testing.assert_array_equal(y[f"same {name}"], x[name])


@all_protocols
def test_a_large_tensor(ask):
    count = 1 << 16 if ask is http_json else 1 << 22
    same(ask, "identity-FP32", RANDOM.normal(size=(2, count // 2)).astype(np.float32))


def test_columns_stored_first_are_sent_row_by_row(protocol):
    x = np.asfortranarray(RANDOM.normal(size=(4, 5)).astype(np.float32))
    sent = protocol.module.InferInput("x", x.shape, "FP32").set_data_from_numpy(x)
    y = protocol.client.infer("identity-FP32", [sent]).as_numpy("y")
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("item", [b"\xff\xfe", b"a\x00b"], ids=["not UTF-8", "NUL"])
def test_bytes_need_not_be_text(protocol, item):
    x = np.array([[item, b"text"]], dtype=np.object_)
    sent = protocol.module.InferInput("x", x.shape, "BYTES").set_data_from_numpy(x)
    y = protocol.client.infer("identity-BYTES", [sent]).as_numpy("y")
    np.testing.assert_array_equal(y, x)


def test_bytes_that_are_no_text_are_an_error_in_json(http):
    x = np.array([[b"\xff\xfe"]], dtype=np.object_)
    with pytest.raises(InferenceServerException) as error:
        http.infer(
            "identity-BYTES",
            tensors(tritonclient.http, {"x": x}),
            outputs=wanted(tritonclient.http, ["y"], binary_data=False),
        )
    assert error.value.status() == "400" and '"b64": true' in error.value.message()


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
@pytest.mark.parametrize("raw_in", [False, True])
@pytest.mark.parametrize("raw_out", [False, True])
def test_numbers_that_are_not_finite(http, datatype, raw_in, raw_out):
    x = np.array([[np.nan, np.inf, -np.inf, 0.1]], dtype={"FP32": "f4", "FP64": "f8"}[datatype])
    inputs = tensors(tritonclient.http, {"x": x}, binary_data=raw_in)
    outputs = wanted(tritonclient.http, ["y"], binary_data=raw_out)
    y = http.infer(f"identity-{datatype}", inputs, outputs=outputs).as_numpy("y")
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_halves_are_numbers_in_json(datatype):
    dtype = {"FP16": np.float16, "BF16": ml_dtypes.bfloat16}[datatype]
    values = RANDOM.normal(size=200).tolist()
    tensor = {"name": "x", "shape": [1, 200], "datatype": datatype, "data": values}
    body = json.dumps({"inputs": [tensor]}).encode()
    address = f"http://{HTTP}/v2/models/identity-{datatype}/infer"
    with urllib.request.urlopen(urllib.request.Request(address, body)) as answer:
        given = json.load(answer)["outputs"][0]["data"]
    np.testing.assert_array_equal(np.array(given).astype(dtype), np.array(values).astype(dtype))


def test_brain_floats_keep_their_bits(protocol):
    x = RANDOM.normal(size=(2, 50)).astype(ml_dtypes.bfloat16)
    sent = protocol.module.InferInput("x", x.shape, "BF16").set_data_from_numpy(x)
    y = protocol.client.infer("identity-BF16", [sent]).as_numpy("y")
    np.testing.assert_array_equal(y.astype(ml_dtypes.bfloat16).view(np.uint16), x.view(np.uint16))
