//! What keeps a row from taking all time and all memory, and columns that are not the function's.

use arrow::array::{Array, ArrayRef, Int64Array, StringArray};
use arrow::datatypes::DataType;
use fuseline_codegen::cpu::CompileOptions;
use fuseline_codegen::cpu::function::{BatchResult, compile};
use fuseline_codegen::function::parse;
use std::sync::Arc;

fn run(text: &str, column: ArrayRef, result: &DataType) -> BatchResult {
    let types = [column.data_type().clone()];
    let options = CompileOptions { verify: true, ..CompileOptions::default() };
    let compiled = compile(parse(text).unwrap(), &types, result, &options).unwrap();
    let rows = column.len();
    compiled.run(&[column], rows).unwrap()
}

#[test]
fn an_endless_loop_bails() {
    let text = "function \"spin\"(\"n\": int) -> int {
        v0 = get l0 v1 = int 3
        while { v2 = cmp.eq v0, v1 } v2 { }
        return v0 }";
    let out = run(text, Arc::new(Int64Array::from(vec![1, 3, 2])), &DataType::Int64);
    assert_eq!(out.bailed, [1]);
    let values = out.values.as_any().downcast_ref::<Int64Array>().unwrap();
    assert_eq!(values.iter().collect::<Vec<_>>(), [Some(1), None, Some(2)]);
}

#[test]
fn a_text_that_grows_without_end_bails_and_its_memory_comes_back() {
    // Doubles the text n times.
    let text = "function \"double\"(\"n\": int) -> str {
        locals int, str
        v0 = int 0 l1 = v0 v1 = str \"0123456789abcdef\" l2 = v1
        while { v2 = get l1 v3 = get l0 v4 = cmp.lt v2, v3 } v4 {
          v5 = get l2 v6 = concat v5, v5 l2 = v6
        } step { v7 = get l1 v8 = int 1 v9 = add v7, v8 l1 = v9 }
        v10 = get l2 return v10 }";
    let counts: Vec<i64> = (0..60).map(|i| if i % 3 == 2 { 60 } else { i % 3 * 14 }).collect();
    let out = run(text, Arc::new(Int64Array::from(counts.clone())), &DataType::Utf8);
    let grown: Vec<u32> = (0..60).filter(|i| i % 3 == 2).collect();
    assert_eq!(out.bailed, grown);
    let texts = out.values.as_any().downcast_ref::<StringArray>().unwrap();
    for (row, count) in counts.iter().enumerate() {
        assert_eq!(texts.is_null(row), *count == 60);
        assert!(texts.is_null(row) || texts.value(row).len() == 16 << count);
    }
}

#[test]
fn columns_that_do_not_fit_are_refused() {
    let text = "function \"f\"(\"n\": int) -> int { v0 = get l0 return v0 }";
    let compile = |from: &DataType, to: &DataType| {
        compile(parse(text).unwrap(), std::slice::from_ref(from), to, &CompileOptions::default())
    };
    assert!(compile(&DataType::Utf8, &DataType::Int64).is_err());
    assert!(compile(&DataType::Int64, &DataType::Float64).is_err());
    let compiled = compile(&DataType::Int64, &DataType::Int64).unwrap();
    let nulls: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(1)]));
    assert!(compiled.run(&[nulls], 2).unwrap_err().to_string().contains("n has nulls"));
    let short: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    assert!(compiled.run(&[short], 2).is_err());
    assert!(compiled.run(&[], 2).is_err());
}
