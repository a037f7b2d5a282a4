mod line;
mod methods;
mod received_message;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use iothub_core::{HubErrorCode, Result};
use tokio::{runtime::Handle, sync::watch};

use self::line::Line;
pub use self::{
    methods::{Methods, ReceivedMethod},
    received_message::ReceivedMessage,
};
use crate::hub::{D2cMessage, DesiredChanges, Door, Failure, Hub, Session, Target, queue::LOCK};

/// A device or module in this process: what a test or an example has at the other end.
///
/// At first it is like a device that speaks HTTPS: it can send, receive messages, report and upload, and the hub does
/// not call it connected. Listening for methods or for desired properties connects it, and so does
/// [`go_online`](Self::go_online). After [`go_offline`](Self::go_offline) nothing reaches it and it can do nothing.
///
/// Clones are the same device, which is connected until the last of them is dropped. Another device that
/// [`Emulator::device`](crate::Emulator::device) gives for the same id is another connection, which takes over.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> iothub_core::Result<()> {
/// use iothub_emulator::{Emulator, EmulatorOptions};
///
/// let emulator = Emulator::start(EmulatorOptions::default()).await?;
/// let lamp = emulator.add_device("lamp")?;
/// lamp.on_method(|name, _payload| (200, format!(r#"{{"ran":"{name}"}}"#)))?;
/// assert!(lamp.is_online());
/// lamp.go_offline();
/// assert!(lamp.report(r#"{"on":true}"#).is_err());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Device {
    hub: Hub,
    target: Target,
    presence: Arc<Presence>,
}

/// What the clones of a device share.
struct Presence {
    state: watch::Sender<State>,
    handler: Mutex<Option<Handler>>,
}

#[derive(Clone)]
enum State {
    /// It has no connection, and needs none.
    Unconnected,
    Online(Arc<Session>),
    Offline,
}

type Handler = Arc<dyn Fn(&str, &str) -> (i32, String) + Send + Sync>;

impl Device {
    pub(crate) fn new(hub: Hub, target: Target) -> Self {
        Self {
            hub,
            target,
            presence: Arc::new(Presence {
                state: watch::Sender::new(State::Unconnected),
                handler: Mutex::default(),
            }),
        }
    }

    /// Who it is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Connects. If the device is connected in another way, that connection ends.
    ///
    /// # Errors
    ///
    /// There is no such device, or it is disabled.
    pub fn go_online(&self) -> Result<()> {
        self.connect()?;
        Ok(())
    }

    /// Disconnects. Messages and desired properties wait until the device is back; methods fail.
    pub fn go_offline(&self) {
        if let State::Online(session) = self.presence.state.send_replace(State::Offline) {
            // Said aloud, because somebody who waits for a message may still hold it.
            session.leave();
        }
    }

    /// Whether it is connected, and neither was taken over nor lost its identity.
    pub fn is_online(&self) -> bool {
        matches!(&*self.presence.state.borrow(), State::Online(session) if session.end().is_none())
    }

    /// Waits for the next message, for ever if none comes. The device need not exist yet.
    pub async fn recv(&self) -> ReceivedMessage {
        let mut state = self.presence.state.subscribe();
        loop {
            let now = state.borrow_and_update().clone();
            match now {
                State::Unconnected => tokio::select! {
                    locked = self.hub.next_message(&self.target, LOCK) => {
                        return ReceivedMessage::new(Line::Calls(self.hub.clone(), self.target.clone()), locked);
                    }
                    _ = state.changed() => {}
                },
                State::Online(session) if session.end().is_none() => tokio::select! {
                    locked = session.next_message() => return ReceivedMessage::new(Line::over(&session), locked),
                    _ = state.changed() => {}
                    _ = session.ended() => {}
                },
                // The sender lives as long as `self` does, so that this waits for the device to be back.
                State::Online(_) | State::Offline => drop(state.changed().await),
            }
        }
    }

    /// The next message, if one waits.
    pub fn try_recv(&self) -> Option<ReceivedMessage> {
        let line = self.line().ok()?;
        let locked = line.take_message().ok()??;
        Some(ReceivedMessage::new(line, locked))
    }

    /// Answers every method with what `handler` makes of its name and payload: a status, and JSON. An empty text is
    /// null. Connects the device unless it has gone offline; then it listens again when it is back.
    ///
    /// The handler is called by a task of its own, one method at a time; [`methods`](Self::methods) is for devices that
    /// take their time. The later of the two gets the methods.
    ///
    /// # Errors
    ///
    /// There is no such device, it is disabled, or this is not called within a Tokio runtime.
    pub fn on_method<F>(&self, handler: F) -> Result<()>
    where
        F: Fn(&str, &str) -> (i32, String) + Send + Sync + 'static,
    {
        let handler: Handler = Arc::new(handler);
        *self.presence.handler.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&handler));
        let state = self.presence.state.borrow().clone();
        match state {
            State::Offline => {}
            State::Online(session) if session.end().is_none() => Self::serve(&session, handler)?,
            State::Online(_) | State::Unconnected => drop(self.connect()?),
        }
        Ok(())
    }

    /// Listens for methods, which the caller answers. Connects the device if need be.
    ///
    /// # Errors
    ///
    /// There is no such device, it is disabled, or it has gone offline.
    pub fn methods(&self) -> Result<Methods> {
        let session = self.session()?;
        Ok(Methods::new(Line::over(&session), session.listen_for_methods()))
    }

    /// Watches desired properties. Connects the device if need be. What changed before is in the
    /// [`twin`](Self::twin).
    ///
    /// # Errors
    ///
    /// There is no such device, it is disabled, or it has gone offline.
    pub fn watch_desired(&self) -> Result<DesiredChanges> {
        Ok(self.session()?.watch_desired())
    }

    /// Says which model of Plug and Play the device follows, such as `dtmi:com:example:Thermostat;1`. Connects the device
    /// if need be.
    ///
    /// The hub shows it in the twins of the device, and remembers it when the device has gone.
    ///
    /// # Errors
    ///
    /// It is not the id of a model; or there is no such device, it is disabled, or it has gone offline.
    pub fn announce_model(&self, id: &str) -> Result<()> {
        Ok(self.session()?.announce_model(id)?)
    }

    /// The twin as a device sees it: the text of a JSON object with `desired` and `reported`, each with its `$version`.
    ///
    /// # Errors
    ///
    /// There is no such device, or it has gone offline.
    pub fn twin(&self) -> Result<String> {
        Ok(self.line()?.twin()?)
    }

    /// Merges into the reported properties: `patch` is the text of a JSON object, in which null deletes.
    ///
    /// Returns the version that the reported properties have now.
    ///
    /// # Errors
    ///
    /// There is no such device, it has gone offline, or `patch` is nothing that a twin can hold.
    pub fn report(&self, patch: &str) -> Result<u64> {
        Ok(self.line()?.report(patch)?)
    }

    /// Sends a message to the services: bytes, or a [`D2cMessage`].
    ///
    /// # Errors
    ///
    /// There is no such device, it is disabled or has gone offline, or the message has more than 256 KiB.
    pub fn send(&self, message: impl Into<D2cMessage>) -> Result<()> {
        Ok(self.line()?.send(message.into())?)
    }

    /// Uploads a file, and lets services know. The name of its blob is `name` with the device in front: `lamp/name`.
    ///
    /// # Errors
    ///
    /// The device has gone offline, or it has ten uploads under way; modules cannot upload, and nobody in this process can
    /// if [`EmulatorOptions::file_uploads`](crate::EmulatorOptions::file_uploads) names another account.
    pub fn upload(&self, name: &str, contents: impl Into<Bytes>) -> Result<()> {
        // Files go over calls of their own, whether the device is connected or not.
        self.line()?;
        let Target::Device(device) = &self.target else {
            let text = format!("{} is a module, and only devices upload files", self.target);
            return Err(Failure::argument(text).into());
        };
        self.hub.upload(device, name, contents.into())?;
        Ok(self.hub.wait_until_persisted()?)
    }

    /// The connection, made if there is none and the device has not gone offline.
    fn session(&self) -> std::result::Result<Arc<Session>, Failure> {
        let state = self.presence.state.borrow().clone();
        match state {
            State::Unconnected => self.connect(),
            State::Online(session) if session.end().is_none() => Ok(session),
            State::Online(_) | State::Offline => Err(self.offline()),
        }
    }

    fn connect(&self) -> std::result::Result<Arc<Session>, Failure> {
        let session = Arc::new(self.hub.connect(&self.target, Door::InProcess)?);
        let handler = self
            .presence
            .handler
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(handler) = handler {
            Self::serve(&session, handler)?;
        }
        self.presence.state.send_replace(State::Online(Arc::clone(&session)));
        Ok(session)
    }

    /// Answers methods until the session ends or somebody else listens.
    fn serve(session: &Arc<Session>, handler: Handler) -> std::result::Result<(), Failure> {
        let runtime = Handle::try_current().map_err(|_| {
            let text = "a device that answers methods needs a Tokio runtime around it";
            Failure::new(HubErrorCode::InvalidOperation, text)
        })?;
        let mut methods = Methods::new(Line::over(session), session.listen_for_methods());
        runtime.spawn(async move {
            while let Some(method) = methods.recv().await {
                let (status, payload) = handler(method.name(), method.payload());
                // The service that waited may have gone, which is no matter to the device.
                let _ = method.answer(status, payload);
            }
        });
        Ok(())
    }

    /// How the device reaches the hub, unless it has gone offline.
    fn line(&self) -> std::result::Result<Line, Failure> {
        match &*self.presence.state.borrow() {
            State::Unconnected => Ok(Line::Calls(self.hub.clone(), self.target.clone())),
            State::Online(session) if session.end().is_none() => Ok(Line::over(session)),
            State::Online(_) | State::Offline => Err(self.offline()),
        }
    }

    fn offline(&self) -> Failure {
        Failure::new(HubErrorCode::DeviceNotOnline, format!("{} is offline", self.target))
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("target", &self.target)
            .field("online", &self.is_online())
            .finish_non_exhaustive()
    }
}
