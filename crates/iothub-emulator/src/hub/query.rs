//! The hub's query language: text becomes a [`Query`] or a [`Condition`], which are asked about one document after
//! another.
//!
//! Nothing in here knows where documents come from. A document is asked for the value at a path; it never has to exist
//! as a tree.

mod column;
mod condition;
mod cursor;
#[cfg(test)]
mod differential;
mod document;
mod evaluate;
mod expression;
mod function;
mod groups;
mod lexer;
mod mistake;
mod parser;
mod path;
mod raw_json;
mod source;
#[cfg(test)]
mod tests;
mod value;

pub(crate) use self::{
    condition::Condition,
    document::{Document, Found},
    groups::Groups,
    mistake::Mistake,
    path::Path,
    source::Source,
};

use self::{column::Column, expression::Expression, parser::Parser};

/// A query, understood and ready to be asked about documents.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    source: Source,
    top: Option<u64>,
    selection: Selection,
    condition: Option<Expression>,
}

/// What a query makes of the documents that match.
#[derive(Clone, Debug)]
enum Selection {
    /// `*`: the documents as they are.
    Documents,
    /// Some paths of each document.
    Columns(Vec<Column>),
    /// One row for each group of documents.
    Groups { columns: Vec<Column>, by: Vec<Path> },
}

/// How the rows of a query come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Each document that matches is a row.
    Documents,
    /// Each document that matches makes a row; see [`Query::row`].
    Projection,
    /// All documents that match make the rows together; see [`Query::groups`].
    Aggregate,
}

impl Query {
    /// Understands a whole query, from `SELECT` on.
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        Parser::new(text)?.query()
    }

    /// Which documents to ask about.
    pub(crate) fn source(&self) -> Source {
        self.source
    }

    /// How many rows there are at most.
    pub(crate) fn top(&self) -> Option<u64> {
        self.top
    }

    pub(crate) fn shape(&self) -> Shape {
        match self.selection {
            Selection::Documents => Shape::Documents,
            Selection::Columns(_) => Shape::Projection,
            Selection::Groups { .. } => Shape::Aggregate,
        }
    }

    /// Whether the condition is true of the document. What is neither true nor false does not match.
    pub(crate) fn matches(&self, document: &dyn Document) -> bool {
        self.condition
            .as_ref()
            .is_none_or(|condition| condition.is_true_of(document))
    }

    /// The row that a projection makes of a document, as JSON text. Paths that lead nowhere have no member in it.
    pub(crate) fn row(&self, document: &dyn Document) -> String {
        let columns = match &self.selection {
            Selection::Columns(columns) => columns.as_slice(),
            _ => &[],
        };
        column::row(columns, document)
    }

    /// Collects the documents of an aggregate.
    pub(crate) fn groups(&self) -> Groups<'_> {
        match &self.selection {
            Selection::Groups { columns, by } => Groups::new(columns, by),
            _ => Groups::new(&[], &[]),
        }
    }
}
