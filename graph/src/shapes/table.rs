//! Rules by operator.

use super::call::Rule;
use super::{
    branch, einsum, elementwise, gather, join, layout, matrix, ml, normalize, quantize, rank_only,
    recurrent, reduce, resize, slice, source, window,
};

/// Finds the rule of an operator; `None` if it is unknown.
pub(crate) fn rule(domain: &str, operator: &str) -> Option<Rule> {
    match domain {
        "" => onnx(operator).or_else(|| onnx_shape(operator)),
        "com.microsoft" => microsoft(operator),
        "ai.onnx.ml" => ml(operator),
        "com.microsoft.nchwc" => Some(rank_only::same_rank),
        "skysail" => skysail(operator),
        _ => None,
    }
}

/// Rules of computing operators.
fn onnx(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Abs"
        | "Acos"
        | "Acosh"
        | "Asin"
        | "Asinh"
        | "Atan"
        | "Atanh"
        | "BitwiseNot"
        | "Ceil"
        | "Celu"
        | "Clip"
        | "Cos"
        | "Cosh"
        | "CumSum"
        | "Elu"
        | "Erf"
        | "Exp"
        | "Floor"
        | "Gelu"
        | "HardSigmoid"
        | "HardSwish"
        | "Hardmax"
        | "LeakyRelu"
        | "Log"
        | "LogSoftmax"
        | "LpNormalization"
        | "LRN"
        | "MeanVarianceNormalization"
        | "Mish"
        | "Neg"
        | "Reciprocal"
        | "Relu"
        | "Round"
        | "Scatter"
        | "ScatterElements"
        | "ScatterND"
        | "Selu"
        | "Shrink"
        | "Sigmoid"
        | "Sign"
        | "Sin"
        | "Sinh"
        | "Softmax"
        | "Softplus"
        | "Softsign"
        | "Sqrt"
        | "Swish"
        | "Tan"
        | "Tanh"
        | "ThresholdedRelu"
        | "BitCast"
        | "CumProd"
        | "ReverseSequence"
        | "RotaryEmbedding"
        | "StringNormalizer"
        | "TensorScatter"
        | "Trilu" => elementwise::same,
        "InstanceNormalization" | "GroupNormalization" | "RMSNormalization" => elementwise::same,
        "RegexFullMatch" => elementwise::predicate,
        "StringConcat" | "PRelu" => elementwise::broadcast,
        "Attention" => rank_only::attention,
        "GridSample" => rank_only::grid_sample,
        "AffineGrid" => rank_only::affine_grid,
        "DFT" => rank_only::dft,
        "STFT" => rank_only::stft,
        "Det" => rank_only::determinant,
        "DeformConv" => rank_only::same_rank,
        "NegativeLogLikelihoodLoss" | "SoftmaxCrossEntropyLoss" => rank_only::loss,
        "Identity" => elementwise::identity,
        "Dropout" => elementwise::dropout,
        "IsInf" | "IsNaN" => elementwise::predicate,
        "Not" => elementwise::not,
        "Add" | "Sub" | "Mul" | "Div" => elementwise::arithmetic,
        "Mod" | "Pow" | "BitShift" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" | "Max" | "Min"
        | "Sum" | "Mean" => elementwise::broadcast,
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Xor" => {
            elementwise::compare
        }
        "Where" => elementwise::where_,
        "Cast" => elementwise::cast,
        "CastLike" => elementwise::cast_like,
        "BatchNormalization" => normalize::batch,
        "LayerNormalization" | "SimplifiedLayerNormalization" => normalize::layer,
        "Conv" => window::conv,
        "ConvInteger" => window::conv_integer,
        "QLinearConv" => window::conv_quantized,
        "ConvTranspose" => window::conv_transpose,
        "MaxPool" | "AveragePool" | "LpPool" => window::pool,
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => window::global_pool,
        "MatMul" => matrix::matmul,
        "MatMulInteger" => matrix::matmul_integer,
        "QLinearMatMul" => matrix::matmul_quantized,
        "Gemm" => matrix::gemm,
        "Einsum" => einsum::einsum,
        "QuantizeLinear" => quantize::quantize,
        "DequantizeLinear" => quantize::dequantize,
        "DynamicQuantizeLinear" => quantize::dynamic,
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax"
        | "ReduceMean" | "ReduceMin" | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" => {
            reduce::reduce
        }
        "ArgMax" | "ArgMin" => reduce::arg,
        "LSTM" | "GRU" | "RNN" => recurrent::recurrent,
        _ => return None,
    })
}

/// Rules of operators that rearrange, select and create.
fn onnx_shape(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Reshape" => layout::reshape,
        "Flatten" => layout::flatten,
        "Transpose" => layout::transpose,
        "Squeeze" => layout::squeeze,
        "Unsqueeze" => layout::unsqueeze,
        "Expand" => layout::expand,
        "Tile" => layout::tile,
        "DepthToSpace" => layout::depth_to_space,
        "SpaceToDepth" => layout::space_to_depth,
        "Concat" => join::concat,
        "Split" => join::split,
        "Pad" => join::pad,
        "Resize" | "Upsample" => resize::resize,
        "Slice" => slice::slice,
        "Gather" => gather::gather,
        "GatherElements" => gather::gather_elements,
        "GatherND" => gather::gather_nd,
        "TopK" => gather::top_k,
        "NonZero" => gather::non_zero,
        "OneHot" => gather::one_hot,
        "Compress" => rank_only::compress,
        "CenterCropPad" => rank_only::center_crop_pad,
        "Col2Im" => rank_only::col2im,
        "TfIdfVectorizer" => ml::ngram_counts,
        "Constant" => source::constant,
        "ConstantOfShape" => source::constant_of_shape,
        "Shape" => source::shape,
        "Size" => source::size,
        "Range" => source::range,
        "RandomNormal" | "RandomUniform" => source::random,
        "EyeLike" | "RandomNormalLike" | "RandomUniformLike" | "Bernoulli" => source::like,
        "If" => branch::if_,
        _ => return None,
    })
}

/// Rules of ONNX Runtime's operators.
fn microsoft(operator: &str) -> Option<Rule> {
    Some(match operator {
        "BiasGelu" | "FastGelu" | "Gelu" | "QuickGelu" | "QLinearSigmoid" | "QLinearLeakyRelu"
        | "QLinearSoftmax" => elementwise::same,
        "QLinearAdd" | "QLinearMul" => elementwise::broadcast_quantized,
        "QLinearWhere" => elementwise::where_quantized,
        "QLinearReduceMean" => reduce::reduce_quantized,
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => normalize::skip_layer,
        "FusedConv" => window::conv,
        "QLinearAveragePool" => window::pool,
        "QLinearGlobalAveragePool" => window::global_pool,
        "FusedGemm" => matrix::gemm,
        "FusedMatMul" => matrix::matmul_fused,
        "MatMulNBits" => matrix::matmul_n_bits,
        "DynamicQuantizeMatMul" | "MatMulIntegerToFloat" => matrix::matmul_to_float,
        "QuantizeLinear" => quantize::quantize,
        "DequantizeLinear" => quantize::dequantize,
        "Inverse"
        | "Trilu"
        | "GroupNorm"
        | "RotaryEmbedding"
        | "LayerNormalization"
        | "SimplifiedLayerNormalization" => elementwise::same,
        "BiasAdd" | "MulInteger" => elementwise::broadcast,
        "BiasSplitGelu" => rank_only::unknown_last_dim,
        "MurmurHash3" => rank_only::unknown_elements,
        "NhwcMaxPool"
        | "NhwcConv"
        | "NhwcFusedConv"
        | "QLinearConv"
        | "NhwcResize"
        | "ConvTransposeWithDynamicPads" => rank_only::same_rank,
        "TransposeMatMul" => matrix::matmul_fused,
        "MatMulInteger16" => matrix::matmul_integer,
        "MatMulBnb4" | "MatMulFpQ4" => rank_only::unknown_last_dim,
        "GemmFastGelu" => matrix::matmul,
        "QGemm" => rank_only::unknown_matrix,
        "CDist" => rank_only::distances,
        "GatherBlockQuantized" => rank_only::gather_quantized,
        "QLinearConcat" => rank_only::concat_quantized,
        "Pad" => join::pad,
        "GridSample" => rank_only::grid_sample,
        "Attention" | "QAttention" | "MultiHeadAttention" | "GroupQueryAttention" => {
            rank_only::ort_attention
        }
        "EmbedLayerNormalization" => rank_only::embed_layer_norm,
        _ => return None,
    })
}

/// Rules of Skysail's operators: layers with compressed weights.
fn skysail(operator: &str) -> Option<Rule> {
    Some(match operator {
        "SparseMatMul" | "Int8MatMul" => rank_only::unknown_last_dim,
        "SparseConv" => rank_only::same_rank,
        _ => return None,
    })
}

/// Rules of classical machine learning.
fn ml(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Binarizer" => elementwise::same,
        "LabelEncoder" => rank_only::unknown_elements,
        "TreeEnsemble" | "TreeEnsembleRegressor" | "LinearRegressor" | "SVMRegressor" => {
            ml::regression
        }
        "OneHotEncoder" => ml::one_hot,
        "FeatureVectorizer" => ml::concat_features,
        "Normalizer" | "Scaler" | "Imputer" => ml::scaled,
        "ArrayFeatureExtractor" => ml::features,
        "LinearClassifier" | "SVMClassifier" | "TreeEnsembleClassifier" => ml::classification,
        _ => return None,
    })
}
