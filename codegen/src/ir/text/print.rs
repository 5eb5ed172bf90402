//! Printing loops.

use super::super::agg::Agg;
use super::super::op::{OnFail, Op, StrTest};
use super::super::pipeline::{Emit, GroupKey, Loop, Sink, Step, ValueId};
use super::super::types::Lit;
use super::names::Named;
use std::fmt::{self, Display, Formatter};

impl Display for Loop {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "loop {{")?;
        for (i, input) in self.inputs.iter().enumerate() {
            let null = mark(input.nullable);
            writeln!(f, "  input {i}: {}{null} as {} {:?}", input.ty, input.data_type, input.name)?;
        }
        for step in &self.steps {
            match step {
                Step::Let(v) | Step::Expand(v) => {
                    let inst = self.value(*v);
                    write!(f, "  {v}: {}{} = {}", inst.ty, mark(inst.nullable), inst.op)?;
                    for (i, a) in inst.args.iter().enumerate() {
                        write!(f, "{} {a}", if i == 0 { "" } else { "," })?;
                    }
                    if let Some(u) = inst.under {
                        write!(f, " under {u}")?;
                    }
                    writeln!(f)?;
                }
                Step::Filter(v) => writeln!(f, "  filter {v}")?,
                Step::Visit { join, row } => writeln!(f, "  visit {join}, {row}")?,
            }
        }
        match &self.sink {
            Sink::Emit(columns) => write_list(f, "emit", columns)?,
            Sink::Aggregate(aggs) => write_list(f, "aggregate", aggs)?,
            Sink::Group { keys, aggs } => {
                write_list(f, "group", keys)?;
                if !aggs.is_empty() {
                    write_list(f, "aggregate", aggs)?;
                }
            }
        }
        writeln!(f, "}}")
    }
}

fn write_list(f: &mut Formatter<'_>, word: &str, items: &[impl Display]) -> fmt::Result {
    write!(f, "  {word}")?;
    for (i, item) in items.iter().enumerate() {
        write!(f, "{} {item}", if i == 0 { "" } else { "," })?;
    }
    writeln!(f)
}

fn mark(nullable: bool) -> &'static str {
    if nullable { "?" } else { "" }
}

impl Display for ValueId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl Display for Emit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Emit::Value { value, data_type, nullable } => {
                write!(f, "{value} as {data_type}{}", mark(*nullable))
            }
            Emit::Passenger { column } => write!(f, "passenger {column}"),
        }
    }
}

impl Display for GroupKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {}{}", self.value, self.data_type, mark(self.nullable))
    }
}

impl Display for Agg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.func.name())?;
        match self.arg {
            Some(a) => write!(f, "({a})")?,
            None => f.write_str("(*)")?,
        }
        if let Some(filter) = self.filter {
            write!(f, " filter {filter}")?;
        }
        write!(f, ": {}", self.ty)
    }
}

impl Display for Lit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Lit::Null(_) => f.write_str("null"),
            Lit::Bool(v) => write!(f, "{v}"),
            Lit::I8(v) => write!(f, "{v}"),
            Lit::I16(v) => write!(f, "{v}"),
            Lit::I32(v) => write!(f, "{v}"),
            Lit::I64(v) => write!(f, "{v}"),
            Lit::I128(v) => write!(f, "{v}"),
            Lit::U8(v) => write!(f, "{v}"),
            Lit::U16(v) => write!(f, "{v}"),
            Lit::U32(v) => write!(f, "{v}"),
            Lit::U64(v) => write!(f, "{v}"),
            Lit::F32(v) if v.is_nan() => write!(f, "bits {:#010x}", v.to_bits()),
            Lit::F32(v) => write!(f, "{v:?}"),
            Lit::F64(v) if v.is_nan() => write!(f, "bits {:#018x}", v.to_bits()),
            Lit::F64(v) => write!(f, "{v:?}"),
            Lit::Str(v) => write!(f, "{v:?}"),
        }
    }
}

/// The prefix of a conversion that gives null instead of failing.
fn attempt(fail: OnFail) -> &'static str {
    match fail {
        OnFail::Err => "",
        OnFail::Null => "try_",
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Op::Input(i) => write!(f, "input {i}"),
            Op::Const(lit) => write!(f, "const {lit}"),
            Op::RowIndex => f.write_str("row_index"),
            Op::Add(o) => write!(f, "add.{}", o.name()),
            Op::Sub(o) => write!(f, "sub.{}", o.name()),
            Op::Mul(o) => write!(f, "mul.{}", o.name()),
            Op::Div => f.write_str("div"),
            Op::Rem => f.write_str("rem"),
            Op::Neg(o) => write!(f, "neg.{}", o.name()),
            Op::Abs(o) => write!(f, "abs.{}", o.name()),
            Op::BitAnd => f.write_str("bit_and"),
            Op::BitOr => f.write_str("bit_or"),
            Op::BitXor => f.write_str("bit_xor"),
            Op::Shl => f.write_str("shl"),
            Op::Shr => f.write_str("shr"),
            Op::Cmp(c) => write!(f, "cmp.{}", c.name()),
            Op::Distinct => f.write_str("distinct"),
            Op::And => f.write_str("and"),
            Op::Or => f.write_str("or"),
            Op::Not => f.write_str("not"),
            Op::IsValid => f.write_str("is_valid"),
            Op::IsTrue => f.write_str("is_true"),
            Op::Select => f.write_str("select"),
            Op::Coalesce => f.write_str("coalesce"),
            Op::NullIf => f.write_str("null_if"),
            Op::Guard(message) => write!(f, "guard({message:?})"),
            Op::InSet(set) => {
                f.write_str("in_set(")?;
                for (i, lit) in set.iter().enumerate() {
                    write!(f, "{}{lit}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            Op::Cast(to, fail) => write!(f, "{}cast.{to}", attempt(*fail)),
            Op::DecRescale { delta, precision, scale, fail } => {
                write!(f, "{}dec_rescale({delta}, {precision}, {scale})", attempt(*fail))
            }
            Op::DecFromInt { scale, precision, fail } => {
                write!(f, "{}dec_from_int({scale}, {precision})", attempt(*fail))
            }
            Op::DecToInt { scale, to, fail } => write!(f, "{}dec_to_int.{to}({scale})", attempt(*fail)),
            Op::DecFromFloat { scale, precision, fail } => {
                write!(f, "{}dec_from_float({scale}, {precision})", attempt(*fail))
            }
            Op::DecToFloat { scale, to } => write!(f, "dec_to_float.{to}({scale})"),
            Op::DecDiv { left_pow, right_pow } => write!(f, "dec_div({left_pow}, {right_pow})"),
            Op::Math(function, precision) => write!(f, "math.{}.{}", function.name(), precision.name()),
            Op::MathBin(function, precision) => write!(f, "math2.{}.{}", function.name(), precision.name()),
            Op::DatePart { part, unit } => write!(f, "date_part.{}.{}", part.name(), unit.name()),
            Op::DateTrunc { to, unit } => write!(f, "date_trunc.{}.{}", to.name(), unit.name()),
            Op::AddInterval { unit, months, days, nanos, subtract } => {
                let name = if *subtract { "sub_interval" } else { "add_interval" };
                write!(f, "{name}.{}({months}, {days}, {nanos})", unit.name())
            }
            Op::StrTest(StrTest::StartsWith(s)) => write!(f, "starts_with({s:?})"),
            Op::StrTest(StrTest::EndsWith(s)) => write!(f, "ends_with({s:?})"),
            Op::StrTest(StrTest::Contains(s)) => write!(f, "contains({s:?})"),
            Op::StrTest(StrTest::Like { pattern, case_insensitive: false }) => write!(f, "like({pattern:?})"),
            Op::StrTest(StrTest::Like { pattern, case_insensitive: true }) => write!(f, "ilike({pattern:?})"),
            Op::StrLen(bound) => write!(f, "str_len.{}", bound.name()),
            Op::Substr => f.write_str("substr"),
            Op::Probe { join, null_equal: false } => write!(f, "probe({join})"),
            Op::Probe { join, null_equal: true } => write!(f, "probe_nulls({join})"),
            Op::Expand { join, outer: false } => write!(f, "expand({join})"),
            Op::Expand { join, outer: true } => write!(f, "expand_outer({join})"),
            Op::Fetch { join, column, ty, nullable } => {
                let null = if *nullable { "_null" } else { "" };
                write!(f, "fetch{null}.{ty}({join}, {column})")
            }
        }
    }
}
