//! `iothub_emulator::fuzzing::mqtt`.
#![cfg_attr(fuzzing, no_main)]

iothub_emulator_fuzz::target!(mqtt);
