use std::{collections::HashMap, fmt, sync::Arc};

/// Where the `AZURE_*` variables are read from: the process, or a map of the caller's.
///
/// A map lets a test or an example configure a credential without changing the process, which every other thread would
/// see. With a map nothing of the process is read.
///
/// # Examples
///
/// ```
/// use iothub_auth::Environment;
///
/// let environment = Environment::from_iter([("AZURE_TENANT_ID", "contoso.example")]);
/// assert_eq!(format!("{environment:?}"), r#"Environment["AZURE_TENANT_ID"]"#);
/// ```
#[derive(Clone, Default)]
pub struct Environment(Option<Arc<HashMap<String, String>>>);

impl Environment {
    /// The environment of the process, as it is at each reading. The default.
    pub fn process() -> Self {
        Self(None)
    }

    /// A variable's value; one that is empty counts as not set.
    pub(crate) fn var(&self, name: &str) -> Option<String> {
        match &self.0 {
            Some(map) => map.get(name).cloned(),
            None => std::env::var(name).ok(),
        }
        .filter(|value| !value.is_empty())
    }

    /// The names among `names` that are not set.
    pub(crate) fn missing<'a>(&self, names: &[&'a str]) -> Vec<&'a str> {
        names.iter().copied().filter(|name| self.var(name).is_none()).collect()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let map = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(Some(Arc::new(map.collect())))
    }
}

/// Names only: some of the values are secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(map) = &self.0 else {
            return f.write_str("Environment(process)");
        };
        let mut names: Vec<_> = map.keys().collect();
        names.sort_unstable();
        f.write_str("Environment")?;
        f.debug_list().entries(names).finish()
    }
}
