//! The pipelines of the suite `loops`: a query, its columns, and the hand-written formulations of it.

use crate::data::Kind;

/// What fuseline's answer is compared with.
#[derive(Clone, Copy)]
pub enum Answer {
    /// The query gives one number, which the hand-written loop returns.
    Number,
    /// The query gives rows; the loop returns how many it wrote.
    Rows,
}

pub struct Pipeline {
    pub name: &'static str,
    /// Over a table `t` with the columns below.
    pub sql: &'static str,
    pub columns: &'static [(&'static str, Kind)],
    /// Names of the formulations in `handwritten.rs`.
    pub hand: &'static [&'static str],
    pub answer: Answer,
    /// Bytes that a row costs at least, read and written, for the memory limit.
    pub bytes: f64,
}

pub const PIPELINES: &[Pipeline] = &[
    Pipeline {
        name: "q6 filter + sum",
        sql: "select sum(price * disc) from t where date >= date '1994-01-01' \
              and date < date '1995-01-01' and disc between 0.05 and 0.07 and qty < 24",
        columns: &[
            ("date", Kind::Date),
            ("disc", Kind::Discount),
            ("qty", Kind::Quantity),
            ("price", Kind::Price),
        ],
        hand: &["q6_a", "q6_b", "q6_c"],
        answer: Answer::Number,
        bytes: 28.0,
    },
    Pipeline {
        name: "25 % filter + project",
        sql: "select a * b + 1 as x from t where c < 0.25",
        columns: &[("a", Kind::Unit), ("b", Kind::Unit), ("c", Kind::Unit)],
        hand: &["filter_project_a", "filter_project_b", "filter_project_c"],
        answer: Answer::Rows,
        bytes: 26.0,
    },
    Pipeline {
        name: "a * b + a - b / 2",
        sql: "select a * b + a - b / 2 as x from t",
        columns: &[("a", Kind::Unit), ("b", Kind::Unit)],
        hand: &["arithmetic_a"],
        answer: Answer::Rows,
        bytes: 24.0,
    },
    Pipeline {
        name: "count k % 2 = 1",
        sql: "select count(*) from t where k % 2 = 1",
        columns: &[("k", Kind::Long)],
        hand: &["count_odd_a", "count_odd_b", "count_odd_c"],
        answer: Answer::Number,
        bytes: 8.0,
    },
    Pipeline {
        name: "case",
        sql: "select sum(case when k < 30 then a when k < 60 then b else a * b end) from t",
        columns: &[("k", Kind::Percent), ("a", Kind::Unit), ("b", Kind::Unit)],
        hand: &["case_a", "case_b"],
        answer: Answer::Number,
        bytes: 20.0,
    },
    Pipeline {
        name: "in list",
        sql: "select count(*) from t where k in (3, 17, 29, 41, 58, 66, 83, 97)",
        columns: &[("k", Kind::Percent)],
        hand: &["in_list_a", "in_list_b", "in_list_c"],
        answer: Answer::Number,
        bytes: 4.0,
    },
    Pipeline {
        name: "decimal projection",
        sql: "select price * (1 - disc) * (1 + tax) as x from t",
        columns: &[("price", Kind::DecimalPrice), ("disc", Kind::DecimalPart), ("tax", Kind::DecimalPart)],
        hand: &["decimal_a", "decimal_b"],
        answer: Answer::Rows,
        bytes: 64.0,
    },
    Pipeline {
        name: "nullable sum",
        sql: "select sum(a) from t",
        columns: &[("a", Kind::Nullable)],
        hand: &["nullable_sum_a", "nullable_sum_b"],
        answer: Answer::Number,
        bytes: 8.125,
    },
];
