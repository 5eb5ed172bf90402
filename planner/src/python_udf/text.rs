//! Methods: those of texts, numbers, dates and dicts.

use crate::python_udf::calls::Named;
use crate::python_udf::sym::{R, Seq, Sym};
use crate::python_udf::translate::{Translator, Truth};
use fuseline_codegen::function::{Base, CharClass, DateField, FloatTest, Op, StrTest, Strip};
use ruff_python_ast::Operator;
use std::rc::Rc;

impl Translator {
    pub fn method(&mut self, object: &Sym, name: &str, args: &[Sym], named: &Named) -> R<Sym> {
        let object = self.some(object)?;
        let unknown = |t: &Translator| {
            t.no(format!("'.{name}' of {} may do anything, so it stays Python", object.describe()))
        };
        match &object {
            // AttributeError.
            Sym::None => self.never(Base::Int),
            Sym::Array(a) => self.array_method(*a, name, args, named),
            Sym::Dict(items) => {
                let items = items.clone();
                self.dict_method(&items, name, args)
            }
            Sym::Seq(seq) => match (name, args) {
                ("index", [item]) => {
                    let Seq::Items(items, _) = &**seq else {
                        return self.no("'.index' of a list that is computed is not compiled");
                    };
                    if !items.iter().all(Sym::is_constant) {
                        return self.no("'.index' of a list that is computed is not compiled");
                    }
                    let mut places: Vec<(Sym, Sym)> = vec![];
                    for (at, member) in items.iter().enumerate() {
                        if !places.iter().any(|(k, _)| k.same(member)) {
                            places.push((member.clone(), Sym::Int(at as i64)));
                        }
                    }
                    self.looked_up(&places, item)
                }
                ("count", [item]) => {
                    let item = item.clone();
                    self.fold(&seq.clone(), Sym::Int(0), &mut |t, n, x| {
                        let equal = t.equal(x, &item)?;
                        let equal = t.truth_sym(equal)?;
                        let one = t.int(&equal)?;
                        t.binary(n, Operator::Add, &one)
                    })
                }
                ("append" | "extend" | "insert" | "pop" | "remove" | "sort" | "reverse", _) => {
                    self.no("lists that change are not compiled")
                }
                (_, _) => unknown(self),
            },
            Sym::Delta(micros) if name == "total_seconds" && args.is_empty() => {
                self.binary(micros, Operator::Div, &Sym::Int(1_000_000))
            }
            object => match object.base() {
                Some(Base::Str) => self.text_method(object, name, args, named),
                Some(Base::Date | Base::DateTime) => self.date_method(object, name, args, named),
                Some(Base::Float)
                    if name == "is_integer" && args.is_empty() && !matches!(object, Sym::Num(_)) =>
                {
                    self.call(Op::FloatTest(FloatTest::IsInteger), &[object])
                }
                Some(Base::Int) if name == "is_integer" => unknown(self),
                Some(Base::Bool | Base::Int | Base::Float) | None => unknown(self),
            },
        }
    }

    fn dict_method(&mut self, items: &Rc<[(Sym, Sym)]>, name: &str, args: &[Sym]) -> R<Sym> {
        let sequence = |items: Vec<Sym>| Ok(Sym::Seq(Rc::new(Seq::Items(items, true))));
        match (name, args) {
            ("get", [key] | [key, _]) => {
                let default = args.get(1).cloned().unwrap_or(Sym::None);
                let found = self.contains(&Sym::Dict(items.clone()), key)?;
                let (items, key) = (items.clone(), key.clone());
                self.choose(found, &mut |t| t.looked_up(&items, &key), &mut |_| Ok(default.clone()))
            }
            ("items", []) => {
                let pair =
                    |(k, v): &(Sym, Sym)| Sym::Seq(Rc::new(Seq::Items(vec![k.clone(), v.clone()], true)));
                sequence(items.iter().map(pair).collect())
            }
            ("keys", []) => sequence(items.iter().map(|(k, _)| k.clone()).collect()),
            ("values", []) => sequence(items.iter().map(|(_, v)| v.clone()).collect()),
            (_, _) => self.no(format!("'.{name}' of a dict is not compiled")),
        }
    }

    fn date_method(&mut self, date: &Sym, name: &str, args: &[Sym], named: &Named) -> R<Sym> {
        let field = match (name, args) {
            ("weekday", []) => DateField::Weekday,
            ("isoweekday", []) => DateField::IsoWeekday,
            ("toordinal", []) => DateField::ToOrdinal,
            ("date", []) if date.base() == Some(Base::DateTime) => return self.call(Op::DateOf, &[date]),
            ("isocalendar", []) => {
                let fields = [DateField::IsoYear, DateField::IsoWeek, DateField::IsoWeekday];
                let items =
                    fields.into_iter().map(|f| self.call(Op::Field(f), &[date])).collect::<R<Vec<_>>>()?;
                return Ok(Sym::Seq(Rc::new(Seq::Items(items, true))));
            }
            ("isoformat", []) if date.base() == Some(Base::Date) => return self.iso_date(date),
            ("replace", []) => return self.date_replace(date, named),
            ("strftime", [Sym::Str(pattern)]) => return self.strftime(date, &pattern.clone()),
            (_, _) => return self.no(format!("'.{name}' of {} is not compiled", date.describe())),
        };
        self.call(Op::Field(field), &[date])
    }

    /// `date.replace(day=1)`.
    fn date_replace(&mut self, date: &Sym, named: &Named) -> R<Sym> {
        let fields = [
            ("year", DateField::Year),
            ("month", DateField::Month),
            ("day", DateField::Day),
            ("hour", DateField::Hour),
            ("minute", DateField::Minute),
            ("second", DateField::Second),
            ("microsecond", DateField::Microsecond),
        ];
        let (class, count) =
            if date.base() == Some(Base::Date) { ("datetime.date", 3) } else { ("datetime.datetime", 7) };
        if named.iter().any(|(n, _)| !fields[..count].iter().any(|(f, _)| *f == &**n)) {
            return self.no("'.replace' of a date with such arguments is not compiled");
        }
        let mut parts = vec![];
        for (name, field) in &fields[..count] {
            parts.push(match named.iter().find(|(n, _)| &**n == *name) {
                Some((_, value)) => value.clone(),
                None => self.call(Op::Field(*field), &[date])?,
            });
        }
        self.apply(&Sym::Known(class.into()), parts, vec![])
    }

    /// `strftime` of numbers. What it does with years of less than four digits depends on the system.
    fn strftime(&mut self, date: &Sym, pattern: &str) -> R<Sym> {
        let year = self.call(Op::Field(DateField::Year), &[date])?;
        let four = self.compare(&year, ruff_python_ast::CmpOp::GtE, &Sym::Int(1000))?;
        if let Truth::Asked(four) = four {
            self.demand(four)?;
        }
        let mut all = Sym::Str("".into());
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            let part = if c == '%' {
                let letter = chars.next();
                if let Some(letter @ ('B' | 'b' | 'A' | 'a')) = letter {
                    let name = self.date_name(date, letter)?;
                    all = self.binary(&all, Operator::Add, &name)?;
                    continue;
                }
                let (field, spec) = match letter {
                    Some('Y') => (DateField::Year, "04d"),
                    Some('m') => (DateField::Month, "02d"),
                    Some('d') => (DateField::Day, "02d"),
                    Some('j') => (DateField::DayOfYear, "03d"),
                    Some('H') if date.base() == Some(Base::DateTime) => (DateField::Hour, "02d"),
                    Some('M') if date.base() == Some(Base::DateTime) => (DateField::Minute, "02d"),
                    Some('S') if date.base() == Some(Base::DateTime) => (DateField::Second, "02d"),
                    _ => return self.no(format!("'strftime' with '{pattern}' is not compiled")),
                };
                let value = self.call(Op::Field(field), &[date])?;
                self.call(Op::Format(spec.into()), &[&value])?
            } else if c.is_ascii() {
                Sym::Str(c.to_string().into())
            } else {
                return self.no(format!("'strftime' with '{pattern}' is not compiled"));
            };
            all = self.binary(&all, Operator::Add, &part)?;
        }
        Ok(all)
    }

    /// The name of a month or weekday in the language that was set when the source was read, which is read again when
    /// a query starts.
    fn date_name(&mut self, date: &Sym, letter: char) -> R<Sym> {
        let Some(names) = self.frame().source.named(&format!("strftime %{letter}")).cloned() else {
            return self.no(format!("'strftime' with '%{letter}' is not compiled"));
        };
        let Sym::Seq(names) = self.captured(&names) else {
            return self.no(format!("'strftime' with '%{letter}' is not compiled"));
        };
        let month = matches!(letter, 'B' | 'b');
        let field = if month { DateField::Month } else { DateField::IsoWeekday };
        let number = self.call(Op::Field(field), &[date])?;
        let at = self.binary(&number, Operator::Sub, &Sym::Int(1))?;
        self.seq_at(&names, &at)
    }

    /// `date.fromisoformat(text)` of the form 2024-01-31; Python knows about others.
    pub fn date_of_iso(&mut self, text: &Sym) -> R<Sym> {
        let text = self.text(text)?;
        let length = self.call(Op::Len, &[&text])?;
        let mut plain = self.compare(&length, ruff_python_ast::CmpOp::Eq, &Sym::Int(10))?;
        let part = |t: &mut Translator, from: i64, to: i64| {
            t.call(Op::Slice, &[&text, &Sym::Int(from), &Sym::Int(to)])
        };
        for at in [4, 7] {
            let dash = part(self, at, at + 1)?;
            let dash = self.equal(&dash, &Sym::Str("-".into()))?;
            plain = self.both(plain, dash)?;
        }
        let mut fields = vec![];
        for (from, to) in [(0, 4), (5, 7), (8, 10)] {
            let digits = part(self, from, to)?;
            let all = self.call(Op::Is(CharClass::Digit), &[&digits])?;
            let all = self.truth(&all)?;
            plain = self.both(plain, all)?;
            fields.push(digits);
        }
        match plain {
            Truth::Known(true) => {}
            Truth::Known(false) => return self.never(Base::Date),
            Truth::Asked(plain) => self.demand(plain)?,
        }
        let mut numbers = vec![];
        for digits in &fields {
            numbers.push(self.call(Op::ParseInt, &[digits])?);
        }
        self.call(Op::MakeDate, &[&numbers[0], &numbers[1], &numbers[2]])
    }

    /// `date.isoformat()`.
    pub fn iso_date(&mut self, date: &Sym) -> R<Sym> {
        let mut text: Option<Sym> = None;
        for (field, spec) in [(DateField::Year, "04d"), (DateField::Month, "02d"), (DateField::Day, "02d")] {
            let part = self.call(Op::Field(field), &[date])?;
            let part = self.call(Op::Format(spec.into()), &[&part])?;
            text = Some(match text {
                None => part,
                Some(text) => {
                    let dash = self.binary(&text, Operator::Add, &Sym::Str("-".into()))?;
                    self.binary(&dash, Operator::Add, &part)?
                }
            });
        }
        Ok(text.unwrap_or(Sym::None))
    }

    fn text_method(&mut self, text: &Sym, name: &str, args: &[Sym], named: &Named) -> R<Sym> {
        let keyword = |what: &str| named.iter().find(|(n, _)| &**n == what).map(|(_, v)| v.clone());
        let simple = match name {
            "lower" => Some(Op::Lower),
            "upper" => Some(Op::Upper),
            "title" => Some(Op::Title),
            "capitalize" => Some(Op::Capitalize),
            "swapcase" => Some(Op::SwapCase),
            // On ASCII, to which `Lower` keeps, they are one.
            "casefold" => Some(Op::Lower),
            "isdigit" | "isdecimal" | "isnumeric" => Some(Op::Is(CharClass::Digit)),
            "isalpha" => Some(Op::Is(CharClass::Alpha)),
            "isalnum" => Some(Op::Is(CharClass::Alnum)),
            "isspace" => Some(Op::Is(CharClass::Space)),
            "isupper" => Some(Op::Is(CharClass::Upper)),
            "islower" => Some(Op::Is(CharClass::Lower)),
            "isascii" => Some(Op::Is(CharClass::Ascii)),
            _ => None,
        };
        match (simple, args) {
            (Some(op), []) => return self.call(op, &[text]),
            (Some(_), _) => return self.never(Base::Str),
            (None, _) => {}
        }
        match (name, args) {
            ("strip" | "lstrip" | "rstrip", _) => {
                let end = match name {
                    "strip" => Strip::Both,
                    "lstrip" => Strip::Left,
                    _ => Strip::Right,
                };
                match args {
                    [] | [Sym::None] => self.call(Op::StripSpace(end), &[text]),
                    [chars] => {
                        let chars = self.text(chars)?;
                        self.call(Op::StripChars(end), &[text, &chars])
                    }
                    _ => self.never(Base::Str),
                }
            }
            ("startswith" | "endswith", [part]) => {
                let test = if name == "startswith" { StrTest::StartsWith } else { StrTest::EndsWith };
                let parts = match part {
                    Sym::Seq(seq) => match &**seq {
                        Seq::Items(items, true) => items.clone(),
                        _ => return self.never(Base::Bool),
                    },
                    part => vec![part.clone()],
                };
                let mut any = Truth::Known(false);
                for part in &parts {
                    let part = self.text(part)?;
                    let one = self.call(Op::Test(test), &[text, &part])?;
                    let one = self.truth(&one)?;
                    any = self.either(any, one)?;
                }
                self.truth_sym(any)
            }
            ("find" | "rfind" | "index" | "rindex", [part, bounds @ ..]) if bounds.len() <= 2 => {
                let part = self.text(part)?;
                let bound = |t: &mut Translator, i: usize, default: i64| match bounds.get(i) {
                    None | Some(Sym::None) => Ok(Sym::Int(default)),
                    Some(s) => t.int(s),
                };
                let (from, to) = (bound(self, 0, 0)?, bound(self, 1, i64::MAX)?);
                let op = if name.starts_with('r') { Op::RFind } else { Op::Find };
                let at = self.call(op, &[text, &part, &from, &to])?;
                if name.ends_with("index") {
                    let found = self.compare(&at, ruff_python_ast::CmpOp::GtE, &Sym::Int(0))?;
                    if let Truth::Asked(found) = found {
                        self.demand(found)?;
                    }
                }
                Ok(at)
            }
            ("count", [part]) => {
                let part = self.text(part)?;
                self.call(Op::Count, &[text, &part])
            }
            ("replace", [old, new] | [old, new, _]) => {
                let (old, new) = (self.text(old)?, self.text(new)?);
                let count = match args.get(2).cloned().or(keyword("count")) {
                    Some(n) => self.int(&n)?,
                    None => Sym::Int(-1),
                };
                self.call(Op::Replace, &[text, &old, &new, &count])
            }
            ("removeprefix", [part]) => {
                let part = self.text(part)?;
                self.call(Op::RemovePrefix, &[text, &part])
            }
            ("removesuffix", [part]) => {
                let part = self.text(part)?;
                self.call(Op::RemoveSuffix, &[text, &part])
            }
            ("split", _) => {
                let most = args.get(1).cloned().or(keyword("maxsplit"));
                let sep = args.first().cloned().or(keyword("sep")).unwrap_or(Sym::None);
                match (&sep, &most) {
                    (Sym::None, None) => Ok(Sym::Seq(Rc::new(Seq::Words(text.clone())))),
                    (Sym::None, Some(_)) => self.no("`split` at white space with a limit is not compiled"),
                    (sep, most) => {
                        let sep = self.text(sep)?;
                        let most = match most {
                            Some(n) => self.int(n)?,
                            None => Sym::Int(-1),
                        };
                        if !matches!(&sep, Sym::Str(s) if !s.is_empty()) {
                            // ValueError for an empty one, whether the parts are used or not.
                            self.call(Op::SplitCount, &[text, &sep, &most])?;
                        }
                        Ok(Sym::Seq(Rc::new(Seq::Split { text: text.clone(), sep, most })))
                    }
                }
            }
            ("partition" | "rpartition", [sep]) => {
                let sep = self.text(sep)?;
                let right = name == "rpartition";
                if !matches!(&sep, Sym::Str(s) if !s.is_empty()) {
                    self.call(Op::PartitionAt, &[text, &sep, &Sym::Int(0)])?;
                }
                Ok(Sym::Seq(Rc::new(Seq::Parts { text: text.clone(), sep, right })))
            }
            ("zfill", [n]) => {
                let n = self.int(n)?;
                self.call(Op::ZFill, &[text, &n])
            }
            ("ljust" | "rjust" | "center", [n] | [n, _]) => {
                let n = self.int(n)?;
                let fill = match args.get(1) {
                    Some(fill) => self.text(fill)?,
                    None => Sym::Str(" ".into()),
                };
                let op = match name {
                    "ljust" => Op::LJust,
                    "rjust" => Op::RJust,
                    _ => Op::Center,
                };
                self.call(op, &[text, &n, &fill])
            }
            ("join", [items]) => {
                let seq = self.sequence(items)?;
                if let Some(n) = self.static_len(&seq)
                    && n <= 24
                {
                    let mut joined = Sym::Str("".into());
                    for i in 0..n {
                        let item = self.seq_item(&seq, &Sym::Int(i as i64))?;
                        let item = self.text(&item)?;
                        if i > 0 {
                            joined = self.binary(&joined, Operator::Add, text)?;
                        }
                        joined = self.binary(&joined, Operator::Add, &item)?;
                    }
                    return Ok(joined);
                }
                if matches!(text, Sym::Str(s) if s.is_empty()) {
                    return self.fold(&seq, Sym::Str("".into()), &mut |t, all, item| {
                        let item = t.text(item)?;
                        t.binary(all, Operator::Add, &item)
                    });
                }
                let sep = text.clone();
                let joined = self.fold(&seq, Sym::None, &mut |t, all, item| {
                    let item = t.text(item)?;
                    let none = t.is_none(all)?;
                    let (all, sep, item) = (all.clone(), sep.clone(), item);
                    t.choose(none, &mut |_| Ok(item.clone()), &mut |t| {
                        let all = t.some(&all)?;
                        let all = t.binary(&all, Operator::Add, &sep)?;
                        t.binary(&all, Operator::Add, &item)
                    })
                })?;
                let none = self.is_none(&joined)?;
                self.choose(none, &mut |_| Ok(Sym::Str("".into())), &mut |t| t.some(&joined))
            }
            ("translate", [Sym::Dict(table)]) => self.translated(text, &table.clone()),
            ("format", _) => match text {
                Sym::Str(pattern) => self.str_format(&pattern.clone(), args, named),
                _ => self.no("'.format' of a text that is computed is not compiled"),
            },
            (_, _) => self.no(format!("'.{name}' of a str is not compiled")),
        }
    }
}
