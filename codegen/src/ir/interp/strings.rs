//! String operations, by arrow's own kernels and the standard library: nothing here is shared with
//! the kernels that compiled code calls.

use super::super::op::{Bound, StrTest};
use super::column::Column;
use super::rows::{Fault, RowResult, Rows, argument};
use crate::run::EvalError;
use arrow::array::{Array, Scalar, StringArray};
use arrow::compute::kernels::comparison::{ilike, like};

type Evaluated<'a> = Result<Column<'a>, EvalError>;

pub(super) fn test<'a>(test: &StrTest, args: &[&Column<'a>], rows: &mut Rows<'_, 'a>) -> Evaluated<'a> {
    match test {
        StrTest::StartsWith(part) => rows.strict1(args, |s: &str| Ok(Some(s.starts_with(part.as_str())))),
        StrTest::EndsWith(part) => rows.strict1(args, |s: &str| Ok(Some(s.ends_with(part.as_str())))),
        StrTest::Contains(part) => rows.strict1(args, |s: &str| Ok(Some(s.contains(part.as_str())))),
        StrTest::Like { pattern, case_insensitive } => {
            let (values, valid) = argument::<&str>(args, 0)?;
            let texts: StringArray = values.iter().zip(valid).map(|(s, v)| v.then_some(*s)).collect();
            let pattern = Scalar::new(StringArray::from(vec![pattern.as_str()]));
            let matched = if *case_insensitive { ilike(&texts, &pattern) } else { like(&texts, &pattern) };
            let matched = matched.map_err(|e| EvalError::Binding(e.to_string()))?;
            Ok(Column::from_options(
                (0..matched.len()).map(|i| matched.is_valid(i).then(|| matched.value(i))),
            ))
        }
    }
}

pub(super) fn length<'a>(bound: Bound, args: &[&Column<'a>], rows: &mut Rows<'_, 'a>) -> Evaluated<'a> {
    match bound {
        Bound::Chars => rows.strict1(args, |s: &str| Ok(Some(s.chars().count() as i32))),
        Bound::Bytes => rows.strict1(args, |s: &str| Ok(Some(s.len() as i32))),
    }
}

pub(super) fn substr<'a>(args: &[&Column<'a>], rows: &mut Rows<'_, 'a>) -> Evaluated<'a> {
    if args.len() == 2 {
        rows.strict2(args, |s: &'a str, start: i64| part(s, start, None))
    } else {
        rows.strict3(args, |s: &'a str, start: i64, count: i64| part(s, start, Some(count)))
    }
}

fn part(s: &str, start: i64, count: Option<i64>) -> RowResult<&str> {
    if let Some(count) = count
        && count < 0
    {
        return Err(Fault::Function(format!("Execution error: negative count not allowed: {count}")));
    }
    let Some(first) = start.checked_sub(1) else {
        return Err(Fault::Function(format!("Execution error: start position overflow: {start}")));
    };
    let last = count.map_or(i64::MAX, |count| first.saturating_add(count));
    // The byte where the code point of this index starts, or the end of the string.
    let byte = |index: i64| match usize::try_from(index) {
        Ok(index) => s.char_indices().nth(index).map_or(s.len(), |(at, _)| at),
        Err(_) => 0,
    };
    Ok(Some(&s[byte(first)..byte(last)]))
}
