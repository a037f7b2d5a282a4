use std::{
    error::Error as StdError,
    fmt,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use azure_core::{
    Error, Result,
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    error::ErrorKind,
};

use crate::credential_error::CredentialError;

/// Asks one credential after another until one gives a token, and from then on only that one.
///
/// A link that could not get as far as asking ([`CredentialError::Unavailable`], a missing tool) is passed over. A link
/// that is set up and was refused, whose endpoint could not be reached, or whose certificate is broken, ends the search:
/// to go on would hide what is wrong with it, and perhaps act as somebody else. The error lists what each link said.
///
/// # Examples
///
/// ```no_run
/// use iothub_auth::{ChainedTokenCredential, Credential, ManagedIdentityCredential, WorkloadIdentityCredential};
///
/// # fn example() -> iothub_core::Result<()> {
/// let chain = ChainedTokenCredential::new(vec![
///     WorkloadIdentityCredential::new(None)?,
///     ManagedIdentityCredential::new(None)?,
/// ]);
/// let credential = Credential::from(chain);
/// # Ok(()) }
/// ```
pub struct ChainedTokenCredential {
    name: &'static str,
    links: Vec<Link>,
    winner: OnceLock<usize>,
}

/// One credential of a chain.
pub(crate) struct Link {
    pub(crate) name: String,
    /// What it would do, or why it is not there. For people.
    pub(crate) about: String,
    pub(crate) credential: std::result::Result<Arc<dyn TokenCredential>, Arc<Error>>,
}

impl ChainedTokenCredential {
    /// A chain of `links`, asked in this order.
    pub fn new(links: Vec<Arc<dyn TokenCredential>>) -> Arc<Self> {
        let links = links.into_iter().enumerate().map(|(index, credential)| Link {
            name: type_name(&credential).unwrap_or_else(|| format!("link {}", index + 1)),
            about: String::new(),
            credential: Ok(credential),
        });
        Arc::new(Self::named("ChainedTokenCredential", links.collect()))
    }

    pub(crate) fn named(name: &'static str, links: Vec<Link>) -> Self {
        let winner = OnceLock::new();
        Self { name, links, winner }
    }

    pub(crate) fn links(&self) -> &[Link] {
        &self.links
    }

    /// The link that gave a token, if one did yet.
    pub(crate) fn winner(&self) -> Option<&Link> {
        self.winner.get().and_then(|index| self.links.get(*index))
    }

    async fn search(&self, scopes: &[&str], options: Option<TokenRequestOptions<'_>>) -> Result<AccessToken> {
        let mut said = Vec::new();
        for (index, link) in self.links.iter().enumerate() {
            let error = match &link.credential {
                Ok(credential) => match credential.get_token(scopes, options.clone()).await {
                    Ok(token) => {
                        tracing::info!(credential = %link.name, "{} uses this link from now on", self.name);
                        let _ = self.winner.set(index);
                        return Ok(token);
                    }
                    Err(error) => Arc::new(error),
                },
                Err(error) => error.clone(),
            };
            let ends_here = !is_passed_over(&error);
            said.push(Refusal {
                link: link.name.clone(),
                error,
            });
            if ends_here {
                break;
            }
        }
        Err(self.failed(said))
    }

    fn failed(&self, said: Vec<Refusal>) -> Error {
        let mut message = format!("{} found no token", self.name);
        for Refusal { link, error } in &said {
            let text = error.to_string().replace('\n', " ");
            message.push_str(&format!("\n  {link}: {text}"));
        }
        match said.into_iter().next_back() {
            Some(last) if !is_passed_over(&last.error) => Error::with_error(ErrorKind::Credential, last, message),
            _ => CredentialError::unavailable(self.name, message),
        }
    }
}

#[async_trait]
impl TokenCredential for ChainedTokenCredential {
    async fn get_token(&self, scopes: &[&str], options: Option<TokenRequestOptions<'_>>) -> Result<AccessToken> {
        match self.winner() {
            Some(Link {
                credential: Ok(credential),
                ..
            }) => credential.get_token(scopes, options).await,
            _ => self.search(scopes, options).await,
        }
    }
}

impl fmt::Debug for ChainedTokenCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.links.iter().map(|link| &link.name).collect();
        f.debug_struct(self.name)
            .field("links", &names)
            .field("winner", &self.winner().map(|link| &link.name))
            .finish()
    }
}

/// What a link said, as the cause of the chain's error.
#[derive(Debug)]
struct Refusal {
    link: String,
    error: Arc<Error>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.link, self.error)
    }
}

impl StdError for Refusal {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.error)
    }
}

/// Whether a link with this error never got as far as asking somebody.
fn is_passed_over(error: &Error) -> bool {
    match CredentialError::of(error) {
        Some(reason) => matches!(reason, CredentialError::Unavailable { .. }),
        None => !asked_somebody(error),
    }
}

fn asked_somebody(error: &Error) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(cause) = next {
        let kind = cause.downcast_ref::<Error>().map(Error::kind);
        if let Some(ErrorKind::HttpResponse { .. } | ErrorKind::Connection | ErrorKind::Io) = kind {
            return true;
        }
        next = cause.source();
    }
    false
}

/// The name in front of what a type prints of itself: the only one a `dyn TokenCredential` has.
fn type_name(credential: &dyn fmt::Debug) -> Option<String> {
    let text = format!("{credential:?}");
    let path = text.split(['{', '(', '<', ' ']).next()?;
    let name = path.rsplit("::").next()?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then(|| name.to_owned())
}
