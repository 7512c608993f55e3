//! Tests the memory that models take and give back. No other test runs in this process.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use skysail_engine::endpoint::Endpoint;
use skysail_graph::mlp;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Models, ask, block_on, floats, request, values};

/// Memory of this process, in MiB.
fn resident_mib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}

/// Waits until this process has at most so many MiB; freed memory goes back after a while.
fn wait_for_memory(at_most: usize, what: &str) {
    let started = Instant::now();
    while resident_mib() > at_most {
        let mib = resident_mib();
        assert!(started.elapsed() < Duration::from_secs(20), "{what}: {mib} > {at_most} MiB");
        std::thread::yield_now();
    }
}

#[test]
fn ten_replicas_take_the_memory_of_one_and_freed_versions_give_theirs_back() {
    let models = Models::explicit();
    // The C library's heap keeps freed blocks of this size: two weights of 20 MiB.
    models.add("one", &mlp(&[512, 10_240, 512], 7).unwrap());
    models.link("ten", &models.path("one/1/model.onnx"));
    let load = |name: &str, count: usize| {
        let toml = format!("replicas = {{ count = {count}, threads = 1 }}");
        models.write(&format!("{name}/model.toml"), toml).load(name).unwrap()
    };
    // What the runtime takes once does not count.
    models.add("small", &mlp(&[4, 4], 7).unwrap());
    models.load("small").unwrap();
    let start = resident_mib();
    let one = load("one", 1);
    wait_for_memory(start + 40 + 20, "one replica");
    let of_one = resident_mib();
    assert!(of_one > start + 35, "{start} and then {of_one} MiB");
    let ten = load("ten", 10);
    wait_for_memory(of_one + 40 + 20, "ten replicas");

    let answer = |model: &Arc<Endpoint>, seed: usize| {
        let x: Vec<f32> = (0..512).map(|i| ((i * seed) % 97) as f32 / 97.0).collect();
        values(&ask(model, request(floats("input", &[1, 512], &x))).unwrap(), 0)
    };
    for seed in 1..=20 {
        assert_eq!(answer(&ten, seed), answer(&one, seed));
    }
    drop((one, ten));
    for name in ["one", "ten"] {
        block_on(models.repository().unload(name)).unwrap();
    }
    wait_for_memory(start + 10, "nothing");
}
