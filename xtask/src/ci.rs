//! What CI checks. There is no second list: the workflow and a developer both run this one.

use crate::{
    cargo::{cargo, step},
    codegen, interop, tidy,
};

/// Crates whose default features bring a transport, and what stays when those are off.
const FEATURE_BUILDS: &[&[&str]] = &[
    &["-p", "iothub-core"],
    &["-p", "iothub-auth", "--no-default-features"],
    &["-p", "iothub-transport-http", "--no-default-features"],
    &["-p", "iothub-transport-amqp", "--no-default-features"],
    &[
        "-p",
        "iothub-transport-http",
        "--no-default-features",
        "--features",
        "aws-lc-rs",
    ],
    &[
        "-p",
        "iothub-transport-amqp",
        "--no-default-features",
        "--features",
        "aws-lc-rs",
    ],
    &["-p", "iothub-registry", "--no-default-features"],
    &["-p", "iothub-service", "--no-default-features"],
    &["-p", "iothub-service", "--no-default-features", "--features", "hyper"],
    &["-p", "iothub-jobs", "--no-default-features"],
    &["-p", "iothub-digitaltwin", "--no-default-features"],
    &["-p", "iothub", "--no-default-features"],
    &["-p", "iothub", "--all-features"],
];

pub(crate) fn run(with_interop: bool) -> Result<(), String> {
    step(&mut cargo(&["fmt", "--all", "--check"]))?;
    tidy::run()?;
    codegen::run(true)?;
    step(&mut cargo(&["test", "--workspace"]))?;
    run_examples()?;
    step(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    step(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    for features in FEATURE_BUILDS {
        let arguments = [&["clippy", "--lib"], *features, &["--", "-D", "warnings"]].concat();
        step(&mut cargo(&arguments))?;
    }
    if with_interop {
        interop::run(&[])?;
    }
    Ok(())
}

/// Every example runs to its end with no arguments, against the emulator that it starts.
fn run_examples() -> Result<(), String> {
    step(&mut cargo(&["build", "--package", "examples", "--bins"]))?;
    for name in tidy::examples()? {
        step(&mut cargo(&["run", "--quiet", "--package", "examples", "--bin", &name]))?;
    }
    Ok(())
}
