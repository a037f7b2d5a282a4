use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Links on which answers go out, to be found by the links on which the requests came.
pub(crate) struct Pairs<L>(Mutex<Vec<Half<L>>>);

/// What is known of a link that answers.
struct Half<L> {
    session: u16,
    name: Option<String>,
    link: Weak<L>,
}

impl<L> Pairs<L> {
    /// Enters a link, for as long as it lives. `name` is what its counterpart has in common with it.
    pub(crate) fn join(&self, session: u16, name: Option<&str>, link: &Arc<L>) {
        let mut halves = self.lock();
        halves.retain(|half| half.link.strong_count() > 0);
        halves.push(Half {
            session,
            name: name.map(str::to_owned),
            link: Arc::downgrade(link),
        });
    }

    /// The link that a request means: the one of that name, else the newest of its session, else the newest.
    pub(crate) fn find(&self, session: u16, name: Option<&str>) -> Option<Arc<L>> {
        let halves = self.lock();
        let alive = || {
            let newest_first = halves.iter().rev();
            newest_first.filter_map(|half| Some((half, half.link.upgrade()?)))
        };
        let named = |half: &Half<L>| name.is_some() && half.name.as_deref() == name;
        let beside = |half: &Half<L>| half.session == session;
        let found = alive()
            .find(|(half, _)| named(half) && beside(half))
            .or_else(|| alive().find(|(half, _)| named(half)))
            .or_else(|| alive().find(|(half, _)| beside(half)))
            .or_else(|| alive().next());
        found.map(|(_, link)| link)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Half<L>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L> Default for Pairs<L> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_finds_its_counterpart_by_name_and_else_by_session() {
        let pairs = Pairs::default();
        let [one, two, three] = [1, 2, 3].map(Arc::new);
        pairs.join(0, Some("twin:a"), &one);
        pairs.join(0, Some("twin:b"), &two);
        pairs.join(7, None, &three);
        for (session, name, expected) in [
            (0, Some("twin:a"), 1),
            (7, Some("twin:a"), 1),
            (0, Some("twin:z"), 2),
            (0, None, 2),
            (7, None, 3),
            (9, None, 3),
        ] {
            let found = pairs.find(session, name).map(|link| *link);
            assert_eq!(found, Some(expected), "{session} {name:?}");
        }
        drop((two, three));
        assert_eq!(pairs.find(7, None).map(|link| *link), Some(1));
    }
}
