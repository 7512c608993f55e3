"""A model with its first dimension opened, as a model that takes any number of rows has it."""

import onnx
from collected import given_inputs

ROWS = "rows"


def opened(model):
    """The model with any number of rows in every input and output; None if no input has rows."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    inputs = [info for info in given_inputs(made.graph) if has_rows(info)]
    if not inputs:
        return None
    for info in [*inputs, *filter(has_rows, made.graph.output)]:
        info.type.tensor_type.shape.dim[0].dim_param = ROWS
    # What is said of values in between may hold for the one size alone.
    del made.graph.value_info[:]
    return made


def has_rows(info):
    """Whether this is a tensor with a first dimension."""
    kind = info.type
    return kind.HasField("tensor_type") and len(kind.tensor_type.shape.dim) > 0
