"""Every model of the data folder returns its example outputs over each protocol."""

import ml_dtypes
import numpy as np
import pytest
from asking import PROTOCOLS, as_bytes, grpc, http_binary
from cases import DATA, NOT_TENSORS, cases
from tritonclient.utils import InferenceServerException

needs_data = pytest.mark.skipif(not (DATA / "models").is_dir(), reason=f"no models in {DATA}")


@pytest.mark.parametrize("ask", PROTOCOLS, ids=lambda ask: ask.__name__)
@pytest.mark.parametrize("case", cases(), ids=str)
def test_gives_what_is_expected(ask, case):
    inputs, outputs = case.read()
    given = ask(case.model, inputs, list(outputs))
    for name, expected in outputs.items():
        case.check(name, as_bytes(given[name]), expected)


@needs_data
@pytest.mark.parametrize("ask", [http_binary, grpc], ids=lambda ask: ask.__name__)
def test_half_precision_in_and_brain_floats_out(ask):
    x = np.linspace(-2, 2, 8, dtype=np.float16).reshape(1, 2, 2, 2)
    y = ask("edge-float16", {"InputA": x}, ["OutputA"])["OutputA"]
    assert y.dtype == ml_dtypes.bfloat16
    np.testing.assert_allclose(y.astype(np.float32), 3 * x.astype(np.float32), rtol=1e-2)


@needs_data
@pytest.mark.parametrize("model", NOT_TENSORS)
def test_a_model_without_tensors_is_unavailable_and_says_why(protocol, model):
    assert not protocol.client.is_model_ready(model)
    with pytest.raises(InferenceServerException) as error:
        protocol.client.get_model_metadata(model)
    assert error.value.status() == protocol.status["unavailable"]
    assert "zipmap=False" in error.value.message()
    assert protocol.client.is_server_ready()
