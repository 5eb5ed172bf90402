//! Columns of the interpreter: one vector per value and chunk, one flag per row for validity.
//!
//! A row that is not valid holds the type's default, so that columns are functions of the data and
//! nothing is left over from what a row might have been.

use super::super::types::{Lit, Ty};

/// The values of a chunk of rows. Strings are borrowed from the morsel's arrays or the loop.
#[derive(Clone, Debug)]
pub(super) enum Data<'a> {
    Bool(Vec<bool>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    I128(Vec<i128>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Str(Vec<&'a str>),
}

/// A Rust type that holds values of one [`Ty`].
pub(super) trait Native<'a>: Copy + Default {
    const TY: Ty;
    fn slice<'c>(data: &'c Data<'a>) -> Option<&'c [Self]>;
    fn wrap(values: Vec<Self>) -> Data<'a>;
    fn slice_mut<'c>(data: &'c mut Data<'a>) -> Option<&'c mut Vec<Self>>;
}

macro_rules! natives {
    ($($rust:ty => $variant:ident),*) => { $(
        impl<'a> Native<'a> for $rust {
            const TY: Ty = Ty::$variant;
            fn slice<'c>(data: &'c Data<'a>) -> Option<&'c [Self]> {
                if let Data::$variant(v) = data { Some(v) } else { None }
            }
            fn wrap(values: Vec<Self>) -> Data<'a> {
                Data::$variant(values)
            }
            fn slice_mut<'c>(data: &'c mut Data<'a>) -> Option<&'c mut Vec<Self>> {
                if let Data::$variant(v) = data { Some(v) } else { None }
            }
        }
    )* };
}
natives!(bool => Bool, i8 => I8, i16 => I16, i32 => I32, i64 => I64, i128 => I128, u8 => U8,
    u16 => U16, u32 => U32, u64 => U64, f32 => F32, f64 => F64, &'a str => Str);

/// Runs `$body` with `$t` being the Rust type of `$ty`.
macro_rules! with_native {
    ($ty:expr, $t:ident => $body:expr) => {
        match $ty {
            $crate::ir::types::Ty::Bool => {
                type $t = bool;
                $body
            }
            $crate::ir::types::Ty::I8 => {
                type $t = i8;
                $body
            }
            $crate::ir::types::Ty::I16 => {
                type $t = i16;
                $body
            }
            $crate::ir::types::Ty::I32 => {
                type $t = i32;
                $body
            }
            $crate::ir::types::Ty::I64 => {
                type $t = i64;
                $body
            }
            $crate::ir::types::Ty::I128 => {
                type $t = i128;
                $body
            }
            $crate::ir::types::Ty::U8 => {
                type $t = u8;
                $body
            }
            $crate::ir::types::Ty::U16 => {
                type $t = u16;
                $body
            }
            $crate::ir::types::Ty::U32 => {
                type $t = u32;
                $body
            }
            $crate::ir::types::Ty::U64 => {
                type $t = u64;
                $body
            }
            $crate::ir::types::Ty::F32 => {
                type $t = f32;
                $body
            }
            $crate::ir::types::Ty::F64 => {
                type $t = f64;
                $body
            }
            $crate::ir::types::Ty::Str => {
                type $t<'s> = &'s str;
                $body
            }
        }
    };
}

/// Runs `$body` with `$t` being the Rust type of `$ty` if that is an int, else `$other`.
macro_rules! with_int {
    ($ty:expr, $t:ident => $body:expr, else $other:expr) => {
        match $ty {
            $crate::ir::types::Ty::I8 => {
                type $t = i8;
                $body
            }
            $crate::ir::types::Ty::I16 => {
                type $t = i16;
                $body
            }
            $crate::ir::types::Ty::I32 => {
                type $t = i32;
                $body
            }
            $crate::ir::types::Ty::I64 => {
                type $t = i64;
                $body
            }
            $crate::ir::types::Ty::I128 => {
                type $t = i128;
                $body
            }
            $crate::ir::types::Ty::U8 => {
                type $t = u8;
                $body
            }
            $crate::ir::types::Ty::U16 => {
                type $t = u16;
                $body
            }
            $crate::ir::types::Ty::U32 => {
                type $t = u32;
                $body
            }
            $crate::ir::types::Ty::U64 => {
                type $t = u64;
                $body
            }
            $crate::ir::types::Ty::Bool
            | $crate::ir::types::Ty::F32
            | $crate::ir::types::Ty::F64
            | $crate::ir::types::Ty::Str => $other,
        }
    };
}

/// Runs `$body` with `$t` being the Rust type of `$ty` if that is a float, else `$other`.
macro_rules! with_float {
    ($ty:expr, $t:ident => $body:expr, else $other:expr) => {
        match $ty {
            $crate::ir::types::Ty::F32 => {
                type $t = f32;
                $body
            }
            $crate::ir::types::Ty::F64 => {
                type $t = f64;
                $body
            }
            $crate::ir::types::Ty::Bool
            | $crate::ir::types::Ty::I8
            | $crate::ir::types::Ty::I16
            | $crate::ir::types::Ty::I32
            | $crate::ir::types::Ty::I64
            | $crate::ir::types::Ty::I128
            | $crate::ir::types::Ty::U8
            | $crate::ir::types::Ty::U16
            | $crate::ir::types::Ty::U32
            | $crate::ir::types::Ty::U64
            | $crate::ir::types::Ty::Str => $other,
        }
    };
}
pub(super) use {with_float, with_int, with_native};

/// A value of the loop over the live rows of a chunk.
#[derive(Clone, Debug)]
pub(super) struct Column<'a> {
    pub data: Data<'a>,
    pub valid: Vec<bool>,
}

impl<'a> Column<'a> {
    pub fn from_options<T: Native<'a>>(rows: impl Iterator<Item = Option<T>>) -> Column<'a> {
        let mut valid = Vec::new();
        let values = rows
            .map(|row| {
                valid.push(row.is_some());
                row.unwrap_or_default()
            })
            .collect();
        Column { data: T::wrap(values), valid }
    }

    pub fn empty(ty: Ty) -> Column<'a> {
        Column { data: with_native!(ty, T => T::wrap(Vec::new())), valid: Vec::new() }
    }

    /// `n` rows of a constant.
    pub fn constant(lit: &'a Lit, n: usize) -> Column<'a> {
        let data = match lit {
            Lit::Null(ty) => with_native!(*ty, T => T::wrap(vec![T::default(); n])),
            Lit::Bool(v) => Data::Bool(vec![*v; n]),
            Lit::I8(v) => Data::I8(vec![*v; n]),
            Lit::I16(v) => Data::I16(vec![*v; n]),
            Lit::I32(v) => Data::I32(vec![*v; n]),
            Lit::I64(v) => Data::I64(vec![*v; n]),
            Lit::I128(v) => Data::I128(vec![*v; n]),
            Lit::U8(v) => Data::U8(vec![*v; n]),
            Lit::U16(v) => Data::U16(vec![*v; n]),
            Lit::U32(v) => Data::U32(vec![*v; n]),
            Lit::U64(v) => Data::U64(vec![*v; n]),
            Lit::F32(v) => Data::F32(vec![*v; n]),
            Lit::F64(v) => Data::F64(vec![*v; n]),
            Lit::Str(v) => Data::Str(vec![v.as_str(); n]),
        };
        Column { data, valid: vec![!lit.is_null(); n] }
    }

    pub fn ty(&self) -> Ty {
        match &self.data {
            Data::Bool(_) => Ty::Bool,
            Data::I8(_) => Ty::I8,
            Data::I16(_) => Ty::I16,
            Data::I32(_) => Ty::I32,
            Data::I64(_) => Ty::I64,
            Data::I128(_) => Ty::I128,
            Data::U8(_) => Ty::U8,
            Data::U16(_) => Ty::U16,
            Data::U32(_) => Ty::U32,
            Data::U64(_) => Ty::U64,
            Data::F32(_) => Ty::F32,
            Data::F64(_) => Ty::F64,
            Data::Str(_) => Ty::Str,
        }
    }

    /// Whether row `i` of a Bool is true and valid; false for other types.
    pub fn is_true(&self, i: usize) -> bool {
        match &self.data {
            Data::Bool(v) => v[i] && self.valid[i],
            Data::I8(_)
            | Data::I16(_)
            | Data::I32(_)
            | Data::I64(_)
            | Data::I128(_)
            | Data::U8(_)
            | Data::U16(_)
            | Data::U32(_)
            | Data::U64(_)
            | Data::F32(_)
            | Data::F64(_)
            | Data::Str(_) => false,
        }
    }

    /// The rows at these positions, in their order.
    pub fn take(&self, keep: &[usize]) -> Column<'a> {
        let data = with_native!(self.ty(), T => {
            let values = T::slice(&self.data).unwrap_or_default();
            T::wrap(keep.iter().map(|&i| values[i]).collect())
        });
        Column { data, valid: keep.iter().map(|&i| self.valid[i]).collect() }
    }

    /// Appends a column of the same type; columns of another type are ignored by contract.
    pub fn append(&mut self, other: &Column<'a>) {
        debug_assert_eq!(self.ty(), other.ty());
        with_native!(self.ty(), T => {
            if let (Some(to), Some(from)) = (T::slice_mut(&mut self.data), T::slice(&other.data)) {
                to.extend_from_slice(from);
                self.valid.extend_from_slice(&other.valid);
            }
        });
    }
}
