//! The element types of arrays, and NumPy 2's rules of which type two of them make.
//!
//! Python's own ints and floats are *weak*: beside an array they take its type, if it is of their kind.

use arrow::datatypes::DataType;
use fuseline_codegen::function::Base;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    Bool,
    /// Bits, and whether there is a sign. Unsigned ones of 64 bits are not compiled.
    Int(u8, bool),
    Float32,
    Float64,
}

pub const INT64: DType = DType::Int(64, true);

/// What an operand is to the rules of promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Typed(DType),
    WeakInt,
    WeakFloat,
}

impl DType {
    /// The type of a column of this type as the function gets it.
    pub fn of_column(data_type: &DataType) -> Option<DType> {
        Some(match data_type {
            DataType::Boolean => DType::Bool,
            DataType::Int8 => DType::Int(8, true),
            DataType::Int16 => DType::Int(16, true),
            DataType::Int32 => DType::Int(32, true),
            DataType::Int64 => INT64,
            DataType::UInt8 => DType::Int(8, false),
            DataType::UInt16 => DType::Int(16, false),
            DataType::UInt32 => DType::Int(32, false),
            DataType::Float32 => DType::Float32,
            DataType::Float64 => DType::Float64,
            _ => return None,
        })
    }

    /// The type that a name means to `astype` and `dtype=`: NumPy's, or a character code's.
    pub fn by_name(name: &str) -> Option<DType> {
        Some(match name {
            "bool" | "bool_" | "?" => DType::Bool,
            "int8" | "byte" | "i1" | "b" => DType::Int(8, true),
            "int16" | "short" | "i2" | "h" => DType::Int(16, true),
            "int32" | "intc" | "i4" | "i" => DType::Int(32, true),
            "int64" | "int" | "int_" | "intp" | "i8" => INT64,
            "uint8" | "ubyte" | "u1" | "B" => DType::Int(8, false),
            "uint16" | "ushort" | "u2" | "H" => DType::Int(16, false),
            "uint32" | "uintc" | "u4" | "I" => DType::Int(32, false),
            "float32" | "single" | "f4" | "f" => DType::Float32,
            "float64" | "double" | "float" | "f8" | "d" => DType::Float64,
            _ => return None,
        })
    }

    pub fn name(self) -> String {
        match self {
            DType::Bool => "bool".to_owned(),
            DType::Int(bits, true) => format!("int{bits}"),
            DType::Int(bits, false) => format!("uint{bits}"),
            DType::Float32 => "float32".to_owned(),
            DType::Float64 => "float64".to_owned(),
        }
    }

    /// What holds its values in compiled code.
    pub fn base(self) -> Base {
        match self {
            DType::Bool => Base::Bool,
            DType::Int(..) => Base::Int,
            DType::Float32 | DType::Float64 => Base::Float,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, DType::Float32 | DType::Float64)
    }

    /// The least and the greatest int.
    pub fn range(self) -> (i64, i64) {
        match self {
            DType::Int(64, _) => (i64::MIN, i64::MAX),
            DType::Int(bits, true) => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
            DType::Int(bits, false) => (0, (1 << bits) - 1),
            DType::Bool | DType::Float32 | DType::Float64 => (0, 1),
        }
    }

    /// The type that values of both fit; `None` if that is one which is not compiled.
    pub fn join(self, other: DType) -> Option<DType> {
        Some(match (self, other) {
            (a, b) if a == b => a,
            (DType::Bool, x) | (x, DType::Bool) => x,
            (DType::Float64, _) | (_, DType::Float64) => DType::Float64,
            (DType::Float32, DType::Int(bits, _)) | (DType::Int(bits, _), DType::Float32) => {
                if bits <= 16 {
                    DType::Float32
                } else {
                    DType::Float64
                }
            }
            (DType::Float32, DType::Float32) => DType::Float32,
            (DType::Int(a, s), DType::Int(b, t)) if s == t => DType::Int(a.max(b), s),
            (DType::Int(signed, true), DType::Int(unsigned, false))
            | (DType::Int(unsigned, false), DType::Int(signed, true)) => {
                DType::Int(signed.max(unsigned * 2), true)
            }
            (DType::Int(..), DType::Int(..)) => return None,
        })
    }
}

/// The type of an operation on these; `None` if it is one that is not compiled. Without a typed one: NumPy's default.
pub fn promoted(kinds: &[Kind]) -> Option<DType> {
    let mut typed: Option<DType> = None;
    for kind in kinds {
        if let Kind::Typed(dtype) = kind {
            typed = Some(match typed {
                Some(before) => before.join(*dtype)?,
                None => *dtype,
            });
        }
    }
    let weak_float = kinds.contains(&Kind::WeakFloat);
    let weak_int = kinds.contains(&Kind::WeakInt);
    Some(match typed {
        None if weak_float => DType::Float64,
        None => INT64,
        Some(dtype) if dtype.is_float() => dtype,
        Some(_) if weak_float => DType::Float64,
        Some(DType::Bool) if weak_int => INT64,
        Some(dtype) => dtype,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promotion_is_that_of_numpy_2() {
        let of = |a: &str, b: &str| {
            DType::by_name(a).unwrap().join(DType::by_name(b).unwrap()).map(DType::name).unwrap_or_default()
        };
        // As np.promote_types says.
        for (a, b, both) in [
            ("int8", "uint8", "int16"),
            ("int16", "uint8", "int16"),
            ("int8", "uint16", "int32"),
            ("int32", "uint32", "int64"),
            ("int64", "uint32", "int64"),
            ("int16", "float32", "float32"),
            ("int32", "float32", "float64"),
            ("uint16", "float32", "float32"),
            ("bool", "int8", "int8"),
            ("bool", "float32", "float32"),
            ("float32", "float64", "float64"),
        ] {
            assert_eq!((of(a, b).as_str(), of(b, a).as_str()), (both, both), "{a} {b}");
        }
        let typed = |name: &str| Kind::Typed(DType::by_name(name).unwrap());
        assert_eq!(promoted(&[typed("int8"), Kind::WeakInt]), DType::by_name("int8"));
        assert_eq!(promoted(&[typed("int8"), Kind::WeakFloat]), Some(DType::Float64));
        assert_eq!(promoted(&[typed("float32"), Kind::WeakFloat]), Some(DType::Float32));
        assert_eq!(promoted(&[typed("bool"), Kind::WeakInt]), Some(INT64));
        assert_eq!(promoted(&[Kind::WeakInt, Kind::WeakInt]), Some(INT64));
    }
}
