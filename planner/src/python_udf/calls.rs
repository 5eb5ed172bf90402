//! Calls: Python's own functions and types, attributes and subscripts.

use crate::python_udf::arith::DAY;
use crate::python_udf::sym::{R, Seq, Sym};
use crate::python_udf::translate::{Translator, Truth};
use fuseline_codegen::function::{Base, DateField, Op};
use ruff_python_ast::{CmpOp, Expr, ExprCall, Operator};
use std::rc::Rc;

pub type Named = Vec<(Rc<str>, Sym)>;

impl Translator {
    pub fn call_expr(&mut self, call: &ExprCall) -> R<Sym> {
        let callee = match &*call.func {
            Expr::Attribute(e) => {
                let object = self.expr(&e.value)?;
                match &object {
                    Sym::Module(..) | Sym::Known(_) => self.attribute(&object, e.attr.as_str())?,
                    _ => Sym::Method(Box::new(object), e.attr.as_str().into()),
                }
            }
            other => self.expr(other)?,
        };
        let mut args = vec![];
        for arg in &call.arguments.args {
            if let Expr::Starred(starred) = arg {
                let value = self.expr(&starred.value)?;
                let seq = self.sequence(&value)?;
                let Some(length) = self.static_len(&seq) else {
                    return self.no("`*` of a sequence of unknown length is not compiled");
                };
                for i in 0..length {
                    args.push(self.seq_item(&seq, &Sym::Int(i as i64))?);
                }
            } else {
                args.push(self.expr(arg)?);
            }
        }
        let mut named = vec![];
        for keyword in &call.arguments.keywords {
            let Some(name) = &keyword.arg else { return self.no("`**` in a call is not compiled") };
            named.push((Rc::from(name.as_str()), self.expr(&keyword.value)?));
        }
        self.frame_mut().here = call.range_start;
        self.apply(&callee, args, named)
    }

    pub fn apply(&mut self, callee: &Sym, args: Vec<Sym>, named: Named) -> R<Sym> {
        for arg in args.iter().chain(named.iter().map(|(_, v)| v)) {
            if let Sym::Bad(no) = arg {
                return Err((**no).clone());
            }
        }
        match callee {
            Sym::Known(name) => {
                let name = name.clone();
                self.known(&name, &args, &named)
            }
            Sym::Method(object, name) => {
                let (object, name) = (object.clone(), name.clone());
                self.method(&object, &name, &args, &named)
            }
            Sym::Function(source) => self.call_function(&source.clone(), args, named),
            Sym::Local(nested) => self.call_nested(&nested.clone(), args, named),
            Sym::Bad(no) => Err((**no).clone()),
            other => self.no(format!("calling {} may do anything, so it stays Python", other.describe())),
        }
    }

    pub fn attribute(&mut self, object: &Sym, name: &str) -> R<Sym> {
        match object {
            Sym::Module(module, attributes) => match attributes.iter().find(|(n, _)| &**n == name) {
                Some((_, captured)) => Ok(match self.captured(captured) {
                    Sym::Other(what) => {
                        let text = format!("'{module}.{name}' ({what}) may do anything, so it stays Python");
                        return self.no(text);
                    }
                    sym => sym,
                }),
                None => self.no(format!("'{module}.{name}' may do anything, so it stays Python")),
            },
            Sym::Known(of) => Ok(Sym::Known(format!("{of}.{name}").into())),
            Sym::Array(_) => Ok(Sym::Method(Box::new(object.clone()), name.into())),
            Sym::Bad(no) => Err((**no).clone()),
            other => {
                let object = self.some(other)?;
                self.date_field(&object, name)
            }
        }
    }

    fn date_field(&mut self, object: &Sym, name: &str) -> R<Sym> {
        if let Sym::Delta(micros) = object {
            return match name {
                "days" => self.binary(micros, Operator::FloorDiv, &Sym::Int(DAY)),
                "seconds" => {
                    let rest = self.binary(micros, Operator::Mod, &Sym::Int(DAY))?;
                    self.binary(&rest, Operator::FloorDiv, &Sym::Int(1_000_000))
                }
                "microseconds" => self.binary(micros, Operator::Mod, &Sym::Int(1_000_000)),
                _ => Ok(Sym::Method(Box::new(object.clone()), name.into())),
            };
        }
        let field = match name {
            "year" => DateField::Year,
            "month" => DateField::Month,
            "day" => DateField::Day,
            "hour" => DateField::Hour,
            "minute" => DateField::Minute,
            "second" => DateField::Second,
            "microsecond" => DateField::Microsecond,
            "real" if matches!(object.base(), Some(Base::Int | Base::Float)) => return Ok(object.clone()),
            _ => {
                return match object {
                    Sym::Other(what) => {
                        self.no(format!("'.{name}' of {what} may do anything, so it stays Python"))
                    }
                    _ => Ok(Sym::Method(Box::new(object.clone()), name.into())),
                };
            }
        };
        let clock =
            matches!(field, DateField::Hour | DateField::Minute | DateField::Second | DateField::Microsecond);
        match object.base() {
            Some(Base::DateTime) => self.call(Op::Field(field), &[object]),
            Some(Base::Date) if !clock => self.call(Op::Field(field), &[object]),
            // AttributeError.
            _ => self.never(Base::Int),
        }
    }

    pub fn subscript(&mut self, object: &Sym, index: &Expr) -> R<Sym> {
        let object = self.some(object)?;
        if matches!(object, Sym::Array(_)) {
            return self.no("an item of an array is of another row, so it stays Python");
        }
        if let Expr::Slice(slice) = index {
            let bound = |t: &mut Translator, e: &Option<Box<Expr>>, none: i64| -> R<Sym> {
                let Some(e) = e else { return Ok(Sym::None) };
                let value = t.expr(e)?;
                if !value.optional() {
                    return Ok(value);
                }
                // None stands for the end.
                let is_none = t.is_none(&value)?;
                t.choose(is_none, &mut |_| Ok(Sym::Int(none)), &mut |t| {
                    let some = t.some(&value)?;
                    t.int(&some)
                })
            };
            let (from, to) = (bound(self, &slice.lower, 0)?, bound(self, &slice.upper, i64::MAX)?);
            let step = bound(self, &slice.step, 1)?;
            return self.sliced(&object, from, to, step);
        }
        let at = self.expr(index)?;
        match &object {
            Sym::Dict(items) => {
                let items = items.clone();
                self.looked_up(&items, &at)
            }
            Sym::None => self.never(Base::Int),
            Sym::Other(what) => self.no(format!("an item of {what} may be anything, so it stays Python")),
            _ => {
                let seq = self.sequence(&object)?;
                match at.base() {
                    Some(Base::Int | Base::Bool) => {
                        let at = self.int(&at)?;
                        self.seq_item(&seq, &at)
                    }
                    _ => self.never(Base::Int),
                }
            }
        }
    }

    fn sliced(&mut self, object: &Sym, from: Sym, to: Sym, step: Sym) -> R<Sym> {
        if object.base() == Some(Base::Str) {
            return match (&from, &to, &step) {
                (Sym::None, Sym::None, Sym::Int(-1)) => self.call(Op::Reverse, &[object]),
                (_, _, Sym::None | Sym::Int(1)) => {
                    let from = if matches!(from, Sym::None) { Sym::Int(0) } else { self.int(&from)? };
                    let to = if matches!(to, Sym::None) { Sym::Int(i64::MAX) } else { self.int(&to)? };
                    self.call(Op::Slice, &[object, &from, &to])
                }
                (_, _, Sym::Int(step)) if *step > 1 => {
                    let part = self.sliced(object, from, to, Sym::None)?;
                    let length = self.call(Op::Len, &[&part])?;
                    let places = Rc::new(Seq::Range { start: Sym::Int(0), stop: length, step: *step });
                    self.fold(&places, Sym::Str("".into()), &mut |t, all, at| {
                        let one = t.call(Op::CharAt, &[&part, at])?;
                        t.binary(all, Operator::Add, &one)
                    })
                }
                (_, _, _) => self.no("a slice of a text with such a step is not compiled"),
            };
        }
        let seq = self.sequence(object)?;
        if let Some(length) = self.static_len(&seq) {
            let whole = |s: &Sym, default: i64| match s {
                Sym::None => Some(default),
                Sym::Int(v) => Some(*v),
                _ => None,
            };
            let n = length as i64;
            let Some(step) = whole(&step, 1).filter(|s| *s != 0) else {
                return self.no("this slice is not compiled");
            };
            let clamp = |v: i64| {
                if v < 0 {
                    (v + n).max(if step < 0 { -1 } else { 0 })
                } else {
                    v.min(if step < 0 { n - 1 } else { n })
                }
            };
            let (a, b) = (
                if matches!(from, Sym::None) && step < 0 { Some(n - 1) } else { whole(&from, 0).map(clamp) },
                if matches!(to, Sym::None) && step < 0 { Some(-1) } else { whole(&to, n).map(clamp) },
            );
            let (Some(a), Some(b)) = (a, b) else {
                return self.no("a slice of a list with bounds that are computed is not compiled");
            };
            let mut items = vec![];
            let mut i = a;
            while (step > 0 && i < b) || (step < 0 && i > b) {
                items.push(self.seq_item(&seq, &Sym::Int(i))?);
                i += step;
            }
            return Ok(Sym::Seq(Rc::new(Seq::Items(
                items,
                matches!(&*seq, Seq::Items(_, true) | Seq::Parts { .. }),
            ))));
        }
        let skip = match from {
            Sym::None => 0,
            Sym::Int(v) if v >= 0 => v,
            _ => return self.no("this slice of a list is not compiled"),
        };
        let cut = match to {
            Sym::None => 0,
            Sym::Int(v) if v < 0 => -v,
            _ => return self.no("this slice of a list is not compiled"),
        };
        match step {
            Sym::None | Sym::Int(1) => Ok(Sym::Seq(Rc::new(Seq::Slice { of: seq, skip, cut }))),
            Sym::Int(-1) if skip == 0 && cut == 0 => Ok(Sym::Seq(Rc::new(Seq::Reversed(seq)))),
            _ => self.no("a slice of a list with a step is not compiled"),
        }
    }

    fn known(&mut self, name: &str, args: &[Sym], named: &Named) -> R<Sym> {
        if name == "str.maketrans" {
            let texts = args.iter().map(|a| if let Sym::Str(s) = a { Some(&**s) } else { None });
            return match (texts.collect::<Option<Vec<&str>>>().as_deref(), named.is_empty()) {
                (Some([from, to]), true) => self.make_trans(from, to, ""),
                (Some([from, to, deleted]), true) => self.make_trans(from, to, deleted),
                (_, _) => self.no("'str.maketrans' is compiled with two or three constant texts only"),
            };
        }
        if let (Some(method), [object, rest @ ..]) = (name.strip_prefix("str."), args)
            && object.base() == Some(Base::Str)
        {
            return self.method(object, method, rest, named);
        }
        if let Some(function) = name.strip_prefix("numpy.") {
            return self.numpy_call(function, args, named);
        }
        if args.iter().any(|a| matches!(a, Sym::Array(_))) {
            return match (name, args) {
                ("abs", [_]) => self.numpy_call("abs", args, named),
                ("pow", [a, b]) => self.binary(a, Operator::Pow, b),
                _ => self.no(format!("'{name}' of an array is not compiled, so it stays Python")),
            };
        }
        if let Some(function) = name.strip_prefix("math.") {
            if !named.is_empty() {
                return self.no(format!("'{name}' with named arguments is not compiled"));
            }
            return self.math(function, args);
        }
        let keyword = |what: &str| named.iter().find(|(n, _)| &**n == what).map(|(_, v)| v.clone());
        match (name, args) {
            ("abs", [x]) => {
                let x = self.some(x)?;
                match &x {
                    Sym::Num(value) => Ok(Sym::Num(self.op(Op::Abs, vec![*value])?)),
                    Sym::Delta(micros) => {
                        let micros = self.call(Op::Abs, &[&**micros])?;
                        Ok(Sym::Delta(Box::new(micros)))
                    }
                    x if x.base() == Some(Base::Float) => self.call(Op::Abs, &[x]),
                    x => {
                        let int = self.int(x)?;
                        self.call(Op::Abs, &[&int])
                    }
                }
            }
            ("min" | "max", args) if !args.is_empty() => {
                if keyword("key").is_some() {
                    return self.no(format!("'{name}' with a key is not compiled"));
                }
                self.min_max(name == "min", args, keyword("default"))
            }
            ("round", [x]) => self.round(x, None),
            ("round", [x, n]) => self.round(x, Some(n)),
            ("int", []) => Ok(Sym::Int(0)),
            ("int", [x]) if named.is_empty() => self.int_of(x),
            ("int", [x, base]) => {
                let (x, base) = (self.text(x)?, self.int(base)?);
                self.call(Op::ParseIntBase, &[&x, &base])
            }
            ("float", []) => Ok(Sym::Float(0.0)),
            ("float", [x]) => {
                let x = self.some(x)?;
                if x.base() == Some(Base::Str) {
                    if let Sym::Str(text) = &x {
                        match text.trim().to_ascii_lowercase().as_str() {
                            "inf" | "+inf" | "infinity" => return Ok(Sym::Float(f64::INFINITY)),
                            "-inf" | "-infinity" => return Ok(Sym::Float(f64::NEG_INFINITY)),
                            "nan" => return Ok(Sym::Float(f64::NAN)),
                            _ => {}
                        }
                    }
                    return self.call(Op::ParseFloat, &[&x]);
                }
                match x.base() {
                    Some(Base::Bool | Base::Int | Base::Float) => self.float(&x),
                    _ => self.never(Base::Float),
                }
            }
            ("bool", []) => Ok(Sym::Bool(false)),
            ("bool", [x]) => {
                let truth = self.truth(x)?;
                self.truth_sym(truth)
            }
            ("str", []) => Ok(Sym::Str("".into())),
            ("str", [x]) => self.str_of(x),
            ("repr", [x]) if !matches!(x.base(), Some(Base::Str)) => self.str_of(x),
            ("len", [x]) => {
                let x = self.some(x)?;
                match &x {
                    Sym::Str(text) => Ok(Sym::Int(text.chars().count() as i64)),
                    Sym::Set(items) => Ok(Sym::Int(items.len() as i64)),
                    Sym::Dict(items) => Ok(Sym::Int(items.len() as i64)),
                    Sym::Letters(letters) => self.call(Op::Len, &[letters]),
                    Sym::Seq(seq) => self.seq_len(seq),
                    x if x.base() == Some(Base::Str) => self.call(Op::Len, &[x]),
                    Sym::Other(what) => self.no(format!("the length of {what} is not known")),
                    _ => self.never(Base::Int),
                }
            }
            ("sum", [items] | [items, _]) => {
                let start = args.get(1).cloned().or(keyword("start")).unwrap_or(Sym::Int(0));
                let seq = self.sequence(items)?;
                // From Python 3.12 on, sums of floats are compensated.
                let mut float = false;
                let result = self.fold(&seq, start, &mut |t, sum, item| {
                    let item = if item.base() == Some(Base::Bool) { t.int(item)? } else { item.clone() };
                    float |= item.base() == Some(Base::Float);
                    t.binary(sum, Operator::Add, &item)
                })?;
                if float {
                    return self.no("`sum` of floats is rounded in another way by some versions of Python");
                }
                Ok(result)
            }
            ("any" | "all", [items]) => {
                let seq = self.sequence(items)?;
                let any = name == "any";
                let found = self.search(&seq, Sym::Bool(!any), &mut |t, item| {
                    let truth = t.truth(item)?;
                    Ok((if any { truth } else { t.not(truth)? }, Sym::Bool(any)))
                })?;
                Ok(found)
            }
            ("next", [items, default]) => {
                let seq = self.sequence(items)?;
                self.first_of(&seq, default.clone())
            }
            ("ord", [x]) => {
                let x = self.text(x)?;
                match &x {
                    Sym::Str(s) if s.chars().count() == 1 => {
                        Ok(Sym::Int(s.chars().next().map_or(0, |c| i64::from(u32::from(c)))))
                    }
                    x => self.call(Op::Ord, &[x]),
                }
            }
            ("chr", [x]) => {
                let x = self.int(x)?;
                self.call(Op::Chr, &[&x])
            }
            ("divmod", [a, b]) => {
                let (q, r) = (self.binary(a, Operator::FloorDiv, b)?, self.binary(a, Operator::Mod, b)?);
                Ok(Sym::Seq(Rc::new(Seq::Items(vec![q, r], true))))
            }
            ("pow", [a, b]) => self.binary(a, Operator::Pow, b),
            ("range", args) => {
                let ints = args.iter().map(|a| self.int(a)).collect::<R<Vec<_>>>()?;
                let (start, stop, step) = match ints.as_slice() {
                    [start, stop, step @ Sym::Val(..)] => return self.spaced(start, stop, step),
                    [stop] => (Sym::Int(0), stop.clone(), 1),
                    [start, stop] => (start.clone(), stop.clone(), 1),
                    [start, stop, Sym::Int(step)] if *step != 0 => (start.clone(), stop.clone(), *step),
                    _ => return self.no("a range with this step is not compiled"),
                };
                Ok(Sym::Seq(Rc::new(Seq::Range { start, stop, step })))
            }
            ("enumerate", [items] | [items, _]) => {
                let start = args.get(1).cloned().or(keyword("start")).unwrap_or(Sym::Int(0));
                Ok(Sym::Seq(Rc::new(Seq::Enumerate(self.sequence(items)?, start))))
            }
            ("zip", items) if named.is_empty() => {
                let all = items.iter().map(|s| self.sequence(s)).collect::<R<Vec<_>>>()?;
                if all.iter().any(|s| matches!(&**s, Seq::Mapped { how, .. } if !how.clause.ifs.is_empty())) {
                    return self.no("`zip` of a filtered sequence is not compiled");
                }
                Ok(Sym::Seq(Rc::new(Seq::Zip(all))))
            }
            ("map", [function, items]) => {
                let over = self.sequence(items)?;
                Ok(Sym::Seq(Rc::new(Seq::Applied { over, function: function.clone() })))
            }
            ("reversed", [items]) => Ok(Sym::Seq(Rc::new(Seq::Reversed(self.sequence(items)?)))),
            ("list" | "tuple", [items]) => {
                let seq = self.sequence(items)?;
                match self.static_len(&seq) {
                    Some(n) if n <= 64 => {
                        let items = (0..n)
                            .map(|i| self.seq_item(&seq, &Sym::Int(i as i64)))
                            .collect::<R<Vec<_>>>()?;
                        Ok(Sym::Seq(Rc::new(Seq::Items(items, name == "tuple"))))
                    }
                    _ if name == "list" => {
                        self.made_at_once(&seq)?;
                        Ok(Sym::Seq(seq))
                    }
                    _ => self.no("a tuple of unknown length is not compiled"),
                }
            }
            ("list", []) => Ok(Sym::Seq(Rc::new(Seq::Items(vec![], false)))),
            ("sorted", [Sym::Letters(text)]) if named.is_empty() => {
                let sorted = self.in_order(text)?;
                Ok(Sym::Seq(Rc::new(Seq::Chars(sorted))))
            }
            ("sorted", [items]) if named.is_empty() => {
                let seq = self.sequence(items)?;
                match self.static_len(&seq) {
                    Some(n) if n <= 6 => {
                        let mut items = (0..n)
                            .map(|i| self.seq_item(&seq, &Sym::Int(i as i64)))
                            .collect::<R<Vec<_>>>()?;
                        if items.iter().any(|i| i.base() == Some(Base::Float)) && n > 2 {
                            return self.no("sorting floats, which may be NaN, is not compiled");
                        }
                        // A stable network: neighbours change places.
                        for last in (1..n).rev() {
                            for i in 0..last {
                                let (a, b) = (items[i].clone(), items[i + 1].clone());
                                let swap = self.compare(&b, CmpOp::Lt, &a)?;
                                let (x, y) = (a.clone(), b.clone());
                                items[i] =
                                    self.choose(swap, &mut |_| Ok(y.clone()), &mut |_| Ok(x.clone()))?;
                                items[i + 1] =
                                    self.choose(swap, &mut |_| Ok(a.clone()), &mut |_| Ok(b.clone()))?;
                            }
                        }
                        Ok(Sym::Seq(Rc::new(Seq::Items(items, false))))
                    }
                    _ => match &*seq {
                        Seq::Chars(text) => {
                            let sorted = self.in_order(text)?;
                            Ok(Sym::Seq(Rc::new(Seq::Chars(sorted))))
                        }
                        _ => self.no("`sorted` of this is not compiled"),
                    },
                }
            }
            ("isinstance", [x, class]) => self.is_instance(x, class),
            ("format", [x]) => self.formatted(x, ""),
            ("format", [x, Sym::Str(spec)]) => self.formatted(x, &spec.clone()),
            ("set" | "frozenset", [items]) => {
                let seq = self.sequence(items)?;
                match &*seq {
                    Seq::Items(items, _) if items.iter().all(Sym::is_constant) => {
                        Ok(Sym::Set(items.clone().into()))
                    }
                    Seq::Chars(Sym::Str(text)) => {
                        Ok(Sym::Set(text.chars().map(|c| Sym::Str(c.to_string().into())).collect()))
                    }
                    Seq::Chars(text) => self.letters(text),
                    _ => self.no("a set that is built is not compiled"),
                }
            }
            ("datetime.date", [y, m, d]) => {
                let (y, m, d) = (self.int(y)?, self.int(m)?, self.int(d)?);
                self.call(Op::MakeDate, &[&y, &m, &d])
            }
            ("datetime.datetime", [y, m, d, clock @ ..]) if named.is_empty() && clock.len() <= 4 => {
                let (y, m, d) = (self.int(y)?, self.int(m)?, self.int(d)?);
                let date = self.call(Op::MakeDate, &[&y, &m, &d])?;
                let mut time = self.call(Op::DateTimeOf, &[&date])?;
                for (part, (unit, most)) in
                    clock.iter().zip([(3_600_000_000, 24), (60_000_000, 60), (1_000_000, 60), (1, 1_000_000)])
                {
                    let part = self.int(part)?;
                    let low = self.compare(&part, CmpOp::GtE, &Sym::Int(0))?;
                    let high = self.compare(&part, CmpOp::Lt, &Sym::Int(most))?;
                    match self.both(low, high)? {
                        Truth::Known(true) => {}
                        Truth::Known(false) => return self.never(Base::DateTime),
                        Truth::Asked(inside) => self.demand(inside)?,
                    }
                    let micros = self.binary(&part, Operator::Mult, &Sym::Int(unit))?;
                    time = self.call(Op::DateAdd, &[&time, &micros])?;
                }
                Ok(time)
            }
            ("datetime.date.fromisoformat", [text]) => self.date_of_iso(text),
            ("functools.reduce", [function, items, start]) if named.is_empty() => {
                self.reduce(function, items, start)
            }
            ("operator.add", [a, b]) => self.binary(a, Operator::Add, b),
            ("operator.sub", [a, b]) => self.binary(a, Operator::Sub, b),
            ("operator.mul", [a, b]) => self.binary(a, Operator::Mult, b),
            ("datetime.timedelta", args) => self.timedelta(args, named),
            ("datetime.date.fromordinal", [n]) => {
                let n = self.int(n)?;
                let by = self.binary(&n, Operator::Sub, &Sym::Int(719_163))?;
                self.call(Op::DateAdd, &[&Sym::Date(0), &by])
            }
            _ => self.no(format!("'{name}' is not compiled, so it stays Python")),
        }
    }
}
