//! Outputs of a loop while they are written: room for them, more room where rows become several, and the
//! buffers that they leave.
//!
//! Invariant: what an [`OutputRef`] points at has room for the rows that the loop may write before it asks
//! for more, and for whole groups of 8 behind them.

use super::outputs::Slot;
use crate::ir::GROUP;
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer};
use arrow::datatypes::DataType;
use fuseline_kernels::abi::{LoopContext, OutputRef};
use fuseline_kernels::strings::builder::{LargeUtf8Builder, Utf8Builder, ViewBuilder};

/// An output under construction.
pub(super) enum Target {
    Values {
        data: MutableBuffer,
        valid: Option<MutableBuffer>,
    },
    /// Values of a loop whose filters keep few rows: written to working memory, at this offset from
    /// the staged outputs' start, and copied to a buffer of the right size at the end.
    Staged {
        offset: usize,
        valid: Option<MutableBuffer>,
    },
    Utf8 {
        builder: Box<Utf8Builder>,
        valid: Option<MutableBuffer>,
    },
    LargeUtf8 {
        builder: Box<LargeUtf8Builder>,
        valid: Option<MutableBuffer>,
    },
    View {
        builder: Box<ViewBuilder>,
        valid: Option<MutableBuffer>,
    },
}

fn bitmap(rows: usize) -> MutableBuffer {
    MutableBuffer::from_len_zeroed(rows.div_ceil(64) * 8 + 8)
}

impl Target {
    /// `staged` is the room for staged outputs taken so far, if they are to be staged.
    pub(super) fn new(slot: &Slot, rows: usize, staged: Option<&mut usize>) -> Target {
        let valid = slot.nullable.then(|| bitmap(rows));
        match &slot.text {
            Some(DataType::LargeUtf8) => {
                Target::LargeUtf8 { builder: Box::new(LargeUtf8Builder::with_capacity(rows, 0)), valid }
            }
            Some(DataType::Utf8View) => {
                Target::View { builder: Box::new(ViewBuilder::with_capacity(rows)), valid }
            }
            Some(_) => Target::Utf8 { builder: Box::new(Utf8Builder::with_capacity(rows, 0)), valid },
            None => match (slot.ty.width(), staged) {
                (None, _) => Target::Values { data: bitmap(rows), valid },
                (Some(width), Some(used)) => {
                    let offset = *used;
                    *used += ((rows + 2 * GROUP) * width).next_multiple_of(64);
                    Target::Staged { offset, valid }
                }
                (Some(width), None) => {
                    Target::Values { data: MutableBuffer::new((rows + 2 * GROUP) * width), valid }
                }
            },
        }
    }

    /// Makes room for `rows` rows, of which `used` were written.
    fn grow(&mut self, slot: &Slot, used: usize, rows: usize) {
        let bits = |buffer: &mut MutableBuffer| buffer.resize(rows.div_ceil(64) * 8 + 8, 0);
        let (data, valid) = match self {
            Target::Values { data, valid } => (Some(data), valid),
            Target::Staged { valid, .. }
            | Target::Utf8 { valid, .. }
            | Target::LargeUtf8 { valid, .. }
            | Target::View { valid, .. } => (None, valid),
        };
        if let Some(valid) = valid {
            bits(valid);
        }
        match (data, slot.ty.width()) {
            (Some(data), None) => bits(data),
            (Some(data), Some(width)) => {
                // SAFETY: the loop wrote `used` values.
                unsafe { data.set_len(used * width) };
                data.reserve((rows + 2 * GROUP - used) * width);
            }
            (None, _) => {}
        }
    }

    /// `staged` is where staged outputs start.
    pub(super) fn reference(&mut self, staged: *mut u8) -> OutputRef {
        let pointer = |valid: &mut Option<MutableBuffer>| {
            valid.as_mut().map_or(std::ptr::null_mut(), |v| v.as_mut_ptr())
        };
        match self {
            Target::Values { data, valid } => OutputRef { data: data.as_mut_ptr(), valid: pointer(valid) },
            Target::Staged { offset, valid } => {
                OutputRef { data: staged.wrapping_add(*offset), valid: pointer(valid) }
            }
            Target::Utf8 { builder, valid } => {
                OutputRef { data: (&raw mut **builder).cast(), valid: pointer(valid) }
            }
            Target::LargeUtf8 { builder, valid } => {
                OutputRef { data: (&raw mut **builder).cast(), valid: pointer(valid) }
            }
            Target::View { builder, valid } => {
                OutputRef { data: (&raw mut **builder).cast(), valid: pointer(valid) }
            }
        }
    }
}

/// A finished output: buffers that several columns may share.
pub(super) struct Finished {
    pub buffers: Vec<Buffer>,
    pub nulls: Option<NullBuffer>,
}

fn finish_nulls(valid: Option<MutableBuffer>, rows: usize) -> Option<NullBuffer> {
    let nulls = NullBuffer::new(BooleanBuffer::new(valid?.into(), 0, rows));
    (nulls.null_count() > 0).then_some(nulls)
}

/// # Safety
/// `staged` is where the loop, which wrote `rows` rows, found staged outputs.
pub(super) unsafe fn finish(target: Target, slot: &Slot, rows: usize, staged: *const u8) -> Finished {
    match target {
        Target::Values { mut data, valid } => {
            if let Some(width) = slot.ty.width() {
                // SAFETY: the loop wrote `rows` values, and the buffer has room for more.
                unsafe { data.set_len(rows * width) };
                if data.capacity() > 2 * data.len() + 4096 {
                    data.shrink_to_fit();
                }
            }
            Finished { buffers: vec![data.into()], nulls: finish_nulls(valid, rows) }
        }
        Target::Staged { offset, valid } => {
            let bytes = rows * slot.ty.width().unwrap_or(0);
            // SAFETY: the loop wrote that many bytes there.
            let written = unsafe { std::slice::from_raw_parts(staged.add(offset), bytes) };
            Finished { buffers: vec![Buffer::from_slice_ref(written)], nulls: finish_nulls(valid, rows) }
        }
        Target::Utf8 { mut builder, valid } => {
            let (offsets, bytes) = builder.take();
            let buffers = vec![Buffer::from_vec(offsets), Buffer::from_vec(bytes)];
            Finished { buffers, nulls: finish_nulls(valid, rows) }
        }
        Target::LargeUtf8 { mut builder, valid } => {
            let (offsets, bytes) = builder.take();
            let buffers = vec![Buffer::from_vec(offsets), Buffer::from_vec(bytes)];
            Finished { buffers, nulls: finish_nulls(valid, rows) }
        }
        Target::View { mut builder, valid } => {
            let (views, data) = builder.take();
            let mut buffers = vec![Buffer::from_vec(views)];
            buffers.extend(data.into_iter().map(Buffer::from_vec));
            Finished { buffers, nulls: finish_nulls(valid, rows) }
        }
    }
}

/// The outputs of a call, for [`grow`].
pub(super) struct Growth<'a> {
    pub targets: *mut Vec<Target>,
    pub selection: *mut Vec<u32>,
    pub outputs: *mut Vec<OutputRef>,
    pub slots: &'a [Slot],
    pub staged: *mut u8,
}

/// Makes room in the outputs of a loop whose rows become several.
pub(super) unsafe extern "C" fn grow(context: *mut LoopContext, used: u64, needed: u64) -> i64 {
    // SAFETY: generated code passes the context of the call that `run` makes, whose caller field points at
    // a `Growth` of objects that nobody else uses meanwhile; `used` rows were written.
    unsafe {
        let context = &mut *context;
        let growth = &mut *context.caller.cast::<Growth<'_>>();
        let rows = (needed.max(context.capacity * 2) as usize).next_multiple_of(64);
        let used = used as usize;
        let outputs = &mut *growth.outputs;
        for ((target, slot), output) in (*growth.targets).iter_mut().zip(growth.slots).zip(outputs) {
            target.grow(slot, used, rows);
            *output = target.reference(growth.staged);
        }
        let selection = &mut *growth.selection;
        if selection.capacity() > 0 {
            selection.set_len(used);
            selection.reserve(rows + GROUP - used);
            context.selection = selection.as_mut_ptr();
        }
        context.outputs = (*growth.outputs).as_mut_ptr();
        context.capacity = rows as u64;
    }
    0
}
