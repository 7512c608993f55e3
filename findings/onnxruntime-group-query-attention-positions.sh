#!/usr/bin/env bash
# onnxruntime 1.31.1 (CPU), onnx 1.23.2, Python 3.11.
#
# GroupQueryAttention (com.microsoft) with do_rotary = 1 has position_ids of shape [batch, steps]. In the prompt
# phase (as many steps as total_sequence_length), it rotates the keys of every row by positions that start at
# the first position of the FIRST row. The positions of the other rows are ignored: the result of a row in a
# batch differs from its result alone, depending on the first row.
#
# Observed: three equal rows of 5 tokens, at positions 7 to 11, 0 to 4 and 3 to 7. The largest difference between
# a row's keys in the batch and alone:
#   row 0 differs by 0.0, row 1 differs, row 2 differs
#
# Workaround: process prompts one request at a time, or rotate them in the graph.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
STEPS, HEAD = 5, 16

angles = np.arange(40)[:, None] / 10.0 ** (np.arange(HEAD // 2) / 4)
constants = {
    "total": np.array(STEPS, np.int32),
    "cosines": np.cos(angles).astype(np.float32),
    "sines": np.sin(angles).astype(np.float32),
}
names = ["q", "k", "v", "past_k", "past_v", "lengths", "total", "cosines", "sines", "positions"]
info = helper.make_tensor_value_info
graph = helper.make_graph(
    [
        helper.make_node(
            "GroupQueryAttention",
            names,
            ["found", "keys", "values"],
            domain="com.microsoft",
            num_heads=2,
            kv_num_heads=1,
            do_rotary=1,
        )
    ],
    "attention",
    [
        info("q", FLOAT, ["n", "s", 2 * HEAD]),
        info("k", FLOAT, ["n", "s", HEAD]),
        info("v", FLOAT, ["n", "s", HEAD]),
        info("past_k", FLOAT, ["n", 1, "p", HEAD]),
        info("past_v", FLOAT, ["n", 1, "p", HEAD]),
        info("lengths", INT32, ["n"]),
        info("positions", INT64, ["n", "s"]),
    ],
    [info("found", FLOAT, None), info("keys", FLOAT, None)],
    [numpy_helper.from_array(value, name) for name, value in constants.items()],
)
opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
session = onnxruntime.InferenceSession(
    model.SerializeToString(), providers=["CPUExecutionProvider"]
)
random = np.random.default_rng(1)


def equal_rows(*shape):
    return np.repeat(random.standard_normal((1, *shape)).astype(np.float32), 3, axis=0)


feeds = {
    "q": equal_rows(STEPS, 2 * HEAD),
    "k": equal_rows(STEPS, HEAD),
    "v": equal_rows(STEPS, HEAD),
    "past_k": equal_rows(1, 0, HEAD),
    "past_v": equal_rows(1, 0, HEAD),
    "lengths": np.full(3, STEPS - 1, np.int32),
    "positions": np.arange(STEPS) + np.array([[7], [0], [3]]),
}
together = session.run(["keys"], feeds)[0]
apart = [
    session.run(["keys"], {name: value[row : row + 1] for name, value in feeds.items()})[0][0]
    for row in range(3)
]
differs = [float(np.abs(together[row] - apart[row]).max()) for row in range(3)]
for row, difference in enumerate(differs):
    print(f"row {row} differs by {difference:.3f}")
assert differs[0] < 1e-5, differs
assert differs[1] > 0.1 and differs[2] > 0.1, f"the behaviour has changed: {differs}"
PYTHON
