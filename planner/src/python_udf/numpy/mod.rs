//! Functions over arrays (kind numpy), by NumPy 2's rules.
//!
//! A function is compiled if row `i` of its result depends on row `i` of its arguments only: then it is a
//! function of one row, and an array is the value that it has there. What looks at other rows (reductions, sorting, items) is
//! refused. [`dtype`] has the types and their promotion, [`array`] what arrays are to the translator and how they are
//! converted, [`arith`] and [`compare`] their operators, [`functions`] and [`choice`] the functions of the module.
//!
//! Invariants:
//! * a row bails where NumPy would wrap an int or warn about a division, a domain or an overflow of a function: then
//!   NumPy itself computes the rows that bailed, in one call, and its warning is its own;
//! * sums, differences and products of floats that overflow give what NumPy gives, but its warning about them is not
//!   given; under settings that make an exception of it nothing is compiled ([`Errors`]);
//! * a value of `float32` is held as the float that it is, and every result is rounded to it.

pub mod arith;
pub mod array;
pub mod choice;
pub mod compare;
pub mod dtype;
pub mod functions;

use crate::python_udf::capture::{Captured, Source};
use crate::python_udf::sym::{R, Sym};
use crate::python_udf::translate::{Flow, Translator};
use ruff_python_ast::{Expr, StmtWith};

/// What NumPy does where floats go wrong: whether it is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errors {
    /// Division by zero.
    pub divide: bool,
    /// No number comes out.
    pub invalid: bool,
    /// An infinity comes out.
    pub over: bool,
}

impl Errors {
    /// What `_source.py` found NumPy set to.
    ///
    /// # Errors
    /// If it raises, or does what nobody knows.
    pub fn of(source: &Source) -> Result<Errors, String> {
        let Some(Captured::Dict(items)) = source.named("numpy.geterr") else {
            return Err("what NumPy does on errors is not known".to_owned());
        };
        let mut errors = Errors { divide: false, invalid: false, over: false };
        for (key, value) in items.iter() {
            if let (Captured::Str(key), Captured::Str(value)) = (key, value) {
                errors.set(key, value)?;
            }
        }
        Ok(errors)
    }

    /// `np.errstate(key=value)`.
    ///
    /// # Errors
    /// For other values than "warn" and "ignore".
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let silent = match value {
            "ignore" => true,
            "warn" => false,
            other => return Err(format!("NumPy is set to '{other}' on errors, so it stays Python")),
        };
        match key {
            "all" => *self = Errors { divide: silent, invalid: silent, over: silent },
            "divide" => self.divide = silent,
            "invalid" => self.invalid = silent,
            "over" => self.over = silent,
            // Nothing compiled goes by it.
            "under" => {}
            other => return Err(format!("'{other}' is no error of NumPy's")),
        }
        Ok(())
    }
}

impl Translator {
    /// `with np.errstate(...):`, the only `with` that is compiled.
    pub fn error_state(&mut self, with: &StmtWith) -> R<Flow> {
        let refused = "`with` may do anything, so it stays Python";
        let ([item], false) = (&*with.items, with.is_async) else { return self.no(refused) };
        let (Expr::Call(call), None) = (&item.context_expr, &item.optional_vars) else {
            return self.no(refused);
        };
        let callee = match (&*call.func, self.target.dtype) {
            (Expr::Name(_) | Expr::Attribute(_), Some(_)) => self.expr(&call.func)?,
            (_, _) => return self.no(refused),
        };
        if !matches!(&callee, Sym::Known(name) if &**name == "numpy.errstate")
            || !call.arguments.args.is_empty()
        {
            return self.no(refused);
        }
        let before = self.errors;
        for keyword in &call.arguments.keywords {
            let value = self.expr(&keyword.value)?;
            let (Some(name), Sym::Str(value)) = (&keyword.arg, &value) else { return self.no(refused) };
            if let Err(why) = self.errors.set(name.as_str(), value) {
                return self.no(why);
            }
        }
        let flow = self.block(&with.body)?;
        self.errors = before;
        Ok(flow)
    }
}
