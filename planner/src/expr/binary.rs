//! Arithmetic, comparison and logic.
//!
//! Facts the code relies on (DataFusion 55, arrow 59): integer `+ - *` wrap unless the expression
//! says otherwise, decimals and durations err; comparisons of floats treat -0.0 as 0.0; AND and OR
//! are three-valued, and their right side counts only where the left does not decide.

use super::{Ctx, Expr, Native, Scope, StageBuilder, data_type, is_string};
use arrow::datatypes::{DECIMAL128_MAX_SCALE, DataType};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::physical_expr::expressions::{BinaryExpr, Literal};
use fuseline_codegen::ir::{CmpOp, Lit, Op, Overflow, Ty, ValueId};
use std::sync::Arc;

impl StageBuilder {
    pub(super) fn binary(&mut self, expr: &Expr, e: &BinaryExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        use Operator as O;
        match e.op() {
            O::And | O::Or => self.logic(e, scope, cx),
            O::Eq => self.compare(e, Op::Cmp(CmpOp::Eq), scope, cx),
            O::NotEq => self.compare(e, Op::Cmp(CmpOp::Ne), scope, cx),
            O::Lt => self.compare(e, Op::Cmp(CmpOp::Lt), scope, cx),
            O::LtEq => self.compare(e, Op::Cmp(CmpOp::Le), scope, cx),
            O::Gt => self.compare(e, Op::Cmp(CmpOp::Gt), scope, cx),
            O::GtEq => self.compare(e, Op::Cmp(CmpOp::Ge), scope, cx),
            O::IsDistinctFrom => self.compare(e, Op::Distinct, scope, cx),
            O::IsNotDistinctFrom => {
                let v = self.compare(e, Op::Distinct, scope, cx)?;
                self.total(Op::Not, &[v])
            }
            O::Plus | O::Minus | O::Multiply | O::Divide | O::Modulo => self.arithmetic(expr, e, scope, cx),
            O::BitwiseAnd => self.bits(e, Op::BitAnd, scope, cx),
            O::BitwiseOr => self.bits(e, Op::BitOr, scope, cx),
            O::BitwiseXor => self.bits(e, Op::BitXor, scope, cx),
            O::BitwiseShiftLeft => self.bits(e, Op::Shl, scope, cx),
            O::BitwiseShiftRight => self.bits(e, Op::Shr, scope, cx),
            O::LikeMatch => self.like(e.left(), e.right(), false, false, scope, cx),
            O::ILikeMatch => self.like(e.left(), e.right(), false, true, scope, cx),
            O::NotLikeMatch => self.like(e.left(), e.right(), true, false, scope, cx),
            O::NotILikeMatch => self.like(e.left(), e.right(), true, true, scope, cx),
            other => Err(format!("no loop computes the operator {other}")),
        }
    }

    /// AND and OR. A chain of the same operator is taken apart on its left spine, where parsers put
    /// it, so that a chain of thousands does not recurse.
    fn logic(&mut self, e: &BinaryExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let mut rights = vec![e.right()];
        let mut first = e.left();
        while let Some(l) = first.downcast_ref::<BinaryExpr>()
            && l.op() == e.op()
        {
            rights.push(l.right());
            first = l.left();
        }
        let and = *e.op() == Operator::And;
        let mut acc = self.value_as(first, Ty::Bool, scope, cx)?;
        for right in rights.into_iter().rev() {
            // The right side matters where the left is not false (AND), not true (OR).
            let decides = if and { self.total(Op::Not, &[acc])? } else { acc };
            let decided = self.total(Op::IsTrue, &[decides])?;
            let open = self.total(Op::Not, &[decided])?;
            let lazy = self.narrow(cx, open)?;
            let right = self.value_as(right, Ty::Bool, scope, lazy)?;
            acc = self.total(if and { Op::And } else { Op::Or }, &[acc, right])?;
        }
        Ok(acc)
    }

    fn compare(&mut self, e: &BinaryExpr, op: Op, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let (lt, rt) = (self.type_of(e.left(), scope)?, self.type_of(e.right(), scope)?);
        if !comparable(&lt, &rt) {
            return Err(format!("no loop compares {lt} with {rt}"));
        }
        let (l, r) = self.pair(e, scope, cx)?;
        self.total(op, &[l, r])
    }

    fn bits(&mut self, e: &BinaryExpr, op: Op, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let (l, r) = self.pair(e, scope, cx)?;
        self.op(op, &[l, r], cx)
    }

    /// Both operands, of one type; an untyped NULL takes the other's.
    fn pair(&mut self, e: &BinaryExpr, scope: &Scope, cx: Ctx) -> Native<(ValueId, ValueId)> {
        if is_null(e.left()) {
            let r = self.value(e.right(), scope, cx)?;
            return Ok((self.ir.lit(Lit::Null(self.ir.ty(r))), r));
        }
        let l = self.value(e.left(), scope, cx)?;
        let r = self.value_as(e.right(), self.ir.ty(l), scope, cx)?;
        Ok((l, r))
    }

    fn arithmetic(&mut self, expr: &Expr, e: &BinaryExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        use DataType as D;
        let (lt, rt) = (self.type_of(e.left(), scope)?, self.type_of(e.right(), scope)?);
        let wrap = if fails_on_overflow(expr, e)? { Overflow::Err } else { Overflow::Wrap };
        match (&lt, e.op(), &rt) {
            (l, _, r) if l == r && l.is_integer() => {
                let (a, b) = self.pair(e, scope, cx)?;
                self.op(plain(e.op(), wrap)?, &[a, b], cx)
            }
            (l, _, r) if l == r && matches!(l, D::Float32 | D::Float64) => {
                let (a, b) = self.pair(e, scope, cx)?;
                self.op(plain(e.op(), Overflow::Wrap)?, &[a, b], cx)
            }
            (D::Decimal128(p1, s1), _, D::Decimal128(p2, s2)) => {
                let (a, b) = self.pair(e, scope, cx)?;
                let a = Decimal { value: a, digits: i16::from(*p1), scale: *s1 };
                let b = Decimal { value: b, digits: i16::from(*p2), scale: *s2 };
                self.decimal(e.op(), a, b, cx)
            }
            (D::Date32, Operator::Minus, D::Date32) => {
                let (a, b) = self.pair(e, scope, cx)?;
                let (a, b) = (self.widen(a)?, self.widen(b)?);
                self.op(Op::Sub(Overflow::Wrap), &[a, b], cx)
            }
            (D::Date64, Operator::Minus, D::Date64) => {
                let (a, b) = self.pair(e, scope, cx)?;
                let ms = self.op(Op::Sub(Overflow::Wrap), &[a, b], cx)?;
                self.div_const(ms, 86_400_000, cx)
            }
            // Instants and spans of one unit: plain checked arithmetic, whatever the zone.
            (D::Timestamp(a, _), Operator::Minus, D::Timestamp(b, _)) if a == b => {
                let (a, b) = self.pair(e, scope, cx)?;
                self.op(Op::Sub(Overflow::Err), &[a, b], cx)
            }
            (D::Timestamp(a, _) | D::Duration(a), Operator::Plus | Operator::Minus, D::Duration(b))
            | (D::Duration(a), Operator::Plus, D::Timestamp(b, _))
                if a == b =>
            {
                let (a, b) = self.pair(e, scope, cx)?;
                self.op(plain(e.op(), Overflow::Err)?, &[a, b], cx)
            }
            (D::Date32 | D::Timestamp(..), Operator::Plus | Operator::Minus, D::Interval(_)) => {
                self.add_interval(e.left(), e.right(), *e.op() == Operator::Minus, scope, cx)
            }
            (D::Interval(_), Operator::Plus, D::Date32 | D::Timestamp(..)) => {
                self.add_interval(e.right(), e.left(), false, scope, cx)
            }
            _ => Err(format!("no loop computes {lt} {} {rt}", e.op())),
        }
    }

    /// The operand's type. Remembered for operators: asking each level of a long sum for the types
    /// of the levels below it, as `PhysicalExpr::data_type` does, takes the square of its length.
    fn type_of(&mut self, expr: &Expr, scope: &Scope) -> Native<DataType> {
        let Some(e) = expr.downcast_ref::<BinaryExpr>() else {
            return data_type(expr, &scope.schema);
        };
        let key = Arc::as_ptr(expr).cast::<()>() as usize;
        if let Some(known) = self.operator_types.get(&key) {
            return Ok(known.clone());
        }
        let (l, r) = (self.type_of(e.left(), scope)?, self.type_of(e.right(), scope)?);
        let result = BinaryTypeCoercer::new(&l, e.op(), &r).get_result_type();
        let result = result.map_err(|e| e.to_string())?;
        self.operator_types.insert(key, result.clone());
        Ok(result)
    }

    /// Arrow's decimal rules, which follow Hive's: operands are brought to one scale (`+ - %`), or
    /// the left one is scaled up by what the result's scale needs (`/`). Arrow checks each step for
    /// overflow; where the operands' digits rule it out, nothing is checked.
    fn decimal(&mut self, op: &Operator, l: Decimal, r: Decimal, cx: Ctx) -> Native<ValueId> {
        if l.scale < 0 || r.scale < 0 {
            return Err("decimals of negative scale are not known to loops".to_owned());
        }
        let scale = l.scale.max(r.scale);
        let max_scale = i16::from(DECIMAL128_MAX_SCALE);
        match op {
            Operator::Plus | Operator::Minus | Operator::Modulo => {
                // Arrow scales a value only where both are there.
                let (beside_l, beside_r) = (self.beside(r.value, cx)?, self.beside(l.value, cx)?);
                let l = self.scale_up(l, scale, beside_l)?;
                let r = self.scale_up(r, scale, beside_r)?;
                let overflow = overflow(l.digits.max(r.digits) + 1);
                self.op(plain(op, overflow)?, &[l.value, r.value], cx)
            }
            Operator::Multiply if i16::from(l.scale) + i16::from(r.scale) <= max_scale => {
                self.op(Op::Mul(overflow(l.digits + r.digits)), &[l.value, r.value], cx)
            }
            Operator::Divide => {
                let result_scale = (i16::from(l.scale) + 4).min(max_scale);
                let pow = result_scale - i16::from(l.scale) + i16::from(r.scale);
                if pow > 38 {
                    return Err("the quotient's scale does not fit a decimal".to_owned());
                }
                let op = Op::DecDiv { left_pow: pow.max(0) as u8, right_pow: (-pow).max(0) as u8 };
                self.op(op, &[l.value, r.value], cx)
            }
            other => Err(format!("no loop computes this decimal operation {other}")),
        }
    }

    /// Where the other operand is valid.
    fn beside(&mut self, other: ValueId, cx: Ctx) -> Native<Ctx> {
        if !self.ir.nullable(other) {
            return Ok(cx);
        }
        let valid = self.total(Op::IsValid, &[other])?;
        self.narrow(cx, valid)
    }

    fn scale_up(&mut self, d: Decimal, scale: i8, cx: Ctx) -> Native<Decimal> {
        let by = scale - d.scale;
        if by == 0 {
            return Ok(d);
        }
        let digits = d.digits + i16::from(by);
        let factor = self.ir.lit(Lit::I128(10i128.pow(by as u32)));
        let value = self.op(Op::Mul(overflow(digits)), &[d.value, factor], cx)?;
        Ok(Decimal { value, digits, scale })
    }
}

/// An operand of decimal arithmetic.
struct Decimal {
    value: ValueId,
    /// Its absolute value is below 10 to this power.
    digits: i16,
    scale: i8,
}

/// Results of up to 38 digits fit an i128.
fn overflow(digits: i16) -> Overflow {
    if digits <= 38 { Overflow::Wrap } else { Overflow::Err }
}

/// Whether integer overflow is an error in this expression, a flag without a getter: it survives
/// an exchange of the operands, and equality sees it.
fn fails_on_overflow(expr: &Expr, e: &BinaryExpr) -> Native<bool> {
    let operand: Expr = Arc::new(Literal::new(ScalarValue::Null));
    let exchanged = Arc::clone(expr)
        .with_new_children(vec![Arc::clone(&operand), Arc::clone(&operand)])
        .map_err(|e| e.to_string())?;
    let plain = BinaryExpr::new(Arc::clone(&operand), *e.op(), operand);
    Ok(exchanged.downcast_ref::<BinaryExpr>() != Some(&plain))
}

/// The op of an arithmetic operator on operands of one type.
fn plain(op: &Operator, overflow: Overflow) -> Native<Op> {
    Ok(match op {
        Operator::Plus => Op::Add(overflow),
        Operator::Minus => Op::Sub(overflow),
        Operator::Multiply => Op::Mul(overflow),
        Operator::Divide => Op::Div,
        Operator::Modulo => Op::Rem,
        other => return Err(format!("{other} is no arithmetic operator")),
    })
}

/// Whether physical values of the two types compare as DataFusion compares the columns.
fn comparable(l: &DataType, r: &DataType) -> bool {
    use DataType as D;
    match (l, r) {
        (D::Null, _) | (_, D::Null) => true,
        (D::Decimal128(_, a), D::Decimal128(_, b)) => a == b,
        (D::Timestamp(a, _), D::Timestamp(b, _)) => a == b,
        _ => l == r || (is_string(l) && is_string(r)),
    }
}

fn is_null(expr: &Expr) -> bool {
    expr.downcast_ref::<Literal>().is_some_and(|l| l.value().is_null())
}
