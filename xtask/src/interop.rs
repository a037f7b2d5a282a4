//! Microsoft's own SDKs against the emulator: what each script in `xtask/interop` prints is one line a check.
//!
//! These SDKs dial the ports 443, 5671 and 8883 whatever they are told, so the emulator has to be allowed to bind them.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{
    cargo::{cargo, root, step},
    conformance::Conformance,
};

/// The languages, and how a script of each is run.
pub(crate) const LANGUAGES: &[(&str, &str)] = &[("python", "py"), ("node", "js")];

/// What scripts have in common.
const SHARED: &[&str] = &[
    "azurite",
    "certificate",
    "device",
    "hub",
    "management",
    "operations",
    "peer",
    "services",
];

const EMULATOR: &str = "iothub-emulator";

/// The clients of this workspace, for scripts that want them at the other end.
const PEER: &str = "peer";

/// Sets the SDKs up, starts the emulator, and runs the scripts whose name holds one of `names`, or all.
pub(crate) fn run(names: &[&str]) -> Result<(), String> {
    let work = root().join("target/interop");
    fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
    set_up_python(&work)?;
    set_up_node(&work)?;
    step(&mut cargo(&["build", "--package", "iothub-emulator"]))?;
    step(&mut cargo(&["build", "--package", "iothub", "--example", PEER]))?;
    take(&work, Path::new(EMULATOR))?;
    take(&work, &Path::new("examples").join(PEER))?;
    make_device_authority(&work)?;
    let (mut ran, mut failed, mut conformance) = (0, Vec::new(), Conformance::default());
    for (language, extension) in LANGUAGES {
        for script in scripts(language, extension)? {
            let topic = script.file_stem().unwrap_or_default().to_string_lossy();
            let name = format!("{language}/{topic}");
            if !names.is_empty() && !names.iter().any(|wanted| name.contains(wanted)) {
                continue;
            }
            // An emulator for each script: no script can lean on what another left behind.
            let hub = Hub::start(&work, &name, &script.with_extension("toml"))?;
            ran += 1;
            eprintln!("\n$ {name}");
            let report = work.join("operations.json");
            let _ = fs::remove_file(&report);
            if succeeds(&work, language, &script, &hub, &report)? {
                conformance.add(language, &topic, &report)?;
            } else {
                eprintln!("failed: {name}; the emulator's log is {}", hub.log.display());
                failed.push(name);
            }
        }
    }
    match (ran, failed.is_empty()) {
        (0, _) => Err(format!("no script has a name that holds {}", names.join(" or "))),
        (_, true) if names.is_empty() => conformance.publish(),
        (_, true) => Ok(()),
        (_, false) => Err(format!("interop failed: {}", failed.join(", "))),
    }
}

/// Copies a program, so that all scripts meet the same one even if somebody builds another meanwhile.
fn take(work: &Path, program: &Path) -> Result<(), String> {
    let built = root().join("target/debug").join(program);
    let name = program.file_name().unwrap_or_default();
    fs::copy(&built, work.join(name)).map_err(|error| format!("{}: {error}", built.display()))?;
    Ok(())
}

/// Makes an authority that the emulator trusts and scripts sign with, unless there is one.
fn make_device_authority(work: &Path) -> Result<(), String> {
    let (certificate, key) = (work.join(AUTHORITY), work.join(AUTHORITY_KEY));
    if certificate.exists() && key.exists() {
        return Ok(());
    }
    let options = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"];
    step(
        Command::new("openssl")
            .args(options)
            .args(["-subj", "/CN=interop devices", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate),
    )
}

const AUTHORITY: &str = "device-authority.pem";
const AUTHORITY_KEY: &str = "device-authority.key";

/// Runs a script. How to reach the hub is not shown, because keys belong to that.
fn succeeds(work: &Path, language: &str, script: &Path, hub: &Hub, report: &Path) -> Result<bool, String> {
    let mut command = match language {
        "python" => {
            trust_in_python(work, &hub.root_certificate)?;
            let mut python = Command::new(work.join("venv/bin/python"));
            python.env("REQUESTS_CA_BUNDLE", work.join("roots.pem"));
            python
        }
        _ => {
            let mut node = Command::new("node");
            node.env("NODE_EXTRA_CA_CERTS", &hub.root_certificate)
                .env("NODE_PATH", work.join("node_modules"));
            node
        }
    };
    let status = command
        .arg(script)
        .env("IOTHUB_READY", &hub.ready)
        .env("IOTHUB_OPERATIONS", report)
        .env("IOTHUB_PEER", work.join(PEER))
        .env("IOTHUB_DEVICE_AUTHORITY", work.join(AUTHORITY))
        .env("IOTHUB_DEVICE_AUTHORITY_KEY", work.join(AUTHORITY_KEY))
        .current_dir(root())
        .status();
    let status = status.map_err(|error| format!("{}: {error}", script.display()))?;
    Ok(status.success())
}

/// Every script of a language but the modules that they share.
pub(crate) fn scripts(language: &str, extension: &str) -> Result<Vec<PathBuf>, String> {
    let folder = root().join("xtask/interop").join(language);
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut scripts: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .filter(|path| {
            path.file_stem()
                .is_some_and(|stem| !SHARED.iter().any(|shared| stem == *shared))
        })
        .collect();
    scripts.sort();
    Ok(scripts)
}

fn set_up_python(work: &Path) -> Result<(), String> {
    let requirements = root().join("xtask/interop/python/requirements.txt");
    once(work, "python", &requirements, || {
        let environment = work.join("venv");
        step(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&environment),
        )?;
        step(
            Command::new(environment.join("bin/pip"))
                .args(["install", "--quiet", "--requirement"])
                .arg(&requirements),
        )
    })
}

fn set_up_node(work: &Path) -> Result<(), String> {
    let folder = root().join("xtask/interop/node");
    let lock = folder.join("package-lock.json");
    once(work, "node", &lock, || {
        for file in ["package.json", "package-lock.json"] {
            fs::copy(folder.join(file), work.join(file)).map_err(|error| format!("{file}: {error}"))?;
        }
        step(
            Command::new("npm")
                .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
                .current_dir(work),
        )
    })
}

/// Runs `set_up` unless it ran before for the same pinned versions.
fn once(work: &Path, what: &str, pins: &Path, set_up: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let pinned = fs::read_to_string(pins).map_err(|error| format!("{}: {error}", pins.display()))?;
    let mark = work.join(format!("{what}.installed"));
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == pinned) {
        return Ok(());
    }
    set_up()?;
    fs::write(&mark, pinned).map_err(|error| format!("{}: {error}", mark.display()))
}

/// Adds the emulator's root to the roots of the virtual environment: uamqp reads no environment variable, only the
/// bundle of the package certifi.
fn trust_in_python(work: &Path, root_certificate: &Path) -> Result<(), String> {
    let python = work.join("venv/bin/python");
    let output = Command::new(&python)
        .args(["-c", "import certifi; print(certifi.where())"])
        .output()
        .map_err(|error| format!("{}: {error}", python.display()))?;
    let bundle = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let original = work.join("certifi.pem");
    let read = |path: &Path| fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let write = |path: &Path, text: &str| fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()));
    if !original.exists() {
        write(&original, &read(&bundle)?)?;
    }
    let roots = format!("{}\n{}", read(&original)?, read(root_certificate)?);
    write(&bundle, &roots)?;
    write(&work.join("roots.pem"), &roots)
}

/// A running emulator; it ends with this value.
struct Hub {
    process: Child,
    ready: String,
    root_certificate: PathBuf,
    log: PathBuf,
}

impl Hub {
    /// Starts one whose log is named after the script that it is for, with a configuration if there is one.
    fn start(work: &Path, script: &str, config: &Path) -> Result<Self, String> {
        let data = work.join("hub");
        let _ = fs::remove_dir_all(&data);
        let log = work.join(format!("{}.log", script.replace('/', "-")));
        let log_file = fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let mut process = Command::new(work.join(EMULATOR))
            .args([
                "--host",
                "localhost",
                "--https-port",
                "443",
                "--amqps-port",
                "5671",
                "--mqtts-port",
                "8883",
                "--data-dir",
            ])
            .arg(&data)
            .arg("--device-authority")
            .arg(work.join(AUTHORITY))
            .args(config.exists().then_some("--config"))
            .args(config.exists().then_some(config))
            .stdout(Stdio::piped())
            .stderr(log_file)
            .spawn()
            .map_err(|error| format!("iothub-emulator: {error}"))?;
        let mut ready = String::new();
        let stdout = process.stdout.take().expect("it was piped");
        BufReader::new(stdout)
            .read_line(&mut ready)
            .map_err(|error| format!("iothub-emulator: {error}"))?;
        let line: serde_json::Value = serde_json::from_str(&ready).map_err(|_| {
            format!(
                "the emulator did not come up (may it bind 443, 5671 and 8883?): see {}",
                log.display()
            )
        })?;
        let root_certificate = PathBuf::from(line["caFile"].as_str().unwrap_or_default());
        Ok(Self {
            process,
            ready: ready.trim().to_owned(),
            root_certificate,
            log,
        })
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
