//! Dicts and sets that a function captured, by open addressing: built once, with the code, and only read.

/// A value as the words of the call interface: up to two, and whether it is there.
pub type Cell = [u64; 3];

/// The keys and what belongs to them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Keys {
    Int(Vec<i64>),
    Str(Vec<Box<str>>),
}

/// A table of constants. Texts that cells point to are the owner's to keep.
#[derive(Debug)]
pub struct Table {
    keys: Keys,
    cells: Vec<Cell>,
    /// The place of a key plus one; a power of two of them, at most half full.
    slots: Vec<u32>,
}

fn hash_int(key: i64) -> u64 {
    (key as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
}

fn hash_text(key: &str) -> u64 {
    let mut hash = key.len() as u64;
    for piece in key.as_bytes().chunks(8) {
        let mut bytes = [0; 8];
        bytes[..piece.len()].copy_from_slice(piece);
        hash = (hash ^ u64::from_le_bytes(bytes)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
    hash
}

impl Table {
    /// A table of keys that are all different, with as many cells.
    pub fn new(keys: Keys, cells: Vec<Cell>) -> Table {
        let size = (cells.len() * 2).next_power_of_two().max(4);
        let mut slots = vec![0_u32; size];
        let mut place = |hash: u64, index: usize| {
            let mut at = hash as usize & (size - 1);
            while slots[at] != 0 {
                at = (at + 1) & (size - 1);
            }
            slots[at] = index as u32 + 1;
        };
        match &keys {
            Keys::Int(keys) => keys.iter().enumerate().for_each(|(i, k)| place(hash_int(*k), i)),
            Keys::Str(keys) => keys.iter().enumerate().for_each(|(i, k)| place(hash_text(k), i)),
        }
        Table { keys, cells, slots }
    }

    fn probe(&self, hash: u64, same: impl Fn(usize) -> bool) -> Option<&Cell> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let index = (self.slots[at] as usize).checked_sub(1)?;
            if same(index) {
                return self.cells.get(index);
            }
            at = (at + 1) & mask;
        }
    }

    pub fn get_int(&self, key: i64) -> Option<&Cell> {
        let Keys::Int(keys) = &self.keys else { return None };
        self.probe(hash_int(key), |i| keys[i] == key)
    }

    pub fn get_text(&self, key: &str) -> Option<&Cell> {
        let Keys::Str(keys) = &self.keys else { return None };
        self.probe(hash_text(key), |i| *keys[i] == *key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_is_found_and_nothing_else() {
        let ints: Vec<i64> = (0..1000).map(|i| i * i * 977 - 5000).collect();
        let cells = |n: u64| (0..n).map(|i| [i, 0, 1]).collect::<Vec<_>>();
        let table = Table::new(Keys::Int(ints.clone()), cells(1000));
        for (i, key) in ints.iter().enumerate() {
            assert_eq!(table.get_int(*key), Some(&[i as u64, 0, 1]));
            assert_eq!(table.get_int(key + 1).is_some(), ints.contains(&(key + 1)));
        }
        let texts: Vec<Box<str>> =
            (0..300).map(|i| format!("{}{i}", "k".repeat(i % 30)).into_boxed_str()).collect();
        let table = Table::new(Keys::Str(texts.clone()), cells(300));
        for (i, key) in texts.iter().enumerate() {
            assert_eq!(table.get_text(key), Some(&[i as u64, 0, 1]));
            assert_eq!(table.get_text(&format!("{key}x")), None);
        }
        let empty = Table::new(Keys::Str(vec![]), vec![]);
        assert_eq!(empty.get_text(""), None);
    }
}
