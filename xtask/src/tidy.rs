//! Tests on the repository itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde::Deserialize;

use crate::{
    cargo::{cargo, root},
    conformance::untold,
};

/// Which crates of ours a crate may depend on. ARCHITECTURE.md shows the same table; a new edge is a change to both.
const EDGES: &[(&str, &[&str])] = &[
    ("iothub-core", &[]),
    ("iothub-transport-http", &[]),
    ("iothub-transport-amqp", &["iothub-core", "iothub-transport-http"]),
    ("iothub-auth", &["iothub-core", "iothub-transport-http"]),
    ("iothub-registry", &["iothub-core", "iothub-auth"]),
    (
        "iothub-service",
        &["iothub-core", "iothub-auth", "iothub-transport-amqp"],
    ),
    ("iothub-jobs", &["iothub-core", "iothub-auth"]),
    ("iothub-digitaltwin", &["iothub-core", "iothub-auth"]),
    ("iothub-emulator", &["iothub-core"]),
    ("iothub-emulator-fuzz", &["iothub-emulator"]),
    (
        "iothub",
        &[
            "iothub-core",
            "iothub-auth",
            "iothub-registry",
            "iothub-service",
            "iothub-jobs",
            "iothub-digitaltwin",
        ],
    ),
    ("xtask", &[]),
];

/// What must not be in the default tree of a crate, however deep, beside what is banned everywhere.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("iothub-core", &["hyper", "tokio", "fe2o3-amqp", "rustls"]),
    ("iothub-transport-http", &["fe2o3-amqp"]),
    ("iothub-transport-amqp", &[]),
    ("iothub-auth", &["fe2o3-amqp"]),
    ("iothub-registry", &["fe2o3-amqp"]),
    ("iothub-service", &[]),
    ("iothub-jobs", &["fe2o3-amqp"]),
    ("iothub-digitaltwin", &["fe2o3-amqp"]),
    ("iothub", &[]),
    ("iothub-emulator", &["fe2o3-amqp"]),
];

/// TLS is rustls with ring, and HTTP is hyper.
const BANNED: &[&str] = &["reqwest", "openssl", "openssl-sys", "native-tls", "aws-lc-rs"];

pub(crate) fn run() -> Result<(), String> {
    let checks: [(&str, Check); 6] = [
        ("crates depend only downwards", edges),
        ("no forbidden package in a default tree", forbidden),
        ("every example is listed in examples/README.md", listed_examples),
        ("every script with Microsoft's SDKs is in the emulator's README", untold),
        ("every crate has a README and forbids unsafe code", crate_files),
        ("sources hold no leftovers", leftovers),
    ];
    let mut wrong = Vec::new();
    for (name, check) in checks {
        let found = check()?;
        eprintln!("{} {name}", if found.is_empty() { "ok   " } else { "WRONG" });
        wrong.extend(found);
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

/// What is wrong, one line each; or why that cannot be said.
type Check = fn() -> Result<Vec<String>, String>;

/// The names of the examples, in order.
pub(crate) fn examples() -> Result<Vec<String>, String> {
    let mut names: Vec<String> = files(&root().join("examples/src/bin"))?
        .into_iter()
        .filter_map(|path| path.strip_suffix(".rs").map(str::to_owned))
        .filter_map(|path| path.rsplit('/').next().map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}

fn edges() -> Result<Vec<String>, String> {
    let metadata = Metadata::read()?;
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        if package.name == "examples" {
            continue;
        }
        let Some(may) = allowed.get(package.name.as_str()) else {
            wrong.push(format!(
                "{} is not in the table of edges: add it to xtask/src/tidy.rs and ARCHITECTURE.md",
                package.name
            ));
            continue;
        };
        let normal = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind.is_none());
        for dependency in normal.filter(|dependency| ours.contains(dependency.name.as_str())) {
            if !may.contains(&dependency.name.as_str()) {
                wrong.push(format!("{} must not depend on {}", package.name, dependency.name));
            }
        }
    }
    Ok(wrong)
}

fn forbidden() -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    for (package, names) in FORBIDDEN {
        let arguments = [
            "tree",
            "--package",
            package,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ];
        let output = cargo(&arguments)
            .output()
            .map_err(|error| format!("cargo tree: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let tree = String::from_utf8_lossy(&output.stdout);
        let in_tree: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        for name in names.iter().chain(BANNED).filter(|name| in_tree.contains(**name)) {
            wrong.push(format!(
                "{package} pulls in {name}: see `cargo tree --package {package} --edges normal --invert {name}`"
            ));
        }
    }
    Ok(wrong)
}

fn listed_examples() -> Result<Vec<String>, String> {
    let readme = read(&root().join("examples/README.md"))?;
    let missing = examples()?
        .into_iter()
        .filter(|name| !readme.contains(&format!("--bin {name}")));
    Ok(missing
        .map(|name| format!("examples/README.md does not mention `--bin {name}`"))
        .collect())
}

fn crate_files() -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    for package in Metadata::read()?.packages {
        let manifest = Path::new(&package.manifest_path);
        let folder = manifest.parent().expect("a manifest lies in a folder");
        if package.name.starts_with("iothub") && !folder.join("README.md").is_file() {
            wrong.push(format!("{} has no README.md", package.name));
        }
        if !read(manifest)?.contains("[lints]\nworkspace = true") {
            wrong.push(format!("{} does not take the lints of the workspace", package.name));
        }
    }
    Ok(wrong)
}

fn leftovers() -> Result<Vec<String>, String> {
    // Written in two halves, so that this file does not find itself.
    let words = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[igno", "re]"),
        concat!("dbg", "!("),
    ];
    let mut wrong = Vec::new();
    for folder in ["crates", "examples", "xtask"] {
        for path in files(&root().join(folder))?
            .into_iter()
            .filter(|path| path.ends_with(".rs"))
        {
            let text = read(Path::new(&path))?;
            for (number, line) in text.lines().enumerate() {
                for word in words.iter().filter(|word| line.contains(**word)) {
                    wrong.push(format!("{path}:{}: {word}", number + 1));
                }
            }
        }
    }
    Ok(wrong)
}

/// All files below a folder but those that git does not keep.
fn files(folder: &Path) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "node_modules", ".venv", "__pycache__"].contains(&name.as_str()) {
                found.extend(files(&path)?);
            }
        } else {
            found.push(path.to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

impl Metadata {
    fn read() -> Result<Self, String> {
        let output = cargo(&["metadata", "--no-deps", "--format-version", "1"])
            .output()
            .map_err(|error| format!("cargo metadata: {error}"))?;
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn crates_depend_only_downwards() {
        assert_eq!(super::edges().unwrap(), Vec::<String>::new());
    }
}
