//! Calls of other Python functions, whose bodies are read in place of the call; and the end of a row.

use crate::python_udf::build::{Hole, Item};
use crate::python_udf::capture::Source;
use crate::python_udf::names::needs_jump;
use crate::python_udf::source::{Lines, Parsed, parse};
use crate::python_udf::sym::{Env, R, Sym};
use crate::python_udf::translate::{Flow, Frame, Returning, Translator};
use fuseline_codegen::function::{Base, Op, Stmt as Out, Type};
use ruff_text_size::TextSize;
use std::rc::Rc;

/// Calls within calls.
const DEEPEST: usize = 12;

impl Translator {
    pub fn call_function(
        &mut self,
        source: &Rc<Source>,
        args: Vec<Sym>,
        named: Vec<(Rc<str>, Sym)>,
    ) -> R<Sym> {
        if self.frames.iter().any(|f| Rc::ptr_eq(&f.source, source)) {
            return self.no(format!("'{}' calls itself", source.name));
        }
        let (parsed, lines) = match parse(source) {
            Ok(parsed) => parsed,
            Err(why) => return self.no(format!("'{}': {why}", source.name)),
        };
        let defaults: Vec<(Rc<str>, Sym)> =
            source.defaults.iter().map(|(n, c)| (n.clone(), self.captured(c))).collect();
        self.inlined(source.clone(), lines, &parsed, Env::new(), &defaults, args, named)
    }

    pub fn call_nested(
        &mut self,
        nested: &Rc<crate::python_udf::sym::Nested>,
        args: Vec<Sym>,
        named: Vec<(Rc<str>, Sym)>,
    ) -> R<Sym> {
        let (source, lines) = (self.frame().source.clone(), self.frame().lines.clone());
        let mut outer = self.frame().outer.clone();
        if nested.depth != self.frames.len() {
            return self.no("a function that is defined within and called elsewhere is not compiled");
        }
        outer.extend(self.env.clone());
        self.inlined(source, lines, &nested.function.clone(), outer, &nested.defaults, args, named)
    }

    #[allow(clippy::too_many_arguments)] // A call is its function, its scope and its arguments.
    fn inlined(
        &mut self,
        source: Rc<Source>,
        lines: Rc<Lines>,
        parsed: &Rc<Parsed>,
        outer: Env,
        defaults: &[(Rc<str>, Sym)],
        args: Vec<Sym>,
        named: Vec<(Rc<str>, Sym)>,
    ) -> R<Sym> {
        if self.frames.len() > DEEPEST {
            return self.no("its calls are nested too deeply");
        }
        let mut env = Env::new();
        if let Some(parameters) = parsed.parameters() {
            if parameters.vararg.is_some() || parameters.kwarg.is_some() {
                return self.no(format!("'{}' takes any number of arguments", source.name));
            }
            let positional: Vec<&str> = parameters
                .posonlyargs
                .iter()
                .chain(&parameters.args)
                .map(|p| p.parameter.name.as_str())
                .collect();
            if args.len() > positional.len() {
                return self.never(Base::Int);
            }
            for (name, value) in positional.iter().zip(args) {
                env.insert((*name).into(), value);
            }
            for (name, value) in named {
                env.insert(name, value);
            }
            for parameter in parameters.iter_non_variadic_params() {
                let name = parameter.parameter.name.as_str();
                if !env.contains_key(name) {
                    match defaults.iter().find(|(n, _)| &**n == name) {
                        Some((_, value)) => env.insert(name.into(), value.clone()),
                        // TypeError: an argument is missing.
                        None => return self.never(Base::Int),
                    };
                }
            }
        } else if !args.is_empty() {
            return self.never(Base::Int);
        }
        let jumps = match &**parsed {
            Parsed::Def(def) => needs_jump(&def.body),
            Parsed::Lambda(_) => false,
        };
        let before = self.build.hole();
        let mut left = None;
        if jumps {
            let flag = self.build.local(Type::BOOL);
            let no = self.op(Op::Bool(false), vec![])?;
            self.build.plain(Out::Set(flag, no));
            left = Some(flag);
        }
        self.frames.push(Frame {
            source,
            lines,
            locals: Rc::new(Translator::locals_of(parsed)),
            outer,
            loops: vec![],
            returning: Returning::Inlined { returned: vec![], jumps, left },
            here: TextSize::new(0),
        });
        let caller = std::mem::replace(&mut self.env, env);
        self.build.open();
        let read = match &**parsed {
            Parsed::Def(def) => self.block(&def.body).and_then(|flow| match flow {
                Flow::Ends => Ok(()),
                Flow::Falls => self.returned(&Sym::None).map(|_| ()),
            }),
            Parsed::Lambda(lambda) => {
                self.frame_mut().here = ruff_text_size::Ranged::start(&*lambda.body);
                self.expr(&lambda.body).and_then(|value| self.returned(&value)).map(|_| ())
            }
        };
        let items = self.build.close();
        read?;
        self.env = caller;
        let frame = self.frames.pop();
        let top: Vec<Hole> =
            items.iter().filter_map(|i| if let Item::Hole(hole) = i { Some(*hole) } else { None }).collect();
        if jumps {
            self.once(items)?;
        } else {
            self.build.splice(items);
        }
        let Some(Returning::Inlined { returned, .. }) = frame.map(|f| f.returning) else {
            return self.no("a call is out of place");
        };
        match returned.as_slice() {
            // Always raises.
            [] => self.never(Base::Int),
            [(only, hole)] if !jumps && top.contains(hole) => Ok(only.clone()),
            paths => self.meet_behind("the value of the call", paths, before),
        }
    }

    /// `return` of the function that is compiled: the value becomes what the column takes, as
    /// `from_python.rs` of the runtime takes it, or the row bails.
    pub fn return_row(&mut self, value: &Sym) -> R<Flow> {
        let base = self.target.base;
        if let Sym::Bad(no) = value {
            return Err((**no).clone());
        }
        if let Sym::None = value {
            self.returns_none = true;
            self.returns_fit = true;
            if !self.optional {
                return Ok(self.bail());
            }
            let none = self.op(Op::None(base), vec![])?;
            self.build.plain(Out::Return(none));
            return Ok(Flow::Ends);
        }
        if value.optional() {
            self.returns_none = true;
            if !self.optional {
                return Ok(self.bail());
            }
            if value.base() == Some(base) {
                self.returns_fit = true;
                let value = self.value(value)?.0;
                self.build.plain(Out::Return(value));
                return Ok(Flow::Ends);
            }
            let (raw, _) = self.value(value)?;
            let none = self.op(Op::IsNone, vec![raw])?;
            self.build.open();
            let first = self.return_row(&Sym::None);
            let (_, then) = self.closed(first)?;
            self.build.open();
            let second = self.some(value).and_then(|some| self.return_row(&some));
            let (_, otherwise) = self.closed(second)?;
            self.build.push(Item::If { cond: none, then, otherwise });
            return Ok(Flow::Ends);
        }
        let fits = match (base, value.base()) {
            // An int or a float: which of them decides whether it fits.
            (Base::Int, _) if matches!(value, Sym::Num(_)) => false,
            (Base::Float, Some(Base::Bool | Base::Int | Base::Float)) => true,
            (Base::Int, Some(Base::Bool | Base::Int)) => true,
            (a, Some(b)) => a == b,
            (_, None) => false,
        };
        if !fits {
            self.misfit = Some(self.no_here(format!(
                "returns {}, which does not fit a column of type {}",
                value.describe(),
                Type::of(base)
            )));
            return Ok(self.bail());
        }
        self.returns_fit = true;
        let value = match base {
            Base::Float => self.float(value)?,
            Base::Int => self.int(value)?,
            Base::Bool | Base::Str | Base::Date | Base::DateTime => value.clone(),
        };
        let mut value = self.plain(&value)?;
        if self.optional {
            value = self.op(Op::Some, vec![value])?;
        }
        self.build.plain(Out::Return(value));
        Ok(Flow::Ends)
    }
}
