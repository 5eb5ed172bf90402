//! From arrow arrays to the pointers of the call interface, and back.
//!
//! Compiled loops may read values up to the next multiple of 8 rows. A morsel whose row count is no such
//! multiple is run in two calls: all whole chunks from the arrays themselves, and the rest from padded
//! copies. Since calls are cut at chunk boundaries, this cannot be seen in the results.

use super::outputs::{Column, Outputs};
use super::sink::is_text_extreme;
use super::targets::{Finished, Growth, Target, finish, grow};
use super::{CompileError, CompiledLoop};
use crate::groups::Groups;
use crate::ir::agg::{combine_f64, wrap_to};
use crate::ir::{Agg, AggFunc, AggState, AggValue, CHUNK, GROUP, Lit, Loop, Op, Sink, Spread, Ty};
use crate::joins::JoinLayout;
use crate::run::{EvalError, LoopOutput, Morsel};
use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BooleanArray, LargeStringArray, StringArray, StringViewArray,
    UInt32Array, downcast_primitive_array, make_array, new_null_array,
};
use arrow::buffer::MutableBuffer;
use arrow::datatypes::DataType;
use fuseline_kernels::abi::{AggSlot, ColumnRef, JoinRef, LoopContext, OutputRef, STATUS_OK};
use fuseline_kernels::strings::StrRef;
use fuseline_kernels::strings::extreme::Extreme;
use std::any::Any;
use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

/// Rows whose validity can be taken from [`ONES`].
const ONES_ROWS: usize = 1 << 17;
/// The validity of columns that could hold nulls, but hold none.
static ONES: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0xFF; ONES_ROWS / 8]);

/// The append kernel of a string output.
pub(super) fn append_kernel(data_type: &DataType) -> Result<&'static str, CompileError> {
    match data_type {
        DataType::Utf8 => Ok("rt_utf8_append"),
        DataType::LargeUtf8 => Ok("rt_large_utf8_append"),
        DataType::Utf8View => Ok("rt_view_append"),
        other => Err(CompileError::Unsupported(format!("strings leaving as {other}"))),
    }
}

thread_local! {
    /// Working memory of the loops that run on this thread.
    static SCRATCH: RefCell<MutableBuffer> = RefCell::new(MutableBuffer::new(0));
}

fn with_scratch<R>(size: usize, f: impl FnOnce(*mut u8) -> R) -> R {
    SCRATCH.with(|cell| match cell.try_borrow_mut() {
        Ok(mut scratch) => {
            if scratch.capacity() < size {
                *scratch = MutableBuffer::new(size);
            }
            f(scratch.as_mut_ptr())
        }
        // A loop that runs inside another's call has its own memory.
        Err(_) => f(MutableBuffer::new(size).as_mut_ptr()),
    })
}

/// How a column's pointers move from row to row.
#[derive(Clone, Copy)]
struct Stride {
    /// Bytes per row of `data`; 0 for bitmaps.
    width: usize,
    /// Whether the last rows must be copied into padding.
    padded: bool,
}

struct Columns {
    refs: Vec<ColumnRef>,
    strides: Vec<Stride>,
    /// What was made for this call and the pointers point into; only dropped.
    _kept: Vec<Box<dyn Any>>,
}

fn binding(message: impl Into<String>) -> EvalError {
    EvalError::Binding(message.into())
}

/// The text of each row of a dictionary's values; rows without one are empty.
fn dictionary(values: &dyn Array) -> Result<Vec<StrRef>, EvalError> {
    let of = |text: Option<&str>| text.map_or(StrRef::EMPTY, |t| StrRef::new(t.as_bytes()));
    if let Some(a) = values.as_string_opt::<i32>() {
        return Ok(a.iter().map(of).collect());
    }
    if let Some(a) = values.as_string_opt::<i64>() {
        return Ok(a.iter().map(of).collect());
    }
    if let Some(a) = values.as_string_view_opt() {
        return Ok(a.iter().map(of).collect());
    }
    Err(binding(format!("a dictionary of {}", values.data_type())))
}

fn bind_columns(lp: &CompiledLoop, morsel: &Morsel<'_>) -> Result<Columns, EvalError> {
    let inputs = &lp.source.inputs;
    if morsel.inputs.len() != inputs.len() {
        return Err(binding(format!(
            "the loop reads {} columns, {} given",
            inputs.len(),
            morsel.inputs.len()
        )));
    }
    let mut out = Columns { refs: Vec::new(), strides: Vec::new(), _kept: Vec::new() };
    for (input, array) in inputs.iter().zip(morsel.inputs) {
        let name = &input.name;
        if array.data_type() != &input.data_type {
            return Err(binding(format!("column {name} is {}, not {}", array.data_type(), input.data_type)));
        }
        if array.len() != morsel.rows {
            return Err(binding(format!("column {name} has {} rows, not {}", array.len(), morsel.rows)));
        }
        let mut column = ColumnRef::UNUSED;
        // Only of a dictionary do the nulls depend on more than the array's own bitmap.
        let computed = match &input.data_type {
            DataType::Dictionary(..) => array.logical_nulls(),
            _plain => None,
        };
        let nulls = computed.as_ref().or(array.nulls()).filter(|n| n.null_count() > 0);
        match (nulls, input.nullable) {
            (Some(_), false) => {
                return Err(binding(format!("column {name} has nulls, but the loop was made for none")));
            }
            (Some(nulls), true) => {
                column.valid = nulls.validity().as_ptr();
                column.valid_bit = nulls.offset() as u64;
            }
            (None, true) if morsel.rows <= ONES_ROWS => column.valid = ONES.as_ptr(),
            (None, true) => {
                let ones = vec![0xFF; morsel.rows.div_ceil(8)];
                column.valid = ones.as_ptr();
                out._kept.push(Box::new(ones));
            }
            (None, false) => {}
        }
        if let Some(computed) = computed {
            out._kept.push(Box::new(computed));
        }
        let stride = bind_data(array, &mut column, &mut out._kept)
            .ok_or_else(|| binding(format!("column {name} is {}, which no loop reads", array.data_type())))?;
        out.refs.push(column);
        out.strides.push(stride);
    }
    Ok(out)
}

/// Points a column at an array's values: straight at its buffers, because making an `ArrayData` of every
/// column would cost a small morsel more than its rows do. `None` for types that loops don't read.
fn bind_data(array: &ArrayRef, column: &mut ColumnRef, kept: &mut Vec<Box<dyn Any>>) -> Option<Stride> {
    let array: &dyn Array = array.as_ref();
    let strings = |width| Some(Stride { width, padded: false });
    match array.data_type() {
        DataType::Boolean => {
            let bits = array.as_boolean().values();
            column.data = bits.values().as_ptr();
            column.data_bit = bits.offset() as u64;
            Some(Stride { width: 0, padded: false })
        }
        DataType::Utf8 => {
            let text = array.as_string::<i32>();
            column.data = text.value_offsets().as_ptr().cast();
            column.aux = text.value_data().as_ptr();
            strings(4)
        }
        DataType::LargeUtf8 => {
            let text = array.as_string::<i64>();
            column.data = text.value_offsets().as_ptr().cast();
            column.aux = text.value_data().as_ptr();
            strings(8)
        }
        DataType::Utf8View => {
            let views = array.as_string_view();
            let pointers: Vec<*const u8> = views.data_buffers().iter().map(|b| b.as_ptr()).collect();
            column.data = views.views().as_ptr().cast();
            column.aux = pointers.as_ptr().cast();
            kept.push(Box::new(pointers));
            strings(16)
        }
        DataType::Dictionary(..) => {
            let dictionary_array = array.as_any_dictionary_opt()?;
            let table = dictionary(dictionary_array.values().as_ref()).ok()?;
            column.aux = table.as_ptr().cast();
            column.aux_len = table.len() as u64;
            kept.push(Box::new(table));
            let (data, width) = primitive_values(dictionary_array.keys())?;
            column.data = data;
            strings(width)
        }
        _primitive => {
            let (data, width) = primitive_values(array)?;
            column.data = data;
            Some(Stride { width, padded: true })
        }
    }
}

/// The values of a primitive array, and the bytes of each.
fn primitive_values(array: &dyn Array) -> Option<(*const u8, usize)> {
    fn of<T>(values: &[T]) -> Option<(*const u8, usize)> {
        Some((values.as_ptr().cast(), size_of::<T>()))
    }
    downcast_primitive_array!(array => of(array.values()), _other => None)
}

/// Staged outputs take at most this much of a thread's working memory.
const STAGED_BYTES: usize = 8 << 20;
/// Values are staged while at most this share of rows passed the filters in the morsel before.
const STAGED_PERCENT: usize = 60;

/// Checks that there is a build side of the right form for every join that the loop names.
fn check_joins(source: &Loop, morsel: &Morsel<'_>) -> Result<(), EvalError> {
    let side = |join: u32| {
        morsel.joins.get(join as usize).ok_or_else(|| binding(format!("join {join} has no build side")))
    };
    for inst in &source.values {
        match &inst.op {
            Op::Probe { join, null_equal } => {
                let tys: Vec<Ty> = inst.args.iter().map(|a| source.value(*a).ty).collect();
                if *side(*join)?.layout() != JoinLayout::of(&tys, *null_equal) {
                    return Err(binding(format!("the keys of join {join} are of other types")));
                }
            }
            Op::Fetch { join, column, ty, nullable } if !side(*join)?.has_column(*column, *ty, *nullable) => {
                return Err(binding(format!("join {join} has no such column {column}")));
            }
            Op::Expand { join, .. } => {
                side(*join)?;
            }
            _other => {}
        }
    }
    if source.joins() > morsel.joins.len() {
        return Err(binding("a join has no build side"));
    }
    Ok(())
}

/// How a call of compiled code went.
pub(super) enum Ran {
    Done(LoopOutput),
    /// Some row behind the first `done`, which are in the table if the loop groups, needs the interpreter.
    Bailed {
        done: usize,
        /// Pieces of the chunk behind them that are in the table too.
        parts: usize,
    },
}

/// Runs a compiled loop over a morsel, and into a table if it groups.
pub(super) fn run(
    lp: &CompiledLoop,
    morsel: &Morsel<'_>,
    groups: Option<&mut Groups>,
) -> Result<Ran, EvalError> {
    let groups = groups.map_or(std::ptr::null_mut(), Groups::view);
    let columns = bind_columns(lp, morsel)?;
    let outputs: &Outputs = &lp.outputs;
    let mut room = 0;
    let widths = outputs.slots.iter().filter_map(|s| s.ty.width()).sum::<usize>();
    check_joins(&lp.source, morsel)?;
    let joins: Vec<JoinRef> = morsel.joins.iter().map(|j| j.reference()).collect();
    let stage = lp.source.has_filter()
        && !lp.source.has_expansion()
        && lp.pass_percent.load(Ordering::Relaxed) <= STAGED_PERCENT
        && morsel.rows * widths <= STAGED_BYTES;
    let mut targets: Vec<Target> =
        outputs.slots.iter().map(|s| Target::new(s, morsel.rows, stage.then_some(&mut room))).collect();
    let aggs: &[Agg] = match &lp.source.sink {
        Sink::Aggregate(aggs) => aggs,
        Sink::Emit(_) | Sink::Group { .. } => &[],
    };
    // Boxed, because slots hold their addresses.
    let mut texts: Vec<Option<Box<Extreme>>> =
        aggs.iter().map(|a| is_text_extreme(a).then(Box::default)).collect();
    let mut slots: Vec<AggSlot> =
        aggs.iter().zip(&mut texts).map(|(agg, text)| first_slot(agg, text.as_deref_mut())).collect();
    let mut selection: Vec<u32> = Vec::new();
    if lp.source.needs_selection() {
        selection.reserve(morsel.rows + GROUP);
    }
    let rest = if morsel.rows.is_multiple_of(GROUP) { 0 } else { morsel.rows % CHUNK };
    let whole = morsel.rows - rest;
    let staging: usize = columns
        .strides
        .iter()
        .filter(|s| s.padded && rest > 0)
        .map(|s| ((rest + GROUP) * s.width).next_multiple_of(64))
        .sum();
    let tail = if rest == 0 {
        &lp.code
    } else {
        match lp.tail_code() {
            Some(tail) => tail,
            None => return Ok(Ran::Bailed { done: 0, parts: 0 }),
        }
    };
    let scratch_size = lp.code.scratch_size.max(tail.scratch_size);
    let run = |scratch: *mut u8| {
        let staged = scratch.wrapping_add(scratch_size + staging);
        let mut output_refs: Vec<OutputRef> = targets.iter_mut().map(|t| t.reference(staged)).collect();
        let mut growth = Growth {
            targets: &raw mut targets,
            selection: &raw mut selection,
            outputs: &raw mut output_refs,
            slots: &outputs.slots,
            staged,
        };
        let mut context = LoopContext {
            rows: whole as u64,
            row_base: morsel.row_base,
            first_row: 0,
            columns: columns.refs.as_ptr(),
            outputs: output_refs.as_mut_ptr(),
            aggs: slots.as_mut_ptr(),
            scratch,
            selection: selection.as_mut_ptr(),
            out_rows: 0,
            code: lp.code.memory.start(),
            groups,
            done_rows: 0,
            done_parts: 0,
            joins: joins.as_ptr(),
            capacity: morsel.rows as u64,
            grow: Some(grow),
            caller: (&raw mut growth).cast(),
        };
        let mut ok = true;
        if whole > 0 {
            // SAFETY: the context describes memory as the interface asks for: `whole` rows, a multiple
            // of 8, are readable in every column, outputs have room for all rows and a group of 8, and
            // the scratch memory has the size the loop was compiled with.
            ok = unsafe { (lp.code.memory.entry())(&mut context) } == STATUS_OK;
        }
        if ok && rest > 0 {
            // SAFETY: the copies lie behind the loop's own part of the scratch memory, in the room that
            // was added for them.
            let shifted = unsafe { stage_rest(&columns, whole, rest, scratch.add(scratch_size)) };
            context.rows = rest as u64;
            context.row_base = morsel.row_base.wrapping_add(whole as i64);
            context.first_row = whole as u64;
            context.columns = shifted.as_ptr();
            context.code = tail.memory.start();
            // SAFETY: as above, with a function for any number of rows; the copies are padded to a
            // multiple of 8 rows.
            ok = unsafe { (tail.memory.entry())(&mut context) } == STATUS_OK;
        }
        if !ok {
            let done = (context.first_row + context.done_rows) as usize;
            return Err((done, context.done_parts as usize));
        }
        let rows = context.out_rows as usize;
        let finished: Vec<Finished> = std::mem::take(&mut targets)
            .into_iter()
            .zip(&outputs.slots)
            // SAFETY: the loop has just written `rows` rows to these targets.
            .map(|(t, s)| unsafe { finish(t, s, rows, staged) })
            .collect();
        Ok((rows, finished))
    };
    let (out_rows, finished) = match with_scratch(scratch_size + staging + room + 64, run) {
        Ok(done) => done,
        Err((done, parts)) => return Ok(Ran::Bailed { done, parts }),
    };
    if let Some(percent) = (out_rows * 100).checked_div(morsel.rows) {
        lp.pass_percent.store(percent, Ordering::Relaxed);
    }
    let mut out = LoopOutput { rows: out_rows, ..LoopOutput::default() };
    for column in &outputs.columns {
        out.columns.push(make_column(column, &finished, morsel, out_rows));
    }
    if lp.source.needs_selection() {
        // SAFETY: the loop wrote one id per surviving row, for which there was room.
        unsafe { selection.set_len(out_rows) };
        out.selection = Some(UInt32Array::from(selection));
    }
    out.aggs = aggs.iter().zip(&slots).zip(texts).map(|((agg, slot), text)| state(agg, slot, text)).collect();
    Ok(Ran::Done(out))
}

/// Columns moved to row `from`; those that must be padded are copied to `memory`.
///
/// # Safety
/// `memory` has room for `rows + 8` values of every padded column, each rounded up to 64 bytes.
unsafe fn stage_rest(columns: &Columns, from: usize, rows: usize, memory: *mut u8) -> Vec<ColumnRef> {
    let mut memory = memory;
    let mut out = columns.refs.clone();
    for (column, stride) in out.iter_mut().zip(&columns.strides) {
        column.valid_bit += from as u64;
        if stride.width == 0 {
            column.data_bit += from as u64;
            continue;
        }
        // SAFETY: row `from` exists, as `rows` rows follow it; the copy stays in the caller's room.
        unsafe {
            column.data = column.data.add(from * stride.width);
            if stride.padded {
                let bytes = rows * stride.width;
                std::ptr::copy_nonoverlapping(column.data, memory, bytes);
                memory.add(bytes).write_bytes(0, GROUP * stride.width);
                column.data = memory;
                memory = memory.add(((rows + GROUP) * stride.width).next_multiple_of(64));
            }
        }
    }
    out
}

fn make_column(column: &Column, finished: &[Finished], morsel: &Morsel<'_>, rows: usize) -> Option<ArrayRef> {
    match column {
        Column::Passenger => None,
        Column::Input { index, data_type } => {
            let array = &morsel.inputs[*index];
            if array.data_type() == data_type {
                return Some(Arc::clone(array));
            }
            let data = array.to_data().into_builder().data_type(data_type.clone());
            // SAFETY: both types have the same physical representation.
            Some(make_array(unsafe { data.build_unchecked() }))
        }
        Column::Constant { lit, data_type } => Some(repeat(lit, data_type, rows)),
        Column::Slot { slot, data_type } => {
            let finished = &finished[*slot];
            let data = ArrayData::builder(data_type.clone())
                .len(rows)
                .buffers(finished.buffers.clone())
                .nulls(finished.nulls.clone());
            // SAFETY: the loop wrote `rows` values of the type's representation; strings are pieces of
            // valid UTF-8 cut between code points, with offsets or views that the builder made.
            Some(make_array(unsafe { data.build_unchecked() }))
        }
    }
}

/// An array of `rows` times the same value.
fn repeat(lit: &Lit, data_type: &DataType, rows: usize) -> ArrayRef {
    match lit {
        Lit::Null(_) => new_null_array(data_type, rows),
        Lit::Bool(value) => Arc::new(BooleanArray::from(vec![*value; rows])),
        Lit::Str(text) => {
            let texts = std::iter::repeat_n(text.as_str(), rows);
            match data_type {
                DataType::LargeUtf8 => Arc::new(LargeStringArray::from_iter_values(texts)),
                DataType::Utf8View => Arc::new(StringViewArray::from_iter_values(texts)),
                _utf8 => Arc::new(StringArray::from_iter_values(texts)),
            }
        }
        Lit::I128(value) => numbers(&value.to_le_bytes(), data_type, rows),
        number => {
            let width = number.ty().width().unwrap_or(8);
            numbers(&super::lanes::literal_bits(number).to_le_bytes()[..width], data_type, rows)
        }
    }
}

fn numbers(bytes: &[u8], data_type: &DataType, rows: usize) -> ArrayRef {
    let mut buffer = MutableBuffer::with_capacity(rows * bytes.len());
    for _ in 0..rows {
        buffer.extend_from_slice(bytes);
    }
    let data = ArrayData::builder(data_type.clone()).len(rows).add_buffer(buffer.into());
    // SAFETY: the buffer holds `rows` values of the type's width.
    make_array(unsafe { data.build_unchecked() })
}

// ---- aggregates -------------------------------------------------------------------------------------

/// What a slot holds before the first row.
fn first_slot(agg: &Agg, text: Option<&mut Extreme>) -> AggSlot {
    let mut slot = AggSlot { lanes: [0; 8], count: 0, reserved: 0 };
    if let Some(text) = text {
        slot.lanes[0] = std::ptr::from_mut(text) as u64;
        return slot;
    }
    let least = match agg.func {
        AggFunc::Count | AggFunc::Sum | AggFunc::Spread => return slot,
        AggFunc::Min => true,
        AggFunc::Max => false,
    };
    // The key that loses against every row, in every lane.
    let width = agg.ty.width().unwrap_or(8) * 8;
    let key = if least { i128::MAX >> (128 - width) } else { i128::MIN >> (128 - width) };
    let mut lanes = 0u128;
    for lane in 0..128 / width {
        let mask = u128::MAX >> (128 - width);
        lanes |= (key as u128 & mask) << (lane * width);
    }
    slot.lanes[0] = lanes as u64;
    slot.lanes[1] = (lanes >> 64) as u64;
    slot
}

/// The state that a slot's running parts amount to.
fn state(agg: &Agg, slot: &AggSlot, text: Option<Box<Extreme>>) -> AggState {
    if let Some(text) = text {
        // Pieces of text that was cut between code points: nothing is lost.
        let best = text.best.map_or(String::new(), |b| String::from_utf8_lossy(&b).into_owned());
        return AggState { count: slot.count, value: AggValue::Text(best) };
    }
    let pair = u128::from(slot.lanes[0]) | u128::from(slot.lanes[1]) << 64;
    let value = match agg.func {
        AggFunc::Count => AggValue::Int(i128::from(slot.count)),
        AggFunc::Sum if agg.ty == Ty::F64 => AggValue::Float(combine_f64(&slot.lanes.map(f64::from_bits))),
        AggFunc::Sum if agg.ty == Ty::I128 => AggValue::Int(pair as i128),
        AggFunc::Sum => AggValue::Int(wrap_to(agg.ty, i128::from(slot.lanes[0].wrapping_add(slot.lanes[1])))),
        AggFunc::Spread => {
            // Three parts of one word each, every one in 16 bytes.
            let [count, mean, squares] = [slot.lanes[0], slot.lanes[2], slot.lanes[4]];
            let (mean, squares) = (f64::from_bits(mean), f64::from_bits(squares));
            AggValue::Spread(Spread { count, mean, squares }.with_one_nan())
        }
        AggFunc::Min | AggFunc::Max => {
            if slot.count == 0 {
                return AggState { count: 0, ..AggState::empty(agg) };
            }
            extreme(agg, pair)
        }
    };
    AggState { count: slot.count, value }
}

/// The least or greatest of the lanes' keys, as a value.
fn extreme(agg: &Agg, pair: u128) -> AggValue {
    let width = agg.ty.width().unwrap_or(8) * 8;
    // Bytes use half a vector.
    let lanes = if width == 8 { 8 } else { 128 / width };
    let keys = (0..lanes).map(|lane| {
        let shifted = (pair >> (lane * width)) << (128 - width);
        shifted as i128 >> (128 - width)
    });
    let best = if agg.func == AggFunc::Min { keys.min() } else { keys.max() };
    let key = best.unwrap_or(0);
    if agg.ty.is_unsigned_int() {
        return AggValue::Int(key + (1 << (width - 1)));
    }
    match agg.ty {
        Ty::F64 => {
            let key = key as i64;
            AggValue::Float(f64::from_bits((key ^ ((key >> 63) as u64 >> 1) as i64) as u64))
        }
        Ty::F32 => {
            let key = key as i32;
            AggValue::Float(f64::from(f32::from_bits((key ^ ((key >> 31) as u32 >> 1) as i32) as u32)))
        }
        _int => AggValue::Int(key),
    }
}
