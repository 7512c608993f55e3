//! Tests of Ctrl-C: the program ends, and leaves a whole file or none.

use crate::support::{Folder, assert_same, classifier};
use rustix::process::{Pid, Signal, kill_process};
use skysail_compression::Package;
use skysail_graph::mlp;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

fn interrupt(child: &Child) {
    let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}

#[test]
fn interrupted_work_leaves_the_old_file() {
    let folder = Folder::new();
    folder.model("m.onnx", &classifier().0);
    std::fs::write(folder.path("m.sky"), b"old").unwrap();
    // Opening a pipe waits for a writer, so the program is surely at work.
    let made = Command::new("mkfifo").arg(folder.path("rows.npy")).status().unwrap();
    assert!(made.success());
    let mut command = folder.command(&["pack", "m.onnx", "--data", "rows.npy"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "reading m.onnx");
    interrupt(&child);
    assert_eq!(lines.next().unwrap().unwrap(), "skysail-pack: interrupted");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(std::fs::read(folder.path("m.sky")).unwrap(), b"old");
    assert_eq!(folder.files(), ["m.onnx", "m.sky", "rows.npy"]);
}

#[test]
fn an_interrupted_pack_leaves_a_whole_package_or_none() {
    let folder = Folder::new();
    let model = mlp(&[256, 256, 64], 1).unwrap();
    folder.model("m.onnx", &model);
    for stage in ["reading", "sharing", "encoding", "writing"] {
        let mut command = folder.command(&["pack", "m.onnx", "--bits", "8"]);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let reached = lines.any(|line| line.unwrap().starts_with(stage));
        assert!(reached, "{stage}");
        // The program may be done by now, which is fine too.
        interrupt(&child);
        child.wait().unwrap();
        match folder.files().as_slice() {
            [only] => assert_eq!(only, "m.onnx"),
            [_, package] => {
                assert_eq!(package, "m.sky");
                let package = Package::open(folder.path("m.sky")).unwrap();
                package.verify().unwrap();
                package.model().unwrap();
                std::fs::remove_file(folder.path("m.sky")).unwrap();
            }
            more => panic!("{stage}: {more:?}"),
        }
    }
    assert_same(&folder.load("m.onnx"), &model);
}
