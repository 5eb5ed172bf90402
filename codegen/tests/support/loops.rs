//! Random well-formed loops over all types and operations.
//!
//! Values are grown top down: to get a value of a type, one is picked, made up, or computed by a
//! random operation of that result type from values got the same way. CASE arms are scopes: what
//! fails in one does so `under` its condition, and leaves it only through a select. In half of the
//! loops nothing can fail: their operations are the forms that do not, or are guarded.

use super::batches::{self, Range};
use super::joined::RandomJoin;
use super::random::Random;
use arrow::datatypes::{DataType, TimeUnit as ArrowUnit};
use fuseline_codegen::ir::op::cast_is_total;
use fuseline_codegen::ir::{
    Agg, AggFunc, Bound, CmpOp, DatePart, Emit, GroupKey, Lit, Loop, LoopBuilder, MathBin, MathFn, OnFail,
    Op, Overflow, Precision, Sink, StrTest, TimeUnit, TruncTo, Ty, ValueId,
};

const PLAIN: [Ty; 11] =
    [Ty::Bool, Ty::I8, Ty::I16, Ty::I32, Ty::I64, Ty::U8, Ty::U16, Ty::U32, Ty::U64, Ty::F32, Ty::F64];
const INTS: [Ty; 8] = [Ty::I8, Ty::I16, Ty::I32, Ty::I64, Ty::U8, Ty::U16, Ty::U32, Ty::U64];
const TICKS: [TimeUnit; 4] = [TimeUnit::Second, TimeUnit::Milli, TimeUnit::Micro, TimeUnit::Nano];
const PRECISIONS: [Precision; 2] = [Precision::Fast, Precision::Libm];
const FUNCTIONS: [MathFn; 25] = [
    MathFn::Sqrt,
    MathFn::Floor,
    MathFn::Ceil,
    MathFn::Trunc,
    MathFn::Round,
    MathFn::Signum,
    MathFn::Exp,
    MathFn::Ln,
    MathFn::Log2,
    MathFn::Log10,
    MathFn::Sin,
    MathFn::Cos,
    MathFn::Tan,
    MathFn::Asin,
    MathFn::Acos,
    MathFn::Atan,
    MathFn::Sinh,
    MathFn::Cosh,
    MathFn::Tanh,
    MathFn::Asinh,
    MathFn::Acosh,
    MathFn::Atanh,
    MathFn::Cbrt,
    MathFn::Ln1p,
    MathFn::Expm1,
];
const PARTS: [DatePart; 13] = [
    DatePart::Year,
    DatePart::Quarter,
    DatePart::Month,
    DatePart::Week,
    DatePart::Day,
    DatePart::DayOfWeek,
    DatePart::DayOfYear,
    DatePart::Hour,
    DatePart::Minute,
    DatePart::Second,
    DatePart::Millisecond,
    DatePart::Microsecond,
    DatePart::Nanosecond,
];
const TRUNCS: [TruncTo; 10] = [
    TruncTo::Year,
    TruncTo::Quarter,
    TruncTo::Month,
    TruncTo::Week,
    TruncTo::Day,
    TruncTo::Hour,
    TruncTo::Minute,
    TruncTo::Second,
    TruncTo::Millisecond,
    TruncTo::Microsecond,
];
const PATTERNS: [&str; 14] =
    ["", "%", "_", "a%", "%c", "%b%", "a_c", "a\\_c", "%o%o%", "ab%de", "É", "%ß%", "_😀_", "k%K"];

/// A loop and the columns it was made for, and as many build sides that it probes.
pub fn random_loop(r: &mut Random, can_fail: bool, joins: usize) -> (Loop, Vec<RandomJoin>) {
    let mut made = vec![];
    let mut g = Grower { b: LoopBuilder::new(), pool: vec![], inputs: 0, scope: None, can_fail, r };
    for i in 0..1 + g.r.below(4) {
        let data_type = batches::data_type(g.r);
        let nullable = g.r.percent(60);
        let v = g.b.input(&format!("c{i}"), &data_type, nullable).expect("a representable type");
        g.pool.push(v);
        g.inputs += 1;
    }
    for _ in 0..1 + g.r.below(5) {
        let ty = g.r.pick(&Ty::ALL);
        let v = g.compute(ty, 3);
        g.pool.push(v);
        if g.r.percent(20) {
            let v = g.value(Ty::Bool, 2);
            g.b.filter(v).expect("a bool");
        }
        if made.len() < joins && g.r.percent(60) {
            g.join(&mut made);
        }
    }
    while made.len() < joins {
        g.join(&mut made);
    }
    let sink = match g.r.below(10) {
        0..6 => g.emit(),
        6..8 => Sink::Aggregate(g.aggs()),
        _ => g.group(),
    };
    (g.b.finish(sink).0, made)
}

pub struct Grower<'r> {
    pub r: &'r mut Random,
    pub b: LoopBuilder,
    /// Values that may be used here; those of the scope come last.
    pub pool: Vec<ValueId>,
    inputs: usize,
    /// The condition of the CASE arm being grown.
    scope: Option<ValueId>,
    can_fail: bool,
}

impl Grower<'_> {
    pub fn inst(&mut self, op: Op, args: &[ValueId]) -> ValueId {
        let scope = self.scope;
        self.b.inst(op, args, scope).unwrap_or_else(|e| panic!("the generator made nonsense: {e}"))
    }

    fn constant(&mut self, ty: Ty) -> ValueId {
        let range = if self.r.percent(30) { Range::Wild } else { Range::Tame };
        let lit = if self.r.percent(5) { Lit::Null(ty) } else { batches::value(self.r, ty, range) };
        self.b.lit(lit)
    }

    /// Some value of the type.
    pub fn value(&mut self, ty: Ty, depth: usize) -> ValueId {
        let known: Vec<ValueId> = self.pool.iter().copied().filter(|v| self.b.ty(*v) == ty).collect();
        if !known.is_empty() && self.r.percent(if depth == 0 { 90 } else { 60 }) {
            return self.r.pick(&known);
        }
        match self.r.below(if depth == 0 { 40 } else { 100 }) {
            0..12 => self.constant(ty),
            12..40 => self.column(ty),
            _ => self.compute(ty, depth - 1),
        }
    }

    /// A new column of the type, unless there are many.
    fn column(&mut self, ty: Ty) -> ValueId {
        if self.inputs >= 8 {
            return self.constant(ty);
        }
        let data_type = self.input_type(ty);
        let (name, nullable) = (format!("c{}", self.inputs), self.r.percent(50));
        self.inputs += 1;
        let v = self.b.input(&name, &data_type, nullable).expect("a representable type");
        self.pool.push(v);
        v
    }

    /// A new value of the type.
    fn compute(&mut self, ty: Ty, depth: usize) -> ValueId {
        let v = match self.r.below(10) {
            0 => self.choice(ty, depth),
            1 => self.case(ty, depth),
            _ => match ty {
                Ty::Bool => self.boolean(depth),
                Ty::I128 => self.decimal(depth),
                Ty::F32 | Ty::F64 => self.float(ty, depth),
                Ty::Str => self.string(depth),
                Ty::I8 | Ty::I16 | Ty::I32 | Ty::I64 | Ty::U8 | Ty::U16 | Ty::U32 | Ty::U64 => {
                    self.integer(ty, depth)
                }
            },
        };
        if self.r.percent(70) {
            self.pool.push(v);
        }
        v
    }

    fn choice(&mut self, ty: Ty, depth: usize) -> ValueId {
        let a = self.value(ty, depth);
        match self.r.below(4) {
            0 => {
                let b = self.value(ty, depth);
                self.inst(Op::Coalesce, &[a, b])
            }
            1 => {
                let c = self.value(Ty::Bool, depth);
                self.inst(Op::NullIf, &[a, c])
            }
            2 => {
                let (c, b) = (self.value(Ty::Bool, depth), self.value(ty, depth));
                self.inst(Op::Select, &[c, a, b])
            }
            _ => {
                let holds = self.value(Ty::Bool, depth);
                let message = "a domain check".to_owned();
                if self.can_fail && self.r.percent(20) {
                    return self.inst(Op::Guard(message), &[a, holds]);
                }
                self.arm(holds, ty, depth, |g, _| g.inst(Op::Guard(message), &[a, holds]))
            }
        }
    }

    fn case(&mut self, ty: Ty, depth: usize) -> ValueId {
        let condition = self.value(Ty::Bool, depth);
        self.arm(condition, ty, depth, |g, depth| g.compute(ty, depth))
    }

    /// `CASE WHEN condition THEN grow() ELSE ... END`.
    fn arm(
        &mut self,
        condition: ValueId,
        ty: Ty,
        depth: usize,
        grow: impl FnOnce(&mut Self, usize) -> ValueId,
    ) -> ValueId {
        let (outer, size) = (self.scope, self.pool.len());
        let inner = match outer {
            Some(outer) => self.inst(Op::And, &[outer, condition]),
            None => condition,
        };
        self.scope = Some(inner);
        let then = grow(self, depth.saturating_sub(1));
        self.pool.truncate(size);
        self.scope = outer;
        let otherwise = self.value(ty, depth.saturating_sub(1));
        self.inst(Op::Select, &[condition, then, otherwise])
    }

    fn overflow(&mut self) -> Overflow {
        match self.r.below(6) {
            0 | 1 if self.can_fail => Overflow::Err,
            2 => Overflow::Null,
            _ => Overflow::Wrap,
        }
    }

    fn on_fail(&mut self) -> OnFail {
        if self.can_fail && self.r.percent(40) { OnFail::Err } else { OnFail::Null }
    }

    fn arithmetic(&mut self, ty: Ty, depth: usize) -> ValueId {
        let (a, b) = (self.value(ty, depth), self.value(ty, depth));
        let mode = if ty.is_float() { Overflow::Wrap } else { self.overflow() };
        match self.r.below(7) {
            0 => self.inst(Op::Add(mode), &[a, b]),
            1 => self.inst(Op::Sub(mode), &[a, b]),
            2 => self.inst(Op::Mul(mode), &[a, b]),
            3 | 4 => {
                let op = self.r.pick(&[Op::Div, Op::Rem]);
                if ty.is_float() || (self.can_fail && self.r.percent(30)) {
                    return self.inst(op, &[a, b]);
                }
                let mut refused = vec![literal(ty, 0)];
                if ty.is_signed_int() {
                    refused.push(literal(ty, -1));
                }
                let refused = self.inst(Op::InSet(refused), &[b]);
                let fine = self.inst(Op::Not, &[refused]);
                self.arm(fine, ty, depth, |g, _| g.inst(op, &[a, b]))
            }
            5 if ty.is_unsigned_int() => self.inst(Op::Add(mode), &[a, b]),
            5 => self.inst(Op::Neg(mode), &[a]),
            _ if ty.is_unsigned_int() => self.inst(Op::Sub(mode), &[a, b]),
            _ => self.inst(Op::Abs(mode), &[a]),
        }
    }

    fn cast(&mut self, to: Ty, depth: usize) -> ValueId {
        let from = self.r.pick(&PLAIN);
        let a = self.value(from, depth);
        let fail = if cast_is_total(from, to) { OnFail::Err } else { self.on_fail() };
        self.inst(Op::Cast(to, fail), &[a])
    }

    fn integer(&mut self, ty: Ty, depth: usize) -> ValueId {
        // Two types have operations of their own; they get room for them.
        match self.r.below(if matches!(ty, Ty::I32 | Ty::I64) { 24 } else { 16 }) {
            0..6 => self.arithmetic(ty, depth),
            6..8 => {
                let op = self.r.pick(&[Op::BitAnd, Op::BitOr, Op::BitXor, Op::Shl, Op::Shr]);
                let (a, b) = (self.value(ty, depth), self.value(ty, depth));
                self.inst(op, &[a, b])
            }
            8 => {
                let a = self.value(Ty::I128, depth);
                let (scale, fail) = (self.r.between(-2, 6) as i8, self.on_fail());
                self.inst(Op::DecToInt { scale, to: ty, fail }, &[a])
            }
            9..13 | 16.. if ty == Ty::I32 => match self.r.below(5) {
                0 => {
                    let (a, bound) = (self.value(Ty::Str, depth), self.r.pick(&[Bound::Chars, Bound::Bytes]));
                    self.inst(Op::StrLen(bound), &[a])
                }
                1 => {
                    let (a, part) = (self.value(Ty::I32, depth), self.r.pick(&PARTS));
                    self.inst(Op::DatePart { part, unit: TimeUnit::Day }, &[a])
                }
                2 if self.r.percent(50) => self.date_trunc(TimeUnit::Day, depth),
                2 => self.add_interval(TimeUnit::Day, depth),
                _ => {
                    let (a, part) = (self.value(Ty::I64, depth), self.r.pick(&PARTS));
                    let unit = self.r.pick(&TICKS);
                    self.inst(Op::DatePart { part, unit }, &[a])
                }
            },
            9 | 10 | 17.. if ty == Ty::I64 => {
                let unit = self.r.pick(&TICKS);
                if self.r.percent(50) { self.date_trunc(unit, depth) } else { self.add_interval(unit, depth) }
            }
            11 | 16 if ty == Ty::I64 => self.inst(Op::RowIndex, &[]),
            _ => self.cast(ty, depth),
        }
    }

    fn date_trunc(&mut self, unit: TimeUnit, depth: usize) -> ValueId {
        let a = self.value(unit.ty(), depth);
        let mut to = self.r.pick(&TRUNCS);
        if to.is_coarse() && !self.can_fail {
            to = TruncTo::Day;
        }
        self.inst(Op::DateTrunc { to, unit }, &[a])
    }

    /// Of any value it may fail, so only where that is allowed; and mostly of one near the epoch.
    fn add_interval(&mut self, unit: TimeUnit, depth: usize) -> ValueId {
        if !self.can_fail {
            return self.date_trunc(unit, depth);
        }
        let mut a = self.value(unit.ty(), depth);
        if self.r.percent(70) {
            let reach = if unit == TimeUnit::Day { Lit::I32(100_000) } else { Lit::I64(1 << 50) };
            let reach = self.b.lit(reach);
            a = self.inst(Op::Rem, &[a, reach]);
        }
        let months = if self.r.percent(50) { self.r.between(-500, 500) as i32 } else { 0 };
        let days = if self.r.percent(50) { self.r.between(-2_000, 2_000) as i32 } else { 0 };
        let nanos = if self.r.percent(50) { self.r.between(-(1 << 52), 1 << 52) } else { 0 };
        let subtract = self.r.percent(40);
        self.inst(Op::AddInterval { unit, months, days, nanos, subtract }, &[a])
    }

    fn decimal(&mut self, depth: usize) -> ValueId {
        let (precision, fail) = (self.r.between(1, 38) as u8, self.on_fail());
        match self.r.below(10) {
            0..4 => self.arithmetic(Ty::I128, depth),
            4 => {
                let (a, delta) = (self.value(Ty::I128, depth), self.r.between(-40, 12) as i8);
                self.inst(Op::DecRescale { delta, precision, scale: 2, fail }, &[a])
            }
            5 | 6 => {
                let from = self.r.pick(&INTS);
                let (a, scale) = (self.value(from, depth), self.r.between(-3, 12) as i8);
                self.inst(Op::DecFromInt { scale, precision, fail }, &[a])
            }
            7 => {
                let from = self.r.pick(&[Ty::F32, Ty::F64]);
                let (a, scale) = (self.value(from, depth), self.r.between(0, 8) as i8);
                self.inst(Op::DecFromFloat { scale, precision, fail }, &[a])
            }
            8 if self.can_fail => {
                let (a, b) = (self.value(Ty::I128, depth), self.value(Ty::I128, depth));
                let (left_pow, right_pow) = (self.r.below(8) as u8, self.r.below(3) as u8);
                self.inst(Op::DecDiv { left_pow, right_pow }, &[a, b])
            }
            _ => {
                let (a, delta) = (self.value(Ty::I128, depth), self.r.between(-4, 4) as i8);
                self.inst(Op::DecRescale { delta, precision: 38, scale: 4, fail: OnFail::Null }, &[a])
            }
        }
    }

    fn float(&mut self, ty: Ty, depth: usize) -> ValueId {
        match self.r.below(10) {
            0..5 => self.arithmetic(ty, depth),
            5 | 6 => {
                let (a, f) = (self.value(ty, depth), self.r.pick(&FUNCTIONS));
                let precision = self.r.pick(&PRECISIONS);
                self.inst(Op::Math(f, precision), &[a])
            }
            7 => {
                let (a, b) = (self.value(ty, depth), self.value(ty, depth));
                let (f, p) = (self.r.pick(&[MathBin::Pow, MathBin::Atan2]), self.r.pick(&PRECISIONS));
                self.inst(Op::MathBin(f, p), &[a, b])
            }
            8 => {
                let (a, scale) = (self.value(Ty::I128, depth), self.r.between(-2, 10) as i8);
                self.inst(Op::DecToFloat { scale, to: ty }, &[a])
            }
            _ => self.cast(ty, depth),
        }
    }

    fn boolean(&mut self, depth: usize) -> ValueId {
        match self.r.below(16) {
            0..5 => {
                let ty = self.r.pick(&Ty::ALL);
                let (a, b) = (self.value(ty, depth), self.value(ty, depth));
                let op = self.r.pick(&[CmpOp::Eq, CmpOp::Ne, CmpOp::Lt, CmpOp::Le, CmpOp::Gt, CmpOp::Ge]);
                self.inst(Op::Cmp(op), &[a, b])
            }
            5 => {
                let ty = self.r.pick(&Ty::ALL);
                let (a, b) = (self.value(ty, depth), self.value(ty, depth));
                self.inst(Op::Distinct, &[a, b])
            }
            6..9 => {
                let (a, b) = (self.value(Ty::Bool, depth), self.value(Ty::Bool, depth));
                let op = self.r.pick(&[Op::And, Op::Or]);
                self.inst(op, &[a, b])
            }
            9 => {
                let a = self.value(Ty::Bool, depth);
                let op = self.r.pick(&[Op::Not, Op::IsTrue]);
                self.inst(op, &[a])
            }
            10 => {
                let ty = self.r.pick(&Ty::ALL);
                let a = self.value(ty, depth);
                self.inst(Op::IsValid, &[a])
            }
            11 | 12 => {
                let ty = self.r.pick(&Ty::ALL);
                let a = self.value(ty, depth);
                let size = self.r.pick(&[1, 2, 3, 7, 20]);
                let range = self.r.pick(&[Range::Tame, Range::Wild]);
                let set = (0..size).map(|_| batches::value(self.r, ty, range)).collect();
                self.inst(Op::InSet(set), &[a])
            }
            13 | 14 => {
                let a = self.value(Ty::Str, depth);
                let part = match batches::value(self.r, Ty::Str, Range::Tame) {
                    Lit::Str(s) => s.chars().take(3).collect(),
                    other => other.to_string(),
                };
                let test = match self.r.below(5) {
                    0 => StrTest::StartsWith(part),
                    1 => StrTest::EndsWith(part),
                    2 => StrTest::Contains(part),
                    _ => StrTest::Like {
                        pattern: self.r.pick(&PATTERNS).to_owned(),
                        case_insensitive: self.r.percent(40),
                    },
                };
                self.inst(Op::StrTest(test), &[a])
            }
            _ => self.cast(Ty::Bool, depth),
        }
    }

    fn string(&mut self, depth: usize) -> ValueId {
        let a = self.value(Ty::Str, depth);
        let bounded = |g: &mut Self, low: i64| {
            let lit = Lit::I64(g.r.between(low, 12));
            g.b.lit(lit)
        };
        let wild = self.can_fail && self.r.percent(20);
        let start = if wild { self.value(Ty::I64, depth) } else { bounded(self, -3) };
        if self.r.percent(40) {
            return self.inst(Op::Substr, &[a, start]);
        }
        let count = if wild { self.value(Ty::I64, depth) } else { bounded(self, 0) };
        self.inst(Op::Substr, &[a, start, count])
    }

    fn input_type(&mut self, ty: Ty) -> DataType {
        match ty {
            Ty::Str if self.r.percent(30) => {
                let key = self.r.pick(&[DataType::Int8, DataType::Int32, DataType::UInt16]);
                DataType::Dictionary(Box::new(key), Box::new(batches::string_type(self.r)))
            }
            Ty::Bool
            | Ty::I8
            | Ty::I16
            | Ty::I32
            | Ty::I64
            | Ty::I128
            | Ty::U8
            | Ty::U16
            | Ty::U32
            | Ty::U64
            | Ty::F32
            | Ty::F64
            | Ty::Str => self.output_type(ty),
        }
    }

    fn output_type(&mut self, ty: Ty) -> DataType {
        match ty {
            Ty::Bool => DataType::Boolean,
            Ty::I8 => DataType::Int8,
            Ty::I16 => DataType::Int16,
            Ty::I32 => {
                self.r.pick(&[DataType::Int32, DataType::Date32, DataType::Time32(ArrowUnit::Millisecond)])
            }
            Ty::I64 => self.r.pick(&[
                DataType::Int64,
                DataType::Date64,
                DataType::Timestamp(ArrowUnit::Nanosecond, None),
                DataType::Timestamp(ArrowUnit::Second, Some("UTC".into())),
                DataType::Duration(ArrowUnit::Second),
            ]),
            Ty::I128 => DataType::Decimal128(38, 4),
            Ty::U8 => DataType::UInt8,
            Ty::U16 => DataType::UInt16,
            Ty::U32 => DataType::UInt32,
            Ty::U64 => DataType::UInt64,
            Ty::F32 => DataType::Float32,
            Ty::F64 => DataType::Float64,
            Ty::Str => batches::string_type(self.r),
        }
    }

    fn emit(&mut self) -> Sink {
        let mut columns = Vec::new();
        for _ in 0..1 + self.r.below(4) {
            if self.r.percent(15) {
                columns.push(Emit::Passenger { column: self.r.below(5) });
                continue;
            }
            let value =
                if self.r.percent(85) { self.r.pick(&self.pool.clone()) } else { self.constant(Ty::I64) };
            let data_type = self.output_type(self.b.ty(value));
            let nullable = self.b.nullable(value) || self.r.percent(20);
            columns.push(Emit::Value { value, data_type, nullable });
        }
        Sink::Emit(columns)
    }

    fn group(&mut self) -> Sink {
        let mut keys = Vec::new();
        for _ in 0..1 + self.r.below(3) {
            let value =
                if self.r.percent(90) { self.r.pick(&self.pool.clone()) } else { self.constant(Ty::Str) };
            let data_type = self.output_type(self.b.ty(value));
            let nullable = self.b.nullable(value) || self.r.percent(20);
            keys.push(GroupKey { value, data_type, nullable });
        }
        let aggs = if self.r.percent(10) { vec![] } else { self.aggs() };
        Sink::Group { keys, aggs }
    }

    fn aggs(&mut self) -> Vec<Agg> {
        let mut aggs = Vec::new();
        for _ in 0..1 + self.r.below(4) {
            let filter = if self.r.percent(30) { Some(self.value(Ty::Bool, 1)) } else { None };
            let agg = match self.r.below(7) {
                0 => Agg { func: AggFunc::Count, arg: None, filter, ty: Ty::I64 },
                1 => {
                    let ty = self.r.pick(&Ty::ALL);
                    Agg { func: AggFunc::Count, arg: Some(self.value(ty, 1)), filter, ty: Ty::I64 }
                }
                2 => {
                    let arg = Some(self.value(Ty::F64, 2));
                    Agg { func: AggFunc::Spread, arg, filter, ty: Ty::F64 }
                }
                3 | 4 => {
                    let ty = self.r.pick(&[Ty::I64, Ty::U64, Ty::I128, Ty::F64, Ty::F64]);
                    Agg { func: AggFunc::Sum, arg: Some(self.value(ty, 2)), filter, ty }
                }
                _ => {
                    let ty = self.r.pick(&Ty::ALL);
                    let ty = if ty.is_numeric() || ty == Ty::Str { ty } else { Ty::I64 };
                    let func = self.r.pick(&[AggFunc::Min, AggFunc::Max]);
                    Agg { func, arg: Some(self.value(ty, 2)), filter, ty }
                }
            };
            aggs.push(agg);
        }
        aggs
    }
}

/// A small number as a literal of a signed or unsigned int type.
fn literal(ty: Ty, v: i8) -> Lit {
    match ty {
        Ty::I8 => Lit::I8(v),
        Ty::I16 => Lit::I16(v.into()),
        Ty::I32 => Lit::I32(v.into()),
        Ty::I64 => Lit::I64(v.into()),
        Ty::I128 => Lit::I128(v.into()),
        Ty::U8 => Lit::U8(v as u8),
        Ty::U16 => Lit::U16(v as u16),
        Ty::U32 => Lit::U32(v as u32),
        Ty::U64 => Lit::U64(v as u64),
        Ty::Bool | Ty::F32 | Ty::F64 | Ty::Str => panic!("{ty} is no int"),
    }
}
