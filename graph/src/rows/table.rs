//! Which rule is whose.

use super::rule::Rule;
use super::{
    attention, axes, einsum, elementwise, layout, matrix, microsoft, ml, parts, pick, recurrent,
    repeat, scatter, text, window,
};

/// The rule of an operator; `None` for one whose rows nobody has looked at.
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

/// ONNX's operators that compute.
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
        | "Where" | "Xor" => elementwise::together,
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
        "BatchNormalization" => window::batch_normalization,
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
        | "SpaceToDepth" => window::batch_first,
        "DeformConv" => window::deform,
        "AffineGrid" => window::affine_grid,
        "NegativeLogLikelihoodLoss" | "SoftmaxCrossEntropyLoss" => window::loss,
        "MaxPool" => window::max_pool,
        "MaxUnpool" => window::places_in_whole,
        "GridSample" => window::grid_sample,
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

/// ONNX's operators that arrange, choose and make.
fn arranging(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Reshape" => layout::relaid,
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
        "Gather" => pick::gather,
        "GatherElements" => pick::gather_elements,
        "GatherND" => pick::gather_nd,
        "OneHot" => pick::one_hot,
        "TopK" => axes::top_k,
        "ReverseSequence" => axes::reverse,
        "NonZero" | "Unique" => pick::by_values,
        "EyeLike" | "NonMaxSuppression" | "RoiAlign" | "MaxRoiPool" => pick::by_places,
        "Scatter" | "ScatterElements" => scatter::elements,
        "ScatterND" => scatter::parts,
        "TensorScatter" => scatter::tensor,
        "StringNormalizer" => text::normalize,
        "StringSplit" => text::split,
        "TfIdfVectorizer" => text::counts,
        _ => return None,
    })
}

/// Operators of classical machine learning.
fn examples(operator: &str) -> Option<Rule> {
    Some(match operator {
        "ArrayFeatureExtractor" => pick::columns,
        "Binarizer" | "LabelEncoder" => elementwise::pointwise,
        "FeatureVectorizer" => ml::side_by_side,
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

/// Operators of Skysail's own: layers whose weights are compressed.
fn skysail(operator: &str) -> Option<Rule> {
    Some(match operator {
        "SparseMatMul" | "Int8MatMul" => matrix::weight_in_own_form,
        "SparseConv" => window::batch_first,
        _ => return None,
    })
}
