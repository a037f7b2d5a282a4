//! Runs queries over all twins, page by page.

use std::ops::Bound;

use super::{
    DataAction, Failure, Grant, Hub,
    continuation::Continuation,
    query::{Query, Shape, Source},
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

/// The rows of a page so far, written one behind the other.
struct Rows {
    json: Vec<u8>,
    count: u64,
    most: u64,
}

/// Where the next twin is: a device, or a module on it.
type Place = (Box<str>, Option<Box<str>>);

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
        self.visit(&query, None, |twin| {
            match query.matches(twin) {
                true if is_aggregate => groups.add(twin),
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
        let next = self.visit(query, start.place.clone(), |twin| {
            if !query.matches(twin) {
                return true;
            }
            if rows.is_full() {
                return false;
            }
            let row = match query.shape() {
                Shape::Documents => twin_document(twin.device_id, twin.device, twin.module).map(|twin| twin.json),
                _ => Ok(query.row(twin).into_bytes()),
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
        self.visit(query, None, |twin| {
            if query.matches(twin) {
                groups.add(twin);
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

    /// Shows twins in order until `visitor` has seen enough, and says at which one it stopped.
    ///
    /// The registry is let go again and again, so that a long query does not hold up those who write.
    fn visit(
        &self,
        query: &Query,
        start: Option<Place>,
        mut visitor: impl FnMut(&TwinView<'_>) -> bool,
    ) -> Option<Place> {
        if query.source() == Source::Jobs {
            return None;
        }
        let mut next = Some(start.unwrap_or_default());
        while let Some(place) = next {
            let registry = self.registry();
            match registry.visit_some(query.source(), &place, &mut visitor) {
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
    fn new(most: u64) -> Self {
        Self {
            json: vec![b'['],
            count: 0,
            most,
        }
    }

    fn is_full(&self) -> bool {
        self.count >= self.most
    }

    fn push(&mut self, row: &[u8]) {
        if self.count > 0 {
            self.json.push(b',');
        }
        self.json.extend_from_slice(row);
        self.count += 1;
    }

    fn finish(mut self) -> Vec<u8> {
        self.json.push(b']');
        self.json
    }
}

/// The rows of a page if nobody asks for another number. The service does not say how many it gives.
pub(crate) const PAGE: u64 = 100;
const MAX_PAGE: u64 = 1000;
/// The published limit of a query.
const MAX_TEXT: usize = 8192;
/// How many devices are looked at before others get a turn.
const BREATH: usize = 4096;
