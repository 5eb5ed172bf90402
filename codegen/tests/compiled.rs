//! Compiled loops against the interpreter, on loops chosen for the paths of the code generator: chunk
//! boundaries, partial groups, filters that keep none, some and all, every representation of booleans.

use super::chosen::*;

use arrow::array::*;
use arrow::datatypes::DataType;
use fuseline_codegen::ir::*;
use std::sync::Arc;

#[test]
fn arithmetic_of_floats_emits() {
    for nulls in [false, true] {
        let mut b = LoopBuilder::new();
        let x = b.input("x", &DataType::Float64, nulls).unwrap();
        let y = b.input("y", &DataType::Float64, nulls).unwrap();
        let two = b.lit(Lit::F64(2.0));
        let p = b.inst(Op::Mul(Overflow::Wrap), &[x, y], None).unwrap();
        let s = b.inst(Op::Add(Overflow::Wrap), &[p, x], None).unwrap();
        let h = b.inst(Op::Div, &[y, two], None).unwrap();
        let out = b.inst(Op::Sub(Overflow::Wrap), &[s, h], None).unwrap();
        let (lp, _) = b.finish(Sink::Emit(vec![emit(out, DataType::Float64), emit(x, DataType::Float64)]));
        check(&lp, &|n| vec![f64s(n, 1, nulls), f64s(n, 2, nulls)]);
    }
}

#[test]
fn a_filtered_sum_of_mixed_widths() {
    for nulls in [false, true] {
        let mut b = LoopBuilder::new();
        let day = b.input("day", &DataType::Date32, nulls).unwrap();
        let discount = b.input("discount", &DataType::Float64, nulls).unwrap();
        let price = b.input("price", &DataType::Float64, false).unwrap();
        let low = b.lit(Lit::I32(-50));
        let five = b.lit(Lit::F64(0.05));
        let below = b.lit(Lit::F64(-20.5));
        let c1 = b.inst(Op::Cmp(CmpOp::Ge), &[day, low], None).unwrap();
        let c2 = b.inst(Op::Cmp(CmpOp::Ge), &[discount, below], None).unwrap();
        let c3 = b.inst(Op::Cmp(CmpOp::Lt), &[discount, five], None).unwrap();
        let a = b.inst(Op::And, &[c1, c2], None).unwrap();
        let a = b.inst(Op::And, &[a, c3], None).unwrap();
        let product = b.inst(Op::Mul(Overflow::Wrap), &[price, discount], None).unwrap();
        let aggs = vec![
            agg(AggFunc::Sum, Some(product), Some(a), Ty::F64),
            agg(AggFunc::Count, None, Some(a), Ty::I64),
            agg(AggFunc::Count, None, None, Ty::I64),
            agg(AggFunc::Min, Some(discount), Some(c1), Ty::F64),
            agg(AggFunc::Max, Some(day), Some(c3), Ty::I32),
        ];
        let (lp, _) = b.finish(Sink::Aggregate(aggs));
        check(&lp, &|n| {
            let day: ArrayRef = i32s(n, 3, nulls);
            let day = arrow::compute::cast(&day, &DataType::Date32).unwrap();
            let price = Arc::new(Float64Array::from_iter_values((0..n).map(|i| noise(i, 9) as f64 / 1e15)));
            vec![day, f64s(n, 4, nulls), price as ArrayRef]
        });
    }
}

#[test]
fn filters_compact_and_report_rows() {
    for nulls in [false, true] {
        for threshold in [-1e300, -50.0, 0.0, 50.0, 1e300] {
            let mut b = LoopBuilder::new();
            let x = b.input("x", &DataType::Float64, nulls).unwrap();
            let k = b.input("k", &DataType::Int64, nulls).unwrap();
            let flag = b.input("flag", &DataType::Boolean, nulls).unwrap();
            let limit = b.lit(Lit::F64(threshold));
            let early = b.inst(Op::Add(Overflow::Wrap), &[k, k], None).unwrap();
            let pass = b.inst(Op::Cmp(CmpOp::Lt), &[x, limit], None).unwrap();
            b.filter(pass).unwrap();
            let row = b.inst(Op::IsValid, &[k], None).unwrap();
            b.filter(flag).unwrap();
            let late = b.inst(Op::Mul(Overflow::Wrap), &[early, k], None).unwrap();
            let (lp, _) = b.finish(Sink::Emit(vec![
                emit(late, DataType::Int64),
                emit(x, DataType::Float64),
                emit(flag, DataType::Boolean),
                emit(row, DataType::Boolean),
                Emit::Passenger { column: 0 },
            ]));
            check(&lp, &|n| vec![f64s(n, 1, nulls), i64s(n, 2, nulls), bools(n, 3, nulls)]);
        }
    }
}

#[test]
fn comparisons_of_all_types() {
    let all = [CmpOp::Eq, CmpOp::Ne, CmpOp::Lt, CmpOp::Le, CmpOp::Gt, CmpOp::Ge];
    let types = [
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
        DataType::Boolean,
    ];
    for data_type in &types {
        for constant in [None, Some(-3), Some(0), Some(7), Some(i64::MIN), Some(i64::MAX)] {
            let mut b = LoopBuilder::new();
            let x = b.input("x", data_type, true).unwrap();
            let y = b.input("y", data_type, true).unwrap();
            let rhs = match constant {
                None => y,
                Some(c) => {
                    let lit = match data_type {
                        DataType::Int8 => Lit::I8(c as i8),
                        DataType::Int16 => Lit::I16(c as i16),
                        DataType::Int32 => Lit::I32(c as i32),
                        DataType::Int64 => Lit::I64(c),
                        DataType::UInt8 => Lit::U8(c as u8),
                        DataType::UInt16 => Lit::U16(c as u16),
                        DataType::UInt32 => Lit::U32(c as u32),
                        DataType::UInt64 => Lit::U64(c as u64),
                        DataType::Float32 => Lit::F32(c as f32),
                        DataType::Float64 if c == 7 => Lit::F64(f64::NAN),
                        DataType::Float64 if c == i64::MAX => Lit::F64(-f64::NAN),
                        DataType::Float64 => Lit::F64(c as f64),
                        _bool => Lit::Bool(c == 0),
                    };
                    b.lit(lit)
                }
            };
            let mut columns = Vec::new();
            for op in all {
                let c = b.inst(Op::Cmp(op), &[x, rhs], None).unwrap();
                columns.push(emit(c, DataType::Boolean));
                let c = b.inst(Op::Cmp(op), &[rhs, x], None).unwrap();
                columns.push(emit(c, DataType::Boolean));
            }
            let d = b.inst(Op::Distinct, &[x, rhs], None).unwrap();
            columns.push(emit(d, DataType::Boolean));
            let chosen = b.inst(Op::Select, &[d, x, rhs], None).unwrap();
            columns.push(emit(chosen, data_type.clone()));
            let first = b.inst(Op::Coalesce, &[x, rhs], None).unwrap();
            columns.push(emit(first, data_type.clone()));
            let dropped = b.inst(Op::NullIf, &[x, d], None).unwrap();
            columns.push(emit(dropped, data_type.clone()));
            let (lp, _) = b.finish(Sink::Emit(columns));
            check(&lp, &|n| {
                let make = |salt| -> ArrayRef {
                    match data_type {
                        DataType::Boolean => bools(n, salt, true),
                        DataType::Float64 => f64s(n, salt, true),
                        DataType::Float32 => {
                            arrow::compute::cast(&f64s(n, salt, true), &DataType::Float32).unwrap()
                        }
                        _int => {
                            let wide = i64s(n, salt, true);
                            let wide = wide.as_primitive::<arrow::datatypes::Int64Type>();
                            macro_rules! narrow {
                                ($t:ty) => {
                                    Arc::new(wide.unary::<_, $t>(|v| v as _)) as ArrayRef
                                };
                            }
                            use arrow::datatypes::*;
                            match data_type {
                                DataType::Int8 => narrow!(Int8Type),
                                DataType::Int16 => narrow!(Int16Type),
                                DataType::Int32 => narrow!(Int32Type),
                                DataType::UInt8 => narrow!(UInt8Type),
                                DataType::UInt16 => narrow!(UInt16Type),
                                DataType::UInt32 => narrow!(UInt32Type),
                                DataType::UInt64 => narrow!(UInt64Type),
                                _ => Arc::new(wide.clone()),
                            }
                        }
                    }
                };
                match constant {
                    None => vec![make(1), make(2)],
                    Some(_) => vec![make(1)],
                }
            });
        }
    }
}

#[test]
fn casts_between_all_plain_types() {
    use arrow::datatypes::*;
    let types = [
        (Ty::Bool, DataType::Boolean),
        (Ty::I8, DataType::Int8),
        (Ty::I16, DataType::Int16),
        (Ty::I32, DataType::Int32),
        (Ty::I64, DataType::Int64),
        (Ty::U8, DataType::UInt8),
        (Ty::U16, DataType::UInt16),
        (Ty::U32, DataType::UInt32),
        (Ty::U64, DataType::UInt64),
        (Ty::F32, DataType::Float32),
        (Ty::F64, DataType::Float64),
    ];
    for (_, from) in &types {
        for fail in [OnFail::Null, OnFail::Err] {
            let mut b = LoopBuilder::new();
            let x = b.input("x", from, true).unwrap();
            let mut columns = Vec::new();
            for (to, data_type) in &types {
                let v = b.inst(Op::Cast(*to, fail), &[x], None).unwrap();
                columns.push(emit(v, data_type.clone()));
            }
            if fail == OnFail::Err {
                // All at once fails on most data; one conversion at a time shows each check.
                for (at, (to, data_type)) in types.iter().enumerate() {
                    let mut b = LoopBuilder::new();
                    let x = b.input("x", from, true).unwrap();
                    let v = b.inst(Op::Cast(*to, fail), &[x], None).unwrap();
                    let (lp, _) = b.finish(Sink::Emit(vec![emit(v, data_type.clone())]));
                    check(&lp, &|n| vec![plain(from, n, at as u64, true)]);
                    check(&lp, &|n| vec![plain(from, n, at as u64, false)]);
                }
                continue;
            }
            let (lp, _) = b.finish(Sink::Emit(columns));
            check(&lp, &|n| vec![plain(from, n, 3, true)]);
        }
    }
}

/// A column of a plain type; `wild` values reach over the whole range.
fn plain(data_type: &DataType, n: usize, salt: u64, wild: bool) -> ArrayRef {
    use arrow::datatypes::*;
    let wide = i64s(n, salt, true);
    let wide = wide.as_primitive::<Int64Type>();
    let tame = |v: i64| if wild { v } else { v.rem_euclid(100) };
    macro_rules! narrow {
        ($t:ty) => {
            Arc::new(wide.unary::<_, $t>(|v| tame(v) as _)) as ArrayRef
        };
    }
    match data_type {
        DataType::Int8 => narrow!(Int8Type),
        DataType::Int16 => narrow!(Int16Type),
        DataType::Int32 => narrow!(Int32Type),
        DataType::Int64 => narrow!(Int64Type),
        DataType::UInt8 => narrow!(UInt8Type),
        DataType::UInt16 => narrow!(UInt16Type),
        DataType::UInt32 => narrow!(UInt32Type),
        DataType::UInt64 => narrow!(UInt64Type),
        DataType::Boolean => bools(n, salt, true),
        DataType::Float32 => Arc::new(wide.unary::<_, Float32Type>(|v| tame(v) as f32 / 3.0)),
        _ if wild => f64s(n, salt, true),
        _ => Arc::new(wide.unary::<_, Float64Type>(|v| tame(v) as f64 / 3.0)),
    }
}

#[test]
fn integer_arithmetic_of_all_kinds() {
    let types = [
        (Ty::I8, DataType::Int8),
        (Ty::I16, DataType::Int16),
        (Ty::I32, DataType::Int32),
        (Ty::I64, DataType::Int64),
        (Ty::U8, DataType::UInt8),
        (Ty::U16, DataType::UInt16),
        (Ty::U32, DataType::UInt32),
        (Ty::U64, DataType::UInt64),
    ];
    for (ty, data_type) in &types {
        let literal = |v: i64| match ty {
            Ty::I8 => Lit::I8(v as i8),
            Ty::I16 => Lit::I16(v as i16),
            Ty::I32 => Lit::I32(v as i32),
            Ty::I64 => Lit::I64(v),
            Ty::U8 => Lit::U8(v as u8),
            Ty::U16 => Lit::U16(v as u16),
            Ty::U32 => Lit::U32(v as u32),
            _ => Lit::U64(v as u64),
        };
        let mut ops: Vec<(Op, Option<i64>)> = vec![
            (Op::BitAnd, None),
            (Op::BitOr, None),
            (Op::BitXor, None),
            (Op::Shl, None),
            (Op::Shr, None),
            (Op::Shl, Some(3)),
            (Op::Shr, Some(2)),
            (Op::Div, None),
            (Op::Rem, None),
            (Op::Div, Some(8)),
            (Op::Rem, Some(8)),
            (Op::Rem, Some(1)),
            (Op::Div, Some(7)),
            (Op::Rem, Some(7)),
            (Op::Rem, Some(-1)),
        ];
        for o in [Overflow::Wrap, Overflow::Null, Overflow::Err] {
            ops.extend([(Op::Add(o), None), (Op::Sub(o), None), (Op::Mul(o), None)]);
        }
        for (op, constant) in ops {
            for wild in [false, true] {
                let mut b = LoopBuilder::new();
                let x = b.input("x", data_type, true).unwrap();
                let y = b.input("y", data_type, true).unwrap();
                let rhs = constant.map_or(y, |c| b.lit(literal(c)));
                let v = b.inst(op.clone(), &[x, rhs], None).unwrap();
                let (lp, _) = b.finish(Sink::Emit(vec![emit(v, data_type.clone())]));
                let two = lp.inputs.len() == 2;
                check(&lp, &|n| {
                    let mut columns = vec![plain(data_type, n, 1, wild)];
                    if two {
                        columns.push(plain(data_type, n, 2, wild));
                    }
                    columns
                });
            }
        }
        if ty.is_signed_int() {
            for o in [Overflow::Wrap, Overflow::Null, Overflow::Err] {
                for op in [Op::Neg(o), Op::Abs(o)] {
                    let mut b = LoopBuilder::new();
                    let x = b.input("x", data_type, true).unwrap();
                    let v = b.inst(op, &[x], None).unwrap();
                    let (lp, _) = b.finish(Sink::Emit(vec![emit(v, data_type.clone())]));
                    check(&lp, &|n| vec![plain(data_type, n, 1, true)]);
                }
            }
        }
        // Remainders under a comparison, in all signs.
        for c in [-3, -1, 0, 1, 3] {
            let mut b = LoopBuilder::new();
            let x = b.input("x", data_type, true).unwrap();
            let four = b.lit(literal(4));
            let rest = b.inst(Op::Rem, &[x, four], None).unwrap();
            let c = b.lit(literal(c));
            let same = b.inst(Op::Cmp(CmpOp::Eq), &[rest, c], None).unwrap();
            let aggs = vec![agg(AggFunc::Count, None, Some(same), Ty::I64)];
            let (lp, _) = b.finish(Sink::Aggregate(aggs));
            check(&lp, &|n| vec![plain(data_type, n, 1, true)]);
        }
        let mut b = LoopBuilder::new();
        let x = b.input("x", data_type, true).unwrap();
        let set = |n: i64| (0..n).map(|v| literal(v * 3)).collect::<Vec<_>>();
        let short = b.inst(Op::InSet(set(5)), &[x], None).unwrap();
        let long = b.inst(Op::InSet(set(40)), &[x], None).unwrap();
        let none = b.inst(Op::InSet(vec![]), &[x], None).unwrap();
        let out = [short, long, none].map(|v| emit(v, DataType::Boolean));
        let (lp, _) = b.finish(Sink::Emit(out.to_vec()));
        check(&lp, &|n| vec![plain(data_type, n, 1, true)]);
        let mut b = LoopBuilder::new();
        let x = b.input("x", data_type, true).unwrap();
        let aggs = vec![agg(AggFunc::Min, Some(x), None, *ty), agg(AggFunc::Max, Some(x), None, *ty)];
        let (lp, _) = b.finish(Sink::Aggregate(aggs));
        check(&lp, &|n| vec![plain(data_type, n, 1, true)]);
    }
}

#[test]
fn logic_with_nulls() {
    let mut b = LoopBuilder::new();
    let x = b.input("x", &DataType::Boolean, true).unwrap();
    let y = b.input("y", &DataType::Boolean, true).unwrap();
    let z = b.input("z", &DataType::Boolean, false).unwrap();
    let mut values = Vec::new();
    for (p, q) in [(x, y), (x, z), (z, y)] {
        for op in [Op::And, Op::Or, Op::Distinct] {
            values.push(b.inst(op, &[p, q], None).unwrap());
        }
    }
    values.push(b.inst(Op::Not, &[x], None).unwrap());
    values.push(b.inst(Op::IsTrue, &[x], None).unwrap());
    values.push(b.inst(Op::IsValid, &[x], None).unwrap());
    values.push(b.inst(Op::Select, &[x, y, z], None).unwrap());
    let null = b.lit(Lit::Null(Ty::Bool));
    values.push(b.inst(Op::And, &[x, null], None).unwrap());
    values.push(b.inst(Op::Or, &[null, y], None).unwrap());
    let out = values.into_iter().map(|v| emit(v, DataType::Boolean)).collect();
    let (lp, _) = b.finish(Sink::Emit(out));
    check(&lp, &|n| vec![bools(n, 1, true), bools(n, 2, true), bools(n, 3, false)]);
}

#[test]
fn sums_over_generated_rows() {
    let mut b = LoopBuilder::new();
    let row = b.inst(Op::RowIndex, &[], None).unwrap();
    let three = b.lit(Lit::I64(3));
    let two = b.lit(Lit::I64(2));
    let rest = b.inst(Op::Rem, &[row, two], None).unwrap();
    let one = b.lit(Lit::I64(1));
    let odd = b.inst(Op::Cmp(CmpOp::Eq), &[rest, one], None).unwrap();
    let scaled = b.inst(Op::Mul(Overflow::Wrap), &[row, three], None).unwrap();
    let aggs = vec![
        agg(AggFunc::Sum, Some(row), None, Ty::I64),
        agg(AggFunc::Sum, Some(scaled), Some(odd), Ty::I64),
        agg(AggFunc::Count, None, Some(odd), Ty::I64),
    ];
    let (lp, _) = b.finish(Sink::Aggregate(aggs));
    check(&lp, &|_| vec![]);
}

#[test]
fn decimals_in_scalar_loops() {
    let data_type = DataType::Decimal128(38, 2);
    for nulls in [false, true] {
        let mut b = LoopBuilder::new();
        let price = b.input("price", &data_type, nulls).unwrap();
        let discount = b.input("discount", &data_type, nulls).unwrap();
        let one = b.lit(Lit::I128(100));
        let rest = b.inst(Op::Sub(Overflow::Err), &[one, discount], None).unwrap();
        let paid = b.inst(Op::Mul(Overflow::Null), &[price, rest], None).unwrap();
        let sum = b.inst(Op::Add(Overflow::Wrap), &[price, discount], None).unwrap();
        let neg = b.inst(Op::Neg(Overflow::Wrap), &[price], None).unwrap();
        let abs = b.inst(Op::Abs(Overflow::Wrap), &[price], None).unwrap();
        let less = b.inst(Op::Cmp(CmpOp::Lt), &[price, discount], None).unwrap();
        let least = b.inst(Op::Select, &[less, price, discount], None).unwrap();
        let up = b
            .inst(Op::DecRescale { delta: 3, precision: 20, scale: 0, fail: OnFail::Null }, &[price], None)
            .unwrap();
        let down = b
            .inst(Op::DecRescale { delta: -2, precision: 20, scale: 0, fail: OnFail::Null }, &[price], None)
            .unwrap();
        let int = b.inst(Op::DecToInt { scale: 2, to: Ty::I32, fail: OnFail::Null }, &[price], None).unwrap();
        let float = b.inst(Op::DecToFloat { scale: 2, to: Ty::F64 }, &[price], None).unwrap();
        let back =
            b.inst(Op::DecFromFloat { scale: 1, precision: 10, fail: OnFail::Null }, &[float], None).unwrap();
        let of_int =
            b.inst(Op::DecFromInt { scale: 2, precision: 5, fail: OnFail::Null }, &[int], None).unwrap();
        let mut out: Vec<Emit> =
            [paid, sum, neg, abs, least, up, down, back, of_int].map(|v| emit(v, data_type.clone())).to_vec();
        out.push(emit(less, DataType::Boolean));
        out.push(emit(int, DataType::Int32));
        out.push(emit(float, DataType::Float64));
        let (lp, _) = b.finish(Sink::Emit(out));
        check(&lp, &|n| vec![decimals(n, 1, nulls), decimals(n, 2, nulls)]);

        let mut b = LoopBuilder::new();
        let price = b.input("price", &data_type, nulls).unwrap();
        let discount = b.input("discount", &data_type, nulls).unwrap();
        let less = b.inst(Op::Cmp(CmpOp::Lt), &[price, discount], None).unwrap();
        let aggs = vec![
            agg(AggFunc::Sum, Some(price), Some(less), Ty::I128),
            agg(AggFunc::Min, Some(price), None, Ty::I128),
            agg(AggFunc::Max, Some(price), Some(less), Ty::I128),
            agg(AggFunc::Count, Some(price), None, Ty::I64),
        ];
        let (lp, _) = b.finish(Sink::Aggregate(aggs));
        check(&lp, &|n| vec![decimals(n, 1, nulls), decimals(n, 2, nulls)]);

        let mut b = LoopBuilder::new();
        let x = b.input("x", &data_type, nulls).unwrap();
        let y = b.input("y", &data_type, nulls).unwrap();
        let q = b.inst(Op::DecDiv { left_pow: 4, right_pow: 0 }, &[x, y], None).unwrap();
        let r = b.inst(Op::Rem, &[x, y], None).unwrap();
        let (lp, _) = b.finish(Sink::Emit(vec![emit(q, data_type.clone()), emit(r, data_type.clone())]));
        check(&lp, &|n| vec![decimals(n, 1, nulls), decimals(n, 2, nulls)]);
    }
}

#[test]
fn strings_of_all_encodings() {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int16), Box::new(DataType::Utf8));
    for data_type in [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View, dictionary] {
        for nulls in [false, true] {
            let mut b = LoopBuilder::new();
            let s = b.input("s", &data_type, nulls).unwrap();
            let t = b.input("t", &data_type, nulls).unwrap();
            let k = b.input("k", &DataType::Int64, nulls).unwrap();
            let mail = b.lit(Lit::Str("MAIL".to_owned()));
            let eq = b.inst(Op::Cmp(CmpOp::Eq), &[s, mail], None).unwrap();
            let lt = b.inst(Op::Cmp(CmpOp::Lt), &[s, t], None).unwrap();
            let distinct = b.inst(Op::Distinct, &[s, t], None).unwrap();
            let set = vec![Lit::Str("ab3".to_owned()), Lit::Str(String::new())];
            let member = b.inst(Op::InSet(set), &[s], None).unwrap();
            let like = StrTest::Like { pattern: "%piece%te_t".to_owned(), case_insensitive: false };
            let like = b.inst(Op::StrTest(like), &[s], None).unwrap();
            let starts = b.inst(Op::StrTest(StrTest::StartsWith("ab".to_owned())), &[s], None).unwrap();
            let length = b.inst(Op::StrLen(Bound::Chars), &[s], None).unwrap();
            let two = b.lit(Lit::I64(2));
            let zero = b.lit(Lit::I64(5));
            let part = b.inst(Op::Substr, &[s, two, zero], None).unwrap();
            let tail = b.inst(Op::Substr, &[s, k], None);
            let chosen = b.inst(Op::Select, &[lt, s, mail], None).unwrap();
            let first = b.inst(Op::Coalesce, &[s, t], None).unwrap();
            let dropped = b.inst(Op::NullIf, &[s, eq], None).unwrap();
            let seven = b.lit(Lit::I64(7));
            let small = b.inst(Op::Cmp(CmpOp::Lt), &[k, seven], None).unwrap();
            b.filter(small).unwrap();
            let either = b.inst(Op::Or, &[lt, like], None).unwrap();
            let mut out: Vec<Emit> =
                [eq, lt, distinct, member, like, starts, either].map(|v| emit(v, DataType::Boolean)).to_vec();
            out.push(emit(length, DataType::Int32));
            out.push(emit(part, DataType::Utf8));
            out.push(emit(chosen, DataType::LargeUtf8));
            out.push(emit(first, DataType::Utf8View));
            out.push(emit(dropped, DataType::Utf8));
            out.push(emit(s, DataType::Utf8View));
            let _ = tail;
            let (lp, _) = b.finish(Sink::Emit(out));
            check(&lp, &|n| {
                let make = |salt| arrow::compute::cast(&texts(n, salt, nulls), &data_type).unwrap();
                vec![make(1), make(2), i64s(n, 3, nulls)]
            });
        }
    }
}

#[test]
fn functions_and_calendar() {
    for nulls in [false, true] {
        let mut b = LoopBuilder::new();
        let x = b.input("x", &DataType::Float64, nulls).unwrap();
        let d = b.input("d", &DataType::Date32, nulls).unwrap();
        let mut out = Vec::new();
        for f in [
            MathFn::Sqrt,
            MathFn::Floor,
            MathFn::Ceil,
            MathFn::Trunc,
            MathFn::Round,
            MathFn::Signum,
            MathFn::Sin,
            MathFn::Exp,
            MathFn::Cbrt,
        ] {
            for p in [Precision::Fast, Precision::Libm] {
                let v = b.inst(Op::Math(f, p), &[x], None).unwrap();
                out.push(emit(v, DataType::Float64));
            }
        }
        let two = b.lit(Lit::F64(2.0));
        let v = b.inst(Op::MathBin(MathBin::Pow, Precision::Fast), &[x, two], None).unwrap();
        let w = b.inst(Op::Rem, &[v, two], None).unwrap();
        let sum = b.inst(Op::Add(Overflow::Wrap), &[v, w], None).unwrap();
        out.push(emit(sum, DataType::Float64));
        for part in [DatePart::Year, DatePart::Week, DatePart::DayOfYear, DatePart::Hour] {
            let v = b.inst(Op::DatePart { part, unit: TimeUnit::Day }, &[d], None).unwrap();
            out.push(emit(v, DataType::Int32));
        }
        let month = b.inst(Op::DateTrunc { to: TruncTo::Month, unit: TimeUnit::Day }, &[d], None).unwrap();
        out.push(emit(month, DataType::Date32));
        let (lp, _) = b.finish(Sink::Emit(out));
        check(&lp, &|n| {
            let days = Date32Array::from_iter(
                (0..n).map(|i| (!nulls || !is_null(i, 6)).then_some((noise(i, 5) % 40_000) as i32 - 9_000)),
            );
            vec![f64s(n, 1, nulls), Arc::new(days) as ArrayRef]
        });
    }
}

#[test]
fn failures_count_only_where_they_should() {
    // CASE WHEN y <> 0 THEN x / y ELSE 0 END, after a filter that drops other failing rows.
    let mut b = LoopBuilder::new();
    let x = b.input("x", &DataType::Int64, true).unwrap();
    let y = b.input("y", &DataType::Int64, true).unwrap();
    let zero = b.lit(Lit::I64(0));
    let minus_one = b.lit(Lit::I64(-1));
    let keep = b.inst(Op::Cmp(CmpOp::Ne), &[y, minus_one], None).unwrap();
    b.filter(keep).unwrap();
    let some = b.inst(Op::Cmp(CmpOp::Ne), &[y, zero], None).unwrap();
    let quotient = b.inst(Op::Div, &[x, y], Some(some)).unwrap();
    let out = b.inst(Op::Select, &[some, quotient, zero], None).unwrap();
    let unsafe_quotient = b.inst(Op::Rem, &[x, y], None).unwrap();
    let (lp, _) = b.finish(Sink::Emit(vec![emit(out, DataType::Int64)]));
    check(&lp, &|n| vec![i64s(n, 1, true), i64s(n, 2, true)]);
    let _ = unsafe_quotient;
    // A guard in lanes.
    let mut b = LoopBuilder::new();
    let x = b.input("x", &DataType::Float64, true).unwrap();
    let limit = b.lit(Lit::F64(99.9));
    let ok = b.inst(Op::Cmp(CmpOp::Lt), &[x, limit], None).unwrap();
    let guarded = b.inst(Op::Guard("too large".to_owned()), &[x, ok], None).unwrap();
    let (lp, _) = b.finish(Sink::Emit(vec![emit(guarded, DataType::Float64)]));
    check(&lp, &|n| vec![f64s(n, 1, true)]);
}

#[test]
fn constants_and_retyped_columns_leave_without_code() {
    let mut b = LoopBuilder::new();
    let x = b.input("x", &DataType::Int32, true).unwrap();
    let seven = b.lit(Lit::I64(7));
    let null = b.lit(Lit::Null(Ty::F64));
    let text = b.lit(Lit::Str("x".to_owned()));
    let (lp, _) = b.finish(Sink::Emit(vec![
        emit(x, DataType::Date32),
        emit(seven, DataType::Int64),
        emit(null, DataType::Float64),
        emit(text, DataType::Utf8View),
    ]));
    check(&lp, &|n| vec![i32s(n, 1, true)]);
}

#[test]
fn slices_and_offsets_are_respected() {
    let mut b = LoopBuilder::new();
    let x = b.input("x", &DataType::Float64, true).unwrap();
    let f = b.input("f", &DataType::Boolean, true).unwrap();
    let s = b.input("s", &DataType::Utf8, true).unwrap();
    let d = b.inst(Op::Add(Overflow::Wrap), &[x, x], None).unwrap();
    b.filter(f).unwrap();
    let out = vec![emit(d, DataType::Float64), emit(s, DataType::Utf8)];
    let (lp, _) = b.finish(Sink::Emit(out));
    check(&lp, &|n| {
        let cut = |a: ArrayRef| a.slice(13, n);
        vec![cut(f64s(n + 20, 1, true)), cut(bools(n + 20, 2, true)), cut(Arc::new(texts(n + 20, 3, true)))]
    });
}
