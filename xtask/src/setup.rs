//! `cargo xtask setup`: downloads dependencies that cargo can not, into `target/`.
//!
//! Both parts do nothing if already done, and leave nothing half done if interrupted.

use crate::{python, workspace};
use anyhow::{Context, Result, ensure};
use skysail_onnxruntime::{FOLDER, LIBRARY};
use std::{
    env::consts::{ARCH, OS},
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// Version and hashes of the wheel that holds ONNX Runtime, in pip's format.
const ONNX_RUNTIME: &str = include_str!("../onnxruntime.txt");
const REQUIREMENTS: &str = "server/tests/clients/requirements.txt";
/// Packages that are installed without what they name.
const ALONE: &str = "server/tests/kserve_clients/requirements.txt";
const SEE_PIP: &str = "pip says why above. The download needs the network once, and the clients \
    need CPython 3.11 to 3.13";

/// Downloads ONNX Runtime's shared library into `target/onnxruntime/lib`.
pub(crate) fn onnx_runtime() -> Result<()> {
    let (lib, name) = (target().join(FOLDER), library_name()?);
    let done = || lib.join(&name).is_file() && links_to(&lib, &name);
    if done() {
        return Ok(());
    }
    let _lock = lock()?;
    if done() {
        return Ok(());
    }
    println!("setup: downloading ONNX Runtime into target/ (once, about 25 MB)");
    let staging = lib.with_file_name("staging");
    remove(&staging)?;
    fs::create_dir_all(&lib)?;
    fs::create_dir_all(&staging)?;
    python::unzip(&download(&staging)?, &staging)?;
    fs::rename(staging.join("onnxruntime/capi").join(&name), lib.join(&name))?;
    let link = staging.join("link");
    symlink(&name, &link)?;
    fs::rename(link, lib.join(LIBRARY))?;
    remove(&staging)
}

/// Downloads the Python clients into a virtual environment, and returns its Python.
pub(crate) fn clients() -> Result<PathBuf> {
    let venv = venv();
    let interpreter = python::interpreter(&venv);
    let [requirements, alone] = [REQUIREMENTS, ALONE].map(|file| workspace::root().join(file));
    let read = |path: &Path| fs::read_to_string(path).with_context(|| path.display().to_string());
    let wanted = read(&requirements)? + &read(&alone)?;
    let stamp = venv.join("installed.txt");
    let done =
        || fs::read_to_string(&stamp).is_ok_and(|text| text == wanted) && interpreter.exists();
    if done() {
        return Ok(interpreter);
    }
    let _lock = lock()?;
    if done() {
        return Ok(interpreter);
    }
    println!("setup: downloading the Python clients into target/ (once, about a minute)");
    python::make_venv(&venv)?;
    for (list, flags) in [(requirements, &[][..]), (alone, &["--no-deps"][..])] {
        let mut pip = python::pip(&interpreter, "install");
        pip.arg("--quiet").args(flags).arg("--requirement").arg(list);
        ensure!(workspace::run(&mut pip).is_ok(), "cannot download the Python clients: {SEE_PIP}");
    }
    fs::write(stamp, wanted)?;
    Ok(interpreter)
}

fn links_to(lib: &Path, name: &str) -> bool {
    fs::read_link(lib.join(LIBRARY)).is_ok_and(|to| to == Path::new(name))
}

fn library_name() -> Result<String> {
    let version = ONNX_RUNTIME.split_once("==").and_then(|(_, rest)| rest.split(' ').next());
    Ok(format!("{LIBRARY}.{}", version.context("onnxruntime.txt names no version")?))
}

/// Downloads the wheel for this machine, with any version of Python, and returns its path.
fn download(staging: &Path) -> Result<PathBuf> {
    ensure!(
        OS == "linux" && matches!(ARCH, "x86_64" | "aarch64"),
        "no ONNX Runtime is pinned for {OS} on {ARCH}: only for linux on x86_64 and aarch64"
    );
    let python = python::with_pip(&venv())?;
    let mut pip = python::pip(&python, "download");
    pip.args(["--no-deps", "--python-version=311", "--implementation=cp", "--abi=cp311"]);
    pip.arg(format!("--platform=manylinux_2_28_{ARCH}"));
    pip.args(["--require-hashes", "--requirement"]);
    pip.arg(workspace::root().join("xtask/onnxruntime.txt")).arg("--dest").arg(staging);
    ensure!(workspace::run(&mut pip).is_ok(), "cannot download ONNX Runtime: {SEE_PIP}");
    let entries = fs::read_dir(staging)?.collect::<std::io::Result<Vec<_>>>()?;
    let mut paths = entries.into_iter().map(|entry| entry.path());
    paths.find(|path| path.extension().is_some_and(|end| end == "whl")).context("pip left no wheel")
}

/// Locks the set-up, so that two commands do not download at once.
fn lock() -> Result<File> {
    fs::create_dir_all(target())?;
    let file = File::create(target().join("setup.lock"))?;
    file.lock()?;
    Ok(file)
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

fn venv() -> PathBuf {
    target().join("venv")
}

/// The workspace's own `target/`, where the server looks for ONNX Runtime.
fn target() -> PathBuf {
    workspace::root().join("target")
}

#[cfg(test)]
mod tests {
    use super::{ONNX_RUNTIME, REQUIREMENTS};
    use crate::workspace;
    use std::fs;

    #[test]
    fn the_clients_have_the_servers_onnx_runtime() {
        let pinned = |text: &str| {
            text.lines()
                .find(|line| line.starts_with("onnxruntime=="))
                .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        };
        let requirements = fs::read_to_string(workspace::root().join(REQUIREMENTS)).unwrap();
        assert!(pinned(ONNX_RUNTIME).is_some());
        assert_eq!(pinned(&requirements), pinned(ONNX_RUNTIME));
    }
}
