//! Trials of models by a child that only seems to try them, and ends as a model's path says.

use crate::config::{ModelConfig, ProbeSettings};
use crate::empty::Zeros;
use crate::repository::load::Wanted;
use crate::repository::probe::Probe;
use crate::repository::source::{VersionSource, scan_model};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A folder of models and of what is remembered of them.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn settings(&self) -> ProbeSettings {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/probe-child.sh");
        ProbeSettings {
            program: "/bin/sh".into(),
            arguments: vec![script.into()],
            timeout_ms: 20_000,
            memory_bytes_max: Some(50 << 20),
            cache: Some(self.0.path().join("cache")),
        }
    }

    /// Without a child, so that all it can know is what is remembered.
    fn without_child(&self) -> ProbeSettings {
        ProbeSettings { program: "/no/such/program".into(), ..self.settings() }
    }

    fn write(&self, name: &str, bytes: &str) -> (PathBuf, VersionSource) {
        let folder = self.0.path().join(name);
        fs::create_dir_all(folder.join("1")).unwrap();
        let file = folder.join("1/model.onnx");
        if fs::read_to_string(&file).ok().as_deref() != Some(bytes) {
            fs::write(file, bytes).unwrap();
        }
        let source = scan_model(&folder, name, None).versions.remove(&1).unwrap();
        (folder, source)
    }

    /// What comes of the trial of a model with this name.
    fn meet(&self, settings: ProbeSettings, name: &str) -> Result<Option<Zeros>, String> {
        let probe = Probe::start(settings, 2, "runtime 1".into()).unwrap();
        self.meet_by(&probe, name)
    }

    fn meet_by(&self, probe: &Probe, name: &str) -> Result<Option<Zeros>, String> {
        let (folder, source) = self.write(name, name);
        let config = &ModelConfig::default();
        let wanted = Wanted { name, version: 1, folder: &folder, config, source: &source };
        Ok(probe.meet(&wanted)?.unwrap().zeros())
    }
}

fn lived() -> Zeros {
    Zeros { lived: [vec![(0, 1)]].into(), ..Zeros::default() }
}

#[test]
fn what_lives_may_be_loaded_and_a_restart_tries_nothing() {
    let folder = Folder::new();
    assert_eq!(folder.meet(folder.settings(), "sound"), Ok(Some(lived())));
    assert_eq!(folder.meet(folder.without_child(), "sound"), Ok(Some(lived())));
}

#[test]
fn what_ends_its_process_is_not_loaded_and_that_is_remembered() {
    for (name, words) in [
        ("dies-at-load", "when it loaded it ended the process with signal 11 (SIGSEGV)"),
        ("dies-at-row", "when it ran one row it ended the process with signal 6 (SIGABRT)"),
        ("exits", "when it loaded it ended the process with exit code 3"),
    ] {
        let folder = Folder::new();
        for settings in [folder.settings(), folder.without_child()] {
            let error = folder.meet(settings, name).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}

#[test]
fn one_end_alone_is_no_verdict() {
    let folder = Folder::new();
    assert_eq!(folder.meet(folder.settings(), "dies-once"), Ok(Some(lived())));
}

#[test]
fn what_hangs_or_grows_is_not_loaded_but_may_do_better_next_time() {
    let folder = Folder::new();
    let hurried = ProbeSettings { timeout_ms: 300, ..folder.settings() };
    for (name, settings, words) in [
        ("hangs", hurried, "longer than 300 ms; the flag --probe-timeout-ms"),
        ("grows", folder.settings(), "bytes of memory; the flag --probe-memory-bytes-max"),
    ] {
        let error = folder.meet(settings, name).unwrap_err();
        assert!(error.contains(words), "{error}");
        assert_eq!(folder.meet(folder.without_child(), name), Ok(None));
    }
}

#[test]
fn a_dimension_that_ends_it_is_left_out_of_the_next_try() {
    let folder = Folder::new();
    let expected = Zeros { ended: [vec![(0, 0)]].into(), ..lived() };
    assert_eq!(folder.meet(folder.settings(), "dies-at-zero"), Ok(Some(expected.clone())));
    assert_eq!(folder.meet(folder.without_child(), "dies-at-zero"), Ok(Some(expected)));
}

#[test]
fn tries_of_dimensions_have_a_limit() {
    let folder = Folder::new();
    let zeros = folder.meet(folder.settings(), "dies-at-every-zero").unwrap().unwrap();
    assert_eq!((zeros.lived.len(), zeros.ended.len()), (0, super::CHILDREN_MAX));
}

#[test]
fn another_file_or_runtime_is_tried_anew() {
    let folder = Folder::new();
    assert_eq!(folder.meet(folder.settings(), "sound"), Ok(Some(lived())));
    let other = Probe::start(folder.without_child(), 2, "runtime 2".into()).unwrap();
    assert_eq!(folder.meet_by(&other, "sound"), Ok(None));
    let (path, source) = folder.write("sound", "changed");
    let same = Probe::start(folder.without_child(), 2, "runtime 1".into()).unwrap();
    let config = &ModelConfig::default();
    let wanted = Wanted { name: "sound", version: 1, folder: &path, config, source: &source };
    assert_eq!(same.meet(&wanted).unwrap().unwrap().zeros(), None);
}

#[test]
fn without_a_child_versions_are_loaded_as_they_are() {
    let folder = Folder::new();
    assert_eq!(folder.meet(folder.without_child(), "dies-at-load"), Ok(None));
    let wrong = ProbeSettings { program: "/bin/false".into(), ..folder.settings() };
    assert_eq!(folder.meet(wrong, "dies-at-load"), Ok(None));
}

#[test]
fn what_can_not_be_loaded_is_for_the_load_to_tell() {
    let folder = Folder::new();
    assert_eq!(folder.meet(folder.settings(), "refuses"), Ok(Some(Zeros::default())));
    assert_eq!(folder.meet(folder.without_child(), "refuses"), Ok(Some(Zeros::default())));
}

#[test]
fn versions_are_tried_ahead_and_one_that_ends_its_process_leaves_the_others() {
    let folder = Folder::new();
    let probe = Probe::start(folder.settings(), 2, "runtime 1".into()).unwrap();
    let names = ["a", "dies-at-load", "b"];
    let config = &ModelConfig::default();
    for name in names {
        let (path, source) = folder.write(name, name);
        probe.look_ahead(&Wanted { name, version: 1, folder: &path, config, source: &source });
    }
    let met = names.map(|name| folder.meet_by(&probe, name));
    assert!(met[0].is_ok() && met[1].is_err() && met[2].is_ok(), "{met:?}");
}

#[test]
fn a_server_that_stops_does_not_wait_for_a_trial() {
    let folder = Folder::new();
    let probe = Probe::start(folder.settings(), 2, "runtime 1".into()).unwrap();
    let (path, source) = folder.write("hangs", "hangs");
    let config = &ModelConfig::default();
    let wanted = Wanted { name: "hangs", version: 1, folder: &path, config, source: &source };
    probe.look_ahead(&wanted);
    let begun = Instant::now();
    let stop = probe.stopper();
    let error = std::thread::scope(|scope| {
        let waits = scope.spawn(|| probe.meet(&wanted).map(drop));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        waits.join().unwrap().unwrap_err()
    });
    drop(probe);
    assert_eq!(error, "the server stops");
    assert!(begun.elapsed() < Duration::from_secs(10));
}
