//! Results as Python sees them.
//!
//! `arrow` hands batches over as Arrow streams, `batches` iterates over them, `rows` makes Python
//! values, `cursor` gives them one by one. `gather` puts a whole result into NumPy's form: `column` is
//! one column of one partition on its way there, `region` the memory it grows in, `memory` what NumPy
//! gets. `html` is a notebook's table.

pub mod arrow;
pub mod batches;
pub mod column;
pub mod cursor;
pub mod gather;
pub mod html;
pub mod memory;
pub mod profile;
pub mod region;
pub mod rows;
