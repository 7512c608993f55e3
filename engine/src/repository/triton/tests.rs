//! Tests the settings of Triton's model configuration: with effect, with a warning, and invalid.

use super::*;
use crate::config::{CacheConfig, ExpectedTensor, QueueLimits, WarmUp, WarmUpData};
use crate::tensor::DataType;
use skysail_policy::priority::Priority;
use skysail_policy::queue_policy::{QueuePolicy, TimeoutAction};
use skysail_policy::versions::VersionPolicy;

mod mistakes;

#[test]
fn supported_settings_take_effect_and_others_are_named() {
    let text = r#"
        name: "m"
        platform: "onnxruntime_onnx"
        max_batch_size: 8
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 3, -1 ] } ]
        output [ { name: "y" data_type: TYPE_STRING dims: [ 1 ] label_filename: "l.txt" } ]
        version_policy: { specific { versions: [ 1, 3 ] } }
        instance_group [ { count: 2 kind: KIND_CPU }, { kind: KIND_GPU } ]
        dynamic_batching {
          preferred_batch_size: [ 4, 8 ]
          max_queue_delay_microseconds: 100
          preserve_ordering: true
          default_queue_policy { max_queue_size: 5 default_timeout_microseconds: 70 }
        }
        model_warmup [ {
          name: "w" batch_size: 2
          inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 3, 5 ] random_data: true } }
        } ]
        parameters { key: "intra_op_thread_count" value { string_value: "3" } }
        parameters { key: "shape" value { string_value: "round" } }
        response_cache { enable: true }
    "#;
    let (config, warnings) = from_text(text, "m").unwrap();
    assert_eq!(config.max_batch_size, Some(8));
    assert_eq!(config.versions, VersionPolicy::Specific([1, 3].into()));
    assert_eq!(config.batching.preferred_sizes, [4, 8]);
    assert_eq!(config.queue, QueueLimits { requests_max: 5, timeout_us: None });
    let policy = config.queue_policies.of(Priority::default());
    assert_eq!((policy.wait_max_us, policy.requests_max), (Some(70), None));
    assert!(config.preserve_ordering);
    assert_eq!(config.cache, Some(CacheConfig::default()));
    assert_eq!((config.replicas.count, config.replicas.threads), (Some(3), Some(3)));
    assert_eq!(config.warm_up[0].inputs["x"].data, WarmUpData::Random);
    assert_eq!(config.expected_inputs[0].dims, Some(vec![3, -1]));
    assert_eq!(config.expected_outputs[0].datatype, Some(DataType::Bytes));
    let all = warnings.join("\n");
    assert_eq!(config.labels, [("y".to_owned(), "l.txt".to_owned())].into());
    for named in ["KIND_GPU", "'shape'"] {
        assert!(all.contains(named), "{named} is not in:\n{all}");
    }
}

#[test]
fn an_empty_configuration_leaves_batching_to_the_engine() {
    let (config, warnings) = from_text("", "m").unwrap();
    assert_eq!((config.max_batch_size, warnings.len()), (None, 0));
    let (config, _) = from_text("input { name: 'x' }", "m").unwrap();
    assert_eq!(config.max_batch_size, Some(0));
}

#[test]
fn json_reads_the_same_as_text() {
    let json = r#"{"name": "m", "max_batch_size": 4, "version_policy": {"all": {}}}"#;
    let (config, _) = from_json(json, "m").unwrap();
    assert_eq!((config.max_batch_size, config.versions), (Some(4), VersionPolicy::All));
}

#[test]
fn warm_ups_have_the_configured_data() {
    let text = r#"
        model_warmup [
          { name: "zeros" inputs { key: "x" value { dims: 2 zero_data: true } } },
          { name: "noise" batch_size: 4 count: 3
            inputs { key: "x" value { dims: [ 2, 3 ] random_data: true } } },
          { name: "bytes" inputs { key: "x" value { input_data_file: "raw" } } }
        ]
    "#;
    let (config, warnings) = from_text(text, "m").unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let said = |index: usize| {
        let WarmUp { name, rows, count, inputs, .. } = &config.warm_up[index];
        (name.as_str(), *rows, *count, inputs["x"].dims.clone(), inputs["x"].data.clone())
    };
    assert_eq!(said(0), ("zeros", 0, 0, vec![2], WarmUpData::Zero));
    assert_eq!(said(1), ("noise", 4, 3, vec![2, 3], WarmUpData::Random));
    assert_eq!(said(2), ("bytes", 0, 0, vec![], WarmUpData::File("raw".into())));
}

#[test]
fn every_datatype_has_its_name() {
    for datatype in DataType::ALL {
        let name = if datatype == DataType::Bytes { "STRING" } else { datatype.name() };
        let text = format!("input {{ name: 'x' data_type: TYPE_{name} dims: 1 }}");
        let (config, _) = from_text(&text, "m").unwrap();
        assert_eq!(config.expected_inputs[0].datatype, Some(datatype));
    }
    let (config, _) = from_text("input { name: 'x' }", "m").unwrap();
    let open = ExpectedTensor {
        name: "x".into(),
        datatype: None,
        dims: None,
        reshape: None,
        optional: false,
    };
    assert_eq!(config.expected_inputs, [open]);
}

#[test]
fn version_policies_are_read() {
    let policy = |text: &str| from_text(text, "m").unwrap().0.versions;
    assert_eq!(policy(""), VersionPolicy::Latest(1));
    assert_eq!(policy("version_policy { latest { num_versions: 3 } }"), VersionPolicy::Latest(3));
    assert_eq!(policy("version_policy { latest { } }"), VersionPolicy::Latest(1));
    assert_eq!(policy("version_policy { all { } }"), VersionPolicy::All);
}

#[test]
fn missing_settings_have_defaults() {
    let (config, warnings) = from_text("platform: 'onnxruntime_onnx'", "m").unwrap();
    let config = ModelConfig { declared: None, ..config };
    assert_eq!((config, warnings.len()), (ModelConfig::default(), 0));
    let (config, _) = from_text("instance_group { count: 0 }", "m").unwrap();
    assert_eq!(config.replicas.count, Some(1));
    let zero = "parameters { key: 'intra_op_thread_count' value { string_value: '0' } }";
    assert_eq!(from_text(zero, "m").unwrap().0.replicas.threads, None);
}

#[test]
fn text_may_be_written_as_it_is_on_any_system() {
    let text = "\u{feff}name: \"m\"\r\nmax_batch_size: 8 # rows\r\n\
                input: { name: 'x', dims: 3, dims: 8, },\r\n";
    let (config, warnings) = from_text(text, "m").unwrap();
    assert_eq!((config.max_batch_size, warnings.len()), (Some(8), 0));
    assert_eq!(config.expected_inputs[0].dims, Some(vec![3, 8]));
    let json = "\u{feff}{\"maxBatchSize\": 8.0, \"name\": null, \
                \"input\": [{\"name\": \"x\", \"dims\": [\"3\", 8]}]}";
    let (of_json, _) = from_json(json, "m").unwrap();
    assert_eq!(of_json.expected_inputs, config.expected_inputs);
    assert_eq!(of_json.max_batch_size, Some(8));
}

#[test]
fn fields_without_an_effect_are_named_once_with_the_reason() {
    let text = r#"
        input { name: "x" is_shape_tensor: true }
        input { name: "y" is_shape_tensor: true }
        optimization { cuda { graphs: true } eager_batching: false }
        model_transaction_policy { decoupled: false }
        instance_group { gpus: [ 0, 1 ] rate_limiter { priority: 3 } }
    "#;
    let (_, warnings) = from_text(text, "m").unwrap();
    let all = warnings.join("\n");
    assert_eq!(warnings.len(), 4, "{all}");
    for named in ["'input.is_shape_tensor'", "'optimization.cuda'", "gpus", "rate_limiter"] {
        assert!(all.contains(named), "{named} is not in:\n{all}");
    }
}

#[test]
fn queue_policies_are_read_by_level() {
    let text = "dynamic_batching {
        priority_levels: 3 default_priority_level: 2
        default_queue_policy { max_queue_size: 7 allow_timeout_override: true }
        priority_queue_policy { key: 3 value {
            timeout_action: DELAY default_timeout_microseconds: 900 } }
    }";
    let (config, _) = from_text(text, "m").unwrap();
    let policies = &config.queue_policies;
    assert_eq!((policies.levels(), config.queue), (Some((3, 2)), QueueLimits::default()));
    let default =
        QueuePolicy { allows_override: true, requests_max: Some(7), ..QueuePolicy::default() };
    assert_eq!(policies.of(policies.priority(0)), &default);
    let (wait_max_us, timeout_action) = (Some(900), TimeoutAction::Delay);
    let third = QueuePolicy { wait_max_us, timeout_action, ..QueuePolicy::default() };
    assert_eq!(policies.of(policies.priority(3)), &third);
}

#[test]
fn an_order_of_responses_is_refused_where_requests_may_be_delayed() {
    let read = |rest: &str| {
        from_text(&format!("dynamic_batching {{ preserve_ordering: true {rest} }}"), "m")
    };
    let delay = "timeout_action: DELAY default_timeout_microseconds: 900";
    let of_level = format!(
        "priority_levels: 2 default_priority_level: 1
         priority_queue_policy {{ key: 2 value {{ {delay} }} }}"
    );
    let own = "default_queue_policy { timeout_action: DELAY allow_timeout_override: true }";
    for rest in [&format!("default_queue_policy {{ {delay} }}"), &of_level, own] {
        let refused = format!("{:?}", read(rest).unwrap_err());
        assert!(refused.contains("dynamic_batching.preserve_ordering"), "{refused}");
        assert!(refused.contains("use REJECT"), "{refused}");
    }
    // Without a time, nothing is ever delayed.
    read("default_queue_policy { timeout_action: DELAY }").unwrap();
    read("default_queue_policy { default_timeout_microseconds: 900 }").unwrap();
}
