//! Tests the memory of many replicas. No other test runs in this process.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use skysail_engine::endpoint::Endpoint;
use skysail_graph::mlp;
use std::fs;
use std::sync::Arc;
use support::{Models, ask, floats, request, values};

/// Memory of this process, in MiB.
fn resident_mib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}

#[test]
fn ten_replicas_take_less_memory_than_three_models() {
    let models = Models::explicit();
    // Two weights of 40 MiB. No allocator keeps freed blocks above 32 MiB.
    models.add("one", &mlp(&[512, 20_480, 512], 7).unwrap());
    models.link("ten", &models.path("one/1/model.onnx"));
    let load = |name: &str, count: usize| {
        let toml = format!("max_batch_size = 1\nreplicas = {{ count = {count}, threads = 1 }}");
        models.write(&format!("{name}/model.toml"), toml).load(name).unwrap()
    };
    let start = resident_mib();
    let one = load("one", 1);
    let of_one = resident_mib() - start;
    let ten = load("ten", 10);
    let of_ten = resident_mib() - start - of_one;
    assert!(of_one > 80, "{of_one} MiB");
    assert!(of_ten < 3 * of_one, "{of_ten} MiB for ten, {of_one} MiB for one");

    let answer = |model: &Arc<Endpoint>, seed: usize| {
        let x: Vec<f32> = (0..512).map(|i| ((i * seed) % 97) as f32 / 97.0).collect();
        values(&ask(model, request(floats("input", &[1, 512], &x))).unwrap(), 0)
    };
    for seed in 1..=20 {
        assert_eq!(answer(&ten, seed), answer(&one, seed));
    }
}
