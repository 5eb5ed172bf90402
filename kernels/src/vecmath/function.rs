//! The functions by name, with safe slice entries: what the interpreter calls, and what maps an IR
//! operation to a kernel's symbol.

use super::*;

/// Which of the two implementations of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// libm.
    Exact,
    /// Vectorized, within 1 ulp of libm.
    Fast,
}

impl Flavor {
    /// Both.
    pub const ALL: [Flavor; 2] = [Flavor::Exact, Flavor::Fast];

    fn name(self) -> &'static str {
        match self {
            Flavor::Exact => "exact",
            Flavor::Fast => "fast",
        }
    }
}

/// A kernel of one f64 argument.
pub type Unary64 = unsafe extern "C" fn(usize, *const f64, *mut f64);
/// A kernel of one f32 argument.
pub type Unary32 = unsafe extern "C" fn(usize, *const f32, *mut f32);
/// A kernel of two f64 arguments.
pub type Binary64 = unsafe extern "C" fn(usize, *const f64, *const f64, *mut f64);
/// A kernel of two f32 arguments.
pub type Binary32 = unsafe extern "C" fn(usize, *const f32, *const f32, *mut f32);

macro_rules! functions {
    ($(#[$doc:meta])* $type:ident $kernel64:ident $kernel32:ident {
        $($variant:ident $name:literal
            $exact64:ident $fast64:ident $exact32:ident $fast32:ident;)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &'static [$type] = &[$($type::$variant),*];

            /// The name inside symbols: `rt_NAME_f64_fast`.
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)*
                }
            }

            /// The symbol of the f64 (`narrow`: f32) kernel.
            pub fn symbol(self, narrow: bool, flavor: Flavor) -> String {
                let ty = if narrow { "f32" } else { "f64" };
                format!("rt_{}_{ty}_{}", self.name(), flavor.name())
            }

            /// The f64 kernel for this machine.
            pub fn kernel_f64(self, flavor: Flavor) -> $kernel64 {
                match (self, flavor) {
                    $(
                        ($type::$variant, Flavor::Exact) => $exact64::best(),
                        ($type::$variant, Flavor::Fast) => $fast64::best(),
                    )*
                }
            }

            /// The f32 kernel for this machine.
            pub fn kernel_f32(self, flavor: Flavor) -> $kernel32 {
                match (self, flavor) {
                    $(
                        ($type::$variant, Flavor::Exact) => $exact32::best(),
                        ($type::$variant, Flavor::Fast) => $fast32::best(),
                    )*
                }
            }
        }
    };
}

functions! {
    /// A function of one float.
    Function Unary64 Unary32 {
        Sin "sin" rt_sin_f64_exact rt_sin_f64_fast rt_sin_f32_exact rt_sin_f32_fast;
        Cos "cos" rt_cos_f64_exact rt_cos_f64_fast rt_cos_f32_exact rt_cos_f32_fast;
        Tan "tan" rt_tan_f64_exact rt_tan_f64_fast rt_tan_f32_exact rt_tan_f32_fast;
        Asin "asin" rt_asin_f64_exact rt_asin_f64_fast rt_asin_f32_exact rt_asin_f32_fast;
        Acos "acos" rt_acos_f64_exact rt_acos_f64_fast rt_acos_f32_exact rt_acos_f32_fast;
        Atan "atan" rt_atan_f64_exact rt_atan_f64_fast rt_atan_f32_exact rt_atan_f32_fast;
        Sinh "sinh" rt_sinh_f64_exact rt_sinh_f64_fast rt_sinh_f32_exact rt_sinh_f32_fast;
        Cosh "cosh" rt_cosh_f64_exact rt_cosh_f64_fast rt_cosh_f32_exact rt_cosh_f32_fast;
        Tanh "tanh" rt_tanh_f64_exact rt_tanh_f64_fast rt_tanh_f32_exact rt_tanh_f32_fast;
        Asinh "asinh" rt_asinh_f64_exact rt_asinh_f64_fast rt_asinh_f32_exact rt_asinh_f32_fast;
        Acosh "acosh" rt_acosh_f64_exact rt_acosh_f64_fast rt_acosh_f32_exact rt_acosh_f32_fast;
        Atanh "atanh" rt_atanh_f64_exact rt_atanh_f64_fast rt_atanh_f32_exact rt_atanh_f32_fast;
        Exp "exp" rt_exp_f64_exact rt_exp_f64_fast rt_exp_f32_exact rt_exp_f32_fast;
        Expm1 "exp_m1" rt_exp_m1_f64_exact rt_exp_m1_f64_fast rt_exp_m1_f32_exact rt_exp_m1_f32_fast;
        Ln "ln" rt_ln_f64_exact rt_ln_f64_fast rt_ln_f32_exact rt_ln_f32_fast;
        Ln1p "ln_1p" rt_ln_1p_f64_exact rt_ln_1p_f64_fast rt_ln_1p_f32_exact rt_ln_1p_f32_fast;
        Log2 "log2" rt_log2_f64_exact rt_log2_f64_fast rt_log2_f32_exact rt_log2_f32_fast;
        Log10 "log10" rt_log10_f64_exact rt_log10_f64_fast rt_log10_f32_exact rt_log10_f32_fast;
        Cbrt "cbrt" rt_cbrt_f64_exact rt_cbrt_f64_fast rt_cbrt_f32_exact rt_cbrt_f32_fast;
    }
}

functions! {
    /// A function of two floats.
    Function2 Binary64 Binary32 {
        Pow "pow" rt_pow_f64_exact rt_pow_f64_fast rt_pow_f32_exact rt_pow_f32_fast;
        Atan2 "atan2" rt_atan2_f64_exact rt_atan2_f64_fast rt_atan2_f32_exact rt_atan2_f32_fast;
    }
}

/// Rows that a kernel takes straight from a slice: it may touch up to the next multiple of this.
const BLOCK: usize = 8;

/// Runs `kernel` over a slice without padding: whole blocks in place, the rest through an array.
fn run1<T: Copy + Default>(kernel: unsafe extern "C" fn(usize, *const T, *mut T), x: &[T], out: &mut [T]) {
    assert_eq!(x.len(), out.len());
    let whole = x.len() / BLOCK * BLOCK;
    let mut rest = ([T::default(); BLOCK], [T::default(); BLOCK]);
    rest.0[..x.len() - whole].copy_from_slice(&x[whole..]);
    // SAFETY: both slices hold `whole` rows, a multiple of 8; the arrays hold 8 rows.
    unsafe {
        kernel(whole, x.as_ptr(), out.as_mut_ptr());
        kernel(x.len() - whole, rest.0.as_ptr(), rest.1.as_mut_ptr());
    }
    out[whole..].copy_from_slice(&rest.1[..x.len() - whole]);
}

/// As [`run1`], two arguments.
fn run2<T: Copy + Default>(
    kernel: unsafe extern "C" fn(usize, *const T, *const T, *mut T),
    x: &[T],
    y: &[T],
    out: &mut [T],
) {
    assert!(x.len() == out.len() && y.len() == out.len());
    let whole = x.len() / BLOCK * BLOCK;
    let left = x.len() - whole;
    let mut rest = ([T::default(); BLOCK], [T::default(); BLOCK], [T::default(); BLOCK]);
    rest.0[..left].copy_from_slice(&x[whole..]);
    rest.1[..left].copy_from_slice(&y[whole..]);
    // SAFETY: all slices hold `whole` rows, a multiple of 8; the arrays hold 8 rows.
    unsafe {
        kernel(whole, x.as_ptr(), y.as_ptr(), out.as_mut_ptr());
        kernel(left, rest.0.as_ptr(), rest.1.as_ptr(), rest.2.as_mut_ptr());
    }
    out[whole..].copy_from_slice(&rest.2[..left]);
}

impl Function {
    /// `out = f(x)`; panics if the lengths differ.
    pub fn run_f64(self, flavor: Flavor, x: &[f64], out: &mut [f64]) {
        run1(self.kernel_f64(flavor), x, out);
    }

    /// `out = f(x)`; panics if the lengths differ.
    pub fn run_f32(self, flavor: Flavor, x: &[f32], out: &mut [f32]) {
        run1(self.kernel_f32(flavor), x, out);
    }
}

impl Function2 {
    /// `out = f(x, y)`; panics if the lengths differ.
    pub fn run_f64(self, flavor: Flavor, x: &[f64], y: &[f64], out: &mut [f64]) {
        run2(self.kernel_f64(flavor), x, y, out);
    }

    /// `out = f(x, y)`; panics if the lengths differ.
    pub fn run_f32(self, flavor: Flavor, x: &[f32], y: &[f32], out: &mut [f32]) {
        run2(self.kernel_f32(flavor), x, y, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::lookup;

    /// Function addresses are not unique, so what the symbol does is compared.
    #[test]
    fn every_function_has_its_symbols() {
        let x: [f64; 8] = [0.5, 1.0, 1.5, 0.25, 2.0, 3.0, -0.5, 0.0];
        let narrow = x.map(|x| x as f32);
        for flavor in Flavor::ALL {
            for function in Function::ALL {
                let wide = lookup(&function.symbol(false, flavor)).unwrap().address();
                let small = lookup(&function.symbol(true, flavor)).unwrap().address();
                let (mut got, mut want) = ([0f64; 8], [0f64; 8]);
                let (mut got32, mut want32) = ([0f32; 8], [0f32; 8]);
                unsafe {
                    std::mem::transmute::<*const u8, Unary64>(wide)(8, x.as_ptr(), got.as_mut_ptr());
                    std::mem::transmute::<*const u8, Unary32>(small)(8, narrow.as_ptr(), got32.as_mut_ptr());
                }
                function.run_f64(flavor, &x, &mut want);
                function.run_f32(flavor, &narrow, &mut want32);
                assert_eq!(got.map(f64::to_bits), want.map(f64::to_bits), "{function:?}");
                assert_eq!(got32.map(f32::to_bits), want32.map(f32::to_bits), "{function:?}");
            }
            for function in Function2::ALL {
                let wide = lookup(&function.symbol(false, flavor)).unwrap().address();
                let small = lookup(&function.symbol(true, flavor)).unwrap().address();
                let (mut got, mut want) = ([0f64; 8], [0f64; 8]);
                let (mut got32, mut want32) = ([0f32; 8], [0f32; 8]);
                let (p, q) = (x.as_ptr(), narrow.as_ptr());
                unsafe {
                    std::mem::transmute::<*const u8, Binary64>(wide)(8, p, p, got.as_mut_ptr());
                    std::mem::transmute::<*const u8, Binary32>(small)(8, q, q, got32.as_mut_ptr());
                }
                function.run_f64(flavor, &x, &x, &mut want);
                function.run_f32(flavor, &narrow, &narrow, &mut want32);
                assert_eq!(got.map(f64::to_bits), want.map(f64::to_bits), "{function:?}");
                assert_eq!(got32.map(f32::to_bits), want32.map(f32::to_bits), "{function:?}");
            }
        }
    }

    #[test]
    fn slices_of_any_length_are_whole() {
        for n in [0, 1, 7, 8, 9, 100] {
            let x: Vec<f64> = (0..n).map(|i| 0.1 + i as f64 * 0.03).collect();
            let narrow: Vec<f32> = x.iter().map(|&x| x as f32).collect();
            let mut out = vec![0.0; n];
            let mut out32 = vec![0f32; n];
            Function::Atan.run_f64(Flavor::Fast, &x, &mut out);
            assert!(x.iter().zip(&out).all(|(x, y)| (y - x.atan()).abs() < 1e-15));
            Function::Sin.run_f32(Flavor::Exact, &narrow, &mut out32);
            assert!(narrow.iter().zip(&out32).all(|(x, y)| *y == x.sin()));
            Function2::Pow.run_f64(Flavor::Exact, &x, &x, &mut out);
            assert!(x.iter().zip(&out).all(|(x, y)| *y == x.powf(*x)));
            Function2::Atan2.run_f32(Flavor::Fast, &narrow, &narrow, &mut out32);
            assert!(out32.iter().all(|y| (y - std::f32::consts::FRAC_PI_4).abs() < 1e-6));
        }
    }
}
