//! Tests the settings in `model.toml`.

use super::*;

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(ModelConfig::from_toml("").unwrap(), ModelConfig::default());
}

#[test]
fn unchanged_settings_are_equal_for_every_fill_value() {
    let read = |fill| ModelConfig::from_toml(&format!("padding.inputs.x = {fill}")).unwrap();
    for fill in ["nan", "inf", "0.5", "0", "true"] {
        assert_eq!(read(fill), read(fill), "{fill}");
    }
    assert_ne!(read("nan"), read("0.5"));
}

#[test]
fn reads_every_table() {
    let text = r#"
        max_batch_size = 8
        versions = { specific = [1, 3] }
        [batching]
        max_delay_us = 500
        preferred_sizes = [4, 8]
        [queue]
        requests_max = 10
        timeout_us = 20000
        [cache]
        bytes_max = 2000000
        [replicas]
        count = 2
        threads = 1
        [compressed]
        execution = "sparse"
        layers = { "fc1.weight" = "dense", "fc2.weight" = "auto" }
        [[warm_up]]
        rows = 4
        inputs.x = { dims = [3], data = "random" }
    "#;
    let config = ModelConfig::from_toml(text).unwrap();
    assert_eq!(config.versions, VersionPolicy::Specific([1, 3].into()));
    assert_eq!(config.batching.preferred_sizes, [4, 8]);
    assert_eq!(config.queue, QueueLimits { requests_max: 10, timeout_us: Some(20_000) });
    assert_eq!(config.cache, Some(CacheConfig { bytes_max: 2_000_000 }));
    assert_eq!(config.replicas.count, Some(2));
    assert_eq!(config.compressed.execution, Choice::Sparse);
    assert_eq!(config.compressed.layers["fc1.weight"], Choice::Dense);
    assert_eq!(config.warm_up[0].inputs["x"].data, WarmUpData::Random);
}

#[test]
fn a_wrong_key_is_named_with_its_line() {
    let error = ModelConfig::from_toml("max_batch_size = 8\n[batching]\nmax_dealy_us = 5\n");
    let error = error.unwrap_err();
    assert!(error.contains("line 3") && error.contains("max_dealy_us"), "{error}");
    let error = ModelConfig::from_toml("[compressed]\nexecution = \"int8\"\n").unwrap_err();
    assert!(error.contains("line 2") && error.contains("`auto`"), "{error}");
}

#[test]
fn numbers_out_of_their_limits_are_named() {
    let check = |text| ModelConfig::from_toml(text).unwrap().check().err();
    assert_eq!(check("replicas = { count = 4, threads = 1024 }"), None);
    for (text, named) in [
        ("replicas.count = 0", "replicas.count is 0"),
        ("replicas.threads = 9000000000", "replicas.threads is 9000000000"),
        ("replicas.inter_op_threads = 2000", "replicas.inter_op_threads is 2000"),
        ("queue.requests_max = 0", "queue.requests_max is 0"),
        ("cache.bytes_max = 64", "cache.bytes_max is 64"),
    ] {
        let error = check(text).unwrap();
        assert!(error.contains(named), "{error}");
    }
}
