//! Layers of the built-in models: one or a few nodes, with their weights.

use crate::random::SplitMix64;
use crate::{
    Attribute, Dim, ElementType, GraphBuilder, GraphError, MODEL_BYTES_MAX, Model, Tensor,
};

/// Makes a tensor of random values in `-bound..bound`.
pub(super) fn uniform(
    random: &mut SplitMix64,
    shape: &[u64],
    bound: f32,
) -> Result<Tensor, GraphError> {
    let count = shape.iter().product::<u64>();
    let values: Vec<f32> = (0..count).map(|_| random.uniform(bound)).collect();
    Tensor::new(shape, &values)
}

/// Builder of a model, layer by layer. The output of a layer has the layer's name.
pub(super) struct Layers {
    builder: GraphBuilder,
    random: SplitMix64,
    bytes: u64,
}

impl Layers {
    pub(super) fn new(name: &str, seed: u64) -> Self {
        Self { builder: GraphBuilder::new(name), random: SplitMix64::new(seed), bytes: 0 }
    }

    /// Adds the model's input, `input`, with a dynamic number of rows.
    pub(super) fn input(&mut self, element: ElementType, row: &[Dim]) -> String {
        let dims: Vec<Dim> =
            std::iter::once(Dim::from("batch")).chain(row.iter().cloned()).collect();
        self.builder.input("input", element, &dims);
        "input".to_owned()
    }

    /// Adds a layer without weights.
    pub(super) fn plain(
        &mut self,
        operator: &str,
        name: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> String {
        self.builder.node(operator, inputs, &[name], attributes);
        name.to_owned()
    }

    /// Adds uniform weights that keep the variance of sums over `inputs` values before a ReLU (He
    /// et al., ICCV 2015).
    pub(super) fn weights(
        &mut self,
        name: &str,
        shape: &[u64],
        inputs: u64,
    ) -> Result<(), GraphError> {
        self.room(shape)?;
        let bound = (6.0 / inputs.max(1) as f32).sqrt();
        let tensor = uniform(&mut self.random, shape, bound)?;
        self.builder.initializer(name, tensor);
        Ok(())
    }

    /// Adds parameters that all start as `value`.
    pub(super) fn filled(
        &mut self,
        name: &str,
        shape: &[u64],
        value: f32,
    ) -> Result<(), GraphError> {
        self.room(shape)?;
        let count = usize::try_from(shape.iter().product::<u64>()).unwrap_or(usize::MAX);
        self.builder.initializer(name, Tensor::new(shape, &vec![value; count])?);
        Ok(())
    }

    /// Adds a constant.
    pub(super) fn constant(&mut self, name: &str, tensor: Tensor) {
        self.builder.initializer(name, tensor);
    }

    /// Checks that a tensor of this shape still fits into the model, before it is allocated.
    fn room(&mut self, shape: &[u64]) -> Result<(), GraphError> {
        let bytes = shape.iter().fold(4_u64, |bytes, dim| bytes.saturating_mul(*dim));
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MODEL_BYTES_MAX {
            let (what, bytes, bytes_max) = ("the model".to_owned(), self.bytes, MODEL_BYTES_MAX);
            return Err(GraphError::TooLarge { what, bytes, bytes_max });
        }
        Ok(())
    }

    /// Adds a convolution with a square kernel, with or without bias.
    pub(super) fn conv(
        &mut self,
        name: &str,
        input: &str,
        [inputs, outputs, kernel]: [u64; 3],
        [pad, stride]: [i64; 2],
        bias: bool,
    ) -> Result<String, GraphError> {
        let (weight, bias_name) = (format!("{name}.weight"), format!("{name}.bias"));
        let shape = [outputs, inputs, kernel, kernel];
        let fan_in = inputs.saturating_mul(kernel).saturating_mul(kernel);
        self.weights(&weight, &shape, fan_in)?;
        let mut operands = vec![input, &weight];
        if bias {
            self.filled(&bias_name, &[outputs], 0.0)?;
            operands.push(&bias_name);
        }
        let sizes = Attribute::Ints(vec![kernel.cast_signed(); 2]);
        let attributes = [
            ("kernel_shape", sizes),
            ("pads", Attribute::Ints(vec![pad; 4])),
            ("strides", Attribute::Ints(vec![stride; 2])),
        ];
        Ok(self.plain("Conv", name, &operands, &attributes))
    }

    /// Adds a max pool of 2 × 2 pixels.
    pub(super) fn max_pool(&mut self, name: &str, input: &str) -> String {
        let two = || Attribute::Ints(vec![2; 2]);
        self.plain("MaxPool", name, &[input], &[("kernel_shape", two()), ("strides", two())])
    }

    /// Adds a fully connected layer.
    pub(super) fn dense(
        &mut self,
        name: &str,
        input: &str,
        inputs: u64,
        outputs: u64,
    ) -> Result<String, GraphError> {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        self.weights(&weight, &[outputs, inputs], inputs)?;
        self.filled(&bias, &[outputs], 0.0)?;
        let transposed = [("transB", Attribute::Int(1))];
        Ok(self.plain("Gemm", name, &[input, &weight, &bias], &transposed))
    }

    pub(super) fn relu(&mut self, name: &str, input: &str) -> String {
        self.plain("Relu", name, &[input], &[])
    }

    /// Completes the model, whose output `output` has `classes` logits in a row.
    pub(super) fn finish(mut self, logits: &str, classes: u64) -> Result<Model, GraphError> {
        self.builder.node("Identity", &[logits], &["output"], &[]);
        let dims = [Dim::from("batch"), Dim::Fixed(classes)];
        self.builder.output("output", ElementType::Float32, &dims);
        self.builder.finish()
    }
}

/// Rejects sizes of 0.
pub(super) fn check_sizes(what: &str, sizes: &[u64]) -> Result<(), GraphError> {
    if sizes.contains(&0) {
        return Err(GraphError::BadGraph(format!("{what} has sizes above 0, not {sizes:?}")));
    }
    Ok(())
}
