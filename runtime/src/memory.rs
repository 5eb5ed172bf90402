//! The memory of a stage: how much a morsel may need, and asking the pool for it.
//!
//! A stage holds one morsel's outputs at a time, per partition. The estimate is made from the types
//! before the morsel runs; where the pool refuses it, the morsel is cut down to one chunk before
//! the query fails.

use crate::program::Program;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use fuseline_codegen::ir::{CHUNK, Emit, Loop, Sink};
use fuseline_planner::stage::Stage;

/// Bytes of a chunk that a loop stages per value, and its fixed scratch.
const SCRATCH_PER_VALUE: usize = CHUNK * 8;

/// What one partition of a stage has reserved.
pub struct StageMemory {
    reservation: MemoryReservation,
    bytes_per_row: usize,
    scratch: usize,
}

impl StageMemory {
    pub fn new(id: usize, partition: usize, program: &Program, context: &TaskContext) -> StageMemory {
        let reservation = MemoryConsumer::new(format!("FusedExec *({id}) partition {partition}"))
            .register(context.memory_pool());
        let mut memory = StageMemory { reservation, bytes_per_row: 0, scratch: 0 };
        memory.go_on(program);
        memory
    }

    /// From here on it is for morsels of this program.
    pub fn go_on(&mut self, program: &Program) {
        let stage = program.stage();
        self.bytes_per_row = bytes_per_row(stage);
        let scratch = stage.segments.iter().map(|s| s.loop_.values.len() * SCRATCH_PER_VALUE).max();
        self.scratch = scratch.unwrap_or(0);
    }

    /// Reserves for a morsel of `rows` rows, or for a smaller one if the pool has no more; returns
    /// how many rows it may have.
    ///
    /// # Errors
    /// `ResourcesExhausted` when there is not enough for a chunk.
    pub fn reserve(&self, rows: usize) -> Result<usize> {
        let asked = |rows: usize| self.scratch.saturating_add(self.bytes_per_row.saturating_mul(rows));
        match self.reservation.try_resize(asked(rows)) {
            Ok(()) => Ok(rows),
            // The least at once, not half of it: whoever takes all that is left starves the others.
            Err(DataFusionError::ResourcesExhausted(_)) if rows > CHUNK => {
                self.reservation.try_resize(asked(CHUNK))?;
                Ok(CHUNK)
            }
            Err(e) => Err(e),
        }
    }

    /// Reserves for a morsel that must not be cut.
    ///
    /// # Errors
    /// `ResourcesExhausted` when the pool refuses.
    pub fn reserve_whole(&self, rows: usize) -> Result<()> {
        self.reservation.try_resize(self.scratch.saturating_add(self.bytes_per_row.saturating_mul(rows)))
    }

    pub fn free(&self) {
        self.reservation.free();
    }
}

/// Bytes that a row takes at most in the batches made while it passes through the stage; strings
/// count as their views.
fn bytes_per_row(stage: &Stage) -> usize {
    let mut total = 0;
    for segment in &stage.segments {
        total += match &segment.loop_.sink {
            Sink::Aggregate(_) | Sink::Group { .. } => 0,
            Sink::Emit(emits) => {
                let moves = segment.loop_.has_filter();
                let fields = segment.output.fields();
                emits
                    .iter()
                    .zip(fields)
                    .filter(|(e, _)| moves || matches!(e, Emit::Value { .. }))
                    .map(|(_, f)| width(f.data_type()))
                    .sum::<usize>()
                    + selection_width(&segment.loop_)
            }
        };
        total += segment.calls.iter().map(|c| width(c.field.data_type())).sum::<usize>();
    }
    total
}

fn selection_width(loop_: &Loop) -> usize {
    if loop_.needs_selection() { 4 } else { 0 }
}

fn width(data_type: &DataType) -> usize {
    match data_type {
        DataType::Boolean | DataType::Null => 1,
        other => other.primitive_width().unwrap_or(16),
    }
}
