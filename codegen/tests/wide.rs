//! What only wide vectors have: more values than registers and addresses, chunks of many rows, groups that
//! are unrolled, and their place in listings.

use super::chosen::*;

use crate::support::engines::all_vectors;
use arrow::array::*;
use arrow::datatypes::DataType;
use fuseline_codegen::cpu::{CompileOptions, Vectors, compile, has_wide_vectors, listing};
use fuseline_codegen::ir::*;
use fuseline_codegen::run::{Morsel, RunLoop};

const WRAP: Overflow = Overflow::Wrap;

/// The loop's wide code, if this machine has any, keeps vectors and masks on the stack.
fn assert_spills(lp: &Loop) {
    if !has_wide_vectors() {
        return;
    }
    let shown = listing(lp, &CompileOptions::default()).unwrap().disasm;
    let (wide, _) = shown.split_once("; the frame").unwrap();
    let on_stack = |what: &str| wide.lines().any(|l| l.contains(what) && l.contains("[rsp"));
    assert!(on_stack("zmm") && on_stack("kmovb"), "{wide}");
}

#[test]
fn more_values_than_registers() {
    for nulls in [false, true] {
        let mut b = LoopBuilder::new();
        let inputs: Vec<ValueId> =
            (0..40).map(|i| b.input(&format!("c{i}"), &DataType::Int64, nulls).unwrap()).collect();
        // All sums and tests are made before any is used, the last ones first.
        let mut sums = Vec::new();
        let mut tests = Vec::new();
        for (i, x) in inputs.iter().enumerate() {
            let c = b.lit(Lit::I64(1000 + i as i64));
            let y = inputs[(i * 7 + 3) % inputs.len()];
            let scaled = b.inst(Op::Mul(WRAP), &[*x, c], None).unwrap();
            sums.push(b.inst(Op::Add(WRAP), &[scaled, y], None).unwrap());
            tests.push(b.inst(Op::Cmp(CmpOp::Lt), &[*x, y], None).unwrap());
        }
        let mut all = sums[39];
        for (i, sum) in sums.iter().enumerate().rev() {
            let chosen = b.inst(Op::Select, &[tests[(i + 20) % 40], *sum, all], None).unwrap();
            all = b.inst(Op::BitXor, &[all, chosen], None).unwrap();
        }
        let mut any = tests[0];
        for (i, test) in tests.iter().enumerate().skip(1) {
            let op = if i % 3 == 0 { Op::Or } else { Op::And };
            any = b.inst(op, &[*test, any], None).unwrap();
        }
        let mut out: Vec<Emit> = sums.iter().map(|v| emit(*v, DataType::Int64)).collect();
        out.extend(tests.iter().map(|v| emit(*v, DataType::Boolean)));
        out.push(emit(all, DataType::Int64));
        out.push(emit(any, DataType::Boolean));
        let (lp, _) = b.finish(Sink::Emit(out));
        assert_spills(&lp);
        check(&lp, &|n| (0..40).map(|i| i64s(n, i, nulls)).collect());
    }
}

#[test]
fn more_aggregates_than_registers() {
    for nulls in [false, true] {
        let mut b = LoopBuilder::new();
        let ints: Vec<ValueId> =
            (0..12).map(|i| b.input(&format!("i{i}"), &DataType::Int64, nulls).unwrap()).collect();
        let floats: Vec<ValueId> =
            (0..12).map(|i| b.input(&format!("f{i}"), &DataType::Float64, nulls).unwrap()).collect();
        let zero = b.lit(Lit::I64(0));
        let mut aggs = Vec::new();
        for (x, f) in ints.iter().zip(&floats) {
            let positive = b.inst(Op::Cmp(CmpOp::Gt), &[*x, zero], None).unwrap();
            let doubled = b.inst(Op::Add(Overflow::Err), &[*x, zero], Some(positive)).unwrap();
            aggs.push(agg(AggFunc::Sum, Some(doubled), Some(positive), Ty::I64));
            aggs.push(agg(AggFunc::Min, Some(*x), None, Ty::I64));
            aggs.push(agg(AggFunc::Sum, Some(*f), Some(positive), Ty::F64));
            aggs.push(agg(AggFunc::Max, Some(*f), None, Ty::F64));
            aggs.push(agg(AggFunc::Count, Some(*f), Some(positive), Ty::I64));
        }
        let (lp, _) = b.finish(Sink::Aggregate(aggs));
        assert_spills(&lp);
        check(&lp, &|n| {
            let ints = (0..12).map(|i| i64s(n, i, nulls));
            ints.chain((0..12).map(|i| f64s(n, 100 + i, nulls))).collect()
        });
    }
}

/// Loops over columns alone run over more rows at a time than a chunk has.
#[test]
fn long_chunks_and_what_follows_them() {
    let mut b = LoopBuilder::new();
    let x = b.input("x", &DataType::Float64, true).unwrap();
    let k = b.input("k", &DataType::Int32, true).unwrap();
    let flag = b.input("flag", &DataType::Boolean, true).unwrap();
    let limit = b.lit(Lit::F64(99.0));
    let low = b.inst(Op::Cmp(CmpOp::Lt), &[x, limit], None).unwrap();
    let both = b.inst(Op::And, &[low, flag], None).unwrap();
    let row = b.inst(Op::RowIndex, &[], None).unwrap();
    let aggs = vec![
        agg(AggFunc::Sum, Some(x), Some(low), Ty::F64),
        agg(AggFunc::Count, Some(k), Some(both), Ty::I64),
        agg(AggFunc::Min, Some(k), Some(flag), Ty::I32),
        agg(AggFunc::Sum, Some(row), Some(both), Ty::I64),
        agg(AggFunc::Count, None, None, Ty::I64),
    ];
    let (summed, _) = b.finish(Sink::Aggregate(aggs));
    let mut b = LoopBuilder::new();
    let x = b.input("x", &DataType::Float64, true).unwrap();
    let k = b.input("k", &DataType::Int32, true).unwrap();
    let flag = b.input("flag", &DataType::Boolean, true).unwrap();
    let twice = b.inst(Op::Add(WRAP), &[x, x], None).unwrap();
    let chosen = b.inst(Op::Select, &[flag, k, k], None).unwrap();
    let not = b.inst(Op::Not, &[flag], None).unwrap();
    let out =
        vec![emit(twice, DataType::Float64), emit(chosen, DataType::Int32), emit(not, DataType::Boolean)];
    let (emitted, _) = b.finish(Sink::Emit(out));
    for lp in [summed, emitted] {
        for vectors in all_vectors() {
            let compiled = compile(&lp, &CompileOptions { verify: true, vectors: *vectors }).unwrap();
            for rows in [65_535, 65_536, 65_544, 200_000] {
                let cut = |a: ArrayRef| a.slice(5, rows);
                let inputs = [
                    cut(f64s(rows + 9, 1, true)),
                    cut(i32s(rows + 9, 2, true)),
                    cut(bools(rows + 9, 3, true)),
                ];
                let morsel = Morsel { inputs: &inputs, rows, row_base: 77, joins: &[] };
                let want = interp::run(&lp, &morsel).unwrap();
                same(&want, &compiled.run(&morsel).unwrap(), rows);
            }
        }
    }
}

#[test]
fn listings_show_wide_loops() {
    let text = "loop {
  input 0: f64? as Float64
  v0 = input 0
  v1: f64 = const 2.5
  v2 = mul v0, v1
  aggregate sum(v2): f64
}";
    let source: Loop = text.parse().unwrap();
    let narrow = CompileOptions { vectors: Vectors::Narrow, ..CompileOptions::default() };
    let shown = listing(&source, &narrow).unwrap().disasm;
    assert!(!shown.contains("zmm") && !shown.contains("a wide loop"), "{shown}");
    assert_eq!(compile(&source, &narrow).unwrap().stats().wide_loops, 0);
    if !has_wide_vectors() {
        return;
    }
    let shown = listing(&source, &CompileOptions::default()).unwrap().disasm;
    let (wide, frame) = shown.split_once("; the frame").unwrap();
    assert!(wide.contains("a wide loop") && wide.contains("prefetcht0"), "{shown}");
    // A filtered sum is a masked move and an addition a group: two groups at a time, and the one that may
    // be left. The addition itself has no mask, see `write.rs`.
    assert_eq!(wide.matches("{z},zmm").count(), 3, "{shown}");
    assert_eq!(wide.matches("vaddpd zmm0,zmm0,zmm31").count(), 3, "{shown}");
    assert!(wide.contains("vzeroupper") && !frame.contains("zmm"), "{shown}");
    let stats = compile(&source, &CompileOptions::default()).unwrap().stats();
    assert_eq!((stats.wide_loops, stats.narrow_loops), (1, 0));
}
