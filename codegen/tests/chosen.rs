//! What the tests of chosen loops share: columns of every type with and without nulls, and the comparison
//! of compiled code with the interpreter on row counts around groups and chunks.

use crate::support::engines::all_vectors;
use arrow::array::*;
use arrow::datatypes::DataType;
use fuseline_codegen::cpu::{CompileOptions, Vectors, compile};
use fuseline_codegen::ir::*;
use fuseline_codegen::run::{LoopOutput, Morsel, RunLoop};
use std::sync::Arc;

/// Row counts around groups and chunks.
pub(super) const SIZES: [usize; 9] = [0, 1, 7, 8, 9, 1023, 1024, 1025, 3001];

pub(super) fn emit(value: ValueId, data_type: DataType) -> Emit {
    Emit::Value { value, data_type, nullable: true }
}

/// Runs all ways on every size and compares.
pub(super) fn check(lp: &Loop, columns: &dyn Fn(usize) -> Vec<ArrayRef>) {
    for vectors in all_vectors() {
        let compiled = compile(lp, &CompileOptions { verify: true, vectors: *vectors }).unwrap();
        if *vectors == Vectors::Auto {
            assert_eq!(compiled.stats().narrow_loops, 0, "a lane loop has no wide form");
        }
        for rows in SIZES {
            let inputs = columns(rows);
            let morsel = Morsel { inputs: &inputs, rows, row_base: 5, joins: &[] };
            let want = interp::run(lp, &morsel);
            let got = compiled.run(&morsel);
            match (want, got) {
                (Ok(want), Ok(got)) => same(&want, &got, rows),
                (Err(want), Err(got)) => assert_eq!(want, got, "{rows} rows, {vectors:?}"),
                (want, got) => {
                    panic!("{rows} rows, {vectors:?}: interpreter {want:?}, compiled {got:?}")
                }
            }
        }
    }
}

pub(super) fn same(want: &LoopOutput, got: &LoopOutput, rows: usize) {
    assert_eq!(want.rows, got.rows, "{rows} rows");
    assert_eq!(want.selection, got.selection, "{rows} rows");
    assert_eq!(want.columns.len(), got.columns.len());
    for (a, b) in want.columns.iter().zip(&got.columns) {
        match (a, b) {
            (Some(a), Some(b)) => {
                b.to_data().validate_full().unwrap();
                assert_eq!(bits(a), bits(b), "{rows} rows");
            }
            (a, b) => assert_eq!(a.is_some(), b.is_some()),
        }
    }
    assert_eq!(format!("{:?}", want.aggs), format!("{:?}", got.aggs), "{rows} rows");
}

/// Arrays compare floats by value; their bits must agree too, except for the payload of NaNs.
pub(super) fn bits(a: &ArrayRef) -> Vec<String> {
    (0..a.len())
        .map(|i| {
            if a.is_null(i) {
                return "null".to_owned();
            }
            match a.data_type() {
                DataType::Float64 => {
                    let v = a.as_primitive::<arrow::datatypes::Float64Type>().value(i);
                    if v.is_nan() { "nan".to_owned() } else { format!("{:x} {v}", v.to_bits()) }
                }
                DataType::Float32 => {
                    let v = a.as_primitive::<arrow::datatypes::Float32Type>().value(i);
                    if v.is_nan() { "nan".to_owned() } else { format!("{:x} {v}", v.to_bits()) }
                }
                _ => arrow::util::display::array_value_to_string(a, i).unwrap(),
            }
        })
        .collect()
}

/// A stream of numbers without a pattern.
pub(super) fn noise(i: usize, salt: u64) -> u64 {
    let mut x = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt.wrapping_mul(0xD1B5_4A32_D192_ED03);
    x ^= x >> 29;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^ x >> 32
}

pub(super) fn is_null(i: usize, salt: u64) -> bool {
    noise(i, salt ^ 77).is_multiple_of(4)
}

pub(super) fn f64s(rows: usize, salt: u64, nulls: bool) -> ArrayRef {
    let special = [f64::NAN, -f64::NAN, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MIN, 1e-310, 0.05];
    Arc::new(Float64Array::from_iter((0..rows).map(|i| {
        let r = noise(i, salt);
        let v = if r.is_multiple_of(13) {
            special[(r / 13 % 9) as usize]
        } else {
            (r % 2000) as f64 / 10.0 - 100.0
        };
        (!nulls || !is_null(i, salt)).then_some(v)
    })))
}

pub(super) fn i64s(rows: usize, salt: u64, nulls: bool) -> ArrayRef {
    Arc::new(Int64Array::from_iter((0..rows).map(|i| {
        let r = noise(i, salt);
        let v = match r % 17 {
            0 => i64::MIN,
            1 => i64::MAX,
            2 => 0,
            3 => -1,
            4 => r as i64,
            _ => (r % 200) as i64 - 100,
        };
        (!nulls || !is_null(i, salt)).then_some(v)
    })))
}

pub(super) fn i32s(rows: usize, salt: u64, nulls: bool) -> ArrayRef {
    Arc::new(Int32Array::from_iter((0..rows).map(|i| {
        let r = noise(i, salt);
        let v = match r % 17 {
            0 => i32::MIN,
            1 => i32::MAX,
            2 => 0,
            _ => (r % 200) as i32 - 100,
        };
        (!nulls || !is_null(i, salt)).then_some(v)
    })))
}

pub(super) fn bools(rows: usize, salt: u64, nulls: bool) -> ArrayRef {
    Arc::new(BooleanArray::from_iter(
        (0..rows).map(|i| (!nulls || !is_null(i, salt)).then_some(noise(i, salt).is_multiple_of(3))),
    ))
}

pub(super) fn decimals(rows: usize, salt: u64, nulls: bool) -> ArrayRef {
    let values = (0..rows).map(|i| {
        let r = noise(i, salt);
        let v = if r.is_multiple_of(19) { i128::from(r) << 30 } else { i128::from(r % 100_000) - 50_000 };
        (!nulls || !is_null(i, salt)).then_some(v)
    });
    Arc::new(Decimal128Array::from_iter(values).with_precision_and_scale(38, 2).unwrap())
}

pub(super) fn texts(rows: usize, salt: u64, nulls: bool) -> StringArray {
    StringArray::from_iter((0..rows).map(|i| {
        let r = noise(i, salt);
        let long = "a longer piece of text".repeat((r % 3) as usize);
        let v = match r % 5 {
            0 => String::new(),
            1 => format!("ab{}", r % 7),
            2 => format!("é€{long}"),
            3 => long,
            _ => "MAIL".to_owned(),
        };
        (!nulls || !is_null(i, salt)).then_some(v)
    }))
}

pub(super) fn agg(func: AggFunc, arg: Option<ValueId>, filter: Option<ValueId>, ty: Ty) -> Agg {
    Agg { func, arg, filter, ty }
}
