//! Prepares a release: one version for all crates, one changelog.

use std::{fs, process::Command};

use crate::{
    cargo::{cargo, root, step},
    ci, tidy,
};

/// Tools that look further than cargo does. Where one is not installed, that check is left out, and said so.
const TOOLS: &[(&str, &[&str])] = &[
    ("cargo-deny", &["deny", "check", "licenses", "bans", "sources"]),
    (
        "cargo-hack",
        &["hack", "check", "--workspace", "--lib", "--each-feature"],
    ),
    (
        "cargo-semver-checks",
        &[
            "semver-checks",
            "--workspace",
            "--exclude",
            "xtask",
            "--exclude",
            "examples",
        ],
    ),
];

/// Without a version: would everything that is published package well? With one: everything CI checks, then the
/// manifests and the changelog are moved to that version, for a person to read, commit and tag.
pub(crate) fn run(version: Option<&str>) -> Result<(), String> {
    if let Some(version) = version {
        check_version(version)?;
        ci::run(true)?;
    } else {
        tidy::run()?;
    }
    for (tool, arguments) in TOOLS {
        if installed(tool) {
            step(&mut cargo(arguments))?;
        } else {
            eprintln!("left out: {tool} is not installed (cargo install {tool})");
        }
    }
    step(&mut cargo(&[
        "package",
        "--workspace",
        "--exclude",
        "xtask",
        "--exclude",
        "examples",
        "--allow-dirty",
    ]))?;
    let Some(version) = version else { return Ok(()) };
    rewrite("Cargo.toml", |text| set_versions(text, version))?;
    rewrite("CHANGELOG.md", |text| date_changelog(text, version, &today()?))?;
    step(&mut cargo(&["update", "--workspace", "--offline"]))?;
    eprintln!(
        "\nRead the changes, then:\n  git commit -am \"workspace: release {version}\" && git tag v{version}\n  cargo publish --workspace"
    );
    Ok(())
}

fn check_version(version: &str) -> Result<(), String> {
    let parts: Vec<_> = version.split('.').map(str::parse::<u32>).collect();
    if parts.len() == 3 && parts.iter().all(Result::is_ok) {
        return Ok(());
    }
    Err(format!("`{version}` is not a version such as 0.2.0"))
}

/// The version of the workspace, and the one that its crates ask of each other.
fn set_versions(text: &str, version: &str) -> Result<String, String> {
    let old = text
        .lines()
        .find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .ok_or("Cargo.toml has no [workspace.package] version")?;
    let lines = text.lines().map(|line| {
        let ours = line.starts_with("version = ") || line.contains("path = \"crates/");
        if ours {
            line.replace(&format!("version = \"{old}\""), &format!("version = \"{version}\""))
        } else {
            line.to_owned()
        }
    });
    Ok(lines.map(|line| line + "\n").collect())
}

/// What was unreleased gets the version and the date.
fn date_changelog(text: &str, version: &str, date: &str) -> Result<String, String> {
    if !text.contains(UNRELEASED) {
        return Err(format!(
            "CHANGELOG.md has no `{UNRELEASED}`: write what a user can notice under it"
        ));
    }
    Ok(text.replacen(UNRELEASED, &format!("## {version} ({date})"), 1))
}

const UNRELEASED: &str = "## Unreleased";

fn rewrite(file: &str, change: impl Fn(&str) -> Result<String, String>) -> Result<(), String> {
    let path = root().join(file);
    let text = fs::read_to_string(&path).map_err(|error| format!("{file}: {error}"))?;
    fs::write(&path, change(&text)?).map_err(|error| format!("{file}: {error}"))
}

fn today() -> Result<String, String> {
    let output = Command::new("date")
        .args(["-u", "+%Y-%m-%d"])
        .output()
        .map_err(|error| format!("date: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn installed(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_moves_our_versions_and_no_others() {
        let manifest = "[workspace.package]\nversion = \"0.1.0\"\n[workspace.dependencies]\n\
                        iothub = { path = \"crates/iothub\", version = \"0.1.0\" }\nbytes = { version = \"0.1.0\" }\n";
        let released = set_versions(manifest, "0.2.0").unwrap();
        assert_eq!(
            released,
            "[workspace.package]\nversion = \"0.2.0\"\n[workspace.dependencies]\n\
             iothub = { path = \"crates/iothub\", version = \"0.2.0\" }\nbytes = { version = \"0.1.0\" }\n"
        );
    }

    #[test]
    fn what_was_unreleased_gets_a_date() {
        let dated = date_changelog("# Changelog\n\n## Unreleased\n\n- a\n", "0.2.0", "2026-01-31").unwrap();
        assert_eq!(dated, "# Changelog\n\n## 0.2.0 (2026-01-31)\n\n- a\n");
        assert!(
            date_changelog("# Changelog\n", "0.2.0", "2026-01-31")
                .unwrap_err()
                .contains("## Unreleased")
        );
    }

    #[test]
    fn a_version_has_three_numbers() {
        assert!(check_version("1.2.3").is_ok());
        for bad in ["", "1.2", "v1.2.3", "1.2.x", "1.2.3.4"] {
            assert!(check_version(bad).unwrap_err().contains("0.2.0"));
        }
    }
}
