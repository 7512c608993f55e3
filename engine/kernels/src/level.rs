//! Which instructions the kernels use.

use std::fmt;
use std::sync::LazyLock;

/// A set of instructions that there are kernels for. Later ones are faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Whatever the compiler makes of plain Rust.
    Portable,
    /// AVX2 and FMA: eight numbers at once.
    Avx2,
    /// AVX-512 F: sixteen numbers at once, and look-ups in two registers.
    Avx512,
    /// AVX-512 VNNI beside that: sums of four products of bytes at once, exact.
    Vnni,
}

/// The environment variable that names the last level to be used, as tests on a faster processor
/// do. What is no level's name counts as if it were not set.
pub const LEVEL_VARIABLE: &str = "SKYSAIL_LEVEL";

impl Level {
    /// All of them, the slowest first.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Vnni];

    /// The fastest that may be used.
    pub fn best() -> Self {
        static BEST: LazyLock<Level> = LazyLock::new(|| {
            let available = Level::ALL.into_iter().rev().find(|level| level.is_available());
            available.unwrap_or(Level::Portable)
        });
        *BEST
    }

    /// Whether this processor has it, and [`LEVEL_VARIABLE`] names it or a later one, if any.
    pub fn is_available(self) -> bool {
        static LAST: LazyLock<Level> = LazyLock::new(|| {
            let name = std::env::var(LEVEL_VARIABLE).unwrap_or_default();
            let named = Level::ALL.into_iter().find(|level| level.name() == name);
            named.unwrap_or(Level::Vnni)
        });
        self <= *LAST && self.is_present()
    }

    /// Whether this processor has it.
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

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Vnni => "vnni",
        }
    }

    /// This level, or the best there is where the processor lacks it. Kernels rely on that: a
    /// level in a format is one that the processor has.
    pub(crate) fn or_best(self) -> Self {
        if self.is_available() { self } else { Self::best() }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Makes a function of a level from one body, which the compiler turns into the instructions of
/// each level.
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
                // SAFETY: whoever holds a level has seen that the processor has it.
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
