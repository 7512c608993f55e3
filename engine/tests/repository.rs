//! Tests the repository while its folder and settings change.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use skysail_engine::Error;
use skysail_engine::endpoint::Endpoint;
use skysail_engine::repository::{Copied, Mirror, Root, State};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Waker};
use support::{Models, ask, block_on, floats, graphs, request, values, wait_until};

/// Output of the model for 0.
fn zero(model: &Arc<Endpoint>) -> f32 {
    values(&ask(model, request(floats("x", &[1, 2], &[0.0; 2]))).unwrap(), 0)[0]
}

/// State and reason of a version.
fn status(models: &Models, name: &str, version: u64) -> Option<(State, String)> {
    let index = models.repository().index();
    index.get(&(name.to_owned(), version)).map(|status| (status.state, status.reason.clone()))
}

fn ready() -> Option<(State, String)> {
    Some((State::Ready, String::new()))
}

/// A place elsewhere with the model `m`, which adds the number of the copying that brought it.
struct Elsewhere {
    copy: PathBuf,
    begun: AtomicUsize,
    /// Each copying ends with one of these.
    ends: Mutex<mpsc::Receiver<()>>,
}

impl Mirror for Elsewhere {
    fn copy(&self) -> &Path {
        &self.copy
    }

    fn models(&self) -> BTreeMap<String, Option<String>> {
        [("m".into(), None)].into()
    }

    fn state(&self) -> Copied {
        Copied::All
    }

    fn fetch(&self, model: &str) -> Result<(), String> {
        let number = self.begun.fetch_add(1, SeqCst) + 1;
        self.ends.lock().unwrap().recv().unwrap();
        let folder = self.copy.join(model).join("1");
        fs::create_dir_all(&folder).unwrap();
        let graph = graphs::add(number as f32).to_bytes().unwrap();
        fs::write(folder.join("model.onnx"), graph).unwrap();
        Ok(())
    }
}

#[test]
fn a_load_does_not_take_the_files_of_one_that_was_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let (end, ends) = mpsc::channel();
    let place = Arc::new(Elsewhere {
        copy: folder.path().to_owned(),
        begun: AtomicUsize::new(0),
        ends: Mutex::new(ends),
    });
    let root = Root::mirrored("elsewhere", None, Arc::clone(&place) as Arc<dyn Mirror>);
    let models = Models::explicit_of(folder, [root].into_iter().collect());
    let mut once = Context::from_waker(Waker::noop());
    let mut given_up = pin!(models.repository().load("m", None));
    assert!(given_up.as_mut().poll(&mut once).is_pending());
    wait_until("the copying", || place.begun.load(SeqCst) == 1);
    block_on(models.repository().unload("m")).unwrap();
    assert!(block_on(given_up).unwrap_err().to_string().contains("unloaded"));
    let mut wanted = pin!(models.repository().load("m", None));
    assert!(wanted.as_mut().poll(&mut once).is_pending());
    // Commands are taken in order: the load is known once this one is refused.
    block_on(models.repository().unload("other")).unwrap_err();
    end.send(()).unwrap();
    end.send(()).unwrap();
    block_on(wanted).unwrap();
    assert_eq!(zero(&models.repository().lookup("m", None).unwrap()), 2.0);
    assert_eq!(place.begun.load(SeqCst), 2);
}

#[test]
fn a_failed_load_is_forgotten_when_the_settings_are_restored() {
    let models = Models::explicit();
    models.add("m", &graphs::add(1.0)).load("m").unwrap();
    let error = models.load_with("m", Some(r#"{"input": [{"name": "z"}]}"#)).err().unwrap();
    assert!(error.contains("input 'z'"), "{error}");
    let (state, reason) = status(&models, "m", 1).unwrap();
    assert!(state == State::Ready && reason.contains("serves from older files"), "{reason}");
    // It serves already with the settings in the folder.
    assert_eq!(zero(&models.load("m").unwrap()), 1.0);
    assert_eq!(status(&models, "m", 1), ready());
}

#[test]
fn a_removed_version_has_no_status() {
    let models = Models::explicit();
    models.add("m", &graphs::add(1.0)).write("m/2/model.onnx", "broken");
    assert!(models.load("m").is_err());
    assert_eq!(status(&models, "m", 2).unwrap().0, State::Unavailable);
    models.write("m/model.toml", "versions = { specific = [1] }");
    models.load("m").unwrap();
    assert_eq!(status(&models, "m", 1), ready());
    models.remove("m/2");
    models.load("m").unwrap();
    assert_eq!((status(&models, "m", 1), status(&models, "m", 2)), (ready(), None));
}

#[test]
fn an_unloaded_older_version_does_not_fail_the_next_load() {
    let models = Models::explicit();
    models.add("m", &graphs::add(1.0)).load("m").unwrap();
    models.write("m/2/model.onnx", graphs::add(2.0).to_bytes().unwrap());
    assert_eq!(zero(&models.load("m").unwrap()), 2.0);
    let unloaded = Some((State::Unavailable, "unloaded".into()));
    wait_until("version 1 to be freed", || status(&models, "m", 1) == unloaded);
    assert_eq!(zero(&models.load("m").unwrap()), 2.0);
}

#[test]
fn a_held_endpoint_does_not_block_the_folder() {
    let models = Models::polled();
    models.add("m", &graphs::add(1.0));
    wait_until("version 1", || status(&models, "m", 1) == ready());
    let held = models.repository().lookup("m", None).unwrap();
    models.write("m/2/model.onnx", graphs::add(2.0).to_bytes().unwrap());
    wait_until("version 2", || status(&models, "m", 2) == ready());
    // Version 1 waits for its last request while other versions load and unload.
    wait_until("version 1 to go", || status(&models, "m", 1).unwrap().0 == State::Unloading);
    models.write("m/3/model.onnx", graphs::add(3.0).to_bytes().unwrap());
    wait_until("version 3", || status(&models, "m", 3) == ready());
    assert_eq!(status(&models, "m", 1).unwrap().0, State::Unloading);
    assert_eq!(zero(&held), 1.0);
    drop(held);
    wait_until("version 1 to be freed", || {
        status(&models, "m", 1) == Some((State::Unavailable, "unloaded".into()))
    });
}

#[test]
fn models_that_come_and_go_leave_the_repository_ready() {
    let models = Models::polled();
    wait_until("the start", || models.repository().is_started());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            while !is_over.load(Relaxed) {
                let readiness = models.repository().readiness();
                assert!(readiness.is_ready(), "{readiness}");
            }
        });
        for number in 0..20 {
            // Whole folders come and go at once.
            models.write(".unseen-model/1/model.onnx", graphs::add(1.0).to_bytes().unwrap());
            let name = format!("m{number}");
            fs::rename(models.path(".unseen-model"), models.path(&name)).unwrap();
            wait_until("the model", || status(&models, &name, 1) == ready() || watch.is_finished());
            fs::rename(models.path(&name), models.path(&format!(".gone-{number}"))).unwrap();
            wait_until("its end", || status(&models, &name, 1).is_none() || watch.is_finished());
        }
        is_over.store(true, Relaxed);
        watch.join().unwrap();
    });
}

#[test]
fn failed_lookups_have_a_reason() {
    let models = Models::explicit();
    models.add("m", &graphs::add(1.0)).load("m").unwrap();
    models.write("broken/1/model.onnx", "x");
    assert!(models.load("broken").is_err());
    let lookup = |name: &str, version| models.repository().lookup(name, version).map(drop);
    assert!(matches!(lookup("z", None), Err(Error::ModelNotFound { .. })));
    let Err(Error::VersionNotFound { serving, .. }) = lookup("m", Some(7)) else { panic!() };
    assert_eq!(serving, "1");
    let Err(Error::ModelNotReady { reason, .. }) = lookup("broken", None) else { panic!() };
    assert!(reason.contains("version 1 is UNAVAILABLE: "), "{reason}");
    block_on(models.repository().unload("m")).unwrap();
    assert!(matches!(lookup("m", None), Err(Error::ModelNotReady { .. })));
}

#[test]
fn a_closing_repository_answers_queued_requests_and_rejects_later_ones() {
    let mut models = Models::explicit();
    let toml = "max_batch_size = 4\n[batching]\nmax_delay_us = 600000000";
    let model = models.load_new("m", &graphs::add(1.0), toml).unwrap();
    let one = || request(floats("x", &[1, 2], &[0.0; 2]));
    let ticket = model.submit(one()).unwrap();
    models.close();
    assert_eq!(values(&block_on(ticket).unwrap(), 0), [1.0; 2]);
    assert!(matches!(ask(&model, one()), Err(Error::ModelNotReady { .. })));
}
