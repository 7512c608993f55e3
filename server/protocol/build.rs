//! Turns the `.proto` files into Rust, without `protoc`.

use protox::prost::Message;
use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;

/// Tensors' elements, decoded as slices of the message's own buffer.
const NOT_COPIED: [&str; 2] = [
    ".inference.ModelInferRequest.raw_input_contents",
    ".inference.ModelInferResponse.raw_output_contents",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["grpc_service.proto"], ["proto"])?;

    // Clients that ask what the server speaks need the types, not the comments.
    let mut described = files.clone();
    described.file.iter_mut().for_each(|file| file.source_code_info = None);
    let path = Path::new(&env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(path, described.encode_to_vec())?;

    // Connecting is left to the users of the client: not all of them want tonic's transport.
    let mut builder =
        tonic_prost_build::configure().build_transport(false).codec_path("crate::codec::Codec");
    for field in NOT_COPIED {
        builder = builder.bytes(field);
    }
    builder.compile_fds(files)?;

    // No part of the protocol: what it serves does not describe it.
    let metrics = protox::compile(["metrics.proto"], ["proto"])?;
    Ok(tonic_prost_build::configure().compile_fds(metrics)?)
}
