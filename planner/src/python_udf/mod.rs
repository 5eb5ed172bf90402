//! Python functions of a row, from their source to the function IR.
//!
//! [`capture`] is what the runtime found out about a function, [`source`] finds it in its text. [`translate`] holds what
//! is known while it is read: statements ([`stmt`], [`loops`]) and expressions ([`expr`], [`compare`], [`arith`],
//! [`calls`], [`text`], [`format`]) become statements of the IR ([`build`]); [`sym`] is what an expression stands for in
//! the meantime, [`seq`] what sequences do, [`flow`] what variables are where paths meet, [`inline`] calls of other
//! functions and the end of a row, [`names`] what can be seen without understanding. [`numpy`] are functions over arrays.
//!
//! Invariants:
//! * compiled code returns what Python returns, or bails: whatever may raise is a guard, and `try` needs no more than
//!   its body, because an exception is Python's to raise and to catch;
//! * the IR's order of evaluation may differ from Python's on one path, which nobody can see, as all of it is pure;
//! * nothing is computed on a path on which Python would not compute it, unless it cannot bail ([`build::harmless`]).

mod arith;
mod build;
mod calls;
pub mod capture;
mod compare;
mod expr;
mod flow;
mod format;
mod inline;
mod letters;
mod loops;
mod math;
mod names;
mod numbers;
mod numpy;
mod seq;
mod source;
mod stmt;
mod sym;
#[cfg(test)]
mod tests;
mod text;
mod translate;

use crate::python_udf::capture::Source;
use crate::python_udf::numpy::Errors;
use crate::python_udf::numpy::array::Arr;
use crate::python_udf::numpy::dtype::DType;
use crate::python_udf::source::{Parsed, parse};
use crate::python_udf::sym::Sym;
use crate::python_udf::translate::{Flow, Frame, Returning, Target, Translator};
use arrow::datatypes::DataType;
use fuseline_codegen::function::{Base, Function, Local, Op, Param, Type, verify};
use std::rc::Rc;

/// Why a function stays Python: a sentence, with the line if there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{text}", line_words(*line, within.as_ref()))]
pub struct NotCompiled {
    pub line: Option<usize>,
    /// The function that is called there and the line in it, if that is where.
    pub within: Option<(String, usize)>,
    pub text: String,
}

fn line_words(line: Option<usize>, within: Option<&(String, usize)>) -> String {
    match (line, within) {
        (None, _) => String::new(),
        (Some(line), None) => format!("line {line}: "),
        (Some(line), Some((function, inner))) => format!("line {line}: in '{function}', line {inner}: "),
    }
}

impl From<sym::No> for NotCompiled {
    fn from(no: sym::No) -> NotCompiled {
        NotCompiled { line: Some(no.line), within: no.within, text: no.text }
    }
}

fn reason(text: impl Into<String>) -> NotCompiled {
    NotCompiled { line: None, within: None, text: text.into() }
}

/// The type of a parameter as SQL gives it: see `to_python.rs` of the runtime.
#[derive(Clone, Debug)]
pub struct ParamType {
    pub base: Base,
    /// Whether the function sees NULL, as None.
    pub optional: bool,
}

/// Translates a function that is called with values of these types, in the order of its parameters; those that are
/// missing have defaults. `returns`: what the column of its results holds.
///
/// # Errors
/// Why it stays Python.
pub fn translate(source: &Rc<Source>, params: &[ParamType], returns: Base) -> Result<Function, NotCompiled> {
    let (parsed, lines) = parse(source).map_err(reason)?;
    let declared = Declared { params, dtypes: &[], target: Target { base: returns, dtype: None } };
    let first = attempt(source, &parsed, &lines, &declared, false)?;
    let function = if first.1 { attempt(source, &parsed, &lines, &declared, true)?.0 } else { first.0 };
    verified(function)
}

/// Translates a function over arrays of NumPy's: columns of these types.
///
/// # Errors
/// Why it stays Python.
pub fn translate_arrays(
    source: &Rc<Source>,
    params: &[DataType],
    returns: &DataType,
) -> Result<Function, NotCompiled> {
    let of = |data_type: &DataType| {
        DType::of_column(data_type)
            .ok_or_else(|| reason(format!("columns of {data_type} as arrays of NumPy are not compiled")))
    };
    let dtypes = params.iter().map(of).collect::<Result<Vec<DType>, _>>()?;
    let returned = of(returns)?;
    let params: Vec<ParamType> =
        dtypes.iter().map(|d| ParamType { base: d.base(), optional: false }).collect();
    let (parsed, lines) = parse(source).map_err(reason)?;
    let target = Target { base: returned.base(), dtype: Some(returned) };
    let declared = Declared { params: &params, dtypes: &dtypes, target };
    verified(attempt(source, &parsed, &lines, &declared, false)?.0)
}

fn verified(function: Function) -> Result<Function, NotCompiled> {
    verify(&function)
        .map_err(|e| reason(format!("the translation is wrong ({e}), which is a fault of fuseline")))?;
    Ok(function)
}

/// A function's types as SQL gives them.
struct Declared<'d> {
    params: &'d [ParamType],
    /// Of arrays: the types of their elements.
    dtypes: &'d [DType],
    target: Target,
}

/// One reading. The second result says that it returns None although `optional` denied it.
fn attempt(
    source: &Rc<Source>,
    parsed: &Rc<Parsed>,
    lines: &Rc<source::Lines>,
    declared: &Declared<'_>,
    optional: bool,
) -> Result<(Function, bool), NotCompiled> {
    let params = declared.params;
    let mut t = Translator::new(declared.target, optional);
    if declared.target.dtype.is_some() {
        t.errors = Errors::of(source).map_err(reason)?;
    }
    t.frames.push(Frame {
        source: source.clone(),
        lines: lines.clone(),
        locals: Rc::new(Translator::locals_of(parsed)),
        outer: sym::Env::new(),
        loops: vec![],
        returning: Returning::Row,
        here: ruff_text_size::TextSize::new(0),
    });
    let mut named = vec![];
    if let Some(parameters) = parsed.parameters() {
        if parameters.vararg.is_some() || parameters.kwarg.is_some() {
            return Err(reason("it takes any number of arguments"));
        }
        let all: Vec<&str> = parameters
            .posonlyargs
            .iter()
            .chain(&parameters.args)
            .chain(&parameters.kwonlyargs)
            .map(|p| p.parameter.name.as_str())
            .collect();
        if all.len() < params.len() {
            return Err(reason("it takes fewer arguments than it is declared with"));
        }
        for (name, param) in all.iter().zip(params) {
            let ty = Type { base: param.base, optional: param.optional };
            let local = t.build.local(ty);
            debug_assert_eq!(local, Local(named.len() as u32));
            named.push(Param { name: (*name).to_owned(), ty });
            let value = t.op(Op::Get(local), vec![])?;
            let sym = match declared.dtypes.get(local.0 as usize) {
                Some(dtype) => Arr::sym(value, *dtype, false),
                None => Sym::Val(value, ty),
            };
            t.env.insert((*name).into(), sym);
        }
        for name in all.iter().skip(params.len()) {
            match source.default_of(name) {
                Some(default) => {
                    let default = t.captured(default);
                    t.env.insert((*name).into(), default);
                }
                None => {
                    return Err(reason(format!("its parameter '{name}' is not declared and has no default")));
                }
            }
        }
    } else if !params.is_empty() {
        return Err(reason("it takes fewer arguments than it is declared with"));
    }
    match &**parsed {
        Parsed::Def(def) => {
            if def.is_async {
                return Err(reason("a coroutine is not compiled"));
            }
            if t.block(&def.body)? == Flow::Falls {
                t.return_row(&Sym::None)?;
            }
        }
        Parsed::Lambda(lambda) => {
            let value = t.expr(&lambda.body)?;
            t.return_row(&value)?;
        }
    }
    if !t.returns_fit
        && let Some(no) = t.misfit
    {
        return Err(no.into());
    }
    let none = t.returns_none && !optional;
    let ty = Type { base: declared.target.base, optional };
    Ok((t.build.finish(source.name.to_string(), named, ty), none))
}
