"""System shared memory, by the module that the clients bring for it."""

import os

import numpy as np
import pytest
import tritonclient.utils.shared_memory as shm
from asking import texts
from conftest import as_dict
from tritonclient.utils import InferenceServerException, serialize_byte_tensor

X = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32)


@pytest.fixture
def region(protocol):
    """Makes and registers regions, and removes them after the test."""
    handles = {}

    def make(name, byte_size):
        key = f"/skysail_clients_{os.getpid()}_{name}"
        handles[name] = shm.create_shared_memory_region(name, key, byte_size)
        protocol.client.register_system_shared_memory(name, key, byte_size)
        return handles[name]

    yield make
    for name, handle in handles.items():
        protocol.client.unregister_system_shared_memory(name)
        shm.destroy_shared_memory_region(handle)


def place(tensor, name, byte_size, offset=0):
    """A tensor in a region: the client sends its place."""
    tensor.set_shared_memory(name, byte_size, offset)
    return tensor


def test_both_sides_are_in_shared_memory(protocol, region):
    size = X.nbytes
    given, wanted = region("given", 2 * size), region("wanted", 2 * size)
    shm.set_shared_memory_region(given, [np.zeros_like(X), X])
    x = place(protocol.module.InferInput("x", [2, 3], "FP32"), "given", size, size)
    y = place(protocol.module.InferRequestedOutput("y"), "wanted", size, size)
    result = protocol.client.infer("triton", [x], outputs=[y], model_version="1")
    output = as_dict(result.get_output("y"))
    assert (output["datatype"], [int(dim) for dim in output["shape"]]) == ("FP32", [2, 3])
    both = shm.get_contents_as_numpy(wanted, np.float32, [2, 2, 3])
    np.testing.assert_array_equal(both, [np.zeros_like(X), X + 1])


def test_strings_are_in_shared_memory(protocol, region):
    strings = texts("a", "", "ünïcode").reshape(1, 3)
    packed = serialize_byte_tensor(strings)
    size = len(packed.item())
    given, wanted = region("texts", size), region("answer", size)
    shm.set_shared_memory_region(given, [packed])
    x = place(protocol.module.InferInput("x", [1, 3], "BYTES"), "texts", size)
    y = place(protocol.module.InferRequestedOutput("y"), "answer", size)
    protocol.client.infer("identity-BYTES", [x], outputs=[y])
    answer = shm.get_contents_as_numpy(wanted, np.object_, [1, 3])
    assert answer.tolist() == strings.tolist()


def test_one_input_is_sent_and_another_is_shared(protocol, region):
    module = protocol.module
    floats = np.array([[0.5]], dtype=np.float32)
    shm.set_shared_memory_region(region("one", 4), [floats])
    integers = module.InferInput("integers", [1, 1], "INT64")
    integers.set_data_from_numpy(np.array([[7]], dtype=np.int64))
    strings = module.InferInput("texts", [1, 1], "BYTES")
    strings.set_data_from_numpy(texts("t").reshape(1, 1))
    shared = place(module.InferInput("floats", [1, 1], "FP32"), "one", 4)
    for order in [[shared, integers, strings], [integers, shared, strings]]:
        result = protocol.client.infer("mixed", order)
        assert result.as_numpy("same floats").tolist() == [[0.5]]
        assert result.as_numpy("same integers").tolist() == [[7]]
        assert result.as_numpy("same texts").tolist() == [[b"t"]]


def test_regions_are_described(protocol, region):
    region("described", 64)
    for status in [
        protocol.client.get_system_shared_memory_status(),
        protocol.client.get_system_shared_memory_status("described"),
    ]:
        status = as_dict(status)
        regions = status if isinstance(status, list) else list(status["regions"].values())
        (found,) = [each for each in regions if each["name"] == "described"]
        assert (found["key"], int(found["offset"]), int(found["byte_size"])) == (
            f"/skysail_clients_{os.getpid()}_described",
            0,
            64,
        )


def refused(protocol, call, *arguments, kind="bad"):
    with pytest.raises(InferenceServerException) as error:
        call(*arguments)
    if protocol.kind == "grpc" and kind == "taken":
        assert error.value.status() == "StatusCode.ALREADY_EXISTS"
    else:
        assert error.value.status() == protocol.status["bad" if kind == "taken" else kind]
    return error.value.message()


def test_mistakes_are_named(protocol, region):
    client = protocol.client
    region("mine", 64)
    register = client.register_system_shared_memory
    key = f"/skysail_clients_{os.getpid()}_mine"
    assert "already" in refused(protocol, register, "mine", key, 64, kind="taken")
    assert "64 bytes" in refused(protocol, register, "large", key, 65)
    assert "64 bytes" in refused(protocol, register, "far", key, 64, 2**62)
    assert "no shared memory" in refused(protocol, register, "none", "/skysail_none", 1)
    status = client.get_system_shared_memory_status
    assert "'other'" in refused(protocol, status, "other", kind="missing")
    x = place(protocol.module.InferInput("x", [2, 3], "FP32"), "mine", 24)
    over = place(protocol.module.InferRequestedOutput("y"), "mine", 24, 20)
    assert "overlap" in refused(protocol, client.infer, "triton", [x], "", [over])
    small = place(protocol.module.InferRequestedOutput("y"), "mine", 20, 24)
    assert "24 bytes" in refused(protocol, client.infer, "triton", [x], "", [small])
    beyond = place(protocol.module.InferInput("x", [2, 3], "FP32"), "mine", 24, 60)
    assert "64 bytes" in refused(protocol, client.infer, "triton", [beyond])


def test_cuda_shared_memory_is_refused(protocol):
    register = protocol.client.register_cuda_shared_memory
    message = refused(protocol, register, "gpu", b"aGFuZGxl", 0, 64, kind="unsupported")
    assert "CUDA" in message
    assert "gpu" not in str(as_dict(protocol.client.get_cuda_shared_memory_status()))
    protocol.client.unregister_cuda_shared_memory()


def test_it_is_off_without_a_prefix(explicit):
    client = explicit.client
    register = client.register_system_shared_memory
    assert "is off" in refused(explicit, register, "r", "/skysail_r", 64, kind="unsupported")
    x = place(explicit.module.InferInput("x", [1, 3], "FP32"), "r", 12)
    client.load_model("adder")
    assert "is off" in refused(explicit, client.infer, "adder", [x], kind="unsupported")
    # Programs for Triton start with these calls, even if nothing is registered.
    client.unregister_system_shared_memory()
    client.get_system_shared_memory_status()
    assert "system_shared_memory" not in as_dict(client.get_server_metadata())["extensions"]
