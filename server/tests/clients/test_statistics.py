"""Statistics count requests and runs, in every field that clients read."""

import numpy as np
import pytest
from asking import tensors
from conftest import as_dict
from tritonclient.utils import InferenceServerException

DURATIONS = [
    "success",
    "fail",
    "queue",
    "compute_input",
    "compute_infer",
    "compute_output",
    "cache_hit",
    "cache_miss",
]
RUN = ["queue", "compute_input", "compute_infer", "compute_output", "success"]
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def statistics(protocol, model="", version=""):
    return as_dict(protocol.client.get_inference_statistics(model, version))["model_stats"]


def counts(stats):
    return {name: int(stats["inference_stats"][name]["count"]) for name in DURATIONS}


def test_requests_rows_and_runs_are_counted(protocol):
    (before,) = statistics(protocol, "identity-FP32")
    for _ in range(3):
        protocol.client.infer("identity-FP32", tensors(protocol.module, {"x": X}))
    with pytest.raises(InferenceServerException):
        protocol.client.infer("identity-FP32", tensors(protocol.module, {"z": X}))
    (after,) = statistics(protocol, "identity-FP32")
    grown = lambda name: int(after[name]) - int(before[name])
    assert (grown("inference_count"), grown("execution_count")) == (6, 3)
    assert int(after["last_inference"]) >= int(before["last_inference"]) > 0
    before, after = counts(before), counts(after)
    grown = {name: after[name] - before[name] for name in DURATIONS}
    assert grown == {**dict.fromkeys(RUN, 3), "fail": 1, "cache_hit": 0, "cache_miss": 0}


def test_every_field_is_there_from_the_start(protocol):
    (stats,) = statistics(protocol, "rank-6")
    for name in DURATIONS:
        assert {"count", "ns"} <= set(stats["inference_stats"][name])
    assert isinstance(stats["batch_stats"], list)


def test_runs_are_counted_by_their_rows(protocol):
    protocol.client.infer("identity-FP32", tensors(protocol.module, {"x": X}))
    (stats,) = statistics(protocol, "identity-FP32")
    by_rows = {int(entry["batch_size"]): entry for entry in stats["batch_stats"]}
    for part in ["compute_input", "compute_infer", "compute_output"]:
        assert int(by_rows[2][part]["count"]) > 0
        assert int(by_rows[2][part]["ns"]) > 0


def test_each_version_has_its_own(protocol):
    protocol.client.infer("triton", tensors(protocol.module, {"x": X}), model_version="1")
    versions = {stats["version"]: stats for stats in statistics(protocol, "triton")}
    assert set(versions) == {"1", "2"}
    (only,) = statistics(protocol, "triton", "1")
    assert only["version"] == "1" and int(only["inference_count"]) > 0


def test_without_a_name_all_models_are_there(protocol):
    names = {stats["name"] for stats in statistics(protocol)}
    assert {"digits", "triton", "identity-FP32"} <= names
    assert "broken" not in names


@pytest.mark.parametrize(
    ("model", "version", "kind"),
    [("nonesuch", "", "missing"), ("digits", "9", "missing"), ("broken", "", "unavailable")],
)
def test_nothing_to_count_is_an_error(protocol, model, version, kind):
    with pytest.raises(InferenceServerException) as error:
        statistics(protocol, model, version)
    assert error.value.status() == protocol.status[kind]
