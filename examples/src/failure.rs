use std::{error::Error, fmt};

/// Why an example ended early. `main` returns it, and it prints as a sentence with its causes.
pub struct Failure(Box<dyn Error>);

impl<E: Into<Box<dyn Error>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.to_string();
        f.write_str(&shown)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some errors repeat what they wrap.
            if !shown.contains(&text) {
                write!(f, "\n  because {text}")?;
                shown = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}
