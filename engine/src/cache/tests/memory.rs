//! What is kept: each answer under its own question, and all of them in bounded memory.

use super::*;
use crate::cache::flight::Found;
use crate::tensor::Shape;
use proptest::prelude::*;
use smallvec::smallvec;

/// A request of one input with these bytes.
fn admitted(data: impl Into<Payload>) -> Admitted {
    let data = data.into();
    let inputs = smallvec![AdmittedInput { shape: smallvec![data.len()], data }];
    Admitted { inputs, rows: 1, ..Admitted::default() }
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
    let cache = cache(1 << 20);
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
        || variants.iter().map(|request| Question { hash: 7, request: request.clone() });
    for (number, question) in questions().enumerate() {
        assert!(cache.get(&question).is_none());
        // Only one of them can be in flight at a time; the others do without.
        let found = cache.board(question);
        assert_eq!(matches!(found, Found::Flight(_)), number == 0);
        assert_eq!(matches!(found, Found::Nothing(_)), number > 0);
    }
    assert_eq!(cache.flights(), 1);
    for (number, question) in questions().enumerate() {
        assert!(cache.get(&question).is_none());
        cache.keep(&question, &outputs(vec![number as u8]));
    }
    for (number, question) in questions().enumerate() {
        assert_eq!(*cache.get(&question).unwrap()[0].data, [number as u8]);
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
    let question = Question::new(admitted(whole().slice(..10)), &cache.hasher);
    cache.keep(&question, &outputs(whole().slice(..20)));
    assert_eq!(cache.get(&question).unwrap()[0].data.len(), 20);
    assert_eq!(cache.in_use().entries, 1);
    drop(question);
    assert_eq!(Arc::strong_count(&alive), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_memory_of_all_entries_is_bounded(keys in prop::collection::vec(0..400_usize, 1..400)) {
        const BYTES_MAX: usize = 1 << 20;
        let cache = cache(BYTES_MAX);
        for key in keys {
            // Sizes of all kinds, and for each question always the same.
            let (asked, told) = (8 + key * 7919 % 40_000, key * 104_729 % 40_000);
            let mut data = key.to_le_bytes().to_vec();
            data.resize(asked, 0);
            let question = Question::new(admitted(data), &cache.hasher);
            if let Some(kept) = cache.get(&question) {
                prop_assert_eq!(kept[0].data.len(), told);
            }
            cache.keep(&question, &outputs(vec![0; told]));
            let CacheUse { entries, bytes } = cache.in_use();
            prop_assert!(bytes <= BYTES_MAX as u64);
            prop_assert!(bytes >= (entries * size_of::<Kept>()) as u64);
            let fits = |bytes| asked + told + bytes <= BYTES_MAX / LARGEST_SHARE;
            match cache.get(&question).is_some() {
                true => prop_assert!(fits(size_of::<Kept>())),
                false => prop_assert!(!fits(2 * size_of::<Kept>())),
            }
        }
    }
}

#[test]
fn a_full_cache_keeps_what_is_asked_for_often() {
    let cache = cache(1 << 20);
    let question = |key: u32| Question::new(admitted(key.to_le_bytes().to_vec()), &cache.hasher);
    cache.keep(&question(0), &outputs(vec![0; 1000]));
    for key in 1..10_000 {
        assert!(cache.get(&question(0)).is_some(), "pushed out by {key}");
        cache.keep(&question(key), &outputs(vec![1; 1000]));
    }
    let CacheUse { entries, bytes } = cache.in_use();
    assert!((300..1000).contains(&entries) && bytes > 900_000, "{entries} in {bytes}");
}
