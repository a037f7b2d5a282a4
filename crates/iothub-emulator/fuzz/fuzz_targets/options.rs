//! `iothub_emulator::fuzzing::options`.
#![cfg_attr(fuzzing, no_main)]

iothub_emulator_fuzz::target!(options);
