//! The build side of a join in terms of the IR: its table of keys, and the columns that loops fetch.
//!
//! All rows are there before the first is probed, so what is known of them (unique keys, columns without
//! nulls) goes into the loops' variants: [`crate::ir::TableFacts`].
//!
//! Invariant: pointers of the table and of [`BuildRef`]s point into arrays that the side keeps, or into
//! [`PADDING`] where there are no rows.

use crate::groups::{KeyPlace, KeyWord, place};
use crate::ir::{Input, TableFacts, Ty};
use crate::run::EvalError;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{BooleanBuffer, Buffer};
use fuseline_kernels::abi::{BuildRef, JoinRef};
use fuseline_kernels::group::TableShape;
use fuseline_kernels::join::{JoinTable, KeyPack, PackKind, PackSpec};
use fuseline_kernels::strings::StrRef;

/// What is read of a build side without rows.
static PADDING: [StrRef; 4] = [StrRef::EMPTY; 4];

/// How the keys of a join are looked up: the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinLayout {
    places: Vec<KeyPlace>,
    spec: PackSpec,
    integer: Option<Ty>,
}

impl JoinLayout {
    pub fn of(tys: &[Ty], null_equal: bool) -> JoinLayout {
        let mut places: Vec<KeyPlace> = tys
            .iter()
            .map(|ty| KeyPlace {
                ty: *ty,
                data_type: ty.natural(),
                word: 0,
                shift: 0,
                null: None,
                nullable: null_equal,
                pointer: None,
                extended: false,
            })
            .collect();
        let mut shape = TableShape { words: 0, texts: vec![], integer: false, cells: vec![] };
        place(&mut places, &mut shape);
        let key_words = shape.key_words();
        let keys = places
            .iter()
            .map(|p| KeyPack {
                kind: kind(p.ty),
                word: p.word,
                shift: p.shift,
                null: p.null,
                pointer: p.pointer.unwrap_or(0),
            })
            .collect();
        let integer = match tys {
            [ty] if ty.is_int() && *ty != Ty::I128 => Some(*ty),
            _ => None,
        };
        let spec = PackSpec { keys, words: shape.words, key_words, texts: shape.texts, null_equal };
        JoinLayout { places, spec, integer }
    }

    /// The type of a key that is one integer, which is looked up unpacked.
    pub fn integer(&self) -> Option<Ty> {
        self.integer
    }

    pub fn key_words(&self) -> usize {
        self.spec.key_words
    }

    pub fn tys(&self) -> Vec<Ty> {
        self.places.iter().map(|p| p.ty).collect()
    }
}

fn kind(ty: Ty) -> PackKind {
    match ty {
        Ty::Bool => PackKind::Bits,
        Ty::I8 | Ty::U8 => PackKind::W1,
        Ty::I16 | Ty::U16 => PackKind::W2,
        Ty::I32 | Ty::U32 => PackKind::W4,
        Ty::I64 | Ty::U64 => PackKind::W8,
        Ty::I128 => PackKind::W16,
        Ty::F32 => PackKind::F32,
        Ty::F64 => PackKind::F64,
        Ty::Str => PackKind::Text,
    }
}

/// A column as loops read it.
#[derive(Debug)]
struct BuildColumn {
    array: ArrayRef,
    ty: Ty,
    /// What pointers point into beside the array; only kept.
    _bits: Vec<Buffer>,
    _texts: Vec<StrRef>,
}

/// All rows of a build side, ready to be probed.
#[derive(Debug)]
pub struct JoinSide {
    layout: JoinLayout,
    table: JoinTable,
    columns: Vec<BuildColumn>,
    refs: Vec<BuildRef>,
    /// Strings of keys lie here.
    _keys: Vec<ArrayRef>,
}

// SAFETY: the pointers are to memory that the side owns and that nobody writes to.
unsafe impl Send for JoinSide {}
// SAFETY: as above; bits of visited rows are atomic.
unsafe impl Sync for JoinSide {}

impl JoinSide {
    /// Builds the table. Arrays have the representation of the types, and are no dictionaries.
    ///
    /// # Errors
    /// [`EvalError::Binding`] when they have another one.
    pub fn build(
        keys: Vec<ArrayRef>,
        layout: JoinLayout,
        columns: Vec<ArrayRef>,
        threads: usize,
    ) -> Result<JoinSide, EvalError> {
        for (key, place) in keys.iter().zip(&layout.places) {
            if Input::physical(key.data_type()) != Some(place.ty) {
                return Err(EvalError::Binding(format!("a key is {}, not {}", key.data_type(), place.ty)));
            }
        }
        let table = match (layout.integer, keys.as_slice()) {
            (Some(ty), [key]) => of_integers(key, ty, layout.spec.null_equal, threads)?,
            _ => of_packed(&keys, &layout)?,
        };
        let (mut kept, mut refs) = (vec![], vec![]);
        for array in columns {
            let (column, reference) = build_column(array)?;
            kept.push(column);
            refs.push(reference);
        }
        Ok(JoinSide { layout, table, columns: kept, refs, _keys: keys })
    }

    pub fn layout(&self) -> &JoinLayout {
        &self.layout
    }

    pub fn table(&self) -> &JoinTable {
        &self.table
    }

    /// Prepares for loops that note which rows matched.
    pub fn track_visits(&mut self) {
        self.table.track_visits();
    }

    /// Which build rows were met, by loops that noted rows, or with `by_entry` entries.
    pub fn visited(&self, by_entry: bool) -> BooleanBuffer {
        let words = Buffer::from_vec(self.table.visited_rows(by_entry));
        BooleanBuffer::new(words, 0, self.table.build_rows())
    }

    pub fn facts(&self) -> TableFacts {
        TableFacts {
            unique: self.table.is_unique(),
            nullable: self.columns.iter().map(|c| c.array.null_count() > 0).collect(),
        }
    }

    pub fn columns(&self) -> Vec<ArrayRef> {
        self.columns.iter().map(|c| c.array.clone()).collect()
    }

    pub(crate) fn column(&self, column: u32, ty: Ty) -> Result<&ArrayRef, EvalError> {
        match self.columns.get(column as usize) {
            Some(c) if c.ty == ty => Ok(&c.array),
            Some(_) | None => Err(EvalError::Binding(format!("a build side has no column {column} of {ty}"))),
        }
    }

    pub(crate) fn has_column(&self, column: u32, ty: Ty, nullable: bool) -> bool {
        self.columns
            .get(column as usize)
            .is_some_and(|c| c.ty == ty && (nullable || c.array.null_count() == 0))
    }

    pub(crate) fn reference(&self) -> JoinRef {
        JoinRef { table: &raw const self.table, columns: self.refs.as_ptr() }
    }

    /// The entry of one row's key.
    pub(crate) fn find(&self, key: &[KeyWord<'_>]) -> Option<u32> {
        if let (Some(_), [word]) = (self.layout.integer, key) {
            return match word {
                KeyWord::Null => self.table.find_int(None),
                KeyWord::Number(value) => self.table.find_int(Some(*value as u64)),
                KeyWord::Text(_) => None,
            };
        }
        let mut words = vec![0u64; self.layout.spec.key_words];
        for (word, place) in key.iter().zip(&self.layout.places) {
            if matches!(word, KeyWord::Null) && !self.layout.spec.null_equal {
                return None;
            }
            word.pack(place, &mut words);
        }
        // SAFETY: packed by the table's own layout; texts are borrowed.
        unsafe { self.table.find_packed(words.as_ptr()) }
    }
}

/// The values of a fixed-width array.
fn values<T: arrow::datatypes::ArrowNativeType>(
    array: &ArrayRef,
) -> Result<arrow::buffer::ScalarBuffer<T>, EvalError> {
    let data = array.to_data();
    match data.buffers() {
        [buffer] if data.data_type().primitive_width() == Some(size_of::<T>()) => {
            Ok(arrow::buffer::ScalarBuffer::new(buffer.clone(), data.offset(), data.len()))
        }
        _ => Err(EvalError::Binding(format!("{} is no fixed-width key", array.data_type()))),
    }
}

fn of_integers(key: &ArrayRef, ty: Ty, null_equal: bool, threads: usize) -> Result<JoinTable, EvalError> {
    let nulls = key.nulls().filter(|n| n.null_count() > 0).cloned();
    let is_valid = |i: usize| nulls.as_ref().is_none_or(|n| n.is_valid(i));
    let valid: Option<&(dyn Fn(usize) -> bool + Sync)> = if nulls.is_some() { Some(&is_valid) } else { None };
    macro_rules! of {
        ($ty:ty) => {
            Ok(JoinTable::of_ints::<$ty>(&values::<$ty>(key)?, valid, null_equal, threads))
        };
    }
    match ty {
        Ty::I8 => of!(i8),
        Ty::I16 => of!(i16),
        Ty::I32 => of!(i32),
        Ty::I64 => of!(i64),
        Ty::U8 => of!(u8),
        Ty::U16 => of!(u16),
        Ty::U32 => of!(u32),
        Ty::U64 => of!(u64),
        Ty::Bool | Ty::I128 | Ty::F32 | Ty::F64 | Ty::Str => {
            Err(EvalError::Binding(format!("{ty} is no integer key")))
        }
    }
}

fn of_packed(keys: &[ArrayRef], layout: &JoinLayout) -> Result<JoinTable, EvalError> {
    let rows = keys.first().map_or(0, |k| k.len());
    let stride = layout.spec.key_words;
    let mut packed = vec![0u64; rows * stride];
    let mut counts = vec![true; rows];
    for (key, place) in keys.iter().zip(&layout.places) {
        let mut pack = |i: usize, word: KeyWord<'_>| {
            if matches!(word, KeyWord::Null) && !layout.spec.null_equal {
                counts[i] = false;
            } else {
                word.pack(place, &mut packed[i * stride..(i + 1) * stride]);
            }
        };
        macro_rules! numbers {
            ($ty:ty, $of:expr) => {{
                let values = values::<$ty>(key)?;
                let of: fn($ty) -> i128 = $of;
                for (i, value) in values.iter().enumerate() {
                    pack(i, if key.is_valid(i) { KeyWord::Number(of(*value)) } else { KeyWord::Null });
                }
            }};
        }
        match place.ty {
            Ty::Bool => {
                let bools = key.as_boolean();
                for i in 0..rows {
                    let word = KeyWord::Number(i128::from(bools.value(i)));
                    pack(i, if bools.is_valid(i) { word } else { KeyWord::Null });
                }
            }
            Ty::I8 => numbers!(i8, i128::from),
            Ty::I16 => numbers!(i16, i128::from),
            Ty::I32 => numbers!(i32, i128::from),
            Ty::I64 => numbers!(i64, i128::from),
            Ty::I128 => numbers!(i128, |v| v),
            Ty::U8 => numbers!(u8, i128::from),
            Ty::U16 => numbers!(u16, i128::from),
            Ty::U32 => numbers!(u32, i128::from),
            Ty::U64 => numbers!(u64, i128::from),
            Ty::F32 => numbers!(f32, |v| i128::from(v.to_bits())),
            Ty::F64 => numbers!(f64, |v| i128::from(v.to_bits())),
            Ty::Str => texts(key, |i, text| pack(i, text.map_or(KeyWord::Null, KeyWord::Text)))?,
        }
    }
    Ok(JoinTable::of_packed(packed, rows, layout.spec.clone(), &|i| counts[i]))
}

fn texts(array: &ArrayRef, mut each: impl FnMut(usize, Option<&str>)) -> Result<(), EvalError> {
    if let Some(a) = array.as_string_opt::<i32>() {
        a.iter().enumerate().for_each(|(i, t)| each(i, t));
    } else if let Some(a) = array.as_string_opt::<i64>() {
        a.iter().enumerate().for_each(|(i, t)| each(i, t));
    } else if let Some(a) = array.as_string_view_opt() {
        a.iter().enumerate().for_each(|(i, t)| each(i, t));
    } else {
        return Err(EvalError::Binding(format!("{} is no text of a build side", array.data_type())));
    }
    Ok(())
}

fn build_column(array: ArrayRef) -> Result<(BuildColumn, BuildRef), EvalError> {
    let misfit = || EvalError::Binding(format!("no loop fetches a column of type {}", array.data_type()));
    let ty = Input::physical(array.data_type()).ok_or_else(misfit)?;
    let mut reference = BuildRef { data: PADDING.as_ptr().cast(), valid: std::ptr::null() };
    let (mut bits, mut strings) = (vec![], vec![]);
    if !array.is_empty() {
        if let Some(nulls) = array.nulls().filter(|n| n.null_count() > 0) {
            let aligned = nulls.inner().sliced();
            reference.valid = aligned.as_ptr();
            bits.push(aligned);
        }
        match ty {
            Ty::Bool => {
                let aligned = array.as_boolean().values().sliced();
                reference.data = aligned.as_ptr();
                bits.push(aligned);
            }
            Ty::Str => {
                texts(&array, |_, text| {
                    strings.push(text.map_or(StrRef::EMPTY, |t| StrRef::new(t.as_bytes())));
                })?;
                reference.data = strings.as_ptr().cast();
            }
            Ty::I8
            | Ty::I16
            | Ty::I32
            | Ty::I64
            | Ty::I128
            | Ty::U8
            | Ty::U16
            | Ty::U32
            | Ty::U64
            | Ty::F32
            | Ty::F64 => {
                let data = array.to_data();
                let width = ty.width().unwrap_or(1);
                let [buffer] = data.buffers() else { return Err(misfit()) };
                // SAFETY: the array's values begin there.
                reference.data = unsafe { buffer.as_ptr().add(data.offset() * width) };
            }
        }
    }
    Ok((BuildColumn { array, ty, _bits: bits, _texts: strings }, reference))
}
