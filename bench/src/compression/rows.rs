//! Dynamic int8 by rows, as in packages, against ONNX Runtime's own form with one range for the
//! tensor. It shows the price of responses that do not depend on other requests.

use super::inputs::{self, InputKind, TOKENS};
use super::timed::{Pool, Timed, times};
use super::{Bench, Figure, least};
use crate::targets::Target;
use anyhow::Result;
use ort::environment::Environment;
use ort::value::{DynValue, Tensor as Value};
use skysail_compression::{Int8Operator, Int8Product, Package, fuse_int8};
use skysail_graph::{Attribute, ElementType, Model, NewNode, Tensor};
use skysail_kernels::{DOMAIN, DOMAIN_VERSION, INT8_MATMUL, Int8Matrix, Limits, OperatorWeights};
use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;

const MODEL: &str = "all-minilm-l6-v2";

/// Rows of a batch.
const BATCHES: [usize; 2] = [1, 16];

/// Least ratio of the speed to that with one range.
const RATIO_MIN: f64 = 0.95;

/// Prints the table.
pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Vec<Figure>> {
    writeln!(
        out,
        "\n## Dynamic int8 by rows, {MODEL}\n\n\
         | speed relative to one range | threads | batch | by rows us | one range us | difference |\n\
         |---:|---:|---:|---:|---:|---:|"
    )?;
    let Some(path) = inputs::model(bench, MODEL) else {
        writeln!(out, "| not at hand | | | | | |")?;
        return Ok(Vec::new());
    };
    let calibration = InputKind::Tokens.calibration(bench)?;
    let calibration = calibration.to_string_lossy();
    let flags = ["--int8", "dynamic", "--force", "--calibrate", &calibration];
    let package = Package::open(bench.packer.pack("rows", &path, &flags)?)?;
    let forms = Forms::of(package.model()?)?;
    let environment = skysail_engine::runtime::load(2)?;
    let mut ratios = Vec::new();
    for (pool, threads) in [(Pool::One, 1), (Pool::Shared, 2)] {
        for rows in BATCHES {
            let ([by_rows, one], apart) = forms.measure(&environment, pool, rows, bench)?;
            let ratio = one / by_rows;
            writeln!(
                out,
                "| {ratio:.2} | {threads} | {rows} | {by_rows:.0} | {one:.0} | {apart:.3} |"
            )?;
            ratios.push(ratio);
        }
    }
    let what = "dynamic int8 by rows, the least of the speed of one range".to_owned();
    Ok(vec![(what, least(&ratios), Target::AtLeast(RATIO_MIN))])
}

/// Model in both forms.
struct Forms {
    by_rows: Vec<u8>,
    weights: OperatorWeights,
    one_range: Vec<u8>,
}

impl Forms {
    fn of(mut model: Model) -> Result<Self> {
        let operator =
            Int8Operator { op_type: INT8_MATMUL, domain: DOMAIN, version: DOMAIN_VERSION };
        let products = fuse_int8(&mut model, operator)?;
        let mut weights = OperatorWeights::default();
        for product in &products {
            let Int8Product { name, inputs, outputs, codes, scales } = product;
            let matrix = Int8Matrix::new(codes, *inputs, *outputs, scales)?;
            weights.int8.insert(name.clone(), Arc::new(matrix));
        }
        let by_rows = model.to_bytes()?;
        Ok(Self { by_rows, weights, one_range: with_one_range(model, &products)?.to_bytes()? })
    }

    /// Times of both forms, and the difference of their outputs.
    fn measure(
        &self,
        environment: &Environment,
        pool: Pool,
        rows: usize,
        bench: &Bench,
    ) -> Result<([f64; 2], f64)> {
        let (by_rows, one) = (&self.by_rows, &self.one_range);
        let mut by_rows =
            Timed::on(pool, environment, Some(&self.weights), by_rows, inputs(rows)?)?;
        let mut one = Timed::on(pool, environment, None, one, inputs(rows)?)?;
        let apart = by_rows.error(&mut one)?;
        let limits = Limits { rounds: 1_001, time: bench.time };
        Ok((times([&mut by_rows, &mut one], limits)?, apart))
    }
}

/// Sentences, one a row.
fn inputs(rows: usize) -> Result<Vec<DynValue>> {
    let ids = inputs::sentences(rows, 4).into_iter();
    ids.map(|(_, ids)| Ok(Value::from_array((vec![rows, TOKENS], ids))?.into_dyn())).collect()
}

/// Replaces our operators by ONNX Runtime's own dynamic quantization.
fn with_one_range(mut model: Model, products: &[Int8Product]) -> Result<Model> {
    let graph = model.graph();
    let (mut edit, mut made) = (model.edit(), HashSet::new());
    for product in products {
        let shape = [product.inputs as u64, product.outputs as u64];
        let name = |part: &str| format!("{}_{part}", product.name);
        edit.set_initializer(&name("signed"), Tensor::new(&shape, &product.codes)?);
        edit.set_initializer(&name("scales"), Tensor::new(&shape[1..], &product.scales)?);
        edit.set_initializer(
            &name("zeros"),
            Tensor::new(&shape[1..], &vec![0_i8; product.outputs])?,
        );
    }
    for node in graph.nodes().filter(|node| node.op_type() == INT8_MATMUL) {
        let (Some(x), Some(y), Some(weight)) =
            (node.inputs().first(), node.outputs().first(), node.text("weight")?)
        else {
            continue;
        };
        let of = |value: &str, part: &str| format!("{value}_{part}");
        let parts = ["one_codes", "one_scale", "one_zero"].map(|part| of(x, part));
        let [codes, scale, zero] = parts.each_ref().map(String::as_str);
        if made.insert(x.clone()) {
            edit.add(NewNode::new("DynamicQuantizeLinear", &[x], &[codes, scale, zero]));
        }
        let [signed, scales, zeros] = ["signed", "scales", "zeros"].map(|part| of(weight, part));
        let [sums, floats, both, product] =
            ["int_sums", "int_floats", "both_scales", "product"].map(|part| of(y, part));
        let bias = node.inputs().get(1);
        let product = if bias.is_some() { product } else { y.clone() };
        let to = Attribute::Int(i64::from(ElementType::Float32.code()));
        edit.remove(node);
        edit.add(NewNode::new("MatMulInteger", &[codes, &signed, zero, &zeros], &[&sums]))
            .add(NewNode::new("Cast", &[&sums], &[&floats]).attribute("to", to))
            .add(NewNode::new("Mul", &[scale, &scales], &[&both]))
            .add(NewNode::new("Mul", &[&floats, &both], &[&product]));
        if let Some(bias) = bias {
            edit.add(NewNode::new("Add", &[&product, bias], &[y]));
        }
    }
    model.apply(edit)?;
    Ok(model)
}
