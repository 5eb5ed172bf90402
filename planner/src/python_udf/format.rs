//! Values as texts: `str`, f-strings, `%` and `str.format`.

use crate::python_udf::sym::{R, Seq, Sym};
use crate::python_udf::translate::Translator;
use fuseline_codegen::function::{Base, Op};
use fuseline_kernels::python::format::{Kind, Spec};
use ruff_python_ast::{ConversionFlag, FStringPart, FStringValue, InterpolatedStringElement, Operator};

impl Translator {
    pub fn str_of(&mut self, sym: &Sym) -> R<Sym> {
        match sym {
            Sym::None => Ok(Sym::Str("None".into())),
            Sym::Str(_) => Ok(sym.clone()),
            Sym::Int(v) => Ok(Sym::Str(v.to_string().into())),
            Sym::Bool(v) => Ok(Sym::Str(if *v { "True" } else { "False" }.into())),
            Sym::Num(_) => self.no("the text of a number that is an int on one path and a float on another"),
            Sym::Val(..) if sym.optional() => {
                let none = self.is_none(sym)?;
                self.choose(none, &mut |_| Ok(Sym::Str("None".into())), &mut |t| {
                    let some = t.some(sym)?;
                    t.str_of(&some)
                })
            }
            sym => match sym.base() {
                Some(Base::Str) => Ok(sym.clone()),
                Some(Base::Int) => self.call(Op::IntToStr, &[sym]),
                Some(Base::Float) => self.call(Op::FloatToStr, &[sym]),
                Some(Base::Bool) => self.call(Op::BoolToStr, &[sym]),
                Some(Base::Date) => self.iso_date(sym),
                Some(Base::DateTime) => self.no("the text of a datetime is not compiled"),
                None => self.no(format!("the text of {} is not compiled", sym.describe())),
            },
        }
    }

    /// `format(sym, spec)`.
    pub fn formatted(&mut self, sym: &Sym, spec: &str) -> R<Sym> {
        if spec.is_empty() {
            return self.str_of(sym);
        }
        let sym = self.some(sym)?;
        // format(None, "x") raises.
        if let Sym::None = sym {
            return self.never(Base::Str);
        }
        let (sym, kind) = match sym.base() {
            Some(Base::Int) => (sym, Kind::Int),
            Some(Base::Bool) => return self.no("a bool with a format is not compiled"),
            Some(Base::Float) => {
                // An int that is formatted as a float is converted first.
                let float = spec.ends_with(['f', 'F', 'e', 'E', 'g', 'G', '%']);
                if matches!(sym, Sym::Num(_)) && !float {
                    return self.no("the text of a number that is an int on one path and a float on another");
                }
                (self.float(&sym)?, Kind::Float)
            }
            Some(Base::Str) => (sym, Kind::Str),
            Some(Base::Date | Base::DateTime) | None => {
                return self.no(format!("formatting {} is not compiled", sym.describe()));
            }
        };
        if Spec::parse(spec, kind).is_none() {
            return self.no(format!("the format '{spec}' is not compiled"));
        }
        self.call(Op::Format(spec.to_owned()), &[&sym])
    }

    fn concat(&mut self, all: Sym, part: &Sym) -> R<Sym> {
        match (&all, part) {
            (Sym::Str(a), _) if a.is_empty() => Ok(part.clone()),
            (_, Sym::Str(b)) if b.is_empty() => Ok(all),
            (_, _) => self.binary(&all, Operator::Add, part),
        }
    }

    pub fn f_string(&mut self, value: &FStringValue) -> R<Sym> {
        let mut all = Sym::Str("".into());
        for part in value {
            match part {
                FStringPart::Literal(text) => {
                    let text = self.literal(&text.value)?;
                    all = self.concat(all, &text)?;
                }
                FStringPart::FString(f) => {
                    for element in &f.elements {
                        let text = self.element(element)?;
                        all = self.concat(all, &text)?;
                    }
                }
            }
        }
        Ok(all)
    }

    fn element(&mut self, element: &InterpolatedStringElement) -> R<Sym> {
        let element = match element {
            InterpolatedStringElement::Literal(text) => return self.literal(&text.value),
            InterpolatedStringElement::Interpolation(element) => element,
        };
        if element.debug_text.is_some() {
            return self.no("`{x=}` is not compiled");
        }
        let mut value = self.expr(&element.expression)?;
        match element.conversion {
            ConversionFlag::None => {}
            ConversionFlag::Str => value = self.str_of(&value)?,
            ConversionFlag::Repr | ConversionFlag::Ascii => {
                if value.base() == Some(Base::Str) {
                    return self.no("`!r` of a str is not compiled");
                }
                value = self.str_of(&value)?;
            }
        }
        let mut spec = String::new();
        if let Some(given) = &element.format_spec {
            for part in &given.elements {
                let text = self.element(part)?;
                match text {
                    Sym::Str(text) => spec.push_str(&text),
                    _ => return self.no("a format that is computed is not compiled"),
                }
            }
        }
        self.formatted(&value, &spec)
    }

    /// `pattern % values`.
    pub fn percent(&mut self, pattern: &Sym, values: &Sym) -> R<Sym> {
        let Sym::Str(pattern) = pattern else {
            return self.no("`%` of a text that is computed is not compiled");
        };
        let values = match values {
            Sym::Seq(seq) => match &**seq {
                Seq::Items(items, true) => items.clone(),
                _ => return self.no("`%` with a list is not compiled"),
            },
            Sym::Dict(_) => return self.no("`%` with a dict is not compiled"),
            one => vec![one.clone()],
        };
        let mut values = values.into_iter();
        let mut all = Sym::Str("".into());
        let mut rest: &str = pattern;
        while let Some(at) = rest.find('%') {
            all = self.concat(all, &Sym::Str(rest[..at].into()))?;
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                all = self.concat(all, &Sym::Str("%".into()))?;
                rest = after;
                continue;
            }
            let end = rest.find(|c: char| c.is_ascii_alphabetic());
            let Some(end) = end else { return self.never(Base::Str) };
            let (flags, kind) = (&rest[..end], &rest[end..end + 1]);
            rest = &rest[end + 1..];
            let Some(value) = values.next() else { return self.never(Base::Str) };
            let value = self.some(&value)?;
            let text = match (flags, kind) {
                ("", "s") => self.str_of(&value)?,
                (width, "s")
                    if width.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit())
                        && !width.trim_start_matches('-').starts_with('0')
                        && width.len() > usize::from(width.starts_with('-')) =>
                {
                    let text = self.str_of(&value)?;
                    let side = if width.starts_with('-') { '<' } else { '>' };
                    self.formatted(&text, &format!("{side}{}", width.trim_start_matches('-')))?
                }
                ("", "d" | "i") if matches!(value.base(), Some(Base::Int | Base::Bool)) => {
                    let int = self.int(&value)?;
                    self.str_of(&int)?
                }
                (flags, "d")
                    if value.base() == Some(Base::Int) && flags.bytes().all(|b| b.is_ascii_digit()) =>
                {
                    self.formatted(&value, &format!("{flags}d"))?
                }
                (flags, "f" | "e" | "g")
                    if matches!(value.base(), Some(Base::Int | Base::Float))
                        && flags.bytes().all(|b| b.is_ascii_digit() || b == b'.') =>
                {
                    let float = self.float(&value)?;
                    self.formatted(&float, &format!("{flags}{kind}"))?
                }
                (_, _) => return self.no(format!("the format '%{flags}{kind}' is not compiled")),
            };
            all = self.concat(all, &text)?;
        }
        if values.next().is_some() {
            return self.never(Base::Str);
        }
        self.concat(all, &Sym::Str(rest.into()))
    }

    /// `pattern.format(...)`.
    pub fn str_format(&mut self, pattern: &str, args: &[Sym], named: &[(std::rc::Rc<str>, Sym)]) -> R<Sym> {
        let mut all = Sym::Str("".into());
        let mut rest = pattern;
        let mut next = 0;
        while let Some(at) = rest.find(['{', '}']) {
            all = self.concat(all, &Sym::Str(rest[..at].into()))?;
            let brace = &rest[at..at + 1];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                all = self.concat(all, &Sym::Str(brace.into()))?;
                rest = after;
                continue;
            }
            let Some(end) = rest.find('}').filter(|_| brace == "{") else { return self.never(Base::Str) };
            let field = &rest[..end];
            rest = &rest[end + 1..];
            if field.contains(['{', '!', '[', '.']) && !field.contains(':') || field.contains('{') {
                return self.no("this format is not compiled");
            }
            let (name, spec) = field.split_once(':').unwrap_or((field, ""));
            let value = if name.is_empty() {
                next += 1;
                args.get(next - 1).cloned()
            } else if let Ok(i) = name.parse::<usize>() {
                args.get(i).cloned()
            } else {
                named.iter().find(|(n, _)| &**n == name).map(|(_, v)| v.clone())
            };
            let Some(value) = value else { return self.never(Base::Str) };
            let text = self.formatted(&value, spec)?;
            all = self.concat(all, &text)?;
        }
        self.concat(all, &Sym::Str(rest.into()))
    }
}
