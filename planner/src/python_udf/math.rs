//! The functions of `math`, `isinstance`, and timedeltas.

use crate::python_udf::arith::DAY;
use crate::python_udf::calls::Named;
use crate::python_udf::sym::{R, Seq, Sym};
use crate::python_udf::translate::Translator;
use fuseline_codegen::function::{Base, FloatTest, Math1, Math2, Op};
use ruff_python_ast::Operator;
use std::collections::BTreeSet;

impl Translator {
    pub fn is_instance(&mut self, x: &Sym, class: &Sym) -> R<Sym> {
        let classes: Vec<Sym> = match class {
            Sym::Seq(seq) => match &**seq {
                Seq::Items(items, true) => items.clone(),
                _ => return self.never(Base::Bool),
            },
            other => vec![other.clone()],
        };
        let mut names = BTreeSet::new();
        for class in &classes {
            match class {
                Sym::Known(name) => names.insert(name.to_string()),
                other => return self.no(format!("isinstance with {} is not compiled", other.describe())),
            };
        }
        let is = |name: &str| names.contains(name);
        let result = match x {
            Sym::Num(_) if is("int") != is("float") => {
                return self.no("whether a number is an int or a float depends on the path");
            }
            Sym::Num(_) => is("int"),
            Sym::None => is("NoneType"),
            Sym::Delta(_) => is("datetime.timedelta"),
            Sym::Seq(seq) => match &**seq {
                Seq::Items(_, true) => is("tuple"),
                Seq::Items(_, false) | Seq::Split { .. } | Seq::Words(_) => is("list"),
                _ => return self.no("isinstance of a sequence is not compiled"),
            },
            other => match other.base() {
                Some(Base::Bool) => is("bool") || is("int"),
                Some(Base::Int) => is("int"),
                Some(Base::Float) => is("float"),
                Some(Base::Str) => is("str"),
                Some(Base::Date) => is("datetime.date"),
                Some(Base::DateTime) => is("datetime.datetime") || is("datetime.date"),
                None => return self.no(format!("isinstance of {} is not compiled", other.describe())),
            },
        };
        if x.optional() {
            let none = self.is_none(x)?;
            return self.choose(none, &mut |_| Ok(Sym::Bool(is("NoneType"))), &mut |_| Ok(Sym::Bool(result)));
        }
        Ok(Sym::Bool(result || is("object")))
    }

    pub fn timedelta(&mut self, args: &[Sym], named: &Named) -> R<Sym> {
        let units = [
            ("days", DAY),
            ("seconds", 1_000_000),
            ("microseconds", 1),
            ("milliseconds", 1000),
            ("minutes", 60_000_000),
            ("hours", 3_600_000_000),
            ("weeks", 7 * DAY),
        ];
        let mut micros = Sym::Int(0);
        let given = units.iter().map(|(n, u)| (*n, *u)).zip(args).map(|((_, u), a)| (u, a.clone()));
        let by_name =
            named.iter().filter_map(|(n, v)| Some((units.iter().find(|(u, _)| *u == &**n)?.1, v.clone())));
        for (unit, value) in given.chain(by_name).collect::<Vec<_>>() {
            if !matches!(value.base(), Some(Base::Int | Base::Bool)) {
                return self.no("a timedelta of other things than ints is not compiled");
            }
            let value = self.int(&value)?;
            let part = self.binary(&value, Operator::Mult, &Sym::Int(unit))?;
            micros = self.binary(&micros, Operator::Add, &part)?;
        }
        Ok(Sym::Delta(Box::new(micros)))
    }

    pub fn math(&mut self, name: &str, args: &[Sym]) -> R<Sym> {
        let one = |t: &mut Translator, function: Math1, x: &Sym| {
            let x = t.float_arg(x)?;
            t.call(Op::Math1 { function, fast: false }, &[&x])
        };
        let two = |t: &mut Translator, function: Math2, x: &Sym, y: &Sym| {
            let (x, y) = (t.float_arg(x)?, t.float_arg(y)?);
            t.call(Op::Math2 { function, fast: false }, &[&x, &y])
        };
        let function = match name {
            "sqrt" => Some(Math1::Sqrt),
            "exp" => Some(Math1::Exp),
            "exp2" => Some(Math1::Exp2),
            "expm1" => Some(Math1::Expm1),
            "log" if args.len() == 1 => Some(Math1::Log),
            "log2" => Some(Math1::Log2),
            "log10" => Some(Math1::Log10),
            "log1p" => Some(Math1::Log1p),
            "sin" => Some(Math1::Sin),
            "cos" => Some(Math1::Cos),
            "tan" => Some(Math1::Tan),
            "asin" => Some(Math1::Asin),
            "acos" => Some(Math1::Acos),
            "atan" => Some(Math1::Atan),
            "sinh" => Some(Math1::Sinh),
            "cosh" => Some(Math1::Cosh),
            "tanh" => Some(Math1::Tanh),
            "asinh" => Some(Math1::Asinh),
            "acosh" => Some(Math1::Acosh),
            "atanh" => Some(Math1::Atanh),
            "cbrt" => Some(Math1::Cbrt),
            "degrees" => Some(Math1::Degrees),
            "radians" => Some(Math1::Radians),
            "erf" => Some(Math1::Erf),
            "erfc" => Some(Math1::Erfc),
            _ => None,
        };
        match (name, args) {
            (_, [x]) if function.is_some() => match function {
                Some(function) => one(self, function, x),
                None => self.never(Base::Float),
            },
            ("log", [x, base]) => {
                let (x, base) = (one(self, Math1::Log, x)?, one(self, Math1::Log, base)?);
                self.binary(&x, Operator::Div, &base)
            }
            ("pow", [x, y]) => two(self, Math2::Pow, x, y),
            ("atan2", [x, y]) => two(self, Math2::Atan2, x, y),
            ("hypot", [x, y]) => two(self, Math2::Hypot, x, y),
            ("fmod", [x, y]) => two(self, Math2::Fmod, x, y),
            ("copysign", [x, y]) => two(self, Math2::Copysign, x, y),
            ("fabs", [x]) => {
                let x = self.float_arg(x)?;
                self.call(Op::Abs, &[&x])
            }
            ("floor" | "ceil" | "trunc", [x]) => {
                let x = self.some(x)?;
                match x.base() {
                    Some(Base::Int | Base::Bool) => self.int(&x),
                    Some(Base::Float) => {
                        let op = match name {
                            "floor" => Op::Floor,
                            "ceil" => Op::Ceil,
                            _ => Op::Trunc,
                        };
                        self.call(op, &[&x])
                    }
                    Some(Base::Str | Base::Date | Base::DateTime) | None => self.never(Base::Int),
                }
            }
            ("isnan" | "isinf" | "isfinite", [x]) => {
                let x = self.float_arg(x)?;
                let test = match name {
                    "isnan" => FloatTest::IsNan,
                    "isinf" => FloatTest::IsInf,
                    _ => FloatTest::IsFinite,
                };
                self.call(Op::FloatTest(test), &[&x])
            }
            ("gcd", [a, b]) => {
                let (a, b) = (self.int(a)?, self.int(b)?);
                self.call(Op::Gcd, &[&a, &b])
            }
            ("dist", [a, b]) => {
                let (a, b) = (self.sequence(a)?, self.sequence(b)?);
                let (Some(2), Some(2)) = (self.static_len(&a), self.static_len(&b)) else {
                    return self.no("'math.dist' is compiled in the plane only");
                };
                let mut sides = vec![];
                for i in 0..2 {
                    let (x, y) = (self.seq_item(&a, &Sym::Int(i))?, self.seq_item(&b, &Sym::Int(i))?);
                    let (x, y) = (self.float_arg(&x)?, self.float_arg(&y)?);
                    sides.push(self.binary(&x, Operator::Sub, &y)?);
                }
                two(self, Math2::Hypot, &sides[0], &sides[1])
            }
            _ => self.no(format!("'math.{name}' is not compiled, so it stays Python")),
        }
    }

    /// An argument of `math`: a number, or TypeError.
    fn float_arg(&mut self, x: &Sym) -> R<Sym> {
        let x = self.some(x)?;
        match x.base() {
            Some(Base::Bool | Base::Int | Base::Float) => self.float(&x),
            _ => self.never(Base::Float),
        }
    }
}
