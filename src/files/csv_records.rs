//! Walks the records of delimited text, to say on which line a fault is.
//!
//! Readers number records, people number lines, and the two part at the first line break inside
//! quotes or the first blank line. This walk follows the reader's rules: a quote opens a quoted value
//! only at the start of a value, two quotes inside stand for one, blank lines are no records.

use std::io::{self, BufRead};

/// One record, without its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    /// 1-based physical line the record starts on.
    pub(crate) line: u64,
    /// Number of values in it.
    pub(crate) fields: usize,
    /// A value in quotes goes over a line break.
    pub(crate) broken: bool,
    /// The text ended inside quotes; the line on which they opened.
    pub(crate) open_quote: Option<u64>,
}

/// Iterator over the records of a text.
pub(crate) struct Records<R> {
    reader: R,
    delimiter: u8,
    quote: u8,
    /// 1-based line of the next byte.
    line: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// Nothing of the value has been seen.
    ValueStart,
    /// In a value without quotes.
    Plain,
    /// Inside quotes.
    Quoted,
    /// Behind a quote inside quotes: the end of the value, or half of an escaped quote.
    AfterQuote,
}

impl<R: BufRead> Records<R> {
    pub(crate) fn new(reader: R, delimiter: u8) -> Self {
        Self { reader, delimiter, quote: b'"', line: 1 }
    }

    /// The next record, or `None` at the end.
    ///
    /// # Errors
    /// What reading (or decompressing) the text fails with.
    pub(crate) fn next_record(&mut self) -> io::Result<Option<Record>> {
        let mut record = Record { line: self.line, fields: 1, broken: false, open_quote: None };
        let mut at = At::ValueStart;
        let mut empty = true;
        let mut quote_line = 0;
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                if at == At::Quoted {
                    record.open_quote = Some(quote_line);
                }
                return Ok((!empty).then_some(record));
            }
            let mut used = 0;
            for &byte in buffer {
                used += 1;
                let newline = byte == b'\n';
                if newline {
                    self.line += 1;
                }
                if at == At::Quoted {
                    record.broken |= newline;
                    if byte == self.quote {
                        at = At::AfterQuote;
                    }
                } else if newline {
                    if empty {
                        record.line = self.line;
                        continue;
                    }
                    self.reader.consume(used);
                    return Ok(Some(record));
                } else if byte == b'\r' {
                    // Part of the line break.
                } else if byte == self.delimiter {
                    empty = false;
                    record.fields += 1;
                    at = At::ValueStart;
                } else if byte == self.quote && (at == At::ValueStart || at == At::AfterQuote) {
                    if at == At::ValueStart {
                        quote_line = self.line;
                    }
                    empty = false;
                    at = At::Quoted;
                } else {
                    empty = false;
                    at = At::Plain;
                }
            }
            self.reader.consume(used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(text: &str) -> Vec<(u64, usize)> {
        let mut records = Records::new(text.as_bytes(), b',');
        let mut found = Vec::new();
        while let Some(record) = records.next_record().unwrap() {
            found.push((record.line, record.fields));
        }
        found
    }

    #[test]
    fn lines_and_fields() {
        assert_eq!(walk("a,b\n1,2\n3\n"), [(1, 2), (2, 2), (3, 1)]);
        assert_eq!(walk("a,b\r\n\r\n1,2,3"), [(1, 2), (3, 3)]);
        assert_eq!(walk(""), []);
        assert_eq!(walk("\n\n"), []);
        assert_eq!(walk("a\n\"x\ny\"\nz"), [(1, 1), (2, 1), (4, 1)]);
        assert_eq!(walk("a,b\n\"x,\"\"y\",2\n\"\",\n"), [(1, 2), (2, 2), (3, 2)]);
        assert_eq!(walk("a,b\nx\"y,\"z\n"), [(1, 2), (2, 2)]);
    }

    #[test]
    fn quotes_that_never_close() {
        let mut records = Records::new("a,b\n1,2\n3,\"4\n5,6\n".as_bytes(), b',');
        let mut last = None;
        while let Some(record) = records.next_record().unwrap() {
            last = Some(record);
        }
        let last = last.unwrap();
        assert_eq!((last.line, last.open_quote, last.broken), (3, Some(3), true));
    }
}
