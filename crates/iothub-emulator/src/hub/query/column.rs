use super::{Document, Path, raw_json};

/// A member of the rows of a query.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) what: What,
    /// Where in the text it stands.
    pub(super) position: usize,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Path(Path),
    Aggregate(Aggregate),
}

/// What is calculated over the documents of a group.
#[derive(Clone, Debug)]
pub(super) enum Aggregate {
    Count,
    Sum(Path),
    Average(Path),
    Least(Path),
    Greatest(Path),
}

/// The columns of one document as a JSON object.
pub(super) fn row(columns: &[Column], document: &dyn Document) -> String {
    object(columns.iter().filter_map(|column| {
        let What::Path(path) = &column.what else { return None };
        Some((column.name.as_str(), document.find(path.names())?.json()))
    }))
}

/// A JSON object of members whose values are JSON already.
pub(super) fn object<'a, V: AsRef<str>>(members: impl Iterator<Item = (&'a str, V)>) -> String {
    let mut json = String::from("{");
    for (name, value) in members {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&raw_json::quoted(name));
        json.push(':');
        json.push_str(value.as_ref());
    }
    json.push('}');
    json
}
