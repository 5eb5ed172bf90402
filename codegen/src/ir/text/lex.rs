//! Splitting a line of the text form into words, strings and signs.

/// A piece of a line.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Names, numbers and dotted operations: everything up to white space or a sign.
    Word(String),
    /// The contents of a quoted string.
    Text(String),
    Sign(char),
}

const SIGNS: &str = ":?=,()*{}";

/// The tokens of a line, up to a comment.
pub(super) fn tokens(line: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut rest = line.chars().peekable();
    while let Some(&c) = rest.peek() {
        if c == '#' {
            break;
        }
        rest.next();
        if c == '"' {
            out.push(Token::Text(quoted(&mut rest)?));
        } else if SIGNS.contains(c) {
            out.push(Token::Sign(c));
        } else if !c.is_whitespace() {
            let mut word = c.to_string();
            while let Some(c) = rest.next_if(|c| !c.is_whitespace() && !SIGNS.contains(*c) && *c != '"') {
                word.push(c);
            }
            out.push(Token::Word(word));
        }
    }
    Ok(out)
}

/// The rest of a string literal in Rust's notation, after its first quotation mark.
fn quoted(rest: &mut impl Iterator<Item = char>) -> Result<String, String> {
    let mut text = String::new();
    loop {
        match rest.next() {
            None => return Err("a string does not end".to_owned()),
            Some('"') => return Ok(text),
            Some('\\') => text.push(escaped(rest)?),
            Some(c) => text.push(c),
        }
    }
}

fn escaped(rest: &mut impl Iterator<Item = char>) -> Result<char, String> {
    match rest.next() {
        Some('n') => Ok('\n'),
        Some('r') => Ok('\r'),
        Some('t') => Ok('\t'),
        Some('0') => Ok('\0'),
        Some(c @ ('\\' | '"' | '\'')) => Ok(c),
        Some('u') => {
            let digits: String = rest.skip_while(|c| *c == '{').take_while(|c| *c != '}').collect();
            let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
            code.ok_or_else(|| format!("\\u{{{digits}}} is no character"))
        }
        other => Err(format!("unknown escape {other:?} in a string")),
    }
}
