//! Compiles the schema of Triton's model configuration, with which `config.pbtxt` is read.

use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new("../server/protocol/proto");
    let schema = "model_config.proto";
    println!("cargo:rerun-if-changed={}", folder.join(schema).display());
    let mut compiler = protox::Compiler::new([folder])?;
    compiler.open_file(schema)?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("model_config.bin");
    std::fs::write(out, compiler.encode_file_descriptor_set())?;
    Ok(())
}
