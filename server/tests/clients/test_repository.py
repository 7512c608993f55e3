"""The index of models, and loading and unloading by name."""

import json
import shutil
import time

import numpy as np
import pytest
from asking import SECONDS_MAX, tensors
from conftest import as_dict
from repository import VERSIONS, adder, write
from tritonclient.utils import InferenceServerException

X = np.zeros((1, 3), dtype=np.float32)


def index(protocol):
    """State and reason by name and version."""
    entries = as_dict(protocol.client.get_model_repository_index())
    entries = entries["models"] if isinstance(entries, dict) else entries
    pairs = lambda entry, *names: tuple(entry[name] for name in names)
    return {pairs(entry, "name", "version"): pairs(entry, "state", "reason") for entry in entries}


def infer(protocol, model="adder", rows=1, **options):
    x = np.repeat(X, rows, axis=0)
    result = protocol.client.infer(model, tensors(protocol.module, {"x": x}), **options)
    return float(result.as_numpy("y")[0, 0])


def wait_for(condition):
    """Waits for an unloaded model, which ends with its last request."""
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def adder_model(explicit):
    """The model `adder`, reset to version 1, and unloaded after the test."""
    yield "adder"
    for version in [path for path in (explicit.folder / "adder").iterdir() if path.name != "1"]:
        shutil.rmtree(version) if version.is_dir() else version.unlink()
    explicit.client.unload_model("adder")


def test_the_index_has_every_version_with_its_state(protocol):
    models = index(protocol)
    for version in VERSIONS:
        assert models["triton", str(version)] == ("READY", "")
    assert ("triton", "3") not in models
    assert models["digits", "1"] == ("READY", "")
    assert models["broken", "1"][0] == "UNAVAILABLE"
    assert "Protobuf parsing failed" in models["broken", "1"][1]
    assert "config.pbtxt" in models["bad-config", ""][1]


def test_the_index_tells_what_can_be_loaded(explicit):
    assert index(explicit)["other", ""] == ("UNAVAILABLE", "not loaded")
    assert explicit.client.is_server_ready()


def test_loads_and_unloads(explicit, adder_model):
    explicit.client.load_model(adder_model)
    assert explicit.client.is_model_ready(adder_model)
    assert index(explicit)[adder_model, "1"] == ("READY", "")
    assert infer(explicit) == 1
    explicit.client.unload_model(adder_model, unload_dependents=True)
    assert not explicit.client.is_model_ready(adder_model)
    wait_for(lambda: index(explicit)[adder_model, "1"] == ("UNAVAILABLE", "unloaded"))
    with pytest.raises(InferenceServerException, match="unloaded") as error:
        infer(explicit)
    assert error.value.status() == explicit.status["unavailable"]


def test_unloading_twice_is_as_good_as_once(explicit, adder_model):
    explicit.client.unload_model("other")
    explicit.client.load_model(adder_model)
    explicit.client.unload_model(adder_model)
    explicit.client.unload_model(adder_model)


def test_a_configuration_can_come_with_the_request(explicit, adder_model):
    config = {"max_batch_size": 2, "parameters": {"note": {"string_value": "hello"}}}
    explicit.client.load_model(adder_model, config=json.dumps(config))
    config = as_dict(explicit.client.get_model_config(adder_model))
    config = config.get("config", config)
    assert config["max_batch_size"] == 2
    assert config["parameters"]["note"]["string_value"] == "hello"
    with pytest.raises(InferenceServerException, match="max_batch_size is 2"):
        infer(explicit, rows=3)
    # Loaded again without a configuration, it has that of its folder.
    explicit.client.load_model(adder_model)
    assert infer(explicit, rows=3) == 1


def test_files_can_come_with_the_request(explicit, adder_model):
    files = {"file:1/model.onnx": adder(7).SerializeToString()}
    for model in [adder_model, "sent"]:
        explicit.client.load_model(model, config="{}", files=files)
        assert infer(explicit, model) == 7
    # Loaded again without files, it has those of its folder.
    explicit.client.load_model(adder_model)
    assert infer(explicit) == 1
    explicit.client.unload_model("sent")
    assert not explicit.client.is_model_ready("sent")


def test_a_new_version_takes_over(explicit, adder_model):
    explicit.client.load_model(adder_model)
    write(explicit.folder, adder_model, adder(5), version=2)
    assert infer(explicit) == 1
    explicit.client.load_model(adder_model)
    assert infer(explicit) == 5
    wait_for(lambda: index(explicit)[adder_model, "1"] == ("UNAVAILABLE", "unloaded"))
    explicit.client.load_model(adder_model)
    assert infer(explicit) == 5


def test_all_versions_when_all_are_wanted(explicit, adder_model):
    write(explicit.folder, adder_model, adder(5), version=2)
    explicit.client.load_model(adder_model, config='{"version_policy": {"all": {}}}')
    assert [infer(explicit, model_version=version) for version in ["1", "2"]] == [1, 5]


def test_what_served_goes_on_when_it_can_not_be_replaced(explicit, adder_model):
    explicit.client.load_model(adder_model)
    write(explicit.folder, adder_model, adder(5), version=2)
    (explicit.folder / adder_model / "2/model.onnx").write_bytes(b"this is no graph")
    with pytest.raises(InferenceServerException, match="Protobuf parsing failed") as error:
        explicit.client.load_model(adder_model)
    assert error.value.status() == explicit.status["bad"]
    assert infer(explicit) == 1


@pytest.mark.parametrize(
    ("model", "options", "kind", "says"),
    [
        ("nonesuch", {}, "missing", "nonesuch"),
        ("empty", {}, "bad", "no version"),
        ("adder", {"config": "{"}, "bad", "not valid"),
        ("adder", {"config": '{"max_batch_siez": 1}'}, "bad", "max_batch_siez"),
        ("adder", {"config": '{"name": "other"}'}, "bad", "'other'"),
        ("adder", {"config": "{}", "files": {"file:1/model.onnx": b"x"}}, "bad", "Protobuf"),
        ("adder", {"config": "{}", "files": {"file:../x": b"x"}}, "bad", "../x"),
    ],
)
def test_what_can_not_be_loaded(explicit, adder_model, model, options, kind, says):
    with pytest.raises(InferenceServerException) as error:
        explicit.client.load_model(model, **options)
    assert error.value.status() == explicit.status[kind]
    assert says in error.value.message()


def test_what_can_not_be_unloaded(explicit):
    with pytest.raises(InferenceServerException) as error:
        explicit.client.unload_model("nonesuch")
    assert error.value.status() == explicit.status["missing"]


def test_loading_by_name_needs_the_mode_for_it(protocol):
    for change in [protocol.client.load_model, protocol.client.unload_model]:
        with pytest.raises(InferenceServerException, match="explicit") as error:
            change("digits")
        assert error.value.status() == protocol.status["unavailable"]
    assert protocol.client.is_model_ready("digits")
