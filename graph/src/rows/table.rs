//! Rules by operator.

use super::rule::Rule;
use super::{
    attention, axes, batched, einsum, elementwise, gather, layout, matrix, microsoft, ml, parts,
    recurrent, repeat, scatter, strings,
};

/// Finds the rule of an operator; `None` if it has none.
pub(super) fn rule(domain: &str, operator: &str) -> Option<Rule> {
    match domain {
        "" => computing(operator).or_else(|| arranging(operator)),
        "ai.onnx.ml" => examples(operator),
        "com.microsoft" => microsoft::rule(operator),
        "com.microsoft.nchwc" => microsoft::blocked(operator),
        "skysail" => skysail(operator),
        _ => None,
    }
}

/// Rules of ONNX's computing operators.
fn computing(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Abs" | "Acos" | "Acosh" | "Asin" | "Asinh" | "Atan" | "Atanh" | "BitCast"
        | "BitwiseNot" | "Cast" | "Ceil" | "Celu" | "Clip" | "Cos" | "Cosh" | "Dropout" | "Elu"
        | "Erf" | "Exp" | "Floor" | "Gelu" | "HardSigmoid" | "HardSwish" | "Identity" | "IsInf"
        | "IsNaN" | "LeakyRelu" | "Log" | "Mish" | "Neg" | "Not" | "Reciprocal"
        | "RegexFullMatch" | "Relu" | "Round" | "Selu" | "Shrink" | "Sigmoid" | "Sign" | "Sin"
        | "Sinh" | "Softplus" | "Softsign" | "Sqrt" | "Swish" | "Tan" | "Tanh"
        | "ThresholdedRelu" => elementwise::pointwise,
        "Add" | "And" | "BitShift" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" | "Div"
        | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Max" | "Mean"
        | "Min" | "Mod" | "Mul" | "Or" | "PRelu" | "Pow" | "StringConcat" | "Sub" | "Sum"
        | "Where" | "Xor" => elementwise::broadcast,
        "CastLike" => elementwise::like,
        "QuantizeLinear" | "DequantizeLinear" => elementwise::quantize,
        "DynamicQuantizeLinear" => elementwise::quantize_whole,
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax"
        | "ReduceMean" | "ReduceMin" | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" => {
            axes::reduce
        }
        "ArgMax" | "ArgMin" => axes::arg,
        "Softmax" | "LogSoftmax" | "Hardmax" => axes::softmax,
        "LpNormalization" => axes::along_last,
        "LayerNormalization" | "RMSNormalization" | "SimplifiedLayerNormalization" => {
            axes::from_axis
        }
        "CumSum" | "CumProd" => axes::along_input,
        "MeanVarianceNormalization" => axes::mean_variance,
        "LRN" => axes::channels,
        "Trilu" | "Det" => axes::last_two,
        "DFT" => axes::fourier,
        "BatchNormalization" => batched::batch_normalization,
        "AveragePool"
        | "Col2Im"
        | "Conv"
        | "ConvInteger"
        | "ConvTranspose"
        | "DepthToSpace"
        | "GlobalAveragePool"
        | "GlobalLpPool"
        | "GlobalMaxPool"
        | "GroupNormalization"
        | "InstanceNormalization"
        | "LpPool"
        | "QLinearConv"
        | "STFT"
        | "SpaceToDepth" => batched::batch_first,
        "DeformConv" => batched::deform,
        "AffineGrid" => batched::affine_grid,
        "NegativeLogLikelihoodLoss" | "SoftmaxCrossEntropyLoss" => batched::loss,
        "MaxPool" => batched::max_pool,
        "MaxUnpool" => batched::global_indices,
        "GridSample" => batched::grid_sample,
        "MatMul" | "MatMulInteger" => matrix::matmul,
        "QLinearMatMul" => matrix::matmul_quantized,
        "Gemm" => matrix::gemm,
        "Einsum" => einsum::einsum,
        "LSTM" | "GRU" | "RNN" => recurrent::recurrent,
        "Attention" => attention::attention,
        "RotaryEmbedding" => attention::rotary,
        _ => return None,
    })
}

/// Rules of ONNX's operators that rearrange, select and create.
fn arranging(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Reshape" => layout::reshape,
        "Flatten" => layout::flatten,
        "Transpose" => layout::transpose,
        "Squeeze" => layout::squeeze,
        "Unsqueeze" => layout::unsqueeze,
        "Resize" | "Upsample" => layout::resize,
        "Expand" => repeat::expand,
        "Tile" => repeat::tile,
        "ConstantOfShape" => repeat::constant_of_shape,
        "Concat" => parts::concat,
        "Split" => parts::split,
        "Slice" => parts::slice,
        "Pad" => parts::pad,
        "Range" => repeat::range,
        "Compress" => parts::compress,
        "CenterCropPad" => parts::center,
        "Gather" => gather::gather,
        "GatherElements" => gather::gather_elements,
        "GatherND" => gather::gather_nd,
        "OneHot" => gather::one_hot,
        "TopK" => axes::top_k,
        "ReverseSequence" => axes::reverse,
        "NonZero" | "Unique" => gather::data_dependent,
        "EyeLike" | "NonMaxSuppression" | "RoiAlign" | "MaxRoiPool" => gather::index_dependent,
        "Scatter" | "ScatterElements" => scatter::elements,
        "ScatterND" => scatter::parts,
        "TensorScatter" => scatter::tensor,
        "StringNormalizer" => strings::normalize,
        "StringSplit" => strings::split,
        "TfIdfVectorizer" => strings::counts,
        _ => return None,
    })
}

/// Rules of classical machine learning.
fn examples(operator: &str) -> Option<Rule> {
    Some(match operator {
        "ArrayFeatureExtractor" => gather::columns,
        "Binarizer" | "LabelEncoder" => elementwise::pointwise,
        "FeatureVectorizer" => ml::concat_features,
        "Imputer"
        | "LinearClassifier"
        | "LinearRegressor"
        | "Normalizer"
        | "SVMClassifier"
        | "SVMRegressor"
        | "Scaler"
        | "TreeEnsemble"
        | "TreeEnsembleClassifier"
        | "TreeEnsembleRegressor" => ml::examples,
        "OneHotEncoder" => ml::one_hot,
        _ => return None,
    })
}

/// Rules of Skysail's operators: layers with compressed weights.
fn skysail(operator: &str) -> Option<Rule> {
    Some(match operator {
        "SparseMatMul" | "Int8MatMul" => matrix::packed_weight,
        "SparseConv" => batched::batch_first,
        _ => return None,
    })
}
