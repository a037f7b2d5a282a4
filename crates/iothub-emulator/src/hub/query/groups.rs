use std::collections::BTreeMap;

use super::{
    Document, Found, Path,
    column::{Aggregate, Column, What, object},
    value::Value,
};

/// The documents of an aggregate query, group by group.
///
/// Rows come in the order of what they are grouped by, so that a page of them can be asked for again although documents have
/// changed meanwhile. Documents without a value to group by are a group of their own, which has no member for it.
pub(crate) struct Groups<'q> {
    columns: &'q [Column],
    by: &'q [Path],
    groups: BTreeMap<String, Group>,
}

struct Group {
    /// What the columns that are paths show, as JSON.
    shown: Vec<Option<String>>,
    count: u64,
    numbers: Vec<Numbers>,
}

/// What is known of the numbers at one path. Anything else there is left out of account.
#[derive(Clone, Copy)]
struct Numbers {
    count: f64,
    sum: f64,
    least: f64,
    greatest: f64,
}

impl<'q> Groups<'q> {
    pub(super) fn new(columns: &'q [Column], by: &'q [Path]) -> Self {
        let mut groups = Self {
            columns,
            by,
            groups: BTreeMap::new(),
        };
        // Without GROUP BY there is one row, also about no documents.
        if by.is_empty() {
            groups.groups.insert(String::new(), Group::new(columns, None));
        }
        groups
    }

    /// Counts a document that matches the query.
    pub(crate) fn add(&mut self, document: &dyn Document) {
        let mut key = String::new();
        for path in self.by {
            let found = document.find(path.names());
            push_key(&mut key, found);
        }
        let columns = self.columns;
        let group = self
            .groups
            .entry(key)
            .or_insert_with(|| Group::new(columns, Some(document)));
        group.count += 1;
        for (numbers, path) in group.numbers.iter_mut().zip(columns.iter().map(Column::numbers)) {
            let found = path.and_then(|path| document.find(path.names()));
            if let Some(number) = found.and_then(|found| found.value().as_number()) {
                numbers.add(number);
            }
        }
    }

    /// A row for each group, as JSON.
    pub(crate) fn rows(&self) -> impl Iterator<Item = String> {
        self.groups.values().map(|group| {
            let cells = self.columns.iter().enumerate().filter_map(|(index, column)| {
                let value = match &column.what {
                    What::Path(_) => group.shown.get(index)?.clone(),
                    What::Aggregate(aggregate) => group.calculated(aggregate, index),
                };
                Some((column.name.as_str(), value?))
            });
            object(cells)
        })
    }
}

impl Group {
    fn new(columns: &[Column], document: Option<&dyn Document>) -> Self {
        let show = |column: &Column| match (&column.what, document) {
            (What::Path(path), Some(document)) => Some(document.find(path.names())?.json().into_owned()),
            _ => None,
        };
        let shown = columns.iter().map(show).collect();
        Self {
            shown,
            count: 0,
            numbers: vec![Numbers::NONE; columns.len()],
        }
    }

    fn calculated(&self, aggregate: &Aggregate, index: usize) -> Option<String> {
        let numbers = self.numbers.get(index)?;
        let number = match aggregate {
            Aggregate::Count => return Some(self.count.to_string()),
            Aggregate::Sum(_) => numbers.sum,
            Aggregate::Average(_) => numbers.sum / numbers.count,
            Aggregate::Least(_) => numbers.least,
            Aggregate::Greatest(_) => numbers.greatest,
        };
        number.is_finite().then(|| json_number(number))
    }
}

impl Numbers {
    const NONE: Self = Self {
        count: 0.0,
        sum: 0.0,
        least: f64::INFINITY,
        greatest: f64::NEG_INFINITY,
    };

    fn add(&mut self, number: f64) {
        self.count += 1.0;
        self.sum += number;
        self.least = self.least.min(number);
        self.greatest = self.greatest.max(number);
    }
}

impl Column {
    /// Where the numbers are that the column is about.
    fn numbers(&self) -> Option<&Path> {
        match &self.what {
            What::Aggregate(
                Aggregate::Sum(path) | Aggregate::Average(path) | Aggregate::Least(path) | Aggregate::Greatest(path),
            ) => Some(path),
            _ => None,
        }
    }
}

/// Appends a value so that equal values read alike and others do not: 1 and 1.0 are equal, 1 and "1" are not.
fn push_key(key: &mut String, found: Option<Found<'_>>) {
    if let Some(found) = found {
        match found.clone().value() {
            Value::Number(number) => key.push_str(&json_number(number)),
            Value::Text(text) => key.push_str(&super::raw_json::quoted(&text)),
            _ => key.push_str(&found.json()),
        }
    }
    key.push('\n');
}

/// Whole numbers without a fraction, as the hub writes them.
fn json_number(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
        return (number as i64).to_string();
    }
    serde_json::Number::from_f64(number).map_or_else(|| "null".to_owned(), |number| number.to_string())
}
