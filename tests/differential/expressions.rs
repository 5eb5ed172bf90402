//! Random SQL expressions, directed by what the result must be.
//!
//! An expression is a template (`({0} + {1})`) with its arguments, so that shrinking can put an argument
//! in the place of the whole. The generator works by family (an integer of any width, text of any
//! representation): the coercions between them are part of what is tested. Errors are kept rare, because
//! a query that errs compares little: divisors are mostly guarded, casts mostly fit.
//!
//! Transcendental functions differ by an ulp at an output and must be exact everywhere else, so the
//! generator puts them in two places only: at the root of an output column (`Allowance::Ulps`), and
//! below comparisons and roundings, where libm is called and the answer is exact.

use super::random::Random;
use super::tables::{Family, Table};

/// How far an output column may be from unfused DataFusion's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Allowance {
    Exact,
    /// Units in the last place.
    Ulps(u32),
}

#[derive(Clone, Debug)]
pub struct Expression {
    pub family: Family,
    template: String,
    pub arguments: Vec<Expression>,
    /// Evaluated on some rows only: CASE, COALESCE, AND, OR. Its arguments may err less than unfused.
    pub lazy: bool,
}

impl Expression {
    pub fn leaf(family: Family, text: impl Into<String>) -> Self {
        Self { family, template: text.into(), arguments: Vec::new(), lazy: false }
    }

    pub fn node(family: Family, template: &str, arguments: Vec<Expression>) -> Self {
        Self { family, template: template.into(), arguments, lazy: false }
    }

    /// The same with its arguments as DOUBLE: an ulp of a REAL is many of the product's.
    fn of_doubles(mut self) -> Self {
        let wrap = |a| Expression::node(Family::Float, "CAST({0} AS DOUBLE)", vec![a]);
        self.arguments = self.arguments.into_iter().map(wrap).collect();
        self
    }

    fn lazy(mut self) -> Self {
        self.lazy = true;
        self
    }

    pub fn sql(&self) -> String {
        let mut text = self.template.clone();
        for (i, argument) in self.arguments.iter().enumerate() {
            text = text.replace(&format!("{{{i}}}"), &argument.sql());
        }
        text
    }

    /// Whether some part of it is evaluated on some rows only.
    pub fn is_lazy(&self) -> bool {
        self.lazy || self.arguments.iter().any(Self::is_lazy)
    }

    /// Every expression that is this one with one node replaced by something simpler.
    pub fn simpler(&self) -> Vec<Expression> {
        let mut found: Vec<Expression> =
            self.arguments.iter().filter(|a| a.family == self.family).cloned().collect();
        if !self.arguments.is_empty() {
            found.push(Self::leaf(self.family, simple_literal(self.family)));
        }
        for (i, argument) in self.arguments.iter().enumerate() {
            for simpler in argument.simpler() {
                let mut whole = self.clone();
                whole.arguments[i] = simpler;
                found.push(whole);
            }
        }
        found
    }
}

fn simple_literal(family: Family) -> &'static str {
    match family {
        Family::Bool => "true",
        Family::Int => "7",
        Family::Float => "CAST(1.5 AS DOUBLE)",
        Family::Decimal => "CAST(1.25 AS DECIMAL(15,2))",
        Family::Text => "'abc'",
        Family::Date => "DATE '2001-02-03'",
        Family::Timestamp => "TIMESTAMP '2001-02-03 04:05:06'",
        Family::Time => "TIME '04:05:06'",
        Family::Passenger => "X'00'",
    }
}

/// Functions that are vectorized, with their argument templates.
const TRANSCENDENTAL: &[&str] = &[
    "sin({0})",
    "cos({0})",
    "tan({0})",
    "exp({0})",
    "ln({0})",
    "log2({0})",
    "log10({0})",
    "asin({0})",
    "acos({0})",
    "atan({0})",
    "power({0}, {1})",
    "atan2({0}, {1})",
    "sinh({0})",
    "cosh({0})",
    "tanh({0})",
    "cbrt({0})",
];

pub struct Generator<'a> {
    pub random: &'a mut Random,
    /// Columns in scope: name and family.
    pub scope: Vec<(String, Family)>,
}

impl<'a> Generator<'a> {
    pub fn new(random: &'a mut Random, table: &Table) -> Self {
        let scope = table.columns.iter().map(|c| (c.name.clone(), c.family)).collect();
        Self { random, scope }
    }

    /// An output column: any family; now and then a transcendental function at its root.
    pub fn output(&mut self, depth: usize) -> (Expression, Allowance) {
        if self.random.chance(6) {
            let outer = self.transcendental(depth.min(2));
            return (outer, Allowance::Ulps(1));
        }
        if self.random.chance(3) {
            let arguments = vec![self.transcendental(1).of_doubles(), self.transcendental(1).of_doubles()];
            return (
                Expression::node(Family::Float, "({0} * {1})", arguments),
                // One ulp of each factor, one of the product's rounding, doubled for safety at
                // a power of two.
                Allowance::Ulps(6),
            );
        }
        let family = self.any_family();
        (self.expression(family, depth), Allowance::Exact)
    }

    pub fn any_family(&mut self) -> Family {
        *self.random.pick(&[
            Family::Bool,
            Family::Bool,
            Family::Int,
            Family::Int,
            Family::Int,
            Family::Float,
            Family::Float,
            Family::Float,
            Family::Decimal,
            Family::Decimal,
            Family::Text,
            Family::Text,
            Family::Date,
            Family::Timestamp,
            Family::Timestamp,
            Family::Time,
            Family::Passenger,
        ])
    }

    pub(super) fn transcendental(&mut self, depth: usize) -> Expression {
        let template = *self.random.pick(TRANSCENDENTAL);
        let mut arguments = vec![self.expression(Family::Float, depth)];
        if template.contains("{1}") {
            arguments.push(self.expression(Family::Float, depth.saturating_sub(1)));
        }
        Expression::node(Family::Float, template, arguments)
    }

    /// An expression of a family, at most `depth` operations deep.
    pub fn expression(&mut self, family: Family, depth: usize) -> Expression {
        if depth == 0 || self.random.chance(8) {
            return self.leaf(family);
        }
        if self.random.chance(14) {
            return self.conditional(family, depth);
        }
        match family {
            Family::Bool => self.boolean(depth),
            Family::Int => self.integer(depth),
            Family::Float => self.float(depth),
            Family::Decimal => self.decimal(depth),
            Family::Text => self.text(depth),
            Family::Date => self.date(depth),
            Family::Timestamp => self.timestamp(depth),
            Family::Time => self.time(depth),
            Family::Passenger => self.leaf(family),
        }
    }

    pub(super) fn leaf(&mut self, family: Family) -> Expression {
        let columns: Vec<&String> =
            self.scope.iter().filter(|(_, f)| *f == family).map(|(name, _)| name).collect();
        if !columns.is_empty() && self.random.chance(80) {
            return Expression::leaf(family, self.random.pick(&columns).as_str());
        }
        let text = self.literal(family);
        Expression::leaf(family, text)
    }

    pub(super) fn literal(&mut self, family: Family) -> String {
        let random = &mut *self.random;
        match family {
            Family::Bool => random.pick(&["true", "false", "CAST(NULL AS BOOLEAN)"]).to_string(),
            Family::Int => {
                let value = random.between(-10, 20);
                match random.below(10) {
                    0 => "CAST(NULL AS BIGINT)".into(),
                    1 => format!("CAST({value} AS TINYINT)"),
                    2 => format!("CAST({value} AS INT)"),
                    3 => format!("CAST({} AS INT UNSIGNED)", value.abs()),
                    4 => format!("{}", random.between(-1_000_000_000_000, 1_000_000_000_000)),
                    _ => format!("{value}"),
                }
            }
            Family::Float => match random.below(12) {
                0 => "CAST(NULL AS DOUBLE)".into(),
                1 => "CAST('NaN' AS DOUBLE)".into(),
                2 => "CAST('-0' AS DOUBLE)".into(),
                3 => "CAST('inf' AS DOUBLE)".into(),
                4 => format!("CAST({}.5 AS REAL)", random.between(-9, 9)),
                5 => "1e300".into(),
                6 | 7 => format!("{}e0", random.between(-9, 20)),
                _ => format!("CAST({} AS DOUBLE)", (random.unit() - 0.3) * 100.0),
            },
            Family::Decimal => match random.below(5) {
                0 => format!("CAST({} AS DECIMAL(5,2))", random.between(-9, 20)),
                1 => "CAST(NULL AS DECIMAL(15,2))".into(),
                2 => format!("CAST('{}.1234' AS DECIMAL(20,4))", random.between(-999, 999)),
                _ => format!("CAST('{}.07' AS DECIMAL(15,2))", random.between(-99, 99)),
            },
            Family::Text => {
                let words = [
                    "''",
                    "'a'",
                    "'A'",
                    "'ab'",
                    "'abc'",
                    "'b'",
                    "'äöü'",
                    "'日本'",
                    "'12'",
                    "'hello'",
                    "'a string that is certainly not inlined'",
                    "'%'",
                    "CAST(NULL AS VARCHAR)",
                    "'exactly12byt'",
                ];
                random.pick(&words).to_string()
            }
            Family::Date => random
                .pick(&[
                    "DATE '1970-01-01'",
                    "DATE '2000-02-29'",
                    "DATE '1969-12-31'",
                    "DATE '2024-12-31'",
                    "CAST(NULL AS DATE)",
                ])
                .to_string(),
            Family::Timestamp => random
                .pick(&[
                    "TIMESTAMP '1970-01-01 00:00:00'",
                    "TIMESTAMP '2000-02-29 23:59:59.999'",
                    "TIMESTAMP '1969-12-31 12:30:00'",
                    "CAST(NULL AS TIMESTAMP)",
                    "CAST('2010-06-15T01:02:03' AS TIMESTAMP(3))",
                ])
                .to_string(),
            Family::Time => {
                random.pick(&["TIME '00:00:00'", "TIME '12:34:56'", "TIME '23:59:59'"]).to_string()
            }
            Family::Passenger => "X'00ff'".into(),
        }
    }

    /// CASE, COALESCE, NULLIF and their like, of any family.
    pub(super) fn conditional(&mut self, family: Family, depth: usize) -> Expression {
        let d = depth - 1;
        match self.random.below(7) {
            0 | 1 => {
                let arguments = vec![
                    self.expression(Family::Bool, d),
                    self.expression(family, d),
                    self.expression(family, d),
                ];
                Expression::node(family, "CASE WHEN {0} THEN {1} ELSE {2} END", arguments).lazy()
            }
            2 => {
                let arguments = vec![
                    self.expression(Family::Bool, d),
                    self.expression(family, d),
                    self.expression(Family::Bool, d),
                    self.expression(family, d),
                ];
                Expression::node(family, "CASE WHEN {0} THEN {1} WHEN {2} THEN {3} END", arguments).lazy()
            }
            3 => {
                let key = *self.random.pick(&[Family::Int, Family::Text, Family::Int]);
                let (a, b) = (self.literal(key), self.literal(key));
                let arguments = vec![
                    self.expression(key, d),
                    self.expression(family, d),
                    self.expression(family, d),
                    self.expression(family, d),
                ];
                let template = format!("CASE {{0}} WHEN {a} THEN {{1}} WHEN {b} THEN {{2}} ELSE {{3}} END");
                Expression::node(family, &template, arguments).lazy()
            }
            4 => {
                let arguments =
                    vec![self.expression(family, d), self.expression(family, d), self.leaf(family)];
                Expression::node(family, "COALESCE({0}, {1}, {2})", arguments).lazy()
            }
            5 if family != Family::Int && family != Family::Passenger && self.random.chance(50) => {
                // Integers of different signs have a decimal in common.
                let arguments =
                    vec![self.expression(family, d), self.expression(family, d), self.leaf(family)];
                let template = *self.random.pick(&["greatest({0}, {1}, {2})", "least({0}, {1}, {2})"]);
                Expression::node(family, template, arguments)
            }
            5 => {
                let arguments = vec![self.expression(family, d), self.leaf(family)];
                Expression::node(family, "NULLIF({0}, {1})", arguments).lazy()
            }
            // The arm that divides by zero is not taken.
            _ if family == Family::Int => {
                let arguments = vec![self.expression(family, d), self.expression(family, d)];
                Expression::node(
                    family,
                    "CASE WHEN {1} = 0 THEN NULL WHEN {1} IS NULL THEN -1 ELSE {0} / {1} END",
                    arguments,
                )
                .lazy()
            }
            _ => {
                let arguments =
                    vec![self.expression(Family::Bool, d), self.leaf(family), self.expression(family, d)];
                Expression::node(family, "CASE WHEN NOT {0} THEN {1} ELSE {2} END", arguments).lazy()
            }
        }
    }

    /// A family whose values have an order.
    pub(super) fn comparable(&mut self) -> Family {
        *self.random.pick(&[
            Family::Int,
            Family::Int,
            Family::Int,
            Family::Float,
            Family::Float,
            Family::Decimal,
            Family::Text,
            Family::Text,
            Family::Date,
            Family::Timestamp,
            Family::Bool,
            Family::Time,
        ])
    }

    pub(super) fn boolean(&mut self, depth: usize) -> Expression {
        let d = depth - 1;
        let b = Family::Bool;
        match self.random.below(17) {
            0..=3 => {
                let family = self.comparable();
                let operator = *self.random.pick(&["=", "<>", "<", "<=", ">", ">="]);
                let arguments = vec![self.expression(family, d), self.expression(family, d)];
                Expression::node(b, &format!("({{0}} {operator} {{1}})"), arguments)
            }
            4 => {
                let pairs = [
                    (Family::Int, Family::Float),
                    (Family::Int, Family::Decimal),
                    (Family::Decimal, Family::Float),
                    (Family::Date, Family::Timestamp),
                ];
                let (x, y) = *self.random.pick(&pairs);
                let operator = *self.random.pick(&["=", "<", ">="]);
                let arguments = vec![self.expression(x, d), self.expression(y, d)];
                Expression::node(b, &format!("({{0}} {operator} {{1}})"), arguments)
            }
            5 | 6 => {
                let operator = *self.random.pick(&["AND", "OR"]);
                let arguments = vec![self.expression(b, d), self.expression(b, d)];
                Expression::node(b, &format!("({{0}} {operator} {{1}})"), arguments).lazy()
            }
            7 => {
                let argument = self.expression(b, d);
                let template = *self.random.pick(&[
                    "(NOT {0})",
                    "({0} IS TRUE)",
                    "({0} IS NOT TRUE)",
                    "({0} IS FALSE)",
                    "({0} IS NOT FALSE)",
                    "({0} IS UNKNOWN)",
                    "({0} IS NOT UNKNOWN)",
                ]);
                Expression::node(b, template, vec![argument])
            }
            8 => {
                let family = self.any_family();
                let argument = self.expression(family, d);
                let template = *self.random.pick(&["({0} IS NULL)", "({0} IS NOT NULL)"]);
                Expression::node(b, template, vec![argument])
            }
            9 => {
                let family = self.comparable();
                let arguments = vec![self.expression(family, d), self.expression(family, d)];
                let template =
                    *self.random.pick(&["({0} IS DISTINCT FROM {1})", "({0} IS NOT DISTINCT FROM {1})"]);
                Expression::node(b, template, arguments)
            }
            10 => {
                let family = self.comparable();
                let arguments = vec![self.expression(family, d), self.leaf(family), self.leaf(family)];
                let template =
                    *self.random.pick(&["({0} BETWEEN {1} AND {2})", "({0} NOT BETWEEN {1} AND {2})"]);
                Expression::node(b, template, arguments)
            }
            11 | 12 => {
                let family = *self.random.pick(&[
                    Family::Int,
                    Family::Int,
                    Family::Text,
                    Family::Text,
                    Family::Float,
                    Family::Date,
                    Family::Decimal,
                    Family::Timestamp,
                ]);
                let count = 1 + self.random.below(9);
                let mut list: Vec<String> = (0..count).map(|_| self.literal(family)).collect();
                if self.random.chance(15) {
                    list.push("NULL".into());
                }
                let not = *self.random.pick(&["", "NOT "]);
                let argument = self.expression(family, d);
                Expression::node(b, &format!("({{0}} {not}IN ({}))", list.join(", ")), vec![argument])
            }
            13 | 14 => {
                let argument = self.expression(Family::Text, d);
                let pattern = *self.random.pick(&[
                    "a%",
                    "%a",
                    "%b%",
                    "a_c",
                    "_",
                    "%",
                    "",
                    "abc",
                    "a%c",
                    "%ö%",
                    "日%",
                    "A%",
                    "hello%",
                    "%long",
                    "a\\%b",
                    "__",
                    "%string%not%",
                    "_b%",
                ]);
                let operator = *self.random.pick(&["LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE"]);
                Expression::node(b, &format!("({{0}} {operator} '{pattern}')"), vec![argument])
            }
            15 => match self.random.below(4) {
                0 => {
                    let arguments = vec![self.expression(Family::Text, d), self.leaf(Family::Text)];
                    let template = *self.random.pick(&[
                        "starts_with({0}, {1})",
                        "ends_with({0}, {1})",
                        "contains({0}, {1})",
                    ]);
                    Expression::node(b, template, arguments)
                }
                1 => {
                    let argument = self.expression(Family::Float, d);
                    Expression::node(b, "isnan({0})", vec![argument])
                }
                2 => {
                    let argument = self.expression(Family::Int, d);
                    Expression::node(b, "CAST({0} AS BOOLEAN)", vec![argument])
                }
                // libm, because a comparison sees it.
                _ => {
                    let arguments = vec![self.transcendental(d.min(1)), self.leaf(Family::Float)];
                    Expression::node(b, "({0} > {1})", arguments)
                }
            },
            _ => self.leaf(b),
        }
    }
}
