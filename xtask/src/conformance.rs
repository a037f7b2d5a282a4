//! What Microsoft's SDKs did against the emulator, as the emulator's README shows it. Nobody writes these tables: they are
//! what the checks said in a run in which all of them passed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{cargo::root, interop::LANGUAGES};

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
        let topic = self.checks.entry(topic.replace('_', " ")).or_default();
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
    /// It said something else; then it has been changed, for a person to read and commit.
    pub(crate) fn publish(&self) -> Result<(), String> {
        let text = read()?;
        let (before, old, after) = section(&text)?;
        let new = self.tables();
        if old == new {
            return Ok(());
        }
        fs::write(readme(), format!("{before}{new}{after}")).map_err(|error| error.to_string())?;
        let file = readme();
        Err(format!(
            "{} did not say what was run; now it does, look at it and commit it",
            file.display()
        ))
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
