"""Makes the first dimension of models dynamic, so that they accept any number of rows."""

import onnx
from collected import given_inputs
from onnx import numpy_helper

ROWS = "rows"


def with_weights(model, values):
    """The model with its first input alone; the others are weights, with the values given.

    None if there are no others, or if the first has no rows.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    first, *others = given_inputs(made.graph) or [None]
    if not others or not has_dimensions(first):
        return None
    for info in others:
        made.graph.initializer.append(numpy_helper.from_array(values[info.name], info.name))
        made.graph.input.remove(info)
    return opened(made)


def opened(model):
    """The model with dynamic rows in every input and output; None if no input has rows."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    inputs = [info for info in given_inputs(made.graph) if has_dimensions(info)]
    if not inputs:
        return None
    for info in [*inputs, *filter(has_dimensions, made.graph.output)]:
        info.type.tensor_type.shape.dim[0].dim_param = ROWS
    # Declared shapes of inner values may hold for one size only.
    del made.graph.value_info[:]
    return made


def has_dimensions(info):
    """Returns True for a tensor with a declared first dimension."""
    kind = info.type
    return kind.HasField("tensor_type") and len(kind.tensor_type.shape.dim) > 0


def with_rows(model):
    """Inputs with dynamic rows, with the name of the dimension ("" if unnamed)."""
    found = {}
    for info in given_inputs(model.graph):
        kind = info.type.tensor_type
        if not kind.HasField("shape"):
            found[info.name] = ""
        elif kind.shape.dim and not kind.shape.dim[0].HasField("dim_value"):
            found[info.name] = kind.shape.dim[0].dim_param
    return found


def agree(inputs, rows):
    """Returns True if inputs with the same row dimension have equally many rows."""
    counts = {}
    for name, array in inputs.items():
        if rows.get(name) and array.ndim > 0:
            counts.setdefault(rows[name], set()).add(len(array))
    return all(len(each) == 1 for each in counts.values())
