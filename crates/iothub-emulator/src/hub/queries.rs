//! Runs queries over all twins, page by page.

use std::ops::Bound;

use super::{
    DataAction, Failure, Grant, Hub,
    continuation::Continuation,
    query::{Document, Query, Shape, Source},
    registry::Registry,
    sku::Meter,
    twin_document::twin_document,
    twin_view::TwinView,
};

/// One page of an answer.
#[derive(Debug)]
pub(crate) struct Page {
    /// A JSON array.
    pub(crate) json: Vec<u8>,
    /// What its items are, in the word of the header `x-ms-item-type`.
    pub(crate) item_type: &'static str,
    /// How to ask for the next page, if there is one.
    pub(crate) continuation: Option<String>,
}

/// Something that queries find, and that can be a row as it is.
pub(super) trait Row: Document {
    /// All of it, as JSON.
    fn write(&self) -> Result<Vec<u8>, Failure>;
}

impl Row for TwinView<'_> {
    fn write(&self) -> Result<Vec<u8>, Failure> {
        twin_document(self.device_id, self.device, self.module).map(|twin| twin.json)
    }
}

/// The rows of a page so far, written one behind the other.
pub(super) struct Rows {
    json: Vec<u8>,
    count: u64,
    most: u64,
}

/// Where the next row is: a device, or a module on it; of jobs, the job and the number of the device in it.
pub(super) type Place = (Box<str>, Option<Box<str>>);

impl Hub {
    /// Answers a query with at most `most` rows, from where `continuation` says.
    ///
    /// Twins come in the order of their ids, and a continuation names the twin that comes next. So twins that are added or
    /// deleted between pages make no other twin come twice or not at all.
    pub(crate) fn query(
        &self,
        grant: &Grant,
        text: &str,
        most: u64,
        continuation: Option<&str>,
    ) -> Result<Page, Failure> {
        grant.require(DataAction::ReadTwins)?;
        self.spend(Meter::Queries, 1)?;
        if text.chars().count() > MAX_TEXT {
            return Err(Failure::argument(format!(
                "BadRequest: a query has at most {MAX_TEXT} characters"
            )));
        }
        let query = Query::parse(text).map_err(|mistake| Failure::argument(format!("BadRequest: {mistake}")))?;
        let start = match continuation {
            Some(token) => Continuation::parse(token, text)?,
            None => Continuation::start(query.top()),
        };
        let most = most.clamp(1, MAX_PAGE).min(start.left.unwrap_or(u64::MAX));
        let mut rows = Rows::new(most);
        let next = match query.shape() {
            Shape::Aggregate => self.aggregate(&query, &start, &mut rows),
            Shape::Documents | Shape::Projection => self.select(&query, &start, &mut rows)?,
        };
        let left = start.left.map(|left| left - rows.count);
        let next = next.filter(|_| left != Some(0));
        Ok(Page {
            continuation: next.map(|next| next.with_left(left).token(text)),
            item_type: match (query.shape(), query.source()) {
                (Shape::Documents, Source::Jobs) => "DeviceJob",
                (Shape::Documents, _) => "Twin",
                _ => "Raw",
            },
            json: rows.finish(),
        })
    }

    /// How many rows a query has, whatever it selects.
    pub(super) fn count_rows(&self, text: &str) -> Result<u64, Failure> {
        let query = Query::parse(text).map_err(|mistake| Failure::argument(format!("BadRequest: {mistake}")))?;
        let mut count = 0;
        let mut groups = query.groups();
        let is_aggregate = query.shape() == Shape::Aggregate;
        self.visit(&query, None, |found| {
            match query.matches(found) {
                true if is_aggregate => groups.add(found),
                matches => count += u64::from(matches),
            }
            true
        });
        if is_aggregate {
            count = groups.rows().count() as u64;
        }
        Ok(count.min(query.top().unwrap_or(u64::MAX)))
    }

    fn select(&self, query: &Query, start: &Continuation, rows: &mut Rows) -> Result<Option<Continuation>, Failure> {
        let mut failure = None;
        let next = self.visit(query, start.place.clone(), |found| {
            if !query.matches(found) {
                return true;
            }
            if rows.is_full() {
                return false;
            }
            let row = match query.shape() {
                Shape::Documents => found.write(),
                _ => Ok(query.row(found).into_bytes()),
            };
            match row {
                Ok(row) => rows.push(&row),
                Err(error) => failure = Some(error),
            }
            failure.is_none()
        });
        match failure {
            Some(failure) => Err(failure),
            None => Ok(next.map(Continuation::at)),
        }
    }

    /// All rows are made each time, because each twin may be in any of them.
    fn aggregate(&self, query: &Query, start: &Continuation, rows: &mut Rows) -> Option<Continuation> {
        let mut groups = query.groups();
        self.visit(query, None, |found| {
            if query.matches(found) {
                groups.add(found);
            }
            true
        });
        let mut all = groups.rows().skip(usize::try_from(start.skip).unwrap_or(usize::MAX));
        for row in all.by_ref() {
            if rows.is_full() {
                return Some(Continuation::after_rows(start.skip + rows.count));
            }
            rows.push(row.as_bytes());
        }
        None
    }

    /// Shows what a query asks about, in order, until `visitor` has seen enough, and says where it stopped.
    fn visit(&self, query: &Query, start: Option<Place>, mut visitor: impl FnMut(&dyn Row) -> bool) -> Option<Place> {
        match query.source() {
            Source::Jobs => self.visit_device_jobs(start, visitor),
            twins => self.visit_twins(twins, start, |twin| visitor(twin)),
        }
    }

    /// The registry is let go again and again, so that a long query does not hold up those who write.
    pub(super) fn visit_twins(
        &self,
        source: Source,
        start: Option<Place>,
        mut visitor: impl FnMut(&TwinView<'_>) -> bool,
    ) -> Option<Place> {
        let mut next = Some(start.unwrap_or_default());
        while let Some(place) = next {
            let registry = self.registry();
            match registry.visit_some(source, &place, &mut visitor) {
                Visited::Stopped(place) => return Some(place),
                Visited::Paused(place) => next = Some(place),
                Visited::Done => next = None,
            }
        }
        None
    }
}

enum Visited {
    Stopped(Place),
    Paused(Place),
    Done,
}

impl Registry {
    fn visit_some(
        &self,
        source: Source,
        (device, module): &Place,
        visitor: &mut impl FnMut(&TwinView<'_>) -> bool,
    ) -> Visited {
        let from = (Bound::Included(&**device), Bound::Unbounded);
        for (seen, (id, device)) in self.devices.range::<str, _>(from).enumerate() {
            if seen == BREATH {
                return Visited::Paused((id.clone(), None));
            }
            if source == Source::Devices {
                let twin = TwinView {
                    device_id: id,
                    device,
                    module: None,
                };
                if !visitor(&twin) {
                    return Visited::Stopped((id.clone(), None));
                }
                continue;
            }
            for (name, found) in &device.modules {
                // Only on the first device there can be modules that came before.
                let before = seen == 0 && module.as_ref().is_some_and(|module| name < module);
                let twin = TwinView {
                    device_id: id,
                    device,
                    module: Some((name, &found.identity)),
                };
                if !before && !visitor(&twin) {
                    return Visited::Stopped((id.clone(), Some(name.clone())));
                }
            }
        }
        Visited::Done
    }
}

impl Rows {
    pub(super) fn new(most: u64) -> Self {
        Self {
            json: vec![b'['],
            count: 0,
            most,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= self.most
    }

    pub(super) fn push(&mut self, row: &[u8]) {
        if self.count > 0 {
            self.json.push(b',');
        }
        self.json.extend_from_slice(row);
        self.count += 1;
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.json.push(b']');
        self.json
    }
}

/// The rows of a page if nobody asks for another number. The service does not say how many it gives.
pub(crate) const PAGE: u64 = 100;
pub(super) const MAX_PAGE: u64 = 1000;
/// The published limit of a query.
const MAX_TEXT: usize = 8192;
/// How many devices are looked at before others get a turn.
const BREATH: usize = 4096;
