//! `iothub_emulator::fuzzing::http`.
#![cfg_attr(fuzzing, no_main)]

iothub_emulator_fuzz::target!(http);
