//! Whether typed text is a whole statement: it ends in a `;` that stands outside strings, quoted
//! names, comments and `$$` bodies. The shell asks this at every Enter.

/// Where the scan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Plain,
    Single,
    Double,
    LineComment,
    /// Block comments nest; the depth.
    BlockComment(u32),
    Dollar,
}

/// True for a text whose last character outside comments and blanks is a `;` outside quotes, and for
/// a blank text, which needs no second line.
pub fn is_complete(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut state = State::Plain;
    let mut last = None;
    let mut i = 0;
    while i < bytes.len() {
        let pair = (bytes[i], bytes.get(i + 1).copied());
        let mut step = 1;
        state = match (state, pair) {
            (State::Plain, (b'\'', _)) => State::Single,
            (State::Plain, (b'"', _)) => State::Double,
            (State::Plain, (b'-', Some(b'-'))) => State::LineComment,
            (State::Plain, (b'/', Some(b'*'))) => {
                step = 2;
                State::BlockComment(1)
            }
            (State::Plain, (b'$', Some(b'$'))) => {
                step = 2;
                State::Dollar
            }
            (State::Plain, (b, _)) => {
                if !b.is_ascii_whitespace() {
                    last = Some(b);
                }
                State::Plain
            }
            (State::Single, (b'\'', _)) | (State::Double, (b'"', _)) => {
                last = Some(bytes[i]);
                State::Plain
            }
            (State::LineComment, (b'\n', _)) => State::Plain,
            (State::BlockComment(depth), (b'/', Some(b'*'))) => {
                step = 2;
                State::BlockComment(depth + 1)
            }
            (State::BlockComment(depth), (b'*', Some(b'/'))) => {
                step = 2;
                if depth == 1 { State::Plain } else { State::BlockComment(depth - 1) }
            }
            (State::Dollar, (b'$', Some(b'$'))) => {
                step = 2;
                last = Some(b'$');
                State::Plain
            }
            (
                State::Single | State::Double | State::LineComment | State::BlockComment(_) | State::Dollar,
                _,
            ) => state,
        };
        i += step;
    }
    match state {
        State::Plain | State::LineComment => last.is_none_or(|b| b == b';'),
        State::Single | State::Double | State::BlockComment(_) | State::Dollar => false,
    }
}
