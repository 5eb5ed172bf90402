//! From Python functions to machine code: `fuseline/_source.py` says what a function is, the planner translates it.

use crate::python::gate::enter;
use crate::udf::compiled::{Code, Compiling, may_compile};
use crate::udf::{FunctionSpec, NullHandling};
use arrow::datatypes::{DataType, TimeUnit};
use fuseline_codegen::cpu::CompileOptions;
use fuseline_codegen::cpu::function::{compile, supports_parameter, supports_result};
use fuseline_codegen::function::{Base, Type};
use fuseline_planner::python_udf::capture::{Captured, Source, Span};
use fuseline_planner::python_udf::{ParamType, translate};
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::rc::Rc;
use std::sync::Arc;

/// Compiles a Python function of this process.
pub struct PythonCompiler {
    spec: Arc<FunctionSpec>,
    callable: Py<PyAny>,
    /// What the function was when it was compiled.
    last: Mutex<Option<Py<PyAny>>>,
}

impl PythonCompiler {
    pub fn new(spec: Arc<FunctionSpec>, callable: &Bound<'_, PyAny>) -> PythonCompiler {
        PythonCompiler { spec, callable: callable.clone().unbind(), last: Mutex::new(None) }
    }

    /// With the GIL held. `None`: nothing has changed.
    fn read(&self, py: Python<'_>) -> Result<Option<Rc<Source>>, String> {
        let found = py.import("fuseline._source").and_then(|m| m.call_method1("source", (&self.callable,)));
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                self.last.lock().take();
                return Err(error.value(py).to_string());
            }
        };
        let last = self.last.lock().as_ref().map(|l| l.clone_ref(py));
        if let Some(last) = last
            && last.bind(py).eq(&found).unwrap_or(false)
        {
            return Ok(None);
        }
        *self.last.lock() = Some(found.clone().unbind());
        let captured = read(&found).map_err(|e| e.value(py).to_string())?;
        match captured {
            Captured::Function(source) => Ok(Some(source)),
            _ => Err("it is not a function written in Python".to_owned()),
        }
    }

    fn code(&self, source: &Rc<Source>) -> Code {
        let spec = &self.spec;
        let optional = spec.null_handling == NullHandling::Call;
        let Some(returns) = base(&spec.returns) else {
            return Err(format!("it returns {}, which is not compiled", spec.returns));
        };
        if !supports_result(Type::of(returns), &spec.returns) {
            return Err(format!("it returns {}, which is not compiled", spec.returns));
        }
        let mut params = vec![];
        for param in &spec.params {
            let unsupported =
                || format!("its parameter '{}' is {}, which is not compiled", param.name, param.data_type);
            let base = base(&param.data_type).ok_or_else(unsupported)?;
            if !supports_parameter(Type { base, optional }, &param.data_type) {
                return Err(unsupported());
            }
            params.push(ParamType { base, optional });
        }
        let types: Vec<DataType> = spec.params.iter().map(|p| p.data_type.clone()).collect();
        let mut code = vec![];
        for arity in spec.required()..=params.len() {
            let function = translate(source, &params[..arity], returns).map_err(|no| no.to_string())?;
            let compiled = compile(function, &types[..arity], &spec.returns, &CompileOptions::default())
                .map_err(|e| format!("its machine code: {e}"))?;
            code.push((arity, Arc::new(compiled)));
        }
        Ok(code)
    }
}

impl Compiling for PythonCompiler {
    fn compile(&self) -> Option<Code> {
        if let Err(why) = may_compile(&self.spec) {
            return Some(Err(why));
        }
        // What was captured is not shared between threads, so it is read and translated in one go.
        let (code, _) = enter(|py| match self.read(py) {
            Ok(Some(source)) => Some(self.code(&source)),
            Ok(None) => None,
            Err(why) => Some(Err(why)),
        });
        code.unwrap_or_else(|| Some(Err("the Python interpreter has ended".to_owned())))
    }
}

/// What a function sees of values of a column: see `to_python.rs`.
fn base(data_type: &DataType) -> Option<Base> {
    Some(match data_type {
        DataType::Boolean => Base::Bool,
        t if t.is_integer() => Base::Int,
        DataType::Float32 | DataType::Float64 => Base::Float,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Base::Str,
        DataType::Date32 => Base::Date,
        DataType::Timestamp(TimeUnit::Microsecond, None) => Base::DateTime,
        _ => return None,
    })
}

fn text(value: &Bound<'_, PyAny>) -> PyResult<Rc<str>> {
    Ok(Rc::from(value.extract::<String>()?))
}

fn pairs(value: &Bound<'_, PyAny>) -> PyResult<Vec<(Rc<str>, Captured)>> {
    let mut all = vec![];
    for pair in value.try_iter()? {
        let pair = pair?;
        all.push((text(&pair.get_item(0)?)?, read(&pair.get_item(1)?)?));
    }
    Ok(all)
}

/// A tagged tuple of `_source.py`.
fn read(value: &Bound<'_, PyAny>) -> PyResult<Captured> {
    let value = value.cast::<PyTuple>()?;
    let tag: String = value.get_item(0)?.extract()?;
    let item = |i: usize| value.get_item(i);
    let all = |i: usize| -> PyResult<Vec<Captured>> { item(i)?.try_iter()?.map(|v| read(&v?)).collect() };
    Ok(match tag.as_str() {
        "none" => Captured::None,
        "bool" => Captured::Bool(item(1)?.extract()?),
        "int" => Captured::Int(item(1)?.extract()?),
        "float" => Captured::Float(item(1)?.extract()?),
        // One with half a surrogate pair is nothing that a column holds.
        "str" => match text(&item(1)?) {
            Ok(text) => Captured::Str(text),
            Err(_) => Captured::Other("a str that is no Unicode".into()),
        },
        "date" => Captured::Date(item(1)?.extract()?),
        "datetime" => Captured::DateTime(item(1)?.extract()?),
        "timedelta" => match item(1)?.extract() {
            Ok(micros) => Captured::TimeDelta(micros),
            Err(_) => Captured::Other("a timedelta beyond 64 bits of microseconds".into()),
        },
        "tuple" => Captured::Sequence(all(1)?.into(), true),
        "list" => Captured::Sequence(all(1)?.into(), false),
        "set" => Captured::Set(all(1)?.into()),
        "dict" => {
            let mut items = vec![];
            for pair in item(1)?.try_iter()? {
                let pair = pair?;
                items.push((read(&pair.get_item(0)?)?, read(&pair.get_item(1)?)?));
            }
            Captured::Dict(items.into())
        }
        "module" => Captured::Module(text(&item(1)?)?, pairs(&item(2)?)?.into()),
        "known" => Captured::Known(text(&item(1)?)?),
        "other" => Captured::Other(text(&item(1)?)?),
        "function" => {
            let lambda: Option<(usize, usize, usize, usize)> = item(4)?.extract()?;
            Captured::Function(Rc::new(Source {
                name: text(&item(1)?)?,
                text: text(&item(2)?)?,
                line: item(3)?.extract()?,
                lambda: lambda.map(|(line, column, end_line, end_column)| Span {
                    line,
                    column,
                    end_line,
                    end_column,
                }),
                names: pairs(&item(5)?)?.into(),
                defaults: pairs(&item(6)?)?.into(),
            }))
        }
        other => return Err(PyValueError::new_err(format!("an unknown tag '{other}'"))),
    })
}
