//! Engines of four kinds over one IR, for the suite `fusion`: what a pipeline costs by how it is executed.
//!
//! All of them read the same [`Plan`](chain::Plan), a [`Loop`] and where it is cut into operators, and the
//! same Arrow columns; all give the number of rows that arrived and the sum over them.
//!
//! - [`iterator`]: a row at a time; every operator asks the one below through a virtual `next()`.
//! - [`vectors`]: an operator at a time over vectors, of about a thousand rows or of the whole column, with
//!   loops that the compiler vectorizes for this machine.
//! - [`fused`]: one loop of machine code for all operators, with wide vectors, without, without unrolling; and
//!   cut: one such loop per operator, so that only what flows between them goes through memory.
//! - by hand: `chain_*` in `handwritten.rs`.
//!
//! Each is written as well as its model allows, because a comparison with a straw man says nothing. They know
//! the few operations that the chains have and refuse others by name.

pub mod chain;
pub mod fused;
pub mod iterator;
pub mod vectors;

use arrow::array::ArrayRef;

use crate::Failure;

/// What a pipeline gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    pub rows: u64,
    pub sum: f64,
}

impl Answer {
    /// The same rows, and sums that differ by no more than the order of addition.
    pub fn agrees(&self, other: &Answer) -> bool {
        self.rows == other.rows && (self.sum - other.sum).abs() <= 1e-9 * self.sum.abs().max(1.0)
    }
}

/// A pipeline in the form in which an engine runs it.
pub trait Engine {
    /// Runs it over these columns, one per input of the plan.
    fn run(&mut self, columns: &[ArrayRef]) -> Result<Answer, Failure>;
}

/// The engines that read the IR, by name; the names are those of the report.
pub const ENGINES: [&str; 7] =
    ["iterator", "columns", "vectors", "cut", "fused", "fused 128", "fused rolled"];

/// Makes an engine by its name.
pub fn engine(name: &str, plan: &chain::Plan) -> Result<Box<dyn Engine>, Failure> {
    use fuseline_codegen::cpu::Vectors;
    Ok(match name {
        "iterator" => Box::new(iterator::Iterators::new(plan)?),
        "columns" => Box::new(vectors::Vectorized::new(plan, usize::MAX)?),
        "vectors" => Box::new(vectors::Vectorized::new(plan, vectors::VECTOR)?),
        "cut" => Box::new(fused::Cut::new(plan)?),
        "fused" => Box::new(fused::Fused::new(plan, Vectors::Auto)?),
        "fused 128" => Box::new(fused::Fused::new(plan, Vectors::Narrow)?),
        "fused rolled" => Box::new(fused::Fused::new(plan, Vectors::Rolled)?),
        other => return Err(format!("there is no engine `{other}`").into()),
    })
}

#[cfg(test)]
mod tests {
    use super::chain::{Chain, Plan};
    use super::*;

    /// The answer row by row, said once more without any engine.
    fn plain(chain: &Chain, columns: &[ArrayRef]) -> Answer {
        use arrow::array::{Array, AsArray};
        use arrow::datatypes::Float64Type;
        let column = |i: usize| columns[i].as_primitive::<Float64Type>();
        let mut answer = Answer { rows: 0, sum: 0.0 };
        for row in 0..columns[0].len() {
            let filters = chain.operators.div_ceil(2);
            if !(0..filters).all(|f| column(f).value(row) < chain.bound) {
                continue;
            }
            answer.rows += 1;
            let a = column(filters);
            if a.is_null(row) {
                continue;
            }
            let mut x = a.value(row);
            for _ in 0..chain.operators / 2 {
                x = x * column(filters + 1).value(row) + a.value(row);
            }
            answer.sum += x;
        }
        answer
    }

    #[test]
    fn every_engine_gives_the_same_rows() {
        for operators in 1..=12 {
            for bound in [0.0, 0.01, 0.5, 0.9, 1.0] {
                for nulls in [false, true] {
                    // More than a morsel, and no multiple of a vector, a group or a byte.
                    for rows in [0, 1, 7, 1023, 1025, 70_003] {
                        let chain = Chain { operators, bound, nulls };
                        let plan = Plan::new(&chain).unwrap();
                        let columns = chain.columns(rows);
                        let want = plain(&chain, &columns);
                        for name in ENGINES {
                            let got = engine(name, &plan).unwrap().run(&columns).unwrap();
                            assert!(
                                got.agrees(&want),
                                "{name}, {rows} rows of {chain:?}: {got:?}, not {want:?}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn rolled_and_narrow_loops_are_what_they_say() {
        let chain = Chain { operators: 4, bound: 0.5, nulls: false };
        let plan = Plan::new(&chain).unwrap();
        let [wide, narrow, rolled] = [
            fuseline_codegen::cpu::Vectors::Auto,
            fuseline_codegen::cpu::Vectors::Narrow,
            fuseline_codegen::cpu::Vectors::Rolled,
        ]
        .map(|vectors| fused::Fused::new(&plan, vectors).unwrap().stats());
        assert_eq!(narrow.wide_loops, 0);
        if fuseline_codegen::cpu::has_wide_vectors() {
            assert_eq!((wide.wide_loops, wide.narrow_loops), (1, 0));
            assert_eq!((rolled.wide_loops, rolled.narrow_loops), (1, 0));
            assert!(rolled.code_bytes < wide.code_bytes, "{rolled:?} {wide:?}");
        }
    }

    #[test]
    fn what_an_engine_does_not_know_is_refused() {
        let text = "loop {\n  input 0: f64 as Float64\n  v0 = input 0\n  v1 = math.sqrt.fast v0\n  \
                    aggregate sum(v1): f64, count(*): i64\n}";
        let source: fuseline_codegen::ir::Loop = text.parse().unwrap();
        let all = 0..source.steps.len();
        let plan = Plan { operators: Vec::from([all]), source };
        for name in ["iterator", "vectors"] {
            assert!(engine(name, &plan).is_err(), "{name}");
        }
        assert!(engine("fused", &plan).is_ok());
    }
}
