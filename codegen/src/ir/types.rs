//! Physical types and literals.
//!
//! The IR knows machine representations only. Dates, times, timestamps are `I32` or `I64`,
//! decimals are `I128`; what they mean to SQL is expressed in the operations, and an Arrow
//! `DataType` appears only where a column enters or leaves the loop.

use arrow::datatypes::DataType;
use std::fmt;
use std::hash::{Hash, Hasher};

/// The machine representation of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ty {
    Bool,
    I8,
    I16,
    I32,
    I64,
    /// Decimal128 values.
    I128,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
    /// UTF-8 text, whatever array encoding it came from.
    Str,
}

impl Ty {
    pub const ALL: [Ty; 13] = [
        Ty::Bool,
        Ty::I8,
        Ty::I16,
        Ty::I32,
        Ty::I64,
        Ty::I128,
        Ty::U8,
        Ty::U16,
        Ty::U32,
        Ty::U64,
        Ty::F32,
        Ty::F64,
        Ty::Str,
    ];

    /// Width in bytes of a value in a column or staging buffer; `Bool` is one bit and has none.
    /// `Str` is the width of a `StrRef`.
    pub fn width(self) -> Option<usize> {
        match self {
            Ty::Bool => None,
            Ty::I8 | Ty::U8 => Some(1),
            Ty::I16 | Ty::U16 => Some(2),
            Ty::I32 | Ty::U32 | Ty::F32 => Some(4),
            Ty::I64 | Ty::U64 | Ty::F64 => Some(8),
            Ty::I128 | Ty::Str => Some(16),
        }
    }

    pub fn is_signed_int(self) -> bool {
        match self {
            Ty::I8 | Ty::I16 | Ty::I32 | Ty::I64 | Ty::I128 => true,
            Ty::Bool | Ty::U8 | Ty::U16 | Ty::U32 | Ty::U64 | Ty::F32 | Ty::F64 | Ty::Str => false,
        }
    }

    pub fn is_unsigned_int(self) -> bool {
        match self {
            Ty::U8 | Ty::U16 | Ty::U32 | Ty::U64 => true,
            Ty::Bool | Ty::I8 | Ty::I16 | Ty::I32 | Ty::I64 | Ty::I128 | Ty::F32 | Ty::F64 | Ty::Str => false,
        }
    }

    pub fn is_int(self) -> bool {
        self.is_signed_int() || self.is_unsigned_int()
    }

    pub fn is_float(self) -> bool {
        matches!(self, Ty::F32 | Ty::F64)
    }

    pub fn is_numeric(self) -> bool {
        self.is_int() || self.is_float()
    }

    /// The plainest Arrow type of this representation.
    pub fn natural(self) -> DataType {
        match self {
            Ty::Bool => DataType::Boolean,
            Ty::I8 => DataType::Int8,
            Ty::I16 => DataType::Int16,
            Ty::I32 => DataType::Int32,
            Ty::I64 => DataType::Int64,
            Ty::I128 => DataType::Decimal128(38, 0),
            Ty::U8 => DataType::UInt8,
            Ty::U16 => DataType::UInt16,
            Ty::U32 => DataType::UInt32,
            Ty::U64 => DataType::UInt64,
            Ty::F32 => DataType::Float32,
            Ty::F64 => DataType::Float64,
            Ty::Str => DataType::Utf8View,
        }
    }

    /// The name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            Ty::Bool => "bool",
            Ty::I8 => "i8",
            Ty::I16 => "i16",
            Ty::I32 => "i32",
            Ty::I64 => "i64",
            Ty::I128 => "i128",
            Ty::U8 => "u8",
            Ty::U16 => "u16",
            Ty::U32 => "u32",
            Ty::U64 => "u64",
            Ty::F32 => "f32",
            Ty::F64 => "f64",
            Ty::Str => "str",
        }
    }

    /// The inverse of [`Ty::name`].
    pub fn from_name(name: &str) -> Option<Ty> {
        Ty::ALL.into_iter().find(|t| t.name() == name)
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A constant. Floats compare and hash by their bits, so that a `Loop` is a cache key.
#[derive(Clone, Debug)]
pub enum Lit {
    Null(Ty),
    Bool(bool),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    I128(i128),
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    F32(f32),
    F64(f64),
    Str(String),
}

impl Lit {
    pub fn ty(&self) -> Ty {
        match self {
            Lit::Null(t) => *t,
            Lit::Bool(_) => Ty::Bool,
            Lit::I8(_) => Ty::I8,
            Lit::I16(_) => Ty::I16,
            Lit::I32(_) => Ty::I32,
            Lit::I64(_) => Ty::I64,
            Lit::I128(_) => Ty::I128,
            Lit::U8(_) => Ty::U8,
            Lit::U16(_) => Ty::U16,
            Lit::U32(_) => Ty::U32,
            Lit::U64(_) => Ty::U64,
            Lit::F32(_) => Ty::F32,
            Lit::F64(_) => Ty::F64,
            Lit::Str(_) => Ty::Str,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Lit::Null(_))
    }

    /// The integer as a literal of the type; `None` if it does not fit or `ty` is no integer.
    pub fn integer(ty: Ty, value: i128) -> Option<Lit> {
        match ty {
            Ty::I8 => value.try_into().ok().map(Lit::I8),
            Ty::I16 => value.try_into().ok().map(Lit::I16),
            Ty::I32 => value.try_into().ok().map(Lit::I32),
            Ty::I64 => value.try_into().ok().map(Lit::I64),
            Ty::I128 => Some(Lit::I128(value)),
            Ty::U8 => value.try_into().ok().map(Lit::U8),
            Ty::U16 => value.try_into().ok().map(Lit::U16),
            Ty::U32 => value.try_into().ok().map(Lit::U32),
            Ty::U64 => value.try_into().ok().map(Lit::U64),
            Ty::Bool | Ty::F32 | Ty::F64 | Ty::Str => None,
        }
    }

    /// The integer as `i128`; `None` for anything else, a null included.
    pub fn as_i128(&self) -> Option<i128> {
        match self {
            Lit::I8(v) => Some(i128::from(*v)),
            Lit::I16(v) => Some(i128::from(*v)),
            Lit::I32(v) => Some(i128::from(*v)),
            Lit::I64(v) => Some(i128::from(*v)),
            Lit::I128(v) => Some(*v),
            Lit::U8(v) => Some(i128::from(*v)),
            Lit::U16(v) => Some(i128::from(*v)),
            Lit::U32(v) => Some(i128::from(*v)),
            Lit::U64(v) => Some(i128::from(*v)),
            Lit::Null(_) | Lit::Bool(_) | Lit::F32(_) | Lit::F64(_) | Lit::Str(_) => None,
        }
    }
}

impl PartialEq for Lit {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Lit::Null(a), Lit::Null(b)) => a == b,
            (Lit::Bool(a), Lit::Bool(b)) => a == b,
            (Lit::F32(a), Lit::F32(b)) => a.to_bits() == b.to_bits(),
            (Lit::F64(a), Lit::F64(b)) => a.to_bits() == b.to_bits(),
            (Lit::Str(a), Lit::Str(b)) => a == b,
            (a, b) => a.ty() == b.ty() && a.as_i128().is_some() && a.as_i128() == b.as_i128(),
        }
    }
}

impl Eq for Lit {}

impl Hash for Lit {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ty().hash(state);
        self.is_null().hash(state);
        match self {
            Lit::Bool(v) => v.hash(state),
            Lit::F32(v) => v.to_bits().hash(state),
            Lit::F64(v) => v.to_bits().hash(state),
            Lit::Str(v) => v.hash(state),
            Lit::Null(_) => {}
            Lit::I8(_)
            | Lit::I16(_)
            | Lit::I32(_)
            | Lit::I64(_)
            | Lit::I128(_)
            | Lit::U8(_)
            | Lit::U16(_)
            | Lit::U32(_)
            | Lit::U64(_) => self.as_i128().hash(state),
        }
    }
}
