//! What Microsoft's SDKs did against the emulator, as the emulator's README shows it. Nobody writes these tables: they are
//! what the checks said in a run in which all of them passed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    cargo::root,
    interop::{LANGUAGES, scripts},
};

/// The reports of the scripts of one run.
#[derive(Default)]
pub(crate) struct Conformance {
    /// How many checks passed, by topic and language.
    checks: BTreeMap<String, BTreeMap<String, usize>>,
    /// The operations of each class, by SDK and name of the class.
    classes: BTreeMap<(String, String), Class>,
}

#[derive(Default)]
struct Class {
    public: BTreeSet<String>,
    called: BTreeSet<String>,
}

/// What one script writes when it is through.
#[derive(Deserialize)]
struct Report {
    passed: usize,
    operations: Vec<Operations>,
}

#[derive(Deserialize)]
struct Operations {
    sdk: String,
    class: String,
    public: BTreeSet<String>,
    called: BTreeSet<String>,
}

impl Conformance {
    /// Takes in what a script has written.
    pub(crate) fn add(&mut self, language: &str, topic: &str, file: &Path) -> Result<(), String> {
        let text = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let report: Report = serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        let topic = self.checks.entry(title(topic)).or_default();
        topic.insert(language.to_owned(), report.passed);
        for found in report.operations {
            let class = self.classes.entry((found.sdk, found.class)).or_default();
            class.public.extend(found.public);
            class.called.extend(found.called);
        }
        Ok(())
    }

    /// Writes the tables into the README.
    ///
    /// # Errors
    ///
    /// It claimed what this run has not shown; now it no longer does, for a person to read and commit.
    pub(crate) fn publish(&self) -> Result<(), String> {
        let text = read()?;
        let (before, old, after) = section(&text)?;
        let new = self.tables();
        if old == new {
            return Ok(());
        }
        let file = readme();
        fs::write(&file, format!("{before}{new}{after}")).map_err(|error| format!("{}: {error}", file.display()))?;
        eprintln!("{} now says what was run: look at it and commit it", file.display());
        let claims = self.unproven(old);
        if claims.is_empty() {
            return Ok(());
        }
        Err(format!(
            "{} claimed what was not run: {}",
            file.display(),
            claims.join(", ")
        ))
    }

    /// What tables claim beyond what was run.
    fn unproven(&self, tables: &str) -> Vec<String> {
        let mut claims = Vec::new();
        for line in tables.lines() {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            match cells[..] {
                [sdk, class, called, _] if class.starts_with('`') => {
                    let class = (sdk.to_owned(), class.trim_matches('`').to_owned());
                    let shown = self.classes.get(&class).map(|class| &class.called);
                    let claimed = called.split(", ").map(|name| name.trim_matches('`'));
                    let unproven = claimed
                        .filter(|name| !name.is_empty() && !shown.is_some_and(|shown| shown.contains(*name)))
                        .map(|name| format!("{} {}.{name}", class.0, class.1));
                    claims.extend(unproven);
                }
                [topic, ref counts @ ..] => {
                    for ((language, _), count) in LANGUAGES.iter().zip(counts) {
                        let claimed = count.parse().unwrap_or(0);
                        let shown = self.checks.get(topic).and_then(|passed| passed.get(*language));
                        if claimed > shown.copied().unwrap_or(0) {
                            claims.push(format!("{claimed} checks of {topic} in {language}"));
                        }
                    }
                }
                [] => {}
            }
        }
        claims
    }

    fn tables(&self) -> String {
        let mut text = String::from("\n\n| checks that passed |");
        for (language, _) in LANGUAGES {
            text += &format!(" {language} |");
        }
        text += &format!("\n| --- |{}\n", " --: |".repeat(LANGUAGES.len()));
        for (topic, passed) in &self.checks {
            text += &format!("| {topic} |");
            for (language, _) in LANGUAGES {
                let passed = passed.get(*language).map(usize::to_string);
                text += &format!(" {} |", passed.unwrap_or_default());
            }
            text.push('\n');
        }
        text += "\n| SDK | class | operations that worked | not called by any check |\n| --- | --- | --- | --- |\n";
        for ((sdk, name), Class { public, called }) in &self.classes {
            let quoted = |name: &String| format!("`{name}`");
            let rest: Vec<_> = public.difference(called).map(quoted).collect();
            let called: Vec<_> = called.iter().map(quoted).collect();
            let (called, rest) = (called.join(", "), rest.join(", "));
            text += &format!("| {sdk} | `{name}` | {called} | {rest} |\n");
        }
        text.push('\n');
        text
    }
}

/// The scripts whose checks are not in the tables, one line each.
pub(crate) fn untold() -> Result<Vec<String>, String> {
    let text = read()?;
    let (_, tables, _) = section(&text)?;
    let mut untold = Vec::new();
    for (column, (language, extension)) in LANGUAGES.iter().enumerate() {
        for script in scripts(language, extension)? {
            let topic = script.file_stem().unwrap_or_default().to_string_lossy();
            if !tells(tables, &topic, column) {
                untold.push(format!(
                    "{} tells nothing of {}: run `cargo xtask interop`",
                    readme().display(),
                    script.display()
                ));
            }
        }
    }
    Ok(untold)
}

/// Whether tables have checks of a topic in the language of a column.
fn tells(tables: &str, topic: &str, column: usize) -> bool {
    tables.lines().any(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        cells.next() == Some(&*title(topic)) && cells.nth(column).is_some_and(|count| !count.is_empty())
    })
}

fn title(topic: &str) -> String {
    topic.replace('_', " ")
}

/// The text of the README up to the tables, they, and the rest.
fn section(text: &str) -> Result<(&str, &str, &str), String> {
    let begin = text.find(BEGIN).map(|at| at + BEGIN.len());
    let end = text.find(END);
    match (begin, end) {
        (Some(begin), Some(end)) if begin <= end => Ok((&text[..begin], &text[begin..end], &text[end..])),
        _ => Err(format!("{} has no `{BEGIN}` before `{END}`", readme().display())),
    }
}

fn read() -> Result<String, String> {
    fs::read_to_string(readme()).map_err(|error| format!("{}: {error}", readme().display()))
}

fn readme() -> PathBuf {
    root().join("crates/iothub-emulator/README.md")
}

const BEGIN: &str = "<!-- `cargo xtask interop` writes what follows -->";
const END: &str = "<!-- and this is its end -->";

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(passed: usize, called: &[&str]) -> Conformance {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (topic, class) = ("twins".to_owned(), ("azure-iothub".to_owned(), "Registry".to_owned()));
        let (public, called) = (names(&["create", "delete", "get"]), names(called));
        Conformance {
            checks: BTreeMap::from([(topic, BTreeMap::from([("node".to_owned(), passed)]))]),
            classes: BTreeMap::from([(class, Class { public, called })]),
        }
    }

    #[test]
    fn tables_may_claim_less_than_was_run_but_not_more() {
        let tables = ran(3, &["create", "get"]).tables();
        assert!(ran(3, &["create", "get"]).unproven(&tables).is_empty());
        assert!(ran(4, &["create", "delete", "get"]).unproven(&tables).is_empty());
        assert_eq!(
            ran(2, &["create"]).unproven(&tables),
            ["3 checks of twins in node", "azure-iothub Registry.get"]
        );
        assert_eq!(Conformance::default().unproven(&tables).len(), 3);
    }

    #[test]
    fn tables_tell_of_a_script_in_its_own_language() {
        let tables = ran(3, &["create"]).tables();
        let [python, node] = [0, 1];
        assert!(tells(&tables, "twins", node));
        assert!(!tells(&tables, "twins", python));
        assert!(!tells(&tables, "Registry", node));
        let tables = tables.replace("| twins |", "| import export |");
        assert!(tells(&tables, "import_export", node));
        assert!(!tells(&tables, "twins", node));
    }
}
