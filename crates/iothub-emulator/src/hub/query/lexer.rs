use super::Mistake;

/// A word of a query, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind,
    /// As written.
    pub(super) text: &'t str,
    /// Which character of the query it begins with, counted from 1.
    pub(super) position: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A name, a keyword or a function; which one it is, its place tells.
    Name,
    /// `[[…]]`: a name that may hold any character.
    QuotedName,
    Number(f64),
    Text(String),
    Symbol,
    End,
}

/// The tokens of a query, `End` the last one.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Mistake> {
    if text.chars().nth(LONGEST).is_some() {
        return Err(Mistake::new(
            LONGEST + 1,
            format!("a query has {LONGEST} characters at most"),
        ));
    }
    let mut lexer = Lexer {
        text,
        at: 0,
        position: 1,
    };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.token()?;
        let is_end = token.kind == Kind::End;
        tokens.push(token);
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    /// In bytes.
    at: usize,
    /// In characters, from 1.
    position: usize,
}

impl<'t> Lexer<'t> {
    fn token(&mut self) -> Result<Token<'t>, Mistake> {
        while self.rest().starts_with(char::is_whitespace) {
            self.step();
        }
        let (start, position) = (self.at, self.position);
        let kind = match self.rest().chars().next() {
            None => Kind::End,
            Some(first) if first == '_' || first == '$' || first.is_alphabetic() => {
                self.skip_name();
                Kind::Name
            }
            Some('0'..='9') => self.number()?,
            Some('.') if self.rest()[1..].starts_with(|next: char| next.is_ascii_digit()) => self.number()?,
            Some(quote @ ('\'' | '"')) => Kind::Text(self.string(quote)?),
            Some('[') if self.rest().starts_with("[[") => self.quoted_name()?,
            Some(first) => {
                let known = SYMBOLS.iter().find(|symbol| self.rest().starts_with(**symbol));
                let symbol = known.ok_or_else(|| Mistake::new(position, format!("`{first}` means nothing here")))?;
                symbol.chars().for_each(|_| self.step());
                Kind::Symbol
            }
        };
        Ok(Token {
            kind,
            text: &self.text[start..self.at],
            position,
        })
    }

    fn skip_name(&mut self) {
        while self
            .rest()
            .starts_with(|next: char| next == '_' || next == '$' || next.is_alphanumeric())
        {
            self.step();
        }
    }

    fn number(&mut self) -> Result<Kind, Mistake> {
        let (start, position) = (self.at, self.position);
        loop {
            // The sign of an exponent belongs to the number.
            if self.rest().starts_with(['+', '-']) && is_exponent(&self.text[start..self.at]) {
                self.step();
            }
            if !self
                .rest()
                .starts_with(|next: char| next == '.' || next == '_' || next.is_alphanumeric())
            {
                break;
            }
            self.step();
        }
        let text = &self.text[start..self.at];
        let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(hex) => u64::from_str_radix(hex, 16).ok().map(|number| number as f64),
            None => text.parse().ok().filter(|number: &f64| number.is_finite()),
        };
        let number = number.ok_or_else(|| Mistake::new(position, format!("`{text}` is not a number")))?;
        Ok(Kind::Number(number))
    }

    fn string(&mut self, quote: char) -> Result<String, Mistake> {
        let position = self.position;
        let unclosed = || Mistake::new(position, format!("this text is not closed: a `{quote}` is missing"));
        self.step();
        let mut text = String::new();
        loop {
            match self.rest().chars().next().ok_or_else(unclosed)? {
                '\\' => text.push(self.escape()?),
                next => {
                    self.step();
                    if next == quote {
                        return Ok(text);
                    }
                    text.push(next);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, Mistake> {
        let position = self.position;
        self.step();
        let named = self.rest().chars().next();
        if let Some(named) = named {
            self.step();
            let meant = match named {
                'b' => Some('\u{8}'),
                'f' => Some('\u{c}'),
                'n' => Some('\n'),
                'r' => Some('\r'),
                't' => Some('\t'),
                '\'' | '"' | '\\' | '/' => Some(named),
                'u' => self.escaped_character(),
                _ => None,
            };
            if let Some(meant) = meant {
                return Ok(meant);
            }
        }
        let escape: String = ['\\'].into_iter().chain(named).collect();
        let known = r#"there are \' \" \\ \/ \b \f \n \r \t and \uXXXX"#;
        Err(Mistake::new(position, format!("`{escape}` is no escape: {known}")))
    }

    /// What stands behind `\u`: a UTF-16 unit, or two with another `\u` between them.
    fn escaped_character(&mut self) -> Option<char> {
        let first = self.utf16_unit()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first.into());
        }
        if !self.rest().starts_with("\\u") {
            return None;
        }
        self.step();
        self.step();
        let second = self.utf16_unit()?;
        char::decode_utf16([first, second]).next()?.ok()
    }

    fn utf16_unit(&mut self) -> Option<u16> {
        let digits = self
            .rest()
            .get(..4)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        let unit = u16::from_str_radix(digits, 16).ok()?;
        (0..4).for_each(|_| self.step());
        Some(unit)
    }

    fn quoted_name(&mut self) -> Result<Kind, Mistake> {
        let position = self.position;
        let length = self.rest().find("]]");
        let length = length.ok_or_else(|| Mistake::new(position, "this name is not closed: `]]` is missing"))?;
        let end = self.at + length + 2;
        while self.at < end {
            self.step();
        }
        Ok(Kind::QuotedName)
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn step(&mut self) {
        if let Some(next) = self.rest().chars().next() {
            self.at += next.len_utf8();
            self.position += 1;
        }
    }
}

/// Whether a number has come to its `e`, as in `1e`. Hexadecimal digits have no exponent.
fn is_exponent(number: &str) -> bool {
    number.ends_with(['e', 'E']) && !number.starts_with("0x") && !number.starts_with("0X")
}

/// Longer ones first.
const SYMBOLS: &[&str] = &[
    "!=", "<>", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", ",", ".", "[", "]",
];

const LONGEST: usize = 8192;
