//! `iothub_emulator::fuzzing::certificate`.
#![cfg_attr(fuzzing, no_main)]

iothub_emulator_fuzz::target!(certificate);
