//! Models of one operator, and weights for them.

use anyhow::Result;
use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder, NewNode, Tensor};
use skysail_kernels::{DOMAIN, DOMAIN_VERSION};

/// A generator of numbers that look random (xorshift).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Entries of a matrix: output, input, code of 32.
    pub(crate) fn entries(
        &mut self,
        outputs: usize,
        inputs: usize,
        density: f64,
    ) -> Vec<(u32, u32, u16)> {
        let mut entries = Vec::new();
        for output in 0..outputs as u32 {
            for input in 0..inputs as u32 {
                if self.unit() < density {
                    entries.push((output, input, (self.unit() * 32.0) as u16));
                }
            }
        }
        entries
    }
}

/// A codebook of 32 values, as k-means gives for weights of a normal distribution.
pub(crate) fn codebook() -> Vec<f32> {
    let side = |i: i32| 0.01 + 0.002 * i as f32;
    (0..16).map(side).chain((0..16).map(|i| -side(i))).collect()
}

/// The matrix as [inputs, outputs], as `MatMul` takes it.
pub(crate) fn inputs_by_outputs(
    outputs: usize,
    inputs: usize,
    entries: &[(u32, u32, u16)],
) -> Vec<f32> {
    let (mut dense, codebook) = (vec![0.0; outputs * inputs], codebook());
    for &(output, input, code) in entries {
        dense[input as usize * outputs + output as usize] = codebook[usize::from(code)];
    }
    dense
}

const FLOAT: ElementType = ElementType::Float32;

fn batch_of(size: usize) -> [Dim; 2] {
    [Dim::from("batch"), Dim::from(size as u64)]
}

/// `MatMul` by a dense matrix.
pub(crate) fn matmul(outputs: usize, inputs: usize, weights: &[f32]) -> Result<Vec<u8>> {
    let mut graph = GraphBuilder::new("matmul");
    graph
        .input("x", FLOAT, &batch_of(inputs))
        .initializer("w", Tensor::new(&[inputs as u64, outputs as u64], weights)?)
        .node("MatMul", &["x", "w"], &["y"], &[])
        .output("y", FLOAT, &batch_of(outputs));
    Ok(graph.finish()?.to_bytes()?)
}

/// The same with int8 weights and inputs quantised on the way, as ONNX Runtime's tools do it.
pub(crate) fn int8_matmul(outputs: usize, inputs: usize, weights: &[f32]) -> Result<Vec<u8>> {
    let scale = weights.iter().fold(0.0_f32, |max, w| max.max(w.abs())) / 127.0;
    let quantised: Vec<i8> = weights.iter().map(|w| (w / scale).round() as i8).collect();
    let mut graph = GraphBuilder::new("int8");
    graph
        .input("x", FLOAT, &batch_of(inputs))
        .initializer("w", Tensor::new(&[inputs as u64, outputs as u64], &quantised)?)
        .initializer("scale", Tensor::new(&[], &[scale])?)
        .initializer("zero", Tensor::new(&[], &[0_i8])?)
        .node("DynamicQuantizeLinear", &["x"], &["q", "xs", "xz"], &[])
        .node("MatMulInteger", &["q", "w", "xz", "zero"], &["sum"], &[])
        .node("Cast", &["sum"], &["float"], &[("to", Attribute::Int(1))])
        .node("Mul", &["xs", "scale"], &["scales"], &[])
        .node("Mul", &["float", "scales"], &["y"], &[])
        .output("y", FLOAT, &batch_of(outputs));
    Ok(graph.finish()?.to_bytes()?)
}

/// `SparseMatMul` by the weights named `w`.
pub(crate) fn sparse_matmul(outputs: usize, inputs: usize) -> Result<Vec<u8>> {
    let mut graph = GraphBuilder::new("sparse");
    let node = NewNode::new("SparseMatMul", &["x"], &["y"]).domain(DOMAIN);
    graph
        .import(DOMAIN, DOMAIN_VERSION)
        .input("x", FLOAT, &batch_of(inputs))
        .add(node.attribute("weight", Attribute::Text("w".into())))
        .output("y", FLOAT, &batch_of(outputs));
    Ok(graph.finish()?.to_bytes()?)
}

/// The attributes of a `Conv` of square kernels.
pub(crate) struct ConvShape {
    pub(crate) channels: usize,
    pub(crate) outputs: usize,
    pub(crate) side: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) pad: usize,
}

impl ConvShape {
    pub(crate) fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    fn graph(&self, name: &str) -> GraphBuilder {
        let mut graph = GraphBuilder::new(name);
        let side = Dim::from(self.side as u64);
        let dims = [Dim::from("batch"), Dim::from(self.channels as u64), side.clone(), side];
        graph.input("x", FLOAT, &dims);
        graph
    }

    fn output(&self) -> [Dim; 4] {
        let side = (self.side + 2 * self.pad - self.kernel) / self.stride + 1;
        let side = Dim::from(side as u64);
        [Dim::from("batch"), Dim::from(self.outputs as u64), side.clone(), side]
    }

    /// `Conv` and `Relu` by dense kernels.
    pub(crate) fn dense(&self, weights: &[f32]) -> Result<Vec<u8>> {
        let mut graph = self.graph("dense");
        let (kernel, pad) = (self.kernel as i64, self.pad as i64);
        let dims = [self.outputs, self.channels, self.kernel, self.kernel].map(|d| d as u64);
        let strides = vec![self.stride as i64; 2];
        let attributes = [
            ("kernel_shape", Attribute::Ints(vec![kernel; 2])),
            ("pads", Attribute::Ints(vec![pad; 4])),
            ("strides", Attribute::Ints(strides)),
        ];
        graph
            .initializer("w", Tensor::new(&dims, weights)?)
            .node("Conv", &["x", "w"], &["sum"], &attributes)
            .node("Relu", &["sum"], &["y"], &[])
            .output("y", FLOAT, &self.output());
        Ok(graph.finish()?.to_bytes()?)
    }

    /// `SparseConv` by the weights named `w`.
    pub(crate) fn sparse(&self) -> Result<Vec<u8>> {
        let mut graph = self.graph("sparse");
        let node = NewNode::new("SparseConv", &["x"], &["y"]).domain(DOMAIN);
        let node = node.attribute("activation", Attribute::Text("Relu".into()));
        graph
            .import(DOMAIN, DOMAIN_VERSION)
            .add(node.attribute("weight", Attribute::Text("w".into())))
            .output("y", FLOAT, &self.output());
        Ok(graph.finish()?.to_bytes()?)
    }
}
