//! System shared memory: regions that clients on this machine register, for tensors that are not
//! sent.
//!
//! Tensors are copied between a region and the server by `pread` and `pwrite`, and never mapped: a
//! client may change, shorten or delete its memory at any time.

use crate::status::Error;
use parking_lot::RwLock;
use place::Place;
pub(crate) use place::{PlaceParameters, Places};
use region::Region;
use std::collections::BTreeMap;
use std::sync::Arc;
use windows::Window;
pub(crate) use windows::Windows;

mod overlap;
mod place;
mod region;
mod windows;

/// Most regions that are registered at once. Each holds an open file.
const REGIONS_MAX: usize = 1024;

/// Bytes of the longest name of a region.
const NAME_BYTES_MAX: usize = 1024;

/// The registered regions.
#[derive(Default)]
pub(crate) struct SharedMemory {
    /// Prefixes of the keys that may be registered, without a slash. Without any, all is off.
    prefixes: Vec<String>,
    regions: RwLock<BTreeMap<String, Arc<Region>>>,
}

/// Description of a registered region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegionStatus {
    pub(crate) name: String,
    /// Key of the memory, as the client gave it.
    pub(crate) key: String,
    /// Start of the region in the memory, in bytes.
    pub(crate) offset: u64,
    /// Size of the region in bytes.
    pub(crate) byte_size: u64,
}

impl SharedMemory {
    /// Shared memory for keys with one of these prefixes.
    pub(crate) fn new(prefixes: &[String]) -> Self {
        let prefixes = prefixes.iter().map(|prefix| without_slash(prefix).to_owned()).collect();
        Self { prefixes, regions: RwLock::default() }
    }

    /// True if clients may register regions.
    pub(crate) fn is_on(&self) -> bool {
        !self.prefixes.is_empty()
    }

    /// Registers a part of the memory of a key.
    ///
    /// # Errors
    /// When it is off, the name is taken, or there is no such memory that clients may use.
    pub(crate) fn register(&self, wanted: RegionStatus) -> Result<(), Error> {
        self.check_on()?;
        let RegionStatus { name, key, .. } = &wanted;
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Error::malformed(format!(
                "the name of a shared memory region has 1 to {NAME_BYTES_MAX} bytes"
            )));
        }
        if !self.prefixes.iter().any(|prefix| without_slash(key).starts_with(&**prefix)) {
            return Err(Error::malformed(format!(
                "key '{}' has none of the prefixes that this server allows by its flag \
                 --shared-memory",
                key.escape_debug()
            )));
        }
        // Opened before the lock is taken, and dropped if the name is taken.
        let name = name.clone();
        let region = Arc::new(Region::open(wanted)?);
        let mut regions = self.regions.write();
        if regions.contains_key(&name) {
            return Err(Error::RegionExists(name.escape_debug().to_string()));
        }
        if regions.len() >= REGIONS_MAX {
            return Err(Error::Busy { what: format!("{REGIONS_MAX} shared memory regions") });
        }
        regions.insert(name, region);
        Ok(())
    }

    /// Forgets a region, or all if there is no name. Requests that use it keep it until they end.
    pub(crate) fn unregister(&self, name: Option<&str>) {
        let mut regions = self.regions.write();
        match name {
            Some(name) => drop(regions.remove(name)),
            None => regions.clear(),
        }
    }

    /// Describes a region, or all if there is no name, in the order of names.
    ///
    /// # Errors
    /// When there is no such region.
    pub(crate) fn status(&self, name: Option<&str>) -> Result<Vec<RegionStatus>, Error> {
        let Some(name) = name else {
            return Ok(self.regions.read().values().map(|region| region.status.clone()).collect());
        };
        Ok(vec![self.region(name)?.status.clone()])
    }

    /// The part of a region that a request names.
    fn window(&self, place: &Place) -> Result<Window, Error> {
        self.check_on()?;
        let region = self.region(&place.region)?;
        let end = place.offset.checked_add(place.byte_size);
        if end.is_none_or(|end| end > region.status.byte_size) {
            return Err(Error::malformed(format!(
                "shared_memory_offset {} and shared_memory_byte_size {} go beyond the region '{}', \
                 which has {} bytes",
                place.offset,
                place.byte_size,
                place.region.escape_debug(),
                region.status.byte_size
            )));
        }
        Ok(Window { region, offset: place.offset, byte_size: place.byte_size })
    }

    fn region(&self, name: &str) -> Result<Arc<Region>, Error> {
        let found = self.regions.read().get(name).map(Arc::clone);
        found.ok_or_else(|| Error::NoSuchRegion(name.escape_debug().to_string()))
    }

    fn check_on(&self) -> Result<(), Error> {
        match self.is_on() {
            true => Ok(()),
            false => Err(Error::Unsupported(
                "shared memory is off: the server's flag --shared-memory names a prefix of the \
                 keys that clients may register"
                    .into(),
            )),
        }
    }
}

/// A key or a prefix without the slash that it may begin with.
fn without_slash(key: &str) -> &str {
    key.strip_prefix('/').unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory of a key that only one test uses.
    struct Memory(String);

    impl Memory {
        fn new(name: &str, bytes: usize) -> Self {
            let name = format!("skysail_unit_{}_{name}", std::process::id());
            std::fs::write(format!("/dev/shm/{name}"), vec![7; bytes]).unwrap();
            Self(name)
        }

        fn region(&self, name: &str, offset: u64, byte_size: u64) -> RegionStatus {
            RegionStatus { name: name.into(), key: format!("/{}", self.0), offset, byte_size }
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            drop(std::fs::remove_file(format!("/dev/shm/{}", self.0)));
        }
    }

    fn on() -> SharedMemory {
        SharedMemory::new(&["/skysail_unit_".into()])
    }

    fn place(region: &str, offset: u64, byte_size: u64) -> Place {
        Place { region: region.into(), offset, byte_size }
    }

    #[test]
    fn a_region_is_registered_once_and_described_until_it_is_forgotten() {
        let (memory, shared) = (Memory::new("once", 64), on());
        shared.register(memory.region("b", 0, 64)).unwrap();
        shared.register(memory.region("a", 8, 16)).unwrap();
        assert!(matches!(shared.register(memory.region("a", 0, 8)), Err(Error::RegionExists(_))));
        let all = [memory.region("a", 8, 16), memory.region("b", 0, 64)];
        assert_eq!(shared.status(None).unwrap(), all);
        assert_eq!(shared.status(Some("b")).unwrap(), all[1..]);
        let in_use = shared.window(&place("a", 4, 12)).unwrap();
        shared.unregister(Some("a"));
        shared.unregister(Some("a"));
        assert!(matches!(shared.status(Some("a")), Err(Error::NoSuchRegion(_))));
        assert_eq!(in_use.read().unwrap(), [7; 12]);
        shared.unregister(None);
        assert_eq!(shared.status(None).unwrap(), []);
    }

    #[test]
    fn without_a_prefix_it_is_off() {
        let (memory, shared) = (Memory::new("off", 8), SharedMemory::default());
        for error in [
            shared.register(memory.region("a", 0, 8)).err(),
            shared.window(&place("a", 0, 8)).err(),
        ] {
            assert!(matches!(error, Some(Error::Unsupported(_))), "{error:?}");
        }
        shared.unregister(Some("a"));
        assert_eq!(shared.status(None).unwrap(), []);
    }

    #[test]
    fn only_memory_of_the_allowed_prefix_is_opened() {
        let (memory, shared) = (Memory::new("prefix", 64), on());
        let register = |key: &str, offset, byte_size| {
            let region = RegionStatus { name: "r".into(), key: key.into(), offset, byte_size };
            shared.register(region).unwrap_err().to_string()
        };
        let key = format!("/{}", memory.0);
        let link = format!("{}_link", memory.0);
        std::os::unix::fs::symlink("/etc/hostname", format!("/dev/shm/{link}")).unwrap();
        let _link = Memory(link.clone());
        for (key, offset, byte_size, words) in [
            ("/other", 0, 1, "none of the prefixes"),
            ("/skysail_unit_none", 0, 1, "no shared memory with key"),
            ("/skysail_unit_/../../etc/hostname", 0, 1, "no shared memory with key"),
            ("/skysail_unit_\0", 0, 1, "no shared memory with key"),
            (&link, 0, 1, "no shared memory with key"),
            (&key, 0, 0, "byte_size must be at least 1"),
            (&key, 0, 65, "has 64 bytes"),
            (&key, 64, 1, "has 64 bytes"),
            (&key, u64::MAX, 2, "has 64 bytes"),
            (&key, 2, u64::MAX, "has 64 bytes"),
        ] {
            let error = register(key, offset, byte_size);
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("/dev"), "{error}");
        }
        let everything = SharedMemory::new(&["/".into()]);
        everything.register(memory.region("r", 0, 64)).unwrap();
    }

    #[test]
    fn a_window_lies_in_its_region() {
        let (memory, shared) = (Memory::new("window", 64), on());
        shared.register(memory.region("r", 8, 32)).unwrap();
        for (offset, byte_size) in [(0, 32), (32, 0), (31, 1)] {
            assert!(shared.window(&place("r", offset, byte_size)).is_ok());
        }
        for (offset, byte_size) in [(0, 33), (33, 0), (u64::MAX, 1), (1, u64::MAX)] {
            let error = shared.window(&place("r", offset, byte_size)).unwrap_err().to_string();
            assert!(error.contains("beyond the region 'r', which has 32 bytes"), "{error}");
        }
        assert!(matches!(shared.window(&place("s", 0, 1)), Err(Error::NoSuchRegion(_))));
    }

    #[test]
    fn memory_that_was_made_smaller_is_an_error() {
        let (memory, shared) = (Memory::new("smaller", 64), on());
        shared.register(memory.region("r", 0, 64)).unwrap();
        let window = shared.window(&place("r", 0, 64)).unwrap();
        window.write(&[1; 64]).unwrap();
        std::fs::write(format!("/dev/shm/{}", memory.0), [2; 32]).unwrap();
        for error in [window.read().unwrap_err(), window.write(&[3; 64]).unwrap_err()] {
            assert!(error.to_string().contains("was made smaller"), "{error}");
        }
        assert_eq!(std::fs::read(format!("/dev/shm/{}", memory.0)).unwrap(), [2; 32]);
        assert_eq!(shared.window(&place("r", 16, 16)).unwrap().read().unwrap(), [2; 16]);
    }

    #[test]
    fn regions_are_limited() {
        let (memory, shared) = (Memory::new("many", 8), on());
        for number in 0..REGIONS_MAX {
            shared.register(memory.region(&number.to_string(), 0, 8)).unwrap();
        }
        assert!(matches!(shared.register(memory.region("r", 0, 8)), Err(Error::Busy { .. })));
        let long = "r".repeat(NAME_BYTES_MAX + 1);
        for name in ["", &long] {
            let error = shared.register(memory.region(name, 0, 8)).unwrap_err().to_string();
            assert!(error.contains("1 to 1024 bytes"), "{error}");
        }
    }
}
