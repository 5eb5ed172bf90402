use super::super::kernels::{rt_group_pack_text, rt_group_resolve};
use super::super::{CellKind, Spread, read_text, read_wide};
use super::*;
use crate::strings::StrRef;
use proptest::prelude::*;
use std::collections::HashMap;

fn shape(words: usize, texts: Vec<usize>, integer: bool) -> TableShape {
    let mut shape = TableShape { words, texts, integer, cells: vec![] };
    let word = shape.key_words();
    shape.cells = vec![Cell { kind: CellKind::Sum64, word }, Cell { kind: CellKind::Max128, word: word + 1 }];
    shape
}

/// Adds one to a group's count, and offers its maximum a value.
fn update(table: &mut GroupTable, group: usize, row: usize, value: i64) {
    let key = table.shape().key_words();
    let record = table.cells_for(group, row);
    record[key] += 1;
    let before = unsafe { read_wide(record[key + 1..].as_ptr()) };
    let after = before.max(i128::from(value));
    (record[key + 1], record[key + 2]) = (after as u64, (after >> 64) as u64);
}

/// What every group of the table holds, by the words of its key.
fn contents(table: &mut GroupTable) -> HashMap<Vec<u64>, (u64, i128)> {
    table.fold();
    let (words, key) = (table.shape().words, table.shape().key_words());
    let all = (0..table.len()).map(|g| {
        let r = table.record(g);
        (r[..words].to_vec(), (r[key], unsafe { read_wide(r[key + 1..].as_ptr()) }))
    });
    let found: HashMap<_, _> = all.collect();
    assert_eq!(found.len(), table.len(), "a key is there twice");
    found
}

fn model(rows: &[(Vec<u64>, i64)]) -> HashMap<Vec<u64>, (u64, i128)> {
    let mut model: HashMap<Vec<u64>, (u64, i128)> = HashMap::new();
    for (key, value) in rows {
        let group = model.entry(key.clone()).or_insert((0, i128::MIN));
        *group = (group.0 + 1, group.1.max(i128::from(*value)));
    }
    model
}

fn fill(table: &mut GroupTable, rows: &[(Vec<u64>, i64)]) {
    for (row, (key, value)) in rows.iter().enumerate() {
        let group = unsafe { table.find_or_insert(key.as_ptr()) }.unwrap();
        update(table, group, row, *value);
    }
}

/// Values near each other, far apart, and at the ends of the range.
fn integer() -> impl Strategy<Value = u64> {
    prop_oneof![
        (0..40i64).prop_map(|v| v as u64),
        (-5_000..5_000i64).prop_map(|v| v as u64),
        any::<u64>(),
        prop::sample::select(vec![i64::MIN as u64, i64::MAX as u64, u64::MAX, 0]),
    ]
}

proptest! {
    #[test]
    fn integers(rows in prop::collection::vec((integer(), any::<bool>(), any::<i64>()), 0..3000)) {
        let rows: Vec<(Vec<u64>, i64)> = rows
            .into_iter()
            .map(|(v, null, x)| (if null { vec![0, 1] } else { vec![v, 0] }, x))
            .collect();
        let mut table = GroupTable::new(shape(2, vec![], true), 1 << 16);
        fill(&mut table, &rows);
        prop_assert_eq!(contents(&mut table), model(&rows));
    }

    #[test]
    fn merging_is_what_the_rows_together_give(
        rows in prop::collection::vec((0..900u64, 0..3u64, any::<i64>()), 0..4000),
        cut in 0..4000usize,
    ) {
        let rows: Vec<(Vec<u64>, i64)> = rows.into_iter().map(|(a, b, x)| (vec![a, b], x)).collect();
        let cut = cut.min(rows.len());
        let new = || GroupTable::new(shape(2, vec![], false), 0);
        let (mut first, mut second) = (new(), new());
        // Also into a table that was made for more or fewer groups than come.
        first.reserve(cut / 3);
        fill(&mut first, &rows[..cut]);
        fill(&mut second, &rows[cut..]);
        second.fold();
        first.merge(&second);
        prop_assert_eq!(contents(&mut first), model(&rows));
    }

    #[test]
    fn strings(texts in prop::collection::vec("[ab]{0,3}|[ab]{12,14}|x{30,31}[ab]", 1..1000)) {
        let mut table = GroupTable::new(shape(2, vec![0], false), 0);
        let mut model: HashMap<String, u32> = HashMap::new();
        for chunk in texts.chunks(700) {
            // The texts go away before the table does.
            let owned: Vec<String> = chunk.to_vec();
            let refs: Vec<StrRef> = owned.iter().map(|t| StrRef::new(t.as_bytes())).collect();
            let n = owned.len();
            let mut keys = vec![0u64; 3 * n];
            let out = keys.as_mut_ptr();
            unsafe { rt_group_pack_text(n, refs.as_ptr(), std::ptr::null(), 3, out, out.add(2)) };
            let rows: Vec<u16> = (0..n as u16).collect();
            let mut groups = vec![0u32; n];
            let status = unsafe {
                rt_group_resolve(&mut table, n, rows.as_ptr(), keys.as_ptr(), groups.as_mut_ptr())
            };
            prop_assert_eq!(status, 0);
            for (text, group) in owned.iter().zip(&groups) {
                let known = *model.entry(text.clone()).or_insert(*group);
                prop_assert_eq!(known, *group);
            }
        }
        prop_assert_eq!(model.len(), table.len());
    }
}

#[test]
fn a_table_grows_to_many_groups() {
    let rows: Vec<(Vec<u64>, i64)> = (0..300_000u64)
        .map(|i| (vec![(i % 100_000).wrapping_mul(0x1234_5678_9ABC_DEF1)], i as i64))
        .collect();
    for limit in [0, 1 << 20] {
        let mut table = GroupTable::new(shape(1, vec![], true), limit);
        fill(&mut table, &rows);
        assert_eq!(contents(&mut table), model(&rows));
    }
    let dense: Vec<(Vec<u64>, i64)> = (0..300_000u64).map(|i| (vec![i * 7 % 200_003], 1)).collect();
    let mut table = GroupTable::new(shape(1, vec![], true), 1 << 20);
    fill(&mut table, &dense);
    assert!(table.dense.is_some(), "a range of 200,003 values was hashed");
    assert_eq!(contents(&mut table), model(&dense));
}

/// A table of integers that keeps the least and greatest text of each.
fn text_table() -> GroupTable {
    let mut shape = TableShape { words: 1, texts: vec![], integer: true, cells: vec![] };
    shape.cells = vec![Cell { kind: CellKind::TextMin, word: 1 }, Cell { kind: CellKind::TextMax, word: 3 }];
    GroupTable::new(shape, 0)
}

fn offer(table: &mut GroupTable, key: u64, text: &str) {
    let group = unsafe { table.find_or_insert(&raw const key) }.unwrap();
    table.offer_text(group, CellKind::TextMin, 1, text.as_bytes());
    table.offer_text(group, CellKind::TextMax, 3, text.as_bytes());
}

type Extremes = HashMap<u64, (String, String)>;

fn extremes(table: &mut GroupTable) -> Extremes {
    table.fold();
    let text =
        |words: &[u64]| String::from_utf8(unsafe { read_text(words.as_ptr()) }.unwrap().to_vec()).unwrap();
    (0..table.len())
        .map(|g| (table.record(g)[0], (text(&table.record(g)[1..]), text(&table.record(g)[3..]))))
        .collect()
}

proptest! {
    #[test]
    fn texts_are_kept_through_merging(
        rows in prop::collection::vec((0..40u64, "[ab]{0,20}"), 1..600),
        cut in 0..600usize,
    ) {
        let mut model: Extremes = HashMap::new();
        for (key, text) in &rows {
            let known = model.entry(*key).or_insert_with(|| (text.clone(), text.clone()));
            known.0 = known.0.clone().min(text.clone());
            known.1 = known.1.clone().max(text.clone());
        }
        let cut = cut.min(rows.len());
        let (mut first, mut second) = (text_table(), text_table());
        rows[..cut].iter().for_each(|(k, t)| offer(&mut first, *k, t));
        rows[cut..].iter().for_each(|(k, t)| offer(&mut second, *k, t));
        // One after the other, where the second table goes away.
        second.fold();
        first.merge(&second);
        drop(second);
        prop_assert_eq!(&extremes(&mut first), &model);
        // By parts, of which each takes its texts along.
        let mut dealt = Dealt::new(first.shape(), 4, false);
        dealt.take(&mut first);
        drop(first);
        let mut merger = text_table();
        merger.reserve(1);
        let parts: Vec<GroupTable> = (0..4).map(|part| { merger.merge_part(&dealt, part); merger.take_part() }).collect();
        drop(dealt);
        let merged: Extremes = parts.into_iter().flat_map(|mut p| extremes(&mut p)).collect();
        prop_assert_eq!(&merged, &model);
    }

    #[test]
    fn spreads_merge_to_what_the_values_have(values in prop::collection::vec(-1e6..1e6f64, 0..300), cut in 0..300usize) {
        let of = |values: &[f64]| values.iter().fold(Spread::default(), |s, v| s.with(*v));
        let cut = cut.min(values.len());
        let merged = of(&values[..cut]).merged(of(&values[cut..]));
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let squares = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>();
        prop_assert_eq!(merged.count as usize, values.len());
        prop_assert!((merged.mean - mean).abs() <= 1e-6 && (merged.squares - squares).abs() <= 1e-9 * squares.max(1.0));
    }
}
