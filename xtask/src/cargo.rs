//! How the commands here run others.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
        .to_owned()
}

/// A cargo command in the root of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs a command, shows what it says, and how long it took.
pub(crate) fn step(command: &mut Command) -> Result<(), String> {
    let shown = shown(command);
    eprintln!("\n$ {shown}");
    let begun = Instant::now();
    let status = command.status().map_err(|error| format!("{shown}: {error}"))?;
    eprintln!("  {:.1} s", begun.elapsed().as_secs_f32());
    if status.success() {
        Ok(())
    } else {
        Err(format!("failed: {shown}"))
    }
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let settings = command.get_envs().filter_map(|(name, value)| {
        let value = value?.to_string_lossy();
        let value = if value.contains(' ') {
            format!("{value:?}")
        } else {
            value.into_owned()
        };
        Some(format!("{}={value}", name.to_string_lossy()))
    });
    let arguments = command
        .get_args()
        .map(|argument| argument.to_string_lossy().into_owned());
    settings.chain([program]).chain(arguments).collect::<Vec<_>>().join(" ")
}
