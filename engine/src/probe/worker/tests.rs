//! Tests the worker with a fake child, which ends in the way that a model's path says.

use crate::config::{ModelConfig, ProbeSettings};
use crate::load::LoadTarget;
use crate::probe::Probe;
use crate::repository::source::{VersionSource, scan_folder};
use crate::zero_elements::ZeroTrials;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A folder of models and of cached verdicts.
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

    /// Settings whose child does not exist, so that only cached verdicts are available.
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
        let source = scan_folder(&folder, name, None).versions.remove(&1).unwrap();
        (folder, source)
    }

    /// Results of probing a model of this name.
    fn probe(&self, settings: ProbeSettings, name: &str) -> Result<Option<ZeroTrials>, String> {
        let probe = Probe::start(settings, 2, "runtime 1".into()).unwrap();
        self.probe_with(&probe, name)
    }

    fn probe_with(&self, probe: &Probe, name: &str) -> Result<Option<ZeroTrials>, String> {
        let (folder, source) = self.write(name, name);
        let config = &ModelConfig::default();
        let target = LoadTarget { name, version: 1, folder: &folder, config, source: &source };
        Ok(probe.wait(&target)?.unwrap().zero_trials().get().unwrap().clone())
    }
}

fn survived() -> ZeroTrials {
    ZeroTrials { survived: [vec![(0, 1)]].into(), ..ZeroTrials::default() }
}

#[test]
fn a_version_that_runs_may_be_loaded_and_is_not_probed_again() {
    let folder = Folder::new();
    assert_eq!(folder.probe(folder.settings(), "sound"), Ok(Some(survived())));
    assert_eq!(folder.probe(folder.without_child(), "sound"), Ok(Some(survived())));
}

#[test]
fn a_version_that_crashes_is_not_loaded_and_that_is_cached() {
    for (name, words) in [
        ("dies-at-load", "when it loaded it ended the process with signal 11 (SIGSEGV)"),
        ("dies-at-row", "when it ran one row it ended the process with signal 6 (SIGABRT)"),
        ("exits", "when it loaded it ended the process with exit code 3"),
    ] {
        let folder = Folder::new();
        for settings in [folder.settings(), folder.without_child()] {
            let error = folder.probe(settings, name).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}

#[test]
fn a_version_that_crashes_with_several_rows_may_run_one_and_that_is_cached() {
    let folder = Folder::new();
    let (path, source) = folder.write("dies-with-rows", "dies-with-rows");
    let config = &ModelConfig::default();
    let target =
        LoadTarget { name: "dies-with-rows", version: 1, folder: &path, config, source: &source };
    for settings in [folder.settings(), folder.without_child()] {
        let probe = Probe::start(settings, 2, "runtime 1".into()).unwrap();
        let version = probe.wait(&target).unwrap().unwrap();
        let error = version.row_comparison().unwrap_err();
        assert!(error.contains("after it ran one row it ended the process"), "{error}");
        // Nothing is known of zero dimensions, and nobody waits for that.
        let trials = version.zero_trials();
        let started = Instant::now();
        while trials.get().is_none() {
            assert!(started.elapsed() < Duration::from_secs(20), "they stay open");
            std::thread::yield_now();
        }
        assert_eq!(trials.get(), Some(&Some(ZeroTrials::default())));
    }
}

#[test]
fn a_child_that_ends_between_jobs_is_replaced() {
    let folder = Folder::new();
    let probe = Probe::start(folder.settings(), 2, "runtime 1".into()).unwrap();
    assert!(folder.probe_with(&probe, "ends-idle").is_ok());
    let pid = fs::read_to_string(folder.0.path().join("ends-idle/1/model.onnx.pid")).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    let runs = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    while runs() {
        std::thread::yield_now();
    }
    let error = folder.probe_with(&probe, "dies-at-load").unwrap_err();
    assert!(error.contains("when it loaded"), "{error}");
}

#[test]
fn a_single_crash_is_no_verdict() {
    let folder = Folder::new();
    assert_eq!(folder.probe(folder.settings(), "dies-once"), Ok(Some(survived())));
}

#[test]
fn a_version_that_hangs_or_grows_is_not_loaded_and_that_is_not_cached() {
    let folder = Folder::new();
    let impatient = ProbeSettings { timeout_ms: 300, ..folder.settings() };
    for (name, settings, words) in [
        ("hangs", impatient, "longer than 300 ms; the flag --probe-timeout-ms"),
        ("grows", folder.settings(), "bytes of memory; the flag --probe-memory-bytes-max"),
    ] {
        let error = folder.probe(settings, name).unwrap_err();
        assert!(error.contains(words), "{error}");
        assert_eq!(folder.probe(folder.without_child(), name), Ok(None));
    }
}

#[test]
fn a_zero_dimension_that_crashes_is_not_tried_again() {
    let folder = Folder::new();
    let expected = ZeroTrials { crashed: [vec![(0, 0)]].into(), ..survived() };
    assert_eq!(folder.probe(folder.settings(), "dies-at-zero"), Ok(Some(expected.clone())));
    assert_eq!(folder.probe(folder.without_child(), "dies-at-zero"), Ok(Some(expected)));
}

#[test]
fn trials_of_zero_dimensions_have_a_limit() {
    let folder = Folder::new();
    let trials = folder.probe(folder.settings(), "dies-at-every-zero").unwrap().unwrap();
    assert_eq!((trials.survived.len(), trials.crashed.len()), (0, super::CHILDREN_MAX));
}

#[test]
fn another_file_or_runtime_is_probed_again() {
    let folder = Folder::new();
    assert_eq!(folder.probe(folder.settings(), "sound"), Ok(Some(survived())));
    let other = Probe::start(folder.without_child(), 2, "runtime 2".into()).unwrap();
    assert_eq!(folder.probe_with(&other, "sound"), Ok(None));
    let (path, source) = folder.write("sound", "changed");
    let same = Probe::start(folder.without_child(), 2, "runtime 1".into()).unwrap();
    let config = &ModelConfig::default();
    let target = LoadTarget { name: "sound", version: 1, folder: &path, config, source: &source };
    assert_eq!(same.wait(&target).unwrap().unwrap().zero_trials().get(), Some(&None));
}

#[test]
fn a_file_of_a_known_length_is_read_to_find_its_verdict() {
    let folder = Folder::new();
    assert_eq!(folder.probe(folder.settings(), "sound"), Ok(Some(survived())));
    // The same bytes in another file, which is as long.
    let (_, source) = folder.write("copy", "sound");
    let config = &ModelConfig::default();
    let path = folder.0.path().join("copy");
    let target = LoadTarget { name: "copy", version: 1, folder: &path, config, source: &source };
    let probe = Probe::start(folder.without_child(), 2, "runtime 1".into()).unwrap();
    let version = probe.wait(&target).unwrap().unwrap();
    assert_eq!(version.zero_trials().get(), Some(&Some(survived())));
}

#[test]
fn without_a_child_versions_are_loaded_unprobed() {
    let folder = Folder::new();
    assert_eq!(folder.probe(folder.without_child(), "dies-at-load"), Ok(None));
    let wrong = ProbeSettings { program: "/bin/false".into(), ..folder.settings() };
    assert_eq!(folder.probe(wrong, "dies-at-load"), Ok(None));
}

#[test]
fn a_file_that_can_not_be_loaded_is_left_to_the_load() {
    let folder = Folder::new();
    assert_eq!(folder.probe(folder.settings(), "refuses"), Ok(Some(ZeroTrials::default())));
    assert_eq!(folder.probe(folder.without_child(), "refuses"), Ok(Some(ZeroTrials::default())));
}

#[test]
fn a_probe_that_crashes_or_hangs_leaves_the_others() {
    let folder = Folder::new();
    let probe = Probe::start(folder.settings(), 2, "runtime 1".into()).unwrap();
    std::thread::scope(|scope| {
        let hanging = scope.spawn(|| folder.probe_with(&probe, "hangs"));
        let names = ["a", "dies-at-load", "b"];
        let others = names.map(|name| scope.spawn(|| folder.probe_with(&probe, name)));
        let results = others.map(|other| other.join().unwrap());
        assert!(results[0].is_ok() && results[1].is_err() && results[2].is_ok(), "{results:?}");
        probe.stopper().store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(hanging.join().unwrap().unwrap_err(), "the server stops");
    });
}

#[test]
fn zero_dimensions_that_are_left_are_tried_after_the_load() {
    let folder = Folder::new();
    let probe = Probe::start(folder.settings(), 2, "runtime 1".into()).unwrap();
    let (path, source) = folder.write("leaves-zero", "leaves-zero");
    let config = &ModelConfig::default();
    let target =
        LoadTarget { name: "leaves-zero", version: 1, folder: &path, config, source: &source };
    let version = probe.wait(&target).unwrap().unwrap();
    let trials = version.zero_trials();
    assert_eq!(trials.get(), None, "they wait for the end of the load");
    drop(version);
    let started = Instant::now();
    while trials.get().is_none() {
        assert!(started.elapsed() < Duration::from_secs(20), "they are never tried");
        std::thread::yield_now();
    }
    assert_eq!(trials.get(), Some(&Some(survived())));
    drop(probe);
    assert_eq!(folder.probe(folder.without_child(), "leaves-zero"), Ok(Some(survived())));
}

#[test]
fn a_stopping_server_does_not_wait_for_a_probe() {
    let folder = Folder::new();
    let probe = Probe::start(folder.settings(), 2, "runtime 1".into()).unwrap();
    let (path, source) = folder.write("hangs", "hangs");
    let config = &ModelConfig::default();
    let target = LoadTarget { name: "hangs", version: 1, folder: &path, config, source: &source };
    let started = Instant::now();
    let stop = probe.stopper();
    let error = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| probe.wait(&target).map(drop));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        waiting.join().unwrap().unwrap_err()
    });
    drop(probe);
    assert_eq!(error, "the server stops");
    assert!(started.elapsed() < Duration::from_secs(10));
}
