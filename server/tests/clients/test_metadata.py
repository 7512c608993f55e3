"""Health, readiness, metadata and configuration."""

import grpc as grpcio
import pytest
from asking import GRPC
from conftest import as_dict
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from tritonclient.utils import InferenceServerException

EXTENSIONS = {
    "model_configuration",
    "model_repository",
    "binary_tensor_data",
    "statistics",
    "schedule_policy",
    "trace",
    "logging",
}


def test_is_alive_and_ready(protocol):
    assert protocol.client.is_server_live()
    assert protocol.client.is_server_ready()


@pytest.mark.parametrize(
    ("model", "version", "ready"),
    [
        ("digits", "", True),
        ("digits", "1", True),
        ("digits", "9", False),
        ("nonesuch", "", False),
        ("broken", "", False),
    ],
)
def test_says_which_models_are_ready(protocol, model, version, ready):
    assert protocol.client.is_model_ready(model, version) is ready


def test_server_metadata(protocol):
    metadata = as_dict(protocol.client.get_server_metadata())
    assert metadata["name"] == "skysail"
    assert metadata["version"]
    assert EXTENSIONS <= set(metadata["extensions"])


def test_model_metadata(protocol):
    metadata = as_dict(protocol.client.get_model_metadata("digits"))
    shape = lambda tensor: [int(dim) for dim in tensor["shape"]]
    assert (metadata["name"], metadata["versions"]) == ("digits", ["1"])
    assert metadata["platform"] == "onnxruntime_onnx"
    (tensor,) = metadata["inputs"]
    assert (tensor["name"], tensor["datatype"], shape(tensor)) == ("input", "FP32", [-1, 64])
    assert [tensor["name"] for tensor in metadata["outputs"]] == ["label", "probabilities"]
    assert protocol.client.get_model_metadata("digits", "1")


def test_model_configuration(protocol):
    config = as_dict(protocol.client.get_model_config("digits"))
    config = config.get("config", config)
    assert (config["name"], config["backend"]) == ("digits", "onnxruntime")
    assert config["max_batch_size"] == 256
    assert config["instance_group"][0]["count"] == 1
    assert config["parameters"]["intra_op_thread_count"]["string_value"] == "1"
    (tensor,) = config["input"]
    assert (tensor["data_type"], [int(dim) for dim in tensor["dims"]]) == ("TYPE_FP32", [64])
    assert "dynamic_batching" in config
    assert config["model_transaction_policy"]["decoupled"] is False
    assert config["response_cache"]["enable"] is False


@pytest.mark.parametrize("ask", ["get_model_metadata", "get_model_config"])
@pytest.mark.parametrize(
    ("model", "version", "kind"),
    [
        ("nonesuch", "", "missing"),
        ("digits", "9", "missing"),
        ("digits", "newest", "bad"),
        ("broken", "", "unavailable"),
    ],
)
def test_nothing_to_tell_is_an_error(protocol, ask, model, version, kind):
    with pytest.raises(InferenceServerException) as error:
        getattr(protocol.client, ask)(model, version)
    assert error.value.status() == protocol.status[kind]
    assert model in error.value.message() or version in error.value.message()


def test_the_standard_health_service():
    serving = health_pb2.HealthCheckResponse.SERVING
    with grpcio.insecure_channel(GRPC) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ["", "inference.GRPCInferenceService"]:
            request = health_pb2.HealthCheckRequest(service=service)
            assert health.Check(request, timeout=5).status == serving
            assert next(health.Watch(request, timeout=5)).status == serving
        with pytest.raises(grpcio.RpcError) as error:
            health.Check(health_pb2.HealthCheckRequest(service="nonesuch"), timeout=5)
    assert error.value.code() == grpcio.StatusCode.NOT_FOUND


def test_reflection_describes_the_services():
    with grpcio.insecure_channel(GRPC) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = set(database.get_services())
        file = database.FindFileContainingSymbol("inference.GRPCInferenceService")
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= services
    (service,) = file.service
    assert "ModelStreamInfer" in [method.name for method in service.method]
