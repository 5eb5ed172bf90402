//! A tree of inner joins as tables, keys that are equal, and conditions; and back.
//!
//! ```text
//! nation.key = supplier.nation, supplier.nation = customer.nation     one class of equal columns, of which
//!                                                                    nation has 25: no more keys are there
//! ```
//!
//! Keys that are equal by transitivity are equal, so columns form classes. Two parts of the tables can be
//! joined when they share one, and the rows that this leaves are estimated as all pairs over the different
//! keys of the class: as many as its smallest table has without filters, or as the range of a column has.
//!
//! Conditions of more than keys are applied where all their columns are there if they cannot fail, and
//! otherwise when all is joined, so that they fail on no more rows than before.

use super::Plan;
use super::conditions::{Condition, cannot_fail, join_filter, over, used};
use super::estimate::{Estimate, different, estimate};
use super::tree::{as_semi, is_plain_inner, leads_to_join};
use datafusion::common::{JoinSide, JoinType, NullEquality, Result, internal_err};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use std::collections::HashSet;
use std::sync::Arc;

/// What a row of a table that is built costs more than one that passes by.
const BUILD: f64 = 4.0;
/// A new order must be so much better.
const BETTER: f64 = 0.8;
/// A semi join that keeps less than this of a table goes down to it.
const SELECTIVE: f64 = 0.5;
/// The most tables: sets of them are bits.
const MOST_TABLES: usize = 32;

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Col {
    pub table: usize,
    pub column: usize,
}

type Set = u64;

struct Table {
    plan: Plan,
    of: Estimate,
}

/// Rows are kept whose keys a plan has.
struct Semi {
    plan: Plan,
    of: Estimate,
    keys: Vec<(Col, usize)>,
}

#[derive(Clone, Debug)]
enum Tree {
    Table(usize),
    Join { build: Box<Tree>, probe: Box<Tree> },
}

pub(super) struct Graph {
    root: Plan,
    tables: Vec<Table>,
    equal: Vec<(Col, Col)>,
    conditions: Vec<Condition>,
    semis: Vec<Semi>,
    outputs: Vec<Col>,
    /// As DataFusion has it.
    tree: Tree,
    /// Columns that are equal, and how many different values they have.
    classes: Vec<(Vec<Col>, f64)>,
}

/// What a part of the tables comes to.
#[derive(Clone, Copy)]
struct Part {
    tables: Set,
    rows: f64,
    cost: f64,
}

impl Graph {
    /// `None`: the plan is no tree of inner joins.
    pub(super) fn of(plan: &Plan) -> Option<Graph> {
        let mut graph = Graph {
            root: Arc::clone(plan),
            tables: vec![],
            equal: vec![],
            conditions: vec![],
            semis: vec![],
            outputs: vec![],
            tree: Tree::Table(0),
            classes: vec![],
        };
        if !leads_to_join(plan) {
            return None;
        }
        (graph.outputs, graph.tree) = graph.take(plan)?;
        let enough = (2..=MOST_TABLES).contains(&graph.tables.len());
        enough.then_some(graph)
    }

    /// Takes a node apart: its columns and its tree.
    fn take(&mut self, plan: &Plan) -> Option<(Vec<Col>, Tree)> {
        if plan.fetch().is_none() {
            if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
                if is_plain_inner(join) {
                    return self.take_inner(join);
                }
                if let Some((main, subquery, keys)) = as_semi(join) {
                    let (cols, tree) = self.take(main)?;
                    let keys = keys.into_iter().map(|(m, s)| (cols[m], s)).collect();
                    let of = Estimate { rows: 1.0, base: 1.0 };
                    self.semis.push(Semi { plan: Arc::clone(subquery), of, keys });
                    return Some((projected(cols, &join.projection.as_deref().map(<[usize]>::to_vec)), tree));
                }
            }
            if leads_to_join(plan) {
                if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
                    let (cols, tree) = self.take(projection.input())?;
                    let column =
                        |e: &ProjectionExpr| e.expr.downcast_ref::<Column>().map(|c| cols[c.index()]);
                    return Some((projection.expr().iter().map(column).collect::<Option<_>>()?, tree));
                }
                if let Some(filter) = plan.downcast_ref::<FilterExec>() {
                    let (cols, tree) = self.take(filter.input())?;
                    self.condition(filter.predicate(), cols.clone());
                    let projection = filter.projection().as_ref().map(|p| p.to_vec());
                    return Some((projected(cols, &projection), tree));
                }
            }
        }
        let table = self.tables.len();
        self.tables.push(Table { plan: Arc::clone(plan), of: Estimate { rows: 1.0, base: 1.0 } });
        let cols = (0..plan.schema().fields().len()).map(|column| Col { table, column }).collect();
        Some((cols, Tree::Table(table)))
    }

    fn take_inner(&mut self, join: &HashJoinExec) -> Option<(Vec<Col>, Tree)> {
        let (left, build) = self.take(join.left())?;
        let (right, probe) = self.take(join.right())?;
        for (l, r) in join.on() {
            let l = left[l.downcast_ref::<Column>()?.index()];
            let r = right[r.downcast_ref::<Column>()?.index()];
            self.equal.push((l, r));
        }
        if let Some(filter) = join.filter() {
            let cols = filter.column_indices().iter().map(|at| match at.side {
                JoinSide::Left => Some(left[at.index]),
                JoinSide::Right => Some(right[at.index]),
                JoinSide::None => None,
            });
            self.condition(filter.expression(), cols.collect::<Option<_>>()?);
        }
        let cols = left.into_iter().chain(right).collect();
        let projection = join.projection.as_ref().map(|p| p.to_vec());
        let tree = Tree::Join { build: Box::new(build), probe: Box::new(probe) };
        Some((projected(cols, &projection), tree))
    }

    fn condition(&mut self, expr: &Arc<dyn PhysicalExpr>, cols: Vec<Col>) {
        for conjunct in datafusion::physical_expr::split_conjunction(expr) {
            let expr = Arc::clone(conjunct);
            let mut condition = Condition { expr, cols: cols.clone(), early: false };
            // One of no column has no place of its own.
            condition.early = cannot_fail(&condition.expr) && used(&condition).next().is_some();
            self.conditions.push(condition);
        }
    }

    /// Everything that is joined, to be rewritten itself.
    pub(super) fn tables_mut(&mut self) -> impl Iterator<Item = &mut Plan> {
        self.tables.iter_mut().map(|t| &mut t.plan).chain(self.semis.iter_mut().map(|s| &mut s.plan))
    }

    /// The same, as it is now.
    pub(super) fn plans(&self) -> (Vec<Plan>, Vec<Plan>) {
        let tables = self.tables.iter().map(|t| Arc::clone(&t.plan)).collect();
        (tables, self.semis.iter().map(|s| Arc::clone(&s.plan)).collect())
    }

    pub(super) fn estimate(&mut self) {
        for table in &mut self.tables {
            table.of = estimate(&table.plan);
        }
        for semi in &mut self.semis {
            semi.of = estimate(&semi.plan);
        }
        let mut classes: Vec<Vec<Col>> = vec![];
        for (a, b) in &self.equal {
            let mut merged = vec![*a, *b];
            classes.retain(|class| {
                let shares = class.contains(a) || class.contains(b);
                if shares {
                    merged.extend(class.iter().filter(|c| *c != a && *c != b));
                }
                !shares
            });
            classes.push(merged);
        }
        let keys = |class: &[Col]| {
            let of = |c: &Col| {
                let table = &self.tables[c.table];
                different(&table.plan, c.column).unwrap_or(f64::MAX).min(table.of.base)
            };
            class.iter().map(of).fold(f64::MAX, f64::min)
        };
        self.classes = classes.into_iter().map(|c| (keys(&c).max(1.0), c)).map(|(k, c)| (c, k)).collect();
    }

    /// Of all tables.
    pub(super) fn rows(&self) -> f64 {
        self.tables.iter().map(|t| t.of.base).sum()
    }

    /// The plan in a better order; `None`: it is as good as it is.
    ///
    /// # Errors
    /// Those of making its operators.
    pub(super) fn ordered(&mut self) -> Result<Option<Plan>> {
        if !self.is_simple() {
            return Ok(None);
        }
        let before = self.cost(&self.tree).cost + self.cost_of_semis();
        self.push_semis()?;
        let Some(tree) = self.greedy() else { return Ok(None) };
        let after = self.cost(&tree).cost + self.cost_of_semis();
        if after > before * BETTER {
            return Ok(None);
        }
        self.filter_tables()?;
        self.tell_names_apart()?;
        let mut wanted = self.outputs.clone();
        wanted.extend(self.semis.iter().flat_map(|s| s.keys.iter().map(|(c, _)| *c)));
        let (mut plan, cols) = self.emit(&tree, &wanted)?;
        for semi in &self.semis {
            plan = semi_join(plan, &cols, semi)?;
        }
        let schema = self.root.schema();
        let mut exprs = vec![];
        for (col, field) in self.outputs.iter().zip(schema.fields()) {
            let (index, name) = place(&plan, &cols, *col)?;
            let expr: Arc<dyn PhysicalExpr> = Arc::new(Column::new(&name, index));
            exprs.push(ProjectionExpr::new(expr, field.name().clone()));
        }
        Ok(Some(Arc::new(ProjectionExec::try_new(exprs, plan)?)))
    }

    fn cost_of_semis(&self) -> f64 {
        self.semis.iter().map(|s| s.of.rows * BUILD).sum()
    }

    /// Whether every class has one column of a table at most, and one type: what a join by one column of each
    /// side makes equal.
    fn is_simple(&self) -> bool {
        self.classes.iter().all(|(class, _)| {
            let data_type = |c: &Col| self.tables[c.table].plan.schema().field(c.column).data_type().clone();
            class.iter().enumerate().all(|(i, c)| {
                data_type(c) == data_type(&class[0]) && class[..i].iter().all(|d| d.table != c.table)
            })
        })
    }

    /// Applies conditions of one table to it.
    fn filter_tables(&mut self) -> Result<()> {
        let mut others = vec![];
        for condition in std::mem::take(&mut self.conditions) {
            let table = used(&condition).next().map(|c| c.table);
            match table {
                Some(number) if condition.early && used(&condition).all(|c| c.table == number) => {
                    let plan = &mut self.tables[number].plan;
                    let width = plan.schema().fields().len();
                    let cols: Vec<Col> = (0..width).map(|column| Col { table: number, column }).collect();
                    *plan = Arc::new(FilterExec::try_new(over(&condition, &cols)?, Arc::clone(plan))?);
                }
                Some(_) | None => others.push(condition),
            }
        }
        self.conditions = others;
        Ok(())
    }

    /// Gives columns names of their own. DataFusion moves filters, also those that joins leave for scans, to
    /// where it finds a column of the same name, and would take the first of several.
    fn tell_names_apart(&mut self) -> Result<()> {
        let mut known: HashSet<String> = HashSet::new();
        for (number, table) in self.tables.iter_mut().enumerate() {
            let schema = table.plan.schema();
            let names: Vec<&String> = schema.fields().iter().map(|f| f.name()).collect();
            let twice = names.iter().enumerate().any(|(i, n)| names[..i].contains(n));
            if !twice && names.iter().all(|n| !known.contains(*n)) {
                known.extend(names.into_iter().cloned());
                continue;
            }
            let mut exprs = vec![];
            for (i, name) in names.into_iter().enumerate() {
                let mut own = format!("{name}:{number}");
                while !known.insert(own.clone()) {
                    own.push('\'');
                }
                exprs.push(ProjectionExpr::new(Arc::new(Column::new(name, i)), own));
            }
            table.plan = Arc::new(ProjectionExec::try_new(exprs, Arc::clone(&table.plan))?);
        }
        Ok(())
    }

    /// Has selective semi joins done at a table; the others are left.
    fn push_semis(&mut self) -> Result<()> {
        let mut above = vec![];
        for semi in std::mem::take(&mut self.semis) {
            // A single key may be looked for in any column that is equal to it.
            let places: Vec<Vec<(Col, usize)>> = match semi.keys.as_slice() {
                [(key, column)] => {
                    let class = self.classes.iter().find(|(class, _)| class.contains(key));
                    let all = class.map_or_else(|| vec![*key], |(class, _)| class.clone());
                    all.into_iter().map(|c| vec![(c, *column)]).collect()
                }
                keys => vec![keys.to_vec()],
            };
            let one_table = |keys: &[(Col, usize)]| keys.iter().all(|(c, _)| c.table == keys[0].0.table);
            let best = places.into_iter().filter(|k| !k.is_empty() && one_table(k)).min_by(|a, b| {
                let base = |k: &[(Col, usize)]| self.tables[k[0].0.table].of.base;
                base(a).total_cmp(&base(b))
            });
            let Some(keys) = best else {
                above.push(semi);
                continue;
            };
            let table = &mut self.tables[keys[0].0.table];
            let share = (semi.of.rows / semi.of.base.min(table.of.base).max(1.0)).min(1.0);
            if share >= SELECTIVE {
                above.push(semi);
                continue;
            }
            let number = keys[0].0.table;
            let cols: Vec<Col> =
                (0..table.plan.schema().fields().len()).map(|column| Col { table: number, column }).collect();
            let semi = Semi { keys, ..semi };
            table.plan = semi_join(Arc::clone(&table.plan), &cols, &semi)?;
            table.of.rows = (table.of.rows * share).max(1.0);
        }
        self.semis = above;
        Ok(())
    }

    /// Joins what leaves the fewest rows, until all is joined.
    fn greedy(&self) -> Option<Tree> {
        let mut parts: Vec<(Tree, Part)> =
            (0..self.tables.len()).map(|t| (Tree::Table(t), self.cost(&Tree::Table(t)))).collect();
        while parts.len() > 1 {
            let mut best: Option<(f64, f64, usize, usize)> = None;
            for i in 0..parts.len() {
                for j in i + 1..parts.len() {
                    let (a, b) = (parts[i].1, parts[j].1);
                    let Some(keys) = self.keys_between(a.tables, b.tables) else { continue };
                    let (rows, read) = (a.rows * b.rows / keys, a.rows + b.rows);
                    let better = best.is_none_or(|(r, s, ..)| rows < r || (rows == r && read < s));
                    if better {
                        best = Some((rows, read, i, j));
                    }
                }
            }
            let (_, _, i, j) = best?;
            let (b, b_part) = parts.swap_remove(j);
            let (a, a_part) = parts.swap_remove(i);
            let (build, probe) = if a_part.rows <= b_part.rows { (a, b) } else { (b, a) };
            let tree = Tree::Join { build: Box::new(build), probe: Box::new(probe) };
            let part = self.cost(&tree);
            parts.push((tree, part));
        }
        parts.pop().map(|(tree, _)| tree)
    }

    /// How many different keys two parts are joined by; `None`: there is nothing to join them by.
    fn keys_between(&self, a: Set, b: Set) -> Option<f64> {
        let shared: Vec<&(Vec<Col>, f64)> =
            self.classes.iter().filter(|(class, _)| within(class, a) && within(class, b)).collect();
        if shared.is_empty() {
            return None;
        }
        let keys: f64 = shared.iter().map(|(_, keys)| keys).product();
        // Several keys of one table are no more than its rows.
        let common = |side: Set| {
            let tables = (0..self.tables.len()).filter(move |t| side >> t & 1 == 1);
            tables
                .filter(|t| shared.iter().all(|(class, _)| class.iter().any(|c| c.table == *t)))
                .map(|t| self.tables[t].of.base)
                .fold(f64::MAX, f64::min)
        };
        Some(if shared.len() > 1 { keys.min(common(a)).min(common(b)).max(1.0) } else { keys })
    }

    fn cost(&self, tree: &Tree) -> Part {
        match tree {
            Tree::Table(t) => Part { tables: 1 << t, rows: self.tables[*t].of.rows, cost: 0.0 },
            Tree::Join { build, probe } => {
                let (b, p) = (self.cost(build), self.cost(probe));
                let keys = self.keys_between(b.tables, p.tables).unwrap_or(1.0);
                let rows = (b.rows * p.rows / keys).max(1.0);
                let cost = b.cost + p.cost + b.rows * BUILD + p.rows + rows;
                Part { tables: b.tables | p.tables, rows, cost }
            }
        }
    }

    /// The operators of a tree, and its columns; only those that somebody wants.
    fn emit(&self, tree: &Tree, wanted: &[Col]) -> Result<(Plan, Vec<Col>)> {
        let (build, probe) = match tree {
            Tree::Table(t) => {
                let plan = Arc::clone(&self.tables[*t].plan);
                let cols = (0..plan.schema().fields().len()).map(|column| Col { table: *t, column });
                return Ok((plan, cols.collect()));
            }
            Tree::Join { build, probe } => (build, probe),
        };
        let (a, b) = (self.cost(build).tables, self.cost(probe).tables);
        // Conditions that can be told here and not below; those that can fail when all is joined.
        let everything = a | b == (1 << self.tables.len()) - 1;
        let here: Vec<&Condition> = self
            .conditions
            .iter()
            .filter(|c| {
                let cols: Vec<Col> = used(c).collect();
                let all = |set: Set| cols.iter().all(|c| set >> c.table & 1 == 1);
                if c.early { all(a | b) && !all(a) && !all(b) } else { everything }
            })
            .collect();
        let mut kept: Vec<Col> = wanted.to_vec();
        kept.extend(here.iter().flat_map(|c| used(c)));
        let (build, build_cols) = self.emit(build, &kept)?;
        let (probe, probe_cols) = self.emit(probe, &kept)?;
        let mut on: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)> = vec![];
        for (class, _) in &self.classes {
            let of = |plan: &Plan, cols: &[Col]| -> Option<Arc<dyn PhysicalExpr>> {
                let index = cols.iter().position(|c| class.contains(c))?;
                Some(Arc::new(Column::new(plan.schema().field(index).name(), index)))
            };
            if let (Some(l), Some(r)) = (of(&build, &build_cols), of(&probe, &probe_cols)) {
                on.push((l, r));
            }
        }
        let filter = join_filter(&here, (&build, &build_cols), (&probe, &probe_cols))?;
        let all: Vec<Col> = build_cols.into_iter().chain(probe_cols).collect();
        let is_wanted = |i: &usize| self.is_wanted(&all, *i, wanted, a | b);
        let projection: Vec<usize> = (0..all.len()).filter(is_wanted).collect();
        let cols: Vec<Col> = projection.iter().map(|i| all[*i]).collect();
        let plan: Plan = Arc::new(HashJoinExec::try_new(
            build,
            probe,
            on,
            filter,
            &JoinType::Inner,
            Some(projection),
            PartitionMode::CollectLeft,
            NullEquality::NullEqualsNothing,
            false,
        )?);
        Ok((plan, cols))
    }

    /// Whether a column of a join is read above it: by somebody who wants it, by a condition that is still to
    /// come, or as the first of its class that others are still joined with.
    fn is_wanted(&self, all: &[Col], i: usize, kept: &[Col], joined: Set) -> bool {
        let col = all[i];
        let outside = |c: &Col| joined >> c.table & 1 == 0;
        let pending =
            self.conditions.iter().any(|c| used(c).any(|u| u == col) && used(c).any(|u| outside(&u)));
        let key = self.classes.iter().any(|(class, _)| {
            class.contains(&col)
                && class.iter().any(outside)
                && all.iter().position(|c| class.contains(c)) == Some(i)
        });
        kept.contains(&col) || pending || key
    }
}

/// Whether a class has a column of a part.
fn within(class: &[Col], part: Set) -> bool {
    class.iter().any(|c| part >> c.table & 1 == 1)
}

fn projected(cols: Vec<Col>, projection: &Option<Vec<usize>>) -> Vec<Col> {
    match projection {
        Some(columns) => columns.iter().map(|i| cols[*i]).collect(),
        None => cols,
    }
}

/// The rows of a plan whose keys the semi join's has.
fn semi_join(plan: Plan, cols: &[Col], semi: &Semi) -> Result<Plan> {
    let mut on: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)> = vec![];
    for (col, column) in &semi.keys {
        let (index, name) = place(&plan, cols, *col)?;
        let other = Column::new(semi.plan.schema().field(*column).name(), *column);
        on.push((Arc::new(other), Arc::new(Column::new(&name, index))));
    }
    right_semi(Arc::clone(&semi.plan), plan, on)
}

/// The rows of `probe` that have a partner in `build`.
pub(super) fn right_semi(
    build: Plan,
    probe: Plan,
    on: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)>,
) -> Result<Plan> {
    let (kind, mode) = (JoinType::RightSemi, PartitionMode::CollectLeft);
    let nulls = NullEquality::NullEqualsNothing;
    Ok(Arc::new(HashJoinExec::try_new(build, probe, on, None, &kind, None, mode, nulls, false)?))
}

fn place(plan: &Plan, cols: &[Col], col: Col) -> Result<(usize, String)> {
    match cols.iter().position(|c| *c == col) {
        Some(index) => Ok((index, plan.schema().field(index).name().clone())),
        None => internal_err!("a column was lost among reordered joins"),
    }
}
