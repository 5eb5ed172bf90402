//! Hypothesis: a compiled function of a row costs what its operations cost: a few nanoseconds for arithmetic, tens for one
//! that cuts numbers out of text; and a function without loops and texts that is dissolved into a loop costs what the
//! same expression costs there. Axes: the four reference functions, row by row and in a loop, over 1 M doubles; text
//! functions as people write them to clean listings, over 200,000 texts. One thread; the best of 7 runs.
//!
//! `cargo run --release -p fuseline-codegen --example functions [FILTER]`

use arrow::array::*;
use arrow::datatypes::DataType;
use fuseline_codegen::cpu::CompileOptions;
use fuseline_codegen::cpu::function::compile;
use fuseline_codegen::function::inline::inline;
use fuseline_codegen::function::{Base, Function, parse, verify};
use fuseline_codegen::ir::{Emit, Lit, LoopBuilder, Sink, Ty};
use fuseline_codegen::run::{Morsel, RunLoop};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FLOATS: &[(&str, &str)] = &[
    ("x", "v0 = get l0 return v0"),
    ("x + 1", "v0 = get l0 v1 = float 1.0 v2 = add v0, v1 return v2"),
    ("sin(x) * cos(x)", "v0 = get l0 v1 = sin.fast v0 v2 = cos.fast v0 v3 = mul v1, v2 return v3"),
    (
        "sqrt(abs(sin(x) * cos(x) + log1p(abs(x))))",
        "v0 = get l0 v1 = sin.fast v0 v2 = cos.fast v0 v3 = mul v1, v2 v4 = abs v0 v5 = log1p.fast v4
         v6 = add v3, v5 v7 = abs v6 v8 = sqrt.fast v7 return v8",
    ),
    (
        "x * 2 if x > 50 else x / 3 - 1",
        "v0 = get l0 v1 = float 50.0 v2 = cmp.gt v0, v1
         if v2 { v3 = float 2.0 v4 = mul v0, v3 return v4 }
         v5 = float 3.0 v6 = true_div v0, v5 v7 = float 1.0 v8 = sub v6, v7 return v8",
    ),
    ("round(x, 2)", "v0 = get l0 v1 = int 2 v2 = round_digits v0, v1 return v2"),
    ("x // 7.0", "v0 = get l0 v1 = float 7.0 v2 = floor_div v0, v1 return v2"),
];

/// `s[:s.find(' bd')]`, then what stands behind its last comma, as an int.
const BEDROOMS: &str = "function \"bedrooms\"(\"s\": str) -> int {
  locals int, str
  v0 = get l0
  v1 = str \" bd\"
  v2 = int 0
  v3 = int 9223372036854775807
  v4 = find v0, v1, v2, v3
  l1 = v4
  v5 = cmp.lt v4, v2
  if v5 {
    v6 = len v0
    l1 = v6
  }
  v7 = get l1
  v8 = slice v0, v2, v7
  l2 = v8
  v9 = str \",\"
  v10 = rfind v8, v9, v2, v3
  v11 = cmp.lt v10, v2
  if v11 {
    v12 = int 0
    v13 = parse_int v8
    return v13
  }
  v14 = int 2
  v15 = add v10, v14
  v16 = slice v8, v15, v3
  v17 = parse_int v16
  return v17
}";

/// `float(s.replace('$', '').replace(',', ''))`.
const PRICE: &str = "function \"price\"(\"s\": str) -> float {
  v0 = get l0
  v1 = str \"$\"
  v2 = str \"\"
  v3 = int -1
  v4 = replace v0, v1, v2, v3
  v5 = str \",\"
  v6 = replace v4, v5, v2, v3
  v7 = parse_float v6
  return v7
}";

/// `s.strip().lower()`, then its first character upper case, and the rest.
const CITY: &str = "function \"city\"(\"s\": str) -> str {
  v0 = get l0
  v1 = strip_space.both v0
  v2 = lower v1
  v3 = int 0
  v4 = char_at v2, v3
  v5 = upper v4
  v6 = int 1
  v7 = int 9223372036854775807
  v8 = slice v2, v6, v7
  v9 = concat v5, v8
  return v9
}";

/// The kind of an offer by what its title contains.
const OFFER: &str = "function \"offer\"(\"s\": str) -> str {
  v0 = get l0
  v1 = lower v0
  v2 = str \"sale\"
  v3 = contains v1, v2
  if v3 {
    v4 = str \"sale\"
    return v4
  }
  v5 = str \"rent\"
  v6 = contains v1, v5
  if v6 {
    v7 = str \"rent\"
    return v7
  }
  v8 = str \"sold\"
  v9 = contains v1, v8
  if v9 {
    v10 = str \"sold\"
    return v10
  }
  return v1
}";

fn noise(i: usize) -> usize {
    let mut x = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x ^= x >> 29;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (x ^ x >> 32) as usize
}

fn best(rows: usize, mut run: impl FnMut()) -> f64 {
    run();
    let times = (0..7).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_nanos() as f64 / rows as f64
    });
    times.fold(f64::INFINITY, f64::min)
}

/// Nanoseconds per row, row by row.
fn by_rows(function: &Function, column: &ArrayRef) -> f64 {
    let result = match function.returns.base {
        Base::Int => DataType::Int64,
        Base::Float => DataType::Float64,
        Base::Str => DataType::Utf8,
        Base::Bool | Base::Date | Base::DateTime => DataType::Boolean,
    };
    let types = [column.data_type().clone()];
    let compiled = compile(function.clone(), &types, &result, &CompileOptions::default()).unwrap();
    const BATCH: usize = 8192;
    let batches: Vec<ArrayRef> =
        (0..column.len()).step_by(BATCH).map(|at| column.slice(at, BATCH.min(column.len() - at))).collect();
    best(column.len(), || {
        for batch in &batches {
            let out = compiled.run(std::slice::from_ref(batch), batch.len()).unwrap();
            assert!(out.bailed.is_empty());
            black_box(out);
        }
    })
}

/// Nanoseconds per row in a loop.
fn in_loop(function: &Function, column: &ArrayRef) -> Option<f64> {
    let mut builder = LoopBuilder::new();
    let arg = builder.input("x", column.data_type(), false).ok()?;
    let made = inline(&mut builder, function, &[arg], Ty::F64).ok()?;
    let bail = made.bail.unwrap_or_else(|| builder.lit(Lit::Bool(false)));
    let emit = |value, data_type| Emit::Value { value, data_type, nullable: false };
    let sink = Sink::Emit(vec![emit(made.value, DataType::Float64), emit(bail, DataType::Boolean)]);
    let (source, _) = builder.finish(sink);
    let compiled = fuseline_codegen::cpu::compile(&source, &CompileOptions::default()).ok()?;
    const MORSEL: usize = 65_536;
    let morsels: Vec<ArrayRef> =
        (0..column.len()).step_by(MORSEL).map(|at| column.slice(at, MORSEL.min(column.len() - at))).collect();
    Some(best(column.len(), || {
        for morsel in &morsels {
            let inputs = std::slice::from_ref(morsel);
            black_box(compiled.run(&Morsel { inputs, rows: morsel.len(), row_base: 0, joins: &[] }).unwrap());
        }
    }))
}

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let floats: ArrayRef = Arc::new(Float64Array::from_iter_values(
        (0..1_000_000).map(|i| (noise(i) % 1_000_000) as f64 / 10_000.0),
    ));
    for (name, body) in FLOATS.iter().filter(|(name, _)| name.contains(&filter)) {
        let function = parse(&format!("function \"f\"(\"x\": float) -> float {{ {body} }}")).unwrap();
        let lanes = in_loop(&function, &floats).map_or("-".to_owned(), |ns| format!("{ns:.2}"));
        println!("{name:45} rows {:6.2} ns, in a loop {lanes:>6} ns", by_rows(&function, &floats));
    }
    const ROWS: usize = 200_000;
    let texts = |make: fn(usize) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values((0..ROWS).map(|i| make(noise(i)))))
    };
    let listings =
        texts(|n| format!("{} Main St, Boston, {} bds , {} ba , {} sqft", n % 900, n % 7, n % 4, n % 5000));
    let prices = texts(|n| format!("${},{:03}", n % 900 + 100, n % 1000));
    let cities = texts(|n| ["  BOSTON", "new York ", "Cambridge", "sAN FRANCISCO"][n % 4].to_owned());
    let titles =
        texts(|n| ["House For Sale", "Condo for rent by owner", "SOLD", "Lot / land"][n % 4].to_owned());
    for (text, column) in [(BEDROOMS, listings), (PRICE, prices), (CITY, cities), (OFFER, titles)] {
        let function = parse(text).unwrap();
        verify(&function).unwrap();
        if function.name.contains(&filter) {
            println!("{:45} rows {:6.2} ns", function.name, by_rows(&function, &column));
        }
    }
}
