//! The project's own commands. `cargo xtask` lists them.

mod cargo;
mod ci;
mod codegen;
mod conformance;
mod interop;
mod release;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND

  ci [--no-interop]     everything CI checks, in its order
  tidy                  tests on the repository itself: crate edges, examples, files
  codegen [--check]     write the generated models, or compare them with what is checked in
  interop [NAME ...]    Microsoft's own SDKs against the emulator
  release [VERSION]     check that every crate can be published; with a version, prepare it
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["ci"] => ci::run(true),
        ["ci", "--no-interop"] => ci::run(false),
        ["tidy"] => tidy::run(),
        ["codegen"] => codegen::run(false),
        ["codegen", "--check"] => codegen::run(true),
        ["interop", names @ ..] => interop::run(names),
        ["release"] => release::run(None),
        ["release", version] => release::run(Some(version)),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
