//! Whether what a graph is proven to be is what it does.

use crate::arrays::{Array, Data, Outputs, row, run, session, sides};
use crate::maker::Maker;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use skysail_graph::{Independence, Model, OutputShape};
use std::collections::BTreeSet;

/// Numbers of rows that share a run.
const ROWS: [usize; 3] = [2, 3, 7];
/// Draws of all inputs.
const DRAWS: usize = 3;

/// What comes of a graph.
pub(crate) enum Found {
    /// ONNX Runtime does not take it.
    Refused(String),
    /// It does what is proven.
    Fine { independent: bool, cause: String, ran: bool, rows_agree: bool, sizes: usize },
    /// It does not.
    Violation(String),
}

/// Operators that give the same number for the same numbers, whatever the order in which they are
/// added: small numbers stay exact.
const EXACT: &str = " Abs Neg Relu Identity Sign Floor Ceil Round IsNaN IsInf LeakyRelu \
    ThresholdedRelu Dropout PRelu Add Sub Mul Max Min Sum And Or Xor Not Equal Less Greater \
    LessOrEqual GreaterOrEqual Where Clip Cast ReduceL1 ReduceMax ReduceMin ReduceSum \
    ReduceSumSquare ArgMax ArgMin Hardmax CumSum Trilu TopK BitShift BitwiseNot BitwiseAnd \
    BitwiseOr BitwiseXor ReverseSequence Transpose Reshape Flatten Squeeze Unsqueeze Concat Split \
    Slice Pad Expand Tile Compress CenterCropPad MatMul Gemm Einsum Shape Size Gather \
    ConstantOfShape Range GatherElements GatherND OneHot ScatterElements ScatterND NonZero EyeLike \
    Conv ConvTranspose MaxPool GlobalMaxPool DepthToSpace SpaceToDepth Col2Im If Loop Scan \
    local.TwiceAndMore QuantizeLinear DequantizeLinear MatMulInteger QLinearMatMul ConvInteger \
    QLinearConv Constant com.microsoft.FusedMatMul com.microsoft.TransposeMatMul \
    com.microsoft.FusedGemm com.microsoft.FusedConv com.microsoft.Trilu com.microsoft.Pad \
    com.microsoft.QLinearConcat ai.onnx.ml.Scaler ai.onnx.ml.Imputer ai.onnx.ml.LinearRegressor \
    ai.onnx.ml.Binarizer ai.onnx.ml.LabelEncoder ai.onnx.ml.OneHotEncoder \
    ai.onnx.ml.FeatureVectorizer ai.onnx.ml.ArrayFeatureExtractor ai.onnx.ml.TreeEnsembleRegressor \
    ai.onnx.ml.TreeEnsembleClassifier StringNormalizer StringConcat RegexFullMatch StringSplit \
    TfIdfVectorizer CastLike Mod ";

/// Operators that turn what is no finite number into an integer, which is open; and those whose
/// kernels compare it as it happens to lie in memory.
const TAME: &str = " Cast CastLike QuantizeLinear TopK ArgMax ArgMin Hardmax ReduceMax ReduceMin \
    ReduceLogSumExp MaxPool GlobalMaxPool Max Min Clip Softmax LogSoftmax Relu \
    com.microsoft.FusedConv com.microsoft.FusedGemm ";

fn is_among(operators: &BTreeSet<String>, all: &str) -> bool {
    operators.iter().all(|operator| all.contains(&format!(" {operator} ")))
}

/// Tries the graph with these outputs.
pub(crate) fn check(maker: &mut Maker, outputs: &[String]) -> Found {
    let model = maker.model(outputs);
    let operators = maker.operators(outputs);
    let (independent, cause) = match model.row_independence() {
        Independence::Independent => (true, String::new()),
        Independence::Dependent(cause) => (false, format!("Dependent: {cause}")),
        Independence::Unknown(cause) => (false, format!("Unknown: {cause}")),
    };
    let mut session = match session(&model, GraphOptimizationLevel::All) {
        Ok(session) => session,
        Err(problem) => return Found::Refused(problem),
    };
    let exact = is_among(&operators, EXACT);
    let tame = operators.iter().any(|operator| TAME.contains(&format!(" {operator} ")));
    let mut trial = Trial::new(&model, &mut session, if exact { 1e-4 } else { 5e-3 });
    let mut agree = true;
    for draw in 0..DRAWS {
        let wild = draw == 2 && !tame;
        let sides = sides(maker, draw == 1);
        for rows in ROWS {
            match trial.rows(maker, &sides, rows, wild, independent) {
                Ok(()) => {}
                Err(problem) if !independent && problem.contains("rows") => agree = false,
                // Rounding may differ with the number of rows; what touches differs every time.
                Err(problem) if !exact && problem.contains("alone") => {
                    let again =
                        (0..6).filter(|_| trial.rows(maker, &sides, rows, wild, true).is_err());
                    if again.count() >= 4 {
                        return Found::Violation(problem);
                    }
                }
                Err(problem) => return Found::Violation(problem),
            }
        }
        if let Err(problem) = trial.different_rows(maker, &sides) {
            return Found::Violation(problem);
        }
    }
    Found::Fine { independent, cause, ran: trial.ran, rows_agree: agree, sizes: trial.sizes }
}

/// A session that is tried.
struct Trial<'s> {
    model: &'s Model,
    session: &'s mut Session,
    /// The same graph, not optimised.
    plain: Option<Session>,
    shapes: [Vec<OutputShape>; 2],
    tolerance: f32,
    /// Whether rows ran together.
    ran: bool,
    /// Sizes that were proven, and right.
    sizes: usize,
}

impl<'s> Trial<'s> {
    fn new(model: &'s Model, session: &'s mut Session, tolerance: f32) -> Self {
        let shapes = [true, false].map(|same| model.output_shapes(same));
        Self { model, session, plain: None, shapes, tolerance, ran: false, sizes: 0 }
    }

    /// Runs rows together, each alone, and each beside others.
    fn rows(
        &mut self,
        maker: &mut Maker,
        sides: &[Vec<usize>],
        count: usize,
        wild: bool,
        all: bool,
    ) -> Result<(), String> {
        let rows: Vec<Vec<Array>> = (0..count).map(|_| row(maker, sides, wild)).collect();
        let mut alone = Vec::new();
        for row in &rows {
            match self.run(row)? {
                Ok(outputs) => alone.push(outputs),
                Err(_) => return Ok(()),
            }
        }
        let inputs = stacked(&rows);
        let together = match self.run(&inputs)? {
            Ok(outputs) => outputs,
            Err(problem) => {
                return Err(format!("{count} rows fail together, not alone: {problem}"));
            }
        };
        self.ran = true;
        for (row, alone) in alone.iter().enumerate() {
            let Err(problem) = compare(&together, alone, row, count, self.tolerance) else {
                continue;
            };
            if plain_fails(self.model, &mut self.plain, &inputs) {
                return Ok(());
            }
            return Err(format!("of {count} rows, {row} differs from alone: {problem}"));
        }
        if !all {
            return Ok(());
        }
        // At the same place among as many others, nothing is rounded in another way.
        let kept = maker.below(count);
        let mut others: Vec<Vec<Array>> = (0..count).map(|_| row(maker, sides, wild)).collect();
        others[kept].clone_from(&rows[kept]);
        if let Ok(beside) = self.run(&stacked(&others))? {
            let row: Outputs = beside.iter().map(|array| part(array.as_ref(), kept)).collect();
            compare(&together, &row, kept, count, 1e-6).map_err(|problem| {
                format!("of {count} rows, {kept} follows from others: {problem}")
            })?;
        }
        Ok(())
    }

    /// Runs inputs that have different numbers of rows: only sizes are looked at.
    fn different_rows(&mut self, maker: &mut Maker, sides: &[Vec<usize>]) -> Result<(), String> {
        let counts: Vec<usize> = sides.iter().map(|_| 1 + maker.below(3)).collect();
        let rows: Vec<Vec<Array>> = (0..4).map(|_| row(maker, sides, false)).collect();
        let inputs: Vec<Array> = counts
            .iter()
            .enumerate()
            .map(|(input, count)| {
                let rows: Vec<&Array> = rows[..*count].iter().map(|row| &row[input]).collect();
                Array::stacked(&rows)
            })
            .collect();
        self.run(&inputs).map(drop)
    }

    /// Runs, and looks at the sizes of what comes out. The outer error is a violation.
    fn run(&mut self, inputs: &[Array]) -> Result<Result<Outputs, String>, String> {
        let outputs = match run(self.session, inputs) {
            Ok(outputs) => outputs,
            Err(problem) => return Ok(Err(problem)),
        };
        let dims: Vec<&[usize]> = inputs.iter().map(|input| input.dims.as_slice()).collect();
        let same = dims.iter().all(|dims| dims[0] == inputs[0].dims[0]);
        let shapes = if same { &self.shapes[..] } else { &self.shapes[1..] };
        for shapes in shapes {
            for (place, (shape, output)) in shapes.iter().zip(&outputs).enumerate() {
                let (Some(proven), Some(output)) = (shape.sizes(&dims), output) else { continue };
                // Of what is empty, kernels do not agree on the dimensions.
                if output.dims.contains(&0) {
                    continue;
                }
                self.sizes += 1;
                if proven != output.dims {
                    if plain_fails(self.model, &mut self.plain, inputs) {
                        return Ok(Err("the model itself fails".into()));
                    }
                    let has = &output.dims;
                    return Err(format!(
                        "sizes of output {place} are {has:?}, not {proven:?}, for {dims:?}"
                    ));
                }
            }
        }
        Ok(Ok(outputs))
    }
}

/// Whether the model fails as it is. The optimiser replaces shapes that are computed, and what it
/// makes of such a model may run, with other sizes.
fn plain_fails(model: &Model, plain: &mut Option<Session>, inputs: &[Array]) -> bool {
    let plain =
        plain.get_or_insert_with(|| session(model, GraphOptimizationLevel::Disable).unwrap());
    run(plain, inputs).is_err()
}

fn stacked(rows: &[Vec<Array>]) -> Vec<Array> {
    (0..rows[0].len())
        .map(|input| Array::stacked(&rows.iter().map(|row| &row[input]).collect::<Vec<_>>()))
        .collect()
}

fn part(array: Option<&Array>, row: usize) -> Option<Array> {
    array
        .filter(|array| array.dims.first().is_some_and(|rows| *rows > row))
        .map(|array| array.row(row))
}

/// That a row of a run is what it is alone.
fn compare(
    together: &Outputs,
    alone: &Outputs,
    row: usize,
    count: usize,
    tolerance: f32,
) -> Result<(), String> {
    for (output, (together, alone)) in together.iter().zip(alone).enumerate() {
        let (Some(together), Some(alone)) = (together, alone) else { continue };
        if together.dims.first() != Some(&count) || alone.dims.first() != Some(&1) {
            let (a, b) = (&together.dims, &alone.dims);
            return Err(format!("output {output} is {a:?} together and {b:?} alone"));
        }
        let part = together.row(row);
        if part.dims != alone.dims || !alike(&part.data, &alone.data, tolerance) {
            return Err(format!("output {output} is {part:?}, not {alone:?}"));
        }
    }
    Ok(())
}

fn alike(a: &Data, b: &Data, tolerance: f32) -> bool {
    let (Data::F32(a), Data::F32(b)) = (a, b) else {
        return match (a, b) {
            (Data::F64(a), Data::F64(b)) => {
                let narrow = |values: &[f64]| values.iter().map(|value| *value as f32).collect();
                alike(&Data::F32(narrow(a)), &Data::F32(narrow(b)), tolerance)
            }
            _ => a == b,
        };
    };
    let finite = b.iter().filter(|value| value.is_finite());
    let magnitude = finite.fold(1e-30_f32, |most, value| most.max(value.abs()));
    let far = |value: f32| value.abs() > 1e36;
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| {
            a == b
                || a.is_nan() && b.is_nan()
                || far(*a) && far(*b) && a.signum() == b.signum()
                || (a - b).abs() <= tolerance * magnitude
        })
}
