"""A model with a configuration of Triton follows it."""

import queue

import numpy as np
import pytest
import tritonclient.grpc
from asking import SECONDS_MAX, tensors
from conftest import as_dict
from tritonclient.utils import InferenceServerException


def test_its_configuration_is_what_was_written(protocol):
    config = as_dict(protocol.client.get_model_config("triton"))
    config = config.get("config", config)
    assert config["max_batch_size"] == 4
    assert [int(v) for v in config["version_policy"]["specific"]["versions"]] == [1, 2]
    batching = config["dynamic_batching"]
    assert batching["preferred_batch_size"] == [2, 4]
    assert int(batching["max_queue_delay_microseconds"]) == 2000
    assert [group["count"] for group in config["instance_group"]] == [2]
    assert config["parameters"]["intra_op_thread_count"]["string_value"] == "1"
    (tensor,) = config["input"]
    assert (tensor["name"], [int(dim) for dim in tensor["dims"]]) == ("x", [3])


def test_the_batch_dimension_is_in_the_metadata(protocol):
    metadata = as_dict(protocol.client.get_model_metadata("triton"))
    assert metadata["versions"] == ["1", "2"]
    assert [int(dim) for dim in metadata["inputs"][0]["shape"]] == [-1, 3]


@pytest.mark.parametrize("rows", [1, 4])
def test_requests_up_to_the_largest_batch(protocol, rows):
    x = np.zeros((rows, 3), dtype=np.float32)
    y = protocol.client.infer("triton", tensors(protocol.module, {"x": x})).as_numpy("y")
    np.testing.assert_array_equal(y, x + 2)
    with pytest.raises(InferenceServerException, match="max_batch_size is 4"):
        too_many = np.zeros((rows + 4, 3), dtype=np.float32)
        protocol.client.infer("triton", tensors(protocol.module, {"x": too_many}))


def test_requests_that_come_together_share_runs(grpc):
    stats = lambda: grpc.get_inference_statistics("triton", "2").model_stats[0]
    before = stats()
    x = np.zeros((1, 3), dtype=np.float32)
    answers = queue.Queue()
    answer = lambda result, error: answers.put(error)
    for _ in range(200):
        grpc.async_infer("triton", tensors(tritonclient.grpc, {"x": x}), answer)
    assert not any(answers.get(timeout=SECONDS_MAX) for _ in range(200))
    after = stats()
    rows = after.inference_count - before.inference_count
    assert rows == 200
    assert after.execution_count - before.execution_count < rows
