//! Matrix products with a constant on the right: the common form of `MatMul` and `Gemm`.

use super::operand::Operand;
use super::rewrite::{Rewrite, Source};
use crate::CompressError;
use skysail_graph::{ElementType, Node, Role, Weight};

/// A node that multiplies its input by a constant matrix, and may add a bias.
pub(super) struct Product<'a, 'm> {
    weight: &'a Weight<'m>,
    /// Name of the input.
    pub(super) input: &'m str,
    /// Name of the bias.
    pub(super) bias: Option<&'m str>,
    /// Name of the output.
    pub(super) output: &'m str,
    /// The matrix, a row for each input and a column for each output.
    pub(super) matrix: Operand,
}

/// Reason why a layer is no product.
const NOT_A_PRODUCT: &str = "it is no plain product of float32 values with a matrix on the right";

impl<'a, 'm> Product<'a, 'm> {
    /// Returns the product that uses `weight`, or the reason why there is none.
    ///
    /// # Errors
    /// `NotFinite`, and `Graph` when the model contradicts itself.
    pub(super) fn of(
        weight: &'a Weight<'m>,
        rewrite: &Rewrite<'m>,
    ) -> Result<Result<Self, &'static str>, CompressError> {
        let node = weight.node;
        let ends = (node.inputs().first(), node.outputs().first());
        let (Some(input), Some(output)) = ends else { return Ok(Err(NOT_A_PRODUCT)) };
        let is_weight = matches!(weight.role, Role::Weight(_)) && weight.input == 1;
        let element = rewrite.shapes.element(input).unwrap_or(ElementType::Float32);
        if !is_weight || element != ElementType::Float32 || !is_plain(node)? {
            return Ok(Err(NOT_A_PRODUCT));
        }
        let operand = Operand::of(weight, &rewrite.shapes)?;
        let Some(mut matrix) = operand.filter(|operand| operand.dims.len() == 2) else {
            return Ok(Err("it is no matrix, or its dimensions are not known"));
        };
        if node.op_type() == "Gemm" && node.int("transB")?.unwrap_or(0) != 0 {
            matrix.transpose(&[1, 0]);
        }
        let bias = node.inputs().get(2).map(String::as_str).filter(|name| !name.is_empty());
        Ok(Ok(Self { weight, input, bias, output, matrix }))
    }

    /// Returns the node.
    pub(super) fn node(&self) -> Node<'m> {
        self.weight.node
    }

    /// Returns the origin of the matrix.
    pub(super) fn source(&self) -> Source<'_, 'm> {
        let weight = self.weight;
        Source { name: weight.tensor.name(), through: &weight.through, consumer: weight.node }
    }
}

/// Returns true if the node multiplies and adds, and no more.
fn is_plain(node: Node<'_>) -> Result<bool, CompressError> {
    Ok(match node.op_type() {
        "MatMul" => true,
        "Gemm" => {
            let one =
                |attribute| Ok::<_, CompressError>(node.float(attribute)?.unwrap_or(1.0) == 1.0);
            node.int("transA")?.unwrap_or(0) == 0 && one("alpha")? && one("beta")?
        }
        _ => false,
    })
}
