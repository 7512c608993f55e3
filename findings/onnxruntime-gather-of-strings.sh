#!/usr/bin/env bash
# onnxruntime 1.31.1 (CPU), onnx 1.23.2, Python 3.11.
#
# Gather of strings copies only the first string of each block. Gather along axis 0 of a string tensor [2, 3]
# with index 1 should return the three strings of that row. It returns the first, two empty strings, and no
# error. The same Gather of floats is right, and so is one whose blocks hold a single string.
#
# Observed:
#   strings [['d', '', '']]
#   floats  [[3.0, 4.0, 5.0]]
#
# Workaround: flatten the table, gather each string, and reshape.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper


def gathered(element, table):
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "place"], ["row"], axis=0)],
        "gather",
        [helper.make_tensor_value_info("table", element, [2, 3])],
        [helper.make_tensor_value_info("row", element, [1, 3])],
        [helper.make_tensor("place", TensorProto.INT64, [1], [1])],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"table": table})[0].tolist()


strings = gathered(TensorProto.STRING, np.array([list("abc"), list("def")], dtype=object))
floats = gathered(TensorProto.FLOAT, np.arange(6, dtype=np.float32).reshape(2, 3))
print("strings", strings)
print("floats ", floats)
assert floats == [[3.0, 4.0, 5.0]], floats
assert strings == [["d", "", ""]], f"the behaviour has changed: {strings}"
PYTHON
