//! TPC-H with fusion forced, in two forms.
//!
//! - At scale 0.1 the 22 queries with answers (DataFusion's, for the same data generator) must give those.
//! - The 22 queries of the suite must give what stock DataFusion gives on the same batches; at scale 1 with
//!   `FUSELINE_NIGHTLY`.
//!
//! It also prints how much of each plan runs in stages. The data is generated in memory.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchReader};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use fuseline::Session;
use sqllogictest::{DefaultColumnType, QueryExpect, Record, SortMode};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow,
    SupplierArrow,
};

use crate::answers::{Answer, Cell, Verdict, compare};
use crate::share::Share;
use crate::suites;

/// The scale of the printed answers.
const SCALE: f64 = 0.1;

/// Relative error of numbers against the printed answers, which are rounded.
const PRINTED_TOLERANCE: f64 = 1e-9;

struct Table {
    name: &'static str,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Table {
    fn read(name: &'static str, reader: impl RecordBatchReader) -> Self {
        let schema = reader.schema();
        let batches = reader.collect::<Result<_, _>>().expect("generated batches");
        Self { name, schema, batches }
    }
}

/// The eight tables.
fn tables(scale: f64) -> Vec<Table> {
    vec![
        Table::read("nation", NationArrow::new(NationGenerator::new(scale, 1, 1))),
        Table::read("region", RegionArrow::new(RegionGenerator::new(scale, 1, 1))),
        Table::read("part", PartArrow::new(PartGenerator::new(scale, 1, 1))),
        Table::read("supplier", SupplierArrow::new(SupplierGenerator::new(scale, 1, 1))),
        Table::read("partsupp", PartSuppArrow::new(PartSuppGenerator::new(scale, 1, 1))),
        Table::read("customer", CustomerArrow::new(CustomerGenerator::new(scale, 1, 1))),
        Table::read("orders", OrderArrow::new(OrderGenerator::new(scale, 1, 1))),
        Table::read("lineitem", LineItemArrow::new(LineItemGenerator::new(scale, 1, 1))),
    ]
}

fn forced(tables: &[Table]) -> Session {
    let session = suites::session("force", 2, 8192);
    for table in tables {
        session
            .register_batches(table.name, Arc::clone(&table.schema), table.batches.clone())
            .expect("a table registers");
    }
    session
}

fn stock(tables: &[Table]) -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    for table in tables {
        let memory = MemTable::try_new(Arc::clone(&table.schema), vec![table.batches.clone()])
            .expect("a table of batches");
        context.register_table(table.name, Arc::new(memory)).expect("a table registers");
    }
    context
}

/// Whether a printed answer line and a row hold the same words, numbers within the tolerance.
fn line_matches(line: &str, row: &[Cell]) -> bool {
    let text: Vec<&str> =
        row.iter().map(|cell| if cell.text.is_empty() { "(empty)" } else { cell.text.as_str() }).collect();
    let text = text.join(" ");
    let (mut expected, mut actual) = (line.split_whitespace(), text.split_whitespace());
    loop {
        match (expected.next(), actual.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a == b => {}
            (Some(a), Some(b)) => match (a.parse::<f64>(), b.parse::<f64>()) {
                (Ok(a), Ok(b)) if (a - b).abs() <= PRINTED_TOLERANCE * a.abs().max(1.0) => {}
                _ => return false,
            },
            _ => return false,
        }
    }
}

#[test]
fn answers_are_those_printed_for_this_generator() {
    let Some(dir) = suites::folder("datafusion-slt") else {
        return;
    };
    let runtime = suites::runtime();
    let session = forced(&tables(SCALE));
    let mut queries = 0;
    for number in 1..=22 {
        let path = dir.join(format!("test_files/tpch/answers/q{number}.slt.part"));
        let records = sqllogictest::parse_file::<DefaultColumnType>(&path).expect("an answer file");
        for record in records {
            match record {
                Record::Statement { sql, .. } => {
                    runtime.block_on(suites::run(&session, &sql)).expect("a statement runs");
                }
                Record::Query { sql, expected: QueryExpect::Results { results, sort_mode, .. }, .. } => {
                    let outcome = runtime
                        .block_on(suites::run(&session, &sql))
                        .unwrap_or_else(|error| panic!("Q{number}: {error}"));
                    let answer = Answer::of(&outcome.batches).expect("printable rows");
                    assert!(!results.is_empty(), "Q{number}: an answer without rows proves little");
                    assert_eq!(answer.rows.len(), results.len(), "Q{number}: rows");
                    let mut rows = answer.rows;
                    if sort_mode == Some(SortMode::RowSort) {
                        rows.sort_by_key(|row| row.iter().map(|c| c.text.clone()).collect::<Vec<_>>());
                    }
                    for (line, row) in results.iter().zip(&rows) {
                        assert!(line_matches(line, row), "Q{number}: {line} is not {row:?}");
                    }
                    queries += 1;
                }
                _ => {}
            }
        }
    }
    assert_eq!(queries, 22, "every query has one answer");
}

#[test]
fn queries_agree_with_stock_datafusion_and_fuse() {
    let Some(dir) = suites::folder("tpch") else {
        return;
    };
    let runtime = suites::runtime();
    let tables = tables(if suites::nightly() { 1.0 } else { SCALE });
    let (session, context) = (forced(&tables), stock(&tables));
    let mut all = Share::default();
    for number in 1..=22 {
        let sql =
            std::fs::read_to_string(dir.join(format!("queries/q{number:02}.sql"))).expect("a query file");
        let sql = sql.trim().trim_end_matches(';');
        let frame = runtime.block_on(context.sql(sql)).expect("stock plans it");
        let expected = runtime.block_on(frame.collect()).expect("stock runs it");
        let outcome =
            runtime.block_on(suites::run(&session, sql)).unwrap_or_else(|error| panic!("Q{number}: {error}"));
        let expected = Answer::of(&expected).expect("printable rows");
        let actual = Answer::of(&outcome.batches).expect("printable rows");
        assert_eq!(compare(expected, actual, true), Verdict::Same, "Q{number}");

        let here = Share::of(outcome.plan.as_ref());
        println!("Q{number:<3} {here}");
        all.add(here);
        let (joined, left) = here.kind("joins");
        assert!(joined + left == 0 || joined > 0, "Q{number}: no join is in a stage");
    }
    println!("TPC-H, 22 queries: {all}");
    assert!(all.percent() >= 90.0, "{all}");
}
