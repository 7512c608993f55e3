"""Small models, each for one way in which rows depend on each other, or do not.

They are in ONNX's own text form. Those of SHARING have to share runs; of TOUCHING and ODD only
the answers count.
"""

import onnx.parser
from collected import Case, made_up

HEAD = '<ir_version: 8, opset_import: ["" : 17]>\nmodel '
# Rows are independent.
SHARING = {
    "layers": """(float[n,4] x) => (float[n,2] y) <float[4,2] w = {1, 2, 3, 4, 5, 6, 7, 8}> {
        a = Relu (x)
        b = MatMul (a, w)
        y = Softmax <axis = 1> (b)
    }""",
    "mean-of-a-row": """(float[n,3,4] x) => (float[n,1,1] y) {
        y = ReduceMean <axes = [1, 2]> (x)
    }""",
    "flattened-rows": """(float[n,2,3] x) => (float[n,6] y) <int64[2] s = {0, -1}> {
        a = Reshape (x, s)
        y = Neg (a)
    }""",
    "shape-from-the-input": """(float[n,4,6] x) => (float[n,4,2,3] y)
        <int64[1] zero = {0}, int64[1] one = {1}, int64[2] rest = {2, 3}> {
        s = Shape (x)
        h = Slice (s, zero, one)
        four = Slice (s, one, two)
        t = Concat <axis = 0> (h, four, rest)
        y = Reshape (x, t)
    }""".replace("int64[2] rest", "int64[1] two = {2}, int64[2] rest"),
    "attention": """(float[n,3,4] x) => (float[n,3,4] y) <float[4,4] w =
        {1, 0, 2, 0, 0, 1, 0, 3, 1, 1, 0, 0, 0, 2, 1, 1}, float half = {0.5}> {
        q = MatMul (x, w)
        k = Transpose <perm = [0, 2, 1]> (x)
        a = MatMul (q, k)
        b = Mul (a, half)
        p = Softmax <axis = 2> (b)
        y = MatMul (p, x)
    }""",
    "normalized": """(float[n,2,4] x) => (float[n,2,4] y) <float small = {0.001}> {
        m = ReduceMean <axes = [-1]> (x)
        d = Sub (x, m)
        q = Mul (d, d)
        v = ReduceMean <axes = [-1]> (q)
        e = Add (v, small)
        r = Sqrt (e)
        y = Div (d, r)
    }""",
    "embedded": """(int64[n,3] ids) => (float[n,2] y) <float[3,2] words = {1, 2, 3, 4, 5, 6}> {
        e = Gather <axis = 0> (words, ids)
        y = ReduceMean <axes = [1], keepdims = 0> (e)
    }""",
    "convolved": """(float[n,1,4,4] x) => (float[n,2] y)
        <float[2,1,2,2] w = {1, 2, 3, 4, 4, 3, 2, 1}, float[2] b = {1, -1}> {
        c = Conv (x, w, b)
        r = Relu (c)
        p = GlobalAveragePool (r)
        y = Flatten (p)
    }""",
    "best-of-a-row": """(float[n,5] x) => (float[n,2] best, int64[n,2] places) <int64[1] k = {2}> {
        best, places = TopK <axis = 1> (x, k)
    }""",
    "masked": """(float[n,4] x) => (float[n,4] y) <float zero = {0}, float low = {-1000}> {
        c = Greater (x, zero)
        m = Where (c, x, low)
        y = Softmax <axis = -1> (m)
    }""",
    "rounded-to-fixed-steps": """(float[n,4] x) => (float[n,4] y)
        <float step = {0.05}, uint8 middle = {128}> {
        q = QuantizeLinear (x, step, middle)
        y = DequantizeLinear (q, step, middle)
    }""",
    "two-inputs": """(float[n,3] a, float[n,2] b) => (float[n,5] y) {
        y = Concat <axis = 1> (a, b)
    }""",
}
# Outputs depend on the other rows of the run.
TOUCHING = {
    "softmax-over-rows": "(float[n,4] x) => (float[n,4] y) { y = Softmax <axis = 0> (x) }",
    "centred": """(float[n,4] x) => (float[n,4] y) {
        m = ReduceMean <axes = [0]> (x)
        y = Sub (x, m)
    }""",
    "divided-by-rows": """(float[n,4] x) => (float[n,4] y) <int64 zero = {0}> {
        s = Shape (x)
        n = Gather (s, zero)
        f = Cast <to = 1> (n)
        y = Div (x, f)
    }""",
    "summed-up-to-here": """(float[n,4] x) => (float[n,4] y) <int64 axis = {0}> {
        y = CumSum (x, axis)
    }""",
    "scaled-by-largest-above-one": """(float[n,6] x) => (float[n,6] y) <float one = {1}> {
        a = Abs (x)
        n = ReduceMax <keepdims = 0> (a)
        m = Max (n, one)
        y = Div (x, m)
    }""",
    "rarely-shifted": """(float[n,4] x) => (float[n,4] y) <float limit = {50}> {
        a = Abs (x)
        s = ReduceMax <keepdims = 0> (a)
        d = Sub (s, limit)
        r = Relu (d)
        y = Add (x, r)
    }""",
    "divided-if-large": """(float[n,6] x) => (float[n,6] y)
        <float limit = {1.5}, float by = {255}> {
        m = ReduceMax <keepdims = 0> (x)
        c = Greater (m, limit)
        y = If (c) <
            then_branch = divided () => (float[] t) { t = Div (x, by) },
            else_branch = same () => (float[] e) { e = Identity (x) }
        >
    }""",
    "negated-unless-positive": """(float[n,4] x) => (float[n,4] y) <float zero = {0}> {
        s = ReduceSum <keepdims = 0> (x)
        c = Greater (s, zero)
        y = If (c) <
            then_branch = twice () => (float[] t) { t = Add (x, x) },
            else_branch = negated () => (float[] e) { e = Neg (x) }
        >
    }""",
    "halved-until-all-are-small": """(float[n,1] x) => (float[n,1] y)
        <int64 trips = {20}, bool yes = {1}, float half = {0.5}, float one = {1}> {
        y = Loop (trips, yes, x) <
            body = step (int64 i, bool c, float[] v) => (bool go, float[] w) {
                w = Mul (v, half)
                m = ReduceMax <keepdims = 0> (w)
                go = Greater (m, one)
            }
        >
    }""",
    "rows-by-number": """(float[n,3] features, int64[n] parent) => (float[n,3] y) {
        q = Gather (features, parent)
        y = Add (features, q)
    }""",
    "pairs-of-rows": """(float[n,3] image, float[n,3] text) => (float[n,n] y) {
        t = Transpose <perm = [1, 0]> (text)
        y = MatMul (image, t)
    }""",
    "pairs-by-einsum": """(float[n,3] x) => (float[n,n] y) {
        y = Einsum <equation = "ij,kj->ik"> (x, x)
    }""",
    "rounded-by-the-largest": """(float[n,8] x) => (float[n,8] y) {
        q, s, z = DynamicQuantizeLinear (x)
        y = DequantizeLinear (q, s, z)
    }""",
    "sorted-over-rows": """(float[n,4] x) => (float[n,4] y) <int64 zero = {0}> {
        s = Shape (x)
        k = Slice (s, zero1, one1)
        y, i = TopK <axis = 0> (x, k)
    }""".replace("<int64 zero = {0}>", "<int64[1] zero1 = {0}, int64[1] one1 = {1}>"),
    "places-of-rows": """(float[n,4] x) => (float[n,4] y)
        <int64 zero = {0}, int64 one = {1}, int64[1] last = {1}> {
        s = Shape (x)
        n = Gather (s, zero)
        r = Range (zero, n, one)
        f = Cast <to = 1> (r)
        c = Unsqueeze (f, last)
        y = Add (x, c)
    }""",
    "over-time-first": """(float[n,2,3] x) => (float[n,1,2,2] y, float[1,2,2] last)
        <float[1,2,3] w = {1, 2, 3, 4, 5, 6}, float[1,2,2] r = {0.1, 0.2, 0.3, 0.4}> {
        y, last = RNN <hidden_size = 2> (x, w, r)
    }""",
    "flat-and-back": """(float[n,4] x) => (float[n,4] y)
        <int64[1] flat = {-1}, int64 zero = {0}, float[4] w = {1, 2, 3, 4}> {
        s = Shape (x)
        a = Reshape (x, flat)
        c = CumSum (a, zero)
        y = Reshape (c, s)
    }""",
    "padded-above": """(float[n,3] x) => (float[n,3] y) <int64[4] pads = {1, 0, -1, 0}> {
        y = Pad (x, pads)
    }""",
    "as-columns": """(float[n,3] x) => (float[n,3] y) <int64[2] s = {3, -1}> {
        a = Reshape (x, s)
        y = Transpose <perm = [1, 0]> (a)
    }""",
    "first-row-to-all": """(float[n,3] x) => (float[n,3] y)
        <int64[1] zero = {0}, int64[1] one = {1}> {
        f = Slice (x, zero, one)
        y = Add (x, f)
    }""",
    "turned-round": """(float[n,3] x) => (float[n,3] y)
        <int64[1] from = {-1}, int64[1] to = {-1000}, int64[1] zero = {0}, int64[1] step = {-1}> {
        y = Slice (x, from, to, zero, step)
    }""",
    "squared-if-any-is-negative": """(float[n,3] x) => (float[n,3] y) <float zero = {0}> {
        l = Less (x, zero)
        f = Cast <to = 1> (l)
        any = ReduceMax <keepdims = 0> (f)
        b = Cast <to = 9> (any)
        a = Mul (x, x)
        y = Where (b, a, x)
    }""",
}
# What files say of themselves, and outputs that are no product of the graph.
ODD = {
    "output-declared-too-small": "(float[n,4] x) => (float[1,4] y) { y = Relu (x) }",
    "label-declared-as-one": """(float[n,3] x) => (int64[1] label, float[n,3] scores) {
        label = ArgMax <axis = 1, keepdims = 0> (x)
        scores = Softmax <axis = 1> (x)
    }""",
    "width-declared-wrong": """(float[n,4] x) => (float[n,1] y) { y = Neg (x) }""",
    "rows-left-out": """(float[n,4] x) => (float[n,4] y) <int64 first = {0}, float zero = {0}> {
        s = Gather <axis = 1> (x, first)
        c = GreaterOrEqual (s, zero)
        y = Compress <axis = 0> (x, c)
    }""",
    "output-is-input": "(float[n,3] x) => (float[n,3] x, float[n,3] y) { y = Relu (x) }",
    "id-passes-through": """(float[n,3] x, int64[n,1] id) => (float[n,3] y, int64[n,1] id) {
        y = Relu (x)
    }""",
    "rank-not-declared": "(float[] x) => (float[] y) { y = Relu (x) }",
    "default-given": """(float[n,4] x, float[1] scale) => (float[n,4] y) <float[1] scale = {3}> {
        y = Mul (x, scale)
    }""",
}


def own_cases():
    """Each model of our own."""
    for name, text in {**SHARING, **TOUCHING, **ODD}.items():
        model = onnx.parser.parse_model(HEAD + text)
        if name == "rank-not-declared":
            for info in [*model.graph.input, *model.graph.output]:
                info.type.tensor_type.ClearField("shape")
        case = Case(name, model, [], shares=name in SHARING or None)
        case.sets = [{info.name: made_up(info) for info in case.inputs}]
        yield case
