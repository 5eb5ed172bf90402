//! From DataFusion's expressions to IR values.
//!
//! [`StageBuilder`] collects everything a stage computes as *one* SSA program, whose inputs are the
//! source's columns and the results of batch calls; [`crate::segments`] cuts it into loops
//! afterwards. So the translation never has to know where a loop ends.
//!
//! Each expression is either translated natively (the modules below) or becomes a call of
//! DataFusion's own implementation, with those of its arguments that can be computed natively
//! computed in the loop. Semantics are DataFusion's, to the bit; an expression whose semantics the
//! IR cannot express exactly is a call, never an approximation.
//!
//! Laziness is predication: `Ctx::under` is the condition under which the expression counts, and
//! every instruction that can fail carries it.

mod binary;
mod bind;
mod case;
mod cast;
mod datetime;
mod function;
mod inlined;
mod literal;
mod math;
mod string;

pub use inlined::ASK_PYTHON;

pub(crate) use bind::{is_expensive, work_over};
pub(crate) use case::mistyped_case;

use crate::options::PlanOptions;
use crate::stage::Work;
use crate::support::Reason;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal,
    NegativeExpr, NotExpr, TryCastExpr,
};
use datafusion::physical_expr_common::physical_expr::fmt_sql;
use datafusion::physical_plan::PhysicalExpr;
use fuseline_codegen::ir::{Input, Lit, LoopBuilder, OnFail, Op, Overflow, Ty, ValueId};
use std::collections::HashMap;
use std::sync::Arc;

pub(crate) type Expr = Arc<dyn PhysicalExpr>;

/// Why an expression is not native; the expression itself is known to whoever reports it.
pub(crate) type Native<T> = Result<T, String>;

/// Expressions nested deeper than this become calls, so that translation cannot exhaust the stack.
const MAX_DEPTH: usize = 100;

/// A column of an operator's output.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Col {
    /// A column of the source, untouched; of any type.
    Source(usize),
    /// The result of a call; of any type.
    Call(usize),
    /// Something the loops compute.
    Value { id: ValueId, data_type: DataType },
}

/// What an input of the program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum InputKey {
    Source(usize),
    Call(usize),
}

/// A batch call of the program.
#[derive(Clone, Debug)]
pub(crate) struct PendingCall {
    pub name: String,
    /// Its column `i` is `args[i]`.
    pub work: Work,
    pub args: Vec<Col>,
    pub under: Option<ValueId>,
    pub field: FieldRef,
    /// How many of the program's filters come before it.
    pub filters_before: usize,
    volatile: bool,
    why: String,
}

/// The columns an expression may refer to.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub schema: SchemaRef,
    pub cols: Vec<Col>,
}

/// How an expression is evaluated.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ctx {
    /// The Bool on whose true rows it counts; `None`: all rows.
    pub under: Option<ValueId>,
}

/// The program of a stage under construction.
pub(crate) struct StageBuilder {
    pub ir: LoopBuilder,
    pub source: SchemaRef,
    /// What each input of `ir` is.
    pub inputs: Vec<InputKey>,
    pub calls: Vec<PendingCall>,
    pub filters: Vec<ValueId>,
    pub options: PlanOptions,
    /// Every column may be NULL, whatever its schema says: rows of a join that have no partner take the same
    /// steps, and all above must be planned alike for both.
    pub all_nullable: bool,
    known: HashMap<InputKey, ValueId>,
    /// Types of operators by the address of their expression, which the plan keeps alive; of one
    /// scope, see [`StageBuilder::enter`].
    operator_types: HashMap<usize, DataType>,
    depth: usize,
}

impl StageBuilder {
    pub fn new(source: SchemaRef, options: PlanOptions) -> StageBuilder {
        StageBuilder {
            ir: LoopBuilder::new(),
            source,
            inputs: vec![],
            calls: vec![],
            filters: vec![],
            options,
            all_nullable: false,
            known: HashMap::new(),
            operator_types: HashMap::new(),
            depth: 0,
        }
    }

    /// Starts with another operator's expressions.
    pub fn enter(&mut self) {
        self.operator_types.clear();
    }

    /// What became a call, and why.
    pub fn notes(&self) -> Vec<Reason> {
        self.calls.iter().map(|c| Reason::new(&c.name, &c.why)).collect()
    }

    /// A column as a value; errs when its type has no representation in a loop.
    pub fn col_value(&mut self, col: &Col) -> Native<ValueId> {
        let key = match col {
            Col::Source(i) => InputKey::Source(*i),
            Col::Call(k) => InputKey::Call(*k),
            Col::Value { id, .. } => return Ok(*id),
        };
        if let Some(v) = self.known.get(&key) {
            return Ok(*v);
        }
        let field = self.key_field(key);
        let v = self.ir.input(field.name(), field.data_type(), field.is_nullable())?;
        self.inputs.push(key);
        self.known.insert(key, v);
        Ok(v)
    }

    pub fn key_field(&self, key: InputKey) -> FieldRef {
        match key {
            InputKey::Source(i) => self.source.fields()[i].clone(),
            InputKey::Call(k) => self.calls[k].field.clone(),
        }
    }

    /// The expression as a column that an operator puts out.
    pub fn output(&mut self, expr: &Expr, scope: &Scope, cx: Ctx) -> Native<Col> {
        if let Some(column) = expr.downcast_ref::<Column>() {
            return Ok(scope.cols[column.index()].clone());
        }
        let data_type = data_type(expr, &scope.schema)?;
        let why = if can_emit(&data_type) {
            match self.native(expr, scope, cx) {
                Ok(id) => return Ok(Col::Value { id, data_type }),
                Err(why) => why,
            }
        } else {
            format!("its type {data_type} cannot be computed in a loop")
        };
        self.call(expr, scope, cx, why)
    }

    /// The expression as a value, natively or as the result of a call.
    pub fn value(&mut self, expr: &Expr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        match self.native(expr, scope, cx) {
            Ok(v) => Ok(v),
            Err(why) => {
                let data_type = data_type(expr, &scope.schema)?;
                if Input::physical(&data_type).is_none() || expr.is::<Column>() {
                    return Err(why);
                }
                let col = self.call(expr, scope, cx, why)?;
                self.col_value(&col)
            }
        }
    }

    /// As `value`, of a given type: an untyped NULL takes it.
    pub fn value_as(&mut self, expr: &Expr, ty: Ty, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        if expr.downcast_ref::<Literal>().is_some_and(|l| l.value().is_null()) {
            return Ok(self.ir.lit(Lit::Null(ty)));
        }
        let v = self.value(expr, scope, cx)?;
        if self.ir.ty(v) == ty {
            Ok(v)
        } else {
            Err(format!("it mixes the types {} and {ty}", self.ir.ty(v)))
        }
    }

    /// The expression's own operation as IR; its operands may be calls.
    pub fn native(&mut self, expr: &Expr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        if self.is_deep() {
            return Err("it is nested too deeply".to_owned());
        }
        self.depth += 1;
        let result = self.native_at_depth(expr, scope, cx);
        self.depth -= 1;
        result
    }

    /// Whether translation must stop here: what is below becomes one call as a whole.
    pub(super) fn is_deep(&self) -> bool {
        self.depth >= MAX_DEPTH
    }

    fn native_at_depth(&mut self, expr: &Expr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        if let Some(e) = expr.downcast_ref::<Column>() {
            let col = scope.cols.get(e.index()).cloned();
            return self.col_value(&col.ok_or("it refers to a column that its input lacks")?);
        }
        if let Some(e) = expr.downcast_ref::<Literal>() {
            return Ok(self.ir.lit(literal::lit(e.value())?));
        }
        if let Some(e) = expr.downcast_ref::<BinaryExpr>() {
            return self.binary(expr, e, scope, cx);
        }
        if let Some(e) = expr.downcast_ref::<NotExpr>() {
            let v = self.value_as(e.arg(), Ty::Bool, scope, cx)?;
            return self.op(Op::Not, &[v], cx);
        }
        if let Some(e) = expr.downcast_ref::<NegativeExpr>() {
            return self.negative(e, scope, cx);
        }
        if let Some(e) = expr.downcast_ref::<IsNullExpr>() {
            let v = self.value(e.arg(), scope, cx)?;
            let valid = self.op(Op::IsValid, &[v], cx)?;
            return self.op(Op::Not, &[valid], cx);
        }
        if let Some(e) = expr.downcast_ref::<IsNotNullExpr>() {
            let v = self.value(e.arg(), scope, cx)?;
            return self.op(Op::IsValid, &[v], cx);
        }
        if let Some(e) = expr.downcast_ref::<CastExpr>() {
            let fail = if e.cast_options().safe { OnFail::Null } else { OnFail::Err };
            return self.cast_expr(e.expr(), e.cast_type(), fail, scope, cx);
        }
        if let Some(e) = expr.downcast_ref::<TryCastExpr>() {
            return self.cast_expr(e.expr(), e.cast_type(), OnFail::Null, scope, cx);
        }
        if let Some(e) = expr.downcast_ref::<CaseExpr>() {
            return self.case(expr, e, scope, cx);
        }
        if let Some(e) = expr.downcast_ref::<InListExpr>() {
            return self.in_list(e, scope, cx);
        }
        if let Some(e) = expr.downcast_ref::<LikeExpr>() {
            return self.like(e.expr(), e.pattern(), e.negated(), e.case_insensitive(), scope, cx);
        }
        if let Some(e) = expr.downcast_ref::<ScalarFunctionExpr>() {
            return self.function(e, scope, cx);
        }
        Err("no loop computes this kind of expression".to_owned())
    }

    fn negative(&mut self, e: &NegativeExpr, scope: &Scope, cx: Ctx) -> Native<ValueId> {
        let from = data_type(e.arg(), &scope.schema)?;
        let v = self.value(e.arg(), scope, cx)?;
        // Plain numbers wrap; decimals and durations err.
        let overflow = if from.is_integer() || from.is_floating() { Overflow::Wrap } else { Overflow::Err };
        if !matches!(from, DataType::Decimal128(..) | DataType::Duration(_)) && !from.is_numeric() {
            return Err(format!("a {from} cannot be negated in a loop"));
        }
        self.op(Op::Neg(overflow), &[v], cx)
    }

    pub fn op(&mut self, op: Op, args: &[ValueId], cx: Ctx) -> Native<ValueId> {
        self.ir.inst(op, args, cx.under)
    }

    /// An op that cannot fail.
    pub fn total(&mut self, op: Op, args: &[ValueId]) -> Native<ValueId> {
        self.ir.inst(op, args, None)
    }

    /// `cx` narrowed to the rows on which `condition` (never null) holds too.
    pub fn narrow(&mut self, cx: Ctx, condition: ValueId) -> Native<Ctx> {
        let under = match cx.under {
            None => condition,
            Some(u) => self.total(Op::And, &[u, condition])?,
        };
        Ok(Ctx { under: Some(under) })
    }
}

/// The expression as the user wrote it, more or less.
pub(crate) fn sql(expr: &Expr) -> String {
    fmt_sql(expr.as_ref()).to_string()
}

/// Whether a loop can put out an array of this type.
pub(crate) fn can_emit(data_type: &DataType) -> bool {
    Input::physical(data_type).is_some() && !matches!(data_type, DataType::Dictionary(..))
}

pub(crate) fn data_type(expr: &Expr, schema: &Schema) -> Native<DataType> {
    expr.data_type(schema).map_err(|e| e.to_string())
}

/// Whether the type is text in any encoding.
pub(crate) fn is_string(data_type: &DataType) -> bool {
    Input::physical(data_type) == Some(Ty::Str)
}

/// Whether an instant in this zone has the calendar fields of UTC.
pub(crate) fn is_utc(zone: &Option<Arc<str>>) -> bool {
    zone.as_deref().is_none_or(|z| matches!(z, "UTC" | "+00:00" | "Etc/UTC" | "Z"))
}
