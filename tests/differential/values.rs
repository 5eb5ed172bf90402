//! Random expressions that give a value of one family: numbers, text, dates and times. Booleans and what
//! chooses among values are in `expressions`.

use super::expressions::{Expression, Generator};
use super::tables::Family;

impl Generator<'_> {
    pub(super) fn integer(&mut self, depth: usize) -> Expression {
        let d = depth - 1;
        let i = Family::Int;
        match self.random.below(17) {
            0..=4 => {
                let operator = *self.random.pick(&["+", "-", "*", "+", "-"]);
                let arguments = vec![self.expression(i, d), self.expression(i, d)];
                Expression::node(i, &format!("({{0}} {operator} {{1}})"), arguments)
            }
            5 | 6 => {
                let operator = *self.random.pick(&["/", "%"]);
                let template = match self.random.below(8) {
                    0 => format!("({{0}} {operator} {{1}})"),
                    1..=3 => format!("({{0}} {operator} NULLIF({{1}}, 0))"),
                    _ => {
                        let divisor = *self.random.pick(&["2", "3", "7", "10", "-3", "1", "8", "1000"]);
                        let argument = self.expression(i, d);
                        let template = format!("({{0}} {operator} {divisor})");
                        return Expression::node(i, &template, vec![argument]);
                    }
                };
                let arguments = vec![self.expression(i, d), self.expression(i, d)];
                Expression::node(i, &template, arguments)
            }
            7 => {
                let argument = self.expression(i, d);
                let template = *self.random.pick(&["(- {0})", "abs({0})", "abs(({0}) % 1000)"]);
                Expression::node(i, template, vec![argument])
            }
            8 => {
                let operator = *self.random.pick(&["&", "|", "^"]);
                let arguments = vec![self.expression(i, d), self.expression(i, d)];
                Expression::node(i, &format!("({{0}} {operator} {{1}})"), arguments)
            }
            9 => {
                let argument = self.expression(i, d);
                let shift = self.random.below(9);
                let operator = *self.random.pick(&["<<", ">>"]);
                Expression::node(i, &format!("(CAST({{0}} AS BIGINT) {operator} {shift})"), vec![argument])
            }
            10..=12 => {
                let from = *self.random.pick(&[
                    Family::Int,
                    Family::Int,
                    Family::Float,
                    Family::Decimal,
                    Family::Bool,
                    Family::Text,
                ]);
                let to = *self.random.pick(&[
                    "TINYINT",
                    "SMALLINT",
                    "INT",
                    "BIGINT",
                    "BIGINT",
                    "TINYINT UNSIGNED",
                    "SMALLINT UNSIGNED",
                    "INT UNSIGNED",
                    "BIGINT UNSIGNED",
                ]);
                // A plain cast into a wide type seldom errs, into a narrow one often.
                let wide = to == "BIGINT" && matches!(from, Family::Int | Family::Bool);
                let cast = if wide || self.random.chance(15) { "CAST" } else { "TRY_CAST" };
                let argument = self.expression(from, d);
                Expression::node(i, &format!("{cast}({{0}} AS {to})"), vec![argument])
            }
            13 => {
                let argument = self.expression(Family::Text, d);
                let template = *self.random.pick(&[
                    "length({0})",
                    "character_length({0})",
                    "octet_length({0})",
                    "strpos({0}, 'b')",
                    "ascii({0})",
                ]);
                Expression::node(i, template, vec![argument])
            }
            14 | 15 => {
                let (from, parts): (_, &[&str]) = if self.random.chance(40) {
                    (Family::Date, &["year", "month", "day", "dow", "doy", "quarter", "week", "isodow"])
                } else {
                    (
                        Family::Timestamp,
                        &[
                            "year",
                            "month",
                            "day",
                            "hour",
                            "minute",
                            "second",
                            "millisecond",
                            "microsecond",
                            "dow",
                            "doy",
                            "quarter",
                            "week",
                        ],
                    )
                };
                let part = *self.random.pick(parts);
                let argument = self.expression(from, d);
                Expression::node(i, &format!("extract({part} FROM {{0}})"), vec![argument])
            }
            // Rounding makes an integer of what libm gave: exact.
            _ => {
                let argument = self.transcendental(d.min(1));
                Expression::node(i, "TRY_CAST(({0} * 100) AS BIGINT)", vec![argument])
            }
        }
    }

    pub(super) fn float(&mut self, depth: usize) -> Expression {
        let d = depth - 1;
        let f = Family::Float;
        match self.random.below(14) {
            0..=5 => {
                let operator = *self.random.pick(&["+", "-", "*", "/", "+", "*", "%"]);
                let arguments = vec![self.expression(f, d), self.expression(f, d)];
                Expression::node(f, &format!("({{0}} {operator} {{1}})"), arguments)
            }
            6 => {
                let operator = *self.random.pick(&["+", "-", "*"]);
                let other = *self.random.pick(&[Family::Int, Family::Int, Family::Decimal]);
                let arguments = vec![self.expression(f, d), self.expression(other, d)];
                Expression::node(f, &format!("({{0}} {operator} {{1}})"), arguments)
            }
            7..=9 => {
                let argument = self.expression(f, d);
                let template = *self.random.pick(&[
                    "(- {0})",
                    "abs({0})",
                    "floor({0})",
                    "ceil({0})",
                    "round({0})",
                    "round({0}, 2)",
                    "trunc({0})",
                    "sqrt({0})",
                    "sqrt(abs({0}))",
                    "signum({0})",
                    "floor({0} / 10)",
                ]);
                Expression::node(f, template, vec![argument])
            }
            10..=12 => {
                let from = *self.random.pick(&[
                    Family::Int,
                    Family::Int,
                    Family::Float,
                    Family::Decimal,
                    Family::Text,
                ]);
                let to = *self.random.pick(&["DOUBLE", "DOUBLE", "REAL"]);
                let cast = if from == Family::Text { "TRY_CAST" } else { "CAST" };
                let argument = self.expression(from, d);
                Expression::node(f, &format!("{cast}({{0}} AS {to})"), vec![argument])
            }
            _ => {
                let argument = self.transcendental(d.min(1));
                let template = *self.random.pick(&["floor({0})", "round({0})", "ceil({0} * 10)"]);
                Expression::node(f, template, vec![argument])
            }
        }
    }

    pub(super) fn decimal(&mut self, depth: usize) -> Expression {
        let d = depth - 1;
        let f = Family::Decimal;
        match self.random.below(10) {
            0..=4 => {
                let operator = *self.random.pick(&["+", "-", "*", "+", "-"]);
                let other = *self.random.pick(&[f, f, f, Family::Int]);
                // Products grow; leaves keep most of them within 38 digits.
                let arguments = if operator == "*" {
                    vec![self.leaf(f), self.leaf(other)]
                } else {
                    vec![self.expression(f, d), self.expression(other, d.min(1))]
                };
                Expression::node(f, &format!("({{0}} {operator} {{1}})"), arguments)
            }
            5 => {
                let operator = *self.random.pick(&["/", "%"]);
                let arguments = vec![self.leaf(f), self.leaf(f)];
                Expression::node(f, &format!("({{0}} {operator} NULLIF({{1}}, 0))"), arguments)
            }
            6 => {
                let argument = self.expression(f, d);
                let template =
                    *self.random.pick(&["(- {0})", "abs({0})", "round({0}, 1)", "floor({0})", "ceil({0})"]);
                Expression::node(f, template, vec![argument])
            }
            _ => {
                let from = *self.random.pick(&[Family::Int, Family::Decimal, Family::Float, Family::Text]);
                let to = *self.random.pick(&[
                    "DECIMAL(15,2)",
                    "DECIMAL(10,0)",
                    "DECIMAL(20,6)",
                    "DECIMAL(38,4)",
                    "DECIMAL(4,1)",
                ]);
                let cast = if self.random.chance(15) { "CAST" } else { "TRY_CAST" };
                let argument = self.expression(from, d);
                Expression::node(f, &format!("{cast}({{0}} AS {to})"), vec![argument])
            }
        }
    }

    pub(super) fn text(&mut self, depth: usize) -> Expression {
        let d = depth - 1;
        let t = Family::Text;
        match self.random.below(8) {
            0..=2 => {
                let argument = self.expression(t, d);
                let template = *self.random.pick(&[
                    "substr({0}, 2)",
                    "substr({0}, 1, 3)",
                    "substr({0}, 3, 0)",
                    "substr({0}, 100)",
                    "substr({0}, -1, 4)",
                    "left({0}, 2)",
                    "right({0}, 2)",
                ]);
                Expression::node(t, template, vec![argument])
            }
            3 => {
                let arguments = vec![self.expression(t, d), self.expression(Family::Int, d.min(1))];
                Expression::node(t, "substr({0}, ({1}) % 20)", arguments)
            }
            4 => {
                let argument = self.expression(t, d);
                let template = *self.random.pick(&[
                    "upper({0})",
                    "lower({0})",
                    "trim({0})",
                    "reverse({0})",
                    "replace({0}, 'a', 'xy')",
                    "md5({0})",
                ]);
                Expression::node(t, template, vec![argument])
            }
            5 => {
                let arguments = vec![self.expression(t, d), self.leaf(t)];
                let template = *self.random.pick(&["({0} || {1})", "concat({0}, '-', {1})"]);
                Expression::node(t, template, arguments)
            }
            6 => {
                let from = *self.random.pick(&[Family::Int, Family::Date, Family::Bool]);
                let argument = self.expression(from, d);
                Expression::node(t, "CAST({0} AS VARCHAR)", vec![argument])
            }
            _ => self.leaf(t),
        }
    }

    pub(super) fn date(&mut self, depth: usize) -> Expression {
        let d = depth - 1;
        match self.random.below(4) {
            0 | 1 => {
                let argument = self.expression(Family::Timestamp, d);
                Expression::node(Family::Date, "CAST({0} AS DATE)", vec![argument])
            }
            2 => {
                let argument = self.expression(Family::Date, d);
                let template = *self.random.pick(&[
                    "({0} + INTERVAL '1 day')",
                    "({0} - INTERVAL '1 month')",
                    "(INTERVAL '13 months 40 days' + {0})",
                    "({0} - INTERVAL '50 hours')",
                ]);
                Expression::node(Family::Date, template, vec![argument])
            }
            _ => self.leaf(Family::Date),
        }
    }

    pub(super) fn timestamp(&mut self, depth: usize) -> Expression {
        let d = depth - 1;
        let t = Family::Timestamp;
        match self.random.below(6) {
            0 | 1 => {
                let from = if self.random.chance(70) { t } else { Family::Date };
                let part = *self.random.pick(&[
                    "year",
                    "quarter",
                    "month",
                    "week",
                    "day",
                    "hour",
                    "minute",
                    "second",
                    "millisecond",
                ]);
                let argument = self.expression(from, d);
                Expression::node(t, &format!("date_trunc('{part}', {{0}})"), vec![argument])
            }
            2 => {
                let argument = self.expression(Family::Date, d);
                Expression::node(t, "CAST({0} AS TIMESTAMP)", vec![argument])
            }
            3 => {
                let unit = *self.random.pick(&["0", "3", "6", "9"]);
                let argument = self.expression(t, d);
                Expression::node(t, &format!("CAST({{0}} AS TIMESTAMP({unit}))"), vec![argument])
            }
            4 => {
                let argument = self.expression(t, d);
                let template = *self.random.pick(&[
                    "({0} + INTERVAL '90 minutes')",
                    "({0} - INTERVAL '1 month 3 days 0.001 seconds')",
                    "({0} + INTERVAL '11 months')",
                ]);
                Expression::node(t, template, vec![argument])
            }
            _ => self.leaf(t),
        }
    }

    pub(super) fn time(&mut self, depth: usize) -> Expression {
        if self.random.chance(50) {
            let argument = self.expression(Family::Timestamp, depth - 1);
            return Expression::node(Family::Time, "CAST({0} AS TIME)", vec![argument]);
        }
        self.leaf(Family::Time)
    }
}
