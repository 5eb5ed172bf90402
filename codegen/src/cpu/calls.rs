//! Kernel calls: once per chunk, from buffers to a buffer. Strings, transcendental functions, calendar.
//!
//! Results are strict unless said otherwise: their validity is the conjunction of the arguments', and
//! where a single argument can be null it is that argument's very bitmap.

use super::CompileError;
use super::classify::{Kind, constant};
use super::emitter::Emitter;
use super::helpers;
use super::schedule::{Need, Phase, group_reads, text_agg_reads};
use crate::ir::{
    Bound, CmpOp, DatePart, Inst, Lit, MathBin, MathFn, Op, Precision, StrTest, TimeUnit, TruncTo, Ty,
    ValueId,
};
use arrow::datatypes::DataType;
use cranelift::prelude::*;
use fuseline_kernels::abi::ColumnRef;
use fuseline_kernels::datetime::interval::Interval;
use fuseline_kernels::datetime::{Part, Trunc, Unit};
use fuseline_kernels::strings::like::LikePattern;
use fuseline_kernels::strings::search::Needle;
use fuseline_kernels::strings::set::StrSet;

fn unit_code(unit: TimeUnit) -> Option<Unit> {
    match unit {
        TimeUnit::Day => None,
        TimeUnit::Second => Some(Unit::Second),
        TimeUnit::Milli => Some(Unit::Milli),
        TimeUnit::Micro => Some(Unit::Micro),
        TimeUnit::Nano => Some(Unit::Nano),
    }
}

fn part_code(part: DatePart) -> Part {
    match part {
        DatePart::Year => Part::Year,
        DatePart::Quarter => Part::Quarter,
        DatePart::Month => Part::Month,
        DatePart::Week => Part::Week,
        DatePart::Day => Part::Day,
        DatePart::DayOfWeek => Part::DayOfWeek,
        DatePart::DayOfYear => Part::DayOfYear,
        DatePart::Hour => Part::Hour,
        DatePart::Minute => Part::Minute,
        DatePart::Second => Part::Second,
        DatePart::Millisecond => Part::Millisecond,
        DatePart::Microsecond => Part::Microsecond,
        DatePart::Nanosecond => Part::Subsecond,
    }
}

fn trunc_code(to: TruncTo) -> Trunc {
    match to {
        TruncTo::Year => Trunc::Year,
        TruncTo::Quarter => Trunc::Quarter,
        TruncTo::Month => Trunc::Month,
        TruncTo::Week => Trunc::Week,
        TruncTo::Day => Trunc::Day,
        TruncTo::Hour => Trunc::Hour,
        TruncTo::Minute => Trunc::Minute,
        TruncTo::Second => Trunc::Second,
        TruncTo::Millisecond => Trunc::Millisecond,
        TruncTo::Microsecond => Trunc::Microsecond,
    }
}

fn math_name(f: MathFn) -> Option<&'static str> {
    Some(match f {
        MathFn::Sqrt | MathFn::Floor | MathFn::Ceil | MathFn::Trunc | MathFn::Round | MathFn::Signum => {
            return None;
        }
        MathFn::Exp => "exp",
        MathFn::Ln => "ln",
        MathFn::Log2 => "log2",
        MathFn::Log10 => "log10",
        MathFn::Sin => "sin",
        MathFn::Cos => "cos",
        MathFn::Tan => "tan",
        MathFn::Asin => "asin",
        MathFn::Acos => "acos",
        MathFn::Atan => "atan",
        MathFn::Sinh => "sinh",
        MathFn::Cosh => "cosh",
        MathFn::Tanh => "tanh",
        MathFn::Asinh => "asinh",
        MathFn::Acosh => "acosh",
        MathFn::Atanh => "atanh",
        MathFn::Cbrt => "cbrt",
        MathFn::Ln1p => "ln_1p",
        MathFn::Expm1 => "exp_m1",
    })
}

/// The kernel of a function of floats, in one of its precisions.
fn math_kernel(name: &str, ty: Ty, precision: Precision) -> String {
    let width = if ty == Ty::F32 { "f32" } else { "f64" };
    let kind = match precision {
        Precision::Fast => "fast",
        Precision::Libm => "exact",
    };
    format!("rt_{name}_{width}_{kind}")
}

fn comparison(op: CmpOp) -> (&'static str, &'static str) {
    match op {
        CmpOp::Eq => ("rt_str_eq", "rt_str_eq_const"),
        CmpOp::Ne => ("rt_str_ne", "rt_str_ne_const"),
        CmpOp::Lt => ("rt_str_lt", "rt_str_lt_const"),
        CmpOp::Le => ("rt_str_le", "rt_str_le_const"),
        CmpOp::Gt => ("rt_str_gt", "rt_str_gt_const"),
        CmpOp::Ge => ("rt_str_ge", "rt_str_ge_const"),
    }
}

fn swapped(op: CmpOp) -> CmpOp {
    match op {
        CmpOp::Eq => CmpOp::Eq,
        CmpOp::Ne => CmpOp::Ne,
        CmpOp::Lt => CmpOp::Gt,
        CmpOp::Le => CmpOp::Ge,
        CmpOp::Gt => CmpOp::Lt,
        CmpOp::Ge => CmpOp::Le,
    }
}

impl Emitter<'_, '_> {
    /// Fills buffers with the constants that kernels read as columns; at the function's entry.
    pub(super) fn fill_constants(&mut self) -> Result<(), CompileError> {
        let lp = self.lp;
        let schedule = self.schedule;
        let calls = schedule.segments.iter().flat_map(|s| &s.phases).filter(|p| p.kind == Kind::Call);
        let mut wanted: Vec<ValueId> = Vec::new();
        let args = calls.flat_map(|p| &p.insts).flat_map(|v| {
            let inst = lp.value(*v);
            inst.args.iter().chain(inst.under.as_ref()).copied()
        });
        // Keys that are strings are packed by a kernel.
        let texts = group_reads(lp).into_iter().map(|r| r.0).filter(|v| lp.value(*v).ty == Ty::Str);
        for a in args.chain(texts) {
            if constant(lp, a).is_some() && !wanted.contains(&a) {
                wanted.push(a);
            }
        }
        for v in text_agg_reads(lp) {
            if constant(lp, v).is_some() && !wanted.contains(&v) {
                wanted.push(v);
            }
        }
        for v in wanted {
            let Some(lit) = constant(lp, v) else { continue };
            let data = self.buffer(lit.ty());
            let rows = self.b.ins().iconst(types::I64, crate::ir::CHUNK as i64);
            match lit {
                Lit::Str(text) => {
                    let text = self.constants.text(text) as i64;
                    let text = self.b.ins().iconst(types::I64, text);
                    self.call("rt_str_fill", &[rows, text, data])?;
                }
                Lit::Null(Ty::Str) => {
                    let text = self.constants.text("") as i64;
                    let text = self.b.ins().iconst(types::I64, text);
                    self.call("rt_str_fill", &[rows, text, data])?;
                }
                other => {
                    let (bits, width) = match other {
                        // Staged bits: a byte of eight rows.
                        Lit::Bool(true) => (0xFF, 1),
                        Lit::Bool(false) => (0, 1),
                        lit => (super::lanes::literal_bits(lit), lit.ty().width().unwrap_or(1)),
                    };
                    self.fill(rows, bits, width, data);
                }
            }
            self.mem[v.index()].data = Some(data);
            if lit.is_null() {
                let valid = self.buffer(Ty::Bool);
                let bytes = self.b.ins().iconst(types::I64, (crate::ir::CHUNK / 8) as i64);
                self.fill(bytes, 0, 1, valid);
                self.mem[v.index()].valid = Some(valid);
            }
        }
        Ok(())
    }

    fn fill(&mut self, rows: Value, bits: u64, width: usize, to: Value) {
        let helper = helpers::helper_fill();
        let bits = self.b.ins().iconst(types::I64, bits as i64);
        let width = self.b.ins().iconst(types::I64, width as i64);
        self.call_at(helper.address as *const u8, helper.params, helper.ret, &[rows, bits, width, to]);
    }

    pub(super) fn emit_calls(&mut self, phase: &Phase) -> Result<(), CompileError> {
        for (v, need) in &phase.loads {
            let need = if self.compares_in_place(*v) { Need { data: false, ..*need } } else { *need };
            self.ensure(*v, need)?;
        }
        for v in &phase.insts {
            self.note(*v);
            self.place(*v, Need { data: true, valid: false })?;
            let lp = self.lp;
            let inst = lp.value(*v);
            self.emit_call(*v, inst)?;
        }
        Ok(())
    }

    /// The chunk buffer of an argument.
    pub(super) fn buffer_of(&self, v: ValueId) -> Result<Value, CompileError> {
        self.mem[v.index()]
            .data
            .ok_or_else(|| CompileError::Backend(format!("value {} is in no buffer", v.0)))
    }

    // ---- bits ---------------------------------------------------------------------------------

    fn bits2(&mut self, kernel: &str, a: Value, b: Value) -> Result<Value, CompileError> {
        let out = self.buffer(Ty::Bool);
        self.call(kernel, &[a, b, self.n, out])?;
        Ok(out)
    }

    fn bits_and(&mut self, a: Option<Value>, b: Option<Value>) -> Result<Option<Value>, CompileError> {
        Ok(match (a, b) {
            (Some(a), Some(b)) => Some(self.bits2("rt_and_bits", a, b)?),
            (a, b) => a.or(b),
        })
    }

    fn bits_not(&mut self, a: Value) -> Result<Value, CompileError> {
        let out = self.buffer(Ty::Bool);
        self.call("rt_not_bits", &[a, self.n, out])?;
        Ok(out)
    }

    /// Where a boolean is true and valid.
    pub(super) fn bits_hold(&mut self, v: ValueId) -> Result<Value, CompileError> {
        let mem = self.mem[v.index()];
        let data = self.buffer_of(v)?;
        Ok(self.bits_and(Some(data), mem.valid)?.unwrap_or(data))
    }

    /// `condition ? a : b`, where absent means all set.
    fn bits_choose(
        &mut self,
        condition: Value,
        a: Option<Value>,
        b: Option<Value>,
    ) -> Result<Option<Value>, CompileError> {
        if a.is_none() && b.is_none() {
            return Ok(None);
        }
        let first = match a {
            Some(a) => self.bits2("rt_and_bits", condition, a)?,
            None => condition,
        };
        let second = match b {
            Some(b) => self.bits2("rt_andnot_bits", b, condition)?,
            None => self.bits_not(condition)?,
        };
        Ok(Some(self.bits2("rt_or_bits", first, second)?))
    }

    fn strict_valid(&mut self, inst: &Inst) -> Result<Option<Value>, CompileError> {
        let mut all: Option<Value> = None;
        for a in &inst.args {
            let valid = self.mem[a.index()].valid;
            all = if all == valid { all } else { self.bits_and(all, valid)? };
        }
        Ok(all)
    }

    /// Leaves the function if a row fails on which the instruction counts.
    fn bail_where_not(&mut self, inst: &Inst, ok: Value, valid: Option<Value>) -> Result<(), CompileError> {
        let under = match inst.under {
            Some(under) => Some(self.bits_hold(under)?),
            None => None,
        };
        let bad = match self.bits_and(valid, under)? {
            Some(active) => self.bits2("rt_andnot_bits", active, ok)?,
            None => self.bits_not(ok)?,
        };
        if let Some(count) = self.call("rt_count_bits", &[bad, self.n])? {
            self.bail_if(count);
        }
        Ok(())
    }

    // ---- instructions -------------------------------------------------------------------------

    fn emit_call(&mut self, id: ValueId, inst: &Inst) -> Result<(), CompileError> {
        let out = self.buffer_of(id)?;
        let n = self.n;
        let args = &inst.args;
        let mut valid = self.strict_valid(inst)?;
        match &inst.op {
            Op::Cmp(op) => self.compare_strings(*op, args[0], args[1], out)?,
            Op::Distinct => {
                self.compare_strings(CmpOp::Ne, args[0], args[1], out)?;
                let (a, b) = (self.mem[args[0].index()].valid, self.mem[args[1].index()].valid);
                if let Some(both) = self.bits_and(a, b)? {
                    // Where both are valid the texts decide, else whether one is.
                    self.call("rt_and_bits", &[out, both, n, out])?;
                    let either = match (a, b) {
                        (Some(a), Some(b)) => Some(self.bits2("rt_or_bits", a, b)?),
                        (Some(_) | None, Some(_) | None) => None,
                    };
                    let one = match either {
                        Some(either) => self.bits2("rt_andnot_bits", either, both)?,
                        None => self.bits_not(both)?,
                    };
                    self.call("rt_or_bits", &[out, one, n, out])?;
                }
                valid = None;
            }
            Op::InSet(set) => {
                let texts: Vec<&[u8]> = set
                    .iter()
                    .filter_map(|l| match l {
                        Lit::Str(s) => Some(s.as_bytes()),
                        _other => None,
                    })
                    .collect();
                let set = self.constants.keep(StrSet::new(&texts)) as i64;
                let set = self.b.ins().iconst(types::I64, set);
                let a = self.buffer_of(args[0])?;
                self.call("rt_str_in_set", &[n, a, set, out])?;
            }
            Op::Select => {
                let condition = self.bits_hold(args[0])?;
                self.select_strings(id, condition, args[1], args[2])?;
                let (a, b) = (self.mem[args[1].index()].valid, self.mem[args[2].index()].valid);
                valid = self.bits_choose(condition, a, b)?;
            }
            Op::Coalesce => {
                let (a, b) = (self.mem[args[0].index()].valid, self.mem[args[1].index()].valid);
                match a {
                    None => self.mem[id.index()].data = Some(self.buffer_of(args[0])?),
                    Some(condition) => {
                        self.select_strings(id, condition, args[0], args[1])?;
                        valid = self.bits_choose(condition, None, b)?;
                    }
                }
            }
            Op::NullIf => {
                let drop = self.bits_hold(args[1])?;
                valid = Some(match self.mem[args[0].index()].valid {
                    Some(valid) => self.bits2("rt_andnot_bits", valid, drop)?,
                    None => self.bits_not(drop)?,
                });
                self.mem[id.index()].data = Some(self.buffer_of(args[0])?);
            }
            Op::Guard(_) => {
                let ok = self.buffer_of(args[1])?;
                self.bail_where_not(inst, ok, valid)?;
                self.mem[id.index()].data = Some(self.buffer_of(args[0])?);
            }
            Op::StrTest(test) => self.test_strings(test, args[0], out)?,
            Op::StrLen(bound) => {
                let a = self.buffer_of(args[0])?;
                let name = match bound {
                    Bound::Chars => "rt_str_char_length_i32",
                    Bound::Bytes => "rt_str_octet_length_i32",
                };
                self.call(name, &[n, a, out])?;
            }
            Op::Substr => {
                let a = self.buffer_of(args[0])?;
                let start = self.buffer_of(args[1])?;
                let null = self.b.ins().iconst(types::I64, 0);
                let count = match args.get(2) {
                    Some(count) => self.buffer_of(*count)?,
                    None => null,
                };
                let under = match inst.under {
                    Some(under) => Some(self.bits_hold(under)?),
                    None => None,
                };
                let active = self.bits_and(valid, under)?.unwrap_or(null);
                if let Some(status) = self.call("rt_str_substr", &[n, a, start, count, active, out])? {
                    self.bail_if(status);
                }
            }
            Op::Probe { join, null_equal } => {
                valid = Some(self.emit_probe((*join, *null_equal), inst, out)?);
            }
            Op::Fetch { join, column, nullable, .. } => {
                valid = self.emit_fetch((*join, *column, *nullable), inst, out)?;
            }
            Op::Math(f, precision) => {
                let name = math_name(*f).ok_or_else(|| CompileError::Backend(format!("{f:?} has lanes")))?;
                let a = self.buffer_of(args[0])?;
                self.call(&math_kernel(name, inst.ty, *precision), &[n, a, out])?;
            }
            Op::MathBin(f, precision) => {
                let name = match f {
                    MathBin::Pow => "pow",
                    MathBin::Atan2 => "atan2",
                };
                let (a, b) = (self.buffer_of(args[0])?, self.buffer_of(args[1])?);
                self.call(&math_kernel(name, inst.ty, *precision), &[n, a, b, out])?;
            }
            Op::DatePart { part, unit } => {
                let a = self.buffer_of(args[0])?;
                let ok = self.buffer(Ty::Bool);
                let code = self.b.ins().iconst(types::I32, part_code(*part) as i64);
                match unit_code(*unit) {
                    Some(unit) => {
                        let unit = self.b.ins().iconst(types::I32, unit as i64);
                        self.call("rt_date_part", &[n, a, unit, code, out, ok])?;
                    }
                    None => {
                        self.call("rt_date_part_day", &[n, a, code, out, ok])?;
                    }
                }
                if part.can_be_null(*unit) {
                    valid = self.bits_and(valid, Some(ok))?;
                }
            }
            Op::DateTrunc { to, unit } => {
                let a = self.buffer_of(args[0])?;
                let ok = self.buffer(Ty::Bool);
                let to = self.b.ins().iconst(types::I32, trunc_code(*to) as i64);
                match unit_code(*unit) {
                    Some(unit) => {
                        let unit = self.b.ins().iconst(types::I32, unit as i64);
                        self.call("rt_date_trunc", &[n, a, unit, to, out, ok])?;
                    }
                    None => {
                        self.call("rt_date_trunc_day", &[n, a, to, out, ok])?;
                    }
                }
                self.bail_where_not(inst, ok, valid)?;
            }
            Op::AddInterval { unit, months, days, nanos, subtract } => {
                let a = self.buffer_of(args[0])?;
                let ok = self.buffer(Ty::Bool);
                let interval = Interval { months: *months, days: *days, nanos: *nanos };
                let interval = if *subtract { interval.negated() } else { interval };
                let interval = self.constants.keep(interval) as i64;
                let interval = self.b.ins().iconst(types::I64, interval);
                match unit_code(*unit) {
                    Some(unit) => {
                        let unit = self.b.ins().iconst(types::I32, unit as i64);
                        self.call("rt_add_interval", &[n, a, unit, interval, out, ok])?;
                    }
                    None => {
                        self.call("rt_add_interval_day", &[n, a, interval, out, ok])?;
                    }
                }
                self.bail_where_not(inst, ok, valid)?;
            }
            Op::Input(_)
            | Op::Const(_)
            | Op::RowIndex
            | Op::Add(_)
            | Op::Sub(_)
            | Op::Mul(_)
            | Op::Div
            | Op::Rem
            | Op::Neg(_)
            | Op::Abs(_)
            | Op::BitAnd
            | Op::BitOr
            | Op::BitXor
            | Op::Shl
            | Op::Shr
            | Op::And
            | Op::Or
            | Op::Not
            | Op::IsValid
            | Op::IsTrue
            | Op::Cast(..)
            | Op::DecRescale { .. }
            | Op::DecFromInt { .. }
            | Op::DecToInt { .. }
            | Op::DecFromFloat { .. }
            | Op::DecToFloat { .. }
            | Op::DecDiv { .. }
            | Op::Expand { .. } => {
                return Err(CompileError::Backend(format!("{:?} was scheduled as a call", inst.op)));
            }
        }
        self.mem[id.index()].valid = if inst.nullable { valid } else { None };
        Ok(())
    }

    /// Whether a column of text is only compared with constants for equality, which a kernel does from the
    /// array's offsets: no references to its strings are made then. Behind a filter there is no array any
    /// more, only the rows that are left.
    fn compares_in_place(&self, v: ValueId) -> bool {
        let lp = self.lp;
        let Op::Input(index) = lp.value(v).op else { return false };
        let offsets = matches!(lp.inputs[index as usize].data_type, DataType::Utf8 | DataType::LargeUtf8);
        let text = |v: &ValueId| matches!(constant(lp, *v), Some(Lit::Str(_)));
        let equality =
            |inst: &Inst| matches!(inst.op, Op::Cmp(CmpOp::Eq | CmpOp::Ne)) && inst.args.iter().any(text);
        // Instructions that nobody needs are not emitted, but they are rare, and asking is harmless.
        let uses = lp.values.iter().filter(|inst| inst.args.contains(&v));
        offsets
            && self.in_first_segment()
            && self.mem[v.index()].data.is_none()
            && uses.clone().all(|inst| equality(inst) || inst.op == Op::IsValid)
            && !lp.sink.uses().contains(&v)
    }

    /// `row == text` for a column whose strings were not loaded.
    fn equal_in_place(&mut self, index: usize, text: &str, out: Value) -> Result<(), CompileError> {
        let (name, width) = if self.lp.inputs[index].data_type == DataType::Utf8 {
            ("rt_utf8_eq_const_i32", 4)
        } else {
            ("rt_utf8_eq_const_i64", 8)
        };
        let offsets = self.column_at(index, std::mem::offset_of!(ColumnRef, data), width);
        let (bytes, _) = self.column_aux(index);
        let len = self.b.ins().iconst(types::I64, text.len() as i64);
        let text = self.constants.text_bytes(text) as i64;
        let text = self.b.ins().iconst(types::I64, text);
        self.call(name, &[self.n, offsets, bytes, text, len, out])?;
        Ok(())
    }

    fn compare_strings(&mut self, op: CmpOp, x: ValueId, y: ValueId, out: Value) -> Result<(), CompileError> {
        let text = |lp: &crate::ir::Loop, v| match constant(lp, v) {
            Some(Lit::Str(text)) => Some(text.clone()),
            Some(_) | None => None,
        };
        let (op, a, constant) = match (text(self.lp, x), text(self.lp, y)) {
            (_, Some(text)) => (op, x, Some(text)),
            (Some(text), None) => (swapped(op), y, Some(text)),
            (None, None) => (op, x, None),
        };
        let (general, with_constant) = comparison(op);
        if let (Some(text), Op::Input(index), CmpOp::Eq | CmpOp::Ne) = (&constant, &self.lp.value(a).op, op)
            && self.mem[a.index()].data.is_none()
        {
            self.equal_in_place(*index as usize, text, out)?;
            if op == CmpOp::Ne {
                self.call("rt_not_bits", &[out, self.n, out])?;
            }
            return Ok(());
        }
        let a = self.buffer_of(a)?;
        match constant {
            Some(text) => {
                let text = self.constants.text(&text) as i64;
                let text = self.b.ins().iconst(types::I64, text);
                self.call(with_constant, &[self.n, a, text, out])?;
            }
            None => {
                let b = self.buffer_of(y)?;
                self.call(general, &[self.n, a, b, out])?;
            }
        }
        Ok(())
    }

    fn select_strings(
        &mut self,
        id: ValueId,
        mask: Value,
        x: ValueId,
        y: ValueId,
    ) -> Result<(), CompileError> {
        let (a, b, out) = (self.buffer_of(x)?, self.buffer_of(y)?, self.buffer_of(id)?);
        self.call("rt_str_select", &[self.n, mask, a, b, out])?;
        Ok(())
    }

    fn test_strings(&mut self, test: &StrTest, x: ValueId, out: Value) -> Result<(), CompileError> {
        let (name, object) = match test {
            StrTest::StartsWith(part) => {
                ("rt_str_starts_with", self.constants.keep(Needle::new(part.as_bytes())) as i64)
            }
            StrTest::EndsWith(part) => {
                ("rt_str_ends_with", self.constants.keep(Needle::new(part.as_bytes())) as i64)
            }
            StrTest::Contains(part) => {
                ("rt_str_contains", self.constants.keep(Needle::new(part.as_bytes())) as i64)
            }
            StrTest::Like { pattern, case_insensitive } => {
                let pattern = LikePattern::new(pattern, *case_insensitive)
                    .map_err(|e| CompileError::Unsupported(e.to_string()))?;
                ("rt_str_like", self.constants.keep(pattern) as i64)
            }
        };
        let object = self.b.ins().iconst(types::I64, object);
        let a = self.buffer_of(x)?;
        self.call(name, &[self.n, a, object, out])?;
        Ok(())
    }

    /// References to a chunk of a string column.
    pub(super) fn load_strings(&mut self, v: ValueId, index: usize) -> Result<Value, CompileError> {
        let data = std::mem::offset_of!(ColumnRef, data);
        let out = self.buffer(Ty::Str);
        let (aux, aux_len) = self.column_aux(index);
        let n = self.n;
        let data_type = &self.lp.inputs[index].data_type;
        match data_type {
            DataType::Utf8 | DataType::LargeUtf8 => {
                let (name, width) = if *data_type == DataType::Utf8 {
                    ("rt_load_utf8_i32", 4)
                } else {
                    ("rt_load_utf8_i64", 8)
                };
                let offsets = self.column_at(index, data, width);
                self.call(name, &[n, offsets, aux, out])?;
            }
            DataType::Utf8View => {
                self.ensure(v, Need::VALID)?;
                let null = self.b.ins().iconst(types::I64, 0);
                let valid = self.mem[v.index()].valid.unwrap_or(null);
                let views = self.column_at(index, data, 16);
                self.call("rt_load_view", &[n, views, aux, valid, out])?;
            }
            DataType::Dictionary(key, _) => {
                let (name, width) = match **key {
                    DataType::Int8 => ("rt_load_dict_i8", 1),
                    DataType::Int16 => ("rt_load_dict_i16", 2),
                    DataType::Int32 => ("rt_load_dict_i32", 4),
                    DataType::Int64 => ("rt_load_dict_i64", 8),
                    DataType::UInt8 => ("rt_load_dict_u8", 1),
                    DataType::UInt16 => ("rt_load_dict_u16", 2),
                    DataType::UInt32 => ("rt_load_dict_u32", 4),
                    DataType::UInt64 => ("rt_load_dict_u64", 8),
                    ref other => {
                        return Err(CompileError::Unsupported(format!("dictionary keys of type {other}")));
                    }
                };
                let keys = self.column_at(index, data, width);
                self.call(name, &[n, keys, aux, aux_len, out])?;
            }
            other => return Err(CompileError::Unsupported(format!("strings of type {other}"))),
        }
        Ok(out)
    }
}
