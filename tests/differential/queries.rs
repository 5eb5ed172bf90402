//! Random queries over a random table, as trees that can shrink.
//!
//! Shapes: a projection with or without a filter and LIMIT; a derived table whose filter and computed
//! column feed a second filter and projection (several loops, or one); ungrouped aggregates with a WHERE
//! and FILTER clauses; the same by one to three groups; projections
//! sorted by computed keys. Projections return `rid`. A float sum or average brings with it the sum of
//! absolute values and the count that its error bound needs, computed by the same query.

use super::expressions::{Allowance, Expression, Generator};
use super::random::Random;
use super::tables::{Family, Table};

/// How an output column is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    Value(Allowance),
    /// A float sum; the next two columns hold the sum of absolute values and the count.
    Sum,
    /// A float average; as above.
    Average,
    /// Minimum and maximum: the sign of a zero depends on the order of rows.
    Extreme,
    /// Serves the bound of the columns before it.
    Bound,
}

#[derive(Clone, Debug)]
pub struct Output {
    pub expression: Expression,
    pub rule: Rule,
}

#[derive(Clone, Debug)]
pub enum Shape {
    Rows,
    /// Rows in the order of this key, and among equals of `rid`.
    Sorted(Expression),
    Aggregate,
    /// By these keys, which come first in the answer. Not floats: NaNs of different bits are different groups
    /// that look the same.
    Grouped(Vec<Expression>),
}

#[derive(Clone, Debug)]
pub struct Query {
    pub shape: Shape,
    pub outputs: Vec<Output>,
    pub filter: Option<Expression>,
    /// Filter and computed column `d` of a derived table below.
    pub derived: Option<(Option<Expression>, Expression)>,
    /// LIMIT and OFFSET.
    pub limit: Option<(usize, usize)>,
}

impl Query {
    pub fn random(random: &mut Random, table: &Table) -> Self {
        let depth = 1 + random.below(4);
        let mut generator = Generator::new(random, table);
        let derived = generator.random.chance(25).then(|| {
            let filter =
                generator.random.chance(70).then(|| generator.expression(Family::Bool, depth.min(2)));
            let family = generator.any_family();
            let computed = generator.expression(family, depth);
            generator.scope.push(("d".into(), family));
            (filter, computed)
        });
        let filter = generator.random.chance(60).then(|| generator.expression(Family::Bool, depth));
        if generator.random.chance(40) {
            let mut groups = Vec::new();
            if generator.random.chance(50) {
                for _ in 0..1 + generator.random.below(3) {
                    let family = *generator.random.pick(&SORTED);
                    // Mostly columns: few groups of several rows.
                    let depth = if generator.random.chance(60) { 0 } else { depth.min(2) };
                    groups.push(generator.expression(family, depth));
                }
            }
            let mut outputs = Vec::new();
            for _ in 0..1 + generator.random.below(3) {
                outputs.extend(aggregate(&mut generator, depth.min(3), !groups.is_empty()));
            }
            let shape = if groups.is_empty() { Shape::Aggregate } else { Shape::Grouped(groups) };
            return Self { shape, outputs, filter, derived, limit: None };
        }
        let outputs = (0..1 + generator.random.below(4))
            .map(|_| {
                let (expression, allowance) = generator.output(depth);
                Output { expression, rule: Rule::Value(allowance) }
            })
            .collect();
        let limit = generator.random.chance(8).then(|| {
            let offset = if generator.random.chance(30) { generator.random.below(20) } else { 0 };
            (generator.random.below(100), offset)
        });
        let shape = if limit.is_none() && generator.random.chance(20) {
            let family = *generator.random.pick(&SORTED);
            Shape::Sorted(generator.expression(family, depth.min(3)))
        } else {
            Shape::Rows
        };
        Self { shape, outputs, filter, derived, limit }
    }

    pub fn sql(&self) -> String {
        self.with_limit(self.limit)
    }

    /// The same query without its LIMIT: what its rows must come from.
    pub fn unlimited(&self) -> String {
        self.with_limit(None)
    }

    fn with_limit(&self, limit: Option<(usize, usize)>) -> String {
        let mut sql = String::from("SELECT ");
        match &self.shape {
            Shape::Rows | Shape::Sorted(_) => sql += "rid, ",
            Shape::Grouped(keys) => {
                for (i, key) in keys.iter().enumerate() {
                    sql += &format!("{} AS g{i}, ", key.sql());
                }
            }
            Shape::Aggregate => {}
        }
        let outputs: Vec<String> =
            self.outputs.iter().enumerate().map(|(i, o)| format!("{} AS o{i}", o.expression.sql())).collect();
        sql += &outputs.join(", ");
        match &self.derived {
            None => sql += " FROM t",
            Some((filter, computed)) => {
                sql += &format!(" FROM (SELECT *, {} AS d FROM t", computed.sql());
                if let Some(filter) = filter {
                    sql += &format!(" WHERE {}", filter.sql());
                }
                sql += ") s";
            }
        }
        if let Some(filter) = &self.filter {
            sql += &format!(" WHERE {}", filter.sql());
        }
        match &self.shape {
            Shape::Sorted(key) => sql += &format!(" ORDER BY {}, rid", key.sql()),
            Shape::Grouped(keys) => {
                // By position: a constant stays one.
                let keys: Vec<String> = (1..=keys.len()).map(|i| i.to_string()).collect();
                sql += &format!(" GROUP BY {}", keys.join(", "));
            }
            Shape::Rows | Shape::Aggregate => {}
        }
        if let Some((count, offset)) = limit {
            sql += &format!(" LIMIT {count}");
            if offset > 0 {
                sql += &format!(" OFFSET {offset}");
            }
        }
        sql
    }

    /// Whether some rows are excluded from some expression, so that unfused may err where fused need not.
    pub fn is_lazy(&self) -> bool {
        self.filter.is_some()
            || self.limit.is_some()
            || self.keys().iter().any(Expression::is_lazy)
            || self.outputs.iter().any(|o| o.expression.is_lazy())
            || self.derived.as_ref().is_some_and(|(filter, computed)| filter.is_some() || computed.is_lazy())
    }

    fn keys(&self) -> &[Expression] {
        match &self.shape {
            Shape::Sorted(key) => std::slice::from_ref(key),
            Shape::Grouped(keys) => keys,
            Shape::Rows | Shape::Aggregate => &[],
        }
    }

    /// Every query that is this one made simpler in one place, the boldest cuts first.
    pub fn simpler(&self) -> Vec<Query> {
        let mut found = Vec::new();
        if self.outputs.len() > 1
            && self.outputs.iter().all(|o| matches!(o.rule, Rule::Value(_) | Rule::Extreme))
        {
            for i in 0..self.outputs.len() {
                let mut query = self.clone();
                query.outputs = vec![self.outputs[i].clone()];
                found.push(query);
            }
        }
        match &self.shape {
            Shape::Sorted(key) => {
                found.push(Self { shape: Shape::Rows, ..self.clone() });
                found.extend(
                    key.simpler().into_iter().map(|k| Self { shape: Shape::Sorted(k), ..self.clone() }),
                );
            }
            Shape::Grouped(keys) => {
                found.push(Self { shape: Shape::Aggregate, ..self.clone() });
                for i in 0..keys.len() {
                    if keys.len() > 1 {
                        let mut fewer = keys.clone();
                        fewer.remove(i);
                        found.push(Self { shape: Shape::Grouped(fewer), ..self.clone() });
                    }
                    for simpler in keys[i].simpler() {
                        let mut keys = keys.clone();
                        keys[i] = simpler;
                        found.push(Self { shape: Shape::Grouped(keys), ..self.clone() });
                    }
                }
            }
            Shape::Rows | Shape::Aggregate => {}
        }
        if self.limit.is_some() {
            found.push(Self { limit: None, ..self.clone() });
        }
        if self.filter.is_some() {
            found.push(Self { filter: None, ..self.clone() });
        }
        if let Some((filter, computed)) = &self.derived {
            found.push(Self { derived: None, ..self.clone() });
            if filter.is_some() {
                found.push(Self { derived: Some((None, computed.clone())), ..self.clone() });
            }
            for simpler in computed.simpler() {
                found.push(Self { derived: Some((filter.clone(), simpler)), ..self.clone() });
            }
            if let Some(filter) = filter {
                for simpler in filter.simpler() {
                    found.push(Self { derived: Some((Some(simpler), computed.clone())), ..self.clone() });
                }
            }
        }
        if let Some(filter) = &self.filter {
            for simpler in filter.simpler() {
                found.push(Self { filter: Some(simpler), ..self.clone() });
            }
        }
        for i in 0..self.outputs.len() {
            if !matches!(self.outputs[i].rule, Rule::Value(Allowance::Exact)) {
                continue;
            }
            for simpler in self.outputs[i].expression.simpler() {
                let mut query = self.clone();
                query.outputs[i].expression = simpler;
                found.push(query);
            }
        }
        found
    }
}

/// Families of sort keys. Not floats: the sign of a NaN is nobody's business, but decides its place.
const SORTED: [Family; 7] =
    [Family::Int, Family::Int, Family::Text, Family::Decimal, Family::Date, Family::Timestamp, Family::Bool];

/// One aggregate, with the columns that its comparison needs. By group, DataFusion's minimum and maximum of
/// floats depend on the order of rows where there are NaNs, and know no infinity.
fn aggregate(generator: &mut Generator<'_>, depth: usize, by_group: bool) -> Vec<Output> {
    let clause = if generator.random.chance(25) {
        Some(generator.expression(Family::Bool, depth.min(2)))
    } else {
        None
    };
    let build = |family: Family, call: &str, argument: Option<&Expression>| {
        let mut arguments: Vec<Expression> = argument.cloned().into_iter().collect();
        let mut template = call.to_string();
        if let Some(clause) = &clause {
            template += &format!(" FILTER (WHERE {{{}}})", arguments.len());
            arguments.push(clause.clone());
        }
        let mut expression = Expression::node(family, &template, arguments);
        expression.lazy = clause.is_some();
        expression
    };
    let exact = Rule::Value(Allowance::Exact);
    match generator.random.below(10) {
        0 => vec![Output { expression: build(Family::Int, "count(*)", None), rule: exact }],
        1 => {
            let family = generator.any_family();
            let argument = generator.expression(family, depth);
            vec![Output { expression: build(Family::Int, "count({0})", Some(&argument)), rule: exact }]
        }
        2..=4 => {
            let family = *generator.random.pick(&[
                Family::Int,
                Family::Float,
                Family::Float,
                Family::Decimal,
                Family::Date,
                Family::Timestamp,
                Family::Text,
                Family::Text,
                Family::Bool,
                Family::Time,
            ]);
            let family = if by_group && family == Family::Float { Family::Int } else { family };
            let calls: &[&str] = match family {
                Family::Bool => &["min({0})", "max({0})", "bool_and({0})", "bool_or({0})"],
                _ => &["min({0})", "max({0})"],
            };
            let call = *generator.random.pick(calls);
            let argument = generator.expression(family, depth);
            let rule = if family == Family::Float { Rule::Extreme } else { exact };
            vec![Output { expression: build(family, call, Some(&argument)), rule }]
        }
        5 | 6 => {
            let family = *generator.random.pick(&[Family::Int, Family::Int, Family::Decimal]);
            let argument = generator.expression(family, depth);
            let mut found =
                vec![Output { expression: build(family, "sum({0})", Some(&argument)), rule: exact }];
            // The average of integers is a sum of floats divided.
            if family == Family::Int && generator.random.chance(50) {
                let argument = Expression::node(Family::Float, "CAST({0} AS DOUBLE)", vec![argument]);
                found.extend(bounded(&build, "avg({0})", &argument, Rule::Average));
            }
            found
        }
        7 => {
            let argument = generator.expression(Family::Decimal, depth);
            vec![Output { expression: build(Family::Decimal, "avg({0})", Some(&argument)), rule: exact }]
        }
        8 => {
            let argument = generator.expression(Family::Float, depth);
            bounded(&build, "avg({0})", &argument, Rule::Average)
        }
        _ => {
            let argument = generator.expression(Family::Float, depth);
            bounded(&build, "sum({0})", &argument, Rule::Sum)
        }
    }
}

/// A float aggregate with the columns of its bound.
fn bounded(
    build: &impl Fn(Family, &str, Option<&Expression>) -> Expression,
    call: &str,
    argument: &Expression,
    rule: Rule,
) -> Vec<Output> {
    [(call, rule), ("sum(abs({0}))", Rule::Bound), ("count({0})", Rule::Bound)]
        .into_iter()
        .map(|(call, rule)| Output { expression: build(Family::Float, call, Some(argument)), rule })
        .collect()
}
