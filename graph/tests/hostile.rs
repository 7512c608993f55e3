//! Hostile bytes: any input leads to a model or an error, soon, in memory proportional to it.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test panics and prints")]

mod support;

use skysail_graph::{Graph, Model, NewNode};
use support::{Numbers, samples};

/// Calls everything on bytes that may be a model; only a panic is a failure.
fn exercise(bytes: &[u8]) {
    let Ok(mut model) = Model::from_bytes(bytes) else { return };
    read(model.graph());
    rows(&model);
    change(&mut model);
    let _ = model.inline_external_data();
    let _ = model.to_bytes();
}

fn read(graph: Graph<'_>) {
    for value in graph.inputs().iter().chain(&graph.outputs()) {
        let _ = value.to_string();
    }
    for tensor in graph.initializers() {
        let _ = (tensor.to_tensor(), tensor.strings());
        let _ = (tensor.as_f32(), tensor.as_i64(), tensor.values::<u8>(), tensor.values::<i32>());
    }
    let links = graph.links();
    for node in graph.nodes() {
        for name in node.attributes() {
            let _ = (node.int(name), node.ints(name), node.float(name), node.floats(name));
            let _ = (node.text(name), node.texts(name), node.tensor(name));
            node.graph(name).into_iter().flatten().for_each(read);
        }
        let _ = node.outputs().iter().filter_map(|value| links.single_consumer(value)).count();
    }
    let _ = graph.weights();
    for (_, kind) in graph.shapes().iter() {
        let _ = kind.to_string();
    }
    let inputs = graph.inputs();
    let given: Vec<(&str, &[u64])> =
        inputs.iter().map(|input| (input.name.as_str(), [u64::MAX, 0, 3, 7].as_slice())).collect();
    let _ = graph.shapes_for(&given);
}

/// Proves what can be proven of rows and sizes.
fn rows(model: &Model) {
    let _ = model.row_independence();
    for shape in [true, false].iter().flat_map(|same| model.output_shapes(*same)) {
        let _ = shape.sizes(&[&[usize::MAX, 2], &[3]]);
    }
}

/// Cuts a value, and removes a node.
fn change(model: &mut Model) {
    let mut edit = model.edit();
    if let Some(name) = model.graph().nodes().find_map(|node| node.outputs().first()) {
        let (from, to) = edit.cut(name);
        edit.add(NewNode::new("Identity", &[&from], &[&to]));
    }
    if let Some(node) = model.graph().nodes().last() {
        edit.replace(node, [NewNode::copy_of(node)]);
    }
    let _ = model.apply(edit);
    let _ = model.drop_unused();
}

#[test]
fn truncated_models_do_not_panic() {
    for bytes in samples(100_000) {
        let step = (bytes.len() / 200).max(1);
        for end in (0..bytes.len()).step_by(step) {
            exercise(&bytes[..end]);
        }
    }
}

#[test]
fn models_with_flipped_bits_do_not_panic() {
    let mut numbers = Numbers(1);
    mutate(12_000, |corrupted, _| {
        let place = numbers.below(corrupted.len());
        corrupted[place] ^= 1 << numbers.below(8);
    });
}

#[test]
fn models_with_extreme_numbers_do_not_panic() {
    // Lengths, types and sizes at their limits are rare among flips of bits.
    const ENDS: [u8; 8] = [0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF, 10];
    let mut numbers = Numbers(2);
    mutate(6_000, |corrupted, _| {
        let place = numbers.below(corrupted.len());
        corrupted[place] = ENDS[numbers.below(ENDS.len())];
    });
}

#[test]
fn spliced_models_do_not_panic() {
    let mut numbers = Numbers(3);
    mutate(6_000, |corrupted, samples| {
        let other = &samples[numbers.below(samples.len())];
        let from = numbers.range(other.len());
        let to = numbers.range(corrupted.len());
        let part = other.get(from).unwrap_or_default().to_vec();
        corrupted.splice(to.start..to.end.min(corrupted.len()), part);
        if corrupted.is_empty() {
            corrupted.push(0);
        }
    });
}

/// Corrupts small models this many times in all. Some damage accumulates, so that rarer states
/// occur too.
fn mutate(count: usize, mut corrupt: impl FnMut(&mut Vec<u8>, &[Vec<u8>])) {
    let samples = samples(12_000);
    for bytes in &samples {
        let mut corrupted = bytes.clone();
        for turn in 0..count / samples.len() {
            corrupt(&mut corrupted, &samples);
            exercise(&corrupted);
            if turn % 4 == 3 {
                corrupted.clone_from(bytes);
            }
        }
    }
    assert!(address_space_bytes().is_none_or(|bytes| bytes < 2 << 30), "far too much memory");
}

/// Peak address space of this process, reserved memory included, if the system reports it. A model
/// of some kilobytes must not even reserve more.
fn address_space_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    println!("most memory: {kilobytes} kB");
    Some(kilobytes * 1024)
}
