//! Reads functions in the form that `text.rs` writes. Nothing is verified here.

use super::{Base, Block, Const, Function, Local, Op, Param, Stmt, Table, TableId, Type, Value};

/// Reads a function.
///
/// # Errors
/// With what was expected, and where.
pub fn parse(text: &str) -> Result<Function, String> {
    let mut parser = Parser { tokens: lex(text)?, at: 0 };
    let function = parser.function()?;
    if parser.at < parser.tokens.len() {
        return Err(format!("text follows the function: {:?}", parser.tokens[parser.at]));
    }
    Ok(function)
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A name or number.
    Word(String),
    Quoted(String),
    Sign(char),
    Arrow,
}

fn lex(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("->") {
            tokens.push(Token::Arrow);
            rest = &rest[2..];
        } else if c == '"' {
            let (quoted, after) = quoted(&rest[1..])?;
            tokens.push(Token::Quoted(quoted));
            rest = after;
        } else if c.is_ascii_alphanumeric() || c == '-' {
            // A colon is part of a word in `nan:7ff8000000000000` only.
            let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '+');
            let mut len = rest.find(|c| !in_word(c)).unwrap_or(rest.len());
            if &rest[..len] == "nan" {
                len += 1 + rest[len + 1..].find(|c| !in_word(c)).unwrap_or(rest.len() - len - 1);
            }
            tokens.push(Token::Word(rest[..len].to_owned()));
            rest = &rest[len..];
        } else {
            tokens.push(Token::Sign(c));
            rest = &rest[c.len_utf8()..];
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

/// What stands before the closing quote, and what behind.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((out, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((at, 'u')) => {
                    let (hex, _) = text[at..]
                        .strip_prefix("u{")
                        .and_then(|t| t.split_once('}'))
                        .ok_or("a broken escape")?;
                    let code = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
                    out.push(code.ok_or("a broken escape")?);
                    chars.by_ref().find(|(_, c)| *c == '}');
                }
                Some((_, c)) => out.push(c),
                None => break,
            },
            c => out.push(c),
        }
    }
    Err("a text without end".to_owned())
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

type Parsed<T> = Result<T, String>;

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn is_sign(&self, sign: char) -> bool {
        self.peek() == Some(&Token::Sign(sign))
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(w)) if w == word)
    }

    fn taken(&mut self, found: bool) -> bool {
        self.at += usize::from(found);
        found
    }

    fn sign(&mut self, sign: char) -> Parsed<()> {
        let found = self.is_sign(sign);
        if self.taken(found) { Ok(()) } else { Err(self.expected(&format!("`{sign}`"))) }
    }

    fn expected(&self, what: &str) -> String {
        let before: Vec<String> =
            self.tokens[self.at.saturating_sub(4)..self.at].iter().map(|t| format!("{t:?}")).collect();
        format!("expected {what}, found {:?} after {}", self.peek(), before.join(" "))
    }

    fn word(&mut self) -> Parsed<String> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.at += 1;
                Ok(word)
            }
            _other => Err(self.expected("a word")),
        }
    }

    fn keyword(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.taken(found)
    }

    fn quoted(&mut self) -> Parsed<String> {
        match self.peek() {
            Some(Token::Quoted(text)) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _other => Err(self.expected("a text")),
        }
    }

    /// A number behind a letter: `v3`.
    fn numbered(&mut self, letter: char) -> Parsed<u32> {
        let word = self.word()?;
        word.strip_prefix(letter)
            .and_then(|n| n.parse().ok())
            .ok_or_else(|| format!("expected {letter} and a number, found {word}"))
    }

    fn value(&mut self) -> Parsed<Value> {
        self.numbered('v').map(Value)
    }

    fn number<T: std::str::FromStr>(&mut self) -> Parsed<T> {
        let word = self.word()?;
        word.parse().map_err(|_| format!("expected a number, found {word}"))
    }

    fn float(&mut self) -> Parsed<u64> {
        let word = self.word()?;
        let bits = match word.strip_prefix("nan:") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => word.parse::<f64>().ok().map(f64::to_bits),
        };
        bits.ok_or_else(|| format!("expected a float, found {word}"))
    }

    fn base(&mut self) -> Parsed<Base> {
        match self.word()?.as_str() {
            "bool" => Ok(Base::Bool),
            "int" => Ok(Base::Int),
            "float" => Ok(Base::Float),
            "str" => Ok(Base::Str),
            "date" => Ok(Base::Date),
            "datetime" => Ok(Base::DateTime),
            other => Err(format!("expected a type, found {other}")),
        }
    }

    fn ty(&mut self) -> Parsed<Type> {
        let base = self.base()?;
        let optional = self.is_sign('?');
        self.taken(optional);
        Ok(Type { base, optional })
    }

    fn function(&mut self) -> Parsed<Function> {
        if !self.keyword("function") {
            return Err(self.expected("`function`"));
        }
        let name = self.quoted()?;
        let mut params = Vec::new();
        self.sign('(')?;
        while !self.is_sign(')') {
            if !params.is_empty() {
                self.sign(',')?;
            }
            let name = self.quoted()?;
            self.sign(':')?;
            params.push(Param { name, ty: self.ty()? });
        }
        self.sign(')')?;
        let arrow = self.peek() == Some(&Token::Arrow);
        if !self.taken(arrow) {
            return Err(self.expected("`->`"));
        }
        let returns = self.ty()?;
        self.sign('{')?;
        let mut locals: Vec<Type> = params.iter().map(|p| p.ty).collect();
        if self.keyword("locals") {
            loop {
                locals.push(self.ty()?);
                if !self.is_sign(',') {
                    break;
                }
                self.sign(',')?;
            }
        }
        let mut tables = Vec::new();
        while self.keyword("table") {
            tables.push(self.table()?);
        }
        let body = self.statements()?;
        self.sign('}')?;
        Ok(Function { name, params, returns, locals, tables, body })
    }

    fn constant(&mut self, base: Base) -> Parsed<Const> {
        match base {
            Base::Bool => self.number().map(Const::Bool),
            Base::Int => self.number().map(Const::Int),
            Base::Float => self.float().map(Const::Float),
            Base::Str => self.quoted().map(Const::Str),
            Base::Date | Base::DateTime => Err(self.expected("another type of constant")),
        }
    }

    fn table(&mut self) -> Parsed<Table> {
        let keys = self.base()?;
        let arrow = self.peek() == Some(&Token::Arrow);
        if !self.taken(arrow) {
            return Err(self.expected("`->`"));
        }
        let values = self.ty()?;
        self.sign('{')?;
        let mut entries = Vec::new();
        while !self.is_sign('}') {
            if !entries.is_empty() {
                self.sign(',')?;
            }
            let key = self.constant(keys)?;
            self.sign(':')?;
            let value = if self.keyword("none") { None } else { Some(self.constant(values.base)?) };
            entries.push((key, value));
        }
        self.sign('}')?;
        Ok(Table { keys, values, entries })
    }

    fn block(&mut self) -> Parsed<Block> {
        self.sign('{')?;
        let block = self.statements()?;
        self.sign('}')?;
        Ok(block)
    }

    fn statements(&mut self) -> Parsed<Block> {
        let mut list = Vec::new();
        while !self.is_sign('}') {
            list.push(self.statement()?);
        }
        Ok(Block(list))
    }

    fn statement(&mut self) -> Parsed<Stmt> {
        if self.keyword("break") {
            return Ok(Stmt::Break);
        }
        if self.keyword("continue") {
            return Ok(Stmt::Continue);
        }
        if self.keyword("bail") {
            return Ok(Stmt::Bail);
        }
        if self.keyword("return") {
            return self.value().map(Stmt::Return);
        }
        if self.keyword("if") {
            let cond = self.value()?;
            let then = self.block()?;
            let otherwise = if self.keyword("else") { self.block()? } else { Block::default() };
            return Ok(Stmt::If { cond, then, otherwise });
        }
        if self.keyword("while") {
            let head = self.block()?;
            let cond = self.value()?;
            let body = self.block()?;
            let step = if self.keyword("step") { self.block()? } else { Block::default() };
            return Ok(Stmt::While { head, cond, body, step });
        }
        let target = self.word()?;
        self.sign('=')?;
        if let Some(local) = target.strip_prefix('l').and_then(|n| n.parse().ok()) {
            return self.value().map(|value| Stmt::Set(Local(local), value));
        }
        let value = target.strip_prefix('v').and_then(|n| n.parse().ok());
        let value = value.ok_or_else(|| format!("{target} is neither a value nor a local"))?;
        let op = self.op()?;
        let mut args = Vec::new();
        // The next statement may begin with a value too, but then an `=` follows it.
        let begins_statement = |p: &Parser| p.tokens.get(p.at + 1) == Some(&Token::Sign('='));
        let is_value = |p: &Parser| matches!(p.peek(), Some(Token::Word(w)) if w.starts_with('v'));
        if is_value(self) && !begins_statement(self) {
            args.push(self.value()?);
            while self.is_sign(',') {
                self.sign(',')?;
                args.push(self.value()?);
            }
        }
        Ok(Stmt::Let(Value(value), op, args))
    }

    fn op(&mut self) -> Parsed<Op> {
        let name = self.word()?;
        Ok(match name.as_str() {
            "bool" => Op::Bool(self.number()?),
            "int" => Op::Int(self.number()?),
            "float" => Op::Float(self.float()?),
            "str" => Op::Str(self.quoted()?),
            "date" => Op::Date(self.number()?),
            "datetime" => Op::DateTime(self.number()?),
            "none" => Op::None(self.base()?),
            "get" => Op::Get(Local(self.numbered('l')?)),
            "format" => Op::Format(self.quoted()?),
            "has" => Op::Has(TableId(self.number()?)),
            "lookup" => Op::Lookup(TableId(self.number()?)),
            name => Op::plain_by_name(name).ok_or_else(|| format!("there is no operation {name}"))?.clone(),
        })
    }
}
