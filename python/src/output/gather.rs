//! The whole result of a query as columns in NumPy's form.
//!
//! All partitions run at once, each in a task that puts its batches where they belong and drops them,
//! so that a result is never there twice:
//!
//! * where the row counts are known, every partition writes to its own part of the final columns;
//! * elsewhere each grows regions of its own, which are then joined column by column; the pages of a
//!   part are given back as they are copied.
//!
//! A column that is nothing but consecutive slices of one array becomes a view of that array.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
// Not tokio's: its tasks inherit the query's cancellation.
use datafusion::common::runtime::JoinSet;
use fuseline::{Error, Partition, Result};
use futures::StreamExt;

use super::column::{ColumnPart, Destination, Item, Rows, Shape, View};
use super::memory::{Keeper, Memory};
use super::region::Region;

/// Bytes that are copied before their old pages are given back.
const STEP: usize = 2 * 1024 * 1024;
/// Results smaller than this are copied even where a view would do: a view keeps what it looks into.
const SMALL: usize = 64 * 1024;

/// A column of a whole result.
pub enum Gathered {
    /// Items, and which of them are valid if not all are: integers and bools have no value for nulls.
    Array(Memory, Option<BooleanBuffer>),
    /// Arrays for pyarrow.
    Kept(Vec<ArrayRef>),
}

/// Runs the partitions and gathers their rows. `numpy` is as in [`Shape::of`].
///
/// # Errors
/// The first error of a partition; too little memory.
pub async fn gather(
    schema: SchemaRef,
    partitions: Vec<Partition>,
    numpy: bool,
) -> Result<(usize, Vec<Gathered>)> {
    let shapes: Vec<Option<Shape>> =
        schema.fields().iter().map(|field| Shape::of(field.data_type(), numpy)).collect();
    let starts = starts(&partitions);
    let total = starts.as_ref().and_then(|starts| starts.last().copied());
    let destinations: Vec<Option<Arc<Destination>>> = shapes
        .iter()
        .map(|shape| Some(Arc::new(Destination::new(shape.as_ref()?.row_bytes() * total?))))
        .collect();

    let mut tasks = JoinSet::new();
    for (p, partition) in partitions.into_iter().enumerate() {
        let first_row = starts.as_ref().map_or(0, |starts| starts[p]);
        let columns: Vec<ColumnPart> = shapes
            .iter()
            .zip(&destinations)
            .map(|(shape, destination)| {
                let at = shape.map_or(0, Shape::row_bytes) * first_row;
                ColumnPart::new(*shape, destination.clone().map(|destination| (destination, at)))
            })
            .collect();
        tasks.spawn(async move { drain(partition, columns).await.map(|part| (p, part)) });
    }
    let mut parts: Vec<(usize, Part)> = Vec::new();
    while let Some(done) = tasks.join_next().await {
        parts.push(done.map_err(|e| Error::Internal { message: e.to_string() })??);
    }
    parts.sort_by_key(|(p, _)| *p);
    let rows = parts.iter().map(|(_, part)| part.rows).sum();

    // Column by column: what the partitions have of it.
    let mut columns: Vec<Vec<ColumnPart>> = shapes.iter().map(|_| Vec::new()).collect();
    for (_, part) in parts {
        for (column, part) in columns.iter_mut().zip(part.columns) {
            column.push(part);
        }
    }
    let mut tasks = JoinSet::new();
    for (c, ((parts, shape), destination)) in columns.into_iter().zip(shapes).zip(destinations).enumerate() {
        tasks.spawn_blocking(move || Ok::<_, Error>((c, join(shape, destination, parts)?)));
    }
    let mut gathered = Vec::new();
    while let Some(done) = tasks.join_next().await {
        gathered.push(done.map_err(|e| Error::Internal { message: e.to_string() })??);
    }
    gathered.sort_by_key(|(c, _)| *c);
    Ok((rows, gathered.into_iter().map(|(_, column)| column).collect()))
}

/// The first row of each partition, and the number of all rows, if they are known.
fn starts(partitions: &[Partition]) -> Option<Vec<usize>> {
    let mut starts = vec![0];
    let mut end = 0;
    for partition in partitions {
        end += partition.rows?;
        starts.push(end);
    }
    Some(starts)
}

struct Part {
    rows: usize,
    columns: Vec<ColumnPart>,
}

async fn drain(partition: Partition, mut columns: Vec<ColumnPart>) -> Result<Part> {
    let Partition { rows: promised, mut batches } = partition;
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        rows += batch.num_rows();
        if promised.is_some_and(|promised| rows > promised) {
            break;
        }
        for (column, array) in columns.iter_mut().zip(batch.columns()) {
            column.push(array)?;
        }
    }
    match promised {
        Some(promised) if promised != rows => {
            let message = format!("a partition of {promised} rows gave {rows}");
            Err(Error::Internal { message })
        }
        Some(_) | None => Ok(Part { rows, columns }),
    }
}

/// One column out of its parts.
fn join(
    shape: Option<Shape>,
    destination: Option<Arc<Destination>>,
    mut parts: Vec<ColumnPart>,
) -> Result<Gathered> {
    let Some(shape) = shape else {
        let kept = parts.into_iter().flat_map(|part| match part.rows {
            Rows::Kept(arrays) => arrays,
            Rows::None | Rows::View(_) | Rows::Placed | Rows::Grown(_) => Vec::new(),
        });
        return Ok(Gathered::Kept(kept.collect()));
    };
    let bytes: usize = parts.iter().map(|part| part.bytes).sum();
    let validity = join_validity(&mut parts, shape);
    let keeper = match one_view(parts, bytes) {
        Ok(view) => match view.into_buffer() {
            Ok(buffer) => Keeper::from_buffer(buffer),
            Err(view) => Keeper::View(view),
        },
        Err(parts) => Keeper::Region(join_bytes(destination, parts, bytes)?),
    };
    let nulls = validity.as_ref().is_some_and(|validity| validity.count_set_bits() < validity.len());
    if nulls && matches!(shape.item, Item::Int(_)) {
        let floats = as_floats(keeper.bytes(), shape.item, validity.as_ref())?;
        let shape = Shape { item: Item::Float("f8"), ..shape };
        return Ok(Gathered::Array(Memory::new(shape, Keeper::Region(floats)), None));
    }
    Ok(Gathered::Array(Memory::new(shape, keeper), validity.filter(|_| nulls)))
}

/// The whole column as one view, or the parts again.
fn one_view(parts: Vec<ColumnPart>, bytes: usize) -> std::result::Result<View, Vec<ColumnPart>> {
    let viewed = parts.iter().all(|part| matches!(part.rows, Rows::View(_) | Rows::None));
    if !viewed || bytes < SMALL {
        return Err(parts);
    }
    let mut views = parts.iter().filter_map(|part| match &part.rows {
        Rows::View(view) => Some(view),
        Rows::None | Rows::Placed | Rows::Grown(_) | Rows::Kept(_) => None,
    });
    let adjoining = views.next().is_some_and(|first| {
        let mut end = first.bytes().as_ptr_range().end;
        views.all(|view| {
            let follows = first.is_of_one_array_with(view) && view.bytes().as_ptr() == end;
            end = view.bytes().as_ptr_range().end;
            follows
        })
    });
    if !adjoining {
        return Err(parts);
    }
    let mut views = parts.into_iter().filter_map(|part| match part.rows {
        Rows::View(view) => Some(view),
        Rows::None | Rows::Placed | Rows::Grown(_) | Rows::Kept(_) => None,
    });
    let Some(mut whole) = views.next() else {
        return Err(Vec::new());
    };
    for view in views {
        let joined = whole.join(&view);
        debug_assert!(joined, "they were seen to adjoin");
    }
    Ok(whole)
}

/// The parts one behind the other.
fn join_bytes(destination: Option<Arc<Destination>>, parts: Vec<ColumnPart>, bytes: usize) -> Result<Region> {
    let placed = parts.iter().any(|part| matches!(part.rows, Rows::Placed));
    if let (true, Some(destination)) = (placed, destination) {
        let mut at = 0;
        for part in &parts {
            if let Rows::View(view) = &part.rows {
                destination.write(at, view.bytes())?;
            }
            at += part.bytes;
        }
        drop(parts);
        let region = Arc::into_inner(destination).and_then(Destination::into_region);
        return region.ok_or_else(|| Error::Internal { message: "a column is still being written".into() });
    }
    let mut parts = parts.into_iter().peekable();
    let first = parts.next_if(|part| matches!(part.rows, Rows::Grown(_)));
    let mut whole = match first.map(|part| part.rows) {
        Some(Rows::Grown(region)) => region,
        Some(_) | None => Region::new(),
    };
    let mut at = whole.len();
    whole.set_length(bytes)?;
    for part in parts {
        match part.rows {
            Rows::View(view) => copy(view.bytes(), &whole, at),
            Rows::Grown(mut region) => {
                let mut done = 0;
                while done < region.len() {
                    let end = region.len().min(done + STEP);
                    copy(&region.bytes()[done..end], &whole, at + done);
                    region.release(done, end);
                    done = end;
                }
            }
            Rows::None | Rows::Placed | Rows::Kept(_) => {}
        }
        at += part.bytes;
    }
    Ok(whole)
}

fn copy(bytes: &[u8], to: &Region, at: usize) {
    assert!(at + bytes.len() <= to.len(), "the parts are as long as they say");
    // SAFETY: the bytes lie within the region, which this thread alone has.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.start().as_ptr().add(at), bytes.len());
    }
}

/// Which items of the column are valid, if any part has nulls.
fn join_validity(parts: &mut [ColumnPart], shape: Shape) -> Option<BooleanBuffer> {
    if parts.iter().all(|part| part.validity.is_none()) {
        return None;
    }
    let mut whole = arrow::array::BooleanBufferBuilder::new(0);
    for part in parts {
        match part.validity.take() {
            Some(mut validity) => whole.append_buffer(&validity.finish()),
            None => whole.append_n(part.bytes / shape.item.size(), true),
        }
    }
    Some(whole.finish())
}

/// Integers as floats, with NaN where there is no value.
fn as_floats(bytes: &[u8], item: Item, validity: Option<&BooleanBuffer>) -> Result<Region> {
    let size = item.size();
    let count = bytes.len() / size;
    let region = Region::with_length(count * 8)?;
    let valid = |i: usize| validity.is_none_or(|validity| validity.value(i));
    let out = region.start().as_ptr().cast::<f64>();
    let signed = item.typestr().starts_with('i');
    for (i, item) in bytes.chunks_exact(size).enumerate() {
        let mut wide = [if signed && item[size - 1] >= 128 { 0xff } else { 0 }; 8];
        wide[..size].copy_from_slice(item);
        let value = match (valid(i), signed) {
            (false, _) => f64::NAN,
            (true, true) => i64::from_le_bytes(wide) as f64,
            (true, false) => u64::from_le_bytes(wide) as f64,
        };
        // SAFETY: the region has room for `count` floats; the C library aligns it.
        unsafe { out.add(i).write(value) };
    }
    Ok(region)
}
