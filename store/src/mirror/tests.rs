//! Tests of mirrors on a store in memory.

use super::*;
use crate::digest;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use object_store::{ObjectStore, ObjectStoreExt};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A store in memory, and a cache.
struct Setting {
    store: Arc<InMemory>,
    folder: TempDir,
}

impl Setting {
    fn new() -> Self {
        Self { store: Arc::new(InMemory::new()), folder: tempfile::tempdir().unwrap() }
    }

    fn put(&self, key: &str, bytes: &[u8]) -> &Self {
        let key = Key::parse(key).unwrap();
        block_on(self.store.put(&key, bytes.to_vec().into())).unwrap();
        self
    }

    fn delete(&self, key: &str) {
        block_on(self.store.delete(&Key::parse(key).unwrap())).unwrap();
    }

    fn cache(&self, bytes_max: u64) -> Arc<Cache> {
        Cache::open(self.folder.path(), bytes_max).unwrap()
    }

    fn mirror(&self, follow: Follow) -> Mirror {
        let store = Arc::clone(&self.store) as Arc<dyn ObjectStore>;
        let place = Place::new(store, Key::from("p"), "memory");
        Mirror::start(place, None, self.cache(1 << 20), follow).unwrap()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

const OFTEN: Follow = Follow::Changes(Duration::from_millis(5));

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "waited too long for {what}");
        std::thread::yield_now();
    }
}

fn read(mirror: &Mirror, path: &str) -> Option<Vec<u8>> {
    fs::read(mirror.copy().join(path)).ok()
}

#[test]
fn models_are_copied_and_follow_the_store() {
    let setting = Setting::new();
    setting.put("p/a/1/model.onnx", b"one").put("p/b/1/model.onnx", b"two").put("q/c/1/x", b"");
    let mirror = setting.mirror(OFTEN);
    wait_until("all models", || mirror.state() == Copied::All);
    assert_eq!(mirror.models(), [("a".into(), None), ("b".into(), None)].into());
    assert_eq!(read(&mirror, "a/1/model.onnx").unwrap(), b"one");
    let first = fs::metadata(mirror.copy().join("a/1/model.onnx")).unwrap();
    setting.put("p/a/2/model.onnx", b"three").delete("p/b/1/model.onnx");
    wait_until("the new version", || read(&mirror, "a/2/model.onnx").as_deref() == Some(b"three"));
    wait_until("the removed model", || !mirror.models().contains_key("b"));
    assert!(read(&mirror, "b/1/model.onnx").is_none());
    use std::os::unix::fs::MetadataExt;
    let same = fs::metadata(mirror.copy().join("a/1/model.onnx")).unwrap();
    assert_eq!((first.ino(), first.mtime_nsec()), (same.ino(), same.mtime_nsec()));
    assert_eq!(mirror.downloaded(), 3 + 3 + 5, "what did not change is not downloaded again");
}

#[test]
fn an_empty_place_takes_nothing_away() {
    let setting = Setting::new();
    setting.put("p/a/1/model.onnx", b"one");
    let mirror = setting.mirror(OFTEN);
    wait_until("the model", || mirror.state() == Copied::All);
    setting.delete("p/a/1/model.onnx");
    let before = Copied::Before("it has no objects".into());
    wait_until("the empty place", || mirror.state() == before);
    assert!(mirror.is_away());
    assert_eq!(read(&mirror, "a/1/model.onnx").unwrap(), b"one");
}

#[test]
fn a_restart_downloads_nothing_and_serves_the_copy_without_the_store() {
    let setting = Setting::new();
    setting.put("p/a/1/model.onnx", b"one");
    let first = setting.mirror(OFTEN);
    wait_until("the model", || first.state() == Copied::All);
    drop(first);
    let second = setting.mirror(OFTEN);
    wait_until("the model", || second.state() == Copied::All);
    assert_eq!(second.downloaded(), 0);
    drop(second);
    setting.delete("p/a/1/model.onnx");
    let third = setting.mirror(OFTEN);
    wait_until("the copy", || matches!(third.state(), Copied::Before(_)));
    assert_eq!(read(&third, "a/1/model.onnx").unwrap(), b"one");
    assert_eq!(third.models(), [("a".into(), None)].into());
}

#[test]
fn a_spoiled_copy_is_not_served_without_the_store() {
    let setting = Setting::new();
    setting.put("p/a/1/model.onnx", b"one").put("p/b/1/model.onnx", b"two");
    let first = setting.mirror(OFTEN);
    wait_until("the models", || first.state() == Copied::All);
    fs::write(first.copy().join("a/1/model.onnx"), b"bad").unwrap();
    drop(first);
    setting.delete("p/a/1/model.onnx");
    setting.delete("p/b/1/model.onnx");
    let second = setting.mirror(OFTEN);
    wait_until("the copy", || matches!(second.state(), Copied::Before(_)));
    assert_eq!(second.models(), [("b".into(), None)].into());
}

#[test]
fn models_are_fetched_by_name_alone() {
    let setting = Setting::new();
    setting.put("p/a/1/model.onnx", b"one").put("p/b/1/model.onnx", b"two");
    let mirror = setting.mirror(Follow::ByName);
    mirror.fetch("a").unwrap();
    assert_eq!(read(&mirror, "a/1/model.onnx").unwrap(), b"one");
    assert!(read(&mirror, "b/1/model.onnx").is_none());
    assert!(mirror.models().contains_key("b"));
    setting.put("p/a/1/model.onnx", b"new");
    mirror.fetch("a").unwrap();
    assert_eq!(read(&mirror, "a/1/model.onnx").unwrap(), b"new");
    mirror.fetch("none").unwrap();
    assert!(!mirror.models().contains_key("none"));
}

#[test]
fn a_model_that_does_not_fit_leaves_the_others() {
    let setting = Setting::new();
    setting.put("p/large/1/model.onnx", &[0; 2000]).put("p/small/1/model.onnx", b"x");
    let store = Arc::clone(&setting.store) as Arc<dyn ObjectStore>;
    let place = Place::new(store, Key::from("p"), "memory");
    let mirror = Mirror::start(place, None, setting.cache(1000), OFTEN).unwrap();
    wait_until("the models", || mirror.state() == Copied::All);
    assert_eq!(read(&mirror, "small/1/model.onnx").unwrap(), b"x");
    let problem = mirror.models()["large"].clone().unwrap();
    assert!(problem.contains("do not fit into the cache of 1000 bytes"), "{problem}");
}

#[test]
fn an_outage_of_a_load_by_name_ends_with_the_store_s_return() {
    let setting = Setting::new();
    setting.put("p/a/1/model.onnx", b"one");
    let mirror = setting.mirror(Follow::ByName);
    mirror.fetch("a").unwrap();
    setting.delete("p/a/1/model.onnx");
    mirror.fetch("a").unwrap_err();
    assert!(mirror.is_away() && mirror.state() != Copied::All);
    setting.put("p/a/1/model.onnx", b"one");
    wait_until("the store's return", || mirror.state() == Copied::All);
    assert!(!mirror.is_away());
}

#[test]
fn two_mirrors_of_one_place_download_it_once() {
    let setting = Setting::new();
    setting.put("p/a/1/model.onnx", b"0123456789");
    // Both have begun before the first byte comes.
    let slow = ThrottleConfig {
        wait_get_per_call: Duration::from_millis(50),
        ..ThrottleConfig::default()
    };
    let store = Arc::new(ThrottledStore::new(Arc::clone(&setting.store), slow));
    let cache = setting.cache(1 << 20);
    let start = |name: &str| {
        let place = Place::new(Arc::clone(&store) as Arc<dyn ObjectStore>, "p/a".into(), "memory");
        Mirror::start(place, Some(name.into()), Arc::clone(&cache), Follow::Once).unwrap()
    };
    let mirrors = ["m", "n"].map(start);
    for mirror in &mirrors {
        wait_until("the model", || mirror.state() == Copied::All);
        assert_eq!(read(mirror, "1/model.onnx").unwrap(), b"0123456789");
    }
    assert_eq!(mirrors.iter().map(Mirror::downloaded).sum::<u64>(), 10);
}

#[test]
fn a_model_that_never_fits_is_not_downloaded_again_and_again() {
    let setting = Setting::new();
    for file in 0..6 {
        setting.put(&format!("p/large/1/{file}"), &[file; 20]);
    }
    let store = Arc::clone(&setting.store) as Arc<dyn ObjectStore>;
    let place = Place::new(store, Key::from("p"), "memory");
    let mirror = Mirror::start(place, None, setting.cache(110), OFTEN).unwrap();
    wait_until("the problem", || mirror.models().get("large").is_some_and(Option::is_some));
    // Each comes with another look.
    for model in ["a", "b", "c"] {
        setting.put(&format!("p/{model}/1/x"), model.as_bytes());
        wait_until("the next look", || read(&mirror, &format!("{model}/1/x")).is_some());
    }
    assert!(mirror.downloaded() <= 6 * 20 + 3, "{} bytes", mirror.downloaded());
}

/// Downloads the object at `p/x` as it is listed by `listed`.
fn download_listed(
    setting: &Setting,
    listed: impl FnOnce(&mut Object),
    prepare: impl FnOnce(&Path),
) -> (Result<String, Failure>, u64) {
    let store = Arc::clone(&setting.store) as Arc<dyn ObjectStore>;
    let place = Place::new(Arc::clone(&store), Key::from("p"), "memory");
    let cache = setting.cache(1 << 20);
    let listing = block_on(list(&place, Some("m"))).unwrap();
    let mut object = listing["m"].as_ref().unwrap()[0].clone();
    listed(&mut object);
    prepare(&cache.partial(&format!("memory\n{}\n{}", object.key, object.state)));
    let progress = Progress::default();
    let result = block_on(download(&store, &cache, ("memory", &object), &progress));
    (result.map(|held| held.digest().to_owned()), progress.downloaded.load(Relaxed))
}

#[test]
fn a_cut_download_goes_on_where_it_was() {
    let setting = Setting::new();
    setting.put("p/x", b"0123456789");
    let (digest, downloaded) =
        download_listed(&setting, |_| {}, |partial| fs::write(partial, b"0123").unwrap());
    assert_eq!((digest.unwrap(), downloaded), (digest::of_text("0123456789"), 6));
    // Nothing is missing: no byte is asked for.
    setting.put("p/x", b"abcdefghij");
    let whole = |partial: &Path| fs::write(partial, b"abcdefghij").unwrap();
    let (digest, downloaded) = download_listed(&setting, |_| {}, whole);
    assert_eq!((digest.unwrap(), downloaded), (digest::of_text("abcdefghij"), 0));
}

#[test]
fn a_changed_object_is_not_taken() {
    let setting = Setting::new();
    setting.put("p/x", b"0123456789");
    let (result, _) = download_listed(
        &setting,
        |_| {},
        |partial| {
            fs::write(partial, b"0123").unwrap();
            setting.put("p/x", b"abcdefghij");
        },
    );
    assert_eq!(result, Err(Failure::Changed));
    let (result, _) = download_listed(&setting, |_| {}, |_| setting.delete("p/x"));
    assert_eq!(result, Err(Failure::Changed));
    setting.put("p/x", b"0123456789");
    let (result, _) = download_listed(&setting, |object| object.size = 9, |_| {});
    assert_eq!(result, Err(Failure::Changed));
    assert!(fs::read_dir(setting.folder.path().join("partial")).unwrap().count() <= 2);
}
