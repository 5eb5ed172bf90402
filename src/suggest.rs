//! "Did you mean ...": the nearest of the names that exist.

/// The candidate nearest to `name` by edit distance, ignoring case, if it is near enough to be a slip:
/// at most a third of the letters differ, and at least one agrees.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = name.to_lowercase().chars().collect();
    candidates
        .into_iter()
        .map(|candidate| {
            let have: Vec<char> = candidate.to_lowercase().chars().collect();
            (distance(&wanted, &have), have.len(), candidate)
        })
        .filter(|(distance, len, _)| {
            let longer = wanted.len().max(*len);
            *distance <= (longer / 3).max(1) && *distance < longer
        })
        .min_by_key(|(distance, _, candidate)| (*distance, *candidate))
        .map(|(_, _, candidate)| candidate)
}

/// Edit distance in which swapping two neighbours counts as one slip.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, &y) in b.iter().enumerate() {
            let mut best = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let names = ["flights.parquet", "planes.parquet", "weather.csv"];
        assert_eq!(nearest("flihgts.parquet", names), Some("flights.parquet"));
        assert_eq!(nearest("PLANES.parquet", names), Some("planes.parquet"));
        assert_eq!(nearest("budget.xlsx", names), None);
        assert_eq!(nearest("a", ["b"]), None);
        assert_eq!(nearest("fuseline.fusoin", ["fuseline.fusion"]), Some("fuseline.fusion"));
    }
}
