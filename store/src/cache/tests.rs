//! Tests of the cache.

use super::*;

static GOES_ON: AtomicBool = AtomicBool::new(false);
static STOPS: AtomicBool = AtomicBool::new(true);

fn put(cache: &Arc<Cache>, state: &str, bytes: &[u8]) -> Result<String, String> {
    put_held(cache, state, bytes).map(|held| held.digest().to_owned())
}

fn put_held(cache: &Arc<Cache>, state: &str, bytes: &[u8]) -> Result<Held, String> {
    let _room = cache.reserve(state, bytes.len() as u64)?;
    fs::write(cache.partial(state), bytes).unwrap();
    let digest = digest::of_file(&cache.partial(state), &GOES_ON).unwrap();
    Ok(cache.adopt(state, &digest, &GOES_ON).unwrap())
}

fn known(cache: &Arc<Cache>, state: &str) -> Option<String> {
    cache.known(state, &GOES_ON).map(|held| held.digest().to_owned())
}

#[test]
fn what_is_not_in_use_makes_room() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path(), 100).unwrap();
    let used = put(&cache, "used", &[1; 40]).unwrap();
    fs::hard_link(cache.content(&used), cache.copies().join("x")).unwrap();
    put(&cache, "unused", &[2; 40]).unwrap();
    put(&cache, "next", &[3; 50]).unwrap();
    assert_eq!((known(&cache, "used"), known(&cache, "unused")), (Some(used), None));
    assert!(known(&cache, "next").is_some() && cache.bytes() == 90);
    let error = put(&cache, "large", &[4; 70]).unwrap_err();
    assert!(error.contains("70 bytes more do not fit") && error.contains("40 are in use"));
    assert_eq!(cache.bytes(), 40);
}

#[test]
fn downloads_at_the_same_time_share_the_room() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path(), 100).unwrap();
    let first = cache.reserve("first", 60).unwrap();
    assert!(cache.reserve("second", 60).is_err());
    drop(first);
    assert!(cache.reserve("second", 60).is_ok());
}

#[test]
fn a_content_that_changed_on_disk_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path(), 100).unwrap();
    let digest = put(&cache, "a", b"abc").unwrap();
    assert_eq!(known(&cache, "a"), Some(digest.clone()));
    assert!(Cache::open(folder.path(), 100).is_err(), "one process at a time");
    drop(cache);
    fs::write(folder.path().join("contents").join(&digest), b"abd").unwrap();
    let cache = Cache::open(folder.path(), 100).unwrap();
    assert_eq!(known(&cache, "a"), None);
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn what_is_held_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path(), 100).unwrap();
    let first = put_held(&cache, "first", &[1; 60]).unwrap();
    let again = cache.known("first", &GOES_ON).unwrap();
    let error = put(&cache, "second", &[2; 50]).unwrap_err();
    assert!(error.contains("60 are in use"), "{error}");
    drop(first);
    assert!(put(&cache, "second", &[2; 50]).is_err(), "one of two holders is left");
    drop(again);
    put(&cache, "second", &[2; 50]).unwrap();
    assert_eq!(known(&cache, "first"), None);
}

#[test]
fn a_stop_ends_the_reading_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path(), 100).unwrap();
    let digest = put(&cache, "a", b"abc").unwrap();
    drop(cache);
    let cache = Cache::open(folder.path(), 100).unwrap();
    assert!(cache.known("a", &STOPS).is_none());
    assert_eq!(known(&cache, "a"), Some(digest));
}
