//! Models of one operator, with their weights.

use anyhow::Result;
use ort::value::{DynValue, Tensor as Value};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder, NewNode, Tensor};
use skysail_kernels::{DOMAIN, DOMAIN_VERSION, SparseWeights};

const FLOAT: ElementType = ElementType::Float32;

/// Sparse matrix of weights, with values from a codebook of 32 entries (five bits).
pub(super) struct Matrix {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    /// Output, input and code of each nonzero weight, by outputs.
    entries: Vec<(u32, u32, u16)>,
}

impl Matrix {
    /// Makes weights at random places.
    pub(super) fn random(outputs: usize, inputs: usize, density: f64) -> Self {
        let mut random = StdRng::seed_from_u64(1);
        let mut entries = Vec::new();
        for output in 0..outputs as u32 {
            for input in 0..inputs as u32 {
                if random.random_bool(density) {
                    entries.push((output, input, random.random_range(0..32)));
                }
            }
        }
        Self { outputs, inputs, entries }
    }

    /// Sixteen values on either side of zero.
    fn codebook() -> Vec<f32> {
        let side = |i: i32| 0.01 + 0.002 * i as f32;
        (0..16).map(side).chain((0..16).map(|i| -side(i))).collect()
    }

    /// Weights in the kernels' format.
    pub(super) fn sparse(&self) -> Result<SparseWeights> {
        let (codebook, entries) = (Self::codebook(), self.entries.iter().copied());
        Ok(SparseWeights::coded(self.outputs, self.inputs, &codebook, entries)?)
    }

    /// Dense weights by outputs, as for `Conv`.
    pub(super) fn by_outputs(&self) -> Vec<f32> {
        self.dense(|output, input| output * self.inputs + input)
    }

    /// Dense weights by inputs, as for `MatMul`.
    fn by_inputs(&self) -> Vec<f32> {
        self.dense(|output, input| input * self.outputs + output)
    }

    fn dense(&self, place: impl Fn(usize, usize) -> usize) -> Vec<f32> {
        let (mut dense, codebook) = (vec![0.0; self.outputs * self.inputs], Self::codebook());
        for &(output, input, code) in &self.entries {
            dense[place(output as usize, input as usize)] = codebook[usize::from(code)];
        }
        dense
    }

    /// Model of `MatMul` with float weights.
    pub(super) fn float_product(&self) -> Result<Vec<u8>> {
        let mut graph = self.product("float");
        graph.initializer("w", Tensor::new(&self.dims(), &self.by_inputs())?).node(
            "MatMul",
            &["x", "w"],
            &["y"],
            &[],
        );
        Ok(graph.finish()?.to_bytes()?)
    }

    /// Model with int8 weights and dynamically quantized inputs, as ONNX Runtime's tools make it.
    pub(super) fn int8_product(&self) -> Result<Vec<u8>> {
        let weights = self.by_inputs();
        let scale = weights.iter().fold(0.0_f32, |max, w| max.max(w.abs())) / 127.0;
        let codes: Vec<i8> = weights.iter().map(|w| (w / scale).round() as i8).collect();
        let mut graph = self.product("int8");
        graph
            .initializer("w", Tensor::new(&self.dims(), &codes)?)
            .initializer("scale", Tensor::new(&[], &[scale])?)
            .initializer("zero", Tensor::new(&[], &[0_i8])?)
            .node("DynamicQuantizeLinear", &["x"], &["q", "xs", "xz"], &[])
            .node("MatMulInteger", &["q", "w", "xz", "zero"], &["sum"], &[])
            .node("Cast", &["sum"], &["float"], &[("to", Attribute::Int(1))])
            .node("Mul", &["xs", "scale"], &["scales"], &[])
            .node("Mul", &["float", "scales"], &["y"], &[]);
        Ok(graph.finish()?.to_bytes()?)
    }

    /// Model of `SparseMatMul` with the weights named `w`.
    pub(super) fn sparse_product(&self) -> Result<Vec<u8>> {
        let mut graph = self.product("sparse");
        let node = NewNode::new("SparseMatMul", &["x"], &["y"]).domain(DOMAIN);
        graph
            .import(DOMAIN, DOMAIN_VERSION)
            .add(node.attribute("weight", Attribute::Text("w".into())));
        Ok(graph.finish()?.to_bytes()?)
    }

    fn dims(&self) -> [u64; 2] {
        [self.inputs as u64, self.outputs as u64]
    }

    fn product(&self, name: &str) -> GraphBuilder {
        let mut graph = GraphBuilder::new(name);
        let [inputs, outputs] = self.dims();
        graph.input("x", FLOAT, &[Dim::from("batch"), Dim::from(inputs)]).output(
            "y",
            FLOAT,
            &[Dim::from("batch"), Dim::from(outputs)],
        );
        graph
    }
}

/// Convolution of square images by square kernels, with a ReLU after it.
#[derive(Clone, Copy)]
pub(super) struct Square {
    pub(super) channels: usize,
    pub(super) outputs: usize,
    pub(super) side: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) pad: usize,
}

impl Square {
    /// Weights of an output.
    pub(super) fn inputs(&self) -> usize {
        self.channels * self.kernel * self.kernel
    }

    /// Model of `Conv` with these weights.
    pub(super) fn dense(&self, weights: &[f32]) -> Result<Vec<u8>> {
        let mut graph = self.graph("dense");
        let (kernel, pad, stride) = (self.kernel as i64, self.pad as i64, self.stride as i64);
        let dims = [self.outputs, self.channels, self.kernel, self.kernel].map(|d| d as u64);
        let attributes = [
            ("kernel_shape", Attribute::Ints(vec![kernel; 2])),
            ("pads", Attribute::Ints(vec![pad; 4])),
            ("strides", Attribute::Ints(vec![stride; 2])),
        ];
        graph
            .initializer("w", Tensor::new(&dims, weights)?)
            .node("Conv", &["x", "w"], &["sum"], &attributes)
            .node("Relu", &["sum"], &["y"], &[]);
        Ok(graph.finish()?.to_bytes()?)
    }

    /// Model of `SparseConv` with the weights named `w`.
    pub(super) fn sparse(&self) -> Result<Vec<u8>> {
        let mut graph = self.graph("sparse");
        let node = NewNode::new("SparseConv", &["x"], &["y"]).domain(DOMAIN);
        let node = node.attribute("activation", Attribute::Text("Relu".into()));
        graph
            .import(DOMAIN, DOMAIN_VERSION)
            .add(node.attribute("weight", Attribute::Text("w".into())));
        Ok(graph.finish()?.to_bytes()?)
    }

    fn graph(&self, name: &str) -> GraphBuilder {
        let out = (self.side + 2 * self.pad - self.kernel) / self.stride + 1;
        let dims = |channels: usize, side: usize| {
            let side = Dim::from(side as u64);
            [Dim::from("batch"), Dim::from(channels as u64), side.clone(), side]
        };
        let mut graph = GraphBuilder::new(name);
        graph.input("x", FLOAT, &dims(self.channels, self.side)).output(
            "y",
            FLOAT,
            &dims(self.outputs, out),
        );
        graph
    }
}

/// Random numbers from -1 to 1.
pub(super) fn floats(shape: &[usize]) -> Result<DynValue> {
    let mut random = StdRng::seed_from_u64(2);
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| random.random_range(-1.0..1.0)).collect();
    Ok(Value::from_array((shape.to_vec(), values))?.into_dyn())
}
