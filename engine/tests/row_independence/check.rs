//! Checks the proofs on a graph against runs of it.

use crate::arrays::{Array, Data, Outputs, row, run, session, sides};
use crate::generator::Generator;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use skysail_graph::{Independence, Model, OutputShape};
use std::collections::BTreeSet;

/// Batch sizes.
const ROWS: [usize; 3] = [2, 3, 7];
/// Random inputs for each batch size.
const DRAWS: usize = 3;

/// Result of checking a graph.
pub(crate) enum Verdict {
    /// ONNX Runtime rejects the graph.
    Rejected(String),
    /// All proofs hold.
    Holds { independent: bool, cause: String, ran: bool, rows_agree: bool, sizes: usize },
    /// A proof is wrong.
    Violation(String),
}

/// Operators whose results do not depend on the order of additions, as small numbers stay exact.
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

/// Operators without a defined result for numbers that are not finite: conversions to integers, and
/// kernels that compare such numbers by memory layout.
const FINITE_ONLY: &str = " Cast CastLike QuantizeLinear TopK ArgMax ArgMin Hardmax ReduceMax ReduceMin \
    ReduceLogSumExp MaxPool GlobalMaxPool Max Min Clip Softmax LogSoftmax Relu \
    com.microsoft.FusedConv com.microsoft.FusedGemm ";

fn is_among(operators: &BTreeSet<String>, all: &str) -> bool {
    operators.iter().all(|operator| all.contains(&format!(" {operator} ")))
}

/// Checks the graph with these outputs.
pub(crate) fn check(generator: &mut Generator, outputs: &[String]) -> Verdict {
    let model = generator.model(outputs);
    let operators = generator.operators(outputs);
    let (independent, cause) = match model.row_independence() {
        Independence::Independent => (true, String::new()),
        Independence::Dependent(cause) => (false, format!("Dependent: {cause}")),
        Independence::Unknown(cause) => (false, format!("Unknown: {cause}")),
    };
    let mut session = match session(&model, GraphOptimizationLevel::All) {
        Ok(session) => session,
        Err(problem) => return Verdict::Rejected(problem),
    };
    let exact = is_among(&operators, EXACT);
    let finite_only =
        operators.iter().any(|operator| FINITE_ONLY.contains(&format!(" {operator} ")));
    let mut trial = Trial::new(&model, &mut session, if exact { 1e-4 } else { 5e-3 });
    let mut agree = true;
    for draw in 0..DRAWS {
        let extreme = draw == 2 && !finite_only;
        let sides = sides(generator, draw == 1);
        for rows in ROWS {
            match trial.rows(generator, &sides, rows, extreme, independent) {
                Ok(()) => {}
                Err(problem) if !independent && problem.contains("rows") => agree = false,
                // Rounding may differ with the number of rows, but dependent rows differ every time.
                Err(problem) if !exact && problem.contains("alone") => {
                    let again = (0..6)
                        .filter(|_| trial.rows(generator, &sides, rows, extreme, true).is_err());
                    if again.count() >= 4 {
                        return Verdict::Violation(problem);
                    }
                }
                Err(problem) => return Verdict::Violation(problem),
            }
        }
        if let Err(problem) = trial.different_rows(generator, &sides) {
            return Verdict::Violation(problem);
        }
    }
    Verdict::Holds { independent, cause, ran: trial.ran, rows_agree: agree, sizes: trial.sizes }
}

/// A session under test.
struct Trial<'s> {
    model: &'s Model,
    session: &'s mut Session,
    /// Session of the same graph without optimisation.
    plain: Option<Session>,
    shapes: [Vec<OutputShape>; 2],
    tolerance: f32,
    /// True once a batch ran.
    ran: bool,
    /// Proven sizes that were right.
    sizes: usize,
}

impl<'s> Trial<'s> {
    fn new(model: &'s Model, session: &'s mut Session, tolerance: f32) -> Self {
        let shapes = [true, false].map(|same| model.output_shapes(same));
        Self { model, session, plain: None, shapes, tolerance, ran: false, sizes: 0 }
    }

    /// Runs rows in a batch, each alone, and one beside other rows.
    fn rows(
        &mut self,
        generator: &mut Generator,
        sides: &[Vec<usize>],
        count: usize,
        extreme: bool,
        all: bool,
    ) -> Result<(), String> {
        let rows: Vec<Vec<Array>> = (0..count).map(|_| row(generator, sides, extreme)).collect();
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
        // At the same index in a batch of the same size, rounding is the same.
        let kept = generator.below(count);
        let mut others: Vec<Vec<Array>> =
            (0..count).map(|_| row(generator, sides, extreme)).collect();
        others[kept].clone_from(&rows[kept]);
        if let Ok(beside) = self.run(&stacked(&others))? {
            let row: Outputs = beside.iter().map(|array| part(array.as_ref(), kept)).collect();
            compare(&together, &row, kept, count, 1e-6).map_err(|problem| {
                format!("of {count} rows, {kept} follows from others: {problem}")
            })?;
        }
        Ok(())
    }

    /// Runs inputs with different numbers of rows, and checks sizes only.
    fn different_rows(
        &mut self,
        generator: &mut Generator,
        sides: &[Vec<usize>],
    ) -> Result<(), String> {
        let counts: Vec<usize> = sides.iter().map(|_| 1 + generator.below(3)).collect();
        let rows: Vec<Vec<Array>> = (0..4).map(|_| row(generator, sides, false)).collect();
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

    /// Runs the session and checks the sizes of outputs. The outer error is a violation.
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
                // Kernels do not agree on the dimensions of empty outputs.
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

/// True if the model fails without optimisation. The optimiser replaces computed shapes, so an
/// invalid model may run with other sizes.
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

/// Checks that a row of a batch equals its outputs alone.
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
