//! The memory that a compiled loop and its caller share: defined here once, as `#[repr(C)]` structs.
//! Code generators take field offsets from these types with `offset_of!` and never spell a number.
//!
//! One call of a compiled loop runs over `rows` rows. All column pointers already point at the first
//! of them. Values may be read up to the next multiple of 8 rows, so a caller whose row count is no
//! multiple of 8 runs the last rows from padded copies. Bitmaps are read exactly.

/// What a compiled loop is called with.
#[derive(Debug)]
#[repr(C)]
pub struct LoopContext {
    /// Rows of this call.
    pub rows: u64,
    /// `Op::RowIndex` of the call's first row.
    pub row_base: i64,
    /// Position of the call's first row in the morsel; surviving row ids count from there.
    pub first_row: u64,
    /// One per input of the loop.
    pub columns: *const ColumnRef,
    /// One per output buffer of the loop.
    pub outputs: *mut OutputRef,
    /// One per aggregate.
    pub aggs: *mut AggSlot,
    /// Working memory of the loop, 64-byte aligned, of the size that the compiled loop asks for.
    pub scratch: *mut u8,
    /// Where the row ids of surviving rows go, if the loop reports them.
    pub selection: *mut u32,
    /// In and out: rows emitted (or aggregated) so far.
    pub out_rows: u64,
    /// Where the compiled loop's code starts: its parts call each other relative to this.
    pub code: *const u8,
    /// The table of a loop that groups; it is the first field of a [`crate::group::GroupTable`].
    pub groups: *mut GroupRef,
    /// Out, of a loop that groups: rows of this call whose chunks are in the table. Behind them nothing
    /// has changed, so a caller whose call failed goes on there.
    pub done_rows: u64,
    /// Out, of a loop that groups pairs of rows: pieces of the chunk behind `done_rows` that are in the table
    /// too.
    pub done_parts: u64,
    /// One per join of the loop.
    pub joins: *const JoinRef,
    /// Rows that outputs have room for. A loop that makes pairs asks `grow` for more when it needs them.
    pub capacity: u64,
    /// Given how many rows were written and how many there will be, makes room for them; 0 if it could.
    pub grow: Option<unsafe extern "C" fn(*mut LoopContext, u64, u64) -> i64>,
    /// The caller's own.
    pub caller: *mut u8,
}

/// The build side of a join.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct JoinRef {
    pub table: *const crate::join::JoinTable,
    /// One per column that loops may fetch.
    pub columns: *const BuildRef,
}

/// A column of a build side; at least one row can be read.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BuildRef {
    /// Values; of strings [`crate::strings::StrRef`]s, of booleans bits.
    pub data: *const u8,
    /// Bits from the first row on; null when no row is null.
    pub valid: *const u8,
}

/// Copies of the records that a table of few groups keeps, so that neighbouring rows of one group do not
/// wait for each other; row `i` of a chunk goes to copy `i % RECORD_COPIES`.
pub const RECORD_COPIES: usize = 4;

/// What generated code sees of a table of groups. A group is a number; its record lies at `number *
/// stride` in `records` and holds the packed key, then the cells.
#[derive(Debug)]
#[repr(C)]
pub struct GroupRef {
    /// The hash index, while there is one. A slot is 0, or the group's number in the low half and in the
    /// high half the high half of its key's hash, made odd. A key's first slot is its hash, shifted, and
    /// `mask`; the slot behind it can be read too.
    pub slots: *const u64,
    pub mask: u64,
    /// While it is not null: for a key that is one integer, `number + 1` by value minus `dense_base`, 0
    /// where there is no such group. Behind the `dense_len` entries comes a 0, then the group of NULL.
    pub dense: *const u32,
    pub dense_base: u64,
    pub dense_len: u64,
    /// The first record of every copy; all the same once there are many groups.
    pub records: [*mut u8; RECORD_COPIES],
    /// Not 0 when index and records no longer fit the near caches, so that prefetching pays.
    pub far: u64,
    /// Not 0 while every key gets a record of its own, so that nothing is looked up.
    pub append: u64,
    /// While they are not null, for a key that is one integer: cells, without a key before them, by value minus
    /// `dense_base`, of every copy; behind those of the `dense_len` values lie those of NULL. For chunks
    /// without any other value.
    pub direct: [*mut u8; RECORD_COPIES],
    /// A byte per place of `direct`, to be made 1 where it was updated.
    pub present: *mut u8,
}

/// An input column from its first row of the call on.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ColumnRef {
    /// Values, offsets, views or dictionary keys; for booleans the bitmap's first byte.
    pub data: *const u8,
    /// For booleans: which bit of `data` is the first row.
    pub data_bit: u64,
    /// The validity bitmap; null when no row is null.
    pub valid: *const u8,
    /// Which bit of `valid` is the first row.
    pub valid_bit: u64,
    /// Strings: the bytes, the list of data buffers, or the dictionary as `StrRef`s.
    pub aux: *const u8,
    /// Entries of a dictionary.
    pub aux_len: u64,
}

impl ColumnRef {
    /// A column that a loop never looks at.
    pub const UNUSED: ColumnRef = ColumnRef {
        data: std::ptr::null(),
        data_bit: 0,
        valid: std::ptr::null(),
        valid_bit: 0,
        aux: std::ptr::null(),
        aux_len: 0,
    };
}

/// An output column.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct OutputRef {
    /// Room for all rows and 8 more; for strings the builder.
    pub data: *mut u8,
    /// A zeroed bitmap; null when the column cannot hold nulls.
    pub valid: *mut u8,
}

/// Where an aggregate's running parts live between calls.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct AggSlot {
    /// Eight running sums, four vectors of two lanes, or one value: as the loop laid them out. For text
    /// the first is the address of the caller's [`crate::strings::extreme::Extreme`].
    pub lanes: [u64; 8],
    /// Rows that counted.
    pub count: u64,
    /// Keeps the size a multiple of the alignment.
    pub reserved: u64,
}

/// Masks for a group of 8 rows of which the first `k` exist, for every `k`, in every width.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct LiveMasks {
    /// One 0 or -1 per row.
    pub lanes64: [i64; 8],
    pub lanes32: [i32; 8],
    pub lanes16: [i16; 8],
    pub lanes8: [i8; 8],
    /// One bit per row.
    pub bits: u8,
    reserved: [u8; 7],
}

/// Indexed by the number of rows that exist, 0 to 8.
pub static LIVE_MASKS: [LiveMasks; 9] = {
    let mut table = [const {
        LiveMasks {
            lanes64: [0; 8],
            lanes32: [0; 8],
            lanes16: [0; 8],
            lanes8: [0; 8],
            bits: 0,
            reserved: [0; 7],
        }
    }; 9];
    let mut k = 0;
    while k < 9 {
        let mut row = 0;
        while row < k {
            table[k].lanes64[row] = -1;
            table[k].lanes32[row] = -1;
            table[k].lanes16[row] = -1;
            table[k].lanes8[row] = -1;
            table[k].bits |= 1 << row;
            row += 1;
        }
        k += 1;
    }
    table
};

/// Compiled loops return this when every row went well; anything else means that the caller must
/// find out with the interpreter.
pub const STATUS_OK: i64 = 0;
/// Some row failed, or met a case that compiled code leaves to the interpreter.
pub const STATUS_BAIL: i64 = 1;

/// The type of a compiled loop.
pub type LoopFn = unsafe extern "C" fn(*mut LoopContext) -> i64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_masks_have_one_stride_and_count_up() {
        assert_eq!(size_of::<LiveMasks>(), 128);
        for (k, live) in LIVE_MASKS.iter().enumerate() {
            assert_eq!(live.bits.count_ones() as usize, k);
            assert_eq!(live.lanes64.iter().sum::<i64>(), -(k as i64));
            assert_eq!(live.lanes8.iter().map(|&l| i64::from(l)).sum::<i64>(), -(k as i64));
        }
    }
}
