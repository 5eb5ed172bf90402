//! Hypothesis: compiled loops run within 1.3 of a hand-written Rust loop over data in memory and within
//! 2.0 over data in the L2 cache. Axes: the loops of the project's speed list, each at 32,768 rows
//! repeated and at 20 million rows. One thread. The Rust loops are compiled for this machine's vectors
//! (`target_feature`), and sums use eight accumulators, because strict order would forbid vectors.
//!
//! `cargo run --release -p fuseline-codegen --example loops [FILTER]`; with `FUSELINE_LISTING=1` it
//! prints CLIF and disassembly of the loops instead.

use arrow::array::*;
use arrow::datatypes::DataType;
use fuseline_codegen::cpu::{CompileOptions, compile, listing};
use fuseline_codegen::ir::*;
use fuseline_codegen::run::{Morsel, RunLoop};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const SMALL: usize = 32_768;
const LARGE: usize = 20_000_000;
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MORSEL: usize = 65_536;

/// One comparison: a loop, its columns, and the same thing by hand on raw slices of these columns.
struct Case {
    name: &'static str,
    lp: Loop,
    columns: Vec<ArrayRef>,
    hand: fn(&[ArrayRef]) -> f64,
}

fn noise(i: usize, salt: u64) -> u64 {
    let mut x = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt.wrapping_mul(0xD1B5_4A32_D192_ED03);
    x ^= x >> 29;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^ x >> 32
}

fn f64_column(n: usize, salt: u64) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values((0..n).map(|i| (noise(i, salt) % 10_000) as f64 / 100.0)))
}

fn i64_column(n: usize, salt: u64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values((0..n).map(|i| (noise(i, salt) % 1_000) as i64)))
}

fn i32_column(n: usize, salt: u64) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values((0..n).map(|i| (noise(i, salt) % 2_500) as i32)))
}

fn decimal_column(n: usize, salt: u64) -> ArrayRef {
    let values = Decimal128Array::from_iter_values((0..n).map(|i| i128::from(noise(i, salt) % 100)));
    Arc::new(values.with_precision_and_scale(15, 2).unwrap())
}

fn nullable_column(n: usize, salt: u64) -> ArrayRef {
    Arc::new(Float64Array::from_iter((0..n).map(|i| {
        let r = noise(i, salt);
        (!r.is_multiple_of(5)).then_some((r % 10_000) as f64 / 100.0)
    })))
}

fn emit(value: ValueId, data_type: DataType) -> Emit {
    Emit::Value { value, data_type, nullable: false }
}

fn sum(value: ValueId, filter: Option<ValueId>) -> Agg {
    Agg { func: AggFunc::Sum, arg: Some(value), filter, ty: Ty::F64 }
}

fn f64s(a: &ArrayRef) -> &[f64] {
    a.as_primitive::<arrow::datatypes::Float64Type>().values()
}

fn i64s(a: &ArrayRef) -> &[i64] {
    a.as_primitive::<arrow::datatypes::Int64Type>().values()
}

fn i32s(a: &ArrayRef) -> &[i32] {
    a.as_primitive::<arrow::datatypes::Int32Type>().values()
}

fn i128s(a: &ArrayRef) -> &[i128] {
    a.as_primitive::<arrow::datatypes::Decimal128Type>().values()
}

/// Defines hand-written loops with the features of a recent server.
macro_rules! by_hand {
    ($($(#[$doc:meta])* fn $name:ident($c:ident) $body:block)*) => { $(
        $(#[$doc])*
        fn $name($c: &[ArrayRef]) -> f64 {
            #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512cd,avx512dq,avx512vl")]
            fn fast($c: &[ArrayRef]) -> f64 $body
            #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
            fn plain($c: &[ArrayRef]) -> f64 $body
            if is_x86_feature_detected!("avx512bw") {
                // SAFETY: the machine has the features.
                unsafe { fast($c) }
            } else {
                // SAFETY: every machine this is run on has AVX2.
                unsafe { plain($c) }
            }
        }
    )* };
}

by_hand! {
    fn q6_by_hand(c) {
        let (day, quantity, price, discount) = (i32s(&c[0]), f64s(&c[1]), f64s(&c[2]), f64s(&c[3]));
        let n = day.len();
        let (quantity, price, discount) = (&quantity[..n], &price[..n], &discount[..n]);
        let mut sums = [0.0f64; 8];
        for g in 0..n / 8 {
            for (k, sum) in sums.iter_mut().enumerate() {
                let i = g * 8 + k;
                let keep = (day[i] >= 500)
                    & (day[i] < 865)
                    & (discount[i] >= 20.0)
                    & (discount[i] <= 60.0)
                    & (quantity[i] < 24.0);
                *sum += if keep { price[i] * discount[i] } else { 0.0 };
            }
        }
        sums.iter().sum()
    }
    fn filter_project_by_hand(c) {
        let (a, b) = (f64s(&c[0]), f64s(&c[1]));
        let n = a.len();
        let b = &b[..n];
        let mut first: Vec<f64> = Vec::with_capacity(n + 8);
        let mut second: Vec<f64> = Vec::with_capacity(n + 8);
        let mut k = 0;
        for i in 0..n {
            // SAFETY: k is at most i, and both vectors have room for n values.
            unsafe {
                first.as_mut_ptr().add(k).write(a[i]);
                second.as_mut_ptr().add(k).write(a[i] * b[i]);
            }
            k += usize::from(a[i] < 25.0);
        }
        // SAFETY: k values were written.
        unsafe {
            first.set_len(k);
            second.set_len(k);
        }
        black_box((first, second));
        k as f64
    }
    fn arithmetic_by_hand(c) {
        let (a, b) = (f64s(&c[0]), f64s(&c[1]));
        let out: Vec<f64> = a.iter().zip(b).map(|(a, b)| a * b + a - b / 2.0).collect();
        let last = out[out.len() - 1];
        black_box(out);
        last
    }
    fn odd_by_hand(c) {
        i64s(&c[0]).iter().filter(|k| **k % 2 == 1).count() as f64
    }
    fn case_by_hand(c) {
        let a = f64s(&c[0]);
        let b = f64s(&c[1]);
        let out: Vec<f64> = a
            .iter()
            .zip(b)
            .map(|(a, b)| if *a < 30.0 { a * 2.0 } else if *a < 60.0 { *b } else { a + b })
            .collect();
        let last = out[out.len() - 1];
        black_box(out);
        last
    }
    fn in_list_by_hand(c) {
        i32s(&c[0])
            .iter()
            .filter(|k| matches!(**k, 3 | 17 | 99 | 256 | 1024 | 1999 | 2000 | 2400))
            .count() as f64
    }
    fn decimal_by_hand(c) {
        let (price, discount, tax) = (i128s(&c[0]), i128s(&c[1]), i128s(&c[2]));
        let n = price.len();
        let (discount, tax) = (&discount[..n], &tax[..n]);
        let mut first: Vec<i128> = Vec::with_capacity(n);
        let mut second: Vec<i128> = Vec::with_capacity(n);
        let mut failed = false;
        for i in 0..n {
            let paid = price[i].checked_mul(100 - discount[i]);
            let charged = paid.and_then(|p| p.checked_mul(100 + tax[i]));
            failed |= charged.is_none();
            first.push(paid.unwrap_or(0));
            second.push(charged.unwrap_or(0));
        }
        let last = second[n - 1] as f64;
        black_box((first, second));
        if failed { f64::NAN } else { last }
    }
    fn nullable_by_hand(c) {
        let array = c[0].as_primitive::<arrow::datatypes::Float64Type>();
        let values = array.values();
        let nulls = array.nulls().unwrap();
        let bits = nulls.inner().sliced();
        let mut sums = [0.0f64; 8];
        for (g, byte) in bits[..values.len() / 8].iter().enumerate() {
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum += if byte >> k & 1 == 1 { values[g * 8 + k] } else { 0.0 };
            }
        }
        sums.iter().sum()
    }
}

fn cases(n: usize) -> Vec<Case> {
    let cmp = |b: &mut LoopBuilder, op, x, lit| {
        let c = b.lit(lit);
        b.inst(Op::Cmp(op), &[x, c], None).unwrap()
    };
    let wrap = Overflow::Wrap;
    let mut out = Vec::new();

    let mut b = LoopBuilder::new();
    let day = b.input("day", &DataType::Int32, false).unwrap();
    let quantity = b.input("quantity", &DataType::Float64, false).unwrap();
    let price = b.input("price", &DataType::Float64, false).unwrap();
    let discount = b.input("discount", &DataType::Float64, false).unwrap();
    let tests = [
        cmp(&mut b, CmpOp::Ge, day, Lit::I32(500)),
        cmp(&mut b, CmpOp::Lt, day, Lit::I32(865)),
        cmp(&mut b, CmpOp::Ge, discount, Lit::F64(20.0)),
        cmp(&mut b, CmpOp::Le, discount, Lit::F64(60.0)),
        cmp(&mut b, CmpOp::Lt, quantity, Lit::F64(24.0)),
    ];
    let mut keep = tests[0];
    for t in &tests[1..] {
        keep = b.inst(Op::And, &[keep, *t], None).unwrap();
    }
    let product = b.inst(Op::Mul(wrap), &[price, discount], None).unwrap();
    let (lp, _) = b.finish(Sink::Aggregate(vec![sum(product, Some(keep))]));
    out.push(Case {
        name: "Q6-like filter + sum",
        lp,
        columns: vec![i32_column(n, 1), f64_column(n, 2), f64_column(n, 3), f64_column(n, 4)],
        hand: q6_by_hand,
    });

    let mut b = LoopBuilder::new();
    let x = b.input("a", &DataType::Float64, false).unwrap();
    let y = b.input("b", &DataType::Float64, false).unwrap();
    let keep = cmp(&mut b, CmpOp::Lt, x, Lit::F64(25.0));
    b.filter(keep).unwrap();
    let product = b.inst(Op::Mul(wrap), &[x, y], None).unwrap();
    let (lp, _) = b.finish(Sink::Emit(vec![emit(x, DataType::Float64), emit(product, DataType::Float64)]));
    out.push(Case {
        name: "25 % filter + project",
        lp,
        columns: vec![f64_column(n, 1), f64_column(n, 2)],
        hand: filter_project_by_hand,
    });

    let mut b = LoopBuilder::new();
    let x = b.input("a", &DataType::Float64, false).unwrap();
    let y = b.input("b", &DataType::Float64, false).unwrap();
    let two = b.lit(Lit::F64(2.0));
    let p = b.inst(Op::Mul(wrap), &[x, y], None).unwrap();
    let s = b.inst(Op::Add(wrap), &[p, x], None).unwrap();
    let h = b.inst(Op::Div, &[y, two], None).unwrap();
    let v = b.inst(Op::Sub(wrap), &[s, h], None).unwrap();
    let (lp, _) = b.finish(Sink::Emit(vec![emit(v, DataType::Float64)]));
    out.push(Case {
        name: "a*b+a-b/2",
        lp,
        columns: vec![f64_column(n, 1), f64_column(n, 2)],
        hand: arithmetic_by_hand,
    });

    let mut b = LoopBuilder::new();
    let k = b.input("k", &DataType::Int64, false).unwrap();
    let two = b.lit(Lit::I64(2));
    let rest = b.inst(Op::Rem, &[k, two], None).unwrap();
    let odd = cmp(&mut b, CmpOp::Eq, rest, Lit::I64(1));
    let count = Agg { func: AggFunc::Count, arg: None, filter: Some(odd), ty: Ty::I64 };
    let (lp, _) = b.finish(Sink::Aggregate(vec![count]));
    out.push(Case { name: "count where k % 2 = 1", lp, columns: vec![i64_column(n, 1)], hand: odd_by_hand });

    let mut b = LoopBuilder::new();
    let x = b.input("a", &DataType::Float64, false).unwrap();
    let y = b.input("b", &DataType::Float64, false).unwrap();
    let two = b.lit(Lit::F64(2.0));
    let first = cmp(&mut b, CmpOp::Lt, x, Lit::F64(30.0));
    let second = cmp(&mut b, CmpOp::Lt, x, Lit::F64(60.0));
    let p = b.inst(Op::Mul(wrap), &[x, two], None).unwrap();
    let s = b.inst(Op::Add(wrap), &[x, y], None).unwrap();
    let inner = b.inst(Op::Select, &[second, y, s], None).unwrap();
    let v = b.inst(Op::Select, &[first, p, inner], None).unwrap();
    let (lp, _) = b.finish(Sink::Emit(vec![emit(v, DataType::Float64)]));
    out.push(Case {
        name: "CASE",
        lp,
        columns: vec![f64_column(n, 1), f64_column(n, 2)],
        hand: case_by_hand,
    });

    let mut b = LoopBuilder::new();
    let k = b.input("k", &DataType::Int32, false).unwrap();
    let set = [3, 17, 99, 256, 1024, 1999, 2000, 2400].map(Lit::I32).to_vec();
    let found = b.inst(Op::InSet(set), &[k], None).unwrap();
    let count = Agg { func: AggFunc::Count, arg: None, filter: Some(found), ty: Ty::I64 };
    let (lp, _) = b.finish(Sink::Aggregate(vec![count]));
    out.push(Case { name: "IN list", lp, columns: vec![i32_column(n, 1)], hand: in_list_by_hand });

    let decimal = DataType::Decimal128(15, 2);
    let mut b = LoopBuilder::new();
    let price = b.input("price", &decimal, false).unwrap();
    let discount = b.input("discount", &decimal, false).unwrap();
    let tax = b.input("tax", &decimal, false).unwrap();
    let one = b.lit(Lit::I128(100));
    let rest = b.inst(Op::Sub(Overflow::Err), &[one, discount], None).unwrap();
    let paid = b.inst(Op::Mul(Overflow::Err), &[price, rest], None).unwrap();
    let more = b.inst(Op::Add(Overflow::Err), &[one, tax], None).unwrap();
    let charged = b.inst(Op::Mul(Overflow::Err), &[paid, more], None).unwrap();
    let (lp, _) = b.finish(Sink::Emit(vec![
        emit(paid, DataType::Decimal128(38, 4)),
        emit(charged, DataType::Decimal128(38, 6)),
    ]));
    out.push(Case {
        name: "decimal Q1-like projection",
        lp,
        columns: vec![decimal_column(n, 1), decimal_column(n, 2), decimal_column(n, 3)],
        hand: decimal_by_hand,
    });

    let mut b = LoopBuilder::new();
    let x = b.input("x", &DataType::Float64, true).unwrap();
    let (lp, _) = b.finish(Sink::Aggregate(vec![sum(x, None)]));
    out.push(Case { name: "nullable sum", lp, columns: vec![nullable_column(n, 1)], hand: nullable_by_hand });
    out
}

/// The least time of some runs, in nanoseconds per row.
fn time(rows: usize, rounds: usize, mut run: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..rounds {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best * 1e9 / rows as f64
}

fn morsels(columns: &[ArrayRef]) -> Vec<(usize, Vec<ArrayRef>)> {
    let rows = columns[0].len();
    (0..rows.div_ceil(MORSEL))
        .map(|m| {
            let len = MORSEL.min(rows - m * MORSEL);
            (len, columns.iter().map(|c| c.slice(m * MORSEL, len)).collect())
        })
        .collect()
}

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    if std::env::var_os("FUSELINE_LISTING").is_some() {
        for case in cases(8).into_iter().filter(|c| c.name.contains(&wanted)) {
            let text = listing(&case.lp, &CompileOptions::default()).unwrap();
            println!("==== {}\n{}\n{}", case.name, text.clif, text.disasm);
        }
        return;
    }
    println!("{:28} {:>10} {:>8} {:>8} {:>6}  us/compile", "loop", "rows", "hand", "fused", "ratio");
    for rows in [SMALL, LARGE] {
        for case in cases(rows).into_iter().filter(|c| c.name.contains(&wanted)) {
            let compiled = compile(&case.lp, &CompileOptions::default()).unwrap();
            let mut compile_times: Vec<f64> = (0..20)
                .map(|_| {
                    let stats = compile(&case.lp, &CompileOptions::default()).unwrap().stats();
                    stats.compile_time.as_secs_f64() * 1e6
                })
                .collect();
            compile_times.sort_by(f64::total_cmp);
            let morsels = morsels(&case.columns);
            let (rounds, repeats) = if rows == SMALL { (30, 20) } else { (5, 1) };
            let (mut hand, mut fused) = (f64::MAX, f64::MAX);
            // Interleaved, so that a slow moment of the machine hits both.
            for _ in 0..rounds {
                fused = fused.min(time(rows * repeats, 1, || {
                    for _ in 0..repeats {
                        for (rows, inputs) in &morsels {
                            let morsel = Morsel { inputs, rows: *rows, row_base: 0, joins: &[] };
                            black_box(compiled.run(&morsel).unwrap());
                        }
                    }
                }));
                hand = hand.min(time(rows * repeats, 1, || {
                    for _ in 0..repeats {
                        for (_, inputs) in &morsels {
                            black_box((case.hand)(inputs));
                        }
                    }
                }));
            }
            println!(
                "{:28} {:>10} {:8.3} {:8.3} {:6.2}  {:.0}",
                case.name,
                rows,
                hand,
                fused,
                fused / hand,
                compile_times[10]
            );
        }
    }
}
