"""Creates the repositories for the client tests.

    repository.py FOLDER SHIPPED DATA

FOLDER/served gets the models of SHIPPED as they are, those of DATA in the layout of a repository,
and small graphs of our own, each for one thing that a client can do. FOLDER/explicit gets a few
for the tests that load and unload, and FOLDER/plain one for a server with other settings.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

DATATYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "BYTES": TensorProto.STRING,
}
RANKS = range(7)
ODD_MODEL = "a model, ünïcode & 模型"
ODD_NAMES = ["an input", "eingang ä 入力 🚀", 'a "quote" \\ and /a/slash']
# Versions of the model with a configuration of Triton that serve, and that do not.
VERSIONS = [1, 2]
VERSION_LEFT_OUT = 3

TRITON_CONFIG = """
name: "triton"
backend: "onnxruntime"
max_batch_size: 4
input [ { name: "x" data_type: TYPE_FP32 dims: [ 3 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 3 ] } ]
version_policy: { specific: { versions: [ 1, 2 ] } }
instance_group [ { count: 2 kind: KIND_CPU } ]
dynamic_batching { preferred_batch_size: [ 2, 4 ] max_queue_delay_microseconds: 2000 }
model_warmup [ {
  name: "noise" batch_size: 2
  inputs { key: "x" value: { data_type: TYPE_FP32 dims: [ 3 ] random_data: true } }
} ]
parameters { key: "intra_op_thread_count" value: { string_value: "1" } }
"""

LABELLED_CONFIG = """
max_batch_size: 4
input [ { name: "x" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ -1 ] label_filename: "labels.txt" } ]
"""


def main(folder, shipped, data):
    """Fills `folder`, and prints the models that are missing."""
    served, explicit, plain = (folder / name for name in ["served", "explicit", "plain"])
    served.mkdir(parents=True)
    for model in sorted(shipped.iterdir()):
        (served / model.name).symlink_to(model.resolve())
    link_data(data, served)
    for datatype in DATATYPES:
        write(served, f"identity-{datatype}", identity(datatype, 2))
    for rank in RANKS:
        write(served, f"rank-{rank}", identity("FP32", rank))
    write(served, ODD_MODEL, pairs({name: "FP32" for name in ODD_NAMES}))
    write(served, "mixed", pairs({"floats": "FP32", "integers": "INT64", "texts": "BYTES"}))
    write(served, "slow", slow())
    write(served, "picky", picky())
    write_triton(served)
    write_labelled(served)
    write_unusable(served)
    write(explicit, "adder", adder(1))
    write(explicit, "other", adder(10))
    (explicit / "empty").mkdir()
    write(plain, "identity-FP32", identity("FP32", 2))


def link_data(data, served):
    """Treats models of the data folder that have not been fetched as absent."""
    models = [*data.glob("models/*/model.onnx"), *data.glob("onnx-conformance/*/model.onnx")]
    if not models:
        print(f"SKIPPED: there are no models in {data}, so these tests see only our own")
    for model in models:
        version = served / model.parent.name / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").symlink_to(model.resolve())


def write(folder, name, model, version=1):
    """Writes one version of a model."""
    path = folder / name / str(version) / "model.onnx"
    path.parent.mkdir(parents=True)
    onnx.save(model, path)


def write_triton(served):
    """A model as Triton's own repositories have it."""
    for version in [*VERSIONS, VERSION_LEFT_OUT]:
        write(served, "triton", adder(version), version)
    (served / "triton/config.pbtxt").write_text(TRITON_CONFIG)


def write_labelled(served):
    """A model whose outputs are scores of classes with labels."""
    write(served, "labelled", identity("FP32", 2))
    (served / "labelled/config.pbtxt").write_text(LABELLED_CONFIG)
    (served / "labelled/labels.txt").write_text("cat\ndog\nhen\nowl\n")


def write_unusable(served):
    """Models that can not serve, each for a different reason."""
    write(served, "bad-config", adder(1))
    (served / "bad-config/config.pbtxt").write_text("max_batch_size: many")
    write(served, "broken", adder(1))
    (served / "broken/1/model.onnx").write_bytes(b"this is no graph")
    (served / "no-version").mkdir()


def graph(nodes, inputs, outputs, initializers=()):
    """A model; inputs and outputs are (name, datatype, dimensions)."""
    info = lambda spec: helper.make_tensor_value_info(spec[0], DATATYPES[spec[1]], spec[2])
    made = helper.make_graph(
        nodes, "graph", [info(i) for i in inputs], [info(o) for o in outputs], list(initializers)
    )
    return helper.make_model(made, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def constant(name, array):
    """An initializer."""
    return onnx.numpy_helper.from_array(array, name)


def identity(datatype, rank):
    """y = x, any size in every dimension."""
    dims = [f"d{place}" for place in range(rank)]
    node = helper.make_node("Identity", ["x"], ["y"])
    return graph([node], [("x", datatype, dims)], [("y", datatype, dims)])


def pairs(datatypes):
    """`same NAME` = NAME for each input."""
    same = lambda name: f"same {name}"
    nodes = [helper.make_node("Identity", [name], [same(name)]) for name in datatypes]
    inputs = [(name, datatype, ["n", "m"]) for name, datatype in datatypes.items()]
    outputs = [(same(name), datatype, dims) for name, datatype, dims in inputs]
    return graph(nodes, inputs, outputs)


def adder(summand):
    """y = x + summand, three elements for each row."""
    node = helper.make_node("Add", ["x", "summand"], ["y"])
    spec = ("FP32", ["n", 3])
    summand = constant("summand", np.float32(summand))
    return graph([node], [("x", *spec)], [("y", *spec)], [summand])


def slow():
    """done = steps, counted one by one: a duration that more cores do not shorten."""
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["count", "one"], ["next"]),
        ],
        "body",
        [
            info("step", TensorProto.INT64, []),
            info("go", TensorProto.BOOL, []),
            info("count", TensorProto.INT64, []),
        ],
        [info("go_on", TensorProto.BOOL, []), info("next", TensorProto.INT64, [])],
    )
    node = helper.make_node("Loop", ["steps", "", "zero"], ["done"], body=body)
    initializers = [constant("zero", np.int64(0)), constant("one", np.int64(1))]
    return graph([node], [("steps", "INT64", [])], [("done", "INT64", [])], initializers)


def picky():
    """y = the x-th of four numbers; an error for any other x."""
    node = helper.make_node("Gather", ["numbers", "x"], ["y"])
    numbers = constant("numbers", np.arange(4, dtype=np.float32))
    return graph([node], [("x", "INT64", ["n"])], [("y", "FP32", ["n"])], [numbers])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
