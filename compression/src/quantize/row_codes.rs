//! Rows of floats as unsigned bytes while a model runs, each row by its own range, with ONNX's
//! operators alone.
//!
//! `DynamicQuantizeLinear` has one range for the whole tensor, so one request's values would change
//! another's results. Here every vector along the last dimension has its own range. A number is
//! `center + step * (code - 128)`, with the center half-way between the vector's ends, and codes
//! from 1 to 255. A vector with NaN or infinity has a center of NaN, and so has its product.
//!
//! Their products are `step * sum of (code - 128) * weight + center * sum of weights`.
//! [`fuse_int8`](crate::fuse_int8) joins the operators again.

use super::rewrite::Rewrite;
use crate::CompressError;
use crate::fuse::{CENTER_CODE, HALF, STEP_FACTOR, STEP_MIN, ZERO_FACTOR};
use skysail_graph::{Attribute, ElementType, NewNode, Tensor};

/// First version of ONNX's operators with `Round`.
pub(super) const OPSET: i64 = 11;

/// First versions in which the dimensions are an input of `ReduceSum`, and of `ReduceMax` and
/// `ReduceMin`.
const SUM_AXES_OPSET: i64 = 13;
const AXES_OPSET: i64 = 18;

/// Names of the constants that all rows of a model share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    names: Vec<(&'static str, String)>,
}

impl Shared {
    /// Returns the name of a number.
    pub(super) fn number(
        &mut self,
        (name, value): (&'static str, f32),
        rewrite: &mut Rewrite<'_>,
    ) -> Result<String, CompressError> {
        self.tensor(name, || Ok(Tensor::new(&[], &[value])?), rewrite)
    }

    /// Returns the name of the index of the last dimension.
    fn last(&mut self, rewrite: &mut Rewrite<'_>) -> Result<String, CompressError> {
        self.tensor("last", || Ok(Tensor::new(&[1], &[-1_i64])?), rewrite)
    }

    /// Returns the name of the code of zero.
    pub(super) fn zero(&mut self, rewrite: &mut Rewrite<'_>) -> Result<String, CompressError> {
        self.tensor("zero", || Ok(Tensor::new(&[], &[128_u8])?), rewrite)
    }

    fn tensor(
        &mut self,
        name: &'static str,
        make: impl Fn() -> Result<Tensor, CompressError>,
        rewrite: &mut Rewrite<'_>,
    ) -> Result<String, CompressError> {
        if let Some((_, known)) = self.names.iter().find(|(known, _)| *known == name) {
            return Ok(known.clone());
        }
        let output = rewrite.constant(&format!("rows_{name}"), make()?);
        self.names.push((name, output.clone()));
        Ok(output)
    }
}

/// Names of the parts of a quantized value.
#[derive(Debug, Clone)]
pub(super) struct RowCodes {
    pub(super) codes: String,
    pub(super) step: String,
    pub(super) center: String,
}

impl RowCodes {
    /// Adds the nodes that quantize `value` while the model runs.
    pub(super) fn of(
        value: &str,
        opset: i64,
        shared: &mut Shared,
        rewrite: &mut Rewrite<'_>,
    ) -> Result<Self, CompressError> {
        let mut writer = Writer { value, rewrite };
        let last = match opset >= SUM_AXES_OPSET {
            true => shared.last(writer.rewrite)?,
            false => String::new(),
        };
        let mut end = |op_type: &str, name: &str, since: i64| {
            let output = writer.name(name);
            let mut node = match opset >= since {
                true => NewNode::new(op_type, &[value, &last], &[&output]),
                false => NewNode::new(op_type, &[value], &[&output])
                    .attribute("axes", Attribute::Ints(vec![-1])),
            };
            node = node.attribute("keepdims", Attribute::Int(1));
            writer.rewrite.edit.add(node);
            output
        };
        let high = end("ReduceMax", "high", AXES_OPSET);
        let low = end("ReduceMin", "low", AXES_OPSET);
        let sum = end("ReduceSum", "sum", SUM_AXES_OPSET);
        let half = shared.number(HALF, writer.rewrite)?;
        let nothing = shared.number(ZERO_FACTOR, writer.rewrite)?;
        let high_half = writer.add("Mul", &[&high, &half], "high_half");
        let low_half = writer.add("Mul", &[&low, &half], "low_half");
        let between = writer.add("Add", &[&high_half, &low_half], "between");
        // The guard is zero, or NaN: the other operators may ignore a NaN.
        let guard = writer.add("Mul", &[&sum, &nothing], "guard");
        let center = writer.add("Add", &[&between, &guard], "center");
        let up = writer.add("Sub", &[&high, &center], "up");
        let down = writer.add("Sub", &[&center, &low], "down");
        let farther = writer.add("Max", &[&up, &down], "farther");
        let part = shared.number(STEP_FACTOR, writer.rewrite)?;
        let least = shared.number(STEP_MIN, writer.rewrite)?;
        let part = writer.add("Mul", &[&farther, &part], "part");
        let step = writer.add("Max", &[&part, &least], "step");
        let inverse = writer.add("Reciprocal", &[&step], "inverse");
        let shifted = writer.add("Sub", &[value, &center], "shifted");
        let scaled = writer.add("Mul", &[&shifted, &inverse], "scaled");
        let rounded = writer.add("Round", &[&scaled], "rounded");
        let middle = shared.number(CENTER_CODE, writer.rewrite)?;
        let raised = writer.add("Add", &[&rounded, &middle], "raised");
        let codes = writer.name("codes");
        let to = Attribute::Int(i64::from(ElementType::UInt8.code()));
        rewrite.edit.add(NewNode::new("Cast", &[&raised], &[&codes]).attribute("to", to));
        Ok(Self { codes, step, center })
    }
}

struct Writer<'a, 'd, 'm> {
    value: &'a str,
    rewrite: &'d mut Rewrite<'m>,
}

impl Writer<'_, '_, '_> {
    fn name(&mut self, name: &str) -> String {
        self.rewrite.edit.fresh(&format!("{}_{name}", self.value))
    }

    fn add(&mut self, op_type: &str, inputs: &[&str], name: &str) -> String {
        let output = self.name(name);
        self.rewrite.edit.add(NewNode::new(op_type, inputs, &[&output]));
        output
    }
}
