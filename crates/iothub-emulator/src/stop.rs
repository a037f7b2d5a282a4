use tokio::sync::watch;

/// The order to end, given once and heard by every clone.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

/// Who gives the order.
#[derive(Debug)]
pub(crate) struct Stopper(watch::Sender<bool>);

impl Stop {
    /// Returns once the order is given, at once if it was given before.
    pub(crate) async fn requested(&self) {
        let mut ordered = self.0.clone();
        // An error means that the emulator is gone, which is an order too.
        let _ = ordered.wait_for(|ordered| *ordered).await;
    }
}

impl Stopper {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn stop(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn listener(&self) -> Stop {
        Stop(self.0.subscribe())
    }
}
