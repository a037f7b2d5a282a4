use super::{Document, Mistake, Path, Source, expression::Expression, parser::Parser};

/// The condition of a query on its own: what configurations target, and what scheduled jobs are about.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    source: Source,
    /// `None` for `*`, all there is.
    expression: Option<Expression>,
}

impl Condition {
    /// Understands `*`, what stands behind a WHERE, or the latter with its FROM, as conditions about modules have it.
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        let (source, expression) = Parser::new(text)?.condition()?;
        Ok(Self { source, expression })
    }

    /// Which documents to ask about.
    pub(crate) fn source(&self) -> Source {
        self.source
    }

    /// Whether it is `*`.
    #[cfg(test)]
    pub(crate) fn is_all(&self) -> bool {
        self.expression.is_none()
    }

    pub(crate) fn matches(&self, document: &dyn Document) -> bool {
        self.expression
            .as_ref()
            .is_none_or(|expression| expression.is_true_of(document))
    }

    /// Every path that the condition mentions.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        let mut paths = Vec::new();
        if let Some(expression) = &self.expression {
            expression.paths(&mut |path| paths.push(path));
        }
        paths
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_is_a_where_without_the_word() {
        let device = json!({ "deviceId": "a", "tags": { "site": "x" } });
        let matches = |text: &str| Condition::parse(text).unwrap().matches(&device);
        assert!(matches("*") && matches(" * ") && matches("deviceId IN ['a', 'b']") && matches("tags.site='x' "));
        assert!(!matches("tags.site = 'y'"));
        let modules =
            Condition::parse("FROM devices.modules WHERE moduleId = 'm' AND tags.n + -tags.m > LENGTH(deviceId)");
        let modules = modules.unwrap();
        assert_eq!((modules.source(), modules.is_all()), (Source::Modules, false));
        let paths: Vec<String> = modules.paths().into_iter().map(Path::to_string).collect();
        assert_eq!(paths, ["moduleId", "tags.n", "tags.m", "deviceId"]);
        assert!(Condition::parse("from devices.modules").unwrap().is_all());
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for (text, position) in [
            ("", 1),
            ("* x", 3),
            ("SELECT * FROM devices", 1),
            ("tags.a = 1 GROUP BY x", 12),
        ] {
            assert_eq!(Condition::parse(text).unwrap_err().position, position, "{text}");
        }
    }
}
