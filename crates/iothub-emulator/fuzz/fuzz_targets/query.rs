//! `iothub_emulator::fuzzing::query`.
#![cfg_attr(fuzzing, no_main)]

iothub_emulator_fuzz::target!(query);
