#![doc = include_str!("../README.md")]

mod corpus;
mod mutation;

pub use corpus::{corpus, replay};
pub use mutation::Mutation;

/// The binary of a target, which is a function of `iothub_emulator::fuzzing`: a fuzzer under cargo-fuzz, and else a
/// program that runs the target once on each file that it is given, or on the corpus.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
            let _ = iothub_emulator::fuzzing::$name(bytes);
        });

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            $crate::replay(stringify!($name), iothub_emulator::fuzzing::$name)
        }
    };
}
