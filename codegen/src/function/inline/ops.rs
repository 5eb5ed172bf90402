//! Which instructions an operation becomes.

use super::paths::Path;
use super::{Inliner, Made, anything, refused, ty_of};
use crate::function::{Base, Const, FloatTest, Op as Fop, TableId, Type, Value};
use crate::ir::op::{MathFn, OnFail, Overflow};
use crate::ir::{Lit, Op, Ty, ValueId};

/// Most entries of a table that becomes selections.
const MOST_ENTRIES: usize = 16;

fn literal(constant: &Const) -> Made<Lit> {
    Ok(match constant {
        Const::Bool(b) => Lit::Bool(*b),
        Const::Int(i) => Lit::I64(*i),
        Const::Float(bits) => Lit::F64(f64::from_bits(*bits)),
        Const::Str(_) => return refused("texts are not computed in lanes"),
    })
}

impl Inliner<'_, '_> {
    pub(super) fn operation(&mut self, value: Value, op: &Fop, args: &[Value], path: &Path) -> Made<ValueId> {
        let made = self.written(value, op, args, path)?;
        self.note_floor(op, args, made)?;
        Ok(made)
    }

    fn written(&mut self, value: Value, op: &Fop, args: &[Value], path: &Path) -> Made<ValueId> {
        let types: Vec<Type> = args.iter().map(|a| self.types.of(*a)).collect();
        let args = args.iter().map(|a| self.value(*a)).collect::<Made<Vec<ValueId>>>()?;
        let first = types.first().copied();
        let float = first == Some(Type::FLOAT);
        let base = first.map_or(Base::Bool, |t| t.base);
        ty_of(self.types.of(value).base)?;
        match (op, args.as_slice()) {
            (Fop::Bool(b), _) => Ok(self.lit(Lit::Bool(*b))),
            (Fop::Int(i), _) => Ok(self.int(*i)),
            (Fop::Float(bits), _) => Ok(self.float(f64::from_bits(*bits))),
            (Fop::Date(days), _) => match i32::try_from(*days) {
                Ok(days) => Ok(self.lit(Lit::I32(days))),
                Err(_) => refused("a date out of range"),
            },
            (Fop::DateTime(micros), _) => Ok(self.lit(Lit::I64(*micros))),
            (Fop::None(base), _) => {
                let ty = ty_of(*base)?;
                Ok(self.lit(Lit::Null(ty)))
            }
            (Fop::Get(local), _) => match self.locals[local.0 as usize] {
                Some(value) => Ok(value),
                None => refused("a local is read before it is set"),
            },
            (Fop::Some, [a]) => Ok(*a),
            (Fop::IsNone, [a]) => self.is_none(*a),
            (Fop::Unwrap, [a]) => {
                let none = self.is_none(*a)?;
                self.bail_if(none, path)?;
                self.or_anything(*a)
            }
            (Fop::Select, [c, a, b]) => self.select(*c, *a, *b),
            (Fop::Not, [a]) => self.not(*a),
            (Fop::And, [a, b]) => self.and(*a, *b),
            (Fop::Or, [a, b]) => self.or(*a, *b),
            (Fop::Xor, [a, b]) => self.inst(Op::Cmp(crate::ir::CmpOp::Ne), &[*a, *b]),
            (Fop::Add, [a, b]) if float => self.inst(Op::Add(Overflow::Wrap), &[*a, *b]),
            (Fop::Sub, [a, b]) if float => self.inst(Op::Sub(Overflow::Wrap), &[*a, *b]),
            (Fop::Mul, [a, b]) if float => self.inst(Op::Mul(Overflow::Wrap), &[*a, *b]),
            (Fop::Neg, [a]) if float => self.inst(Op::Neg(Overflow::Wrap), &[*a]),
            (Fop::Abs, [a]) if float => self.inst(Op::Abs(Overflow::Wrap), &[*a]),
            (Fop::TrueDiv, [a, b]) if float => self.true_div_floats(*a, *b, path),
            (Fop::FloorDiv, [a, b]) if float => self.floor_div_floats(*a, *b, false, path),
            (Fop::Mod, [a, b]) if float => self.floor_div_floats(*a, *b, true, path),
            (Fop::Pow, [a, b]) if float => self.pow_floats(*a, *b, false, path),
            (Fop::Add, [a, b]) => self.add(*a, *b, path),
            (Fop::Sub, [a, b]) => self.sub(*a, *b, path),
            (Fop::Mul, [a, b]) => self.mul(*a, *b, path),
            (Fop::Neg, [a]) => self.neg_or_abs(false, *a, path),
            (Fop::Abs, [a]) => self.neg_or_abs(true, *a, path),
            (Fop::TrueDiv, [a, b]) => self.true_div_ints(*a, *b, path),
            (Fop::FloorDiv, [a, b]) => self.floor_div_ints(*a, *b, false, path),
            (Fop::Mod, [a, b]) => self.floor_div_ints(*a, *b, true, path),
            (Fop::Pow, [a, b]) => self.pow_ints(*a, *b, path),
            (Fop::Shl, [a, n]) => self.shift(true, *a, *n, path),
            (Fop::Shr, [a, n]) => self.shift(false, *a, *n, path),
            (Fop::BitAnd, [a, b]) => self.inst(Op::BitAnd, &[*a, *b]),
            (Fop::BitOr, [a, b]) => self.inst(Op::BitOr, &[*a, *b]),
            (Fop::BitXor, [a, b]) => self.inst(Op::BitXor, &[*a, *b]),
            (Fop::Invert, [a]) => {
                let ones = self.int(-1);
                self.inst(Op::BitXor, &[*a, ones])
            }
            (Fop::BoolToInt, [a]) => {
                let made = self.inst(Op::Cast(Ty::I64, OnFail::Err), &[*a])?;
                self.ranges.insert(made, (0, 1));
                Ok(made)
            }
            (Fop::IntToFloat, [a]) => self.int_to_float(*a),
            (Fop::Trunc, [x]) => {
                let whole = self.whole(MathFn::Trunc, *x)?;
                self.int_of(whole, path)
            }
            (Fop::Floor, [x]) => {
                let whole = self.whole(MathFn::Floor, *x)?;
                self.int_of(whole, path)
            }
            (Fop::Ceil, [x]) => {
                let whole = self.whole(MathFn::Ceil, *x)?;
                self.int_of(whole, path)
            }
            (Fop::RoundEven, [x]) => {
                let whole = self.round_even(*x)?;
                self.int_of(whole, path)
            }
            (Fop::ToSingle, [x]) => {
                let single = self.inst(Op::Cast(Ty::F32, OnFail::Err), &[*x])?;
                let double = self.inst(Op::Cast(Ty::F64, OnFail::Err), &[single])?;
                let nan = self.float_test(FloatTest::IsNan, *x)?;
                let quiet = self.inst(Op::Add(Overflow::Wrap), &[*x, *x])?;
                self.select(nan, quiet, double)
            }
            (Fop::Whole(rounding), [x]) => self.rounded(*rounding, *x),
            (Fop::RoundDigits, [x, n]) => self.round_digits(*x, *n, path),
            (Fop::Cmp(compare), [a, b]) if float => self.compare_floats(*compare, *a, *b),
            (Fop::Cmp(compare), [a, b]) => self.inst(Op::Cmp(*compare), &[*a, *b]),
            (Fop::CmpIntFloat(compare), [a, b]) => self.compare_int_float(*compare, *a, *b, path),
            (Fop::Math1 { function, fast }, [x]) => self.math(*function, *x, *fast, path),
            (Fop::Math2 { function, fast }, [x, y]) => self.math2(*function, *x, *y, *fast, path),
            (Fop::IeeeDiv, [a, b]) => self.inst(Op::Div, &[*a, *b]),
            (Fop::IeeeMath1 { function, fast }, [x]) => self.math(*function, *x, *fast, &Path::Nowhere),
            (Fop::FloatTest(test), [x]) => self.float_test(*test, *x),
            (Fop::Has(table), [key]) => self.has(*table, *key),
            (Fop::Lookup(table), [key]) => self.lookup(*table, *key, path),
            (Fop::Field(field), [a]) => self.field(*field, base, *a, path),
            (Fop::DateTimeOf, [a]) => self.datetime_of(*a, path),
            (Fop::DateOf, [a]) => self.date_of(*a, path),
            (Fop::DateDiff, [a, b]) => self.date_diff(base, *a, *b, path),
            (Fop::DateAdd, [a, n]) => self.date_add(base, *a, *n, path),
            (other, _) => refused(format!("{} has no form in lanes", other.name())),
        }
    }

    fn is_none(&mut self, a: ValueId) -> Made<ValueId> {
        if !self.b.nullable(a) {
            return Ok(self.lit(Lit::Bool(false)));
        }
        let valid = self.inst(Op::IsValid, &[a])?;
        self.not(valid)
    }

    fn has(&mut self, table: TableId, key: ValueId) -> Made<ValueId> {
        let entries = &self.function.tables[table.0 as usize].entries;
        let keys = entries.iter().map(|(key, _)| literal(key)).collect::<Made<Vec<Lit>>>()?;
        if keys.is_empty() {
            return Ok(self.lit(Lit::Bool(false)));
        }
        self.inst(Op::InSet(keys), &[key])
    }

    fn lookup(&mut self, table: TableId, key: ValueId, path: &Path) -> Made<ValueId> {
        let function = self.function;
        let table_of = &function.tables[table.0 as usize];
        if table_of.entries.len() > MOST_ENTRIES {
            return refused("a table of many entries has no form in lanes");
        }
        let ty = ty_of(table_of.values.base)?;
        let has = self.has(table, key)?;
        self.bail_unless(has, path)?;
        let mut made = self.lit(anything(ty));
        for (at, value) in &table_of.entries {
            let at = self.lit(literal(at)?);
            let here = self.inst(Op::Cmp(crate::ir::CmpOp::Eq), &[key, at])?;
            let value = match value {
                Some(value) => self.lit(literal(value)?),
                None => self.lit(Lit::Null(ty)),
            };
            made = self.inst(Op::Select, &[here, value, made])?;
        }
        Ok(made)
    }
}
