//! Objects that compiled code refers to by address: needles, patterns, sets, constant strings. They
//! live as long as the code.

use fuseline_kernels::strings::StrRef;
use std::any::Any;

/// A constant string: what kernels read comes first.
#[repr(C)]
struct Text {
    reference: StrRef,
    bytes: Box<[u8]>,
}

#[derive(Default)]
pub(super) struct Constants {
    kept: Vec<Box<dyn Any + Send + Sync>>,
}

impl Constants {
    /// Keeps an object; its address stays valid until `self` is dropped.
    pub(super) fn keep<T: Any + Send + Sync>(&mut self, object: T) -> *const T {
        let object = Box::new(object);
        let address: *const T = &*object;
        self.kept.push(object);
        address
    }

    /// Keeps the bytes of a string.
    pub(super) fn text_bytes(&mut self, text: &str) -> *const u8 {
        let bytes: Box<[u8]> = text.as_bytes().into();
        // Boxed bytes do not move with the box.
        let address = bytes.as_ptr();
        self.keep(bytes);
        address
    }

    /// Keeps a string, and a reference to it that kernels read.
    pub(super) fn text(&mut self, text: &str) -> *const StrRef {
        let bytes: Box<[u8]> = text.as_bytes().into();
        let reference = StrRef::new(&bytes);
        // The reference points at the boxed bytes, which do not move with the box.
        debug_assert_eq!(reference.len as usize, bytes.len());
        self.keep(Text { reference, bytes }).cast()
    }
}
