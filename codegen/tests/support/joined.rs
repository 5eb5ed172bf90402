//! Random joins in random loops: build sides with few or many equal keys, probes of one to three keys, what
//! follows them (pairs, filters on whether there is a partner, notes of who was met), and columns fetched.

use super::batches::{self, Range};
use super::loops::Grower;
use super::random::Random;
use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::take;
use fuseline_codegen::ir::{Input, Op, TableFacts, Ty, ValueId};
use fuseline_codegen::joins::{JoinLayout, JoinSide};
use std::sync::Arc;

/// What a build side is made of.
#[derive(Clone, Debug)]
pub struct RandomJoin {
    pub tys: Vec<Ty>,
    pub null_equal: bool,
    pub keys: Vec<ArrayRef>,
    pub columns: Vec<ArrayRef>,
}

impl RandomJoin {
    fn new(r: &mut Random, tys: Vec<Ty>) -> RandomJoin {
        let rows = r.pick(&[0, 1, 3, 40, 65, 200, 200, 1500]);
        let fetched: Vec<Ty> = (0..3).map(|_| r.pick(&Ty::ALL)).collect();
        // All equal, few, or as they come.
        let spread = r.pick(&[1, 20, usize::MAX, usize::MAX]);
        let pick: UInt32Array = (0..rows).map(|i| (i % spread) as u32).collect();
        let mut column = |ty: Ty| -> ArrayRef {
            let data_type = if ty == Ty::Str { batches::string_type(r) } else { ty.natural() };
            let nullable = r.percent(40);
            let range = if r.percent(15) { Range::Wild } else { Range::Tame };
            batches::column(r, &data_type, nullable, rows, range)
        };
        let keys = tys.iter().map(|ty| take(&column(*ty), &pick, None).expect("rows")).collect();
        let columns = fetched.iter().map(|ty| column(*ty)).collect();
        RandomJoin { tys, null_equal: r.percent(40), keys, columns }
    }

    /// A build side that nobody has visited yet.
    pub fn build(&self) -> Arc<JoinSide> {
        let layout = JoinLayout::of(&self.tys, self.null_equal);
        let mut side =
            JoinSide::build(self.keys.clone(), layout, self.columns.clone(), 2).expect("keys of these types");
        side.track_visits();
        Arc::new(side)
    }

    pub fn facts(&self) -> TableFacts {
        self.build().facts()
    }
}

impl Grower<'_> {
    /// A probe of a new build side, and something that follows from it.
    pub fn join(&mut self, joins: &mut Vec<RandomJoin>) {
        let number = joins.len() as u32;
        let tys: Vec<Ty> = (0..self.r.pick(&[1, 1, 1, 1, 2, 3])).map(|_| self.r.pick(&Ty::ALL)).collect();
        let keys: Vec<ValueId> = tys.iter().map(|ty| self.value(*ty, 1)).collect();
        let made = RandomJoin::new(self.r, tys);
        let null_equal = made.null_equal;
        let entry = self.inst(Op::Probe { join: number, null_equal }, &keys);
        let found = self.inst(Op::IsValid, &[entry]);
        self.pool.push(found);
        if self.r.percent(50) {
            self.b.visit(number, entry);
        }
        match self.r.below(10) {
            0 => self.b.filter(found).expect("a bool"),
            1 => {
                let lost = self.inst(Op::Not, &[found]);
                self.b.filter(lost).expect("a bool");
            }
            2 => {}
            _ => {
                let outer = self.r.percent(40);
                let row = self.b.expand(number, entry, outer).expect("an entry");
                for (column, array) in made.columns.iter().enumerate() {
                    if self.r.percent(60) {
                        let ty = Input::physical(array.data_type()).expect("a representable type");
                        let nullable = array.null_count() > 0 || self.r.percent(40);
                        let op = Op::Fetch { join: number, column: column as u32, ty, nullable };
                        let fetched = self.inst(op, &[row]);
                        self.pool.push(fetched);
                    }
                }
                if self.r.percent(40) {
                    let condition = self.value(Ty::Bool, 2);
                    self.b.filter(condition).expect("a bool");
                }
                if self.r.percent(40) {
                    self.b.visit(number, row);
                }
            }
        }
        joins.push(made);
    }
}
