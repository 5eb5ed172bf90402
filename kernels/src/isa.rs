//! Instruction sets: which versions of a kernel exist, which one this machine runs, and the macros
//! that compile one kernel body for all of them.
//!
//! A kernel body is an `#[inline(always)]` generic function `body::<ISA>`. [`dispatch!`] wraps it
//! once per [`Level`], each wrapper with that level's target features, so LLVM vectorizes the same
//! source three times. Which wrapper runs is decided once, when the address is looked up
//! (`NAME::best()`, which the symbol table calls): generated code calls the chosen one directly.
//!
//! Invariant: all levels of a kernel return the same bits. Floating-point bodies therefore never
//! contract `a * b + c`; the one use of FMA is the error-free product, whose result is exact either
//! way (see `vecmath::dd`).

use std::sync::atomic::{AtomicU8, Ordering};

/// [`Level::Base`] as the const argument of a kernel body.
pub const BASE: u8 = 0;
/// [`Level::V3`] as the const argument of a kernel body.
pub const V3: u8 = 1;
/// [`Level::V4`] as the const argument of a kernel body.
pub const V4: u8 = 2;

/// A set of CPU features that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// What the target guarantees: SSE2 on x86-64.
    Base = BASE,
    /// AVX2, FMA, BMI1/2, LZCNT, POPCNT (Haswell, Zen and later).
    V3 = V3,
    /// AVX-512 F/BW/CD/DQ/VL with VBMI and VBMI2 (Ice Lake, Zen 4 and later).
    V4 = V4,
}

impl Level {
    /// All levels, lowest first.
    pub const ALL: [Level; 3] = [Level::Base, Level::V3, Level::V4];

    /// Whether this machine can run code of this level.
    pub fn is_available(self) -> bool {
        self <= level()
    }
}

const UNKNOWN: u8 = u8::MAX;
static LEVEL: AtomicU8 = AtomicU8::new(UNKNOWN);

/// The highest level that this machine runs. Detected at the first call.
#[inline]
pub fn level() -> Level {
    match LEVEL.load(Ordering::Relaxed) {
        BASE => Level::Base,
        V3 => Level::V3,
        V4 => Level::V4,
        _undetected => {
            let found = detect();
            LEVEL.store(found as u8, Ordering::Relaxed);
            found
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    let v3 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt");
    let v4 = v3
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512cd")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vbmi2");
    match (v4, v3) {
        (true, _) => Level::V4,
        (false, true) => Level::V3,
        (false, false) => Level::Base,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Level {
    Level::Base
}

/// Defines kernels from generic bodies, one version per [`Level`].
///
/// `pub fn NAME = BODY(args) -> ret;` gives the function `NAME`, which looks the best version up at
/// each call (for Rust callers: interpreter, tests), and the module `NAME` with `best()`, the
/// address for the symbol table, and `at(level)`, for tests that compare levels.
macro_rules! dispatch {
    ($( $(#[$doc:meta])* pub fn $name:ident = $body:ident (
        $($arg:ident : $ty:ty),* $(,)?
    ) $(-> $ret:ty)? ; )*) => { $(
        $(#[$doc])*
        ///
        /// # Safety
        /// Every pointer is valid for the rows and the padding that the crate header states.
        pub unsafe extern "C" fn $name($($arg: $ty),*) $(-> $ret)? {
            // SAFETY: the caller's promise is passed on; `best()` only picks versions that run here.
            unsafe { ($name::best())($($arg),*) }
        }

        #[doc = concat!("Versions of [`", stringify!($name), "()`].")]
        pub mod $name {
            #[allow(unused_imports)] // Argument types may all be primitive.
            use super::*;

            /// The kernel's type.
            pub type Kernel = unsafe extern "C" fn($($ty),*) $(-> $ret)?;

            unsafe extern "C" fn base($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller's promise is passed on.
                unsafe { $body::<{ $crate::isa::BASE }>($($arg),*) }
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
            unsafe extern "C" fn v3($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller's promise is passed on.
                unsafe { $body::<{ $crate::isa::V3 }>($($arg),*) }
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(
                enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vbmi2"
            )]
            unsafe extern "C" fn v4($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller's promise is passed on.
                unsafe { $body::<{ $crate::isa::V4 }>($($arg),*) }
            }

            /// The version for one level; call it only where that level is available.
            pub fn at(level: $crate::isa::Level) -> Kernel {
                match level {
                    $crate::isa::Level::Base => base,
                    #[cfg(target_arch = "x86_64")]
                    $crate::isa::Level::V3 => v3,
                    #[cfg(target_arch = "x86_64")]
                    $crate::isa::Level::V4 => v4,
                    #[cfg(not(target_arch = "x86_64"))]
                    $crate::isa::Level::V3 | $crate::isa::Level::V4 => base,
                }
            }

            /// The fastest version that this machine runs.
            #[inline]
            pub fn best() -> Kernel {
                at($crate::isa::level())
            }
        }
    )* };
}

/// Defines kernels for which one version is enough; same shape as [`dispatch!`].
macro_rules! plain {
    ($( $(#[$doc:meta])* pub fn $name:ident = $body:ident (
        $($arg:ident : $ty:ty),* $(,)?
    ) $(-> $ret:ty)? ; )*) => { $(
        $(#[$doc])*
        ///
        /// # Safety
        /// Every pointer is valid for the rows and the padding that the crate header states.
        pub unsafe extern "C" fn $name($($arg: $ty),*) $(-> $ret)? {
            // SAFETY: the caller's promise is passed on.
            unsafe { $body($($arg),*) }
        }

        #[doc = concat!("The address of [`", stringify!($name), "()`].")]
        pub mod $name {
            #[allow(unused_imports)] // Argument types may all be primitive.
            use super::*;

            /// The kernel's type.
            pub type Kernel = unsafe extern "C" fn($($ty),*) $(-> $ret)?;

            /// The kernel itself.
            #[inline]
            pub fn best() -> Kernel {
                super::$name
            }
        }
    )* };
}

pub(crate) use {dispatch, plain};
