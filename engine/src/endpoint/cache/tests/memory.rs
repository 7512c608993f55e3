//! Tests that each response has its own key, and that all of them take bounded memory.

use super::*;
use crate::endpoint::coalesce::{CoalescingCache, Found};
use crate::tensor::Shape;
use proptest::prelude::*;
use smallvec::smallvec;

/// A request of one input with these bytes.
fn admitted(data: impl Into<Payload>) -> ValidRequest {
    let data = data.into();
    let inputs = smallvec![ValidInput { shape: smallvec![data.len()], data }];
    ValidRequest { inputs, rows: 1, ..ValidRequest::default() }
}

pub(super) fn outputs(data: impl Into<Bytes>) -> Outputs {
    let data = data.into();
    let shape: Shape = smallvec![data.len()];
    smallvec![OutputTensor { name: "y".into(), datatype: DataType::Uint8, shape, data }]
}

fn cache(bytes_max: usize) -> Cache {
    Cache::new(CacheConfig { bytes_max }).unwrap()
}

#[test]
fn requests_of_one_hash_are_told_apart() {
    let coalescing = CoalescingCache::new(CacheConfig { bytes_max: 1 << 20 }).unwrap();
    let cache = coalescing.cache();
    let variant = |data: &[u8], shape: &[usize], wanted: &[usize]| {
        let mut request = admitted(data.to_vec());
        request.inputs[0].shape = shape.into();
        request.outputs = wanted.into();
        request
    };
    let variants = [
        variant(b"ab", &[2], &[]),
        variant(b"ac", &[2], &[]),
        variant(b"ab", &[2, 1], &[]),
        variant(b"ab", &[2], &[0]),
    ];
    let questions =
        || variants.iter().map(|request| CacheKey { hash: 7, request: request.clone() });
    for (number, key) in questions().enumerate() {
        assert!(cache.get(&key).is_none());
        // Only one of them can be in flight at a time; the others do without.
        let found = coalescing.join(key);
        assert_eq!(matches!(found, Found::InFlight(_)), number == 0);
        assert_eq!(matches!(found, Found::Bypass(_)), number > 0);
    }
    assert_eq!(coalescing.in_flight_count(), 1);
    for (number, key) in questions().enumerate() {
        assert!(cache.get(&key).is_none());
        cache.insert(&key, &outputs(vec![number as u8]));
    }
    for (number, key) in questions().enumerate() {
        assert_eq!(*cache.get(&key).unwrap()[0].data, [number as u8]);
    }
}

/// A buffer that knows who keeps it.
struct Buffer(Vec<u8>, #[expect(dead_code, reason = "counted")] Arc<()>);

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[test]
fn what_is_kept_is_no_part_of_a_larger_buffer() {
    let (cache, alive) = (cache(1 << 20), Arc::new(()));
    let whole = || Bytes::from_owner(Buffer(vec![1; 1 << 20], Arc::clone(&alive)));
    let key = CacheKey::new(admitted(whole().slice(..10)), &cache.hasher);
    cache.insert(&key, &outputs(whole().slice(..20)));
    assert_eq!(cache.get(&key).unwrap()[0].data.len(), 20);
    assert_eq!(cache.usage().entries, 1);
    drop(key);
    assert_eq!(Arc::strong_count(&alive), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_memory_of_all_entries_is_bounded(keys in prop::collection::vec(0..400_usize, 1..400)) {
        const BYTES_MAX: usize = 1 << 20;
        let cache = cache(BYTES_MAX);
        for number in keys {
            // Sizes of all kinds, and for each key always the same.
            let (asked, told) = (8 + number * 7919 % 40_000, number * 104_729 % 40_000);
            let mut data = number.to_le_bytes().to_vec();
            data.resize(asked, 0);
            let key = CacheKey::new(admitted(data), &cache.hasher);
            if let Some(kept) = cache.get(&key) {
                prop_assert_eq!(kept[0].data.len(), told);
            }
            cache.insert(&key, &outputs(vec![0; told]));
            let CacheUsage { entries, bytes } = cache.usage();
            prop_assert!(bytes <= BYTES_MAX as u64);
            prop_assert!(bytes >= (entries * size_of::<CacheEntry>()) as u64);
            let fits = |bytes| asked + told + bytes <= BYTES_MAX / ENTRY_SHARE;
            match cache.get(&key).is_some() {
                true => prop_assert!(fits(size_of::<CacheEntry>())),
                false => prop_assert!(!fits(2 * size_of::<CacheEntry>())),
            }
        }
    }
}

#[test]
fn a_full_cache_keeps_what_is_asked_for_often() {
    let cache = cache(1 << 20);
    let key = |key: u32| CacheKey::new(admitted(key.to_le_bytes().to_vec()), &cache.hasher);
    cache.insert(&key(0), &outputs(vec![0; 1000]));
    for number in 1..10_000 {
        assert!(cache.get(&key(0)).is_some(), "evicted by {number}");
        cache.insert(&key(number), &outputs(vec![1; 1000]));
    }
    let CacheUsage { entries, bytes } = cache.usage();
    assert!((300..1000).contains(&entries) && bytes > 900_000, "{entries} in {bytes}");
}
