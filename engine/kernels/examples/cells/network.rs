//! Whole models, with every convolution that is sparse enough run sparse.

use crate::builder;
use anyhow::{Context, Result};
use ort::environment::Environment;
use skysail_graph::{Attribute, Links, Model, NewNode, Node, Role, Tensor};
use skysail_kernels::{
    Convolution, DOMAIN, DOMAIN_VERSION, Limits, OperatorWeights, Probe, SparseConv, SparseWeights,
    operators, race,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const LIMITS: Limits = Limits { rounds: 301, time: Duration::from_secs(4) };

/// Name, input, what share of each layer's weights pruning leaves.
const MODELS: [(&str, [usize; 4], f64); 2] =
    [("squeezenet1.0", [1, 3, 224, 224], 1.0), ("resnet20-cifar10", [1, 3, 32, 32], 0.34)];

/// Layers of a greater density stay dense.
const DENSITY_MAX: f64 = 0.6;

/// Prints the table.
pub(crate) fn print(environment: &Environment) -> Result<()> {
    println!("\n| model | density | layers | batch | dense us | sparse us | ratio |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for (name, shape, keep) in MODELS {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/models");
        let path = PathBuf::from(path).join(name).join("model.onnx");
        if !path.exists() {
            println!("{name}: skipped, {} is not there", path.display());
            continue;
        }
        let mut model = Model::load(&path)?;
        prune(&mut model, keep)?;
        network(environment, name, &model, shape)?;
    }
    Ok(())
}

fn network(environment: &Environment, name: &str, model: &Model, shape: [usize; 4]) -> Result<()> {
    let mut sparse = Sparse::default();
    let ours = sparse.rewrite(model)?;
    for batch in [1, 8] {
        let mut shape = shape;
        shape[0] = batch;
        let fixed = |model: &Model| -> Result<Vec<u8>> { Ok(model.to_bytes()?) };
        let mut float = Probe::new(builder(environment)?, &fixed(model)?, &shape)?;
        let domain = operators(&sparse.held)?;
        let with_domain =
            || -> ort::Result<_> { Ok(builder(environment)?.with_operators(domain)?) };
        let mut ours = Probe::new(with_domain()?, &fixed(&ours)?, &shape)?;
        let Ok(times) = race(&mut [&mut || float.run(), &mut || ours.run()], LIMITS) else {
            continue;
        };
        let [float, ours] = [0, 1].map(|i| times[i].as_secs_f64() * 1e6);
        let density = 100.0 * sparse.kept as f64 / sparse.all as f64;
        println!(
            "| {name} | {density:.0}% | {} | {batch} | {float:.0} | {ours:.0} | {:.2} |",
            sparse.held.convolutions.len(),
            float / ours
        );
    }
    Ok(())
}

/// Sets the smallest weights of each convolution to zero.
fn prune(model: &mut Model, keep: f64) -> Result<()> {
    let mut edit = model.edit();
    for weight in model.graph().weights()? {
        if weight.node.op_type() != "Conv" || weight.role == Role::Bias || keep >= 1.0 {
            continue;
        }
        let mut values = weight.tensor.as_f32()?.to_vec();
        let mut sizes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
        sizes.sort_by(f32::total_cmp);
        let bound = sizes[(sizes.len() as f64 * (1.0 - keep)) as usize];
        values.iter_mut().filter(|value| value.abs() < bound).for_each(|value| *value = 0.0);
        edit.set_initializer(weight.tensor.name(), Tensor::new(&weight.tensor.shape()?, &values)?);
    }
    Ok(model.apply(edit)?)
}

#[derive(Default)]
struct Sparse {
    held: OperatorWeights,
    kept: usize,
    all: usize,
}

impl Sparse {
    fn rewrite(&mut self, model: &Model) -> Result<Model> {
        let mut ours = model.clone();
        let mut edit = ours.edit();
        let links = model.graph().links();
        for weight in model.graph().weights()? {
            let node = weight.node;
            if node.op_type() != "Conv" || weight.role == Role::Bias {
                continue;
            }
            let shape = weight.tensor.shape()?;
            let values = weight.tensor.as_f32()?;
            let [outputs, channels, ..] = shape[..] else { continue };
            let inputs = values.len() / outputs as usize;
            let entries = values
                .iter()
                .enumerate()
                .map(|(at, value)| ((at / inputs) as u32, (at % inputs) as u32, *value));
            let weights = SparseWeights::plain(outputs as usize, inputs, entries)?;
            self.all += values.len();
            self.kept += weights.count();
            if weights.density() > DENSITY_MAX {
                continue;
            }
            let name = weight.tensor.name();
            let conv = SparseConv::new(&weights, convolution(node, channels, &shape[2..])?)?;
            self.held.convolutions.insert(name.to_owned(), Arc::new(conv));
            let new = Tail::of(&links, node).node(node, name);
            edit.import(DOMAIN, DOMAIN_VERSION);
            edit.replace(node, [new]);
            for removed in Tail::of(&links, node).removed {
                edit.remove(removed);
            }
        }
        ours.apply(edit)?;
        ours.drop_unused();
        Ok(ours)
    }
}

fn convolution(node: Node<'_>, channels: u64, kernel: &[u64]) -> Result<Convolution> {
    let pair = |name: &str, default: usize| -> Result<Vec<usize>> {
        let ints = node.ints(name)?;
        Ok(ints.map_or(vec![default; 4], |ints| ints.iter().map(|i| *i as usize).collect()))
    };
    let groups = node.int("group")?.unwrap_or(1) as usize;
    let (strides, dilations, pads) = (pair("strides", 1)?, pair("dilations", 1)?, pair("pads", 0)?);
    Ok(Convolution {
        channels: channels as usize * groups,
        groups,
        kernel: [kernel[0] as usize, kernel[1] as usize],
        strides: [strides[0], strides[1]],
        dilations: [dilations[0], dilations[1]],
        pads: pads.try_into().ok().context("four pads")?,
    })
}

/// What follows a convolution and is done with it.
struct Tail<'a> {
    removed: Vec<Node<'a>>,
    added: Option<String>,
    relu: bool,
    made: String,
}

impl<'a> Tail<'a> {
    fn of(links: &Links<'a>, node: Node<'a>) -> Self {
        let made = node.outputs()[0].clone();
        let mut tail = Self { removed: Vec::new(), added: None, relu: false, made };
        let next = |made: &str, operator: &str| {
            links.only_taker(made).filter(|node| node.op_type() == operator)
        };
        if let Some(add) = next(&tail.made, "Add")
            // The last of two convolutions that meet does the addition.
            && let Some(other) = add.inputs().iter().find(|input| **input != tail.made)
            && links.maker(other).is_none_or(|other| other.index() < node.index())
        {
            tail.added = Some(other.clone());
            tail.made = add.outputs()[0].clone();
            tail.removed.push(add);
        }
        if let Some(relu) = next(&tail.made, "Relu") {
            tail.relu = true;
            tail.made = relu.outputs()[0].clone();
            tail.removed.push(relu);
        }
        tail
    }

    fn node(&self, conv: Node<'_>, weight: &str) -> NewNode {
        let inputs: Vec<&str> = conv.inputs().iter().map(String::as_str).collect();
        let mut new = NewNode::new("SparseConv", &inputs[..1], &[&self.made]).domain(DOMAIN);
        new = new.attribute("weight", Attribute::Text(weight.into()));
        if let Some(bias) = inputs.get(2) {
            new = new.input(1, bias);
        }
        if let Some(added) = &self.added {
            new = new.input(2, added);
        }
        if self.relu {
            new = new.attribute("activation", Attribute::Text("Relu".into()));
        }
        new
    }
}
