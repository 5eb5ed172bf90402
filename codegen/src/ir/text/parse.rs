//! Parsing loops. What is parsed need not be well formed; [`super::super::verify`] says so.

use super::super::agg::{Agg, AggFunc};
use super::super::op::{OnFail, Op, StrTest};
use super::super::pipeline::{Emit, GroupKey, Input, Inst, Loop, Sink, Step, ValueId};
use super::super::types::{Lit, Ty};
use super::lex::{Token, tokens};
use super::names::Named;
use arrow::datatypes::DataType;
use std::str::FromStr;

/// Where and why a text is not a loop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// From 1.
    pub line: usize,
    pub message: String,
}

impl FromStr for Loop {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Loop, ParseError> {
        let mut parser = Parser::default();
        let mut lines = 0;
        for (i, line) in text.lines().enumerate() {
            lines = i + 1;
            let at = |message| ParseError { line: i + 1, message };
            let tokens = tokens(line).map_err(at)?;
            if !tokens.is_empty() {
                parser.line(Cursor { tokens: &tokens }).map_err(at)?;
            }
        }
        parser.finish().map_err(|message| ParseError { line: lines, message })
    }
}

/// The tokens of a line that are still to be read.
struct Cursor<'t> {
    tokens: &'t [Token],
}

impl<'t> Cursor<'t> {
    fn next(&mut self) -> Result<&'t Token, String> {
        let (first, rest) = self.tokens.split_first().ok_or("the line ends too early")?;
        self.tokens = rest;
        Ok(first)
    }

    fn word(&mut self) -> Result<&'t str, String> {
        match self.next()? {
            Token::Word(w) => Ok(w),
            other => Err(format!("a word was expected, not {other:?}")),
        }
    }

    fn text(&mut self) -> Result<String, String> {
        match self.next()? {
            Token::Text(t) => Ok(t.clone()),
            other => Err(format!("a string was expected, not {other:?}")),
        }
    }

    fn sign(&mut self, sign: char) -> Result<(), String> {
        match self.next()? {
            Token::Sign(s) if *s == sign => Ok(()),
            other => Err(format!("{sign:?} was expected, not {other:?}")),
        }
    }

    /// Takes the sign if it comes next.
    fn take_sign(&mut self, sign: char) -> bool {
        let found = self.tokens.first() == Some(&Token::Sign(sign));
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.first(), Some(Token::Word(w)) if w == word);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn end(&self) -> Result<(), String> {
        match self.tokens.first() {
            None => Ok(()),
            Some(token) => Err(format!("the line should end before {token:?}")),
        }
    }

    fn number<T: FromStr>(&mut self) -> Result<T, String> {
        let word = self.word()?;
        word.parse().map_err(|_| format!("{word} is not a number that fits here"))
    }

    fn value(&mut self) -> Result<ValueId, String> {
        let word = self.word()?;
        let id = word.strip_prefix('v').and_then(|n| n.parse().ok());
        id.map(ValueId).ok_or_else(|| format!("{word} is not a value"))
    }

    fn ty(&mut self) -> Result<(Ty, bool), String> {
        let word = self.word()?;
        let ty = Ty::from_name(word).ok_or_else(|| format!("{word} is not a type"))?;
        Ok((ty, self.take_sign('?')))
    }

    /// An arrow type, as it prints itself: a word, then perhaps something in brackets.
    fn data_type(&mut self) -> Result<DataType, String> {
        let mut text = self.word()?.to_owned();
        if self.tokens.first() == Some(&Token::Sign('(')) {
            let mut depth = 0;
            loop {
                match self.next()? {
                    Token::Word(w) => text += w,
                    Token::Text(t) => text += &format!("{t:?}"),
                    Token::Sign(c) => {
                        depth += i32::from(*c == '(') - i32::from(*c == ')');
                        text.push(*c);
                        if *c == ',' {
                            text.push(' ');
                        }
                    }
                }
                if depth == 0 {
                    break;
                }
            }
        }
        text.parse().map_err(|e| format!("{text} is not an arrow type: {e}"))
    }

    fn literal(&mut self, ty: Ty) -> Result<Lit, String> {
        if ty == Ty::Str {
            return if self.take_word("null") { Ok(Lit::Null(ty)) } else { self.text().map(Lit::Str) };
        }
        let word = self.word()?;
        let bad = || format!("{word} is not a {ty}");
        if word == "null" {
            return Ok(Lit::Null(ty));
        }
        let bits = if word == "bits" { Some(self.word()?) } else { None };
        let bits = bits.map(|b| u64::from_str_radix(b.trim_start_matches("0x"), 16).map_err(|_| bad()));
        let bits = bits.transpose()?;
        let lit = match (ty, bits) {
            (Ty::F32, Some(bits)) => {
                return u32::try_from(bits).map(f32::from_bits).map(Lit::F32).map_err(|_| bad());
            }
            (Ty::F64, Some(bits)) => return Ok(Lit::F64(f64::from_bits(bits))),
            (_, Some(_)) => return Err(bad()),
            (Ty::Bool, None) => word.parse().map(Lit::Bool).ok(),
            (Ty::I8, None) => word.parse().map(Lit::I8).ok(),
            (Ty::I16, None) => word.parse().map(Lit::I16).ok(),
            (Ty::I32, None) => word.parse().map(Lit::I32).ok(),
            (Ty::I64, None) => word.parse().map(Lit::I64).ok(),
            (Ty::I128, None) => word.parse().map(Lit::I128).ok(),
            (Ty::U8, None) => word.parse().map(Lit::U8).ok(),
            (Ty::U16, None) => word.parse().map(Lit::U16).ok(),
            (Ty::U32, None) => word.parse().map(Lit::U32).ok(),
            (Ty::U64, None) => word.parse().map(Lit::U64).ok(),
            (Ty::F32, None) => word.parse().map(Lit::F32).ok(),
            (Ty::F64, None) => word.parse().map(Lit::F64).ok(),
            (Ty::Str, None) => None,
        };
        lit.ok_or_else(bad)
    }
}

#[derive(Default)]
struct Parser {
    opened: bool,
    closed: bool,
    inputs: Vec<Input>,
    values: Vec<Option<Inst>>,
    steps: Vec<Step>,
    sink: Option<Sink>,
}

impl Parser {
    fn line(&mut self, mut c: Cursor<'_>) -> Result<(), String> {
        if !self.opened {
            self.opened = true;
            if c.word()? != "loop" {
                return Err("a loop starts with `loop {`".to_owned());
            }
            c.sign('{')?;
            return c.end();
        }
        if self.closed {
            return Err("the loop has already ended".to_owned());
        }
        if c.take_sign('}') {
            self.closed = true;
            return c.end();
        }
        // Grouping may be followed by what is aggregated.
        if let Some(Sink::Group { aggs, .. }) = &mut self.sink
            && aggs.is_empty()
            && c.take_word("aggregate")
        {
            *aggs = list(&mut c, aggregate)?;
            return c.end();
        }
        if self.sink.is_some() {
            return Err("a loop ends after its sink".to_owned());
        }
        if c.take_word("input") {
            self.input(&mut c)?;
        } else if c.take_word("filter") {
            self.steps.push(Step::Filter(c.value()?));
        } else if c.take_word("visit") {
            let join = c.number()?;
            c.sign(',')?;
            self.steps.push(Step::Visit { join, row: c.value()? });
        } else if c.take_word("emit") {
            self.sink = Some(Sink::Emit(list(&mut c, emit)?));
        } else if c.take_word("aggregate") {
            self.sink = Some(Sink::Aggregate(list(&mut c, aggregate)?));
        } else if c.take_word("group") {
            self.sink = Some(Sink::Group { keys: list(&mut c, group_key)?, aggs: vec![] });
        } else {
            self.instruction(&mut c)?;
        }
        c.end()
    }

    fn input(&mut self, c: &mut Cursor<'_>) -> Result<(), String> {
        let index: usize = c.number()?;
        if index != self.inputs.len() {
            return Err(format!("input {} was expected", self.inputs.len()));
        }
        c.sign(':')?;
        let (ty, nullable) = c.ty()?;
        if !c.take_word("as") {
            return Err("`as` and an arrow type were expected".to_owned());
        }
        let data_type = c.data_type()?;
        let name = if c.tokens.is_empty() { format!("c{index}") } else { c.text()? };
        self.inputs.push(Input { name, data_type, ty, nullable });
        Ok(())
    }

    fn instruction(&mut self, c: &mut Cursor<'_>) -> Result<(), String> {
        let v = c.value()?;
        let declared = if c.take_sign(':') { Some(c.ty()?) } else { None };
        c.sign('=')?;
        let op_name = c.word()?;
        // The types of constants in brackets are those of the first argument, which comes later.
        let (params, rest) = split_params(c.tokens)?;
        let mut args_at = Cursor { tokens: rest };
        if op_name == "input" || op_name == "const" || op_name == "row_index" {
            let op = match op_name {
                "input" => Op::Input(args_at.number()?),
                "const" => {
                    let (ty, _) = declared.ok_or("a constant needs a type")?;
                    Op::Const(args_at.literal(ty)?)
                }
                _ => Op::RowIndex,
            };
            c.tokens = args_at.tokens;
            return self.define(v, declared, op, vec![], None);
        }
        let mut args = vec![args_at.value()?];
        while args_at.take_sign(',') {
            args.push(args_at.value()?);
        }
        let under = if args_at.take_word("under") { Some(args_at.value()?) } else { None };
        c.tokens = args_at.tokens;
        let first = self.known(args[0])?.ty;
        let mut params = Cursor { tokens: params };
        let op = operation(op_name, &mut params, first)?;
        params.end()?;
        self.define(v, declared, op, args, under)
    }

    fn known(&self, v: ValueId) -> Result<&Inst, String> {
        self.values.get(v.index()).and_then(|i| i.as_ref()).ok_or_else(|| format!("{v} is not known yet"))
    }

    fn define(
        &mut self,
        v: ValueId,
        declared: Option<(Ty, bool)>,
        op: Op,
        args: Vec<ValueId>,
        under: Option<ValueId>,
    ) -> Result<(), String> {
        let (ty, nullable) = match (declared, &op) {
            (Some(declared), _) => declared,
            (None, Op::Input(i)) => {
                let input = self.inputs.get(*i as usize).ok_or_else(|| format!("there is no input {i}"))?;
                (input.ty, input.nullable)
            }
            (None, _) => {
                let sig = args.iter().map(|a| self.known(*a).map(|i| (i.ty, i.nullable)));
                op.infer(&sig.collect::<Result<Vec<_>, _>>()?)?
            }
        };
        if v.index() >= 1 << 20 {
            return Err(format!("{v} is too many values"));
        }
        if self.values.len() <= v.index() {
            self.values.resize(v.index() + 1, None);
        }
        if self.values[v.index()].is_some() {
            return Err(format!("{v} is computed twice"));
        }
        self.values[v.index()] = Some(Inst { op, args, under, ty, nullable });
        let expands = matches!(self.values[v.index()].as_ref().map(|i| &i.op), Some(Op::Expand { .. }));
        self.steps.push(if expands { Step::Expand(v) } else { Step::Let(v) });
        Ok(())
    }

    fn finish(self) -> Result<Loop, String> {
        if !self.closed {
            return Err("the loop does not end with `}`".to_owned());
        }
        let sink = self.sink.ok_or("the loop has no sink")?;
        let values = self.values.into_iter().enumerate();
        let values = values.map(|(i, v)| v.ok_or_else(|| format!("v{i} is never computed")));
        Ok(Loop { inputs: self.inputs, values: values.collect::<Result<_, _>>()?, steps: self.steps, sink })
    }
}

/// The tokens in brackets at the front, if any, and those behind.
fn split_params(tokens: &[Token]) -> Result<(&[Token], &[Token]), String> {
    if tokens.first() != Some(&Token::Sign('(')) {
        return Ok((&[], tokens));
    }
    let close = tokens.iter().position(|t| *t == Token::Sign(')')).ok_or("a bracket is not closed")?;
    Ok((&tokens[1..close], &tokens[close + 1..]))
}

fn list<T>(
    c: &mut Cursor<'_>,
    item: impl Fn(&mut Cursor<'_>) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let mut items = Vec::new();
    if c.tokens.is_empty() {
        return Ok(items);
    }
    loop {
        items.push(item(c)?);
        if !c.take_sign(',') {
            return Ok(items);
        }
    }
}

fn emit(c: &mut Cursor<'_>) -> Result<Emit, String> {
    if c.take_word("passenger") {
        return Ok(Emit::Passenger { column: c.number()? });
    }
    let value = c.value()?;
    if !c.take_word("as") {
        return Err("`as` and an arrow type were expected".to_owned());
    }
    let data_type = c.data_type()?;
    Ok(Emit::Value { value, data_type, nullable: c.take_sign('?') })
}

fn group_key(c: &mut Cursor<'_>) -> Result<GroupKey, String> {
    match emit(c)? {
        Emit::Value { value, data_type, nullable } => Ok(GroupKey { value, data_type, nullable }),
        Emit::Passenger { .. } => Err("rows are grouped by values".to_owned()),
    }
}

fn aggregate(c: &mut Cursor<'_>) -> Result<Agg, String> {
    let word = c.word()?;
    let func = AggFunc::from_name(word).ok_or_else(|| format!("{word} is not an aggregate"))?;
    c.sign('(')?;
    let arg = if c.take_sign('*') { None } else { Some(c.value()?) };
    c.sign(')')?;
    let filter = if c.take_word("filter") { Some(c.value()?) } else { None };
    c.sign(':')?;
    Ok(Agg { func, arg, filter, ty: c.ty()?.0 })
}

/// An operation by name, its dotted parts and its parameters in brackets.
fn operation(full: &str, params: &mut Cursor<'_>, first: Ty) -> Result<Op, String> {
    let unknown = || format!("{full} is not an operation");
    let (fail, name) = match full.strip_prefix("try_") {
        Some(rest) => (OnFail::Null, rest),
        None => (OnFail::Err, full),
    };
    let mut parts = name.split('.');
    let name = parts.next().unwrap_or_default();
    let mut part = || parts.next();
    fn named<T: Named>(part: Option<&str>) -> Option<T> {
        part.and_then(T::from_name)
    }
    let op = match name {
        // Without a word, integers wrap.
        "add" => Op::Add(named(Some(part().unwrap_or("wrap"))).ok_or_else(unknown)?),
        "sub" => Op::Sub(named(Some(part().unwrap_or("wrap"))).ok_or_else(unknown)?),
        "mul" => Op::Mul(named(Some(part().unwrap_or("wrap"))).ok_or_else(unknown)?),
        "neg" => Op::Neg(named(Some(part().unwrap_or("wrap"))).ok_or_else(unknown)?),
        "abs" => Op::Abs(named(Some(part().unwrap_or("wrap"))).ok_or_else(unknown)?),
        "div" => Op::Div,
        "rem" => Op::Rem,
        "bit_and" => Op::BitAnd,
        "bit_or" => Op::BitOr,
        "bit_xor" => Op::BitXor,
        "shl" => Op::Shl,
        "shr" => Op::Shr,
        "cmp" => Op::Cmp(named(part()).ok_or_else(unknown)?),
        "distinct" => Op::Distinct,
        "and" => Op::And,
        "or" => Op::Or,
        "not" => Op::Not,
        "is_valid" => Op::IsValid,
        "is_true" => Op::IsTrue,
        "select" => Op::Select,
        "coalesce" => Op::Coalesce,
        "null_if" => Op::NullIf,
        "guard" => Op::Guard(params.text()?),
        "in_set" => Op::InSet(list(params, |c| c.literal(first))?),
        "cast" => Op::Cast(part().and_then(Ty::from_name).ok_or_else(unknown)?, fail),
        "dec_rescale" => {
            let delta = params.number()?;
            params.sign(',')?;
            let precision = params.number()?;
            params.sign(',')?;
            Op::DecRescale { delta, precision, scale: params.number()?, fail }
        }
        "dec_from_int" => {
            let scale = params.number()?;
            params.sign(',')?;
            Op::DecFromInt { scale, precision: params.number()?, fail }
        }
        "dec_from_float" => {
            let scale = params.number()?;
            params.sign(',')?;
            Op::DecFromFloat { scale, precision: params.number()?, fail }
        }
        "dec_to_int" => {
            let to = part().and_then(Ty::from_name).ok_or_else(unknown)?;
            Op::DecToInt { scale: params.number()?, to, fail }
        }
        "dec_to_float" => {
            let to = part().and_then(Ty::from_name).ok_or_else(unknown)?;
            Op::DecToFloat { scale: params.number()?, to }
        }
        "dec_div" => {
            let left_pow = params.number()?;
            params.sign(',')?;
            Op::DecDiv { left_pow, right_pow: params.number()? }
        }
        "math" => {
            let function = named(part()).ok_or_else(unknown)?;
            Op::Math(function, named(part()).ok_or_else(unknown)?)
        }
        "math2" => {
            let function = named(part()).ok_or_else(unknown)?;
            Op::MathBin(function, named(part()).ok_or_else(unknown)?)
        }
        "date_part" => {
            let date_part = named(part()).ok_or_else(unknown)?;
            Op::DatePart { part: date_part, unit: named(part()).ok_or_else(unknown)? }
        }
        "date_trunc" => {
            let to = named(part()).ok_or_else(unknown)?;
            Op::DateTrunc { to, unit: named(part()).ok_or_else(unknown)? }
        }
        "add_interval" | "sub_interval" => {
            let unit = named(part()).ok_or_else(unknown)?;
            let months = params.number()?;
            params.sign(',')?;
            let days = params.number()?;
            params.sign(',')?;
            let subtract = name == "sub_interval";
            Op::AddInterval { unit, months, days, nanos: params.number()?, subtract }
        }
        "starts_with" => Op::StrTest(StrTest::StartsWith(params.text()?)),
        "ends_with" => Op::StrTest(StrTest::EndsWith(params.text()?)),
        "contains" => Op::StrTest(StrTest::Contains(params.text()?)),
        "like" => Op::StrTest(StrTest::Like { pattern: params.text()?, case_insensitive: false }),
        "ilike" => Op::StrTest(StrTest::Like { pattern: params.text()?, case_insensitive: true }),
        "str_len" => Op::StrLen(named(part()).ok_or_else(unknown)?),
        "substr" => Op::Substr,
        "probe" => Op::Probe { join: params.number()?, null_equal: false },
        "probe_nulls" => Op::Probe { join: params.number()?, null_equal: true },
        "expand" => Op::Expand { join: params.number()?, outer: false },
        "expand_outer" => Op::Expand { join: params.number()?, outer: true },
        "fetch" | "fetch_null" => {
            let ty = part().and_then(Ty::from_name).ok_or_else(unknown)?;
            let join = params.number()?;
            params.sign(',')?;
            Op::Fetch { join, column: params.number()?, ty, nullable: name == "fetch_null" }
        }
        _ => return Err(unknown()),
    };
    let takes_try = matches!(
        op,
        Op::Cast(..)
            | Op::DecRescale { .. }
            | Op::DecFromInt { .. }
            | Op::DecFromFloat { .. }
            | Op::DecToInt { .. }
    );
    if part().is_some() || (fail == OnFail::Null && !takes_try) {
        return Err(unknown());
    }
    Ok(op)
}
