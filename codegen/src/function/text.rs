//! Functions as text: what `EXPLAIN CODEGEN` shows and tests write. `parse_text.rs` reads it.
//!
//! ```text
//! function "fee"("amount": float, "kind": str?) -> float {
//!   locals float
//!   table str -> float { "a": 0.5, "b": 1.0 }
//!   v0 = get l1
//!   v1 = is_none v0
//!   if v1 {
//!     bail
//!   }
//!   v2 = unwrap v0
//!   v3 = lookup 0 v2
//!   l2 = v3
//!   while {
//!     v4 = cmp.lt v3, v3
//!   } v4 {
//!     break
//!   }
//!   return v3
//! }
//! ```

use super::{Block, Const, Function, Op, Stmt, Table};
use std::fmt::{self, Display, Write};

impl Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function {}(", Quoted(&self.name))?;
        for (i, param) in self.params.iter().enumerate() {
            write!(f, "{}{}: {}", if i > 0 { ", " } else { "" }, Quoted(&param.name), param.ty)?;
        }
        writeln!(f, ") -> {} {{", self.returns)?;
        let own = self.locals.get(self.params.len()..).unwrap_or_default();
        if !own.is_empty() {
            let list: Vec<String> = own.iter().map(ToString::to_string).collect();
            writeln!(f, "  locals {}", list.join(", "))?;
        }
        for table in &self.tables {
            writeln!(f, "  table {table}")?;
        }
        self.body.print(f, 1)?;
        f.write_str("}\n")
    }
}

/// A text in quotes, with what does not print escaped.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// A float that reads back as the same bits.
struct Float(u64);

impl Display for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let x = f64::from_bits(self.0);
        if x.is_nan() { write!(f, "nan:{:x}", self.0) } else { write!(f, "{x:?}") }
    }
}

impl Display for Const {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Const::Bool(b) => write!(f, "{b}"),
            Const::Int(i) => write!(f, "{i}"),
            Const::Float(bits) => write!(f, "{}", Float(*bits)),
            Const::Str(s) => write!(f, "{}", Quoted(s)),
        }
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = super::Type::of(self.keys);
        write!(f, "{keys} -> {} {{", self.values)?;
        for (i, (key, value)) in self.entries.iter().enumerate() {
            write!(f, "{} {key}: ", if i > 0 { "," } else { "" })?;
            match value {
                Some(value) => write!(f, "{value}")?,
                None => f.write_str("none")?,
            }
        }
        f.write_str(" }")
    }
}

impl Display for Op {
    /// The name and the constant.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        match self {
            Op::Bool(b) => write!(f, " {b}"),
            Op::Int(i) | Op::Date(i) | Op::DateTime(i) => write!(f, " {i}"),
            Op::Float(bits) => write!(f, " {}", Float(*bits)),
            Op::Str(s) | Op::Format(s) => write!(f, " {}", Quoted(s)),
            Op::None(base) => write!(f, " {}", super::Type::of(*base)),
            Op::Get(local) => write!(f, " l{}", local.0),
            Op::Has(table) | Op::Lookup(table) => write!(f, " {}", table.0),
            _no_constant => Ok(()),
        }
    }
}

impl Block {
    fn print(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        self.0.iter().try_for_each(|stmt| stmt.print(f, depth))
    }
}

impl Stmt {
    fn print(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let indent = "  ".repeat(depth);
        f.write_str(&indent)?;
        match self {
            Stmt::Let(value, op, args) => {
                write!(f, "v{} = {op}", value.0)?;
                for (i, arg) in args.iter().enumerate() {
                    write!(f, "{}v{}", if i > 0 { ", " } else { " " }, arg.0)?;
                }
                f.write_char('\n')
            }
            Stmt::Set(local, value) => writeln!(f, "l{} = v{}", local.0, value.0),
            Stmt::If { cond, then, otherwise } => {
                writeln!(f, "if v{} {{", cond.0)?;
                then.print(f, depth + 1)?;
                if !otherwise.0.is_empty() {
                    writeln!(f, "{indent}}} else {{")?;
                    otherwise.print(f, depth + 1)?;
                }
                writeln!(f, "{indent}}}")
            }
            Stmt::While { head, cond, body, step } => {
                f.write_str("while {\n")?;
                head.print(f, depth + 1)?;
                writeln!(f, "{indent}}} v{} {{", cond.0)?;
                body.print(f, depth + 1)?;
                if !step.0.is_empty() {
                    writeln!(f, "{indent}}} step {{")?;
                    step.print(f, depth + 1)?;
                }
                writeln!(f, "{indent}}}")
            }
            Stmt::Break => f.write_str("break\n"),
            Stmt::Continue => f.write_str("continue\n"),
            Stmt::Return(value) => writeln!(f, "return v{}", value.0),
            Stmt::Bail => f.write_str("bail\n"),
        }
    }
}
