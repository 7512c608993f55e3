"""Trace and log settings can be read and changed while the server runs."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from asking import tensors
from conftest import as_dict
from tritonclient.utils import InferenceServerException

X = np.zeros((1, 3), dtype=np.float32)
TRACE_FILE = Path(os.environ["SKYSAIL_TRACE_FILE"])
CLEAR = dict.fromkeys(["trace_level", "trace_rate", "trace_count", "trace_file"])


def flat(settings):
    """Trace settings as name and value: gRPC has every value in a list."""
    settings = as_dict(settings)
    settings = settings.get("settings", settings)
    plain = lambda value: value["value"] if isinstance(value, dict) else value
    first = lambda value: value[0] if isinstance(value, list) else value
    return {name: first(plain(value)) for name, value in settings.items()}


@pytest.fixture
def trace(protocol):
    """Settings of the trace, restored after the test."""
    yield protocol
    for model in ["", "triton"]:
        protocol.client.update_trace_settings(model, CLEAR)


def test_the_trace_is_off_at_first(protocol):
    settings = flat(protocol.client.get_trace_settings())
    assert settings["trace_level"] == "OFF"
    assert (settings["trace_rate"], settings["trace_count"]) == ("1000", "-1")


def test_trace_settings_of_one_model_are_its_own(trace):
    changed = flat(trace.client.update_trace_settings("triton", {"trace_rate": "7"}))
    assert changed["trace_rate"] == "7"
    assert flat(trace.client.get_trace_settings("triton"))["trace_rate"] == "7"
    assert flat(trace.client.get_trace_settings())["trace_rate"] == "1000"


def test_requests_are_traced_into_the_servers_file(trace):
    wanted = {"trace_level": ["TIMESTAMPS"], "trace_rate": "1", "trace_file": str(TRACE_FILE)}
    trace.client.update_trace_settings("triton", wanted)
    trace.client.infer("triton", tensors(trace.module, {"x": X}), request_id="seven")
    *_, model, times = json.loads(TRACE_FILE.read_text())
    assert (model["model_name"], model["request_id"]) == ("triton", "seven")
    stamps = [stamp["ns"] for stamp in times["timestamps"]]
    assert stamps == sorted(stamps) and times["timestamps"][0]["name"] == "REQUEST_START"


@pytest.mark.parametrize(
    "wrong", [{"trace_level": ["TENSORS"]}, {"trace_rate": "0"}, {"colour": "red"}], ids=str
)
def test_a_trace_setting_that_can_not_be(trace, wrong):
    with pytest.raises(InferenceServerException) as error:
        trace.client.update_trace_settings("", wrong)
    assert error.value.status() == trace.status["bad"]
    assert next(iter(wrong)) in error.value.message()


def test_the_trace_goes_to_no_file_that_a_client_names(trace, tmp_path):
    file = tmp_path / "other.json"
    with pytest.raises(InferenceServerException) as error:
        trace.client.update_trace_settings("", {"trace_file": str(file)})
    assert error.value.status() == trace.status["unsupported"]
    assert "trace_file" in error.value.message()
    assert not file.exists()


def test_the_trace_of_a_model_that_is_not_there(protocol):
    with pytest.raises(InferenceServerException) as error:
        protocol.client.get_trace_settings("nonesuch")
    assert error.value.status() == protocol.status["missing"]


def log(settings):
    """Log settings as name and value: gRPC has the value in a choice."""
    settings = as_dict(settings)
    settings = settings.get("settings", settings)
    choose = lambda value: next(iter(value.values())) if isinstance(value, dict) else value
    return {name: choose(value) for name, value in settings.items()}


def test_log_settings_can_be_changed(protocol):
    before = log(protocol.client.get_log_settings())
    assert (before["log_info"], before["log_verbose_level"]) == (True, 0)
    changed = log(protocol.client.update_log_settings({"log_verbose_level": 1, "log_info": False}))
    assert (changed["log_info"], changed["log_verbose_level"]) == (False, 1)
    back = {"log_verbose_level": 0, "log_info": True}
    assert log(protocol.client.update_log_settings(back)) == before


@pytest.mark.parametrize(
    ("wrong", "kind"), [({"log_file": "x.log"}, "unsupported"), ({"log_colour": True}, "bad")]
)
def test_a_log_setting_that_can_not_be(protocol, wrong, kind):
    with pytest.raises(InferenceServerException) as error:
        protocol.client.update_log_settings(wrong)
    assert error.value.status() == protocol.status[kind]
    assert next(iter(wrong)) in error.value.message()
