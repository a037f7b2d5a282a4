use super::{
    Mistake,
    lexer::{Kind, Token, tokens},
    value::Value,
};

/// A place among the tokens of a query, and what can be asked about it.
pub(super) struct Cursor<'t> {
    tokens: Vec<Token<'t>>,
    pub(super) at: usize,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str) -> Result<Self, Mistake> {
        Ok(Self {
            tokens: tokens(text)?,
            at: 0,
        })
    }

    pub(super) fn name(&mut self, what: &str) -> Result<Box<str>, Mistake> {
        let here = self.here();
        let name = match here.kind {
            Kind::Name => here.text,
            Kind::QuotedName => &here.text[2..here.text.len() - 2],
            _ => return Err(self.expected(what)),
        };
        let name = name.into();
        self.at += 1;
        Ok(name)
    }

    pub(super) fn literal(&mut self) -> Option<Value<'static>> {
        let here = self.here();
        let value = match &here.kind {
            Kind::Number(number) => Value::Number(*number),
            Kind::Text(text) => Value::Text(text.clone().into()),
            Kind::Name => {
                let is = |word: &str| here.text.eq_ignore_ascii_case(word);
                match () {
                    () if is("true") => Value::Bool(true),
                    () if is("false") => Value::Bool(false),
                    () if is("null") => Value::Null,
                    () if is("undefined") => Value::Undefined,
                    () => return None,
                }
            }
            _ => return None,
        };
        self.at += 1;
        Some(value)
    }

    /// Nothing steps over the end, which is the last token.
    pub(super) fn here(&self) -> &Token<'t> {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    pub(super) fn next_is(&self, symbol: &str) -> bool {
        self.tokens
            .get(self.at + 1)
            .is_some_and(|token| token.kind == Kind::Symbol && token.text == symbol)
    }

    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        self.here().kind == Kind::Symbol && self.here().text == symbol
    }

    pub(super) fn take_symbol(&mut self, symbol: &str) -> bool {
        let is_it = self.is_symbol(symbol);
        self.at += usize::from(is_it);
        is_it
    }

    pub(super) fn expect_symbol(&mut self, symbol: &str) -> Result<(), Mistake> {
        if self.take_symbol(symbol) {
            Ok(())
        } else {
            Err(self.expected(&format!("`{symbol}`")))
        }
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let here = self.here();
        let is_it = here.kind == Kind::Name && here.text.eq_ignore_ascii_case(word);
        self.at += usize::from(is_it);
        is_it
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), Mistake> {
        if self.take_word(word) {
            Ok(())
        } else {
            Err(self.expected(word))
        }
    }

    /// Whether a keyword stands where a path could begin. Further along, a path may hold any word.
    pub(super) fn is_reserved(&self) -> bool {
        let here = self.here();
        here.kind == Kind::Name && RESERVED.iter().any(|word| here.text.eq_ignore_ascii_case(word))
    }

    pub(super) fn expected(&self, what: &str) -> Mistake {
        let here = self.here();
        let found = match here.kind {
            Kind::End => "the end of the text".to_owned(),
            _ => format!("`{}`", here.text),
        };
        Mistake::new(here.position, format!("expected {what}, found {found}"))
    }

    /// What stands before this place.
    pub(super) fn before(&self) -> &str {
        self.tokens[..self.at].last().map_or("", |token| token.text)
    }
}

const RESERVED: &[&str] = &[
    "SELECT", "FROM", "WHERE", "GROUP", "BY", "AS", "AND", "OR", "NOT", "IN", "NIN", "TOP",
];
