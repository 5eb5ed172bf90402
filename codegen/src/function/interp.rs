//! What a function means: one row, one statement after the other. The oracle of the machine code, and as slow as that
//! sounds.
//!
//! Kernels are called as machine code calls them, so what is compared with CPython here is what runs there.

use super::kernel::{self, Call, Reading, Tables};
use super::{
    Base, Block, Compare, FloatTest, Function, Local, MOST_ROUNDS, Math1, Op, Rounding, Stmt, Type, Value,
};
use fuseline_kernels::python::arena::Arena;
use fuseline_kernels::python::call::MOST_WORDS;
use fuseline_kernels::python::{date, float, int, math};
use std::collections::HashMap;
use std::sync::Arc;

/// A value of a row.
#[derive(Clone, Debug)]
pub enum Datum {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    /// Days since 1970.
    Date(i64),
    /// Microseconds since 1970.
    DateTime(i64),
}

impl PartialEq for Datum {
    /// Floats are equal if their bits are.
    fn eq(&self, other: &Datum) -> bool {
        match (self, other) {
            (Datum::None, Datum::None) => true,
            (Datum::Bool(a), Datum::Bool(b)) => a == b,
            (Datum::Int(a), Datum::Int(b))
            | (Datum::Date(a), Datum::Date(b))
            | (Datum::DateTime(a), Datum::DateTime(b)) => a == b,
            (Datum::Float(a), Datum::Float(b)) => a.to_bits() == b.to_bits(),
            (Datum::Str(a), Datum::Str(b)) => a == b,
            (
                Datum::None
                | Datum::Bool(_)
                | Datum::Int(_)
                | Datum::Float(_)
                | Datum::Str(_)
                | Datum::Date(_)
                | Datum::DateTime(_),
                _,
            ) => false,
        }
    }
}

/// How a row ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Return(Datum),
    Bail,
}

/// Runs a verified function over one row.
///
/// # Panics
/// If the operands are not of the parameters' types.
pub fn call(function: &Function, args: &[Datum]) -> Outcome {
    Interpreter::new(Arc::new(function.clone())).call(args)
}

/// A function that is run over many rows.
#[derive(Debug)]
pub struct Interpreter {
    function: Arc<Function>,
    tables: Tables,
}

impl Interpreter {
    /// Takes a verified function.
    pub fn new(function: Arc<Function>) -> Interpreter {
        let tables = Tables::of(&function);
        Interpreter { function, tables }
    }

    /// Runs a row.
    ///
    /// # Panics
    /// If the operands are not of the parameters' types.
    pub fn call(&self, args: &[Datum]) -> Outcome {
        let function = &*self.function;
        assert_eq!(args.len(), function.params.len(), "one operand per parameter");
        let mut locals = vec![Datum::None; function.locals.len()];
        for ((local, arg), param) in locals.iter_mut().zip(args).zip(&function.params) {
            assert!(is_of(arg, param.ty), "{arg:?} is no {}", param.ty);
            local.clone_from(arg);
        }
        let mut row = Row {
            function,
            tables: &self.tables,
            locals,
            values: Vec::new(),
            arena: Arena::new(),
            rounds: HashMap::new(),
        };
        match row.block(&function.body) {
            Flow::Return(datum) => Outcome::Return(datum),
            // A verified function does not run over its end.
            Flow::Bail | Flow::Next | Flow::Break | Flow::Continue => Outcome::Bail,
        }
    }
}

/// Whether a value is of a type.
pub fn is_of(datum: &Datum, ty: Type) -> bool {
    match datum {
        Datum::None => ty.optional,
        Datum::Bool(_) => ty.base == Base::Bool,
        Datum::Int(_) => ty.base == Base::Int,
        Datum::Float(_) => ty.base == Base::Float,
        Datum::Str(_) => ty.base == Base::Str,
        Datum::Date(_) => ty.base == Base::Date,
        Datum::DateTime(_) => ty.base == Base::DateTime,
    }
}

/// How a block ended.
enum Flow {
    Next,
    Break,
    Continue,
    Return(Datum),
    Bail,
}

/// An operation with its result, or a bail.
type Result = Option<Datum>;

struct Row<'f> {
    function: &'f Function,
    tables: &'f Tables,
    locals: Vec<Datum>,
    /// With their types.
    values: Vec<Option<(Datum, Type)>>,
    arena: Arena,
    /// By the address of the loop.
    rounds: HashMap<*const Stmt, u32>,
}

impl Row<'_> {
    fn value(&self, value: Value) -> &(Datum, Type) {
        self.values[value.0 as usize].as_ref().expect("verified: values are defined before their uses")
    }

    fn holds(&self, value: Value) -> bool {
        matches!(self.value(value).0, Datum::Bool(true))
    }

    fn block(&mut self, block: &Block) -> Flow {
        for stmt in &block.0 {
            let flow = self.stmt(stmt);
            if !matches!(flow, Flow::Next) {
                return flow;
            }
        }
        Flow::Next
    }

    fn stmt(&mut self, stmt: &Stmt) -> Flow {
        match stmt {
            Stmt::Let(value, op, args) => {
                let types: Vec<Type> = args.iter().map(|a| self.value(*a).1).collect();
                let ty = op
                    .infer(&types, &self.function.locals, &self.function.tables)
                    .expect("verified: operands are of the operation's types");
                let Some(datum) = self.evaluate(op, args, &types, ty) else { return Flow::Bail };
                debug_assert!(is_of(&datum, ty), "{op:?} gave {datum:?}");
                let at = value.0 as usize;
                if self.values.len() <= at {
                    self.values.resize(at + 1, None);
                }
                self.values[at] = Some((datum, ty));
                Flow::Next
            }
            Stmt::Set(Local(local), value) => {
                self.locals[*local as usize] = self.value(*value).0.clone();
                Flow::Next
            }
            Stmt::If { cond, then, otherwise } => {
                self.block(if self.holds(*cond) { then } else { otherwise })
            }
            Stmt::While { head, cond, body, step } => loop {
                match self.block(head) {
                    Flow::Next => {}
                    flow @ (Flow::Break | Flow::Continue | Flow::Return(_) | Flow::Bail) => return flow,
                }
                if !self.holds(*cond) {
                    return Flow::Next;
                }
                let rounds = self.rounds.entry(stmt).or_default();
                *rounds += 1;
                if *rounds > MOST_ROUNDS {
                    return Flow::Bail;
                }
                match self.block(body) {
                    Flow::Next | Flow::Continue => {}
                    Flow::Break => return Flow::Next,
                    flow @ (Flow::Return(_) | Flow::Bail) => return flow,
                }
                match self.block(step) {
                    Flow::Next => {}
                    flow @ (Flow::Break | Flow::Continue | Flow::Return(_) | Flow::Bail) => return flow,
                }
            },
            Stmt::Break => Flow::Break,
            Stmt::Continue => Flow::Continue,
            Stmt::Return(value) => Flow::Return(self.value(*value).0.clone()),
            Stmt::Bail => Flow::Bail,
        }
    }

    fn evaluate(&mut self, op: &Op, args: &[Value], types: &[Type], ty: Type) -> Result {
        if let Some(call) = kernel::kernel(op, types, self.tables) {
            return self.kernel(&call, args, ty);
        }
        if let Op::Get(Local(local)) = op {
            return Some(self.locals[*local as usize].clone());
        }
        let args: Vec<&Datum> = args.iter().map(|a| &self.value(*a).0).collect();
        own(op, &args)
    }

    fn kernel(&mut self, call: &Call, args: &[Value], ty: Type) -> Result {
        let mut words = Vec::with_capacity(MOST_WORDS);
        for arg in args {
            match &self.value(*arg).0 {
                Datum::None => unreachable!("no kernel takes None"),
                Datum::Bool(b) => words.push(u64::from(*b)),
                Datum::Int(i) | Datum::Date(i) | Datum::DateTime(i) => words.push(*i as u64),
                Datum::Float(x) => words.push(x.to_bits()),
                Datum::Str(s) => words.extend([s.as_ptr() as u64, s.len() as u64]),
            }
        }
        words.extend(call.extra.word());
        words.resize(MOST_WORDS, 0);
        // SAFETY: the words are those of the operation, which was verified; texts live in `self.values`, tables
        // in `self.tables`.
        let done = unsafe { (call.kernel)(&raw mut self.arena, words.as_mut_ptr()) };
        if done == 0 {
            return None;
        }
        Some(match call.reading {
            Reading::Cell if words[2] == 0 => Datum::None,
            Reading::Order(compare) => Datum::Bool(order_is(words[0] as i64, compare)),
            Reading::Value | Reading::Cell => match ty.base {
                Base::Bool => Datum::Bool(words[0] != 0),
                Base::Int => Datum::Int(words[0] as i64),
                Base::Float => Datum::Float(f64::from_bits(words[0])),
                Base::Date => Datum::Date(words[0] as i64),
                Base::DateTime => Datum::DateTime(words[0] as i64),
                Base::Str => {
                    // SAFETY: the kernel gave address and length of a text, which lives until the row is done.
                    let text = unsafe {
                        let bytes = std::slice::from_raw_parts(words[0] as *const u8, words[1] as usize);
                        std::str::from_utf8_unchecked(bytes)
                    };
                    Datum::Str(text.to_owned())
                }
            },
        })
    }
}

/// What -1, 0, 1 (or 2: no order) say about a comparison.
fn order_is(order: i64, compare: Compare) -> bool {
    match compare {
        Compare::Eq => order == 0,
        Compare::Ne => order != 0,
        Compare::Lt => order == -1,
        Compare::Le => order <= 0,
        Compare::Gt => order == 1,
        Compare::Ge => order == 0 || order == 1,
    }
}

fn compared<T: PartialOrd>(a: &T, b: &T, compare: Compare) -> bool {
    match compare {
        Compare::Eq => a == b,
        Compare::Ne => a != b,
        Compare::Lt => a < b,
        Compare::Le => a <= b,
        Compare::Gt => a > b,
        Compare::Ge => a >= b,
    }
}

/// A NaN operand is the result, the first of two, quieted: what the processor does, said here because a compiler may
/// swap operands.
fn or_nan(a: f64, b: f64, result: f64) -> f64 {
    let quiet = |x: f64| f64::from_bits(x.to_bits() | 1 << 51);
    if a.is_nan() {
        quiet(a)
    } else if b.is_nan() {
        quiet(b)
    } else {
        result
    }
}

/// An operation that is no kernel.
fn own(op: &Op, args: &[&Datum]) -> Result {
    use Datum::{Bool, Date, DateTime, Float, Int};
    Some(match (op, args) {
        (Op::Bool(b), _) => Bool(*b),
        (Op::Int(i), _) => Int(*i),
        (Op::Float(bits), _) => Float(f64::from_bits(*bits)),
        (Op::Str(s), _) => Datum::Str(s.clone()),
        (Op::Date(days), _) => Date(*days),
        (Op::DateTime(micros), _) => DateTime(*micros),
        (Op::None(_), _) | (Op::Some, [Datum::None]) => Datum::None,
        (Op::Some, [x]) => (*x).clone(),
        (Op::IsNone, [x]) => Bool(**x == Datum::None),
        (Op::Unwrap, [Datum::None]) => return None,
        (Op::Unwrap, [x]) => (*x).clone(),
        (Op::Select, [Bool(c), a, b]) => (*if *c { a } else { b }).clone(),
        (Op::Not, [Bool(a)]) => Bool(!a),
        (Op::And, [Bool(a), Bool(b)]) => Bool(a & b),
        (Op::Or, [Bool(a), Bool(b)]) => Bool(a | b),
        (Op::Xor, [Bool(a), Bool(b)]) => Bool(a ^ b),
        (Op::Add, [Int(a), Int(b)]) => Int(a.checked_add(*b)?),
        (Op::Sub, [Int(a), Int(b)]) => Int(a.checked_sub(*b)?),
        (Op::Mul, [Int(a), Int(b)]) => Int(a.checked_mul(*b)?),
        (Op::Add, [Float(a), Float(b)]) => Float(or_nan(*a, *b, a + b)),
        (Op::Sub, [Float(a), Float(b)]) => Float(or_nan(*a, *b, a - b)),
        (Op::Mul, [Float(a), Float(b)]) => Float(or_nan(*a, *b, a * b)),
        (Op::Neg, [Int(a)]) => Int(a.checked_neg()?),
        (Op::Neg, [Float(a)]) => Float(-a),
        (Op::Abs, [Int(a)]) => Int(a.checked_abs()?),
        (Op::Abs, [Float(a)]) => Float(a.abs()),
        (Op::TrueDiv, [Int(a), Int(b)]) => Float(int::true_div(*a, *b)?),
        (Op::TrueDiv, [Float(a), Float(b)]) if *b != 0.0 => Float(or_nan(*a, *b, a / b)),
        (Op::TrueDiv, [Float(_), Float(_)]) => return None,
        (Op::FloorDiv, [Int(a), Int(b)]) => Int(int::floor_div(*a, *b)?),
        (Op::Mod, [Int(a), Int(b)]) => Int(int::modulo(*a, *b)?),
        (Op::Shl, [Int(a), Int(b)]) => Int(int::shl(*a, *b)?),
        (Op::Shr, [Int(a), Int(b)]) => Int(int::shr(*a, *b)?),
        (Op::BitAnd, [Int(a), Int(b)]) => Int(a & b),
        (Op::BitOr, [Int(a), Int(b)]) => Int(a | b),
        (Op::BitXor, [Int(a), Int(b)]) => Int(a ^ b),
        (Op::Invert, [Int(a)]) => Int(!a),
        (Op::BoolToInt, [Bool(a)]) => Int(i64::from(*a)),
        (Op::IntToFloat, [Int(a)]) => Float(*a as f64),
        (Op::Trunc, [Float(x)]) => Int(float::to_int(x.trunc())?),
        (Op::Floor, [Float(x)]) => Int(float::to_int(x.floor())?),
        (Op::Ceil, [Float(x)]) => Int(float::to_int(x.ceil())?),
        (Op::RoundEven, [Float(x)]) => Int(float::to_int(x.round_ties_even())?),
        (Op::ToSingle, [Float(x)]) => Float(or_nan(*x, *x, f64::from(*x as f32))),
        (Op::Whole(rounding), [Float(x)]) => Float(or_nan(
            *x,
            *x,
            match rounding {
                Rounding::Floor => x.floor(),
                Rounding::Ceil => x.ceil(),
                Rounding::Trunc => x.trunc(),
                Rounding::Even => x.round_ties_even(),
            },
        )),
        (Op::Cmp(c), [Bool(a), Bool(b)]) => Bool(compared(a, b, *c)),
        (Op::Cmp(c), [Int(a), Int(b)] | [Date(a), Date(b)] | [DateTime(a), DateTime(b)]) => {
            Bool(compared(a, b, *c))
        }
        (Op::Cmp(c), [Float(a), Float(b)]) => Bool(compared(a, b, *c)),
        (Op::Math1 { function, .. }, [Float(x)]) => {
            let result = kernel::libm(*function)(*x);
            Float(match function {
                Math1::Degrees | Math1::Radians => or_nan(*x, *x, result),
                _checked => math::checked(*x, result)?,
            })
        }
        (Op::IeeeDiv, [Float(a), Float(b)]) => Float(or_nan(*a, *b, a / b)),
        (Op::IeeeMath1 { function, .. }, [Float(x)]) => {
            let result = kernel::libm(*function)(*x);
            let multiplies = matches!(function, Math1::Degrees | Math1::Radians);
            Float(if multiplies { or_nan(*x, *x, result) } else { result })
        }
        (Op::FloatTest(test), [Float(x)]) => Bool(match test {
            FloatTest::IsNan => x.is_nan(),
            FloatTest::IsInf => x.is_infinite(),
            FloatTest::IsFinite => x.is_finite(),
            FloatTest::IsInteger => x.is_finite() && x.floor() == *x,
        }),
        (Op::DateOf, [DateTime(micros)]) => Date(micros.div_euclid(date::DAY)),
        (Op::DateTimeOf, [Date(days)]) => DateTime(days * date::DAY),
        (Op::DateDiff, [Date(a), Date(b)] | [DateTime(a), DateTime(b)]) => Int(a - b),
        (op, args) => unreachable!("{op:?} is a kernel, or not verified: {args:?}"),
    })
}
