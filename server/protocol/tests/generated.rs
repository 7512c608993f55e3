//! Code and descriptors made from `proto/`, which are kept in the tree so that no build needs
//! their generator. To write them anew:
//! `SKYSAIL_WRITE_GENERATED=1 cargo test -p skysail-protocol --test generated`

#![expect(clippy::unwrap_used, reason = "a test panics")]

use protox::Compiler;
use protox::prost::Message;
use std::fs;
use std::path::Path;

/// Tensors' elements, decoded as slices of the message's own buffer.
const NOT_COPIED: [&str; 2] = [
    ".inference.ModelInferRequest.raw_input_contents",
    ".inference.ModelInferResponse.raw_output_contents",
];

/// Checks that a generated file is up to date, or writes it.
fn check(path: &str, made: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("SKYSAIL_WRITE_GENERATED").is_some() {
        fs::write(&path, made).unwrap();
    }
    let kept = fs::read(&path).unwrap_or_default();
    assert!(kept == made, "{} is not what proto/ gives: write it anew", path.display());
}

#[test]
fn the_protocol_is_generated_from_its_schema() {
    let files = protox::compile(["grpc_service.proto"], ["proto"]).unwrap();

    // Clients that ask for the schema need the types, not the comments.
    let mut described = files.clone();
    described.file.iter_mut().for_each(|file| file.source_code_info = None);
    check("src/generated/descriptors.bin", &described.encode_to_vec());

    // Users of the client connect it themselves: not all of them want tonic's transport.
    let out = tempfile::tempdir().unwrap();
    let mut builder = tonic_prost_build::configure()
        .build_transport(false)
        .codec_path("crate::codec::Codec")
        .out_dir(out.path());
    for field in NOT_COPIED {
        builder = builder.bytes(field);
    }
    builder.compile_fds(files).unwrap();
    check("src/generated/inference.rs", &fs::read(out.path().join("inference.rs")).unwrap());
}

#[test]
fn prometheus_messages_are_generated_from_their_schema() {
    let files = protox::compile(["metrics.proto"], ["proto"]).unwrap();
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure().out_dir(out.path()).compile_fds(files).unwrap();
    let made = fs::read(out.path().join("io.prometheus.client.rs")).unwrap();
    check("src/generated/prometheus.rs", &made);
}

#[test]
fn the_engine_has_the_schema_of_model_configurations() {
    let mut compiler = Compiler::new(["proto"]).unwrap();
    compiler.open_file("model_config.proto").unwrap();
    let made = compiler.encode_file_descriptor_set();
    check("../../engine/src/repository/triton/model_config.bin", &made);
}
