//! `iothub_emulator::fuzzing::state`.
#![cfg_attr(fuzzing, no_main)]

iothub_emulator_fuzz::target!(state);
