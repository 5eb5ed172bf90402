//! The loop: inputs, instructions, filters, sink.
//!
//! Invariants (checked by `verify`):
//! * values are in SSA form: a `ValueId` indexes [`Loop::values`], is defined by exactly one
//!   [`Step::Let`], and is used only by later steps or the sink;
//! * a [`Step::Filter`] drops the rows on which its operand is not true-and-valid and renumbers the
//!   rest; values defined before it and used after it are compacted implicitly;
//! * an instruction whose op can fail does so only on rows that are live (not filtered out before
//!   it) and on which its `under` operand is true-and-valid (no operand: on all live rows). On rows
//!   where `under` does not hold its value and validity are unspecified, so only values that are
//!   masked by the same condition may be derived from it ([`Op::Select`] is how);
//! * a loop with an `Aggregate` or `Group` sink has no passengers.

use super::agg::Agg;
use super::op::Op;
use super::types::Ty;
use arrow::datatypes::DataType;

/// Index of a value in [`Loop::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

impl ValueId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A column the loop reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Input {
    /// For messages and listings only.
    pub name: String,
    /// The array's type; its encoding (plain, large, view, dictionary) is taken from here.
    pub data_type: DataType,
    /// The representation inside the loop: [`Input::physical`] of `data_type`.
    pub ty: Ty,
    /// Whether the column can hold nulls. Variants of one loop differ in these flags only.
    pub nullable: bool,
}

impl Input {
    /// The representation of an Arrow type inside the loop; `None` for types that can only be
    /// carried along as passengers.
    pub fn physical(data_type: &DataType) -> Option<Ty> {
        Some(match data_type {
            DataType::Boolean => Ty::Bool,
            DataType::Int8 => Ty::I8,
            DataType::Int16 => Ty::I16,
            DataType::Int32 | DataType::Date32 | DataType::Time32(_) => Ty::I32,
            DataType::Int64
            | DataType::Date64
            | DataType::Time64(_)
            | DataType::Timestamp(_, _)
            | DataType::Duration(_) => Ty::I64,
            DataType::UInt8 => Ty::U8,
            DataType::UInt16 => Ty::U16,
            DataType::UInt32 => Ty::U32,
            DataType::UInt64 => Ty::U64,
            DataType::Float32 => Ty::F32,
            DataType::Float64 => Ty::F64,
            DataType::Decimal128(_, _) => Ty::I128,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ty::Str,
            DataType::Dictionary(key, value) if key.is_dictionary_key_type() => match &**value {
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ty::Str,
                _ => return None,
            },
            _ => return None,
        })
    }
}

/// One instruction: `args` per the op's signature, result type and nullability as inferred by
/// [`Op::infer`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Inst {
    pub op: Op,
    pub args: Vec<ValueId>,
    /// Present only on ops that can fail: the condition under which this instruction counts.
    pub under: Option<ValueId>,
    pub ty: Ty,
    pub nullable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Compute this value.
    Let(ValueId),
    /// Keep the rows on which this Bool is true and valid.
    Filter(ValueId),
    /// Go on with a row for every build row of an entry: the value, an [`Op::Expand`], is that row's number.
    /// Pairs come in the order of the rows, at most a chunk of them at a time; values computed before are
    /// repeated implicitly.
    Expand(ValueId),
    /// Note that these build rows of a join matched, where valid.
    Visit { join: u32, row: ValueId },
}

/// One output column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Emit {
    /// A computed value, leaving as an array of this type (for `Str`: Utf8, LargeUtf8 or Utf8View).
    Value { value: ValueId, data_type: DataType, nullable: bool },
    /// A column of the source batch that is only carried along, by its index in that batch. The
    /// loop never touches it; the runtime takes the surviving rows from it.
    Passenger { column: usize },
}

/// A column that rows are grouped by. Nulls are equal, -0.0 is 0.0, and NaNs are told apart by their bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupKey {
    pub value: ValueId,
    /// The type in which the groups' keys leave (for `Str`: Utf8, LargeUtf8 or Utf8View).
    pub data_type: DataType,
    /// Whether there can be a group of nulls; the same in all variants of a loop, because it decides the
    /// layout of the table.
    pub nullable: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sink {
    Emit(Vec<Emit>),
    /// Ungrouped aggregates, one state each.
    Aggregate(Vec<Agg>),
    /// Aggregates by group, in a table that outlives the morsel. There may be none.
    Group {
        keys: Vec<GroupKey>,
        aggs: Vec<Agg>,
    },
}

impl Sink {
    /// The values the sink reads.
    pub fn uses(&self) -> Vec<ValueId> {
        match self {
            Sink::Emit(columns) => columns
                .iter()
                .filter_map(|c| match c {
                    Emit::Value { value, .. } => Some(*value),
                    Emit::Passenger { .. } => None,
                })
                .collect(),
            Sink::Aggregate(aggs) => operands(aggs).collect(),
            Sink::Group { keys, aggs } => keys.iter().map(|k| k.value).chain(operands(aggs)).collect(),
        }
    }

    /// The same sink over renumbered values.
    pub fn map_values(mut self, mut f: impl FnMut(ValueId) -> ValueId) -> Sink {
        match &mut self {
            Sink::Emit(columns) => {
                for c in columns {
                    if let Emit::Value { value, .. } = c {
                        *value = f(*value);
                    }
                }
            }
            Sink::Aggregate(aggs) => rename(aggs, &mut f),
            Sink::Group { keys, aggs } => {
                for k in keys {
                    k.value = f(k.value);
                }
                rename(aggs, &mut f);
            }
        }
        self
    }
}

fn operands(aggs: &[Agg]) -> impl Iterator<Item = ValueId> {
    aggs.iter().flat_map(|a| a.arg.into_iter().chain(a.filter))
}

fn rename(aggs: &mut [Agg], f: &mut impl FnMut(ValueId) -> ValueId) {
    for a in aggs {
        a.arg = a.arg.map(&mut *f);
        a.filter = a.filter.map(&mut *f);
    }
}

/// What one compiled function does to a morsel. Also the key of the code cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Loop {
    pub inputs: Vec<Input>,
    pub values: Vec<Inst>,
    pub steps: Vec<Step>,
    pub sink: Sink,
}

impl Loop {
    pub fn value(&self, id: ValueId) -> &Inst {
        &self.values[id.index()]
    }

    pub fn has_filter(&self) -> bool {
        self.steps.iter().any(|s| matches!(s, Step::Filter(_) | Step::Expand(_)))
    }

    /// Whether a row can become several.
    pub fn has_expansion(&self) -> bool {
        self.steps.iter().any(|s| matches!(s, Step::Expand(_)))
    }

    /// Joins whose tables it reads: one more than the greatest number.
    pub fn joins(&self) -> usize {
        let of_op = |op: &Op| match op {
            Op::Probe { join, .. } | Op::Expand { join, .. } | Op::Fetch { join, .. } => *join as usize + 1,
            _other => 0,
        };
        let visits = self.steps.iter().map(|s| match s {
            Step::Visit { join, .. } => *join as usize + 1,
            Step::Let(_) | Step::Filter(_) | Step::Expand(_) => 0,
        });
        self.values.iter().map(|v| of_op(&v.op)).chain(visits).max().unwrap_or(0)
    }

    /// The values that steps read for what they do: these are used whatever the sink reads.
    pub fn step_uses(&self) -> Vec<ValueId> {
        let of = |s: &Step| match s {
            Step::Filter(v) | Step::Expand(v) | Step::Visit { row: v, .. } => Some(*v),
            Step::Let(_) => None,
        };
        self.steps.iter().filter_map(of).collect()
    }

    pub fn has_passengers(&self) -> bool {
        match &self.sink {
            Sink::Emit(columns) => columns.iter().any(|c| matches!(c, Emit::Passenger { .. })),
            Sink::Aggregate(_) | Sink::Group { .. } => false,
        }
    }

    /// Whether running the loop must report which rows of the morsel survived.
    pub fn needs_selection(&self) -> bool {
        self.has_filter() && self.has_passengers()
    }
}
