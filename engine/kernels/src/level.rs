//! Instruction levels of the kernels.

use std::fmt;
use std::sync::LazyLock;

/// A set of instructions with kernels. Later ones are faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Plain Rust, as compiled for the target.
    Portable,
    /// AVX2 and FMA: eight numbers at once.
    Avx2,
    /// AVX-512 F: sixteen numbers at once, and look-ups in two registers.
    Avx512,
    /// AVX-512 VNNI beside that: exact sums of four products of bytes at once.
    Vnni,
}

/// Environment variable that names the highest level to be used, for tests on faster processors. An
/// unknown name has no effect.
pub const LEVEL_VARIABLE: &str = "SKYSAIL_LEVEL";

impl Level {
    /// All levels, the slowest first.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Vnni];

    /// Fastest available level.
    pub fn best() -> Self {
        static BEST: LazyLock<Level> = LazyLock::new(|| {
            let available = Level::ALL.into_iter().rev().find(|level| level.is_available());
            available.unwrap_or(Level::Portable)
        });
        *BEST
    }

    /// True if this processor has the level, and [`LEVEL_VARIABLE`] allows it.
    pub fn is_available(self) -> bool {
        static LAST: LazyLock<Level> = LazyLock::new(|| {
            let name = std::env::var(LEVEL_VARIABLE).unwrap_or_default();
            let named = Level::ALL.into_iter().find(|level| level.name() == name);
            named.unwrap_or(Level::Vnni)
        });
        self <= *LAST && self.is_present()
    }

    /// True if this processor has the level.
    fn is_present(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return match self {
            Self::Portable => true,
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Avx512 => is_x86_feature_detected!("avx512f") && Self::Avx2.is_present(),
            Self::Vnni => {
                let bytes = is_x86_feature_detected!("avx512bw");
                bytes && is_x86_feature_detected!("avx512vnni") && Self::Avx512.is_present()
            }
        };
        #[cfg(not(target_arch = "x86_64"))]
        return self == Self::Portable;
    }

    /// Name of the level.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Vnni => "vnni",
        }
    }

    /// Returns this level, or the best if it is not available. Kernels rely on this: the level in a
    /// format is one of the processor.
    pub(crate) fn or_best(self) -> Self {
        if self.is_available() { self } else { Self::best() }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Defines a function of a level from one body, compiled for the instructions of each level.
macro_rules! at_level {
    (
        $(#[$doc:meta])*
        $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block
    ) => {
        $(#[$doc])*
        $visibility fn $name(level: $crate::Level, $($argument: $type),*) {
            #[inline(always)]
            fn body($($argument: $type),*) $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            fn avx512($($argument: $type),*) { body($($argument),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($argument: $type),*) { body($($argument),*) }
            match level {
                // SAFETY: a level is made only after the processor was checked.
                #[cfg(target_arch = "x86_64")]
                $crate::Level::Avx512 | $crate::Level::Vnni => unsafe { avx512($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::Level::Avx2 => unsafe { avx2($($argument),*) },
                _ => body($($argument),*),
            }
        }
    };
}
pub(crate) use at_level;
